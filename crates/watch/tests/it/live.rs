//! What changes while it is watched is covered, whatever the timing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use driftless_watch::{Change, Error, Notice, Reason, Settings, Source, Touch, Watcher};
use tempfile::TempDir;

/// The paths that a consumer of the stream has been told to look at.
#[derive(Default)]
pub(crate) struct Told {
    paths: BTreeSet<PathBuf>,
    /// Looked at when told, as a consumer does: what was there at that time.
    found: BTreeSet<PathBuf>,
    pub(crate) changes: Vec<Change>,
}

impl Told {
    fn take(&mut self, root: &Path, change: Change) {
        match &change {
            Change::Touched { path, .. } => drop(self.paths.insert(path.clone())),
            Change::Moved { from, to, .. } => {
                self.paths.insert(from.clone());
                scan(root, to, &mut self.found);
            }
            Change::Rescan { subtree, .. } => scan(root, subtree, &mut self.found),
            Change::Notice(_) | Change::CaughtUp(_) => {}
        }
        self.changes.push(change);
    }

    fn covers(&self, path: &Path) -> bool {
        self.paths.contains(path) || self.found.contains(path)
    }
}

fn scan(root: &Path, path: &Path, found: &mut BTreeSet<PathBuf>) {
    if root.join(path).symlink_metadata().is_ok() {
        found.insert(path.to_owned());
    }
    for entry in fs::read_dir(root.join(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = path.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            scan(root, &path, found);
        }
        found.insert(path);
    }
}

fn start(source: Source) -> (TempDir, Watcher, Receiver<Vec<Change>>) {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        source,
        poll_every: Duration::from_millis(20),
        ..Settings::default()
    };
    let (watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    (root, watcher, changes)
}

/// Whether this process may use fanotify; tests that need it say that they are skipped.
pub(crate) fn may_use_fanotify() -> bool {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        source: Source::Fanotify,
        ..Settings::default()
    };
    match Watcher::start(root.path(), settings) {
        Ok(_) => true,
        Err(error @ Error::Fanotify { .. }) => {
            eprintln!("skipped: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Receives until `enough` or for ten seconds.
pub(crate) fn until(
    root: &Path,
    changes: &Receiver<Vec<Change>>,
    told: &mut Told,
    enough: impl Fn(&Told) -> bool,
) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !enough(told) {
        match changes.recv_deadline(deadline) {
            Ok(batch) => batch.into_iter().for_each(|change| told.take(root, change)),
            Err(RecvTimeoutError::Timeout) => panic!("not told: {:#?}", told.changes),
            Err(RecvTimeoutError::Disconnected) => panic!("stream ended: {:#?}", told.changes),
        }
    }
}

/// The race that inotify-tools loses: a directory is made and filled at once.
fn two_hundred_trees(source: Source) {
    let (root, _watcher, changes) = start(source);
    let mut expected = Vec::new();
    for number in 0..200 {
        let directory = PathBuf::from(format!("n{number}/s/t"));
        fs::create_dir_all(root.path().join(&directory)).unwrap();
        fs::write(root.path().join(&directory).join("f"), "x").unwrap();
        expected.push(directory.join("f"));
        expected.push(directory);
    }
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        expected.iter().all(|path| told.covers(path))
    });
}

#[test]
fn two_hundred_trees_with_inotify() {
    two_hundred_trees(Source::Inotify);
}

#[test]
fn two_hundred_trees_with_fanotify() {
    if may_use_fanotify() {
        two_hundred_trees(Source::Fanotify);
    }
}

#[test]
fn two_hundred_trees_with_polling() {
    two_hundred_trees(Source::Poll);
}

/// Writers that make, rename and delete nested directories; then the final tree must be covered.
fn writers(source: Source) {
    let (root, _watcher, changes) = start(source);
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let root = root.path();
            scope.spawn(move || {
                // A fixed sequence for each writer; what is left to chance is how they interleave.
                let mut state = writer.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let mut next = move |below: u64| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state % below
                };
                for _ in 0..300 {
                    let path = root.join(format!("{}/{}/{}", next(4), next(4), next(4)));
                    let other = root.join(format!("{}/{}", next(4), next(4)));
                    // Failures are part of it: another writer was faster.
                    let _ = match next(8) {
                        0..3 => fs::create_dir_all(&path),
                        3..5 => fs::write(path.join("f"), "x"),
                        5 => fs::remove_dir_all(&path),
                        6 => fs::rename(&path, &other),
                        _ => fs::rename(&other, &path),
                    };
                }
            });
        }
    });
    let mut expected = BTreeSet::new();
    scan(root.path(), Path::new(""), &mut expected);
    expected.remove(Path::new(""));
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        expected.iter().all(|path| told.covers(path))
    });
}

