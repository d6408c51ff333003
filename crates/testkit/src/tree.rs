//! Trees of files made from a few words.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, mkfifoat,
    utimensat,
};

use crate::content;

/// A directory whose content a test makes and changes. It does not remove it.
///
/// All methods take paths relative to it, make missing parents, and panic with the path on failure.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree at `root`, made if it is missing.
    #[track_caller]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        done("make", &root, fs::create_dir_all(&root));
        Self { root }
    }

    /// Makes at `root` what `spec` says, one entry to a line:
    ///
    /// - `f PATH [SIZE]`: a file of that many bytes (0 by default), always the same for the same path;
    /// - `d PATH`: a directory;
    /// - `l PATH -> TARGET`: a symbolic link;
    /// - `h PATH EXISTING`: another name (hard link) of a file made earlier;
    /// - `p PATH`: a named pipe.
    ///
    /// A line may end in `mode=0640` (but for links), `mtime=SECONDS[.NANOSECONDS]` (since 1970, negative before it),
    /// `owner=UID:GID`, `xattr=NAME:VALUE`, and `edit=OFFSET`, which makes some bytes of a file others than they would be.
    /// In a path `\s` is a space, `\n` a line end, `\t` a tab, `\\` a backslash, and `\xHH` any byte.
    /// Empty lines are skipped, as is the space that indents a line.
    ///
    /// # Panics
    ///
    /// When a line is none of these, or cannot be carried out.
    #[track_caller]
    pub fn build(root: impl Into<PathBuf>, spec: &str) -> Self {
        let tree = Self::at(root);
        tree.add(spec);
        tree
    }

    /// Adds what `spec` says, as for [`Self::build`]. The times of directories are set last.
    #[track_caller]
    pub fn add(&self, spec: &str) {
        let mut times = Vec::new();
        for line in spec.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some(entry) = Entry::parse(line) else {
                panic!("not a line of a tree: {line:?}")
            };
            self.make(&entry);
            times.extend(entry.mtime.map(|mtime| (entry.path, mtime)));
        }
        for (path, mtime) in times.into_iter().rev() {
            self.touch(path, mtime);
        }
    }

    /// Gives all that has been made within a year the same old time, directories last, so that two trees that were made one
    /// after the other are the same.
    pub fn age(&self) {
        const DAY: Duration = Duration::from_hours(24);
        let mut paths = vec![self.root.clone()];
        let mut at = 0;
        while let Some(path) = paths.get(at).cloned() {
            at += 1;
            if path.is_dir() && !path.is_symlink() {
                let entries = fs::read_dir(&path).expect("readable");
                paths.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
        }
        let now = SystemTime::now();
        let recently = now - 365 * DAY..now + DAY;
        for path in paths.iter().rev() {
            let path = path.strip_prefix(&self.root).expect("beneath");
            if recently.contains(&self.mtime(path)) {
                self.touch(path, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
            }
        }
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The full path of `path`.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Makes or replaces the content of a file.
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.with_parents(path);
        done("write", &path, fs::write(&path, bytes));
    }

    /// Makes a file of `size` bytes that are always the same for this path.
    #[track_caller]
    pub fn file(&self, path: impl AsRef<Path>, size: usize) {
        self.write(&path, content(seed_of(path.as_ref()), size));
    }

    /// Makes `directories` directories below `path`, with `files` files of `size` bytes in each.
    #[track_caller]
    pub fn many(&self, path: impl AsRef<Path>, directories: usize, files: usize, size: usize) {
        for directory in 0..directories {
            let directory = path.as_ref().join(format!("d{directory:05}"));
            self.directory(&directory);
            for file in 0..files {
                self.file(directory.join(format!("f{file:05}")), size);
            }
        }
    }

    /// Makes a directory; one that exists is fine.
    #[track_caller]
    pub fn directory(&self, path: impl AsRef<Path>) {
        let path = self.path(path);
        done("make", &path, fs::create_dir_all(&path));
    }

    /// Makes a symbolic link that says `target`.
    #[track_caller]
    pub fn symlink(&self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        let path = self.with_parents(path);
        done("link", &path, symlink(target, &path));
    }

    /// Gives the file `existing` the further name `path`.
    #[track_caller]
    pub fn hard_link(&self, path: impl AsRef<Path>, existing: impl AsRef<Path>) {
        let path = self.with_parents(path);
        done("link", &path, fs::hard_link(self.path(existing), &path));
    }

    /// Makes a named pipe.
    #[track_caller]
    pub fn fifo(&self, path: impl AsRef<Path>) {
        let path = self.with_parents(path);
        done(
            "make",
            &path,
            mkfifoat(CWD, &path, Mode::from_raw_mode(0o644)),
        );
    }

    /// The content of a file.
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(path);
        done("read", &path, fs::read(&path))
    }

    /// Whether something of that name exists, be it a dangling link.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// Adds bytes to the end of a file, which is made if it is missing.
    #[track_caller]
    pub fn append(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.with_parents(path);
        let mut file = done(
            "open",
            &path,
            OpenOptions::new().append(true).create(true).open(&path),
        );
        done("append to", &path, file.write_all(bytes.as_ref()));
    }

    /// Cuts or extends a file to `size` bytes.
    #[track_caller]
    pub fn truncate(&self, path: impl AsRef<Path>, size: u64) {
        let path = self.path(path);
        let file = done("open", &path, File::options().write(true).open(&path));
        done("truncate", &path, file.set_len(size));
    }

    /// Sets the permission bits of a file or directory.
    #[track_caller]
    pub fn chmod(&self, path: impl AsRef<Path>, mode: u32) {
        let path = self.path(path);
        done(
            "chmod",
            &path,
            fs::set_permissions(&path, Permissions::from_mode(mode)),
        );
    }

    /// Sets the modification time of anything, of a symbolic link itself too.
    #[track_caller]
    pub fn touch(&self, path: impl AsRef<Path>, mtime: SystemTime) {
        let path = self.path(path);
        let (seconds, nanoseconds) = since_1970(mtime);
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: seconds,
                tv_nsec: nanoseconds.into(),
            },
        };
        done(
            "touch",
            &path,
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW),
        );
    }

    /// The modification time of anything, of a symbolic link itself too.
    #[track_caller]
    pub fn mtime(&self, path: impl AsRef<Path>) -> SystemTime {
        let path = self.path(path);
        done(
            "look at",
            &path,
            fs::symlink_metadata(&path).and_then(|found| found.modified()),
        )
    }

    /// Renames anything; an existing file `to` is replaced.
    #[track_caller]
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let to = self.with_parents(to);
        let from = self.path(from);
        done("rename", &from, fs::rename(&from, &to));
    }

    /// Removes anything, with all below it.
    #[track_caller]
    pub fn remove(&self, path: impl AsRef<Path>) {
        let path = self.path(path);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(&path),
            other => other,
        };
        done("remove", &path, removed);
    }

    #[track_caller]
    fn make(&self, entry: &Entry) {
        let path = &entry.path;
        match &entry.kind {
            Kind::File(size) => self.file(path, *size),
            Kind::Directory => self.directory(path),
            Kind::Symlink(target) => self.symlink(path, target),
            Kind::HardLink(existing) => self.hard_link(path, existing),
            Kind::Fifo => self.fifo(path),
        }
        if let Some(offset) = entry.edit {
            let mut bytes = self.read(path);
            bytes
                .iter_mut()
                .skip(offset)
                .take(5)
                .for_each(|byte| *byte ^= 0x55);
            self.write(path, bytes);
        }
        let path = self.path(path);
        if let Some((user, group)) = entry.owner {
            done("chown", &path, lchown(&path, Some(user), Some(group)));
        }
        if let Some((name, value)) = &entry.xattr {
            let set = lsetxattr(&path, name, value.as_bytes(), XattrFlags::empty());
            done("set an attribute of", &path, set);
        }
        if let Some(mode) = entry.mode {
            self.chmod(path, mode);
        }
    }

    #[track_caller]
    fn with_parents(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            done("make", parent, fs::create_dir_all(parent));
        }
        path
    }
}

