//! Directories without a watch: what they held when last looked at, and when to look again.
//!
//! Each polled directory is one unit with a snapshot of its own entries, so that polling can be done
//! in small slices between events, and a renamed directory keeps its snapshot.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Stat};

use crate::names::NodeId;

/// Why a directory is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was no watch left; a later pass tries again.
    Limit,
    /// It is the second place of a directory (a bind mount), and watches belong to directories.
    Alias,
    /// The whole tree is polled.
    Asked,
}

/// All polled directories and the pass over them.
pub(crate) struct Polled {
    levels: BTreeMap<NodeId, Level>,
    /// How many of them are polled for want of a watch.
    limited: usize,
    every: Duration,
    /// What the pass under way has still to look at.
    rest: Vec<NodeId>,
    next_pass: Instant,
    /// Time the pass has taken so far.
    spent: Duration,
    /// Whether this pass has met no refused watch yet.
    pub(crate) may_promote: bool,
}

struct Level {
    why: Why,
    entries: Vec<Entry>,
}

/// An entry of a polled directory. The empty name is the directory itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    stamp: Stamp,
    /// It changed so shortly before it was looked at that another change may carry the same times.
    doubtful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// How an entry differs from the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    Appeared {
        is_dir: bool,
    },
    Vanished {
        is_dir: bool,
    },
    /// Another object has the name.
    Replaced {
        was_dir: bool,
        is_dir: bool,
    },
    Written,
    Attributes,
}

/// A pass uses at most this part of the time: 1 in 10.
const IDLE_PER_BUSY: u32 = 9;

/// Clock tick of kernels that stamp files by the tick (100 Hz), with a margin.
const TICK: Duration = Duration::from_millis(20);

impl Polled {
    pub(crate) fn new(every: Duration) -> Polled {
        Polled {
            levels: BTreeMap::new(),
            limited: 0,
            every,
            rest: Vec::new(),
            next_pass: Instant::now(),
            spent: Duration::ZERO,
            may_promote: false,
        }
    }

    pub(crate) fn insert(&mut self, node: NodeId, why: Why) {
        if self.levels.is_empty() {
            self.next_pass = Instant::now() + self.every;
        }
        let entries = Vec::new();
        self.limited += usize::from(why == Why::Limit);
        let replaced = self.levels.insert(node, Level { why, entries });
        debug_assert!(replaced.is_none(), "a new node");
    }

    pub(crate) fn remove(&mut self, node: NodeId) {
        let level = self.levels.remove(&node);
        self.limited -= usize::from(level.is_some_and(|level| level.why == Why::Limit));
    }

    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.levels.contains_key(&node)
    }

    pub(crate) fn why(&self, node: NodeId) -> Option<Why> {
        self.levels.get(&node).map(|level| level.why)
    }

    pub(crate) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether any directory is polled for want of a watch.
    pub(crate) fn any_limited(&self) -> bool {
        self.limited > 0
    }

    /// Replaces the snapshot of a directory; returns what differs. `entries` in any order.
    pub(crate) fn update(
        &mut self,
        node: NodeId,
        mut entries: Vec<Entry>,
    ) -> Vec<(Box<[u8]>, Difference)> {
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let Some(level) = self.levels.get_mut(&node) else {
            return Vec::new();
        };
        let differences = compare(&level.entries, &entries);
        level.entries = entries;
        differences
    }

    /// When there is something to do; `None` while nothing is polled.
    pub(crate) fn next(&self) -> Option<Instant> {
        (!self.levels.is_empty()).then_some(self.next_pass)
    }

    /// The next directory to look at, if it is time.
    pub(crate) fn next_directory(&mut self, now: Instant) -> Option<NodeId> {
        if self.levels.is_empty() || now < self.next_pass {
            return None;
        }
        if self.rest.is_empty() {
            self.rest = self.levels.keys().rev().copied().collect();
            self.spent = Duration::ZERO;
            self.may_promote = true;
        }
        self.rest.pop()
    }

    /// Whether the pass has more to look at.
    pub(crate) fn pass_under_way(&self) -> bool {
        !self.rest.is_empty()
    }

    /// A slice of the pass is done; the next pass is due the later, the longer this one takes.
    pub(crate) fn slice_done(&mut self, took: Duration) {
        self.spent += took;
        if self.rest.is_empty() {
            self.next_pass = Instant::now() + self.every.max(self.spent * IDLE_PER_BUSY);
        }
    }
}

