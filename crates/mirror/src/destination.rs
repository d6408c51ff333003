//! Where a replica lives, as far as the mirror needs to know: something that applies batches.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use transfer::{Applied, Batch, Cancel, Progress};

use crate::Error;
use crate::planner::Abilities;
use crate::settings::{Place, ReplicaSettings, Tls};
use crate::source::Source;

mod capabilities;
mod encrypted;
mod local;
mod nowhere;
mod refusals;
mod remote;
mod shell;

use local::DirectoryReplica;
use nowhere::Nowhere;
use remote::{Daemon, Peer, RemoteReplica};
use shell::RemoteShell;

/// Opens the place of a replica. A directory is made if it is missing; a peer is not asked before there is something to
/// do.
///
/// # Errors
/// [`Error::Directory`], [`Error::Certificates`].
pub(crate) fn open(
    settings: &ReplicaSettings,
    source: &Arc<Source>,
    cancel: &Cancel,
) -> Result<Box<dyn Destination>, Error> {
    let source = Arc::clone(source);
    match &settings.place {
        Place::Directory(path) => {
            let opened = DirectoryReplica::open(source, path, settings, cancel.clone());
            Ok(Box::new(opened.map_err(|error| Error::Directory {
                path: path.clone(),
                cause: error.into_cause(),
            })?))
        }
        Place::Daemon(address) => {
            let tls = settings.tls.as_ref().map(Tls::client).transpose()?;
            let peer = Peer::Daemon(Daemon {
                address: address.clone(),
                credentials: settings.credentials.clone(),
                tls,
            });
            Ok(Box::new(RemoteReplica::new(source, peer, settings, cancel)))
        }
        Place::Shell(address) => {
            let peer = Peer::Shell(RemoteShell::new(address.clone()));
            Ok(Box::new(RemoteReplica::new(source, peer, settings, cancel)))
        }
        Place::Nowhere => Ok(Box::new(Nowhere)),
    }
}

/// A place that holds a replica.
pub(crate) trait Destination: Send {
    /// Makes ready for a batch, as long as there is time: a connection takes its round trips while changes
    /// settle.
    fn prepare(&mut self) -> Result<Abilities, transfer::Error>;

    /// Applies a batch.
    fn apply(
        &mut self,
        batch: &Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken>;

    /// Whether the replica holds nothing that the filters do not exclude.
    fn is_empty(&mut self) -> Result<bool, transfer::Error>;

    /// How many names of the replica a batch would remove, directories included; counting may end at `enough`. Nothing
    /// is changed.
    fn count_removals(&mut self, batch: &Batch, enough: u64) -> Result<u64, transfer::Error>;

    /// Whether it removes anything at all.
    fn deletes(&self) -> bool;

    /// Why it removes nothing although it should, in the peer's words.
    fn refuses_deletions(&self) -> Option<&str> {
        None
    }

    /// What it keeps of no file although the source has it, each with the reason.
    fn lacks(&self) -> Vec<String> {
        Vec::new()
    }

    // What follows concerns only a replica at the end of a connection.

    /// Whether batches from here on are to tell of everything that they change ([`Applied::amended`]).
    fn tell_changes(&mut self, _tell: bool) {}

    /// Lets go of what [`Destination::prepare`] made ready: nothing is to be done for now.
    fn rest(&mut self) {}

    /// Whether the last failure has taught the destination something about itself, so that another plan will do
    /// better at once.
    fn has_learned(&mut self) -> bool {
        false
    }

    /// Whether the other end may go on with what it has been sent after a session broke.
    fn outlives_a_session(&self) -> bool {
        false
    }

    /// Asks again for what was refused: whoever runs the other end may have changed that. What the replica lacks for it is
    /// found by comparing the replica itself.
    fn forget_refusals(&mut self) {}

    /// Something about this replica that the operator should know, once.
    fn notice(&mut self) -> Option<String> {
        None
    }
}

/// A batch that was not brought to its end.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Why.
    pub error: transfer::Error,
    /// Files that the replica was writing, or may have written: it may hold any version of them, and a temporary
    /// file beside them.
    pub touched: HashSet<PathBuf>,
    /// Whether the replica may have done anything at all.
    pub began: bool,
}

impl From<transfer::Error> for Broken {
    /// A failure before the first change.
    fn from(error: transfer::Error) -> Self {
        Self {
            error,
            touched: HashSet::new(),
            began: false,
        }
    }
}

/// Where today's trash goes, below the replica.
fn trash_of_today(trash: &str) -> String {
    format!("{trash}/{}", jiff::Zoned::now().date())
}
