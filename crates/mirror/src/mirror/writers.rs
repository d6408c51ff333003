//! Files that are written to by names they have no longer.
//!
//! The kernel tells of a write by the name under which the file was opened, even when that has gone (inotify(7)). If the file
//! has another name, a hard link, nothing tells that it has changed under that too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tree::{Identity, Kind, Meta};
use watch::Touch;

/// So many names are remembered at most.
const LIMIT: usize = 4096;

/// So many files of one name.
const FILES: usize = 4;

/// What has been written to, by name.
#[derive(Debug, Default)]
pub(super) struct Writers {
    written: HashMap<PathBuf, Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// The files that had this name while they were written to, the latest first.
    files: Vec<Identity>,
    /// Somebody has closed one of them. Others may have it open.
    is_closed: bool,
}

impl Writers {
    /// Notes that the file at `path`, which now is `meta`, was touched. Returns other files that it may be which was written
    /// to: those that had the name before.
    pub(super) fn note(&mut self, path: &Path, touch: Touch, meta: Option<&Meta>) -> Vec<Identity> {
        let file = meta.filter(|meta| meta.kind == Kind::File);
        let file = file.map(Meta::identity);
        let is_closed = touch == Touch::Closed;
        if touch != Touch::Written && !is_closed {
            // Whoever has created a file may write to it when the name has gone.
            if let (Touch::Created { is_dir: false }, Some(file)) = (touch, file) {
                self.remember(path, file, false);
            }
            return Vec::new();
        }
        if let Some(file) = file {
            self.remember(path, file, is_closed);
        }
        let Some(known) = self.written.get(path) else {
            return self.open();
        };
        let before = known.files.iter().filter(|known| Some(**known) != file);
        before.copied().collect()
    }

    /// Notes that what was at `from`, or below it, is at `to` now. Writes to it will be told by that name.
    pub(super) fn moved(&mut self, from: &Path, to: &Path) {
        let moved: Vec<_> = self
            .written
            .extract_if(|path, _| path.starts_with(from))
            .collect();
        for (path, written) in moved {
            let path = match path.strip_prefix(from) {
                Ok(below) if !below.as_os_str().is_empty() => to.join(below),
                _ => to.to_owned(),
            };
            let there = self.written.entry(path).or_default();
            there.files.splice(..0, written.files);
            there.files.truncate(FILES);
            there.is_closed &= written.is_closed;
        }
    }

    /// The files that may be written to by a name which was gone before anybody looked: those that have come into being, as
    /// links do, and that nobody has closed.
    fn open(&self) -> Vec<Identity> {
        let open = self.written.values().filter(|written| !written.is_closed);
        open.flat_map(|written| written.files.iter().copied())
            .collect()
    }

    fn remember(&mut self, path: &Path, file: Identity, is_closed: bool) {
        if let Some(written) = self.written.get_mut(path) {
            written.is_closed = is_closed;
            if !written.files.contains(&file) {
                written.files.truncate(FILES - 1);
                written.files.insert(0, file);
            }
            return;
        }
        if self.written.len() >= LIMIT {
            self.written.retain(|_, written| !written.is_closed);
        }
        if self.written.len() >= LIMIT {
            self.written.clear();
        }
        let files = vec![file];
        self.written
            .insert(path.to_owned(), Written { files, is_closed });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own files")]

    use std::fs;

    use super::*;

    const CREATED: Touch = Touch::Created { is_dir: false };

    /// What a new file is.
    fn file() -> (tempfile::TempDir, Meta) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let root = tree::Root::open(directory.path()).unwrap();
        let meta = root.lstat(Path::new("file")).unwrap().unwrap();
        (directory, meta)
    }

    #[test]
    fn a_file_is_known_by_the_name_it_has_lost() {
        let (_directory, meta) = file();
        let mut other = meta;
        other.ino += 1;
        let (path, file) = (Path::new("a"), [meta.identity()]);
        let mut writers = Writers::default();
        assert_eq!(writers.note(path, Touch::Written, None), []);
        assert_eq!(writers.note(path, CREATED, Some(&meta)), []);
        assert_eq!(writers.note(path, Touch::Written, Some(&meta)), []);
        assert_eq!(writers.note(path, Touch::Written, None), file);
        assert_eq!(writers.note(path, Touch::Written, Some(&other)), file);
        // Another one may still have it open.
        assert_eq!(writers.note(path, Touch::Closed, None).len(), 2);
        assert_eq!(writers.note(path, Touch::Closed, None).len(), 2);
    }

    #[test]
    fn a_file_that_lost_its_name_before_a_look_may_be_any_that_is_open() {
        let (_directory, meta) = file();
        let mut writers = Writers::default();
        let (path, link) = (Path::new("a"), Path::new("b"));
        assert_eq!(writers.note(path, CREATED, None), []);
        assert_eq!(writers.note(link, CREATED, Some(&meta)), []);
        assert_eq!(writers.note(path, Touch::Written, None), [meta.identity()]);
        assert_eq!(writers.note(link, Touch::Closed, Some(&meta)), []);
        assert_eq!(writers.note(path, Touch::Written, None), []);
    }

    #[test]
    fn its_name_changes_with_that_of_a_directory_above() {
        let (_directory, meta) = file();
        let mut another = meta;
        another.ino += 1;
        let mut writers = Writers::default();
        for path in ["a/b/f", "ab", "a"] {
            writers.note(Path::new(path), Touch::Written, Some(&meta));
        }
        writers.moved(Path::new("a"), Path::new("c/d"));
        for (path, is_known) in [
            ("c/d/b/f", true),
            ("c/d", true),
            ("ab", true),
            ("a/b/f", false),
            ("a", false),
        ] {
            let found = writers.note(Path::new(path), Touch::Closed, Some(&another));
            assert_eq!(!found.is_empty(), is_known, "{path}");
        }
    }

    #[test]
    fn what_is_still_open_is_remembered_longest_and_nothing_without_end() {
        let (_directory, mut meta) = file();
        let mut writers = Writers::default();
        writers.note(Path::new("open"), Touch::Written, Some(&meta));
        for number in 0..3 * LIMIT {
            let path = PathBuf::from(number.to_string());
            writers.note(&path, CREATED, Some(&meta));
            writers.note(&path, Touch::Closed, Some(&meta));
            meta.ino += 1;
            writers.note(Path::new("open"), Touch::Written, Some(&meta));
        }
        assert!(writers.written.len() <= LIMIT);
        let open = writers.note(Path::new("open"), Touch::Written, None);
        assert_eq!(open.len(), FILES);
        assert_eq!(open[0], meta.identity());
    }
}
