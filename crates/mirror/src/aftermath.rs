//! What may still happen at a replica after a session broke.
//!
//! A cut connection does not end the other end's work: what lies in its socket is still carried out, by a busy worker
//! seconds later and by a stopped one when it is continued, beside whatever the next session brings. It may put an
//! older version over a newer one, leave a temporary file, make a directory again or remove one, or change a
//! directory's times. Nothing tells when that is over, so all that the session reached is looked at again several times,
//! at growing intervals. A file whose version since then looks just like the one that may still arrive is compared by
//! content.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tree::{Kind, Meta};

use crate::ledger::{Ledger, Reach};
use crate::source::Source;

/// How long after the break the looks take place. Until the first one the replica does not count as being in step.
const LOOKS: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// More paths than this are replaced by the whole tree, which they may amount to when a connection breaks again and again.
const LIMIT: usize = 200_000;

/// What broken sessions may still change.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    reached: Reached,
    /// The versions of files that were on their way.
    sent: BTreeMap<PathBuf, Vec<Meta>>,
    /// When the last session broke; none when nothing more can happen.
    since: Option<Instant>,
    looks_done: usize,
}

impl Aftermath {
    /// A session broke at `now` that reached all this, and had these versions of files on their way.
    pub(crate) fn expect<'s>(
        &mut self,
        reached: Reached,
        sent: impl IntoIterator<Item = (&'s Path, Meta)>,
        now: Instant,
    ) {
        self.reached.extend(reached.0);
        for (path, version) in sent {
            self.sent.entry(path.to_owned()).or_default().push(version);
        }
        if !self.reached.0.is_empty() {
            self.since = Some(now);
            self.looks_done = 0;
        }
    }

    /// When to look next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        Some(self.since? + *LOOKS.get(self.looks_done)?)
    }

    /// What to look at, when it is time; with the last look it is forgotten.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        source: &Source,
        ledger: &Ledger,
    ) -> rusqlite::Result<Option<Looks>> {
        if self.next_due().is_none_or(|due| due > now) {
            return Ok(None);
        }
        let mut looks = self.reached.looks(source, ledger)?;
        let is_mistakable = |(path, sent): &(&PathBuf, &Vec<Meta>)| {
            let now = source.lstat(path).ok().flatten();
            let is_another = |sent: &Meta, now: &Meta| {
                (sent.size, sent.mtime.sec) == (now.size, now.mtime.sec)
                    && !now.unchanged_since(sent)
            };
            now.is_some_and(|now| sent.iter().any(|sent| is_another(sent, &now)))
        };
        let mistakable = self.sent.iter().filter(is_mistakable);
        looks
            .compared
            .extend(mistakable.map(|(path, _)| path.clone()));
        self.looks_done += 1;
        if self.looks_done == LOOKS.len() {
            ledger.end_aftermath()?;
            *self = Self::default();
        }
        Ok(Some(looks))
    }

    /// Whether not even the first look has taken place.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since.is_some() && self.looks_done == 0
    }
}

/// What sessions reached at a replica, with all directories above.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reached(BTreeMap<PathBuf, Reach>);

