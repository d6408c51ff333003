//! The crate against real file systems.

// Trees are built and inspected with std, apart from the code under test.
#![allow(clippy::disallowed_methods)]

#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/make.rs"]
mod make;
#[path = "it/metadata.rs"]
mod metadata;
#[path = "it/names.rs"]
mod names;
#[path = "it/subtree.rs"]
mod subtree;

use std::path::Path;

use driftless_tree::{Meta, Root};

/// A root in a directory of its own, which goes when the test ends.
struct Fixture {
    root: Root,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = Root::open(dir.path()).expect("it opens");
        Self { root, dir }
    }

    /// Makes the files, with their parents; a trailing slash makes a directory.
    fn with(self, paths: &[&str]) -> Self {
        for path in paths {
            let full = self.dir.path().join(path);
            if path.ends_with('/') {
                std::fs::create_dir_all(full).expect("mkdir");
            } else {
                std::fs::create_dir_all(full.parent().expect("a parent")).expect("mkdir");
                std::fs::write(full, path).expect("write");
            }
        }
        self
    }

    fn path(&self, rel: &str) -> std::path::PathBuf {
        self.dir.path().join(rel)
    }

    fn meta(&self, rel: &str) -> Meta {
        let meta = self.root.lstat(Path::new(rel)).expect("lstat");
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
    for entry in std::fs::read_dir(dir).expect("readdir") {
        let entry = entry.expect("entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("type").is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        }
        found.push(name);
    }
}

fn is_root(reason: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {reason}");
    }
    root
}