#[test]
fn writers_with_inotify() {
    writers(Source::Inotify);
}

#[test]
fn writers_with_fanotify() {
    if may_use_fanotify() {
        writers(Source::Fanotify);
    }
}

#[test]
fn writers_with_polling() {
    writers(Source::Poll);
}

#[test]
fn more_events_than_the_kernels_queue_holds() {
    let (root, _watcher, changes) = start(Source::Inotify);
    for directory in 0..4 {
        fs::create_dir(root.path().join(directory.to_string())).unwrap();
    }
    for number in 0..40_000 {
        let path = format!("{}/{number}", number % 4);
        fs::File::create(root.path().join(path)).unwrap();
    }
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        (0..40_000).all(|number| told.covers(Path::new(&format!("{}/{number}", number % 4))))
    });
    let overflow = |change: &Change| {
        matches!(
            change,
            Change::Rescan {
                reason: Reason::Overflow,
                ..
            }
        )
    };
    assert!(
        !told.changes.iter().any(overflow),
        "nobody read for a while, and nothing was lost"
    );
}

#[test]
fn polling_tells_creation_writing_and_removal() {
    let (root, _watcher, changes) = start(Source::Poll);
    let path = root.path().join("f");
    let mut told = Told::default();
    let mut wait_for = |touch: Touch| {
        let path = PathBuf::from("f");
        let change = Change::Touched { path, touch };
        until(root.path(), &changes, &mut told, |told| {
            told.changes.contains(&change)
        });
    };
    fs::write(&path, "a").unwrap();
    wait_for(Touch::Created { is_dir: false });
    fs::write(&path, "ab").unwrap();
    wait_for(Touch::Written);
    fs::remove_file(&path).unwrap();
    wait_for(Touch::Removed { is_dir: false });
}

#[test]
fn a_rename_is_told_promptly_and_as_one() {
    rename(Source::Inotify);
    if may_use_fanotify() {
        rename(Source::Fanotify);
    }
}

fn rename(source: Source) {
    let (root, _watcher, changes) = start(source);
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        told.covers(Path::new("a/b"))
    });
    fs::rename(root.path().join("a"), root.path().join("c")).unwrap();
    let moved = Change::Moved {
        from: "a".into(),
        to: "c".into(),
        is_dir: true,
    };
    until(root.path(), &changes, &mut told, |told| {
        told.changes.contains(&moved)
    });
}

#[test]
fn a_write_is_told_by_the_name_the_file_was_opened_by() {
    written_by_a_name_that_is_gone(Source::Inotify);
    if may_use_fanotify() {
        written_by_a_name_that_is_gone(Source::Fanotify);
    }
}

fn written_by_a_name_that_is_gone(source: Source) {
    let (root, _watcher, changes) = start(source);
    let (opened, left) = (root.path().join("opened"), root.path().join("left"));
    let mut file = fs::File::create(&opened).unwrap();
    fs::hard_link(&opened, left).unwrap();
    fs::remove_file(&opened).unwrap();
    let is = |change: &Change, touch: Touch| {
        let path = "opened".into();
        *change == Change::Touched { path, touch }
    };
    let removed = Touch::Removed { is_dir: false };
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        told.changes.iter().any(|change| is(change, removed))
    });
    file.write_all(b"content").unwrap();
    drop(file);
    until(root.path(), &changes, &mut told, |told| {
        let after = told
            .changes
            .iter()
            .skip_while(|change| !is(change, removed));
        after.into_iter().any(|change| is(change, Touch::Closed))
    });
}

#[test]
fn the_limit_is_told_and_what_is_beyond_it_is_seen() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b/c/d")).unwrap();
    let settings = Settings {
        poll_every: Duration::from_millis(20),
        max_watches: Some(2),
        ..Settings::default()
    };
    let (watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    assert_eq!(watcher.directories(), 5);
    let notice = Change::Notice(Notice::WatchLimit {
        watched: 2,
        needed: 5,
        limit: Some(2),
    });
    fs::write(root.path().join("a/b/c/d/f"), "x").unwrap();
    let mut told = Told::default();
    until(root.path(), &changes, &mut told, |told| {
        told.changes.contains(&notice) && told.covers(Path::new("a/b/c/d/f"))
    });
}

