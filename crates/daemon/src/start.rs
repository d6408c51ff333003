//! How a daemon starts: as the listener, for one connection that somebody else has accepted, or behind a remote shell
//! (behaviour.md 8.1).

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rsync::{DaemonGiven, Env, Exit, strerror};
use rustix::fs::FileType;
use wire::Protocol;

use crate::check::check;
use crate::config::{Config, Failure, Override, Settings};
use crate::journal::{Destination, Journal};
use crate::listener::{self, signals};
use crate::supervisor::Handover;
use crate::terminator;
use crate::worker::{self, Transport};

/// What all processes of a daemon start with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) given: DaemonGiven,
    pub(crate) env: Env,
    config: PathBuf,
    overrides: Vec<Override>,
}

/// Runs a daemon with these options in this environment, and tells its exit code.
#[must_use]
pub fn main(given: DaemonGiven, env: Env) -> u8 {
    let mut setup = match Setup::new(given, env) {
        Ok(setup) => setup,
        Err(text) => return complain(&text, 1),
    };
    if setup.given.check_config {
        return check_config(&setup);
    }
    // The listener that has started us keeps them for itself.
    signals::let_through();
    if let Some(resumed) = Handover::taken(&setup.env) {
        return worker::resume(&setup, resumed);
    }
    if setup.given.server {
        return worker::serve(&setup, Transport::Shell);
    }
    if is_connection() {
        if setup.env.get(terminator::VARIABLE).is_some() {
            return terminator::serve(&setup);
        }
        return worker::serve(&setup, Transport::Socket);
    }
    listener::run(&mut setup)
}

/// Tells what is wrong with the configuration; the exit code is that of a syntax error if anything is.
fn check_config(setup: &Setup) -> u8 {
    let findings = check(&setup.config, &setup.overrides, &setup.env);
    let text: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(_) => 11,
        Ok(()) if findings.is_empty() => 0,
        Ok(()) => 1,
    }
}

/// Whether standard input is a connection that somebody has accepted for us.
fn is_connection() -> bool {
    let stdin = rustix::stdio::stdin();
    let is_socket = rustix::fs::fstat(stdin)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    is_socket && rustix::net::sockopt::socket_acceptconn(stdin).is_ok_and(|listens| !listens)
}

/// Says on standard error why there is no daemon.
pub(crate) fn complain(text: &str, code: u8) -> u8 {
    // There is nobody left to tell of an error on standard error.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}

impl Setup {
    fn new(given: DaemonGiven, env: Env) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let config = match &given.config {
            Some(file) => crate::as_path(file),
            None if given.server && !is_root => PathBuf::from("rsyncd.conf"),
            None => PathBuf::from("/etc/rsyncd.conf"),
        };
        let overrides: Result<_, _> = given
            .parameters
            .iter()
            .map(|text| Override::parse(text))
            .collect();
        let overrides = overrides.map_err(|error| {
            let last = rsync::last_line(Exit::Syntax, "client");
            format!("{error}\n{last}")
        })?;
        Ok(Self {
            given,
            env,
            config,
            overrides,
        })
    }

    /// Reads the whole configuration, and opens the log that it names. What is wrong with it is logged.
    ///
    /// # Errors
    /// The exit code, if there is no configuration.
    pub(crate) fn open(&self) -> Result<(Config, Journal), u8> {
        let role = "Receiver";
        match Config::load(&self.config, &self.overrides, &self.env) {
            Ok(config) => {
                let journal = self.journal(&config);
                // Whoever has handed over to us has said it.
                let is_first = Handover::taken(&self.env).is_none();
                for problem in config.problems.iter().filter(|_| is_first) {
                    for line in problem.fault.log_lines(role) {
                        journal.warn(&line);
                    }
                }
                Ok((config, journal))
            }
            Err(failure) => {
                // What the file said before it went wrong still tells where the log is.
                let journal = self.open_journal(self.log(&failure.defaults, &self.env));
                for line in failure.log_lines(role) {
                    journal.warn(&line);
                }
                journal.warn(&rsync::last_line(Exit::Syntax, role));
                Err(Exit::Syntax.code())
            }
        }
    }

    /// Reads what the listener needs of the configuration.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn globals(&self) -> Result<Config, Failure> {
        Config::load_globals(&self.config, &self.overrides, &self.env)
    }

    /// The configuration file.
    pub(crate) fn config_file(&self) -> &std::path::Path {
        &self.config
    }

    /// The log of the daemon as a whole.
    pub(crate) fn journal(&self, config: &Config) -> Journal {
        self.open_journal(self.log(&config.defaults, &self.env))
    }

    /// Where these settings want their lines, unless the command line has said it.
    pub(crate) fn log(&self, settings: &Settings, env: &Env) -> Destination {
        let wanted = Destination::of(settings, env);
        let given = self.given.log_file.as_deref().map(crate::as_path);
        Destination {
            file: given.or(wanted.file),
            ..wanted
        }
    }

    fn open_journal(&self, destination: Destination) -> Journal {
        let file = destination.file.clone().unwrap_or_default();
        let (journal, failed) = Journal::open(destination);
        if let Some(cause) = failed {
            let (file, cause) = (file.display(), strerror(&cause));
            journal.warn(&format!(
                "rsync: [Receiver] failed to open log-file {file}: {cause}"
            ));
            journal.note("Ignoring \"log file\" setting.");
        }
        journal
    }

    /// The newest protocol to speak.
    pub(crate) fn newest(&self) -> Protocol {
        self.given
            .protocol
            .and_then(|number| Protocol::new(u8::try_from(number).ok()?))
            .unwrap_or(Protocol::LATEST)
    }

    /// This program again, with the same arguments: a process without a past.
    pub(crate) fn anew(&self) -> Command {
        let mut arguments = std::env::args_os();
        // The link of the running program leads to it even after an update has replaced the file.
        let mut command = Command::new("/proc/self/exe");
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).stdout(Stdio::null());
        command
    }
}
