//! What a mirror is asked to do.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use transfer::{BadAddress, Credentials, DaemonAddress};
use wire::Protocol;

use crate::Error;
use crate::brake::BrakeLimits;

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
}

/// The rules of these texts, with the files they merge.
pub(crate) fn rules(texts: &[FilterRule]) -> Result<filter::Rules, Error> {
    let mut rules = filter::Rules::default();
    for text in texts {
        match text {
            FilterRule::Exclude(pattern) => rules.exclude(pattern),
            FilterRule::Include(pattern) => rules.include(pattern),
            FilterRule::Filter(rule) => rules.filter(rule, &mut merged_file),
        }?;
    }
    if rules.has_dir_merges() {
        return Err(Error::DirMerge);
    }
    Ok(rules)
}

/// Brings a file that a rule merges. Those within the tree are refused as per-directory rules.
fn merged_file(file: filter::MergeFile<'_>) -> std::io::Result<Option<Vec<u8>>> {
    use filter::MergeFile::{Above, InTree, Named};
    let (Named(name) | InTree(name) | Above(name)) = file;
    std::fs::read(OsStr::from_bytes(name)).map(Some)
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
    /// How long a peer may make no progress before it is given up; zero for ever.
    pub timeout: Duration,
    /// The newest protocol to speak.
    pub protocol: Protocol,
}

impl ReplicaSettings {
    /// A replica with the defaults of everything else.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self {
            name: place.to_string(),
            place,
            deletes: true,
            credentials: Credentials::default(),
            timeout: Duration::from_secs(60),
            protocol: Protocol::LATEST,
        }
    }
}

/// Where a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A module of an rsync daemon.
    Daemon(DaemonAddress),
}

impl FromStr for Place {
    type Err = BadAddress;

    /// Reads a destination as rsync reads it: what has no host before its first slash is a path. `HOST:PATH`, which
    /// asks for a remote shell, is refused.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        match text.parse() {
            Ok(address) => Ok(Self::Daemon(address)),
            Err(BadAddress::NotADaemon) => Ok(Self::Directory(PathBuf::from(text))),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Daemon(address) => address.fmt(f),
        }
    }
}
