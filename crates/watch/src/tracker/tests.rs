//! The tracker against a real kernel, with events read as late as a test likes.

#![allow(clippy::disallowed_methods, reason = "tests change trees of their own")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crossbeam_channel::{Receiver, unbounded};
use proptest::prelude::*;
use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

use super::*;

/// A tracker whose events are read when the test says so, and a consumer that believes it.
struct Late {
    base: TempDir,
    inotify: Arc<Inotify>,
    tracker: Tracker,
    changes: Receiver<Vec<Change>>,
    seen: Vec<Change>,
    clock: Instant,
    /// Kind and inode of every path, as a consumer knows them that looks where it is told to look.
    replica: BTreeMap<PathBuf, (bool, u64)>,
}

impl Late {
    fn new(directories: &[&str]) -> Late {
        Late::with(directories, None, None)
    }

    fn with(directories: &[&str], max_watches: Option<u64>, prune: Option<Prune>) -> Late {
        let base = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(base.path().join("in").join(directory)).unwrap();
        }
        Late::in_base(base, max_watches, prune)
    }

    fn in_base(base: TempDir, max_watches: Option<u64>, prune: Option<Prune>) -> Late {
        fs::create_dir_all(base.path().join("in")).unwrap();
        fs::create_dir(base.path().join("out")).unwrap();
        let inotify = Arc::new(Inotify::new().unwrap());
        let (sink, changes) = unbounded();
        let tracker = Tracker::start(Setup {
            root: base.path().join("in"),
            inotify: Some(Arc::clone(&inotify)),
            mounts: None,
            prune,
            max_watches,
            gives_up: false,
            poll_every: Duration::from_millis(1),
            sink,
            stop: Arc::default(),
            directories: Arc::default(),
        })
        .unwrap();
        let mut late = Late {
            base,
            inotify,
            tracker,
            changes,
            seen: Vec::new(),
            clock: Instant::now(),
            replica: BTreeMap::new(),
        };
        late.replica = disk(&late.root());
        late
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("in")
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    fn mkdir(&self, relative: &str) {
        let _ = fs::create_dir_all(self.path(relative));
    }

    fn write(&self, relative: &str) {
        let _ = fs::write(self.path(relative), relative);
    }

    fn rename(&self, from: &str, to: &str) {
        let _ = fs::rename(self.path(from), self.path(to));
    }

    fn exchange(&self, a: &str, b: &str) {
        let flags = RenameFlags::EXCHANGE;
        let _ = rustix::fs::renameat_with(CWD, self.path(a), CWD, self.path(b), flags);
    }

    fn remove(&self, relative: &str) {
        let path = self.path(relative);
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    }

    /// Reads at most so many bytes of events; false when there were none.
    fn read(&mut self, most: usize) -> bool {
        let mut buffer = vec![0; most];
        let Ok(length) = self.inotify.read(&mut buffer) else {
            return false;
        };
        self.tracker.process(&buffer[..length], self.clock);
        self.consume();
        true
    }

    /// Lets time pass: halves of renames expire, unsettled directories are read again.
    fn tick(&mut self) {
        self.clock += 2 * PAIR_WAIT;
        self.tracker.due(self.clock);
        self.consume();
    }

    /// Reads until nothing is left, and returns what was reported since the last time.
    fn drain(&mut self) -> Vec<Change> {
        loop {
            while self.read(4096) {}
            self.tick();
            let quiet = self.tracker.departures.is_empty() && self.tracker.unsettled.is_empty();
            if quiet && !self.read(4096) {
                return std::mem::take(&mut self.seen);
            }
        }
    }

    fn consume(&mut self) {
        self.tracker.flush();
        for change in self.changes.try_iter().flatten() {
            follow(&mut self.replica, &self.base.path().join("in"), &change);
            self.seen.push(change);
        }
    }

    /// The tracker's tree is that on disk, each directory with its own watch, and the consumer missed nothing.
    fn assert_true(&mut self) {
        let disk = disk(&self.root());
        let directories: Vec<&PathBuf> = disk
            .iter()
            .filter(|(_, (is_dir, _))| *is_dir)
            .map(|(path, _)| path)
            .collect();
        for path in &directories {
            let node = self
                .node(path)
                .unwrap_or_else(|| panic!("no node for {path:?}"));
            if !self.tracker.polled.contains(node) {
                let watch = self.tracker.names.watch(node);
                assert_eq!(
                    self.tracker.watch_at(node, b"").ok(),
                    watch,
                    "watch of {path:?}"
                );
            }
        }
        let nodes = self.tracker.names.watched() + self.tracker.polled.len();
        assert_eq!(
            nodes,
            directories.len() + 1,
            "nodes and directories, with the root"
        );
        assert_eq!(self.replica, disk, "what the consumer knows");
    }

    fn node(&self, path: &Path) -> Option<NodeId> {
        use std::os::unix::ffi::OsStrExt;
        path.iter().try_fold(Names::ROOT, |node, name| {
            self.tracker.names.child(node, name.as_bytes())
        })
    }
}

