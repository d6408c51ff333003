//! Names and depths that programs trip over.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use driftless_tree::{Kind, Which};
use rustix::fs::{Mode, OFlags};

use crate::Fixture;

#[test]
fn any_bytes_of_any_length_make_a_name() {
    let fixture = Fixture::new();
    let root = &fixture.root;
    let mut names: Vec<OsString> = [
        b"new\nline".as_slice(),
        b" ",
        b"-rf",
        b"...",
        b"\xff\xfe",
        b"\\",
        b"\x1b[31m",
        &[b'q'; 255],
        &[0xc3; 255],
    ]
    .map(|name| OsString::from_vec(name.to_vec()))
    .to_vec();
    let model = fixture.meta("");
    for name in &names {
        let mut temp = root.temp_file(Path::new(name)).unwrap();
        temp.file().write_all(name.as_bytes()).unwrap();
        let meta = temp.commit(&model, Which::MTIME).unwrap();
        assert_eq!(meta.size, name.len() as u64);
        assert_eq!(meta.mtime, model.mtime);
    }
    names.sort();

    let mut listed: Vec<_> = root.read_dir(Path::new("")).unwrap();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(
        listed
            .iter()
            .all(|entry| entry.kind.is_none_or(|kind| kind == Kind::File))
    );
    assert!(listed.iter().map(|entry| &entry.name).eq(&names));
}

#[test]
fn a_name_that_is_too_long_or_no_name_is_an_error() {
    let fixture = Fixture::new();
    let long = "n".repeat(256);
    assert!(fixture.root.mkdir(Path::new(&long), 0o700).is_err());
    assert!(
        fixture
            .root
            .lstat(Path::new(OsStr::from_bytes(b"a\0b")))
            .is_err()
    );
    let top = fixture.root.dir(Path::new("")).unwrap();
    for name in ["", "..", "a/b", "/"] {
        assert!(top.mkdir(OsStr::new(name), 0o700).is_err(), "{name:?}");
    }
}

#[test]
fn a_tree_far_deeper_than_path_max_is_removed() {
    const DEPTH: usize = 2000;
    let fixture = Fixture::new();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(fixture.dir.path(), flags, Mode::empty()).unwrap();
    let mut deepest = PathBuf::new();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&at, "directory", Mode::RWXU).unwrap();
        rustix::fs::mkdirat(&at, "beside", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "directory", flags, Mode::empty()).unwrap();
        deepest.push("directory");
    }
    assert!(fixture.root.lstat(&deepest).unwrap().unwrap().is_dir());

    let mut removed = 0;
    let removal = fixture
        .root
        .remove_tree(Path::new("directory"), &mut |_, _| false, &mut |_, _| {
            removed += 1;
        })
        .unwrap();
    assert!(!removal.left, "{:?}", removal.errors.first());
    assert_eq!(removed, 2 * DEPTH - 1);
    assert_eq!(fixture.all(), ["beside"]);
}
