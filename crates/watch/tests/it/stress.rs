//! Sixteen writers make, rename and delete nested directories and files; then everything is quiet, and what the
//! watcher told must cover the final tree.
//!
//! Two bars. The lower one is that every path of the final tree has been named, or is below a subtree that was
//! to be rescanned; inotify-tools is held to this one, for comparison. The higher one is what a consumer needs:
//! one that looks wherever it is told to look, and nowhere else, must end up with the tree as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use driftless_watch::{Change, Settings, Source, Watcher};

use crate::live::may_use_fanotify;

const WRITERS: u64 = 16;

/// What a consumer can find out about a path without reading it: kind and inode, of files size and time too.
type Look = (bool, u64, u64, i64, i64);

#[test]
fn three_seconds_of_inotify() {
    pass(Source::Inotify, 1, Duration::from_secs(3));
}

#[test]
fn three_seconds_of_fanotify() {
    if may_use_fanotify() {
        pass(Source::Fanotify, 1, Duration::from_secs(3));
    }
}

#[test]
fn three_seconds_of_polling() {
    pass(Source::Poll, 1, Duration::from_secs(3));
}

/// The long run: `STRESS_SECONDS=30 STRESS_SEEDS=20 cargo test ... -- --ignored --nocapture long_stress`.
#[test]
#[ignore = "takes STRESS_SECONDS for each of STRESS_SEEDS and each source"]
fn long_stress() {
    let number = |name: &str, default| {
        let text = std::env::var(name).ok();
        text.map_or(default, |text| text.parse().unwrap())
    };
    let seconds = Duration::from_secs(number("STRESS_SECONDS", 30));
    let from = number("STRESS_FROM", 1);
    let which = std::env::var("STRESS_SOURCES").unwrap_or("inotify,fanotify,poll,original".into());
    for seed in from..from + number("STRESS_SEEDS", 20) {
        for source in which.split(',') {
            let summary = match source {
                "inotify" => pass(Source::Inotify, seed, seconds),
                "fanotify" => pass(Source::Fanotify, seed, seconds),
                "poll" => pass(Source::Poll, seed, seconds),
                "original" => original(seed, seconds),
                other => panic!("no source {other}"),
            };
            println!("seed {seed:>2}  {source:<8}  {summary}");
        }
    }
}