fn disk(root: &Path) -> BTreeMap<PathBuf, (bool, u64)> {
    let mut found = BTreeMap::new();
    scan(root, Path::new(""), &mut found);
    found
}

fn scan(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, (bool, u64)>) {
    let Ok(entries) = fs::read_dir(root.join(below)) else {
        return;
    };
    for entry in entries.flatten() {
        let path = below.join(entry.file_name());
        if let Ok(metadata) = fs::symlink_metadata(root.join(&path)) {
            found.insert(path.clone(), (metadata.is_dir(), metadata.ino()));
            if metadata.is_dir() {
                scan(root, &path, found);
            }
        }
    }
}

/// What the least clever consumer does with a change.
fn follow(replica: &mut BTreeMap<PathBuf, (bool, u64)>, root: &Path, change: &Change) {
    match change {
        Change::Touched { path, .. } => look(replica, root, path),
        Change::Moved { from, to, .. } => {
            rescan_all(replica, root, from);
            rescan_all(replica, root, to);
        }
        Change::Rescan { subtree, .. } => rescan_all(replica, root, subtree),
        Change::Notice(_) | Change::CaughtUp(_) => {}
    }
}

fn rescan_all(replica: &mut BTreeMap<PathBuf, (bool, u64)>, root: &Path, subtree: &Path) {
    replica.retain(|path, _| !path.starts_with(subtree));
    look(replica, root, subtree);
    if replica.get(subtree).is_none_or(|(is_dir, _)| *is_dir) {
        scan(root, subtree, replica);
    }
}

fn look(replica: &mut BTreeMap<PathBuf, (bool, u64)>, root: &Path, path: &Path) {
    if path.as_os_str().is_empty() {
        return;
    }
    match fs::symlink_metadata(root.join(path)) {
        Ok(metadata) => {
            if !metadata.is_dir() {
                replica.retain(|other, _| !other.starts_with(path));
            }
            replica.insert(path.to_owned(), (metadata.is_dir(), metadata.ino()));
        }
        Err(_) => replica.retain(|other, _| !other.starts_with(path)),
    }
}

fn created(path: &str, is_dir: bool) -> Change {
    touched(path, Touch::Created { is_dir })
}

fn touched(path: &str, touch: Touch) -> Change {
    let path = path.into();
    Change::Touched { path, touch }
}

fn moved(from: &str, to: &str, is_dir: bool) -> Change {
    let (from, to) = (from.into(), to.into());
    Change::Moved { from, to, is_dir }
}

fn rescan(subtree: &str, reason: Reason) -> Change {
    let subtree = subtree.into();
    Change::Rescan { subtree, reason }
}

#[test]
fn a_file_is_created_written_closed_and_removed() {
    let mut late = Late::new(&["d"]);
    late.write("d/f");
    late.remove("d/f");
    let expected = [
        created("d/f", false),
        touched("d/f", Touch::Written),
        touched("d/f", Touch::Closed),
        touched("d/f", Touch::Removed { is_dir: false }),
    ];
    assert_eq!(late.drain(), expected);
    late.assert_true();
}