impl Entry {
    /// `now` is the time since the epoch at which `stat` was taken.
    pub(crate) fn new(name: &[u8], stat: &Stat, now: Duration) -> Entry {
        let seconds = u64::try_from(stat.st_ctime).unwrap_or(0);
        let changed = Duration::new(seconds, u32::try_from(stat.st_ctime_nsec).unwrap_or(0));
        Entry {
            name: name.into(),
            stamp: Stamp {
                device: stat.st_dev,
                inode: stat.st_ino,
                mode: stat.st_mode,
                owner: (stat.st_uid, stat.st_gid),
                size: stat.st_size,
                modified: (stat.st_mtime, stat.st_mtime_nsec),
                changed: (stat.st_ctime, stat.st_ctime_nsec),
            },
            doubtful: changed + TICK >= now,
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.stamp.mode).is_dir()
    }

    fn difference(&self, now: &Entry) -> Option<Difference> {
        let (old, new) = (&self.stamp, &now.stamp);
        let kind = |stamp: &Stamp| FileType::from_raw_mode(stamp.mode);
        if (old.device, old.inode, kind(old)) != (new.device, new.inode, kind(new)) {
            return Some(Difference::Replaced {
                was_dir: self.is_dir(),
                is_dir: now.is_dir(),
            });
        }
        let own = |stamp: &Stamp| (stamp.mode, stamp.owner);
        let content = |stamp: &Stamp| (stamp.size, stamp.modified);
        if now.is_dir() {
            // A directory's content changes with its entries, which are compared themselves.
            let quiet = content(old) == content(new) && old.changed != new.changed;
            (quiet || own(old) != own(new)).then_some(Difference::Attributes)
        } else if content(old) != content(new) || (self.doubtful && kind(new).is_file()) {
            Some(Difference::Written)
        } else {
            (old != new).then_some(Difference::Attributes)
        }
    }
}

/// The time since the epoch, to tell which files changed just now.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Both sorted by name.
fn compare(old: &[Entry], new: &[Entry]) -> Vec<(Box<[u8]>, Difference)> {
    let mut differences = Vec::new();
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return differences,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        let (name, difference) = match (old, new) {
            (Some(old), Some(new)) => (&new.name, old.difference(new)),
            (Some(old), None) => {
                let is_dir = old.is_dir();
                (&old.name, Some(Difference::Vanished { is_dir }))
            }
            (None, Some(new)) => {
                let is_dir = new.is_dir();
                (&new.name, Some(Difference::Appeared { is_dir }))
            }
            (None, None) => continue,
        };
        differences.extend(difference.map(|difference| (name.clone(), difference)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32, inode: u64, time: i64) -> Entry {
        Entry {
            name: name.as_bytes().into(),
            stamp: Stamp {
                device: 1,
                inode,
                mode,
                owner: (0, 0),
                size: 0,
                modified: (time, 0),
                changed: (time, 0),
            },
            doubtful: false,
        }
    }

    fn difference(old: &Entry, new: &Entry) -> Option<Difference> {
        let differences = compare(std::slice::from_ref(old), std::slice::from_ref(new));
        differences.first().map(|(_, difference)| *difference)
    }

    #[test]
    fn entries_that_come_go_and_stay() {
        let (file, directory) = (0o100_644, 0o040_755);
        let old = [entry("a", file, 1, 1), entry("c", file, 2, 1)];
        let new = [entry("b", directory, 3, 1), entry("c", file, 2, 1)];
        let expected = [
            (b"a"[..].into(), Difference::Vanished { is_dir: false }),
            (b"b"[..].into(), Difference::Appeared { is_dir: true }),
        ];
        assert_eq!(compare(&old, &new), expected);
    }

    #[test]
    fn what_a_difference_of_a_file_means() {
        let old = entry("f", 0o100_644, 1, 1);
        assert_eq!(difference(&old, &old), None);
        let written = entry("f", 0o100_644, 1, 2);
        assert_eq!(difference(&old, &written), Some(Difference::Written));
        let changed = entry("f", 0o100_600, 1, 1);
        assert_eq!(difference(&old, &changed), Some(Difference::Attributes));
        let replaced = Difference::Replaced {
            was_dir: false,
            is_dir: true,
        };
        let directory = entry("f", 0o040_755, 1, 1);
        assert_eq!(difference(&old, &directory), Some(replaced));
    }

    #[test]
    fn a_directory_does_not_change_because_its_entries_do() {
        let old = entry("d", 0o040_755, 1, 1);
        assert_eq!(difference(&old, &entry("d", 0o040_755, 1, 2)), None);
        let mode = entry("d", 0o040_700, 1, 1);
        assert_eq!(difference(&old, &mode), Some(Difference::Attributes));
    }

    #[test]
    fn a_file_seen_in_the_tick_of_its_change_is_told_once_more() {
        let mut old = entry("f", 0o100_644, 1, 1);
        old.doubtful = true;
        let new = entry("f", 0o100_644, 1, 1);
        assert_eq!(difference(&old, &new), Some(Difference::Written));
        assert_eq!(difference(&new, &new), None);
    }
}
