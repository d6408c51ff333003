//! What a mirror is asked to do.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use transfer::{BadAddress, Credentials, DaemonAddress};
use wire::Protocol;

/// Everything a mirror needs to know to start.
#[derive(Debug)]
pub struct Settings {
    /// The directory to mirror.
    pub source: PathBuf,
    /// Where its replicas are.
    pub replicas: Vec<Place>,
    /// What is left out.
    pub rules: filter::Rules,
    /// Remove from the replicas what the source no longer has.
    pub deletes: bool,
    /// For daemons that ask.
    pub credentials: Credentials,
    /// How long a daemon may make no progress before it is given up.
    pub timeout: Duration,
    /// The newest protocol to speak with daemons.
    pub protocol: Protocol,
    /// How long to wait after a change for what comes with it.
    pub settle: Duration,
    /// Where to keep the ledger; none keeps it in memory.
    pub state: Option<PathBuf>,
    /// Bring everything over and end, without watching.
    pub once: bool,
    /// Mirror an empty source over a replica that is not.
    pub allow_empty_source: bool,
    /// Directories to watch at most, the others being polled; none for what the system allows.
    pub max_watches: Option<u64>,
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