/// One line of a specification.
struct Entry {
    kind: Kind,
    path: PathBuf,
    mode: Option<u32>,
    mtime: Option<SystemTime>,
    owner: Option<(u32, u32)>,
    xattr: Option<(String, String)>,
    edit: Option<usize>,
}

enum Kind {
    File(usize),
    Directory,
    Symlink(PathBuf),
    HardLink(PathBuf),
    Fifo,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let (mut mode, mut mtime, mut owner, mut xattr, mut edit) = (None, None, None, None, None);
        while let Some(last) = words.last() {
            if let Some(octal) = last.strip_prefix("mode=") {
                mode = Some(u32::from_str_radix(octal, 8).ok()?);
            } else if let Some(time) = last.strip_prefix("mtime=") {
                mtime = Some(parse_time(time)?);
            } else if let Some(ids) = last.strip_prefix("owner=") {
                let (user, group) = ids.split_once(':')?;
                owner = Some((user.parse().ok()?, group.parse().ok()?));
            } else if let Some(pair) = last.strip_prefix("xattr=") {
                let (name, value) = pair.split_once(':')?;
                xattr = Some((name.to_owned(), value.to_owned()));
            } else if let Some(offset) = last.strip_prefix("edit=") {
                edit = Some(offset.parse().ok()?);
            } else {
                break;
            }
            words.pop();
        }
        let (kind, path) = match *words {
            ["f", path] => (Kind::File(0), path),
            ["f", path, size] => (Kind::File(size.parse().ok()?), path),
            ["d", path] => (Kind::Directory, path),
            ["l", path, "->", target] => (Kind::Symlink(unescape(target)?), path),
            ["h", path, existing] => (Kind::HardLink(unescape(existing)?), path),
            ["p", path] => (Kind::Fifo, path),
            _ => return None,
        };
        Some(Self {
            kind,
            path: unescape(path)?,
            mode,
            mtime,
            owner,
            xattr,
            edit,
        })
    }
}

