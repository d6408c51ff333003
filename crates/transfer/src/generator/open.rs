//! Lists that are not finished, and requests whose fate is not known.

use std::sync::Arc;

use super::{At, Fate, Generator, Peer};
use crate::Error;
use crate::flist::List;

/// A list that is not finished.
pub(super) struct Open {
    pub(super) list: Arc<List>,
    /// The generator has passed it.
    pub(super) is_passed: bool,
    /// Requests from it whose fate is not known, and names that wait for another one of their group.
    pub(super) open: usize,
}

impl<P: Peer> Generator<'_, P> {
    /// Learns of a list before its turn comes.
    pub(crate) fn expect(&mut self, list: &Arc<List>) {
        self.links.expect(list);
        self.lists.push_back(Open {
            list: Arc::clone(list),
            is_passed: false,
            open: 0,
        });
    }

    /// Notes that every entry of a list has had its turn.
    pub(super) fn pass(&mut self, list: &Arc<List>) {
        if let Some(open) = self
            .lists
            .iter_mut()
            .find(|open| Arc::ptr_eq(&open.list, list))
        {
            open.is_passed = true;
        }
    }

    /// Takes the oldest list off, if it is finished and not the last one.
    pub(crate) fn release(&mut self) -> bool {
        let is_finished = self.lists.len() > 1
            && self
                .lists
                .front()
                .is_some_and(|open| open.is_passed && open.open == 0);
        if is_finished {
            self.lists.pop_front();
        }
        is_finished
    }

    /// Whether requests are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.open > 0
    }

    /// Waits until nothing is under way any more.
    pub(crate) fn settle_all(&mut self) -> Result<(), Error> {
        while self.open > 0 {
            self.settle(true)?;
        }
        Ok(())
    }

    /// Learns what became of requests.
    pub(crate) fn settle(&mut self, wait: bool) -> Result<(), Error> {
        // Parked files are no longer under way, and come once more when they are in place.
        if self.open == 0 && (wait || !self.options.delay_updates) {
            return Ok(());
        }
        for (number, fate) in self.peer.fates(wait)? {
            self.open = self.open.saturating_sub(1);
            let Some(list) = self.find(number) else {
                continue;
            };
            let Some(at) = At::of(&list, number) else {
                continue;
            };
            match fate {
                Fate::Redo => self.redo(at)?,
                Fate::Parked => {}
                Fate::Done => self.installed(at)?,
                Fate::Failed => self.settle_links(at, false)?,
            }
            self.count(number, -1);
        }
        Ok(())
    }

    pub(super) fn find(&self, number: u32) -> Option<Arc<List>> {
        self.lists
            .iter()
            .map(|open| &open.list)
            .find(|list| list.get(number).is_some())
            .cloned()
    }

    /// Counts what a list still waits for.
    pub(super) fn count(&mut self, number: u32, change: isize) {
        if let Some(open) = self
            .lists
            .iter_mut()
            .find(|open| open.list.get(number).is_some())
        {
            open.open = open.open.saturating_add_signed(change);
        }
    }
}
