//! fanotify's events, read as late as a test likes. Skipped where fanotify may not be used.

#![allow(clippy::disallowed_methods, reason = "tests change trees of their own")]

use std::fs;

use crossbeam_channel::{Receiver, unbounded};
use tempfile::TempDir;

use super::*;

/// A tracker whose events are read when the test says so.
struct Late {
    base: TempDir,
    fanotify: Arc<Fanotify>,
    marked: Marked,
    changes: Receiver<Vec<Change>>,
}

impl Late {
    /// `before` is done below the root before it is watched.
    fn new(before: impl FnOnce(&Path), settings: Settings) -> Option<Late> {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("in");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir(base.path().join("out")).unwrap();
        before(&root);
        let fanotify = match Fanotify::new() {
            Ok(fanotify) => Arc::new(fanotify),
            Err(error) => {
                eprintln!("skipped: {}", refusal(error));
                return None;
            }
        };
        let (sink, changes) = unbounded();
        let marked = Marked::start(Setup {
            root,
            fanotify: Arc::clone(&fanotify),
            mounts: Mounts::open().unwrap(),
            settings,
            sink,
            stop: Arc::default(),
            directories: Arc::default(),
        });
        let marked = match marked {
            Ok(marked) => marked,
            Err(error) => {
                eprintln!("skipped: {}", refusal(error));
                return None;
            }
        };
        Some(Late {
            base,
            fanotify,
            marked,
            changes,
        })
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.base.path().join("in").join(relative)
    }

    fn write(&self, relative: &str) {
        fs::write(self.path(relative), "x").unwrap();
    }

    fn mkdir(&self, relative: &str) {
        fs::create_dir_all(self.path(relative)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, relative: &str) {
        fs::remove_dir_all(self.path(relative)).unwrap();
    }

    /// Reads all that is queued, and returns what is reported.
    fn drain(&mut self) -> Vec<Change> {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = rustix::io::read(&*self.fanotify, &mut buffer[..]) {
            self.marked.process(&buffer[..length]);
        }
        self.marked.places.rest();
        self.marked.flush();
        self.changes.try_iter().flatten().collect()
    }
}

fn touched(path: &str, touch: Touch) -> Change {
    let path = path.into();
    Change::Touched { path, touch }
}

fn moved(from: &str, to: &str) -> Change {
    Change::Moved {
        from: from.into(),
        to: to.into(),
        is_dir: true,
    }
}

fn rescan(subtree: &str, reason: Reason) -> Change {
    let subtree = subtree.into();
    Change::Rescan { subtree, reason }
}

const GONE: Touch = Touch::Removed { is_dir: true };

#[test]
fn a_directory_that_came_and_went_is_remembered() {
    let Some(mut late) = Late::new(|_| (), Settings::default()) else {
        return;
    };
    late.mkdir("d/e");
    late.write("d/e/f");
    late.rename("d", "g");
    late.remove("g");
    let changes = late.drain();
    assert!(
        changes.contains(&touched("d/e/f", Touch::Closed)),
        "{changes:#?}"
    );
    assert!(changes.contains(&moved("d", "g")), "{changes:#?}");
    assert!(changes.contains(&touched("g", GONE)), "{changes:#?}");
}

#[test]
fn of_an_unknown_directory_that_is_gone_the_end_is_told() {
    let before = |root: &Path| fs::create_dir_all(root.join("old/er")).unwrap();
    let Some(mut late) = Late::new(before, Settings::default()) else {
        return;
    };
    late.write("old/er/f");
    late.remove("old");
    // "old" itself is gone as well when the end of "er" is read, but the root is not.
    assert_eq!(late.drain(), [touched("old", GONE)]);
}

#[test]
fn renames_that_the_kernel_joins_leave_no_stale_path() {
    let before = |root: &Path| fs::create_dir_all(root.join("a/s")).unwrap();
    let Some(mut late) = Late::new(before, Settings::default()) else {
        return;
    };
    late.rename("a", "b");
    late.rename("b", "a");
    late.rename("a", "b");
    assert!(late.drain().contains(&moved("a", "b")));
    late.write("b/s/f");
    assert!(late.drain().contains(&touched("b/s/f", Touch::Closed)));
}

#[test]
fn moved_out_and_in() {
    let before = |root: &Path| fs::create_dir_all(root.join("a/s")).unwrap();
    let Some(mut late) = Late::new(before, Settings::default()) else {
        return;
    };
    late.rename("a", "../out/a");
    late.write("../out/a/s/unseen");
    assert_eq!(late.drain(), [touched("a", GONE)]);
    late.rename("../out/a", "c");
    late.write("c/s/f");
    let changes = late.drain();
    assert!(
        changes.contains(&rescan("c", Reason::MovedIn)),
        "{changes:#?}"
    );
    assert!(
        changes.contains(&touched("c/s/f", Touch::Closed)),
        "{changes:#?}"
    );
}

#[test]
fn what_is_pruned_is_not_told() {
    let prune: Prune = Arc::new(|path, _| path.ends_with("cache"));
    let settings = Settings {
        prune: Some(prune),
        ..Settings::default()
    };
    let Some(mut late) = Late::new(|_| (), settings) else {
        return;
    };
    late.mkdir("a/cache/deep");
    late.write("a/cache/deep/f");
    let expected = [
        touched("a", Touch::Created { is_dir: true }),
        rescan("a", Reason::NewDirectory),
        touched("a", Touch::Attributes),
    ];
    assert_eq!(late.drain(), expected);
    late.rename("a/cache", "kept");
    let expected = [
        touched("a", Touch::Attributes),
        touched("kept", Touch::Created { is_dir: true }),
        rescan("kept", Reason::MovedIn),
    ];
    assert_eq!(late.drain(), expected);
}

#[test]
fn our_own_changes_are_left_out_if_asked_but_move_directories() {
    let settings = Settings {
        ignore_own: true,
        ..Settings::default()
    };
    let before = |root: &Path| fs::create_dir(root.join("a")).unwrap();
    let Some(mut late) = Late::new(before, settings) else {
        return;
    };
    let touch = |path: PathBuf| {
        let status = std::process::Command::new("touch").arg(path).status();
        assert!(status.unwrap().success());
    };
    touch(late.path("a/f"));
    assert!(late.drain().contains(&touched("a/f", Touch::Closed)));
    late.rename("a", "b");
    late.write("b/own");
    assert_eq!(late.drain(), []);
    touch(late.path("b/g"));
    assert!(late.drain().contains(&touched("b/g", Touch::Closed)));
}

#[test]
fn an_overflow_is_a_rescan_of_everything() {
    let before = |root: &Path| fs::create_dir(root.join("a")).unwrap();
    let Some(mut late) = Late::new(before, Settings::default()) else {
        return;
    };
    late.rename("a", "b");
    for number in 0..17_000 {
        fs::File::create(late.path(&format!("b/{number}"))).unwrap();
    }
    late.rename("b", "c");
    assert!(late.drain().contains(&rescan("", Reason::Overflow)));
    late.write("c/f");
    assert!(late.drain().contains(&touched("c/f", Touch::Closed)));
}

#[test]
fn the_stream_ends_with_the_root() {
    for ends in [
        |root: &Path| fs::remove_dir_all(root).unwrap(),
        |root: &Path| fs::rename(root, root.with_file_name("out/in")).unwrap(),
    ] {
        let Some(mut late) = Late::new(|_| (), Settings::default()) else {
            return;
        };
        ends(&late.path(""));
        assert_eq!(late.drain().last(), Some(&rescan("", Reason::RootGone)));
        assert!(late.marked.ended);
    }
}