#[test]
fn the_mode_of_a_directory_is_told_by_its_own_path_once() {
    use std::os::unix::fs::PermissionsExt;
    let mut late = Late::new(&["d"]);
    fs::set_permissions(late.path("d"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(late.drain(), [touched("d", Touch::Attributes)]);
}

#[test]
fn a_directory_filled_before_it_was_watched_is_rescanned() {
    let mut late = Late::new(&[]);
    late.mkdir("a/b/c");
    late.write("a/b/c/f");
    let expected = [created("a", true), rescan("a", Reason::NewDirectory)];
    assert_eq!(late.drain(), expected);
    late.write("a/b/c/g");
    assert_eq!(late.drain()[0], created("a/b/c/g", false));
    late.assert_true();
}

#[test]
fn watches_follow_a_rename_and_a_second_one() {
    let mut late = Late::new(&["a1/a2/a3"]);
    late.rename("a1", "b1");
    late.rename("b1", "c1");
    late.write("c1/a2/a3/m");
    let changes = late.drain();
    assert_eq!(
        changes[..2],
        [moved("a1", "b1", true), moved("b1", "c1", true)]
    );
    assert_eq!(changes[2], created("c1/a2/a3/m", false));
    late.assert_true();
}

#[test]
fn halves_of_a_rename_in_two_reads_are_joined() {
    let mut late = Late::new(&["d"]);
    late.write("f");
    late.drain();
    late.rename("f", "d/g");
    assert!(late.read(32), "only the first half");
    assert!(late.seen.is_empty());
    assert_eq!(late.drain(), [moved("f", "d/g", false)]);
}

#[test]
fn out_of_the_tree_and_into_it() {
    let mut late = Late::new(&["a/b", "c"]);
    let out = late.base.path().join("out");
    fs::rename(late.path("a"), out.join("a")).unwrap();
    assert_eq!(
        late.drain(),
        [touched("a", Touch::Removed { is_dir: true })]
    );
    assert_eq!(late.tracker.names.watched(), 2);
    fs::write(out.join("a/b/unseen"), "").unwrap();
    assert_eq!(late.drain(), []);
    fs::rename(out.join("a"), late.path("c/a")).unwrap();
    let expected = [created("c/a", true), rescan("c/a", Reason::MovedIn)];
    assert_eq!(late.drain(), expected);
    fs::write(out.join("f"), "").unwrap();
    fs::rename(out.join("f"), late.path("c/f")).unwrap();
    assert_eq!(
        late.drain(),
        [created("c/f", false), touched("c/f", Touch::Closed)]
    );
    late.assert_true();
}

#[test]
fn one_out_then_another_in_are_not_one_move() {
    let mut late = Late::new(&["a/x"]);
    let out = late.base.path().join("out");
    fs::create_dir_all(out.join("b/y")).unwrap();
    fs::rename(late.path("a"), out.join("a")).unwrap();
    fs::rename(out.join("b"), late.path("b")).unwrap();
    let changes = late.drain();
    assert!(changes.contains(&touched("a", Touch::Removed { is_dir: true })));
    assert!(changes.contains(&rescan("b", Reason::MovedIn)));
    late.assert_true();
}

#[test]
fn deleted_and_made_again_under_the_same_name() {
    let mut late = Late::new(&["d/e"]);
    late.remove("d");
    late.mkdir("d/e");
    late.write("d/e/f");
    late.drain();
    late.assert_true();
    late.write("d/e/g");
    assert_eq!(late.drain()[0], created("d/e/g", false));
}

#[test]
fn the_name_was_taken_by_another_directory_before_the_event_was_read() {
    let mut late = Late::new(&["x/k"]);
    late.mkdir("a/one");
    late.rename("a", "b");
    late.rename("x", "a");
    late.drain();
    late.assert_true();
    late.write("a/k/f");
    late.write("b/one/f");
    let changes = late.drain();
    assert!(changes.contains(&created("a/k/f", false)));
    assert!(changes.contains(&created("b/one/f", false)));
}

#[test]
fn the_directory_above_was_replaced_before_the_event_was_read() {
    let mut late = Late::new(&["d", "x/a/deep"]);
    late.mkdir("d/a/other");
    late.rename("d", "e");
    late.rename("x", "d");
    late.drain();
    late.assert_true();
    late.write("d/a/deep/f");
    assert_eq!(late.drain()[0], created("d/a/deep/f", false));
}

#[test]
fn two_directories_swap_names() {
    let mut late = Late::new(&["a/in_a", "b/in_b"]);
    late.exchange("a", "b");
    late.drain();
    late.assert_true();
    late.write("a/in_b/f");
    assert_eq!(late.drain()[0], created("a/in_b/f", false));
}

#[test]
fn an_overflow_has_everything_looked_at_and_watched_again() {
    let mut late = Late::new(&["a", "b/c"]);
    late.mkdir("new/deep");
    late.rename("b", "a/b");
    // The kernel drops these and says so.
    while late.inotify.read(&mut [0; 4096]).is_ok() {}
    late.tracker.process(&overflow_event(), late.clock);
    late.consume();
    let changes = late.drain();
    assert_eq!(changes.last(), Some(&rescan("", Reason::Overflow)));
    late.assert_true();
    late.write("a/b/c/f");
    assert_eq!(late.drain()[0], created("a/b/c/f", false));
}

fn overflow_event() -> Vec<u8> {
    let mask = ReadFlags::QUEUE_OVERFLOW.bits();
    [-1_i32 as u32, mask, 0, 0].map(u32::to_ne_bytes).concat()
}

#[test]
fn the_end_of_the_root_ends_the_stream() {
    for away in [false, true] {
        let mut late = Late::new(&["d"]);
        if away {
            fs::rename(late.root(), late.base.path().join("elsewhere")).unwrap();
        } else {
            fs::remove_dir_all(late.root()).unwrap();
        }
        while late.read(4096) {}
        assert!(late.tracker.ended);
        assert_eq!(late.seen.last(), Some(&rescan("", Reason::RootGone)));
    }
}

#[test]
fn directories_beyond_the_limit_are_polled_and_counted() {
    let mut late = Late::with(&["a/b/c", "d"], Some(2), None);
    late.tick();
    let notice = Notice::WatchLimit {
        watched: 2,
        needed: 5,
        limit: Some(2),
    };
    assert_eq!(late.seen, [Change::Notice(notice.clone())]);
    assert!(notice.to_string().contains("fs.inotify.max_user_watches=5"));
    late.write("a/b/c/f");
    late.mkdir("d/new/deep");
    late.write("d/new/deep/f");
    late.rename("a/b", "d/b");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(15));
        late.drain();
    }
    late.assert_true();
}

