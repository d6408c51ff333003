//! No replica at all: for trees that are watched only for their hooks.

use std::collections::HashSet;

use transfer::{Applied, Batch, Error, Progress};

use super::{Broken, Destination};
use crate::planner::Abilities;

/// Takes everything and keeps nothing.
pub(crate) struct Nowhere;

impl Destination for Nowhere {
    fn prepare(&mut self) -> Result<Abilities, Error> {
        Ok(Abilities::ALL)
    }

    fn apply(&mut self, batch: &Batch, _: &mut dyn FnMut(Progress)) -> Result<Applied, Broken> {
        Ok(Applied {
            removed: batch.gone.iter().cloned().collect::<HashSet<_>>(),
            ..Applied::default()
        })
    }

    fn is_empty(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    fn count_removals(&mut self, _: &Batch, _: u64) -> Result<u64, Error> {
        Ok(0)
    }

    /// There is nothing to lose, and so no brake.
    fn deletes(&self) -> bool {
        false
    }
}
