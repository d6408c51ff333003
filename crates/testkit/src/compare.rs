//! One comparison of two trees, with a difference that a person can read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

mod aspects;

pub use aspects::{Aspects, Times};

/// Where two trees differ, one line to a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences {
    lines: Vec<String>,
    more: bool,
}

/// Compares the trees below `left` (how it should be) and `right` (how it is), roots included.
///
/// Looking stops when there is more to tell than anybody reads, so that polling two large trees
/// that are far apart is cheap. What vanishes while it is looked at counts as a difference: the
/// trees of a running mirror may change under the comparison.
///
/// # Errors
///
/// The first [`Differences::LIMIT`] differences, by path.
pub fn compare(left: &Path, right: &Path, aspects: &Aspects) -> Result<(), Differences> {
    let mut differences = Differences {
        lines: Vec::new(),
        more: false,
    };
    let left = Side::read(left, aspects, &mut differences);
    let right = Side::read(right, aspects, &mut differences);
    let mut paths: Vec<&PathBuf> = left.entries.keys().chain(right.entries.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        if differences.more {
            break;
        }
        match (left.entries.get(path), right.entries.get(path)) {
            (Some(_), None) => differences.add(path, "missing"),
            (None, Some(_)) => differences.add(path, "extra"),
            (Some(expected), Some(found)) => {
                let pair = Pair {
                    path,
                    left: &left,
                    right: &right,
                    expected,
                    found,
                };
                pair.compare(aspects, &mut differences);
            }
            (None, None) => {}
        }
    }
    if differences.lines.is_empty() {
        Ok(())
    } else {
        Err(differences)
    }
}

impl Differences {
    /// How many differences are told.
    pub const LIMIT: usize = 20;

    /// The differences, each `PATH: WHAT`.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    fn add(&mut self, path: &Path, what: impl fmt::Display) {
        if self.lines.len() == Self::LIMIT {
            self.more = true;
            return;
        }
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        // As a debug text, which shows line ends and bytes that are not UTF-8.
        self.lines.push(format!("{path:?}: {what}"));
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        if self.more {
            f.write_str("\n... and more")
        } else {
            Ok(())
        }
    }
}

impl std::error::Error for Differences {}

/// Everything below one root.
struct Side<'a> {
    root: &'a Path,
    entries: BTreeMap<PathBuf, Metadata>,
    /// The names in this tree of each file that has several, by device and inode.
    names: BTreeMap<(u64, u64), Vec<PathBuf>>,
}

impl<'a> Side<'a> {
    fn read(root: &'a Path, aspects: &Aspects, differences: &mut Differences) -> Self {
        let mut side = Self {
            root,
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        side.add(PathBuf::new(), aspects, differences);
        side
    }

    fn add(&mut self, path: PathBuf, aspects: &Aspects, differences: &mut Differences) {
        let metadata = match fs::symlink_metadata(self.root.join(&path)) {
            Ok(metadata) => metadata,
            // The root of a replica may be yet to come, and is "missing" then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                return differences.add(&path, format!("in {}: {error}", self.root.display()));
            }
        };
        if metadata.is_dir() {
            match self.names_in(&path) {
                Ok(names) => {
                    for name in names.iter().map(|name| path.join(name)) {
                        if !(aspects.ignored)(&name) {
                            self.add(name, aspects, differences);
                        }
                    }
                }
                Err(error) => {
                    differences.add(&path, format!("in {}: {error}", self.root.display()));
                }
            }
        } else if metadata.nlink() > 1 {
            let names = self
                .names
                .entry((metadata.dev(), metadata.ino()))
                .or_default();
            names.push(path.clone());
        }
        self.entries.insert(path, metadata);
    }

