//! What a mirror is asked to do.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use transfer::{BadAddress, Credentials, DaemonAddress};
use wire::Protocol;

use crate::Error;
use crate::brake::BrakeLimits;
use crate::hooks::Hook;
use crate::schedule::Schedule;

/// Everything a mirror needs to know to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the tree is called where there are several.
    pub name: String,
    /// The directory to mirror.
    pub source: PathBuf,
    /// Where its replicas are.
    pub replicas: Vec<ReplicaSettings>,
    /// What is left out.
    pub rules: Vec<FilterRule>,
    /// How long to wait after a change for what comes with it.
    pub settle: Duration,
    /// Where to keep the ledger; none keeps it in memory.
    pub state: Option<PathBuf>,
    /// Where to listen for commands; none does not.
    pub control: Option<PathBuf>,
    /// Bring everything over and end, without watching.
    pub once: bool,
    /// Mirror an empty source over a replica that is not.
    pub allow_empty_source: bool,
    /// How much a batch may delete unasked.
    pub brake: BrakeLimits,
    /// Directories to watch at most, the others being polled; none for what the system allows.
    pub max_watches: Option<u64>,
    /// When to compare the whole tree with what the replicas are known to hold.
    pub rescan: Option<Schedule>,
    /// When to compare the replicas themselves.
    pub verify: Verify,
    /// A file that always lists what is failing now.
    pub failures: Option<PathBuf>,
    /// What to do after changes.
    pub hooks: Vec<Hook>,
}

/// A rule of what is left out, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterRule {
    /// The pattern of an `--exclude`.
    Exclude(Vec<u8>),
    /// The pattern of an `--include`.
    Include(Vec<u8>),
    /// A rule of rsync's filter language, as after `--filter`.
    Filter(Vec<u8>),
    /// A regular expression on whole paths: what matches is left out.
    Regex(String),
}

impl FilterRule {
    /// The text as it was given; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Exclude(text) | Self::Include(text) | Self::Filter(text) => {
                String::from_utf8_lossy(text).into_owned()
            }
            Self::Regex(text) => text.clone(),
        }
    }
}

/// When replicas are compared themselves, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// As soon as a replica is in step for the first time.
    pub at_start: bool,
    /// When.
    pub schedule: Option<Schedule>,
    /// Contents, or sizes and times only.
    pub by_content: bool,
    /// How many bytes a second may be compared; none for as many as possible.
    pub rate: Option<u64>,
}

impl Default for Verify {
    fn default() -> Self {
        Self {
            at_start: false,
            schedule: None,
            by_content: true,
            rate: None,
        }
    }
}

/// One replica, and how it is to be treated.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaSettings {
    /// What it is called; the place, unless something else is given.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Remove from it what the source no longer has.
    pub deletes: bool,
    /// For a daemon that asks.
    pub credentials: Credentials,
    /// Talk to the daemon over TLS.
    pub tls: Option<Tls>,
    /// How long a peer may make no progress before it is given up; zero for ever.
    pub timeout: Duration,
    /// The newest protocol to speak.
    pub protocol: Protocol,
    /// A directory of the replica that keeps what was overwritten or deleted, by days.
    pub trash: Option<String>,
    /// Compress what is sent to a peer.
    pub compress: bool,
    /// How many bytes of content a second may be sent to a peer; none for as many as possible.
    pub bandwidth: Option<u64>,
    /// How many sessions a large batch is divided for at most. Each takes a connection of the peer's.
    pub sessions: usize,
}

/// As many sessions as keep a peer's receivers busy without taking its slots from others.
pub const SESSIONS: usize = 2;

impl ReplicaSettings {
    /// A replica with the defaults of everything else.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self {
            name: place.to_string(),
            place,
            deletes: true,
            credentials: Credentials::default(),
            tls: None,
            timeout: Duration::from_secs(60),
            protocol: Protocol::LATEST,
            trash: None,
            compress: false,
            bandwidth: None,
            sessions: SESSIONS,
        }
    }
}

/// Whose certificates are believed where a daemon is talked to over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates in PEM: these, and those that they vouch for. Without them, whom the system believes.
    pub authorities: Option<Vec<u8>>,
}

impl Tls {
    /// Believes the certificates in a file.
    ///
    /// # Errors
    /// [`Error::Certificates`]: it cannot be read, or has none.
    pub fn believing(path: &Path) -> Result<Self, Error> {
        const LENGTH_MAX: u64 = 16 << 20;
        let bad = |cause: String| Error::Certificates(format!("{}: {cause}", path.display()));
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LENGTH_MAX).read_to_end(&mut text))
            .map_err(|cause| bad(cause.to_string()))?;
        tls::Client::new(&text).map_err(|cause| bad(cause.to_string()))?;
        Ok(Self {
            authorities: Some(text),
        })
    }

    /// The end that believes them.
    ///
    /// # Errors
    /// [`Error::Certificates`]: there are none.
    pub(crate) fn client(&self) -> Result<tls::Client, Error> {
        let client = match &self.authorities {
            Some(text) => tls::Client::new(text),
            None => tls::Client::of_system(),
        };
        client.map_err(|cause| Error::Certificates(cause.to_string()))
    }
}

