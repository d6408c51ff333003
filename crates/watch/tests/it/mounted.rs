//! Filesystems that are mounted and unmounted below the root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use driftless_watch::{Change, Notice, Reason, Settings, Source, Touch, Watcher};

use crate::live::{Told, may_use_fanotify, until};

#[test]
fn mounts_below_the_root() {
    in_a_namespace_of_its_own("mounted::with_fanotify");
}

#[test]
fn mounts_below_the_root_with_inotify() {
    in_a_namespace_of_its_own("mounted::with_inotify");
}

/// Runs the test proper.
fn in_a_namespace_of_its_own(test: &str) {
    if !may_use_fanotify() {
        return;
    }
    let inner = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", test])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new(arguments[0])
        .args(&arguments[1..])
        .arg(at)
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

#[test]
#[ignore = "needs a mount namespace; mounts_below_the_root runs it in one"]
fn with_fanotify() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for name in ["before", "later", "bound", "poll"] {
        fs::create_dir(path(name)).unwrap();
    }
    mount(&["mount", "-t", "tmpfs", "none"], &path("before"));
    let settings = Settings {
        source: Source::Fanotify,
        poll_every: Duration::from_millis(20),
        ..Settings::default()
    };
    let (watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    assert_eq!(watcher.source(), Source::Fanotify);
    let mut told = Told::default();
    let mut expect = |change: Change| {
        until(root.path(), &changes, &mut told, |told| {
            told.changes.contains(&change)
        });
    };
    let closed = |path: &str| Change::Touched {
        path: path.into(),
        touch: Touch::Closed,
    };
    let rescan = |subtree: &str, reason| Change::Rescan {
        subtree: PathBuf::from(subtree),
        reason,
    };

    fs::write(path("before/f"), "x").unwrap();
    expect(closed("before/f"));

    mount(&["mount", "-t", "tmpfs", "none"], &path("later"));
    expect(rescan("later", Reason::MovedIn));
    fs::create_dir(path("later/d")).unwrap();
    fs::write(path("later/d/f"), "x").unwrap();
    expect(closed("later/d/f"));

    // A directory that is seen at two places changes at both.
    let source = path("later/d");
    mount(
        &["mount", "--bind", source.to_str().unwrap()],
        &path("bound"),
    );
    expect(rescan("bound", Reason::MovedIn));
    fs::write(path("later/d/g"), "x").unwrap();
    expect(closed("later/d/g"));
    expect(closed("bound/g"));
    mount(&["umount"], &path("bound"));
    expect(rescan("bound", Reason::Unmounted));

    // Nothing of ours keeps it mounted.
    mount(&["umount"], &path("later"));
    expect(rescan("later", Reason::Unmounted));

    // devpts has no file handles, so it is polled.
    mount(&["mount", "-t", "devpts", "none"], &path("poll"));
    expect(rescan("poll", Reason::MovedIn));
    mount(&["umount"], &path("poll"));
    expect(rescan("poll", Reason::Unmounted));
    fs::write(path("last"), "x").unwrap();
    expect(closed("last"));
    let is_polled = |change: &Change| matches!(change, Change::Notice(Notice::PollingMount { .. }));
    assert!(told.changes.iter().any(is_polled));
}

#[test]
#[ignore = "needs a mount namespace; mounts_below_the_root_with_inotify runs it in one"]
fn with_inotify() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("dir/later")).unwrap();
    fs::write(path("dir/later/hidden"), "x").unwrap();
    fs::create_dir(path("pruned")).unwrap();
    let settings = Settings {
        source: Source::Inotify,
        prune: Some(std::sync::Arc::new(|path: &Path, _| {
            path == Path::new("pruned")
        })),
        ..Settings::default()
    };
    let (watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    let mut told = Told::default();
    let mut expect = |change: Change| {
        until(root.path(), &changes, &mut told, |told| {
            told.changes.contains(&change)
        });
        told = Told::default();
    };
    let closed = |path: &str| Change::Touched {
        path: path.into(),
        touch: Touch::Closed,
    };
    let rescan = |reason| Change::Rescan {
        subtree: PathBuf::from("dir/later"),
        reason,
    };
    mount(&["mount", "-t", "tmpfs", "none"], &path("pruned"));
    for _ in 0..2 {
        mount(&["mount", "-t", "tmpfs", "none"], &path("dir/later"));
        expect(rescan(Reason::MovedIn));
        fs::write(path("dir/later/f"), "x").unwrap();
        expect(closed("dir/later/f"));
        mount(&["umount"], &path("dir/later"));
        expect(rescan(Reason::Unmounted));
        fs::write(path("dir/later/hidden"), "y").unwrap();
        expect(closed("dir/later/hidden"));
    }
    drop(watcher);
}
