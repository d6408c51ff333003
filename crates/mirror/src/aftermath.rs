//! What may still happen at a replica after a session broke.
//!
//! A cut connection does not end the other end's work: what lies in its socket is still written, by a busy worker
//! seconds later and by a stopped one when it is continued, beside whatever the next session brings. It may put an
//! older version over a newer one, leave a temporary file, or change a directory's times. Nothing tells when that is
//! over, so the directories that the session was busy with are compared whole several times, at growing intervals. A file
//! whose version since then looks just like the one that may still arrive is compared by content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tree::Meta;

/// How long after the break the looks take place. Until the first one the replica does not count as being in step.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// What a broken session may still change.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    directories: BTreeSet<PathBuf>,
    /// The versions of files that were on their way.
    sent: BTreeMap<PathBuf, Vec<Meta>>,
    /// When the last session broke; none when nothing more can happen.
    since: Option<Instant>,
    looks_done: usize,
}

/// What is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks {
    /// To be listed whole.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// To be compared by content.
    pub(crate) files: Vec<PathBuf>,
}

impl Aftermath {
    /// A session broke at `now` while it was busy in `directories`, and had these versions of files on their way.
    pub(crate) fn expect<'d, 's>(
        &mut self,
        directories: impl IntoIterator<Item = &'d Path>,
        sent: impl IntoIterator<Item = (&'s Path, Meta)>,
        now: Instant,
    ) {
        let directories = directories.into_iter().map(Path::to_owned);
        self.directories.extend(directories);
        for (path, version) in sent {
            self.sent.entry(path.to_owned()).or_default().push(version);
        }
        if !self.directories.is_empty() {
            self.since = Some(now);
            self.looks_done = 0;
        }
    }

    /// When to look next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        Some(self.since? + *LOOKS.get(self.looks_done)?)
    }

    /// What to look at, when it is time, given what the source has now; with the last look it is forgotten.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        source: impl Fn(&Path) -> Option<Meta>,
    ) -> Option<Looks> {
        if self.next_due()? > now {
            return None;
        }
        let is_mistakable = |(path, sent): &(&PathBuf, &Vec<Meta>)| {
            let now = source(path);
            let is_another = |sent: &Meta, now: &Meta| {
                (sent.size, sent.mtime.sec) == (now.size, now.mtime.sec)
                    && !now.unchanged_since(sent)
            };
            now.is_some_and(|now| sent.iter().any(|sent| is_another(sent, &now)))
        };
        let mistakable = self.sent.iter().filter(is_mistakable);
        let files = mistakable.map(|(path, _)| path.clone()).collect();
        self.looks_done += 1;
        let directories = match self.looks_done < LOOKS.len() {
            true => self.directories.clone(),
            false => {
                self.since = None;
                self.sent.clear();
                std::mem::take(&mut self.directories)
            }
        };
        Some(Looks { directories, files })
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
        aftermath.expect([Path::new("a")], [], start);
        assert!(aftermath.is_fresh());
        assert!(aftermath.concerns(Path::new("a")));
        assert!(!aftermath.concerns(Path::new("b")));
        assert_eq!(aftermath.take_due(start, |_| None), None);
        for pause in LOOKS {
            assert_eq!(aftermath.next_due(), Some(start + pause));
            let due = aftermath.take_due(start + pause, |_| None).unwrap();
            assert_eq!(due.directories, BTreeSet::from([PathBuf::from("a")]));
            assert!(!aftermath.is_fresh());
        }
        assert_eq!(aftermath.next_due(), None);
        assert!(!aftermath.concerns(Path::new("a")));
    }

    #[test]
    fn another_break_starts_anew() {
        let mut aftermath = Aftermath::default();
        let start = Instant::now();
        aftermath.expect([Path::new("")], [], start);
        aftermath.take_due(start + LOOKS[0], |_| None).unwrap();
        let again = start + LOOKS[1];
        aftermath.expect([Path::new("b")], [], again);
        assert!(aftermath.is_fresh());
        let due = aftermath.take_due(again + LOOKS[0], |_| None).unwrap();
        let expected = BTreeSet::from([PathBuf::new(), PathBuf::from("b")]);
        assert_eq!(due.directories, expected);
    }

    #[test]
    fn what_looks_like_a_version_on_its_way_is_compared_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let root = tree::Root::open(dir.path()).unwrap();
        let sent = root.lstat(Path::new("")).unwrap().unwrap();
        let mut rewritten = sent;
        rewritten.ctime.sec += 1;
        let mut longer = rewritten;
        longer.size += 1;
        let start = Instant::now();
        for (now, is_compared) in [
            (Some(rewritten), true),
            (Some(sent), false),
            (Some(longer), false),
            (None, false),
        ] {
            let mut aftermath = Aftermath::default();
            aftermath.expect([Path::new("a")], [(Path::new("a/b"), sent)], start);
            let due = aftermath.take_due(start + LOOKS[0], |_| now).unwrap();
            assert_eq!(due.files == [PathBuf::from("a/b")], is_compared);
        }
    }

    #[test]
    fn nothing_touched_is_nothing_to_expect() {
        let mut aftermath = Aftermath::default();
        aftermath.expect([], [], Instant::now());
        assert_eq!(aftermath.next_due(), None);
        assert!(!aftermath.is_fresh());
    }
}
