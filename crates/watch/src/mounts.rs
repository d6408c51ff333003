//! Where filesystems are mounted, as this process sees it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The list of mounts. Its descriptor has an exceptional condition (poll(2)) when the list has changed.
#[derive(Debug)]
pub(crate) struct Mounts(File);

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What the kernel numbers it by.
    pub id: i32,
    /// The file system's device number, as `MAJOR:MINOR`.
    pub device: String,
    /// Which directory of the file system is mounted.
    pub root: PathBuf,
    /// Where it is; absolute.
    pub at: PathBuf,
}

/// All mounts that this process sees, those hidden by others too, in the order in which they were made.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub fn mounts() -> std::io::Result<Vec<Mount>> {
    Mounts::open()?.read()
}

impl Mounts {
    pub(crate) fn open() -> std::io::Result<Mounts> {
        File::open("/proc/self/mountinfo").map(Mounts)
    }

    /// A descriptor to wait with.
    pub(crate) fn bell(&self) -> std::io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// Which mounts there are at each place below a directory, relative to it, whose path has no symlinks.
    pub(crate) fn below(&mut self, root: &Path) -> std::io::Result<BTreeMap<PathBuf, Vec<i32>>> {
        let mut places: BTreeMap<PathBuf, Vec<i32>> = BTreeMap::new();
        for Mount { id, at, .. } in self.read()? {
            if let Ok(path) = at.strip_prefix(root)
                && !path.as_os_str().is_empty()
            {
                places.entry(path.to_owned()).or_default().push(id);
            }
        }
        Ok(places)
    }

    /// All mounts, those hidden by others too.
    pub(crate) fn read(&mut self) -> std::io::Result<Vec<Mount>> {
        let mut text = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut text)?;
        let lines = text.split(|&byte| byte == b'\n');
        Ok(lines.filter_map(parse).collect())
    }
}

/// A line: id, parent, device, root, mount point and more (proc(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let path = |text| PathBuf::from(std::ffi::OsString::from_vec(unescape(text)));
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = String::from_utf8(fields.nth(1)?.to_vec()).ok()?;
    Some(Mount {
        id,
        device,
        root: path(fields.next()?),
        at: path(fields.next()?),
    })
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &rest[4..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_with_a_space_in_its_path() {
        let line = br"36 35 98:0 / /mnt/a\040b\134c rw,noatime shared:1 - ext4 /dev/sda rw";
        let expected = Mount {
            id: 36,
            device: "98:0".into(),
            root: "/".into(),
            at: r"/mnt/a b\c".into(),
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_root_is_mounted() {
        let mounts = Mounts::open().unwrap().read().unwrap();
        assert!(mounts.iter().any(|mount| mount.at == Path::new("/")));
    }
}