impl Reached {
    pub(crate) fn extend(&mut self, paths: impl IntoIterator<Item = (PathBuf, Reach)>) {
        for (path, reach) in paths {
            for above in path.ancestors().skip(1) {
                if self.0.contains_key(above) {
                    break;
                }
                self.0.insert(above.to_owned(), Reach::Directory);
            }
            let known = self.0.entry(path).or_insert(reach);
            *known = reach.max(*known);
        }
        if self.0.len() > LIMIT {
            self.0 = BTreeMap::from([(PathBuf::new(), Reach::Entry)]);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What must be looked at to find whatever has become of all this.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn looks(&self, source: &Source, ledger: &Ledger) -> rusqlite::Result<Looks> {
        let mut looks = Looks::default();
        let mut above = Vec::new();
        for (path, reach) in &self.0 {
            match reach {
                Reach::Directory => above.push(path),
                Reach::Listed => {
                    looks.directories.insert(path.clone());
                    self.find_unlisted(path, ledger, &mut looks.trees)?;
                }
                Reach::Entry => {
                    let parent = path.parent().unwrap_or(path);
                    looks.directories.insert(parent.to_owned());
                    looks.trees.push(path.clone());
                }
            }
        }
        for directory in above {
            let found = source.lstat(directory).ok().flatten();
            if found.is_none_or(|meta| meta.kind != Kind::Dir) {
                // It may have been made again.
                looks.directories.insert(directory.clone());
            } else if !looks.directories.contains(directory) {
                looks.compared.push(directory.clone());
            }
        }
        Ok(looks)
    }

    /// The directories in a directory listed whole that came into it since: nobody has told the session that they are to
    /// stay.
    fn find_unlisted(
        &self,
        listed: &Path,
        ledger: &Ledger,
        unlisted: &mut Vec<PathBuf>,
    ) -> rusqlite::Result<()> {
        for (name, held) in ledger.children(listed)? {
            let path = listed.join(OsString::from_vec(name));
            let is_told = matches!(self.0.get(&path), Some(Reach::Directory | Reach::Listed));
            if held.version.kind == Kind::Dir && !is_told {
                unlisted.push(path);
            }
        }
        Ok(())
    }
}

impl FromIterator<(PathBuf, Reach)> for Reached {
    fn from_iter<I: IntoIterator<Item = (PathBuf, Reach)>>(paths: I) -> Self {
        let mut reached = Self::default();
        reached.extend(paths);
        reached
    }
}

/// What is to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks {
    /// To be listed whole.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// Paths where directories may have lost what is in them, at any depth.
    pub(crate) trees: Vec<PathBuf>,
    /// To be compared whatever the ledger says: files by content, directories by their attributes.
    pub(crate) compared: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own tree")]

    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::exclusions::Exclusions;
    use crate::ledger::{Confirmed, Held, State};

    /// A source with some directories, all of which the replica is known to hold.
    fn stage() -> (TempDir, Source, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/old/below")).unwrap();
        fs::create_dir_all(dir.path().join("a/new/below")).unwrap();
        fs::write(dir.path().join("a/file"), "content").unwrap();
        let source = Source::open(dir.path(), Exclusions::default(), &[]).unwrap();
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let held = ["a", "a/old", "a/old/below", "a/new", "a/new/below"].map(|path| {
            let held = Held {
                version: source.lstat(Path::new(path)).unwrap().unwrap(),
                doubtful: false,
                whole: true,
            };
            (PathBuf::from(path), held)
        });
        let confirmed = Confirmed {
            held: held.into(),
            ..Confirmed::default()
        };
        ledger.confirm(&confirmed).unwrap();
        (dir, source, ledger)
    }

    fn reached(paths: &[(&str, Reach)]) -> Reached {
        let paths = paths.iter();
        paths
            .map(|&(path, reach)| (PathBuf::from(path), reach))
            .collect()
    }

    fn paths<'p>(found: impl IntoIterator<Item = &'p PathBuf>) -> Vec<&'p str> {
        found.into_iter().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn looks_come_at_growing_intervals_and_then_all_is_forgotten() {
        let (_dir, source, ledger) = stage();
        let mut aftermath = Aftermath::default();
        let start = Instant::now();
        assert_eq!(aftermath.next_due(), None);
        aftermath.expect(reached(&[("a", Reach::Listed)]), [], start);
        assert!(aftermath.is_fresh());
        assert_eq!(aftermath.take_due(start, &source, &ledger).unwrap(), None);
        for pause in LOOKS {
            assert_eq!(aftermath.next_due(), Some(start + pause));
            let due = aftermath.take_due(start + pause, &source, &ledger).unwrap();
            assert_eq!(paths(&due.unwrap().directories), ["a"]);
            assert!(!aftermath.is_fresh());
        }
        assert_eq!(aftermath.next_due(), None);
    }