/// Where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A module of an rsync daemon.
    Daemon(DaemonAddress),
    /// A directory of another machine, behind a remote shell.
    Shell(ShellAddress),
    /// Nowhere: the tree is watched for its hooks.
    Nowhere,
}

/// `[USER@]HOST:PATH`, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellAddress {
    /// The user at the far end, where one is named.
    pub user: Option<String>,
    /// The host, as the shell takes it.
    pub host: String,
    /// The directory there; relative to the user's home.
    pub path: String,
    /// The shell's command and its arguments.
    pub command: Vec<String>,
    /// The rsync program there.
    pub rsync: String,
}

/// What a mirror takes when no command is given: there is nobody who could answer a question.
const SHELL: [&str; 3] = ["ssh", "-o", "BatchMode=yes"];

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// A daemon's address that is none.
    #[error(transparent)]
    Daemon(#[from] BadAddress),
    /// Nothing before the colon, or nothing at all.
    #[error("{0:?} names no destination")]
    Empty(String),
}

impl Place {
    /// Reads a destination as rsync reads it: what has no host before its first slash is a path. `shell` is the command that
    /// leads to a host, `rsync` the program there; both have defaults. A daemon is talked to over TLS if `is_encrypted`,
    /// which has another port by default.
    ///
    /// # Errors
    /// It begins like an address and is none.
    pub fn parse(
        text: &str,
        shell: &[String],
        rsync: Option<&str>,
        is_encrypted: bool,
    ) -> Result<Self, BadPlace> {
        let port = match is_encrypted {
            true => tls::DEFAULT_PORT,
            false => transfer::DEFAULT_PORT,
        };
        match DaemonAddress::with_default_port(text, port) {
            Ok(address) => return Ok(Self::Daemon(address)),
            Err(BadAddress::NotADaemon) => {}
            Err(error) => return Err(error.into()),
        }
        let Some((host, path)) = split_host(text) else {
            return match text.is_empty() {
                true => Err(BadPlace::Empty(text.to_owned())),
                false => Ok(Self::Directory(PathBuf::from(text))),
            };
        };
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), host),
            None => (None, host),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        // A host that begins with a dash would be an option to the shell.
        if host.is_empty() || host.starts_with('-') {
            return Err(BadPlace::Empty(text.to_owned()));
        }
        let command = match shell.is_empty() {
            true => SHELL.map(str::to_owned).to_vec(),
            false => shell.to_vec(),
        };
        Ok(Self::Shell(ShellAddress {
            user,
            host: host.to_owned(),
            path: if path.is_empty() { "." } else { path }.to_owned(),
            command,
            rsync: rsync.unwrap_or("rsync").to_owned(),
        }))
    }
}

/// `HOST:PATH` at the first colon before any slash; a host in brackets may contain colons.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let bracket = text
        .find('[')
        .filter(|at| !text[..*at].contains(['/', ':']));
    let from = match bracket {
        Some(at) => at + text[at..].find(']')?,
        None => 0,
    };
    let colon = from + text[from..].find([':', '/'])?;
    let path = text[colon..].strip_prefix(':')?;
    Some((&text[..colon], path))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Daemon(address) => address.fmt(f),
            Self::Shell(ShellAddress {
                user, host, path, ..
            }) => {
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                match host.contains(':') {
                    true => write!(f, "[{host}]:{path}"),
                    false => write!(f, "{host}:{path}"),
                }
            }
            Self::Nowhere => f.write_str("hooks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let shown = |text: &str| match Place::parse(text, &[], None, false) {
            Ok(Place::Directory(path)) => format!("dir {}", path.display()),
            Ok(Place::Daemon(address)) => format!("daemon {address}"),
            Ok(place @ Place::Shell(_)) => format!("shell {place}"),
            Ok(Place::Nowhere) => "nowhere".to_owned(),
            Err(error) => format!("error {error}"),
        };
        for (text, expected) in [
            ("/a:b", "dir /a:b"),
            ("./a:b", "dir ./a:b"),
            ("plain", "dir plain"),
            ("host:path", "shell host:path"),
            ("u@host:/abs/p:q", "shell u@host:/abs/p:q"),
            ("u@[::1]:p", "shell u@[::1]:p"),
            ("host:", "shell host:."),
            ("host::mod", "daemon rsync://host/mod"),
            (":path", "error \":path\" names no destination"),
            (
                "-oProxyCommand=x:p",
                "error \"-oProxyCommand=x:p\" names no destination",
            ),
            ("", "error \"\" names no destination"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let encrypted = |text: &str| Place::parse(text, &[], None, true).unwrap().to_string();
        assert_eq!(encrypted("host::mod"), "rsync://host:874/mod");
        assert_eq!(encrypted("rsync://host:873/mod"), "rsync://host/mod");
    }
}
