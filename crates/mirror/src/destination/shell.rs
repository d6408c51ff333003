//! A stock rsync at the far end of a remote shell, started anew for each session; where the shell is ssh, the connection is kept.

mod kept;
mod run;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use transfer::{Connection, Error, Link, Terms};

use self::kept::Kept;
use crate::settings::ShellAddress;

/// How long a shell may take to end after its connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long its last words may take after that.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The most of them that is kept, in bytes.
const WORDS_MAX: usize = 16 << 10;

/// How long a server may take to answer through a connection that is there already. Then the connection is to blame.
const GREETING: Duration = Duration::from_secs(10);

/// ssh's exit code for whatever is not the far command's fault (ssh(1)).
const SSH_FAILED: i32 = 255;

/// A machine behind a remote shell.
pub(super) struct RemoteShell {
    address: ShellAddress,
    kept: Kept,
}

impl RemoteShell {
    pub(super) fn new(address: ShellAddress) -> Self {
        Self {
            address,
            kept: Kept::default(),
        }
    }

    /// The directory at the far end.
    pub(super) fn path(&self) -> &[u8] {
        self.address.path.as_bytes()
    }

    /// Connects, where connections are kept: that takes its round trips while changes settle.
    ///
    /// # Errors
    /// ssh's, in its words.
    pub(super) fn connect(&mut self, terms: &Terms) -> Result<(), Error> {
        self.kept.connect(&self.address, terms).map(drop)
    }

    /// Starts the server with these words, and agrees on a version.
    ///
    /// # Errors
    /// The shell cannot be started, or what it leads to is no rsync; with the words of either.
    pub(super) fn start(
        &mut self,
        words: &[Vec<u8>],
        terms: &Terms,
    ) -> Result<(Connection, Shell), Error> {
        if let Some(through) = self.kept.connect(&self.address, terms)? {
            let patience = terms.patience.map_or(GREETING, |time| time.min(GREETING));
            let hasty = Terms {
                patience: Some(patience),
                ..terms.clone()
            };
            match Shell::start(&self.address, &through, words, &hasty) {
                Ok((connection, shell)) => {
                    return Ok((connection.with_patience(terms.patience), shell));
                }
                // The server had nothing but its arguments: nothing is done twice.
                Err(failed) if failed.is_by_the_way && !terms.cancel.is_cancelled() => {
                    self.kept.end();
                }
                Err(failed) => return Err(failed.error),
            }
        }
        Shell::start(&self.address, &[], words, terms).map_err(|failed| failed.error)
    }

    /// Something that the operator should know, once.
    pub(super) fn notice(&mut self) -> Option<String> {
        self.kept.notice()
    }
}

/// The command that leads to the host, with more options of its program.
fn command(address: &ShellAddress, options: &[OsString]) -> Result<Command, Error> {
    let (program, arguments) = address
        .command
        .split_first()
        .ok_or_else(|| Error::Usage("the remote shell's command is empty".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments).args(options);
    if let Some(user) = &address.user {
        command.args(["-l", user]);
    }
    command.arg(&address.host);
    Ok(command)
}

/// A shell at work.
pub(super) struct Shell {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

/// Why a session did not begin.
struct NotStarted {
    error: Error,
    /// The server was not reached, or does not answer; otherwise it has said no.
    is_by_the_way: bool,
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_by_the_way: false,
        }
    }
}

impl Shell {
    fn start(
        address: &ShellAddress,
        options: &[OsString],
        words: &[Vec<u8>],
        terms: &Terms,
    ) -> Result<(Connection, Self), NotStarted> {
        let mut command = command(address, options)?;
        command.arg(&address.rsync);
        for word in words {
            command.arg(OsStr::from_bytes(&quoted(word)));
        }
        let program = command.get_program().display().to_string();
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
            let listening = std::thread::Builder::new().spawn(move || listen(errors, &kept));
            if let Err(cause) = listening {
                // Nobody is there who would read what it says.
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(cause).into());
            }
        }
        let shell = Self { child, said };
        let link = Link::over_pipes(input, output, terms.cancel.clone())?;
        match Connection::over_shell(link, terms) {
            Ok(connection) => Ok((connection, shell)),
            Err(error) => {
                let is_silent = matches!(error, Error::Stalled(_));
                let (error, code) = shell.ended(error);
                Err(NotStarted {
                    error,
                    is_by_the_way: is_silent || code == Some(SSH_FAILED),
                })
            }
        }
    }

    /// Waits for the end of the shell after its session.
    pub(super) fn end(mut self) {
        self.wait(FAREWELL);
    }

    /// The same after a failure, which the shell, or the program it leads to, may have told the reason of.
    pub(super) fn explain(self, error: Error) -> Error {
        self.ended(error).0
    }

    /// The reason of a failure, and the shell's exit code.
    fn ended(mut self, error: Error) -> (Error, Option<i32>) {
        let code = self.wait(match error {
            // It has had its time.
            Error::Stalled(_) => Duration::ZERO,
            _ => FAREWELL,
        });
        std::thread::sleep(LAST_WORDS);
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        (with_words(error, lines_of(&said)), code)
    }

    /// Waits for the end, which is brought about when `patience` is over. The exit code, if it ended by itself.
    fn wait(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        let mut nap = Duration::from_millis(1);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if Instant::now() < deadline => {}
                _ => {
                    // A shell that hangs holds a process and a connection for nothing.
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return None;
                }
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }
}

/// An error that tells nothing but the end of the connection, with the lines that the shell had to say about it.
fn with_words(error: Error, mut told: Vec<String>) -> Error {
    if told.is_empty() {
        return error;
    }
    match error {
        Error::Read { words, .. } => {
            told.extend(words);
            Error::Closed {
                received: 0,
                words: told,
            }
        }
        Error::Closed { received, words } => {
            told.extend(words);
            Error::Closed {
                received,
                words: told,
            }
        }
        Error::Socket(_) | Error::Fatal { .. } => Error::Closed {
            received: 0,
            words: told,
        },
        error => error,
    }
}

/// The lines of a text that others wrote, fit to be shown.
fn lines_of(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let shown = |line: &str| {
        let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        shown.collect()
    };
    lines.map(shown).collect()
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
