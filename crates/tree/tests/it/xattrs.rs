//! Extended attributes and access control lists.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::symlink;
use std::path::Path;

use driftless_tree::{Acl, AclId, AclKind, FakeStat, Kind, Which, Xattrs};

use crate::{Fixture, is_root};

/// `None`, with a line that says so, on a file system without them.
fn of(fixture: &Fixture, rel: &str) -> Option<Xattrs> {
    let kind = fixture.meta(rel).kind;
    let xattrs = fixture.root.xattrs(Path::new(rel), kind).unwrap();
    let probe = fixture.root.xattrs(Path::new(""), Kind::Dir).unwrap();
    match probe.set(OsStr::new("user.probe"), b"") {
        Err(error) if error.is_unsupported() => {
            println!("skipped: no extended attributes here");
            None
        }
        set => {
            set.unwrap();
            Some(xattrs)
        }
    }
}

#[test]
fn attributes_are_set_listed_read_and_removed() {
    let fixture = Fixture::new().with(&["file", "dir/"]);
    for name in ["file", "dir"] {
        let Some(xattrs) = of(&fixture, name) else {
            return;
        };
        let (a, b) = (OsStr::new("user.a"), OsStr::new("user.b\n"));
        xattrs.set(b, &[0, 255, 10]).unwrap();
        xattrs.set(a, b"").unwrap();
        assert_eq!(xattrs.list().unwrap(), [a, b]);
        assert_eq!(xattrs.value(b).unwrap().unwrap(), [0, 255, 10]);
        assert_eq!(xattrs.value(a).unwrap().unwrap(), b"");
        xattrs.remove(a).unwrap();
        xattrs.remove(a).unwrap();
        assert_eq!(xattrs.value(a).unwrap(), None);
        assert_eq!(xattrs.list().unwrap(), [OsString::from("user.b\n")]);
    }
}

#[test]
fn links_and_pipes_have_their_own() {
    if !is_root("only root may give them any") {
        return;
    }
    let fixture = Fixture::new().with(&["dir/file"]);
    symlink("file", fixture.path("dir/link")).unwrap();
    fixture
        .root
        .mknod(Path::new("dir/pipe"), Kind::Fifo, 0o600, (0, 0))
        .unwrap();
    let here = std::env::current_dir().unwrap();
    let name = OsStr::new("trusted.mine");
    for path in ["dir/link", "dir/pipe"] {
        let Some(xattrs) = of(&fixture, path) else {
            return;
        };
        match xattrs.set(name, b"value") {
            Err(error) if error.is_permission() || error.is_unsupported() => {
                println!("skipped: {error}");
                return;
            }
            set => set.unwrap(),
        }
        assert_eq!(xattrs.list().unwrap(), [name]);
        assert_eq!(xattrs.value(name).unwrap().unwrap(), b"value");
        xattrs.remove(name).unwrap();
        assert_eq!(xattrs.value(name).unwrap(), None);
    }
    let file = of(&fixture, "dir/file").unwrap();
    assert!(file.list().unwrap().is_empty());
    assert_eq!(std::env::current_dir().unwrap(), here);
}

#[test]
fn access_and_default_lists_reach_the_kernel() {
    let fixture = Fixture::new().with(&["file", "dir/"]);
    let Some(file) = of(&fixture, "file") else {
        return;
    };
    let acl = Acl {
        mask: Some(6),
        named: vec![
            (AclId::User(1), 7),
            (AclId::User(12_345), 4),
            (AclId::Group(2), 4),
        ],
        ..Acl::from_mode(0o640)
    };
    match file.set_acl(AclKind::Access, Some(&acl)) {
        Err(error) if error.is_unsupported() => {
            println!("skipped: no access control lists here");
            return;
        }
        set => set.unwrap(),
    }
    assert_eq!(file.acl(AclKind::Access).unwrap(), Some(acl.clone()));
    assert_eq!(fixture.meta("file").mode, acl.mode());
    file.set_acl(AclKind::Access, Some(&Acl::from_mode(0o640)))
        .unwrap();
    assert_eq!(file.acl(AclKind::Access).unwrap(), None);

    let dir = of(&fixture, "dir").unwrap();
    dir.set_acl(AclKind::Default, Some(&acl)).unwrap();
    assert_eq!(dir.acl(AclKind::Default).unwrap(), Some(acl));
    dir.set_acl(AclKind::Default, None).unwrap();
    assert_eq!(dir.acl(AclKind::Default).unwrap(), None);
}

#[test]
fn a_file_stands_for_a_device() {
    let fixture = Fixture::new();
    let mut temp = fixture.root.temp_file(Path::new("null")).unwrap();
    let fake = FakeStat::parse(b"20666 1,3 0:0").unwrap();
    let noted = Xattrs::of_file(temp.file(), Path::new("null")).unwrap();
    match noted.set_fake_stat(Some(&fake)) {
        Err(error) if error.is_unsupported() => {
            println!("skipped: no extended attributes here");
            return;
        }
        set => set.unwrap(),
    }
    let real = temp.commit(&fixture.meta(""), Which::empty()).unwrap();
    let xattrs = of(&fixture, "null").unwrap();
    let stat = xattrs.fake_stat().unwrap().unwrap();
    let shown = stat.over(&real);
    assert_eq!(
        (shown.kind, shown.mode, shown.rdev),
        (Kind::Char, 0o666, (1, 3))
    );
    assert_eq!(FakeStat::needed(&shown, &real), Some(fake));
    assert_eq!(FakeStat::needed(&real, &real), None);
    xattrs.set(OsStr::new(FakeStat::XATTR), b"junk").unwrap();
    assert!(xattrs.fake_stat().is_err());
    xattrs.set_fake_stat(None).unwrap();
    assert_eq!(xattrs.fake_stat().unwrap(), None);
}
