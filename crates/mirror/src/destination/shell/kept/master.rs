//! The ssh in the background that holds a connection.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use transfer::{Error, Terms};

use super::ANSWER;
use crate::destination::shell::run::{Ended, run};
use crate::destination::shell::{command, lines_of, with_words};
use crate::settings::ShellAddress;

/// How long a connection is kept that nobody uses: who is idle should take no slot of the far end's.
const PERSIST: &str = "ControlPersist=60";

/// How often, in seconds, the far end is asked whether it is there, and how often in vain: a network that has gone away
/// ends the connection, not a session's whole patience.
const ALIVE: [&str; 2] = ["ServerAliveInterval=10", "ServerAliveCountMax=3"];

/// How long one may take to end when it is asked to.
const END: Duration = Duration::from_secs(2);

/// An ssh that holds a connection, as long as it runs; it ends when this is dropped.
pub(super) struct Master {
    pid: Pid,
    socket: PathBuf,
}

impl Master {
    /// Logs in. What keeps only the connection from being kept is no failure, but the reason in the result.
    ///
    /// # Errors
    /// ssh does not get through, or is not let in.
    pub(super) fn start(
        address: &ShellAddress,
        socket: PathBuf,
        terms: &Terms,
    ) -> Result<Result<Self, String>, Error> {
        let mut options: Vec<OsString> = ["-f", "-N", "-M", "-S"].map(OsString::from).into();
        options.push(socket.clone().into());
        for setting in [PERSIST].iter().chain(&ALIVE) {
            options.extend(["-o".into(), setting.into()]);
        }
        // It goes into the background when it is let in.
        let Some(Ended { code, said, .. }) = run(
            &mut command(address, &options)?,
            terms.patience,
            &terms.cancel,
        ) else {
            return Err(match terms.cancel.is_cancelled() {
                true => Error::Cancelled,
                false => Error::Stalled(terms.patience),
            });
        };
        if code != Some(0) {
            let words = lines_of(&said);
            let shown = socket.display().to_string();
            if let Some(line) = words.iter().find(|line| line.contains(&shown)) {
                return Ok(Err(line.clone()));
            }
            let closed = Error::Closed {
                received: 0,
                words: Vec::new(),
            };
            return Err(with_words(closed, words));
        }
        let check = [
            "-S".into(),
            socket.clone().into(),
            "-O".into(),
            "check".into(),
        ];
        let answer = run(&mut command(address, &check)?, Some(ANSWER), &terms.cancel);
        let pid = answer.and_then(|answer| pid_in(&String::from_utf8_lossy(&answer.said)));
        let Some(pid) = pid else {
            return Ok(Err("ssh does not tell who holds it".to_owned()));
        };
        let master = Self { pid, socket };
        master.note();
        Ok(Ok(master))
    }

    /// What leads another ssh through the connection.
    pub(super) fn options(&self) -> Vec<OsString> {
        let mut options: Vec<OsString> =
            ["-o", "ControlMaster=no", "-S"].map(OsString::from).into();
        options.push(self.socket.clone().into());
        options
    }

    /// Whether it runs. It ends with its connection.
    pub(super) fn lives(&self) -> bool {
        // Its number may have become another's. Each of its names, as it was started and as it calls itself later, has the
        // socket in it.
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_nonzero()));
        let socket = self.socket.as_os_str().as_bytes();
        line.is_ok_and(|line| line.windows(socket.len()).any(|part| part == socket))
    }

    /// Ends the one that is noted beside a socket, which nobody else does any more.
    pub(super) fn end_noted(socket: &Path) {
        let noted = std::fs::read_to_string(note_beside(socket)).ok();
        let pid = noted.and_then(|noted| Pid::from_raw(noted.trim().parse().ok()?));
        if let Some(pid) = pid {
            let socket = socket.to_owned();
            drop(Self { pid, socket });
        }
    }

    /// Notes its number for a mirror that may find it left over.
    #[expect(clippy::disallowed_methods, reason = "the directory is our own")]
    fn note(&self) {
        // Without a note it is left to end by itself.
        let _ = std::fs::write(
            note_beside(&self.socket),
            self.pid.as_raw_nonzero().to_string(),
        );
    }
}

impl Drop for Master {
    #[expect(clippy::disallowed_methods, reason = "the directory is our own")]
    fn drop(&mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + END;
            if self.lives() {
                let _ = kill_process(self.pid, signal);
            }
            while self.lives() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(note_beside(&self.socket));
    }
}

/// The number in ssh's answer to `-O check`: `Master running (pid=1017)`.
fn pid_in(answer: &str) -> Option<Pid> {
    let (_, rest) = answer.split_once("pid=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Pid::from_raw(digits.parse().ok()?)
}

/// Where the number of a socket's master is noted.
fn note_beside(socket: &Path) -> PathBuf {
    socket.with_extension("pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_in_the_answer() {
        assert_eq!(pid_in("Master running (pid=1017)\r\n"), Pid::from_raw(1017));
        for other in ["", "Master running", "pid=x", "pid=99999999999999999999"] {
            assert_eq!(pid_in(other), None, "{other}");
        }
    }
}
