//! Random changes to a tree, repeated exactly by their seed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::{Random, Tree, content};

/// Changes a tree at random. The same seed makes the same changes to the same tree.
#[derive(Clone, Debug)]
pub struct Editor {
    tree: Tree,
    random: Random,
}

/// One change that an [`Editor`] made; paths are relative to the root of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new file of so many bytes.
    CreateFile(PathBuf, usize),
    /// A new directory.
    CreateDirectory(PathBuf),
    /// A new symbolic link and what it says.
    Symlink(PathBuf, PathBuf),
    /// A new name, and the file that got it.
    HardLink(PathBuf, PathBuf),
    /// New content of the same size, written in place.
    Rewrite(PathBuf),
    /// New content of another size, under a new inode that was renamed into place.
    Replace(PathBuf, usize),
    /// So many bytes more.
    Append(PathBuf, usize),
    /// Cut to so many bytes.
    Truncate(PathBuf, u64),
    /// New permission bits.
    Chmod(PathBuf, u32),
    /// A new modification time, often one that has long passed.
    Touch(PathBuf, Duration),
    /// A file, link or directory under a new name: old, new. An existing file may be replaced.
    Rename(PathBuf, PathBuf),
    /// A file or link removed, or a directory with all below it.
    Remove(PathBuf),
}

impl Editor {
    /// An editor of `tree`.
    pub fn new(tree: Tree, seed: u64) -> Self {
        Self {
            tree,
            random: Random::new(seed),
        }
    }

    /// Makes `count` new files, directories and links.
    pub fn grow(&mut self, count: usize) -> Vec<Edit> {
        (0..count)
            .map(|_| {
                let stock = Stock::of(&self.tree);
                let edit = self.creation(&stock);
                self.carry_out(&edit);
                edit
            })
            .collect()
    }

    /// Makes one change and says which.
    pub fn step(&mut self) -> Edit {
        let stock = Stock::of(&self.tree);
        let edit = self.change(&stock);
        self.carry_out(&edit);
        edit
    }

    /// Makes `count` changes and says which.
    pub fn steps(&mut self, count: usize) -> Vec<Edit> {
        (0..count).map(|_| self.step()).collect()
    }

    fn creation(&mut self, stock: &Stock) -> Edit {
        let path = self.new_path(stock);
        match self.random.below(10) {
            0..3 => Edit::CreateDirectory(path),
            3 => {
                let target = self.random.choose(AWKWARD_TARGETS).expect("there are some");
                Edit::Symlink(path, target.into())
            }
            4 => match self.random.choose(&stock.files) {
                Some(existing) => Edit::HardLink(path, existing.clone()),
                None => Edit::CreateFile(path, 0),
            },
            _ => Edit::CreateFile(path, self.size()),
        }
    }

    fn change(&mut self, stock: &Stock) -> Edit {
        let action = self.random.below(16);
        if let Some(file) = self.random.choose(&stock.files).cloned() {
            match action {
                0 | 1 => return Edit::Rewrite(file),
                2 => return Edit::Replace(file, self.size()),
                3 => return Edit::Append(file, 1 + self.size()),
                4 => return Edit::Truncate(file, self.size() as u64 / 2),
                5 => return self.rename(file, stock),
                6 => return Edit::Remove(file),
                _ => {}
            }
        }
        if let Some(directory) = self.random.choose(&stock.directories).cloned() {
            match action {
                7 => return self.rename(directory, stock),
                8 => return Edit::Remove(directory),
                9 => return Edit::Chmod(directory, 0o700 | self.permissions()),
                _ => {}
            }
        }
        match (action, self.random.choose(&stock.all).cloned()) {
            (10, Some(any)) if !stock.links.contains(&any) => {
                let least = if stock.directories.contains(&any) {
                    0o700
                } else {
                    0o600
                };
                Edit::Chmod(any, least | self.permissions())
            }
            (11, Some(any)) => Edit::Touch(any, self.moment()),
            (12, _) => match self.random.choose(&stock.links).cloned() {
                Some(link) => Edit::Remove(link),
                None => self.creation(stock),
            },
            _ => self.creation(stock),
        }
    }

    fn rename(&mut self, from: PathBuf, stock: &Stock) -> Edit {
        let replaced = self.random.choose(&stock.files).cloned();
        let is_directory = stock.directories.contains(&from);
        let to = match replaced {
            // Renaming one of two names of a file to the other does nothing; that is a case too.
            Some(existing) if !is_directory && self.random.below(3) == 0 => existing,
            _ => self.new_path(stock),
        };
        if to.starts_with(&from) {
            // Into itself is impossible; out of the way is a rename too.
            return Edit::Rename(from, self.free_name(Path::new(""), stock));
        }
        Edit::Rename(from, to)
    }

