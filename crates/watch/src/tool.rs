//! What the command lines of inotifywait and inotifywatch share.
//!
//! Their contract is that of inotify-tools: options, texts, order of output, exit status. Inside they
//! use the same tree of names as the library, so that nothing is printed under a path that is stale.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::Path;

use rustix::io::Errno;

pub(crate) mod diagnostics;
pub(crate) mod events;
pub(crate) mod getopt;
pub(crate) mod operands;
pub(crate) mod pattern;
pub(crate) mod recursion;

/// The standard streams of a command line.
pub struct Io {
    /// Where `--fromfile -` reads from.
    pub stdin: Box<dyn Read + Send>,
    /// Where events go.
    pub stdout: Box<dyn Write + Send>,
    /// Where diagnostics go.
    pub stderr: Box<dyn Write + Send>,
}

/// Exit status of a command line.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    /// An error, `--help`, or an event that nobody asked for.
    pub(crate) const FAILURE: u8 = 1;
    pub(crate) const TIMEOUT: u8 = 2;
    /// What a shell sees of a process that SIGPIPE killed.
    pub(crate) const BROKEN_PIPE: u8 = 128 + 13;
}

/// What to print instead of running.
pub(crate) enum Refusal {
    /// Help, on stdout.
    Help(String),
    /// An error, on stderr.
    Error(String),
}

impl Refusal {
    /// Prints it; help, too, is exit status 1.
    pub(crate) fn print(&self, io: &mut Io) -> u8 {
        let (stream, text) = match self {
            Refusal::Help(text) => (&mut io.stdout, text),
            Refusal::Error(text) => (&mut io.stderr, text),
        };
        let _ = stream
            .write_all(text.as_bytes())
            .and_then(|()| stream.flush());
        exit::FAILURE
    }
}

impl Io {
    /// The process's own streams.
    #[must_use]
    pub fn standard() -> Io {
        Io {
            stdin: Box::new(std::io::stdin()),
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
        }
    }
}

/// The name a program was called by, without directories.
pub(crate) fn base_name(called_as: &OsStr) -> String {
    let name = Path::new(called_as).file_name().unwrap_or(called_as);
    name.to_string_lossy().into_owned()
}

/// The text for an error number, as strerror(3) has it.
pub(crate) fn error_text(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A whole number of seconds as strtol(3) reads it, or what to say on stderr.
pub(crate) fn parse_seconds(value: &OsString) -> Result<i64, String> {
    let text = value.to_string_lossy();
    if text.is_empty() {
        return Err(
            "The provided value is not a valid timeout value.\nPlease specify a long int value.\n"
                .to_owned(),
        );
    }
    let number = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "'{text}' is not a valid timeout value.\nPlease specify a long int value.\n"
        ));
    }
    // All digits: only the range can be wrong.
    number.parse().map_err(|_| {
        "Something went wrong with the timeout value you provided.\nNumerical result out of range\n"
            .to_owned()
    })
}

/// What a command line says that asks for fanotify: to watch less than was asked for would be worse.
pub(crate) const NO_FANOTIFY: &str = "Couldn't initialize fanotify: Function not implemented\n\
     Watch with inotify: use -I, or the program without fs in its name.\n";

/// Why no inotify instance could be had, with what helps.
pub(crate) fn init_error(error: Errno) -> String {
    let text = error_text(error);
    let hint = if error == Errno::MFILE {
        "Try increasing the value of /proc/sys/fs/inotify/max_user_instances\n"
    } else {
        ""
    };
    format!("Couldn't initialize inotify: {text}\n{hint}")
}

/// What follows the operand that needs more watches than are left.
pub(crate) const fn limit_text() -> &'static str {
    "; upper limit on inotify watches reached!\n\
     Please increase the amount of inotify watches allowed per user via \
     `/proc/sys/fs/inotify/max_user_watches'.\n"
}
