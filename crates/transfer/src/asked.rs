//! What the generator has asked for and the sender has not answered yet. Nothing else may come: a file that the options
//! leave alone is not for the sender to touch.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The numbers of entries whose content is awaited. The generator adds, the receiver takes.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<HashSet<u32>>);

impl Asked {
    /// Notes a request, before it is sent.
    pub(crate) fn add(&self, number: u32) {
        self.with(|numbers| numbers.insert(number));
    }

    /// Notes an answer. False if there was no request for it.
    pub(crate) fn take(&self, number: u32) -> bool {
        self.with(|numbers| numbers.remove(&number))
    }

    /// How many requests have no answer.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn with(&self, change: impl FnOnce(&mut HashSet<u32>) -> bool) -> bool {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
