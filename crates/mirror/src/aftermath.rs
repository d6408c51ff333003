//! What may still happen at a replica after a session broke.
//!
//! A cut connection does not end the other end's work: what lies in its socket is still written, by a busy worker
//! seconds later and by a stopped one when it is continued, beside whatever the next session brings. It may put an
//! older version over a newer one, leave a temporary file, or change a directory's times. Nothing tells when that is
//! over, so the directories that the session was busy with are compared whole several times, at growing intervals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long after the break the looks take place. Until the first one the replica does not count as being in step.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// The directories that a broken session may still change.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    directories: BTreeSet<PathBuf>,
    /// When the last session broke; none when nothing more can happen.
    since: Option<Instant>,
    looks_done: usize,
}

impl Aftermath {
    /// A session broke at `now` while it was busy with `paths`.
    pub(crate) fn expect<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>, now: Instant) {
        let directories = paths.into_iter().filter_map(Path::parent);
        self.directories.extend(directories.map(Path::to_owned));
        if !self.directories.is_empty() {
            self.since = Some(now);
            self.looks_done = 0;
        }
    }

    /// When to look next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        Some(self.since? + *LOOKS.get(self.looks_done)?)
    }

    /// The directories to look at, when it is time; with the last look they are forgotten.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<BTreeSet<PathBuf>> {
        if self.next_due()? > now {
            return None;
        }
        self.looks_done += 1;
        if self.looks_done < LOOKS.len() {
            return Some(self.directories.clone());
        }
        self.since = None;
        Some(std::mem::take(&mut self.directories))
    }

    /// Whether not even the first look has taken place.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since.is_some() && self.looks_done == 0
    }

    /// Whether something may still happen in `directory`.
    pub(crate) fn concerns(&self, directory: &Path) -> bool {
        self.directories.contains(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_looked_at_at_growing_intervals_and_then_forgotten() {
        let mut aftermath = Aftermath::default();
        let start = Instant::now();
        assert_eq!(aftermath.next_due(), None);
        aftermath.expect([Path::new("a/file"), Path::new("a/other")], start);
        assert!(aftermath.is_fresh());
        assert!(aftermath.concerns(Path::new("a")));
        assert!(!aftermath.concerns(Path::new("b")));
        assert_eq!(aftermath.take_due(start), None);
        for pause in LOOKS {
            assert_eq!(aftermath.next_due(), Some(start + pause));
            let due = aftermath.take_due(start + pause).unwrap();
            assert_eq!(due, BTreeSet::from([PathBuf::from("a")]));
            assert!(!aftermath.is_fresh());
        }
        assert_eq!(aftermath.next_due(), None);
        assert!(!aftermath.concerns(Path::new("a")));
    }

    #[test]
    fn another_break_starts_anew() {
        let mut aftermath = Aftermath::default();
        let start = Instant::now();
        aftermath.expect([Path::new("a")], start);
        aftermath.take_due(start + LOOKS[0]).unwrap();
        let again = start + LOOKS[1];
        aftermath.expect([Path::new("b/c")], again);
        assert!(aftermath.is_fresh());
        let due = aftermath.take_due(again + LOOKS[0]).unwrap();
        assert_eq!(due, BTreeSet::from([PathBuf::new(), PathBuf::from("b")]));
    }

    #[test]
    fn nothing_touched_is_nothing_to_expect() {
        let mut aftermath = Aftermath::default();
        aftermath.expect([], Instant::now());
        assert_eq!(aftermath.next_due(), None);
        assert!(!aftermath.is_fresh());
    }
}
