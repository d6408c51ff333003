//! Extended attributes and access control lists.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::symlink;
use std::path::Path;

use driftless_tree::{
    Acl, AclId, AclKind, FakeStat, Kind, Links, Meta, Policy, Root, Which, Xattrs,
};

use crate::{Fixture, is_root};

/// `None`, with a line that says so, on a file system without them.
fn of(fixture: &Fixture, rel: &str) -> Option<Xattrs> {
    let kind = fixture.meta(rel).kind;
    let xattrs = fixture.root.xattrs(Path::new(rel), kind).unwrap();
    let probe = fixture.root.xattrs(Path::new(""), Kind::Dir).unwrap();
    match probe.set(OsStr::new("user.probe"), b"") {
        Err(error) if error.is_unsupported() => {
            testkit::skip("no extended attributes here");
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
fn long_values_and_long_lists_are_read_whole() {
    let fixture = Fixture::new().with(&["file"]);
    let Some(xattrs) = of(&fixture, "file") else {
        return;
    };
    // What the smallest blocks of ext4 have room for.
    for length in [1023, 1024, 1025, 2500] {
        let value = vec![b'v'; length];
        xattrs.set(OsStr::new("user.long"), &value).unwrap();
        let read = xattrs.value(OsStr::new("user.long")).unwrap();
        assert_eq!(read, Some(value));
    }
    xattrs.remove(OsStr::new("user.long")).unwrap();
    let names: Vec<OsString> = (10..40)
        .map(|number| format!("user.{number}{}", "n".repeat(60)).into())
        .collect();
    for name in &names {
        xattrs.set(name, b"").unwrap();
    }
    assert_eq!(xattrs.list().unwrap(), names);
}

#[test]
fn what_surely_has_none_has_none() {
    let fixture = Fixture::new().with(&["bare", "dressed", "dir/"]);
    let Some(dressed) = of(&fixture, "dressed") else {
        return;
    };
    symlink("dressed", fixture.path("link")).unwrap();
    dressed.set(OsStr::new("user.a"), b"").unwrap();
    let surely = |root: &Root, rel: &str| root.surely_lacks_xattrs(Path::new(rel));
    assert!(!surely(&fixture.root, "dressed"));
    assert!(!surely(&fixture.root, "missing"));
    // From Linux 6.13 on, it can be told.
    let can_be_told = surely(&fixture.root, "bare");
    for rel in ["dir", "link"] {
        let lacks = of(&fixture, rel).unwrap().list().unwrap().is_empty();
        assert_eq!(surely(&fixture.root, rel), can_be_told && lacks, "{rel}");
    }
    let policy = Policy {
        links: Links::Beneath,
        ..Policy::default()
    };
    let following = Root::open_with(&fixture.path(""), policy).unwrap();
    assert!(!surely(&following, "link"), "it may stand for its target");
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
                testkit::skip(&error.to_string());
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
            testkit::skip("no access control lists here");
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
            testkit::skip("no extended attributes here");
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

#[test]
fn what_a_file_stands_for_is_noted_on_it() {
    if of(&Fixture::new().with(&["file"]), "file").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let noting = noting(dir.path());
    let plain = Root::open(dir.path()).unwrap();
    let (link, device) = (Path::new("link"), Path::new("device"));
    noting.symlink(link, b"to/nowhere").unwrap();
    noting.mknod(device, Kind::Char, 0o600, (5, 300)).unwrap();

    let seen = noting.lstat(link).unwrap().unwrap();
    assert_eq!((seen.kind, seen.size), (Kind::Symlink, 10));
    assert_eq!(noting.read_link(link).unwrap(), b"to/nowhere");
    assert!(plain.lstat(link).unwrap().unwrap().is_file());
    let seen = noting.lstat(device).unwrap().unwrap();
    assert_eq!((seen.kind, seen.rdev), (Kind::Char, (5, 300)));

    let want = Meta {
        uid: 7,
        gid: 8,
        mode: 0o4440,
        ..seen
    };
    let all = Which::MODE | Which::OWNER | Which::GROUP;
    assert!(noting.set_meta(device, &want, all, &seen).unwrap());
    assert_eq!(noting.lstat(device).unwrap().unwrap().mode, 0o4440);
    let real = plain.lstat(device).unwrap().unwrap();
    assert_eq!(real.mode, 0o640);
    let noted = plain
        .xattrs(device, Kind::File)
        .unwrap()
        .fake_stat()
        .unwrap();
    assert_eq!(noted.unwrap().to_string(), "24440 5,300 7:8");
}

#[test]
fn a_note_that_makes_no_sense_is_an_error() {
    if of(&Fixture::new().with(&["file"]), "file").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let noting = noting(dir.path());
    noting
        .temp_file(Path::new("f"))
        .unwrap()
        .keep_as(
            &noting,
            Path::new("f"),
            &noting.lstat(Path::new(".")).unwrap().unwrap(),
            Which::empty(),
        )
        .unwrap();
    let xattrs = noting.xattrs(Path::new("f"), Kind::File).unwrap();
    for value in ["", "100644", "40755 0,0 0:0", &"1".repeat(1000)] {
        xattrs
            .set(OsStr::new("user.rsync.%stat"), value.as_bytes())
            .unwrap();
        assert!(noting.lstat(Path::new("f")).is_err(), "{value}");
    }
}

/// A root that notes on files what they stand for.
fn noting(dir: &Path) -> Root {
    let policy = Policy {
        fake_super: true,
        ..Policy::default()
    };
    Root::open_with(dir, policy).unwrap()
}
