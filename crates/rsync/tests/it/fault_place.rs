//! Trees for transfers to which something happens, and the memory of all that has been in them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Random, Tmpfs, Tree, content, script};

/// Stands for a remote shell: forgets the host, notes which process becomes the server.
pub(crate) const SHELL: &str = "#!/bin/sh\nshift\necho $$ >server\nexec \"$@\"\n";

/// A source, a destination with an earlier state of it, and all that has ever been in their files.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) to: PathBuf,
    from: Tree,
    pub(crate) versions: HashMap<String, Vec<Vec<u8>>>,
    /// Files that have shrunk: what is appended to them now would follow what a reader has seen of them before.
    shrunk: Vec<String>,
    _disk: Option<Tmpfs>,
}

/// The source's files and their sizes.
const FILES: &[(&str, usize)] = &[
    ("a", 3),
    ("big", 1_200_000),
    ("c", 40_000),
    ("dir/d", 0),
    ("dir/large", 600_000),
    ("dir/sub/f", 90_000),
    ("dir/sub/g", 701),
    ("e", 250_000),
];

/// Less than the source needs.
const SMALL_DISK: u64 = 1 << 20;

impl Place {
    /// What a seed makes up; `None` if a disk is asked for that cannot be had.
    pub(crate) fn new(seed: u64, has_small_disk: bool) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x91ace);
        let dir = tempfile::tempdir().expect("a directory");
        let disk = match has_small_disk {
            true => Some(Tmpfs::mount(SMALL_DISK)?),
            false => None,
        };
        let to = match &disk {
            Some(disk) => disk.path().to_owned(),
            None => dir.path().join("to"),
        };
        script(dir.path().join("shell"), SHELL);
        fs::create_dir(dir.path().join("tmp")).expect("room for temporary files");
        let (from, old) = (Tree::at(dir.path().join("from")), Tree::at(&to));
        let mut versions = HashMap::new();
        for (path, size) in FILES {
            let new = content(random.bits(), *size);
            from.write(path, &new);
            let mut known = vec![new];
            if random.below(3) > 0 && disk.is_none() {
                let mut earlier = known[0].clone();
                let at = random.below(size + 1);
                earlier.splice(at.., content(random.bits(), (size - at) / 2));
                old.write(path, &earlier);
                known.push(earlier);
            }
            // The last one is what the source has.
            known.reverse();
            versions.insert((*path).to_owned(), known);
        }
        old.write("extra", "extra");
        versions.insert("extra".to_owned(), vec![b"extra".to_vec()]);
        Some(Self {
            dir,
            to,
            from,
            versions,
            shrunk: Vec::new(),
            _disk: disk,
        })
    }

    /// Changes something in the source, in one step.
    pub(crate) fn edit(&mut self, random: &mut Random) {
        let path = FILES[random.below(FILES.len())].0;
        let is_file = self
            .from
            .path(path)
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_file());
        match random.below(10) {
            0 if is_file => self.from.remove(path),
            1 if is_file => {
                self.from.remove(path);
                self.from.directory(path);
                self.write(&format!("{path}/in"), content(random.bits(), 9000));
            }
            2 if is_file => {
                self.from.remove(path);
                self.from.symlink(path, "a");
            }
            3..6 if is_file && !self.shrunk.iter().any(|other| other == path) => {
                let more = content(random.bits(), 1 + random.below(100_000));
                let whole = [&self.from.read(path)[..], &more].concat();
                self.versions
                    .entry(path.to_owned())
                    .or_default()
                    .push(whole);
                self.from.append(path, more);
            }
            6..8 if is_file => {
                let size = self.from.read(path).len();
                self.shrunk.push(path.to_owned());
                self.from.truncate(path, random.below(size + 1) as u64);
            }
            _ => {
                if self.from.path(path).is_dir() {
                    self.from.remove(path);
                }
                let size = random.below(300_000);
                self.write(path, content(random.bits(), size));
            }
        }
    }

    /// A new file in the place of whatever was there.
    fn write(&mut self, path: &str, bytes: Vec<u8>) {
        let new = self.dir.path().join("new");
        fs::write(&new, &bytes).expect("a new version");
        self.versions
            .entry(path.to_owned())
            .or_default()
            .push(bytes);
        fs::rename(new, self.from.path(path)).expect("in its place");
        self.shrunk.retain(|other| other != path);
    }
}

/// All regular files below a directory, and their content.
pub(crate) fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path
                .strip_prefix(root)
                .expect("below it")
                .display()
                .to_string();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(path),
                Ok(kind) if kind.is_file() => {
                    found.push((name, fs::read(path).unwrap_or_default()));
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether a name is that of a file that is being written: `.NAME.` and six letters or digits.
pub(crate) fn is_temporary(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let end = name
        .strip_prefix('.')
        .and_then(|name| name.rsplit_once('.'));
    end.is_some_and(|(_, end)| {
        end.len() == 6 && end.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
