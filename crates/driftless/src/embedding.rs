//! A transfer as a value: what is copied where and how, to be run by a program.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use rsync::Env;
use transfer::{Cancel, Events, Outcome};

pub use rsync::Error;

/// One end of a transfer. A path alone is one of this machine, whatever characters are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    access: Access,
    path: OsString,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    Local,
    /// User (empty for none), host and port.
    Daemon(String, String, u16),
    /// User (empty for none) and host.
    Shell(String, String),
}

impl Place {
    /// A path on this machine.
    pub fn local(path: impl AsRef<OsStr>) -> Self {
        Self {
            access: Access::Local,
            path: path.as_ref().to_owned(),
        }
    }

    /// A path behind an rsync daemon: the module, and perhaps a path in it. The usual port is 873.
    pub fn daemon(host: &str, port: u16, path: impl AsRef<OsStr>) -> Self {
        Self {
            access: Access::Daemon(String::new(), host.to_owned(), port),
            path: path.as_ref().to_owned(),
        }
    }

    /// A path on another machine that a remote shell leads to; a relative one starts in the home directory there.
    pub fn shell(host: &str, path: impl AsRef<OsStr>) -> Self {
        Self {
            access: Access::Shell(String::new(), host.to_owned()),
            path: path.as_ref().to_owned(),
        }
    }

    /// The user's name at the other machine.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        if let Access::Daemon(user, ..) | Access::Shell(user, _) = &mut self.access {
            name.clone_into(user);
        }
        self
    }

    /// The place as an argument of the command line, where it must not be taken for another.
    fn operand(&self) -> Result<OsString, Error> {
        let mut operand = OsString::new();
        match &self.access {
            Access::Local => {
                let bytes = self.path.as_encoded_bytes();
                if bytes.contains(&b':') && !Path::new(&self.path).is_absolute() {
                    operand.push("./");
                }
            }
            Access::Daemon(user, host, port) => {
                operand.push(format!("rsync://{}:{port}/", authority(user, host)?));
            }
            Access::Shell(user, host) => operand.push(format!("{}:", authority(user, host)?)),
        }
        operand.push(&self.path);
        Ok(operand)
    }
}

impl<P: AsRef<OsStr>> From<P> for Place {
    fn from(path: P) -> Self {
        Self::local(path)
    }
}