    /// The names in a directory in their order, so that groups of names come out alike on both sides.
    fn names_in(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(self.root.join(path))?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// All names of the file that `metadata` belongs to.
    fn names_of<'s>(&'s self, path: &'s PathBuf, metadata: &Metadata) -> &'s [PathBuf] {
        self.names
            .get(&(metadata.dev(), metadata.ino()))
            .map_or(std::slice::from_ref(path), Vec::as_slice)
    }
}

/// One path that both trees have.
struct Pair<'a> {
    path: &'a PathBuf,
    left: &'a Side<'a>,
    right: &'a Side<'a>,
    expected: &'a Metadata,
    found: &'a Metadata,
}

impl Pair<'_> {
    fn compare(&self, aspects: &Aspects, differences: &mut Differences) {
        let (expected, found) = (self.expected, self.found);
        let (kind, found_kind) = (kind(expected), kind(found));
        if kind != found_kind {
            return differences.add(self.path, format!("is a {found_kind}, not a {kind}"));
        }
        match self.compare_substance(aspects) {
            Ok(None) => {}
            Ok(Some(what)) => differences.add(self.path, what),
            Err(error) => differences.add(self.path, format!("while it was read: {error}")),
        }
        if aspects.mode && !expected.is_symlink() {
            let bits = |metadata: &Metadata| metadata.mode() & 0o7777;
            if bits(expected) != bits(found) {
                let what = format!("mode {:04o}, not {:04o}", bits(found), bits(expected));
                differences.add(self.path, what);
            }
        }
        let owner = |metadata: &Metadata| (metadata.uid(), metadata.gid());
        if aspects.owner && owner(expected) != owner(found) {
            let ((uid, gid), (want_uid, want_gid)) = (owner(found), owner(expected));
            differences.add(
                self.path,
                format!("owner {uid}:{gid}, not {want_uid}:{want_gid}"),
            );
        }
        self.compare_times(aspects, differences);
        let names = self.left.names_of(self.path, expected);
        let found_names = self.right.names_of(self.path, found);
        if aspects.hard_links && names != found_names {
            let what = format!("names of one file are {found_names:?}, not {names:?}");
            differences.add(self.path, what);
        }
    }

    /// Compares content, link target, device number and extended attributes.
    fn compare_substance(&self, aspects: &Aspects) -> io::Result<Option<String>> {
        let (left, right) = (
            self.left.root.join(self.path),
            self.right.root.join(self.path),
        );
        let (expected, found) = (self.expected, self.found);
        if expected.is_file() {
            if expected.len() != found.len() {
                let what = format!("{} bytes, not {}", found.len(), expected.len());
                return Ok(Some(what));
            }
            if let Some(offset) = first_difference(&left, &right)? {
                return Ok(Some(format!("content differs from byte {offset}")));
            }
        } else if expected.is_symlink() {
            let (target, found) = (fs::read_link(&left)?, fs::read_link(&right)?);
            let expected = if aspects.munged_links {
                munged(&target)
            } else {
                target
            };
            if expected != found {
                return Ok(Some(format!("points to {found:?}, not {expected:?}")));
            }
        } else if !expected.is_dir() && expected.rdev() != found.rdev() {
            return Ok(Some(format!(
                "device {:#x}, not {:#x}",
                found.rdev(),
                expected.rdev()
            )));
        }
        if aspects.xattrs {
            let (expected, found) = (xattrs(&left)?, xattrs(&right)?);
            if expected != found {
                return Ok(Some(format!(
                    "extended attributes {found:?}, not {expected:?}"
                )));
            }
        }
        Ok(None)
    }

    fn compare_times(&self, aspects: &Aspects, differences: &mut Differences) {
        let (expected, found) = (self.expected, self.found);
        let exempt = (expected.is_dir() && !aspects.directory_times)
            || (expected.is_symlink() && !aspects.link_times);
        let differ = match aspects.times {
            _ if exempt => false,
            Times::Ignored => false,
            Times::Seconds => expected.mtime() != found.mtime(),
            Times::Nanoseconds => {
                (expected.mtime(), expected.mtime_nsec()) != (found.mtime(), found.mtime_nsec())
            }
        };
        if differ {
            let time = |m: &Metadata| format!("{}.{:09}", m.mtime(), m.mtime_nsec());
            differences.add(
                self.path,
                format!("mtime {}, not {}", time(found), time(expected)),
            );
        }
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symbolic link",
        () if kind.is_fifo() => "named pipe",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block device",
        () => "character device",
    }
}

