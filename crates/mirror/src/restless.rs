//! Files that may be written to without anybody's telling.
//!
//! The kernel tells of a write by the name under which the file was opened. Who opened it under a name that it has lost
//! before it was watched, or whose directory is gone too, is not heard of. So a file that has just changed when such names
//! may be about (after a start, an overflow, the loss of a name) is looked at again until it has rested.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tree::{Kind, Meta, Time};

/// A file that has not changed for so long is at rest.
const REST: Duration = Duration::from_secs(60);

/// The shortest pause between two looks at a file. Later ones are as long as it has rested by then.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// So many files are looked at again at most, those that changed last.
const LIMIT: usize = 1000;

/// The files to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct Restless {
    files: HashMap<PathBuf, Seen>,
    /// Changes that are older than this find no room.
    floor: Option<Time>,
    /// Nothing is due before.
    earliest: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    ctime: Time,
    due: Instant,
}

impl Restless {
    /// Notes what was `meta` at a look that began at `looked_at`, unless that is no file or at rest.
    pub(crate) fn note(&mut self, path: &Path, meta: &Meta, looked_at: SystemTime) {
        if meta.kind == Kind::File
            && let Some(age) = age(meta.ctime, looked_at)
        {
            let due = Instant::now() + age.max(FIRST_PAUSE);
            let ctime = meta.ctime;
            self.insert(path, Seen { ctime, due });
        }
    }

    /// Adds what another one has noted. Of two versions of a file the older one stays: a replica may know no other.
    pub(crate) fn merge(&mut self, other: Self) {
        for (path, seen) in other.files {
            self.insert(&path, seen);
        }
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// A time before which nothing is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.earliest
    }

    /// Looks, with `lstat`, at the files that are due at `now`, one directory after the other. Returns those that are not what
    /// they were.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        lstat: impl Fn(&Path) -> Option<Meta>,
    ) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        let looked_at = SystemTime::now();
        let due = self.files.extract_if(|_, seen| seen.due <= now);
        let due: BTreeMap<_, _> = due.collect();
        self.earliest = self.files.values().map(|seen| seen.due).min();
        if self.files.is_empty() {
            self.floor = None;
        }
        for (path, seen) in due {
            let meta = lstat(&path);
            if let Some(meta) = &meta {
                self.note(&path, meta, looked_at);
            }
            if meta.is_none_or(|meta| meta.ctime != seen.ctime) {
                changed.push(path);
            }
        }
        changed
    }

    fn insert(&mut self, path: &Path, seen: Seen) {
        if let Some(known) = self.files.get_mut(path) {
            known.ctime = known.ctime.min(seen.ctime);
            return;
        }
        if self.floor.is_some_and(|floor| seen.ctime <= floor) {
            return;
        }
        if self.files.len() >= LIMIT {
            let mut ctimes: Vec<Time> = self.files.values().map(|seen| seen.ctime).collect();
            let (_, floor, _) = ctimes.select_nth_unstable(LIMIT / 2);
            let floor = *floor;
            self.files.retain(|_, seen| seen.ctime > floor);
            self.floor = Some(floor);
        }
        self.earliest = self.earliest.into_iter().chain([seen.due]).min();
        self.files.insert(path.to_owned(), seen);
    }
}

/// How long before `looked_at` it changed, if that is less than [`REST`]. A change in the future is the clock's fault, and
/// would never rest.
fn age(ctime: Time, looked_at: SystemTime) -> Option<Duration> {
    let since_1970 = Duration::new(u64::try_from(ctime.sec).ok()?, ctime.nsec);
    let changed = SystemTime::UNIX_EPOCH.checked_add(since_1970)?;
    let since_the_look = || changed.elapsed().ok().map(|_| Duration::ZERO);
    let age = looked_at.duration_since(changed).ok();
    age.or_else(since_the_look).filter(|age| *age < REST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own files")]

    use std::fs;

    use super::*;

    /// What a file is that has changed so long ago.
    fn changed_before(age: Duration) -> Meta {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let root = tree::Root::open(directory.path()).unwrap();
        let mut meta = root.lstat(Path::new("file")).unwrap().unwrap();
        meta.ctime = SystemTime::now().checked_sub(age).unwrap().into();
        meta
    }

    #[test]
    fn a_file_is_looked_at_until_it_rests() {
        let path = Path::new("file");
        let secs = Duration::from_secs;
        let mut restless = Restless::default();
        let young = changed_before(secs(5));
        restless.note(path, &young, SystemTime::now());
        restless.note(path, &changed_before(2 * REST), SystemTime::now());
        let directory = Meta {
            kind: Kind::Dir,
            ..young
        };
        restless.note(Path::new("dir"), &directory, SystemTime::now());
        let now = Instant::now();
        let due = restless.next_due().unwrap();
        assert!(due > now + secs(4) && due <= now + secs(6), "{due:?}");
        assert!(restless.look(now, |_| panic!("not yet")).is_empty());
        assert!(restless.look(due, |_| Some(young)).is_empty());
        let written = changed_before(Duration::ZERO);
        let due = restless.next_due().unwrap();
        assert_eq!(restless.look(due, |_| Some(written)), [path]);
        let due = restless.next_due().unwrap();
        assert!(due <= Instant::now() + FIRST_PAUSE);
        assert_eq!(
            restless.look(due, |_| Some(changed_before(2 * REST))),
            [path]
        );
        assert!(restless.is_empty());
        assert_eq!(restless.next_due(), None);
    }

    #[test]
    fn what_one_replica_has_not_seen_counts_as_changed() {
        let path = Path::new("file");
        let (old, new) = [5, 3].map(Duration::from_secs).map(changed_before).into();
        for (first, second) in [(old, new), (new, old)] {
            let mut restless = Restless::default();
            restless.note(path, &first, SystemTime::now());
            let mut another = Restless::default();
            another.note(path, &second, SystemTime::now());
            restless.merge(another);
            let due = restless.next_due().unwrap();
            assert_eq!(restless.look(due, |_| Some(new)), [path]);
        }
    }

    #[test]
    fn those_that_changed_last_are_kept() {
        let mut restless = Restless::default();
        let mut meta = changed_before(REST / 2);
        for number in 0..3 * LIMIT {
            meta.ctime.nsec = u32::try_from(number).unwrap();
            restless.note(Path::new(&number.to_string()), &meta, SystemTime::now());
            assert!(restless.files.len() <= LIMIT);
        }
        meta.ctime.nsec = 0;
        restless.note(Path::new("first"), &meta, SystemTime::now());
        let is_known = |name: &str| restless.files.contains_key(Path::new(name));
        assert!(is_known(&(3 * LIMIT - 1).to_string()));
        assert!(!is_known("0") && !is_known("first"));
    }
}