fn parse_time(text: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = text.split_once('.').unwrap_or((text, "0"));
    let (seconds, nanoseconds): (i64, u32) = (seconds.parse().ok()?, nanoseconds.parse().ok()?);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = match seconds {
        ..0 => UNIX_EPOCH.checked_sub(whole),
        _ => UNIX_EPOCH.checked_add(whole),
    };
    start?.checked_add(Duration::from_nanos(nanoseconds.into()))
}

/// Whole seconds, rounded down, and the nanoseconds that are left.
fn since_1970(time: SystemTime) -> (i64, u32) {
    let whole = |seconds: u64| i64::try_from(seconds).expect("tests stay in this era");
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (whole(since.as_secs()), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-whole(before.as_secs()), 0),
                nanoseconds => (-whole(before.as_secs()) - 1, 1_000_000_000 - nanoseconds),
            }
        }
    }
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_first()?;
        rest = after;
        bytes.push(match code {
            b's' => b' ',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(OsString::from_vec(bytes).into())
}

fn seed_of(path: &Path) -> u64 {
    // Stable for one version of the standard library, which is all that two trees of one run need.
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

#[track_caller]
fn done<T, E: std::fmt::Display>(verb: &str, path: &Path, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    #[test]
    fn builds_what_the_lines_say() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::build(
            directory.path(),
            r"
            d empty mode=0700 mtime=1000
            f a/b 10 mode=0640 mtime=1700000000.123456789
            f a/with\sspace\nand\\\xff
            h a/hard a/b
            l link -> a/b
            p pipe
            ",
        );
        let stat = |path: &str| fs::symlink_metadata(tree.path(path)).unwrap();
        assert_eq!(stat("empty").mode() & 0o7777, 0o700);
        assert_eq!(stat("empty").mtime(), 1000);
        assert_eq!(stat("a/b").len(), 10);
        assert_eq!(stat("a/b").mode() & 0o7777, 0o640);
        assert_eq!(
            (stat("a/b").mtime(), stat("a/b").mtime_nsec()),
            (1_700_000_000, 123_456_789)
        );
        assert_eq!(stat("a/b").ino(), stat("a/hard").ino());
        assert_eq!(fs::read_link(tree.path("link")).unwrap(), Path::new("a/b"));
        assert!(stat("pipe").file_type().is_fifo());
        let awkward = OsString::from_vec(b"a/with space\nand\\\xff".to_vec());
        assert!(tree.exists(awkward));
    }

    #[test]
    #[should_panic(expected = "not a line of a tree")]
    fn refuses_what_it_does_not_know() {
        Tree::build(tempfile::tempdir().unwrap().path(), "x what");
    }

    #[test]
    fn many_files_with_content_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::at(directory.path());
        tree.many("big", 3, 4, 100);
        assert_eq!(fs::read_dir(tree.path("big")).unwrap().count(), 3);
        assert_eq!(fs::read_dir(tree.path("big/d00002")).unwrap().count(), 4);
        assert_ne!(
            tree.read("big/d00000/f00000"),
            tree.read("big/d00000/f00001")
        );
    }

    #[test]
    fn changes_do_what_they_say() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::at(directory.path());
        tree.write("a", "12345");
        tree.append("a", "678");
        tree.truncate("a", 6);
        tree.rename("a", "d/b");
        assert_eq!(tree.read("d/b"), b"123456");
        tree.symlink("dangling", "nowhere");
        tree.touch("dangling", UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(tree.mtime("dangling"), UNIX_EPOCH + Duration::from_secs(5));
        assert!(tree.exists("dangling"));
        tree.remove("dangling");
        tree.remove("d");
        assert_eq!(fs::read_dir(tree.root()).unwrap().count(), 0);
    }
}