#[test]
fn a_watch_that_becomes_free_is_used() {
    let mut late = Late::with(&["a", "b"], Some(2), None);
    let watched = ["a", "b"].map(|name| {
        let node = late.node(Path::new(name)).unwrap();
        (name, late.tracker.names.watch(node).is_some())
    });
    let (free, _) = watched.into_iter().find(|(_, watched)| *watched).unwrap();
    late.remove(free);
    late.drain();
    std::thread::sleep(Duration::from_millis(15));
    late.drain();
    assert_eq!(late.tracker.polled.len(), 0);
    late.assert_true();
}

#[test]
fn what_is_pruned_is_neither_watched_nor_reported() {
    let prune: Prune = Arc::new(|path, _| path.ends_with("cache"));
    let mut late = Late::with(&["a/cache/x", "b"], None, Some(prune));
    assert_eq!(late.tracker.names.watched(), 3);
    late.write("a/cache/f");
    late.mkdir("b/cache");
    // Only the directory's own time is different.
    assert_eq!(late.drain(), [touched("b", Touch::Attributes)]);
    late.rename("a/cache", "b/kept");
    let expected = [
        touched("a", Touch::Attributes),
        created("b/kept", true),
        rescan("b/kept", Reason::MovedIn),
    ];
    assert_eq!(late.drain(), expected);
    late.rename("b/kept", "a/cache");
    let expected = [
        touched("a", Touch::Attributes),
        touched("b/kept", Touch::Removed { is_dir: true }),
    ];
    assert_eq!(late.drain(), expected);
    assert_eq!(late.tracker.names.watched(), 3);
}

