//! The crate against real file systems.

#![allow(
    clippy::disallowed_methods,
    reason = "trees are built and inspected apart from the code under test"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what tests share is test code too, but clippy knows only marked functions"
)]

mod corpus;
mod hostile;
mod make;
mod metadata;
mod names;
mod subtree;
mod xattrs;

use std::path::Path;

use driftless_tree::{Meta, Root};

/// A root in a directory of its own, which goes when the test ends.
struct Fixture {
    root: Root,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { root, dir }
    }

    /// Makes the files, with their parents; a trailing slash makes a directory.
    fn with(self, paths: &[&str]) -> Self {
        for path in paths {
            let full = self.dir.path().join(path);
            if path.ends_with('/') {
                std::fs::create_dir_all(full).unwrap();
            } else {
                std::fs::create_dir_all(full.parent().unwrap()).unwrap();
                std::fs::write(full, path).unwrap();
            }
        }
        self
    }

    fn path(&self, rel: &str) -> std::path::PathBuf {
        self.dir.path().join(rel)
    }

    fn meta(&self, rel: &str) -> Meta {
        let meta = self.root.lstat(Path::new(rel)).unwrap();
        meta.unwrap_or_else(|| panic!("{rel} is missing"))
    }

    /// Every path, sorted.
    fn all(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.dir.path(), "", &mut found);
        found.sort();
        found
    }
}

fn list(dir: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        }
        found.push(name);
    }
}

fn is_root(reason: &str) -> bool {
    let root = testkit::is_root();
    if !root {
        testkit::skip(reason);
    }
    root
}
