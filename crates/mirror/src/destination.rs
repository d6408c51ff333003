//! Where a replica lives, as far as the mirror needs to know: something that applies batches.

use std::collections::HashSet;
use std::path::PathBuf;

use transfer::{Applied, Batch, Progress};

use crate::planner::Abilities;

mod daemon;
mod local;

pub(crate) use daemon::DaemonReplica;
pub(crate) use local::DirectoryReplica;

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

    /// Lets go of what [`Destination::prepare`] made ready: nothing is to be done for now.
    fn rest(&mut self);

    /// Whether the last failure has taught the destination something about itself, so that another plan will do
    /// better at once.
    fn has_learned(&mut self) -> bool {
        false
    }

    /// Whether the other end may go on with what it has been sent after a session broke.
    fn outlives_a_session(&self) -> bool {
        true
    }

    /// Something about this replica that the operator should know, once.
    fn notice(&mut self) -> Option<String>;
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
