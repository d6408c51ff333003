//! Somebody rearranges the tree while we work in it.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use driftless_tree::{Kind, Links, Meta, Policy, Root, Time, Which};

use rustix::fs::CWD;

use crate::Fixture;

/// One try of everything that could touch something outside. Most tries fail; none may escape.
fn try_everything(root: &Root, model: &Meta) {
    let _ = root.lstat(Path::new("swap/secret"));
    let _ = root.mkdir(Path::new("swap/made"), 0o777);
    let _ = root.symlink(Path::new("swap/link"), b"target");
    let _ = root.hard_link(Path::new("file"), Path::new("swap/hard"));
    let _ = root.mknod(Path::new("swap/fifo"), Kind::Fifo, 0o666, (0, 0));
    let _ = root.rename(Path::new("swap/secret"), Path::new("taken"));
    let _ = root.remove_file(Path::new("swap/secret"));
    let _ = root.remove_dir(Path::new("swap/empty"));
    let which = Which::MODE | Which::MTIME | Which::ATIME;
    let want = Meta {
        mode: 0o777,
        mtime: Time::from_secs(1),
        atime: Time::from_secs(1),
        ..*model
    };
    let _ = root.set_meta(Path::new("swap"), &want, which, model);
    let _ = root.set_meta(Path::new("swap/secret"), &want, which, model);
    if let Ok(mut temp) = root.temp_file(Path::new("swap/secret")) {
        let _ = temp.file().write_all(b"overwritten");
        let _ = temp.commit(&want, which);
    }
    let _ = root.open_in_place(Path::new("swap/made.new"), true);
    for entry in root.read_dir(Path::new("swap")).into_iter().flatten() {
        let path = Path::new("swap").join(&entry.name);
        if let Ok(Some(meta)) = root.lstat(&path) {
            assert_ne!(meta.ino, model.ino, "{} is outside", path.display());
        }
    }
    let _ = root.remove_tree(Path::new("swap"), &mut |_, _| false, &mut |_, _| {});
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn survives(policy: Policy) {
    let outside = Fixture::new().with(&["secret", "empty/"]);
    let inside = Fixture::new().with(&["file"]);
    let root = Root::open_with(inside.dir.path(), policy).unwrap();
    let secret = outside.meta("secret");
    let top = outside.meta("");

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (swap, link) = (inside.path("swap"), inside.path("link"));
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(Ordering::Relaxed) {
                // Whatever was removed meanwhile is made again; what is there stays, outside too.
                if !swap.is_symlink() && !link.is_symlink() {
                    let _ = std::fs::remove_dir_all(&link);
                    let _ = symlink(outside.dir.path(), &link);
                }
                let _ = std::fs::create_dir_all(swap.join("empty"));
                let _ = std::fs::File::create_new(swap.join("secret"));
                for _ in 0..20 {
                    let _ = rustix::fs::renameat_with(CWD, &swap, CWD, &link, exchange);
                }
            }
        });
        // Also when a check below fails: the other thread must not wait for ever.
        let _stop = StopOnDrop(&done);
        for _ in 0..500 {
            try_everything(&root, &secret);
        }
    });

    assert_eq!(outside.all(), ["empty", "secret"]);
    assert_eq!(outside.meta("secret"), secret);
    assert!(outside.meta("").unchanged_since(&top));
}

#[test]
fn a_component_that_flips_to_a_link_leads_nowhere() {
    survives(Policy::default());
}

#[test]
fn nor_does_it_when_links_beneath_are_followed() {
    let links = Links::Beneath;
    survives(Policy {
        links,
        ..Policy::default()
    });
}

#[test]
fn links_out_are_refused_and_links_within_follow_the_policy() {
    let fixture = Fixture::new().with(&["real/file"]);
    symlink("real", fixture.path("in")).unwrap();
    symlink("/etc", fixture.path("out")).unwrap();
    let error = fixture.root.lstat(Path::new("in/file")).unwrap_err();
    assert!(error.is_confined(), "{error}");
    assert!(fixture.root.temp_file(Path::new("in/new")).is_err());

    let links = Links::Beneath;
    let policy = Policy {
        links,
        ..Policy::default()
    };
    let root = Root::open_with(fixture.dir.path(), policy).unwrap();
    let file = root.lstat(Path::new("in/file")).unwrap().unwrap();
    assert_eq!(file.ino, fixture.meta("real/file").ino);
    assert!(root.stat(Path::new("in")).unwrap().unwrap().is_dir());
    assert!(
        root.lstat(Path::new("out/passwd"))
            .unwrap_err()
            .is_confined()
    );
    assert!(root.open_target(Path::new("out/passwd")).is_err());

    let policy = Policy {
        links: Links::Anywhere,
        ..Policy::default()
    };
    let root = Root::open_with(fixture.dir.path(), policy).unwrap();
    assert!(root.open_target(Path::new("out/passwd")).is_ok());
    assert!(root.lstat(Path::new("../x")).is_err());
}

#[test]
fn only_regular_files_are_opened_and_a_pipe_does_not_block() {
    let fixture = Fixture::new().with(&["dir/", "file"]);
    symlink("file", fixture.path("link")).unwrap();
    let root = &fixture.root;
    root.mknod(Path::new("pipe"), Kind::Fifo, 0o600, (0, 0))
        .unwrap();

    assert!(root.open_file(Path::new("file")).is_ok());
    for name in ["dir", "link", "pipe", "none"] {
        assert!(root.open_file(Path::new(name)).is_err(), "{name}");
    }
    let error = root.open_file(Path::new("link")).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"open "link": Too many levels of symbolic links (os error 40)"#
    );
}

#[test]
fn a_replaced_root_is_noticed() {
    let fixture = Fixture::new().with(&["root/"]);
    let path = fixture.path("root");
    let root = Root::open(&path).unwrap();
    assert_eq!(
        root.current_identity().unwrap(),
        Some(root.identity().unwrap())
    );
    std::fs::rename(&path, fixture.path("moved")).unwrap();
    assert_eq!(root.current_identity().unwrap(), None);
    std::fs::create_dir(&path).unwrap();
    assert_ne!(
        root.current_identity().unwrap(),
        Some(root.identity().unwrap())
    );
}

#[test]
fn the_operators_own_path_may_be_a_link() {
    let fixture = Fixture::new().with(&["real/file"]);
    symlink("real", fixture.path("link")).unwrap();
    let root = Root::open(&fixture.path("link")).unwrap();
    assert!(root.lstat(Path::new("file")).unwrap().is_some());

    let missing = fixture.path("missing/root");
    let error = Root::create(&missing).unwrap_err();
    assert_eq!((error.verb(), error.path()), ("mkdir", missing.as_path()));
    Root::create(&fixture.path("made")).unwrap();
    assert!(fixture.path("made").is_dir());
    assert_ne!(
        std::fs::metadata(fixture.path("made"))
            .unwrap()
            .permissions()
            .mode()
            & 0o700,
        0
    );
}