/// The offset of the first byte that differs in two files of one size.
fn first_difference(left: &Path, right: &Path) -> io::Result<Option<usize>> {
    const BLOCK: u64 = 256 * 1024;
    let (mut left, mut right) = (fs::File::open(left)?, fs::File::open(right)?);
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let mut offset = 0;
    loop {
        expected.clear();
        found.clear();
        (&mut left).take(BLOCK).read_to_end(&mut expected)?;
        (&mut right).take(BLOCK).read_to_end(&mut found)?;
        if expected != found {
            let equal = expected
                .iter()
                .zip(&found)
                .take_while(|(a, b)| a == b)
                .count();
            return Ok(Some(offset + equal));
        }
        if expected.is_empty() {
            return Ok(None);
        }
        offset += expected.len();
    }
}

/// The target as a daemon with `munge symlinks` stores it (rsyncd.conf(5)).
fn munged(target: &Path) -> PathBuf {
    let bytes = [b"/rsyncd-munged/", target.as_os_str().as_bytes()].concat();
    OsString::from_vec(bytes).into()
}

/// All extended attributes but security labels, which belong to the place and not to the file.
fn xattrs(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    // The kernel's limit for a list of names and for a value (xattr(7)).
    let mut buffer = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, &mut buffer[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let list = buffer[..length].to_vec();
    let names = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    names
        .filter(|name| *name != b"security.selinux")
        .map(|name| {
            let length = rustix::fs::lgetxattr(path, name, &mut buffer[..])?;
            Ok((
                String::from_utf8_lossy(name).into_owned(),
                buffer[..length].to_vec(),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Original, Tree, is_root, skip};
    use std::process::Command;
    use std::time::{Duration, UNIX_EPOCH};

    const SPEC: &str = r"
        f dir/file 1000 mode=0644 mtime=1000.5
        f other 10 mtime=1000
        h hard other
        f single 10 mtime=1000
        l link -> target
        d dir mode=0755 mtime=1000
    ";

    /// What is told after `change` on the right of two trees that are alike.
    fn told_with(aspects: &Aspects, change: impl Fn(&Tree)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let [left, right] =
            ["left", "right"].map(|name| Tree::build(directory.path().join(name), SPEC));
        let same = UNIX_EPOCH + Duration::from_secs(5);
        change(&right);
        for tree in [&left, &right] {
            tree.touch("link", same);
            tree.touch("", same);
        }
        match compare(left.root(), right.root(), aspects) {
            Ok(()) => Vec::new(),
            Err(differences) => differences.lines,
        }
    }

    #[track_caller]
    fn check(change: impl Fn(&Tree), expected: &[&str]) {
        assert_eq!(told_with(&Aspects::exact(), change), expected);
    }

    fn at(seconds: u64) -> std::time::SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn equal_trees_have_no_difference() {
        check(|_| {}, &[]);
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        check(|tree| tree.remove("single"), &["\"single\": missing"]);
        check(|tree| tree.write("new\n", ""), &["\"new\\n\": extra"]);
        check(
            |tree| {
                tree.remove("single");
                tree.directory("single");
            },
            &["\"single\": is a directory, not a file"],
        );
        check(
            |tree| {
                let mut bytes = tree.read("dir/file");
                bytes[700] ^= 1;
                tree.write("dir/file", bytes);
                tree.touch("dir/file", at(1000) + Duration::from_nanos(5));
            },
            &["\"dir/file\": content differs from byte 700"],
        );
        check(
            |tree| {
                tree.append("single", "x");
                tree.touch("single", at(1000));
            },
            &["\"single\": 11 bytes, not 10"],
        );
        check(
            |tree| tree.chmod("dir", 0o4755),
            &["\"dir\": mode 4755, not 0755"],
        );
        check(
            |tree| tree.touch("single", at(1000) + Duration::from_nanos(7)),
            &["\"single\": mtime 1000.000000007, not 1000.000000000"],
        );
        check(
            |tree| {
                tree.remove("link");
                tree.symlink("link", "elsewhere");
            },
            &["\"link\": points to \"elsewhere\", not \"target\""],
        );
        check(
            |tree| {
                let bytes = tree.read("hard");
                tree.remove("hard");
                tree.write("hard", bytes);
                tree.touch("hard", at(1000));
            },
            &[
                "\"hard\": names of one file are [\"hard\"], not [\"hard\", \"other\"]",
                "\"other\": names of one file are [\"other\"], not [\"hard\", \"other\"]",
            ],
        );
    }

    #[test]
    fn owners_are_told() {
        if !is_root() {
            return skip("changing an owner needs root");
        }
        let change = |tree: &Tree| {
            std::os::unix::fs::chown(tree.path("single"), Some(7), Some(8)).unwrap();
        };
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        check(
            change,
            &[&format!("\"single\": owner 7:8, not {uid}:{gid}")],
        );
        assert!(told_with(&Aspects::exact().without_owner(), change).is_empty());
    }

    #[test]
    fn xattrs_are_told_where_they_must_agree() {
        let setfattr = Original::Setfattr.require();
        let change = |tree: &Tree| {
            let mut command = Command::new(&setfattr);
            command
                .args(["-n", "user.test", "-v", "x"])
                .arg(tree.path("single"));
            assert!(command.status().unwrap().success());
        };
        let told = told_with(&Aspects::exact().with_xattrs(), change);
        assert_eq!(
            told,
            ["\"single\": extended attributes {\"user.test\": [120]}, not {}"]
        );
        assert!(told_with(&Aspects::exact(), change).is_empty());
    }

    #[test]
    fn what_need_not_agree_is_not_told() {
        let quiet = |aspects, change: &dyn Fn(&Tree)| {
            let told = told_with(&aspects, change);
            assert!(told.is_empty(), "{told:?}");
        };
        let within_the_second = at(1000) + Duration::from_nanos(7);
        quiet(Aspects::exact().times(Times::Seconds), &|t| {
            t.touch("single", within_the_second);
        });
        quiet(Aspects::exact().without_directory_times(), &|tree| {
            tree.touch("dir", at(7));
        });
        quiet(Aspects::exact().without_mode(), &|tree| {
            tree.chmod("single", 0o600);
        });
        quiet(
            Aspects::exact().ignoring(|path| path.ends_with("new")),
            &|tree| {
                tree.write("new/below", "");
            },
        );
        quiet(Aspects::content(), &|tree| {
            tree.chmod("single", 0o600);
            tree.touch("single", at(7));
            tree.write("hard.new", tree.read("hard"));
            tree.rename("hard.new", "hard");
        });
    }

    #[test]
    fn munged_links_must_be_munged() {
        let aspects = Aspects::exact().with_munged_links();
        let munge = |tree: &Tree| {
            tree.remove("link");
            tree.symlink("link", "/rsyncd-munged/target");
        };
        assert!(told_with(&aspects, munge).is_empty());
        let told = told_with(&aspects, |_| {});
        assert_eq!(
            told,
            ["\"link\": points to \"target\", not \"/rsyncd-munged/target\""]
        );
    }

    #[test]
    fn a_missing_root_and_many_differences_are_told_briefly() {
        let directory = tempfile::tempdir().unwrap();
        let left = Tree::at(directory.path().join("left"));
        left.many("", 1, 100, 1);
        let error = compare(
            left.root(),
            &directory.path().join("right"),
            &Aspects::exact(),
        )
        .unwrap_err();
        assert_eq!(error.lines()[0], "\".\": missing");
        assert_eq!(error.lines().len(), Differences::LIMIT);
        assert!(error.to_string().ends_with("\n... and more"), "{error}");
    }
}