/// Runs the stress once; fails if anything was missed, otherwise returns a line of figures.
fn pass(source: Source, seed: u64, duration: Duration) -> String {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        source,
        poll_every: Duration::from_millis(100),
        ..Settings::default()
    };
    let (_watcher, changes) = Watcher::start(root.path(), settings).unwrap();
    let mut consumer = Consumer::default();
    let operations = std::thread::scope(|scope| {
        let writers = scope.spawn(|| write(root.path(), seed, duration));
        while !writers.is_finished() {
            consumer.work(root.path(), &changes, Duration::from_millis(50));
        }
        writers.join().unwrap()
    });
    let disk = scan(root.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut quiet_since = Instant::now();
    while consumer.replica != disk && Instant::now() < deadline {
        if consumer.work(root.path(), &changes, Duration::from_millis(50)) {
            quiet_since = Instant::now();
        } else if quiet_since.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    let differs: Vec<_> = disk
        .iter()
        .filter(|(path, look)| consumer.replica.get(*path) != Some(look))
        .map(|(path, _)| path)
        .collect();
    let gone = |path: &&PathBuf| !disk.contains_key(*path);
    let stale = consumer.replica.keys().filter(gone).count();
    assert!(
        differs.is_empty() && (stale == 0 || source == Source::Poll),
        "{source:?}, seed {seed}: of {} paths {} differ: {differs:?}, and {stale} are stale",
        disk.len(),
        differs.len(),
    );
    let unnamed = disk.keys().filter(|path| !consumer.covers(path)).count();
    assert_eq!(unnamed, 0);
    format!(
        "{operations} operations, {} changes, {} rescans; {} paths at the end, 0 missed, {stale} stale",
        consumer.changes,
        consumer.rescans,
        disk.len()
    )
}

/// What inotify-tools tells of the same stress.
fn original(seed: u64, duration: Duration) -> String {
    let root = tempfile::tempdir().unwrap();
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new("/usr/bin/inotifywait")
        .args(["-m", "-r", "--format", "%w%f%0", "--no-newline", "."])
        .current_dir(root.path())
        .stdout(out.reopen().unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("established") {
        line.clear();
        std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    }
    // It must not block on what it has to say.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let operations = write(root.path(), seed, duration);
    let mut size = 0;
    while fs::metadata(out.path()).unwrap().len() != size {
        size = fs::metadata(out.path()).unwrap().len();
        std::thread::sleep(Duration::from_secs(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read(out.path()).unwrap();
    let told: BTreeSet<PathBuf> = text
        .split(|&byte| byte == 0)
        .map(|path| path.strip_prefix(b"./").unwrap_or(path))
        .map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
        .collect();
    let disk = scan(root.path());
    let missed = disk.keys().filter(|path| !told.contains(*path)).count();
    format!(
        "{operations} operations, {} lines; {} paths at the end, {missed} missed",
        text.split(|&byte| byte == 0).count() - 1,
        disk.len()
    )
}

/// Looks wherever it is told to look.
#[derive(Default)]
struct Consumer {
    replica: BTreeMap<PathBuf, Look>,
    named: BTreeSet<PathBuf>,
    subtrees: BTreeSet<PathBuf>,
    changes: u64,
    rescans: u64,
}

impl Consumer {
    /// Takes all changes there are, then looks, as a consumer does that is slower than the stream.
    /// Says whether there were any.
    fn work(&mut self, root: &Path, changes: &Receiver<Vec<Change>>, patience: Duration) -> bool {
        let before = self.changes;
        let mut paths = BTreeSet::new();
        let mut subtrees = BTreeSet::new();
        let first = changes.recv_timeout(patience).into_iter();
        for change in first.chain(changes.try_iter()).flatten() {
            self.changes += 1;
            match change {
                Change::Touched { path, .. } => drop(paths.insert(path)),
                Change::Moved { from, to, is_dir } => {
                    let looks = if is_dir { &mut subtrees } else { &mut paths };
                    looks.extend([from, to]);
                }
                Change::Rescan { subtree, .. } => {
                    self.rescans += 1;
                    subtrees.insert(subtree);
                }
                Change::Notice(_) | Change::CaughtUp(_) => {}
            }
        }
        for subtree in &subtrees {
            let above = |path: &Path| path != subtree && subtrees.contains(path);
            if !subtree.ancestors().any(above) {
                self.forget(subtree);
                look(root, subtree, &mut self.replica);
                below(root, subtree, &mut self.replica);
            }
        }
        for path in &paths {
            match fs::symlink_metadata(root.join(path)) {
                Ok(metadata) if metadata.is_dir() => look(root, path, &mut self.replica),
                _ => {
                    self.forget(path);
                    look(root, path, &mut self.replica);
                }
            }
        }
        self.named.extend(paths);
        self.subtrees.extend(subtrees);
        self.changes != before
    }

    fn forget(&mut self, path: &Path) {
        let below = self.replica.range(path.to_owned()..);
        let below = below.take_while(|(below, _)| below.starts_with(path));
        let gone: Vec<PathBuf> = below.map(|(below, _)| below.clone()).collect();
        for path in gone {
            self.replica.remove(&path);
        }
    }

    fn covers(&self, path: &Path) -> bool {
        self.named.contains(path) || path.ancestors().any(|above| self.subtrees.contains(above))
    }
}

fn scan(root: &Path) -> BTreeMap<PathBuf, Look> {
    let mut found = BTreeMap::new();
    below(root, Path::new(""), &mut found);
    found
}

fn below(root: &Path, path: &Path, found: &mut BTreeMap<PathBuf, Look>) {
    for entry in fs::read_dir(root.join(path))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = path.join(entry.file_name());
        look(root, &path, found);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(root, &path, found);
        }
    }
}

fn look(root: &Path, path: &Path, found: &mut BTreeMap<PathBuf, Look>) {
    if path.as_os_str().is_empty() {
        return;
    }
    match fs::symlink_metadata(root.join(path)) {
        Ok(metadata) if metadata.is_dir() => {
            found.insert(path.to_owned(), (true, metadata.ino(), 0, 0, 0));
        }
        Ok(metadata) => {
            let time = (metadata.mtime(), metadata.mtime_nsec());
            let look = (false, metadata.ino(), metadata.size(), time.0, time.1);
            found.insert(path.to_owned(), look);
        }
        Err(_) => drop(found.remove(path)),
    }
}

/// Has all writers work for a while; returns how many operations they did.
fn write(root: &Path, seed: u64, duration: Duration) -> u64 {
    let end = Instant::now() + duration;
    std::thread::scope(|scope| {
        let writer = |number| scope.spawn(move || write_alone(root, seed * WRITERS + number, end));
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    })
}

/// One writer: a fixed sequence for each seed; what is left to chance is how they interleave.
fn write_alone(root: &Path, seed: u64, end: Instant) -> u64 {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    };
    let mut operations = 0;
    while Instant::now() < end {
        let mut path = root.to_owned();
        for _ in 0..1 + next(4) {
            path.push(format!("d{}", next(6)));
        }
        let mut other = root.to_owned();
        for _ in 0..1 + next(3) {
            other.push(format!("d{}", next(6)));
        }
        let file = path.join(format!("f{}", next(6)));
        // Failures are part of it: another writer was faster.
        let _ = match next(12) {
            0..3 => fs::create_dir_all(&path).and_then(|()| fs::write(&file, "x")),
            3 => fs::create_dir_all(path.join("new/er"))
                .and_then(|()| fs::write(path.join("new/er/f"), "")),
            4..6 => fs::write(&file, vec![b'x'; next(5000) as usize]),
            6 => append(&file),
            7 => fs::remove_dir_all(&path),
            8 => fs::rename(&path, &other),
            9 => fs::rename(&other, &path),
            10 => fs::rename(&file, other.join(format!("f{}", next(6)))),
            _ => fs::set_permissions(&file, fs::Permissions::from_mode(0o600 + next(64) as u32)),
        };
        operations += 1;
    }
    operations
}

fn append(file: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new()
        .append(true)
        .open(file)?
        .write_all(b"more")
}