    #[test]
    fn another_break_starts_anew() {
        let (_dir, source, ledger) = stage();
        let mut aftermath = Aftermath::default();
        let start = Instant::now();
        aftermath.expect(reached(&[("file", Reach::Entry)]), [], start);
        aftermath
            .take_due(start + LOOKS[0], &source, &ledger)
            .unwrap();
        let again = start + LOOKS[1];
        aftermath.expect(reached(&[("a/file", Reach::Entry)]), [], again);
        assert!(aftermath.is_fresh());
        let due = aftermath.take_due(again + LOOKS[0], &source, &ledger);
        assert_eq!(paths(&due.unwrap().unwrap().directories), ["", "a"]);
    }

    #[test]
    fn what_looks_like_a_version_on_its_way_is_compared_by_content() {
        let (dir, source, ledger) = stage();
        let now = source.lstat(Path::new("a/file")).unwrap().unwrap();
        let mut earlier = now;
        earlier.ctime.sec -= 1;
        let mut shorter = earlier;
        shorter.size -= 1;
        let start = Instant::now();
        let is_compared = |sent: Meta| {
            let mut aftermath = Aftermath::default();
            let path = Path::new("a/file");
            aftermath.expect(reached(&[("a/file", Reach::Entry)]), [(path, sent)], start);
            let due = aftermath.take_due(start + LOOKS[0], &source, &ledger);
            due.unwrap()
                .unwrap()
                .compared
                .contains(&PathBuf::from("a/file"))
        };
        assert!(is_compared(earlier));
        assert!(!is_compared(now));
        assert!(!is_compared(shorter));
        fs::remove_file(dir.path().join("a/file")).unwrap();
        assert!(!is_compared(earlier));
    }

    #[test]
    fn nothing_reached_is_nothing_to_expect() {
        let mut aftermath = Aftermath::default();
        aftermath.expect(Reached::default(), [], Instant::now());
        assert_eq!(aftermath.next_due(), None);
        assert!(!aftermath.is_fresh());
    }

    #[test]
    fn a_listed_directory_may_lose_the_directories_that_came_into_it_since() {
        let (_dir, source, ledger) = stage();
        let reached = reached(&[("a", Reach::Listed), ("a/old", Reach::Directory)]);
        let looks = reached.looks(&source, &ledger).unwrap();
        assert_eq!(paths(&looks.directories), ["a"]);
        assert_eq!(paths(&looks.trees), ["a/new"]);
        assert_eq!(paths(&looks.compared), ["", "a/old"]);
    }

    #[test]
    fn a_directory_may_stand_where_a_file_is_still_to_come() {
        let (_dir, source, ledger) = stage();
        let looks = reached(&[("a/new", Reach::Entry)]).looks(&source, &ledger);
        let looks = looks.unwrap();
        assert_eq!(paths(&looks.directories), ["a"]);
        assert_eq!(paths(&looks.trees), ["a/new"]);
        assert_eq!(paths(&looks.compared), [""]);
    }

    #[test]
    fn a_directory_that_the_source_has_no_more_may_be_made_again() {
        let (_dir, source, ledger) = stage();
        let looks = reached(&[("a/gone/file", Reach::Entry)]).looks(&source, &ledger);
        assert_eq!(paths(&looks.unwrap().directories), ["a/gone"]);
        let looks = reached(&[("a/gone/deep", Reach::Directory)]).looks(&source, &ledger);
        let directories = looks.unwrap().directories;
        assert_eq!(paths(&directories), ["a/gone", "a/gone/deep"]);
    }

    #[test]
    fn too_many_paths_are_the_whole_tree() {
        let (_dir, source, ledger) = stage();
        let many = (0..=LIMIT).map(|number| (number.to_string().into(), Reach::Entry));
        let looks = Reached::from_iter(many).looks(&source, &ledger).unwrap();
        assert_eq!(paths(&looks.directories), [""]);
        assert_eq!(paths(&looks.trees), [""]);
    }
}
