//! Directories without a watch, compared with their snapshots in slices between events.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Tracker;
use super::walk::{self, Listed};
use crate::change::{Reason, Touch};
use crate::names::{Names, NodeId};
use crate::polled::{self, Difference, Entry, Why};

/// Events wait at most about this long for polling.
const SLICE: Duration = Duration::from_millis(10);

impl Tracker {
    /// Looks at some polled directories, if it is time.
    pub(super) fn poll_some(&mut self, now: Instant) {
        let began = Instant::now();
        let mut worked = false;
        while let Some(dir) = self.polled.next_directory(now) {
            worked = true;
            if self.polled.contains(dir) && !self.promote(dir) {
                self.poll(dir);
            }
            if self.ended || began.elapsed() >= SLICE || !self.polled.pass_under_way() {
                break;
            }
        }
        if worked {
            self.polled.slice_done(began.elapsed());
        }
    }

    /// Remembers what a polled directory holds, without a word about it.
    pub(super) fn take_snapshot(&mut self, dir: NodeId, fd: &OwnedFd, entries: &[Listed]) {
        let entries = self.stat_all(dir, fd, entries);
        self.polled.update(dir, entries);
    }

    /// Gives a directory a watch that has become free; true when it is polled no more.
    fn promote(&mut self, dir: NodeId) -> bool {
        if !self.polled.may_promote
            || self.polled.why(dir) != Some(Why::Limit)
            || self.at_own_limit()
        {
            return false;
        }
        let Some((above, name)) = self.place(dir) else {
            return false;
        };
        self.appear(above, &name, Reason::Limit);
        self.polled.may_promote = !self.polled.contains(dir);
        self.polled.may_promote
    }

    fn poll(&mut self, dir: NodeId) {
        let Some(path) = self.absolute(dir, b"") else {
            return;
        };
        let listing =
            walk::open(&path, dir == Names::ROOT).and_then(|fd| Ok((walk::list(&fd, false)?, fd)));
        let (listed, fd) = match listing {
            Ok(listing) => listing,
            Err(Errno::NOENT | Errno::NOTDIR) if dir == Names::ROOT => return self.end(),
            // The directory above tells if it is gone; otherwise the next pass may be luckier.
            Err(_) => return,
        };
        let entries = self.stat_all(dir, &fd, &listed);
        for (name, difference) in self.polled.update(dir, entries) {
            self.differs(dir, &name, difference);
        }
    }

    fn differs(&mut self, dir: NodeId, name: &[u8], difference: Difference) {
        let Some(path) = self.names.path_of(dir, name) else {
            return;
        };
        match difference {
            Difference::Written => self.touched(path, Touch::Written),
            Difference::Attributes => self.touched(path, Touch::Attributes),
            Difference::Appeared { is_dir } => {
                self.touched(path, Touch::Created { is_dir });
                if is_dir {
                    self.appear(dir, name, Reason::NewDirectory);
                }
            }
            Difference::Vanished { is_dir } => {
                self.touched(path, Touch::Removed { is_dir });
                if let Some(node) = self.names.child(dir, name) {
                    self.forget(node);
                }
            }
            Difference::Replaced { .. } if name.is_empty() => self.end(),
            Difference::Replaced { was_dir, is_dir } => {
                self.differs(dir, name, Difference::Vanished { is_dir: was_dir });
                self.differs(dir, name, Difference::Appeared { is_dir });
            }
        }
    }

    /// Entries that vanish meanwhile, and pruned ones, are left out.
    fn stat_all(&self, dir: NodeId, fd: &OwnedFd, listed: &[Listed]) -> Vec<Entry> {
        let now = polled::now();
        let mut entries: Vec<Entry> = listed
            .iter()
            .filter(|entry| !self.entry_pruned(dir, entry))
            .filter_map(|entry| {
                let name = entry.name.as_slice();
                let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                Some(Entry::new(name, &stat, now))
            })
            .collect();
        if dir == Names::ROOT
            && let Ok(stat) = rustix::fs::fstat(fd)
        {
            entries.push(Entry::new(b"", &stat, now));
        }
        entries
    }
}
