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
pub(crate) mod marks;
pub(crate) mod operands;
pub(crate) mod pattern;
pub(crate) mod recursion;
pub(crate) mod watches;

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

/// Where a command line's events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Inotify,
    /// Told is what is at or below the operands.
    Fanotify,
    /// Told is everything on the operands' filesystems.
    Filesystem,
}

impl Backend {
    /// What the name of a program stands for.
    pub(crate) fn of_program(name: &str) -> Backend {
        if name.starts_with("fsnotify") {
            Backend::Fanotify
        } else {
            Backend::Inotify
        }
    }

    /// Why it cannot be used, with what helps.
    pub(crate) fn init_error(self, error: Errno) -> String {
        let (name, hint) = match (self, error) {
            (Backend::Inotify, Errno::MFILE) => (
                "inotify",
                "Try increasing the value of /proc/sys/fs/inotify/max_user_instances\n",
            ),
            (Backend::Inotify, _) => ("inotify", ""),
            (_, Errno::INVAL) => (
                "fanotify",
                "Both names of a rename are reported since kernel v5.17, which is needed here.\n",
            ),
            (_, Errno::PERM) => ("fanotify", "fanotify watch requires admin privileges\n"),
            (_, Errno::MFILE) => (
                "fanotify",
                "Try increasing the value of /proc/sys/fs/fanotify/max_user_groups\n",
            ),
            (_, _) => ("fanotify", ""),
        };
        format!("Couldn't initialize {name}: {}\n{hint}", error_text(error))
    }

    /// What follows the operand that needs more watches than are left.
    pub(crate) const fn limit_text(self) -> &'static str {
        match self {
            Backend::Inotify => {
                "; upper limit on inotify watches reached!\n\
                 Please increase the amount of inotify watches allowed per user via \
                 `/proc/sys/fs/inotify/max_user_watches'.\n"
            }
            Backend::Fanotify | Backend::Filesystem => {
                "; upper limit on fanotify marks reached!\n\
                 Please increase the amount of fanotify marks allowed per user via \
                 `/proc/sys/fs/fanotify/max_user_marks'.\n"
            }
        }
    }

    /// The lines about back ends in the help text; those of 3.22.6 are silent about it when called as inotify.
    pub(crate) fn help(name: &str) -> &'static str {
        match Backend::of_program(name) {
            Backend::Inotify => "",
            Backend::Fanotify | Backend::Filesystem => {
                "\t-I|--inotify\tWatch with inotify.\n\
                 \t-F|--fanotify\tWatch with fanotify.\n\
                 \t-S|--filesystem\tWatch entire filesystem with fanotify.\n"
            }
        }
    }
}
