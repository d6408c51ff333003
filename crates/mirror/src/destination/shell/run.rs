//! Short commands: run, with a limit of time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use transfer::Cancel;

/// How a command ended.
pub(super) struct Ended {
    /// The exit code; none if a signal ended it.
    pub(super) code: Option<i32>,
    /// Its standard output.
    pub(super) output: Vec<u8>,
    /// What it said on its standard error.
    pub(super) said: Vec<u8>,
}

/// Runs a command without input until it ends; `None` if it cannot be started, or has been ended because it took longer
/// than `limit` or the stop was asked for. Its output has to fit into a pipe.
pub(super) fn run(
    command: &mut Command,
    limit: Option<Duration>,
    cancel: &Cancel,
) -> Option<Ended> {
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.ok()?;
    // A time that no clock reaches is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut nap = Duration::from_millis(1);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None)
                if !cancel.is_cancelled()
                    && deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(10));
    };
    Some(Ended {
        code: status.code(),
        output: child.stdout.map(what_is_in).unwrap_or_default(),
        said: child.stderr.map(what_is_in).unwrap_or_default(),
    })
}

/// What is in a pipe now. Its end may never come: what a command leaves in the background may hold it.
fn what_is_in(mut pipe: impl Read + std::os::fd::AsFd) -> Vec<u8> {
    let mut text = Vec::new();
    if rustix::io::ioctl_fionbio(&pipe, true).is_ok() {
        // It ends with the end of the pipe, or with what there is.
        let _ = pipe.read_to_end(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Option<Ended> {
        let mut command = Command::new("/bin/sh");
        run(
            command.args(["-c", script]),
            Some(limit),
            &Cancel::default(),
        )
    }

    #[test]
    fn what_stays_in_the_background_holds_up_nobody() {
        let script = "echo out; echo err >&2; sleep 600 & echo $! ; exit 3";
        let ended = shell(script, Duration::from_secs(60)).unwrap();
        assert_eq!(ended.code, Some(3));
        let output = String::from_utf8(ended.output).unwrap();
        let (out, sleeper) = output.split_once('\n').unwrap();
        assert_eq!((out, ended.said.as_slice()), ("out", b"err\n".as_slice()));
        shell(&format!("kill {sleeper}"), Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn one_that_hangs_is_ended() {
        assert!(shell("exec sleep 600", Duration::from_millis(50)).is_none());
        let stopped = Cancel::default();
        stopped.cancel();
        let mut command = Command::new("/bin/sh");
        assert!(run(command.args(["-c", "exec sleep 600"]), None, &stopped).is_none());
    }
}