/// A mount that ends with the test; needs privileges.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(target: PathBuf) -> Option<Mounted> {
        let flags = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("tmpfs", &target, "tmpfs", flags, None);
        Mounted::or_skip(mounted, target)
    }

    fn bind(source: &Path, target: PathBuf) -> Option<Mounted> {
        Mounted::or_skip(rustix::mount::mount_bind(source, &target), target)
    }

    fn or_skip(mounted: Result<(), Errno>, target: PathBuf) -> Option<Mounted> {
        if mounted.is_err() {
            eprintln!("skipped: may not mount");
        }
        mounted.ok().map(|()| Mounted(target))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn an_unmounted_directory_is_looked_at_and_watched_again() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir_all(base.path().join("in/m/below")).unwrap();
    let Some(mounted) = Mounted::tmpfs(base.path().join("in/m")) else {
        return;
    };
    fs::create_dir(base.path().join("in/m/above")).unwrap();
    let mut late = Late::in_base(base, None, None);
    rustix::mount::unmount(&mounted.0, rustix::mount::UnmountFlags::empty()).unwrap();
    let changes = late.drain();
    assert!(
        changes.contains(&rescan("m", Reason::Unmounted)),
        "{changes:?}"
    );
    late.assert_true();
    late.write("m/below/f");
    assert_eq!(late.drain()[0], created("m/below/f", false));
}

#[test]
fn a_directory_at_two_places_is_seen_at_both() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir_all(base.path().join("in/a/s")).unwrap();
    fs::create_dir_all(base.path().join("in/b")).unwrap();
    let bound = Mounted::bind(&base.path().join("in/a"), base.path().join("in/b"));
    let Some(_bound) = bound else {
        return;
    };
    let mut late = Late::in_base(base, None, None);
    late.write("a/s/f");
    std::thread::sleep(Duration::from_millis(15));
    let changes = late.drain();
    assert!(changes.contains(&created("a/s/f", false)), "{changes:?}");
    assert!(changes.contains(&created("b/s/f", false)), "{changes:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Mkdir(String),
    Write(String),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
    Out(String),
    In(String),
    Read(usize),
    Tick,
    Overflow,
}

fn step() -> impl Strategy<Value = Step> {
    let path = || "[abc](/[abc]){0,3}";
    prop_oneof![
        3 => path().prop_map(Step::Mkdir),
        2 => path().prop_map(Step::Write),
        2 => path().prop_map(Step::Remove),
        6 => (path(), path()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (path(), path()).prop_map(|(a, b)| Step::Exchange(a, b)),
        1 => path().prop_map(Step::Out),
        1 => path().prop_map(Step::In),
        3 => (1_usize..6).prop_map(|events| Step::Read(32 * events)),
        1 => Just(Step::Tick),
        1 => Just(Step::Overflow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens and however late its events are read: in the end the tree is known, watched and told.
    #[test]
    fn late_events_never_leave_a_wrong_tree(steps in prop::collection::vec(step(), 1..40)) {
        let mut late = Late::new(&["a/b/c", "b/a", "c"]);
        for (number, step) in steps.into_iter().enumerate() {
            let outside = late.base.path().join("out").join(number.to_string());
            match step {
                Step::Mkdir(path) => late.mkdir(&path),
                Step::Write(path) => late.write(&path),
                Step::Remove(path) => late.remove(&path),
                Step::Rename(from, to) => late.rename(&from, &to),
                Step::Exchange(a, b) => late.exchange(&a, &b),
                Step::Out(path) => drop(fs::rename(late.path(&path), outside)),
                Step::In(path) => {
                    fs::create_dir_all(outside.join("a/b")).unwrap();
                    let _ = fs::rename(outside, late.path(&path));
                }
                Step::Read(most) => drop(late.read(most)),
                Step::Tick => late.tick(),
                Step::Overflow => {
                    while late.inotify.read(&mut [0; 4096]).is_ok() {}
                    late.tracker.process(&overflow_event(), late.clock);
                    late.consume();
                }
            }
        }
        late.drain();
        late.assert_true();
    }
}

#[test]
fn of_two_that_left_one_is_found_at_the_place_of_the_other() {
    let mut late = Late::new(&["a", "b/s"]);
    let b = late.node(Path::new("b")).unwrap();
    late.rename("a", "../out/a");
    late.rename("b", "../out/b");
    late.rename("../out/b", "a");
    // Only what left is read before time is up for both.
    assert!(late.read(64));
    assert_eq!(late.tracker.departures.len(), 2);
    late.tick();
    assert_eq!(late.node(Path::new("a")), Some(b));
    late.drain();
    late.assert_true();
}
