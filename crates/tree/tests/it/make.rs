//! Making things, and putting them in the place of others.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use driftless_tree::{Kind, Policy, Root, Which, copy_contents};

use crate::{Fixture, is_root};

#[test]
fn links_and_nodes_replace_what_is_there_and_leave_nothing_behind() {
    let fixture = Fixture::new().with(&["a", "b", "c", "d", "e"]);
    let root = &fixture.root;
    root.symlink(Path::new("a"), b"some\nwhere").unwrap();
    root.mknod(Path::new("b"), Kind::Fifo, 0o640, (0, 0))
        .unwrap();
    root.hard_link(Path::new("d"), Path::new("c")).unwrap();
    root.hard_link(Path::new("a"), Path::new("e")).unwrap();
    root.mknod(Path::new("f"), Kind::Socket, 0o600, (0, 0))
        .unwrap();

    assert_eq!(root.read_link(Path::new("a")).unwrap(), b"some\nwhere");
    assert_eq!(fixture.meta("b").kind, Kind::Fifo);
    assert_eq!(
        fixture.meta("c").link_group(),
        fixture.meta("d").link_group()
    );
    assert_eq!(fixture.meta("c").nlink, 2);
    assert!(fixture.meta("e").is_symlink());
    assert_eq!(fixture.meta("f").kind, Kind::Socket);
    assert_eq!(fixture.all(), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn linking_a_file_over_its_own_other_name_leaves_no_temporary_one() {
    let fixture = Fixture::new().with(&["a"]);
    fixture
        .root
        .hard_link(Path::new("a"), Path::new("b"))
        .unwrap();
    fixture
        .root
        .hard_link(Path::new("a"), Path::new("b"))
        .unwrap();
    assert_eq!(fixture.all(), ["a", "b"]);
    assert_eq!(fixture.meta("a").nlink, 2);
}

#[test]
fn devices_have_their_numbers() {
    if !is_root("only root makes devices") {
        return;
    }
    let fixture = Fixture::new();
    let rdev = (1, 0x1_2345);
    fixture
        .root
        .mknod(Path::new("c"), Kind::Char, 0o600, rdev)
        .unwrap();
    fixture
        .root
        .mknod(Path::new("b"), Kind::Block, 0o600, (8, 1))
        .unwrap();
    assert_eq!(
        (fixture.meta("c").kind, fixture.meta("c").rdev),
        (Kind::Char, rdev)
    );
    assert_eq!(
        (fixture.meta("b").kind, fixture.meta("b").rdev),
        (Kind::Block, (8, 1))
    );
}

#[test]
fn a_directory_in_the_way_is_said_to_be() {
    let fixture = Fixture::new().with(&["dir/file"]);
    let root = &fixture.root;
    let model = fixture.meta("dir/file");
    let error = root.symlink(Path::new("dir"), b"x").unwrap_err();
    assert!(error.is_directory_in_the_way(), "{error}");
    let temp = root.temp_file(Path::new("dir")).unwrap();
    let error = temp.commit(&model, Which::empty()).unwrap_err();
    assert!(error.is_directory_in_the_way(), "{error}");
    assert_eq!(
        error.to_string(),
        r#"rename "dir": Is a directory (os error 21)"#
    );
    assert!(
        root.mkdir(Path::new("dir"), 0o755)
            .unwrap_err()
            .is_existing()
    );
    assert!(
        root.remove_dir(Path::new("dir"))
            .unwrap_err()
            .is_not_empty()
    );
    assert_eq!(fixture.all(), ["dir", "dir/file"]);
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let fixture = Fixture::new().with(&["dir/file"]);
    let root = &fixture.root;
    let target = Path::new("dir/file");
    let mut temp = root.temp_file(target).unwrap();
    temp.file().write_all(b"half").unwrap();
    let name = temp.name().to_str().unwrap().to_owned();
    assert!(name.starts_with(".file.") && name.len() == 12, "{name}");
    let on_disk = std::fs::metadata(fixture.path("dir").join(&name)).unwrap();
    assert_eq!(on_disk.permissions().mode() & 0o7777, 0o600);
    drop(temp);
    assert_eq!(fixture.all(), ["dir", "dir/file"]);

    let want = driftless_tree::Meta {
        mode: 0o751,
        mtime: driftless_tree::Time { sec: -5, nsec: 7 },
        ..fixture.meta("dir/file")
    };
    let mut temp = root.temp_file(target).unwrap();
    temp.file().write_all(b"whole").unwrap();
    let meta = temp.commit(&want, Which::MODE | Which::MTIME).unwrap();
    assert_eq!((meta.mode, meta.mtime, meta.size), (0o751, want.mtime, 5));
    assert_eq!(meta, fixture.meta("dir/file"));
    assert_eq!(std::fs::read(fixture.path("dir/file")).unwrap(), b"whole");
    assert_eq!(fixture.all(), ["dir", "dir/file"]);
}

#[test]
fn a_partial_file_is_kept_where_told() {
    let fixture = Fixture::new().with(&["part/"]);
    let root = &fixture.root;
    let mut temp = root.temp_file(Path::new("file")).unwrap();
    temp.file().write_all(b"half").unwrap();
    let wanted = fixture.meta("part");
    temp.keep_as(root, Path::new("part/file"), &wanted, Which::MTIME)
        .unwrap();
    assert_eq!(fixture.meta("part/file").mtime, wanted.mtime);
    assert_eq!(fixture.all(), ["part", "part/file"]);

    let part = root.dir(Path::new("part")).unwrap();
    let temp = root.temp_file_in(&part, Path::new(".file")).unwrap();
    assert!(temp.name().to_str().unwrap().starts_with(".file."));
    assert!(fixture.path("part").join(temp.name()).exists());
    temp.commit(&fixture.meta("part/file"), Which::empty())
        .unwrap();
    assert_eq!(fixture.all(), [".file", "part", "part/file"]);
}

#[test]
fn held_directories_follow_our_own_renames_and_removals() {
    let fixture = Fixture::new().with(&["a/b/old"]);
    let policy = Policy {
        hold_dirs: true,
        ..Policy::default()
    };
    let root = Root::open_with(fixture.dir.path(), policy).unwrap();
    let exists = |path: &str| root.lstat(Path::new(path)).unwrap().is_some();
    assert!(exists("a/b/old"));
    root.rename(Path::new("a"), Path::new("z")).unwrap();
    assert!(!exists("a/b/old"));
    assert!(exists("z/b/old"));
    root.mkdir(Path::new("a"), 0o755).unwrap();
    root.mkdir(Path::new("a/b"), 0o755).unwrap();
    assert!(!exists("a/b/old"));
    root.remove_dir(Path::new("a/b")).unwrap();
    root.rename(Path::new("z/b"), Path::new("a/b")).unwrap();
    assert!(exists("a/b/old"));
}

#[test]
fn a_copy_is_the_same_file() {
    let fixture = Fixture::new().with(&["from"]);
    let root = &fixture.root;
    let (source, meta) = root.open_regular(Path::new("from")).unwrap();
    let mut temp = root.temp_file(Path::new("to")).unwrap();
    copy_contents(&source, temp.file(), meta.size, &|| false, &mut |_| {}).unwrap();
    temp.commit_unseen(&meta, Which::all()).unwrap();
    let copy = fixture.meta("to");
    assert_eq!(
        (copy.mode, copy.uid, copy.gid, copy.size),
        (meta.mode, meta.uid, meta.gid, meta.size)
    );
    assert_eq!((copy.mtime, copy.atime), (meta.mtime, meta.atime));
    assert!(fixture.meta("from").unchanged_since(&meta));
    assert_eq!(std::fs::metadata(fixture.path("to")).unwrap().nlink(), 1);
}
