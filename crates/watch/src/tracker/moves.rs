//! Renames: two halves with one cookie, which may be far apart or alone.

use std::path::PathBuf;
use std::time::Instant;

use rustix::fs::inotify::ReadFlags;

use super::walk::Extent;
use super::{Departure, PAIR_WAIT, Tracker};
use crate::change::{Change, Reason, Touch};
use crate::inotify::Event;
use crate::names::NodeId;

impl Tracker {
    /// A name is gone: moved within the tree, if the other half comes, or out of it.
    pub(super) fn depart(&mut self, dir: NodeId, event: Event<'_>, from: PathBuf, now: Instant) {
        let is_dir = event.mask.contains(ReadFlags::ISDIR);
        let node = self.names.child(dir, event.name).filter(|_| is_dir);
        if let Some(node) = node {
            // At once, for something else may take the name before the other half is read.
            self.names.detach(node);
        }
        self.departures.push(Departure {
            cookie: event.cookie,
            dir,
            name: event.name.to_vec(),
            from,
            is_dir,
            node,
            stirred: false,
            since: now,
        });
    }

    /// A name was taken by something moved here, from within the tree or from elsewhere.
    pub(super) fn arrive(&mut self, dir: NodeId, event: Event<'_>, to: PathBuf) {
        let is_dir = event.mask.contains(ReadFlags::ISDIR);
        let half = self
            .departures
            .iter()
            .position(|departure| departure.cookie == event.cookie);
        let Some(half) = half else {
            self.touched(to.clone(), Touch::Created { is_dir });
            if is_dir {
                self.appear(dir, event.name, Reason::MovedIn);
            } else {
                // Nobody will close it here: it is complete as it comes.
                self.touched(to, Touch::Closed);
            }
            return;
        };
        let departure = self.departures.remove(half);
        self.out.push(Change::Moved {
            from: departure.from.clone(),
            to,
            is_dir,
        });
        if is_dir {
            self.resettle(dir, event.name, &departure);
        }
    }

    /// Puts a moved directory to its new place, and looks at both: when two directories swap names
    /// (renameat2), each name is taken before it is left, so that the last event of an occupied place
    /// says that it is free.
    fn resettle(&mut self, dir: NodeId, name: &[u8], departure: &Departure) {
        let Some(node) = departure.node else {
            self.appear(departure.dir, &departure.name, Reason::MovedIn);
            self.appear(dir, name, Reason::MovedIn);
            return;
        };
        if let Some(replaced) = self.names.child(dir, name) {
            self.forget(replaced);
        }
        self.names.attach(node, dir, name);
        self.appear(departure.dir, &departure.name, Reason::MovedIn);
        self.appear(dir, name, Reason::MovedIn);
        // What is pruned may depend on the path.
        let still_here = self.names.child(dir, name) == Some(node);
        if still_here && (departure.stirred || self.prune.is_some()) {
            self.walk(node, Extent::All);
            self.rescan(node, Reason::MovedIn);
        }
    }

    /// Gives up on halves that have waited long enough.
    pub(super) fn expire_departures(&mut self, now: Instant) {
        // One by one: what is found at the place of one may be another one that waits here.
        let expired = |departure: &Departure| departure.since + PAIR_WAIT <= now;
        while let Some(first) = self.departures.iter().position(expired) {
            let departure = self.departures.remove(first);
            self.departed(departure);
        }
    }

    /// It was moved out of the tree.
    pub(super) fn departed(&mut self, departure: Departure) {
        if let Some(node) = departure.node {
            self.forget(node);
        }
        let is_dir = departure.is_dir;
        self.touched(departure.from, Touch::Removed { is_dir });
        if is_dir {
            // It may have swapped names with one from outside.
            self.appear(departure.dir, &departure.name, Reason::MovedIn);
        }
    }

    /// Something happened below a directory that is between two places.
    pub(super) fn stir(&mut self, dir: NodeId) {
        let Tracker {
            departures, names, ..
        } = self;
        for departure in departures {
            if departure
                .node
                .is_some_and(|node| names.is_within(dir, node))
            {
                departure.stirred = true;
            }
        }
    }

    /// Whether something happened below a directory, or beside it, that had no path to be reported under.
    pub(super) fn missed_events(&self, node: NodeId) -> bool {
        self.departures.iter().any(|departure| {
            let within = |top| self.names.is_within(node, top);
            departure.stirred && departure.node.is_some_and(within)
        })
    }

    /// A directory on its way was found at its new place, so its second half has nothing to move.
    pub(super) fn found_on_its_way(&mut self, node: NodeId) {
        for departure in &mut self.departures {
            if departure.node == Some(node) {
                departure.node = None;
            }
        }
    }
}
