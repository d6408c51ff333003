//! What ends a run before its end: signals, and the time that `--stop-at` and `--stop-after` set.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Zoned;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::run::Run;

/// A clock that is set is noticed after so long.
const CLOCK_LATENCY: Duration = Duration::from_secs(10);

/// Signals that follow the first one within this time are the same wish: `timeout` tells a program and then its group, and
/// who presses Ctrl-C tells both ends, of which one tells the other.
const ONE_WISH: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// The first signal, or the time, asks the engine to stop in order. Another wish of the user ends the process, as the
    /// first one does where the system has no more threads. SIGUSR1 is how rsync ends a server that it has started itself.
    pub(crate) fn heed_interrupts(&self) {
        self.heed_clock();
        let (cancel, usr1) = (self.cancel.clone(), Arc::clone(&self.usr1));
        let (ready, heeded) = mpsc::channel();
        let heed = move || {
            // Whoever is registered has taken the signal from the system, and so must be there to hear it.
            let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]);
            drop(ready);
            let Ok(mut signals) = signals else {
                return;
            };
            let mut first = None;
            for signal in signals.forever() {
                // Those that come together come in any order; the user's wish outweighs another program's.
                if first.is_none() || signal != SIGUSR1 {
                    usr1.store(signal == SIGUSR1, Ordering::Relaxed);
                }
                let first = first.get_or_insert_with(Instant::now);
                if signal != SIGUSR1 && first.elapsed() > ONE_WISH {
                    // Without effect only for signals that cannot be registered either.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                cancel.cancel();
            }
        };
        if thread::Builder::new().spawn(heed).is_ok() {
            // The answer is that the channel closes.
            let _: Result<(), _> = heeded.recv();
        }
    }

    fn heed_clock(&self) {
        let Some(at) = self.meant.stop_at.clone() else {
            return;
        };
        let (cancel, stopped) = (self.cancel.clone(), self.cancel.clone());
        let wait = move || {
            loop {
                let left = at.timestamp().duration_since(Zoned::now().timestamp());
                match Duration::try_from(left) {
                    Ok(left) if !left.is_zero() => thread::sleep(left.min(CLOCK_LATENCY)),
                    _ => break,
                }
            }
            cancel.cancel();
        };
        // A run that nobody would stop does not begin.
        if thread::Builder::new().spawn(wait).is_err() {
            stopped.cancel();
        }
    }

    /// Whether a run that was asked to stop has come to its time.
    pub(crate) fn is_time_up(&self) -> bool {
        let at = self.meant.stop_at.as_ref();
        at.is_some_and(|at| at.timestamp() <= Zoned::now().timestamp())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "tests make and inspect trees of their own"
    )]

    use std::fs;

    use jiff::ToSpan;

    use crate::alias::Aliases;
    use crate::env::Env;
    use crate::exit::Exit;
    use crate::meant::Meant;
    use crate::parse::{Invocation, parse};
    use crate::run::Run;

    use super::*;

    #[test]
    fn a_run_ends_at_its_time() {
        let dir = tempfile::tempdir().expect("a directory");
        // At the permitted rate this takes minutes.
        fs::write(dir.path().join("large"), vec![0; 20 << 20]).expect("written");
        let words = [
            "--bwlimit=50".to_owned(),
            "--stop-after=1".to_owned(),
            dir.path().join("large").display().to_string(),
            dir.path().join("copy").display().to_string(),
        ];
        let words = words.map(String::into_bytes);
        let Ok(Invocation::Transfer(given)) = parse(&words, &Aliases::default()) else {
            panic!("a transfer")
        };
        let env = Env::default();
        let mut meant = Meant::new(*given, &env, &Zoned::now()).expect("legal");
        meant.stop_at = Some(&Zoned::now() + 300.milliseconds());
        let run = Run {
            meant,
            env: &env,
            cancel: transfer::Cancel::default(),
            usr1: Arc::default(),
        };
        let options = run.options().expect("legal");
        assert_eq!(run.go(options), Ok(Exit::Timeout));
        let names = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(names, 1, "nothing half-written is left");
    }
}
