//! What is run after changes have been brought over: commands, HTTP requests, messages to sockets.
//!
//! A hook hears of a change only when a replica has confirmed it, and of many at a time. Names travel as data, never as
//! part of a command line that a shell would read.

mod delivery;
mod runner;
mod stopping;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use serde::{Deserialize, Serialize};
use transfer::Cancel;

use self::runner::Runner;
use self::stopping::Stopping;
use crate::Error;
use crate::mirror::Report;

/// How many batches may wait for a hook that is slow. What comes then is counted, not kept.
const BACKLOG: usize = 64;

/// Stands for each path among a command's arguments.
pub const PATH_ARGUMENT: &str = "{path}";

/// Something to do after changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What.
    pub action: Action,
    /// Whose changes; all replicas' if empty.
    pub replicas: Vec<String>,
    /// Regular expressions, one of which must match the whole absolute path; all paths if empty.
    pub only: Vec<String>,
    /// How long to wait for more changes, to tell them together.
    pub wait: Duration,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Starts a program, once for each path if an argument contains [`PATH_ARGUMENT`], else once for a batch, which it
    /// reads from its standard input as JSON.
    Command(Vec<String>),
    /// The same for a script that `/bin/sh` runs, which somebody has asked for.
    Shell(String),
    /// Sends a batch as JSON.
    Http(Url),
    /// Sends a batch as one line of JSON, or each path alone over a connection of its own.
    Socket {
        /// `HOST:PORT`, or the path of a UNIX socket.
        address: String,
        /// Absolute paths instead of JSON.
        plain: bool,
    },
    /// Asks a content delivery network to forget what has changed, as sersync's refreshCDN did.
    Purge(Purge),
}

/// `http://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port, to connect to.
    pub authority: String,
    /// What is asked for there, with its slash.
    pub path: String,
}

impl Url {
    /// # Errors
    /// In words, when it is no such URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("{text}: give an http:// URL; for https, a command such as curl")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_legal = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !is_legal(rest) {
            return Err(format!("{text}: not a URL"));
        }
        Ok(Self {
            authority: authority.to_owned(),
            path: format!("/{path}"),
        })
    }
}

/// How a content delivery network is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// `HOST:PORT` of the network's interface.
    pub address: String,
    /// Its name as the request has it.
    pub domain: String,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The URL that stands for the tree's root.
    pub base: String,
    /// A regular expression on the path below the root: its first group and what follows the match are put after `base`.
    pub rewrite: Option<String>,
}

/// One change, as hooks hear of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The path below the source; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// The same path exactly, as hexadecimal digits, where `path` had to be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Whether it is a directory.
    pub is_dir: bool,
    #[serde(skip)]
    exact: PathBuf,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was made or brought up to date.
    Updated,
    /// It was removed.
    Removed,
}

impl Change {
    pub(crate) fn new(path: &Path, kind: ChangeKind, is_dir: bool) -> Self {
        let hex = || {
            let bytes = path.as_os_str().as_bytes().iter();
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            path: path.to_string_lossy().into_owned(),
            path_hex: path.to_str().is_none().then(hex),
            kind,
            is_dir,
            exact: path.to_owned(),
        }
    }

    /// The same for those who only look at it.
    pub(crate) fn shown(&self) -> Self {
        Self {
            path: self.path.clone(),
            path_hex: self.path_hex.clone(),
            kind: self.kind,
            is_dir: self.is_dir,
            exact: PathBuf::new(),
        }
    }
}

/// The hooks of a tree, each with a thread of its own. Dropping it lets them finish what they have been told; where the
/// mirror has been told to stop, for a moment.
pub(crate) struct Hooks {
    runners: Vec<(Hook, Sender<Told>)>,
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<Stopping>,
}

struct Told {
    replica: String,
    changes: Vec<Change>,
}

impl Hooks {
    /// Starts the hooks of the tree `name` at `source`; `stop` cuts short what they do.
    ///
    /// # Errors
    /// [`Error::Hook`] for an expression that means nothing, [`Error::Thread`].
    pub(crate) fn start(
        hooks: &[Hook],
        name: &str,
        source: &Path,
        report: &Report,
        stop: &Cancel,
    ) -> Result<Self, Error> {
        let stopping = Arc::new(Stopping::new(stop.clone()));
        let mut runners = Vec::new();
        let mut threads = Vec::new();
        for hook in hooks {
            let (sender, told) = bounded(BACKLOG);
            let runner = Runner {
                hook: hook.clone(),
                only: hook
                    .only
                    .iter()
                    .map(|text| whole(text))
                    .collect::<Result<_, _>>()?,
                rewrite: match &hook.action {
                    Action::Purge(Purge {
                        rewrite: Some(text),
                        ..
                    }) => Some(expression(text)?),
                    _ => None,
                },
                tree: name.to_owned(),
                source: source.to_owned(),
                told,
                report: report.clone(),
                stopping: Arc::clone(&stopping),
            };
            let thread = std::thread::Builder::new().name("hook".to_owned());
            threads.push(thread.spawn(move || runner.run()).map_err(Error::Thread)?);
            runners.push((hook.clone(), sender));
        }
        Ok(Self {
            runners,
            threads,
            stopping,
        })
    }

    /// Looks for mistakes without starting anything.
    ///
    /// # Errors
    /// [`Error::Hook`].
    pub(crate) fn check(hooks: &[Hook]) -> Result<(), Error> {
        for hook in hooks {
            for text in &hook.only {
                whole(text)?;
            }
            if let Action::Purge(Purge {
                rewrite: Some(text),
                ..
            }) = &hook.action
            {
                expression(text)?;
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runners.is_empty()
    }

    /// Tells the hooks what `replica` has confirmed. False if one of them is so far behind that it will not hear of it.
    pub(crate) fn tell(&self, replica: &str, changes: &[Change]) -> bool {
        let mut all = true;
        for (hook, sender) in &self.runners {
            if !hook.replicas.is_empty() && !hook.replicas.iter().any(|name| name == replica) {
                continue;
            }
            let told = Told {
                replica: replica.to_owned(),
                changes: changes.to_vec(),
            };
            all &= sender.try_send(told).is_ok();
        }
        all
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        const NAP: Duration = Duration::from_millis(10);
        self.runners.clear();
        for thread in self.threads.drain(..) {
            // One that waits for a server ends by its own time limits, or with the process.
            while !thread.is_finished() && !self.stopping.is_in_vain() {
                std::thread::sleep(NAP);
            }
        }
    }
}

fn whole(text: &str) -> Result<regex::bytes::Regex, Error> {
    expression(&format!("^(?:{text})$"))
}

fn expression(text: &str) -> Result<regex::bytes::Regex, Error> {
    regex::bytes::Regex::new(text).map_err(|error| Error::Hook(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn urls() {
        let url = Url::parse("http://h:8080/a?b=c").unwrap();
        assert_eq!(
            (url.authority.as_str(), url.path.as_str()),
            ("h:8080", "/a?b=c")
        );
        assert_eq!(Url::parse("http://h").unwrap().path, "/");
        for bad in [
            "https://h/",
            "h",
            "http:///x",
            "http://h/ x",
            "http://h/\r\nX: y",
            "http://u:p@h/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_are_no_text_are_told_exactly() {
        let change = Change::new(
            Path::new(OsStr::from_bytes(b"a\xff")),
            ChangeKind::Updated,
            false,
        );
        assert_eq!(change.path_hex.as_deref(), Some("61ff"));
        assert_eq!(
            Change::new(Path::new("ok"), ChangeKind::Removed, false).path_hex,
            None
        );
    }
}