#[test]
fn the_stream_ends_with_the_root() {
    let mut sources = vec![Source::Inotify, Source::Poll];
    sources.extend(may_use_fanotify().then_some(Source::Fanotify));
    for source in sources {
        let (root, _watcher, changes) = start(source);
        fs::remove_dir_all(root.path()).unwrap();
        let last = changes.iter().flatten().last();
        let gone = Change::Rescan {
            subtree: PathBuf::new(),
            reason: Reason::RootGone,
        };
        assert_eq!(last, Some(gone), "{source:?}");
    }
}

#[test]
fn dropping_the_watcher_ends_the_stream() {
    let (_root, watcher, changes) = start(Source::Inotify);
    watcher.stop();
    assert!(changes.recv().is_err());
}

#[test]
fn a_root_that_is_no_directory_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    for name in ["file", "missing"] {
        let path = root.path().join(name);
        let error = Watcher::start(&path, Settings::default()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Takes changes until the watcher has caught up with `number`.
fn until_caught_up(root: &Path, changes: &Receiver<Vec<Change>>, told: &mut Told, number: u64) {
    let is_it = |change: &Change| matches!(change, Change::CaughtUp(up) if *up >= number);
    until(root, changes, told, |told| told.changes.iter().any(is_it));
}

#[test]
fn everything_before_the_question_is_told_before_the_answer() {
    let sources = [Source::Inotify, Source::Fanotify];
    for source in sources
        .into_iter()
        .take(1 + usize::from(may_use_fanotify()))
    {
        let (root, watcher, changes) = start(source);
        let outside = tempfile::tempdir_in(root.path().parent().unwrap()).unwrap();
        let mut told = Told::default();
        for round in 0..20 {
            let dir = root.path().join(format!("{round}"));
            fs::create_dir_all(dir.join("a/b/c/d/e/f")).unwrap();
            fs::write(dir.join("a/b/c/d/e/f/last"), "").unwrap();
            let name = format!("file{round}");
            let (file, away) = (root.path().join(&name), outside.path().join(&name));
            fs::write(&file, "").unwrap();
            fs::rename(&file, away).unwrap();
            let number = watcher.catch_up();
            told = Told::default();
            until_caught_up(root.path(), &changes, &mut told, number);
            let last = PathBuf::from(format!("{round}/a/b/c/d/e/f/last"));
            assert!(told.covers(&last), "{source:?}: {:?}", told.changes);
            let gone = Change::Touched {
                path: name.into(),
                touch: Touch::Removed { is_dir: false },
            };
            assert!(
                told.changes.contains(&gone),
                "{source:?}: {:?}",
                told.changes
            );
        }
        drop(told);
    }
}

#[test]
fn what_is_polled_answers_too() {
    let (root, watcher, changes) = start(Source::Poll);
    let number = watcher.catch_up();
    until_caught_up(root.path(), &changes, &mut Told::default(), number);
}

#[test]
fn no_event_is_lost_when_a_watch_is_confirmed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("d");
    fs::create_dir(&dir).unwrap();
    let settings = Settings {
        source: Source::Inotify,
        ..Settings::default()
    };
    let (watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    std::thread::scope(|scope| {
        // Each new directory has the watch of the one above confirmed.
        scope.spawn(|| (0..4000).for_each(|n| fs::create_dir(dir.join(format!("d{n}"))).unwrap()));
        scope.spawn(|| {
            for n in 0..10_000 {
                std::os::unix::fs::symlink("x", dir.join(format!("l{n}"))).unwrap();
            }
        });
    });
    let number = watcher.catch_up();
    let mut told = Told::default();
    until_caught_up(root.path(), &changes, &mut told, number);
    if told.changes.iter().any(is_overflow) {
        // Everything is looked at then.
        return;
    }
    for name in fs::read_dir(&dir).unwrap() {
        let path = Path::new("d").join(name.unwrap().file_name());
        assert!(told.covers(&path), "{path:?}");
    }
}

fn is_overflow(change: &Change) -> bool {
    matches!(
        change,
        Change::Rescan {
            reason: Reason::Overflow,
            ..
        }
    )
}
