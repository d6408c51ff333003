//! Setting attributes.

use std::os::unix::fs::symlink;
use std::path::Path;

use driftless_tree::{Kind, Meta, Time, Which};

use crate::{Fixture, is_root};

const TIME: Time = Time {
    sec: 1_234_567_890,
    nsec: 123_456_789,
};

#[test]
fn what_is_right_already_is_left_alone() {
    let fixture = Fixture::new().with(&["file"]);
    let now = fixture.meta("file");
    let path = Path::new("file");
    assert!(
        !fixture
            .root
            .set_meta(path, &now, Which::all(), &now)
            .unwrap()
    );
    assert_eq!(fixture.meta("file").ctime, now.ctime);

    let want = Meta {
        mode: 0o4711,
        mtime: TIME,
        ..now
    };
    assert!(
        !fixture
            .root
            .set_meta(path, &want, Which::ATIME, &now)
            .unwrap()
    );
    assert!(
        fixture
            .root
            .set_meta(path, &want, Which::all(), &now)
            .unwrap()
    );
    let now = fixture.meta("file");
    assert_eq!((now.mode, now.mtime, now.atime), (0o4711, TIME, want.atime));
    assert!(
        !fixture
            .root
            .set_meta(path, &want, Which::all(), &now)
            .unwrap()
    );
}

#[test]
fn every_type_takes_times_and_all_but_links_a_mode() {
    let fixture = Fixture::new().with(&["file", "dir/"]);
    let root = &fixture.root;
    symlink("dangling", fixture.path("link")).unwrap();
    root.mknod(Path::new("fifo"), Kind::Fifo, 0o600, (0, 0))
        .unwrap();
    root.mknod(Path::new("sock"), Kind::Socket, 0o600, (0, 0))
        .unwrap();
    for name in ["file", "dir", "link", "fifo", "sock", ""] {
        let now = fixture.meta(name);
        let want = Meta {
            mode: 0o711,
            mtime: TIME,
            atime: Time::from_secs(-1),
            ..now
        };
        assert!(
            root.set_meta(Path::new(name), &want, Which::all(), &now)
                .unwrap(),
            "{name}"
        );
        let now = fixture.meta(name);
        assert_eq!(
            (now.mtime, now.atime),
            (TIME, Time::from_secs(-1)),
            "{name}"
        );
        assert_eq!(
            now.mode,
            if now.is_symlink() { 0o777 } else { 0o711 },
            "{name}"
        );
    }
}

#[test]
fn owners_are_set_and_set_id_bits_survive_it() {
    if !is_root("only root gives files away") {
        return;
    }
    let fixture = Fixture::new().with(&["file", "dir/"]);
    symlink("file", fixture.path("link")).unwrap();
    for name in ["file", "dir", "link"] {
        let now = fixture.meta(name);
        let want = Meta {
            mode: 0o6755,
            uid: 12_345,
            gid: 54_321,
            ..now
        };
        fixture
            .root
            .set_meta(Path::new(name), &want, Which::all(), &now)
            .unwrap();
        let now = fixture.meta(name);
        assert_eq!((now.uid, now.gid), (12_345, 54_321), "{name}");
        if !now.is_symlink() {
            assert_eq!(now.mode, 0o6755, "{name}");
        }
    }
    let now = fixture.meta("file");
    let want = Meta { gid: 99, ..now };
    fixture
        .root
        .set_meta(Path::new("file"), &want, Which::all(), &now)
        .unwrap();
    assert_eq!(fixture.meta("file").mode, 0o6755);
}

#[test]
fn a_new_file_gets_its_owner_even_in_a_set_group_id_directory() {
    if !is_root("only root gives files away") {
        return;
    }
    let fixture = Fixture::new().with(&["dir/"]);
    let root = &fixture.root;
    let now = fixture.meta("dir");
    let shared = Meta {
        mode: 0o2775,
        gid: 4242,
        ..now
    };
    root.set_meta(Path::new("dir"), &shared, Which::all(), &now)
        .unwrap();
    let ours = Meta {
        mode: 0o4755,
        ..fixture.meta("")
    };
    for name in ["dir/a", "dir/b"] {
        let made = root
            .temp_file(Path::new(name))
            .unwrap()
            .commit(&ours, Which::all())
            .unwrap();
        assert_eq!(
            (made.uid, made.gid, made.mode),
            (ours.uid, ours.gid, 0o4755)
        );
    }
    let kept = Which::all() - Which::GROUP;
    let made = root
        .temp_file(Path::new("dir/c"))
        .unwrap()
        .commit(&ours, kept)
        .unwrap();
    assert_eq!(made.gid, 4242);
}

#[test]
fn attributes_that_cannot_be_set_do_not_cost_the_content() {
    let fixture = Fixture::new().with(&["file"]);
    let want = Meta {
        uid: u32::MAX,
        mode: 0o4755,
        ..fixture.meta("file")
    };
    let temp = fixture.root.temp_file(Path::new("file")).unwrap();
    let error = temp.commit(&want, Which::all()).unwrap_err();
    assert!(error.is_attribute(), "{error}");
    // What its owner was to permit is not for whoever has it now.
    assert_eq!(fixture.meta("file").mode, 0o600);
    assert_eq!(fixture.meta("file").size, 0);
    assert_eq!(fixture.all(), ["file"]);
}

#[test]
fn impossible_values_are_errors_and_end_it() {
    let fixture = Fixture::new().with(&["file"]);
    let now = fixture.meta("file");
    let want = Meta {
        uid: u32::MAX,
        mode: 0o6711,
        mtime: TIME,
        ..now
    };
    let error = fixture
        .root
        .set_meta(Path::new("file"), &want, Which::all(), &now)
        .unwrap_err();
    assert_eq!(error.verb(), "chown");
    let set = fixture.meta("file");
    // Permissions meant for another owner would be a gift to the present one.
    assert_eq!((set.mode, set.mtime), (now.mode, now.mtime));

    // These numbers of nanoseconds mean "now" and "leave alone" to the system.
    for nsec in [1_000_000_000, 0x3fff_ffff, 0x3fff_fffe] {
        let want = Meta {
            mtime: Time { sec: 0, nsec },
            ..set
        };
        let set = fixture
            .root
            .set_meta(Path::new("file"), &want, Which::MTIME, &set);
        assert_eq!(set.unwrap_err().verb(), "utimes");
    }
}
