//! A stock rsync at the far end of a remote shell, started anew for each session.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use transfer::{Connection, Error, Link, Terms};

use crate::settings::ShellAddress;

/// How long a shell may take to end after its connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long its last words may take after that.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The most of them that is kept, in bytes.
const WORDS_MAX: usize = 16 << 10;

/// A shell at work.
pub(super) struct Shell {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Shell {
    /// Starts the server with these words, and agrees on a version.
    ///
    /// # Errors
    /// The shell cannot be started, or what it leads to is no rsync; with the words of either.
    pub(super) fn start(
        address: &ShellAddress,
        words: &[Vec<u8>],
        terms: &Terms,
    ) -> Result<(Connection, Self), Error> {
        let (program, arguments) = address
            .command
            .split_first()
            .ok_or_else(|| Error::Usage("the remote shell's command is empty".to_owned()))?;
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(user) = &address.user {
            command.args(["-l", user]);
        }
        command.arg(&address.host).arg(&address.rsync);
        for word in words {
            command.arg(OsStr::from_bytes(&quoted(word)));
        }
        let failed = |cause: std::io::Error| {
            Error::Socket(std::io::Error::new(
                cause.kind(),
                format!("cannot start {program}: {cause}"),
            ))
        };
        let (input, their_output) = transfer::one_way().map_err(failed)?;
        let (their_input, output) = transfer::one_way().map_err(failed)?;
        let mut child = command
            .stdin(their_input)
            .stdout(their_output)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // The command still holds the far ends of the pipes.
        drop(command);
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(errors) = child.stderr.take() {
            let kept = Arc::clone(&said);
            // It ends with the last process that holds the pipe, which may be a connection that ssh keeps.
            std::thread::spawn(move || listen(errors, &kept));
        }
        let shell = Self { child, said };
        let link = Link::over_pipes(input, output, terms.cancel.clone())?;
        match Connection::over_shell(link, terms) {
            Ok(connection) => Ok((connection, shell)),
            Err(error) => Err(shell.explain(error)),
        }
    }

    /// Waits for the end of the shell after its session.
    pub(super) fn end(mut self) {
        self.wait();
    }

    /// The same after a failure, which the shell, or the program it leads to, may have told the reason of.
    pub(super) fn explain(mut self, error: Error) -> Error {
        self.wait();
        std::thread::sleep(LAST_WORDS);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = String::from_utf8_lossy(&said);
        let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut told: Vec<String> = lines
            .by_ref()
            .map(|line| {
                line.chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect()
            })
            .collect();
        match error {
            Error::Read { words, .. } if !told.is_empty() => {
                told.extend(words);
                Error::Closed {
                    received: 0,
                    words: told,
                }
            }
            Error::Closed { received, words } if !told.is_empty() => {
                told.extend(words);
                Error::Closed {
                    received,
                    words: told,
                }
            }
            Error::Socket(_) | Error::Fatal { .. } if !told.is_empty() => Error::Closed {
                received: 0,
                words: told,
            },
            error => error,
        }
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        let mut nap = Duration::from_millis(1);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= deadline {
                // A shell that hangs holds a process and a connection for nothing.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }
}

fn listen(mut errors: ChildStderr, kept: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = errors.read(&mut piece) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WORDS_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..count.min(room)]);
    }
}

/// A word as the far end's shell takes it for one. A tilde at the beginning stays what it is: the user's home.
fn quoted(word: &[u8]) -> Vec<u8> {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-_./,:=@%+~".contains(&byte) || !byte.is_ascii()
    };
    let mut quoted = Vec::with_capacity(word.len());
    for &byte in word {
        match byte {
            // A newline cannot be escaped by a backslash.
            b'\n' => quoted.extend_from_slice(b"'\n'"),
            byte if is_plain(byte) => quoted.push(byte),
            byte => quoted.extend([b'\\', byte]),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_shell_gets_back_each_word() {
        for word in [
            "plain",
            "--backup-dir",
            "a b",
            "$(x) `y` ;|&<>*?[]'\"\\#!",
            "new\nline",
            "\u{e9}",
        ] {
            let script = [b"printf %s ".as_slice(), &quoted(word.as_bytes())].concat();
            let output = Command::new("/bin/sh")
                .arg("-c")
                .arg(OsStr::from_bytes(&script))
                .output()
                .unwrap();
            assert_eq!(output.stdout, word.as_bytes(), "{word:?}");
        }
    }
}