/// `[USER@]HOST`, with brackets around an IPv6 address.
fn authority(user: &str, host: &str) -> Result<String, Error> {
    let is_address = host.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = !host.is_empty() && !host.contains(['/', ':', '@', '[', ']']);
    if !(is_address || is_name) || user.contains(['/', ':', '@']) {
        return Err(Error::Refused {
            text: format!("{user:?} at {host:?} is no user and host"),
            code: rsync::Exit::Syntax.code(),
        });
    }
    let host = match is_address {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Ok(match user {
        "" => host,
        user => format!("{user}@{host}"),
    })
}

/// What is to be transferred, and how. See the [crate's page](crate) for an example.
///
/// The methods for options are those of rsync's manual page, and mean what it says; [`Transfer::option`] takes every other
/// one. A transfer can be run any number of times.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is transferred before `run`"]
pub struct Transfer {
    options: Vec<OsString>,
    sources: Vec<Place>,
    destination: Option<Place>,
    password: Option<String>,
    cancel: Cancel,
}

impl Transfer {
    /// Nothing but contents of files, and no directories, as `rsync` without options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whole trees with their attributes: `--archive`.
    pub fn archive() -> Self {
        Self::new().option("--archive")
    }

    /// Adds a source. A slash at the end of a directory's path means what is in it.
    pub fn from(mut self, source: impl Into<Place>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Sets the destination. Without one the sources are listed, as [`Event::Listed`](crate::Event::Listed).
    pub fn to(mut self, destination: impl Into<Place>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Adds any option of rsync 3.5.0, with its value: `--max-size=1g`. Options that need a process of their own are
    /// refused by [`Transfer::run`].
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Goes into directories.
    pub fn recursive(self) -> Self {
        self.option("--recursive")
    }

    /// Removes what the source does not have.
    pub fn delete(self) -> Self {
        self.option("--delete")
    }

    /// Changes nothing, and reports what would change.
    pub fn dry_run(self) -> Self {
        self.option("--dry-run")
    }

    /// Compares by content instead of size and time.
    pub fn checksum(self) -> Self {
        self.option("--checksum")
    }

    /// Compresses what goes over the connection.
    pub fn compress(self) -> Self {
        self.option("--compress")
    }

    /// Keeps the names of a file together that has several.
    pub fn hard_links(self) -> Self {
        self.option("--hard-links")
    }

    /// Keeps access control lists.
    pub fn acls(self) -> Self {
        self.option("--acls")
    }

    /// Keeps extended attributes.
    pub fn xattrs(self) -> Self {
        self.option("--xattrs")
    }

    /// Leaves out what matches the pattern. The first rule that matches a name decides.
    pub fn exclude(self, pattern: impl AsRef<OsStr>) -> Self {
        self.with_value("--exclude=", pattern)
    }

    /// Takes in what matches the pattern, whatever later rules say.
    pub fn include(self, pattern: impl AsRef<OsStr>) -> Self {
        self.with_value("--include=", pattern)
    }

    /// Adds a filter rule, such as `P /keep/`.
    pub fn filter(self, rule: impl AsRef<OsStr>) -> Self {
        self.with_value("--filter=", rule)
    }

    /// Keeps what is replaced or removed in this directory of the destination's machine.
    pub fn backup_dir(self, dir: impl AsRef<OsStr>) -> Self {
        self.option("--backup").with_value("--backup-dir=", dir)
    }

    /// Keeps partly transferred files in this directory, to go on from there the next time.
    pub fn partial_dir(self, dir: impl AsRef<OsStr>) -> Self {
        self.with_value("--partial-dir=", dir)
    }

    /// Limits the rate, in KiB a second.
    pub fn bandwidth_limit(self, rate: u32) -> Self {
        self.option(format!("--bwlimit={rate}"))
    }

    /// Gives up a peer that is silent for so long; whole seconds, at least one.
    pub fn timeout(self, after: Duration) -> Self {
        self.option(format!("--timeout={}", after.as_secs().max(1)))
    }

    /// The command that leads to another machine, with its options: `ssh -p 2222`.
    pub fn remote_shell(self, command: impl AsRef<OsStr>) -> Self {
        self.with_value("--rsh=", command)
    }

    /// Reports bytes while they are transferred, as [`Event::Progress`](crate::Event::Progress).
    pub fn progress(self) -> Self {
        self.option("--info=progress1")
    }

    /// The password for a daemon; otherwise that of `RSYNC_PASSWORD`. Nobody is asked.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Lets `cancel` stop the transfer from another thread, or from the events.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Carries the transfer out on this thread and some of its own, which call `events`.
    ///
    /// A transfer that came to its end may have left out what it could not read or write: an
    /// [`Event::Message`](crate::Event::Message) said why, and [`Outcome::exit_code`] is not 0.
    ///
    /// # Errors
    /// What makes no sense, and what ends the transfer before its end; [`Error::exit_code`] is rsync's.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a closure is written where it is handed over"
    )]
    pub fn run(&self, events: impl Events) -> Result<Outcome, Error> {
        let mut env = Env::new(std::env::vars_os());
        if let Some(password) = &self.password {
            env.put("RSYNC_PASSWORD", password.as_bytes());
        }
        rsync::embedded(self.arguments()?, &env, &self.cancel, &events)
    }

    /// The command line. A server tells of each change only if it was asked for.
    fn arguments(&self) -> Result<Vec<OsString>, Error> {
        let mut arguments = vec!["--itemize-changes".into()];
        arguments.extend(self.options.iter().cloned());
        arguments.push("--".into());
        for place in self.sources.iter().chain(&self.destination) {
            arguments.push(place.operand()?);
        }
        Ok(arguments)
    }

    fn with_value(self, option: &str, value: impl AsRef<OsStr>) -> Self {
        let mut option = OsString::from(option);
        option.push(value);
        self.option(option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_not_taken_for_others() {
        for (place, operand) in [
            (Place::local("/a:b"), "/a:b"),
            (Place::local("a:b"), "./a:b"),
            (Place::local("rsync://h/m"), "./rsync://h/m"),
            (Place::local("-a"), "-a"),
            (Place::from(Path::new("a/")), "a/"),
            (
                Place::daemon("h", 873, "m/a b").user("u"),
                "rsync://u@h:873/m/a b",
            ),
            (Place::daemon("::1", 1, "m"), "rsync://[::1]:1/m"),
            (Place::shell("h", "a:b").user("u"), "u@h:a:b"),
            (Place::shell("fe80::1", ""), "[fe80::1]:"),
        ] {
            assert_eq!(place.operand().unwrap(), operand);
        }
    }

    #[test]
    fn hosts_and_users_that_are_none_are_refused() {
        for place in [
            Place::shell("", "a"),
            Place::shell("h:a", "b"),
            Place::shell("h/a", "b"),
            Place::daemon("u@h", 1, "m"),
            Place::daemon("h", 1, "m").user("u:p"),
        ] {
            assert!(place.operand().is_err(), "{place:?}");
        }
    }

    #[test]
    fn options_stand_before_the_places() {
        let transfer = Transfer::archive().exclude("*.o").from("-a").to("b");
        let expected = [
            "--itemize-changes",
            "--archive",
            "--exclude=*.o",
            "--",
            "-a",
            "b",
        ];
        assert_eq!(transfer.arguments().unwrap(), expected);
    }
}
