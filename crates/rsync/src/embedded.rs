//! A run for a program that embeds it: the same command lines, but what happens goes to the program as events, and what
//! ends the run as a typed error. Nothing is printed, no signal is taken and the process stays as it is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use thiserror::Error;
use transfer::{Cancel, Class, Event, Events, Notice, Outcome, Role};

use crate::alias::Aliases;
use crate::env::Env;
use crate::exit::Exit;
use crate::given::Given;
use crate::parse::{Invocation, parse};
use crate::run::{Audience, Ended, Run};
use crate::stop::Stop;

/// Why an embedded run did not come to its end.
#[derive(Debug, Error)]
pub enum Error {
    /// The request makes no sense, or asks for what cannot be done; no file has been touched.
    #[error("{text}")]
    Refused {
        /// rsync's words, perhaps several lines.
        text: String,
        /// rsync's exit code for it.
        code: u8,
    },
    /// The transfer ended before its end.
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    /// The transfer ended before its end, and the remote shell with a failure of its own.
    #[error("{cause}; the remote shell ended with code {status}")]
    Shell {
        /// The shell's exit code, such as ssh's 255.
        status: u8,
        /// What this meant for the transfer.
        cause: transfer::Error,
    },
}

impl Error {
    /// The exit code that rsync would have ended with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Transfer(cause) => cause.exit_code(),
            Self::Shell { status, cause } => cause.exit_code().max(*status),
        }
    }

    /// Whether it ended because [`Cancel`] was asked to.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let (Self::Transfer(cause) | Self::Shell { cause, .. }) = self else {
            return false;
        };
        matches!(cause, transfer::Error::Cancelled)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        let (text, exit) = match stop {
            Stop::Refuse(text, exit) => (text, exit),
            Stop::Usage => ("nothing to transfer was named".to_owned(), Exit::Syntax),
            Stop::Show(_) => return no_transfer(),
        };
        Self::Refused {
            text,
            code: exit.code(),
        }
    }
}

/// Carries out the transfer of a command line, without the program's name. Passwords and programs to start come from
/// `env`; nobody is asked for anything. A list of a daemon's modules arrives as [`Event::Message`]s.
///
/// A transfer that came to its end may still have left files out: ask [`Outcome::exit_code`].
///
/// # Errors
/// What makes no sense, what needs a process of its own (`--server`, `--daemon`, `--copy-as`, `--log-file`,
/// `--stop-after`, `--stop-at`), and what ends the transfer before its end.
pub fn embedded(
    arguments: impl IntoIterator<Item = OsString>,
    env: &Env,
    cancel: &Cancel,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    let words: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    // The aliases of ~/.popt are made for a person who types, not for a program.
    let Invocation::Transfer(given) = parse(&words, &Aliases::default())? else {
        return Err(no_transfer());
    };
    needs_no_process(&given)?;
    let run = Run::new(*given, env, cancel.clone())?;
    let options = run.options()?;
    let Ended { result, shell } = run.carry_out(options, &Program(events))?;
    let failed_shell = shell.filter(|&status| status != 0);
    match (result, failed_shell) {
        (Ok(outcome), status) => {
            let mut outcome = outcome.unwrap_or_default();
            outcome.peer_exit = outcome.peer_exit.or(status);
            Ok(outcome)
        }
        // What was decided here is not the shell's fault.
        (Err(cause @ (transfer::Error::Cancelled | transfer::Error::Fatal { .. })), _)
        | (Err(cause), None) => Err(cause.into()),
        (Err(cause), Some(status)) => Err(Error::Shell { status, cause }),
    }
}

/// Refuses what would change the process, or print.
fn needs_no_process(given: &Given) -> Result<(), Error> {
    let of_a_process = [
        (given.copy_as.is_some(), "--copy-as"),
        (given.log_file.is_some(), "--log-file"),
        (
            given.stop_at.is_some(),
            "--stop-after and --stop-at (cancel the transfer instead)",
        ),
    ];
    if given.server || given.version > 0 {
        return Err(no_transfer());
    }
    match of_a_process.into_iter().find(|(is_asked, _)| *is_asked) {
        None => Ok(()),
        Some((_, option)) => Err(Error::Refused {
            text: format!("an embedded transfer does not support {option}"),
            code: Exit::Unsupported.code(),
        }),
    }
}

fn no_transfer() -> Error {
    Error::Refused {
        text: "an embedded transfer shows no help and is no server".to_owned(),
        code: Exit::Unsupported.code(),
    }
}

/// The program that embeds the run.
struct Program<'a>(&'a dyn Events);

impl Program<'_> {
    fn notice(&self, class: Class, text: &[u8]) {
        self.0.event(Event::Message(Notice {
            class,
            role: Role::ReceivingSide,
            text,
            cause: None,
        }));
    }
}

impl Events for Program<'_> {
    fn event(&self, event: Event<'_>) {
        self.0.event(event);
    }
}

impl Audience for Program<'_> {
    fn info(&self, line: &[u8]) {
        self.notice(Class::Info, line);
    }

    fn error(&self, line: &[u8]) {
        self.notice(Class::Warning, line);
    }

    fn ask_password(&self) -> Option<Vec<u8>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[&str]) -> (u8, String) {
        let words = line.iter().map(OsString::from);
        let silent = |_: Event<'_>| {};
        let ended = embedded(words, &Env::default(), &Cancel::default(), &silent);
        let error = ended.expect_err("it is refused");
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn what_needs_a_process_of_its_own_is_refused() {
        for line in [
            &["--server", ".", "to"][..],
            &["--daemon"],
            &["--help"],
            &["--version"],
            &["--copy-as=nobody", "from", "to"],
            &["--log-file=log", "from", "to"],
            &["--stop-after=1", "from", "to"],
        ] {
            let (code, text) = refused(line);
            assert_eq!(code, 4, "{line:?}: {text}");
            assert!(text.starts_with("an embedded transfer"), "{text}");
        }
    }

    #[test]
    fn faults_are_told_in_rsyncs_words() {
        assert_eq!(refused(&[]).0, 1);
        let (code, text) = refused(&["--nonsense", "from", "to"]);
        assert_eq!(
            (code, text.as_str()),
            (1, "rsync: --nonsense: unknown option")
        );
        let (code, text) = refused(&["--delete", "from", "to"]);
        assert_eq!(code, 1);
        assert!(text.contains("--delete does not work without"), "{text}");
    }
}
