//! Which paths of a tree are worth a look, and when.
//!
//! Hints say nothing but "something may have changed here", so they are coalesced without loss: a path is in
//! the set once, whatever happened to it, and a look that was taken out is put back when it did not lead to
//! a confirmed replica. A path that is hinted at again while its session runs is simply in the set again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tree::Identity;

/// More waiting paths than this are replaced by one look at the whole tree: that is what so many looks amount
/// to, and it bounds the memory of a replica that is away for long.
const LIMIT: usize = 200_000;

/// How long a file that is being written may keep its replica waiting for a version of it.
const LONGEST_WRITE: Duration = Duration::from_secs(1);

/// What to look at, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Look {
    /// Everything below the path too.
    pub recursive: bool,
    /// The replica may hold a version that no ledger knows: compare its content, not its times.
    pub exact: bool,
}

impl Look {
    /// The path itself.
    pub(crate) const AT: Self = Self {
        recursive: false,
        exact: false,
    };
    /// The path and everything below it.
    pub(crate) const BELOW: Self = Self {
        recursive: true,
        exact: false,
    };
    /// The path, by content.
    pub(crate) const EXACT: Self = Self {
        recursive: false,
        exact: true,
    };

    /// Both looks in one.
    #[must_use]
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            recursive: self.recursive || other.recursive,
            exact: self.exact || other.exact,
        }
    }
}

/// How soon a hinted path should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// After the settle time.
    Settled,
    /// Somebody is writing: when nothing has been heard of it for the quiet time, but at the latest
    /// after [`LONGEST_WRITE`].
    Writing,
    /// At once: it has waited before.
    Now,
    /// After this pause: it has failed, and will fail again for some time.
    Later(Duration),
}

/// The waiting looks of one replica.
#[derive(Debug)]
pub(crate) struct DirtySet {
    waiting: BTreeMap<PathBuf, Waiting>,
    /// Files with several names, all of which are to be looked at.
    files: HashSet<Identity>,
    /// Nothing is due before; what was put off may be due later.
    earliest: Option<Instant>,
    settle: Duration,
    quiet: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    look: Look,
    /// When it first became dirty: what lag is counted from.
    since: Instant,
    due: Instant,
}

impl DirtySet {
    /// An empty set. `settle` is waited after the first hint at a path, `quiet` after the last write to a file
    /// that somebody still has open.
    #[must_use]
    pub(crate) fn new(settle: Duration, quiet: Duration) -> Self {
        Self {
            waiting: BTreeMap::new(),
            files: HashSet::new(),
            earliest: None,
            settle,
            quiet,
        }
    }

    /// Adds a look at `path`, or joins it with the one that waits there.
    pub(crate) fn add(&mut self, path: PathBuf, look: Look, pace: Pace, now: Instant) {
        self.add_since(path, look, pace, now, now);
    }

    /// As [`DirtySet::add`], for a path whose replica has been behind since `since`.
    pub(crate) fn add_since(
        &mut self,
        path: PathBuf,
        look: Look,
        pace: Pace,
        since: Instant,
        now: Instant,
    ) {
        let (settle, quiet) = (self.settle, self.quiet);
        let due_after = |since: Instant| match pace {
            Pace::Settled => since + settle,
            Pace::Writing => (now + quiet).min(since + LONGEST_WRITE.max(settle)),
            Pace::Now => now,
            Pace::Later(pause) => now + pause,
        };
        if look == Look::AT && self.is_covered(&path, due_after(since)) {
            return;
        }
        if self.waiting.len() >= LIMIT && !self.waiting.contains_key(&path) {
            self.collapse(now);
            return;
        }
        let waiting = self
            .waiting
            .entry(path)
            .and_modify(|waiting| {
                waiting.look = waiting.look.join(look);
                waiting.since = waiting.since.min(since);
                let due = due_after(waiting.since);
                // A writer's next write may postpone a look, a closed file brings it forward.
                waiting.due = if pace == Pace::Writing {
                    due
                } else {
                    waiting.due.min(due)
                };
            })
            .or_insert_with(|| Waiting {
                look,
                since,
                due: due_after(since),
            });
        self.earliest = self.earliest.into_iter().chain([waiting.due]).min();
    }

    /// Adds a look at every name of a file.
    pub(crate) fn add_file(&mut self, file: Identity) {
        if self.files.len() >= LIMIT {
            self.files.clear();
            self.collapse(Instant::now());
        } else {
            self.files.insert(file);
        }
    }

    /// Takes out the files whose names are to be looked at.
    pub(crate) fn take_files(&mut self) -> HashSet<Identity> {
        std::mem::take(&mut self.files)
    }