    fn carry_out(&mut self, edit: &Edit) {
        let tree = &self.tree;
        match edit {
            Edit::CreateFile(path, size) => tree.write(path, content(self.random.bits(), *size)),
            Edit::CreateDirectory(path) => tree.directory(path),
            Edit::Symlink(path, target) => tree.symlink(path, target),
            Edit::HardLink(path, existing) => tree.hard_link(path, existing),
            Edit::Rewrite(path) => {
                let size = tree.read(path).len();
                tree.write(path, content(self.random.bits(), size));
            }
            Edit::Replace(path, size) => {
                let new = path.with_added_extension("new");
                tree.write(&new, content(self.random.bits(), *size));
                tree.rename(&new, path);
            }
            Edit::Append(path, size) => tree.append(path, content(self.random.bits(), *size)),
            Edit::Truncate(path, size) => tree.truncate(path, *size),
            Edit::Chmod(path, mode) => tree.chmod(path, *mode),
            Edit::Touch(path, moment) => tree.touch(path, UNIX_EPOCH + *moment),
            Edit::Rename(from, to) => tree.rename(from, to),
            Edit::Remove(path) => tree.remove(path),
        }
    }

    /// A name that is not taken, in the root or in any directory.
    fn new_path(&mut self, stock: &Stock) -> PathBuf {
        let in_root = self.random.below(4) == 0;
        let parent = match self.random.choose(&stock.directories) {
            Some(directory) if !in_root => directory.clone(),
            _ => PathBuf::new(),
        };
        self.free_name(&parent, stock)
    }

    fn free_name(&mut self, parent: &Path, stock: &Stock) -> PathBuf {
        loop {
            let mut name =
                OsStr::from_bytes(self.random.choose(AWKWARD_NAMES).expect("there are some"))
                    .to_owned();
            if self.random.below(3) > 0 {
                name.push(self.random.below(1000).to_string());
            }
            let path = parent.join(name);
            if !stock.all.contains(&path) {
                return path;
            }
        }
    }

    /// Mostly small; empty ones and ones of several blocks come up.
    fn size(&mut self) -> usize {
        match self.random.below(8) {
            0 => 0,
            1 => self.random.below(300_000),
            _ => self.random.below(3_000),
        }
    }

    fn permissions(&mut self) -> u32 {
        u32::try_from(self.random.below(0o1000)).expect("is small")
    }

    /// A time between 2001 and 2033; one in two lies on a whole second.
    fn moment(&mut self) -> Duration {
        let seconds = 1_000_000_000 + self.random.below(1_000_000_000) as u64;
        match self.random.below(2) {
            0 => Duration::from_secs(seconds),
            _ => Duration::new(
                seconds,
                u32::try_from(self.random.below(1_000_000_000)).unwrap_or(0),
            ),
        }
    }
}

/// What there is to change, in an order that does not depend on the file system.
#[derive(Default)]
struct Stock {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    links: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

impl Stock {
    fn of(tree: &Tree) -> Self {
        let mut stock = Self::default();
        stock.add(tree, Path::new(""));
        stock
    }

    fn add(&mut self, tree: &Tree, directory: &Path) {
        let entries = fs::read_dir(tree.path(directory)).expect("the tree is readable");
        let mut entries: Vec<_> = entries.map(|entry| entry.expect("is readable")).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = directory.join(entry.file_name());
            self.all.push(path.clone());
            let kind = entry.file_type().expect("is readable");
            if kind.is_dir() {
                self.directories.push(path.clone());
                self.add(tree, &path);
            } else if kind.is_file() {
                self.files.push(path);
            } else if kind.is_symlink() {
                self.links.push(path);
            }
        }
    }
}

/// What real trees and hostile users name files: spaces, line ends, patterns, options, no UTF-8.
const AWKWARD_NAMES: &[&[u8]] = &[
    b"file",
    b"dir",
    b"a b",
    b"line\nend",
    "\u{e4}\u{4e2d}".as_bytes(),
    b"*",
    b"[x]",
    b"?",
    b"-e",
    b"--delete",
    b".hidden",
    b".~tmp~",
    b"back\\slash",
    b"quote'\"",
    b"#note",
    b"; semicolon",
    b" lead",
    b"trail ",
    b"\xff\xfe",
    b"~",
];

const AWKWARD_TARGETS: &[&str] = &[
    "file",
    "..",
    "nowhere/at all",
    "/etc/hostname",
    "line\nend",
    "*",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aspects, compare};
    use std::collections::BTreeSet;
    use std::mem::discriminant;

    fn edited(seed: u64, steps: usize) -> (tempfile::TempDir, Vec<Edit>) {
        let directory = tempfile::tempdir().unwrap();
        let mut editor = Editor::new(Tree::at(directory.path()), seed);
        let mut edits = editor.grow(30);
        edits.extend(editor.steps(steps));
        (directory, edits)
    }

    #[test]
    fn a_seed_repeats_its_changes() {
        let (left, left_edits) = edited(42, 300);
        let (right, right_edits) = edited(42, 300);
        assert_eq!(left_edits, right_edits);
        // Times of what was not touched on purpose are those of the two runs.
        compare(left.path(), right.path(), &Aspects::exact().without_times()).unwrap();
        let (_other, other_edits) = edited(43, 300);
        assert_ne!(left_edits, other_edits);
    }

    #[test]
    fn every_kind_of_change_comes_up() {
        let (_directory, edits) = edited(1, 600);
        let kinds: BTreeSet<String> = edits
            .iter()
            .map(|edit| format!("{:?}", discriminant(edit)))
            .collect();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }
}
