//! Exit codes, and the line that explains them (behaviour.md 4).

use std::fmt;

/// rsync's exit codes. Codes without a name here are those of a remote shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success,
    /// The command line cannot be carried out.
    Syntax,
    /// The two ends cannot talk to each other.
    Protocol,
    /// Source or destination cannot be entered.
    FileSelect,
    /// Something that is not available was asked for.
    Unsupported,
    /// A daemon did not start the session.
    StartClient,
    /// The connection failed.
    SocketIo,
    /// Reading or writing a file of ours failed.
    FileIo,
    /// The peer's data make no sense, or end.
    Stream,
    /// Our own messages could not be written.
    Messages,
    /// A process could not be started.
    Ipc,
    /// SIGUSR1.
    Signalled,
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
    /// The state of a child could not be found out.
    WaitChild,
    /// Out of memory, or over `--max-alloc`.
    Memory,
    /// Some files were not transferred; messages said why.
    Partial,
    /// Some files vanished meanwhile.
    Vanished,
    /// `--max-delete` stopped deletions.
    DeleteLimit,
    /// The peer was silent for too long, or the time is up.
    Timeout,
    /// No connection within `--contimeout`.
    ConnectTimeout,
    /// Any other code: of the peer, or of a remote shell.
    Other(u8),
}

/// Code, case and the words of the final line.
const CODES: &[(u8, Exit, &str)] = &[
    (0, Exit::Success, ""),
    (1, Exit::Syntax, "syntax or usage error"),
    (2, Exit::Protocol, "protocol incompatibility"),
    (
        3,
        Exit::FileSelect,
        "errors selecting input/output files, dirs",
    ),
    (4, Exit::Unsupported, "requested action not supported"),
    (
        5,
        Exit::StartClient,
        "error starting client-server protocol",
    ),
    (10, Exit::SocketIo, "error in socket IO"),
    (11, Exit::FileIo, "error in file IO"),
    (12, Exit::Stream, "error in rsync protocol data stream"),
    (13, Exit::Messages, "errors with program diagnostics"),
    (14, Exit::Ipc, "error in IPC code"),
    (15, Exit::Other(15), "sibling process crashed"),
    (16, Exit::Other(16), "sibling process terminated abnormally"),
    (19, Exit::Signalled, "received SIGUSR1"),
    (20, Exit::Interrupted, "received SIGINT, SIGTERM, or SIGHUP"),
    (21, Exit::WaitChild, "waitpid() failed"),
    (22, Exit::Memory, "error allocating core memory buffers"),
    (
        23,
        Exit::Partial,
        "some files/attrs were not transferred (see previous errors)",
    ),
    (
        24,
        Exit::Vanished,
        "some files vanished before they could be transferred",
    ),
    (
        25,
        Exit::DeleteLimit,
        "the --max-delete limit stopped deletions",
    ),
    (30, Exit::Timeout, "timeout in data send/receive"),
    (
        35,
        Exit::ConnectTimeout,
        "timeout waiting for daemon connection",
    ),
    (124, Exit::Other(124), "remote shell failed"),
    (125, Exit::Other(125), "remote shell killed"),
    (126, Exit::Other(126), "remote command could not be run"),
    (127, Exit::Other(127), "remote command not found"),
];

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Other(code) => code,
            named => CODES
                .iter()
                .find(|(_, exit, _)| *exit == named)
                .map_or(1, |(code, ..)| *code),
        }
    }

    /// What the number means.
    #[must_use]
    pub fn of(code: u8) -> Self {
        CODES
            .iter()
            .find(|(known, ..)| *known == code)
            .map_or(Self::Other(code), |(_, exit, _)| *exit)
    }

    /// Every code that has words of its own, with them, in ascending order.
    pub fn all() -> impl Iterator<Item = (u8, &'static str)> {
        CODES.iter().map(|&(code, _, words)| (code, words))
    }

    fn words(self) -> &'static str {
        let code = self.code();
        CODES
            .iter()
            .find(|(known, ..)| *known == code)
            .map_or("unexplained error", |(.., words)| words)
    }

    /// The last line on standard error; `None` after success. `place` is the module that decided.
    #[must_use]
    pub fn line(self, place: &Place) -> Option<String> {
        let kind = match self {
            Self::Success => return None,
            Self::Vanished => "warning",
            _ => "error",
        };
        let (words, code) = (self.words(), self.code());
        Some(format!("rsync {kind}: {words} (code {code}) at {place}"))
    }
}

/// Who speaks in the final line: the module and line of ours, and the role.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The source file's name.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
    /// `client`, `server`, `sender`, `Receiver`, `generator`, `receiver`.
    pub role: &'static str,
}

/// The version of rsync that we are compatible with; scripts look for it in brackets.
pub const RSYNC_VERSION: &str = "3.5.0";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, role } = self;
        write!(f, "{file}({line}) [{role}={RSYNC_VERSION}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_cases_are_one_to_one() {
        for code in 0..=u8::MAX {
            assert_eq!(Exit::of(code).code(), code);
        }
        for (code, exit, _) in CODES {
            assert_eq!((*code, *exit), (exit.code(), Exit::of(*code)));
        }
    }

    #[test]
    fn the_final_line() {
        let place = Place {
            file: "main.c",
            line: 1394,
            role: "sender",
        };
        for (exit, expected) in [
            (Exit::Success, None),
            (
                Exit::Syntax,
                Some("rsync error: syntax or usage error (code 1) at main.c(1394) [sender=3.5.0]"),
            ),
            (
                Exit::Vanished,
                Some(
                    "rsync warning: some files vanished before they could be transferred (code 24) \
                     at main.c(1394) [sender=3.5.0]",
                ),
            ),
            (
                Exit::Other(255),
                Some("rsync error: unexplained error (code 255) at main.c(1394) [sender=3.5.0]"),
            ),
        ] {
            assert_eq!(exit.line(&place).as_deref(), expected);
        }
    }
}