    /// When the next look is due, if that is by `now`; otherwise a time before which none is. Much is added while little
    /// is due, so the exact answer is only sought when it counts.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if self.earliest.is_some_and(|earliest| earliest <= now) {
            self.earliest = self.waiting.values().map(|waiting| waiting.due).min();
        }
        self.earliest
    }

    /// A time before which nothing is due, without a look at all that waits; `None` if nothing ever was.
    #[must_use]
    pub(crate) fn none_due_before(&self) -> Option<Instant> {
        self.earliest
    }

    /// How many paths wait.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the replica has been behind: the age of the oldest waiting look.
    #[must_use]
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.since).min()
    }

    /// Takes out everything that is due, in path order, so that a directory comes before what is in it.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Taken> {
        let due = self.waiting.extract_if(.., |_, waiting| waiting.due <= now);
        due.map(|(path, Waiting { look, since, .. })| Taken { path, look, since })
            .collect()
    }

    /// Whether a recursive look that waits above `path` will see it anyway, and as soon as it is `due`.
    fn is_covered(&self, path: &Path, due: Instant) -> bool {
        path.ancestors().skip(1).any(|above| {
            self.waiting
                .get(above)
                .is_some_and(|waiting| waiting.look.recursive && waiting.due <= due)
        })
    }

    /// Replaces everything by one look at the whole tree. Exact looks are kept: they are few, being the paths of
    /// one session, and a plain look would not find what they are for.
    fn collapse(&mut self, now: Instant) {
        let since = self.oldest().unwrap_or(now);
        self.waiting.retain(|_, waiting| waiting.look.exact);
        self.waiting.insert(
            PathBuf::new(),
            Waiting {
                look: Look::BELOW,
                since,
                due: now,
            },
        );
        self.earliest = Some(now);
    }
}

/// A look that was taken out of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The path below the root, empty for the root.
    pub path: PathBuf,
    /// How to look at it.
    pub look: Look,
    /// Since when it has waited.
    pub since: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(10);
    const QUIET: Duration = Duration::from_millis(100);

    fn set() -> (DirtySet, Instant) {
        (DirtySet::new(SETTLE, QUIET), Instant::now())
    }

    fn paths(taken: Vec<Taken>) -> Vec<String> {
        taken
            .into_iter()
            .map(|taken| taken.path.display().to_string())
            .collect()
    }

    #[test]
    fn a_path_waits_once_and_for_the_settle_time_of_its_first_hint() {
        let (mut set, start) = set();
        set.add("a".into(), Look::AT, Pace::Settled, start);
        set.add("a".into(), Look::AT, Pace::Settled, start + SETTLE / 2);
        assert_eq!(set.len(), 1);
        assert!(set.take_due(start + SETTLE / 2).is_empty());
        assert_eq!(paths(set.take_due(start + SETTLE)), ["a"]);
        assert!(set.len() == 0);
    }

    #[test]
    fn a_file_being_written_waits_until_it_is_quiet_but_not_for_ever() {
        let (mut set, start) = set();
        let mut now = start;
        while now < start + Duration::from_millis(950) {
            set.add("log".into(), Look::AT, Pace::Writing, now);
            now += QUIET / 2;
        }
        assert!(set.take_due(start + Duration::from_millis(990)).is_empty());
        assert_eq!(paths(set.take_due(start + LONGEST_WRITE)), ["log"]);
    }

    #[test]
    fn a_closed_file_is_due_after_the_settle_time() {
        let (mut set, start) = set();
        set.add("f".into(), Look::AT, Pace::Writing, start);
        set.add("f".into(), Look::AT, Pace::Settled, start);
        assert_eq!(paths(set.take_due(start + SETTLE)), ["f"]);
    }

    #[test]
    fn a_recursive_look_covers_what_is_below_but_not_its_exact_looks() {
        let (mut set, start) = set();
        set.add("d".into(), Look::BELOW, Pace::Settled, start);
        set.add("d/e/f".into(), Look::AT, Pace::Settled, start);
        set.add("d/g".into(), Look::EXACT, Pace::Settled, start);
        set.add("dd".into(), Look::AT, Pace::Settled, start);
        assert_eq!(paths(set.take_due(start + SETTLE)), ["d", "d/g", "dd"]);
    }

    #[test]
    fn a_recursive_look_that_is_put_off_covers_nothing() {
        let (mut set, start) = set();
        let later = Pace::Later(Duration::from_secs(300));
        set.add("d".into(), Look::BELOW, later, start);
        set.add("d/e".into(), Look::AT, Pace::Settled, start);
        assert_eq!(paths(set.take_due(start + SETTLE)), ["d/e"]);
    }

    #[test]
    fn looks_at_one_path_are_joined_and_keep_the_older_lag() {
        let (mut set, start) = set();
        let earlier = start - Duration::from_secs(3);
        set.add("d".into(), Look::EXACT, Pace::Settled, start);
        set.add_since("d".into(), Look::BELOW, Pace::Now, earlier, start);
        assert_eq!(set.oldest(), Some(earlier));
        let taken = set.take_due(start);
        assert_eq!(
            taken[0].look,
            Look {
                recursive: true,
                exact: true
            }
        );
    }

    #[test]
    fn too_many_paths_become_one_look_at_the_whole_tree() {
        let (mut set, start) = set();
        set.add("keep".into(), Look::EXACT, Pace::Settled, start);
        for number in 0..LIMIT {
            set.add(format!("f{number}").into(), Look::AT, Pace::Settled, start);
        }
        let taken = set.take_due(start + SETTLE);
        assert_eq!(taken.len(), 2);
        assert_eq!(
            (taken[0].path.as_os_str().is_empty(), taken[0].look),
            (true, Look::BELOW)
        );
        assert_eq!(taken[1].path, Path::new("keep"));
    }
}
