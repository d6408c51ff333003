//! Programs that change a tree without asking each other: what one of them is about to change, another has just removed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, mkfifoat, utimensat};
use testkit::{Editor, Random, Tree, content, is_root};

/// The directories that writers work in, and that they leave where they are.
pub(super) const AREAS: [&str; 4] = ["area0", "area1", "area2", "area3"];

/// What writers never touch begins with this.
pub(super) const KEPT: &str = "kept";

/// How many writers share the areas.
const RIVALS: u64 = 2;

/// Writers at work.
pub(super) struct Writers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Lets them begin. Each has a sequence of its own from `seed`; how the sequences mix is up to the machine.
    pub(super) fn start(tree: &Tree, seed: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for number in 0..RIVALS {
            let (root, is_over) = (tree.root().to_owned(), Arc::clone(&is_over));
            let mut rival = Rival {
                root,
                random: Random::new(seed ^ (number << 32)),
            };
            threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // What a rival has spoilt is tried no more.
                    let _ = rival.step();
                    rival.rest(12);
                }
            }));
        }
        let slow = (tree.root().to_owned(), Arc::clone(&is_over));
        threads.push(thread::spawn(move || write_slowly(&slow.0, seed, &slow.1)));
        // One that has its part of the tree to itself also has names that nobody else dares to use.
        let mut editor = Editor::new(Tree::at(tree.path("edited")), seed);
        let mut pauses = Random::new(seed);
        let over = Arc::clone(&is_over);
        threads.push(thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                editor.steps(1 + pauses.below(8));
                nap(&mut pauses, 100);
            }
        }));
        Self { is_over, threads }
    }

    /// Waits until each has done what it was doing.
    pub(super) fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Makes the directories, and in each of them what nobody touches. Returns the latter's paths.
pub(super) fn make_areas(tree: &Tree) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for (number, area) in AREAS.into_iter().enumerate() {
        for name in [
            format!("{KEPT}.txt"),
            format!("{KEPT}/file"),
            format!("{KEPT}/dir/file"),
        ] {
            let path = Path::new(area).join(name);
            tree.file(&path, 100 * number);
            kept.push(path);
        }
    }
    tree.directory("edited");
    kept
}

/// One of several writers in the same directories.
struct Rival {
    root: PathBuf,
    random: Random,
}

impl Rival {
    fn step(&mut self) -> io::Result<()> {
        let (file, other) = (self.file(), self.file());
        let (dir, elsewhere) = (self.dir(), self.dir());
        let either = match self.random.below(2) {
            0 => file.clone(),
            _ => dir.clone(),
        };
        match self.random.below(22) {
            0..3 => {
                fs::create_dir_all(dir)?;
                write(&file, &self.bytes())
            }
            3 => {
                let mut open = options().append(true).create(true).open(&file)?;
                open.write_all(&self.bytes())
            }
            4 => {
                let open = options().write(true).open(&file)?;
                let length = open.metadata()?.len();
                let place = self.random.below(length as usize + 1) as u64;
                open.write_all_at(b"edited in place", place)
            }
            // Neither size nor time tell of it.
            5 => {
                let before = fs::metadata(&file)?;
                let size = before.len() as usize;
                write(&file, &content(self.random.bits(), size))?;
                let open = options().write(true).open(&file)?;
                open.set_modified(before.modified()?)
            }
            6 => {
                let new = dir.join(format!(".new{}", self.random.below(1000)));
                write(&new, &self.bytes())?;
                fs::rename(new, file)
            }
            7 => fs::rename(file, other),
            8 => fs::rename(dir, elsewhere),
            // Two files change places.
            9 => {
                let aside = file.with_extension("aside");
                fs::rename(&file, &aside)?;
                fs::rename(&other, &file)?;
                fs::rename(aside, other)
            }
            10 => fs::remove_file(file),
            11 if self.random.below(3) == 0 => fs::remove_dir_all(dir),
            11 | 12 => fs::hard_link(file, other),
            13 => symlink(self.name("f", 12), file),
            14 => self.change_mode(&either),
            15 => self.change_owner(&either),
            16 => self.change_time(&either),
            17 => {
                let open = options().write(true).open(file)?;
                open.set_len(self.random.below(5000) as u64)
            }
            18 => self.change_type(&file),
            19 => {
                let deep = elsewhere.join("deep/er/and/deeper");
                fs::create_dir_all(&deep)?;
                write(&deep.join("file"), &self.bytes())
            }
            20 => self.burst(),
            _ => fs::create_dir_all(elsewhere),
        }
    }

    fn change_mode(&mut self, path: &Path) -> io::Result<()> {
        let is_dir = fs::symlink_metadata(path)?.is_dir();
        // Whoever runs the test must be able to read it.
        let least = if is_dir { 0o700 } else { 0o600 };
        let mode = least | self.random.below(0o1000) as u32;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn change_owner(&mut self, path: &Path) -> io::Result<()> {
        if !is_root() {
            return Ok(());
        }
        let (user, group) = (self.random.below(3) as u32, self.random.below(3) as u32);
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            CWD,
            path,
            Some(user),
            Some(group),
            flags,
        )?)
    }

    fn change_time(&mut self, path: &Path) -> io::Result<()> {
        let time = Timespec {
            tv_sec: 1_000_000_000 + self.random.below(700_000_000) as i64,
            tv_nsec: self.random.below(1_000_000_000) as i64 * self.random.below(2) as i64,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Puts something of another type in a path's place.
    fn change_type(&mut self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        if found.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
        match self.random.below(4) {
            0 => fs::create_dir(path),
            1 => symlink("nowhere", path),
            2 => Ok(mkfifoat(CWD, path, Mode::from_raw_mode(0o640))?),
            _ => write(path, &self.bytes()),
        }
    }

    /// Many files at once, in the place of an earlier burst's.
    fn burst(&mut self) -> io::Result<()> {
        let dir = self.area().join(self.name("burst", 2));
        if fs::symlink_metadata(&dir).is_ok() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir(&dir)?;
        for number in 0..self.random.below(200) {
            write(
                &dir.join(number.to_string()),
                &content(self.random.bits(), 100),
            )?;
        }
        Ok(())
    }

    fn area(&mut self) -> PathBuf {
        let area = self.random.choose(&AREAS).unwrap();
        self.root.join(area)
    }

    /// A directory at most two levels below an area; there are few, so that writers meet.
    fn dir(&mut self) -> PathBuf {
        let mut dir = self.area().join(self.name("d", 4));
        if self.random.below(2) == 0 {
            dir.push(self.name("d", 4));
        }
        dir
    }

    fn file(&mut self) -> PathBuf {
        let dir = match self.random.below(4) {
            0 => self.area(),
            _ => self.dir(),
        };
        // A directory's name now and then: the one is put in the place of the other.
        match self.random.below(20) {
            0 => dir.join(self.name("d", 4)),
            _ => dir.join(self.name("f", 12)),
        }
    }

    fn name(&mut self, stem: &str, count: usize) -> String {
        format!("{stem}{}", self.random.below(count))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let size = match self.random.below(24) {
            0 => 0,
            1 => self.random.below(200_000),
            _ => self.random.below(4_000),
        };
        content(self.random.bits(), size)
    }

    fn rest(&mut self, longest: usize) {
        nap(&mut self.random, longest);
    }
}

/// Keeps files open and adds to them bit by bit, in files that others may rename or remove meanwhile.
fn write_slowly(root: &Path, seed: u64, is_over: &AtomicBool) {
    let mut random = Random::new(!seed);
    while !is_over.load(Ordering::Relaxed) {
        let area = random.choose(&AREAS).unwrap();
        let path = root.join(area).join(format!("f{}", random.below(12)));
        if let Ok(mut file) = options().write(true).create(true).truncate(true).open(path) {
            for _ in 0..random.below(100) {
                let _ = file.write_all(&content(random.bits(), 1_000));
                nap(&mut random, 40);
            }
        }
        nap(&mut random, 200);
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(bytes)
}

/// Opening a named pipe would wait for its reader.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// Rests for up to `longest` milliseconds: what writers do, not what a test waits for.
fn nap(random: &mut Random, longest: usize) {
    thread::sleep(Duration::from_millis(random.below(longest) as u64));
}
