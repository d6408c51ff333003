//! Files that appear under their final name only when they are whole.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::error::{Context, Error, Result, join};
use crate::fake_super::note_meta_of;
use crate::meta::{Kind, Meta, Time, Which};
use crate::resolve::check_name;
use crate::root::Root;
use crate::set::{Changes, Target};
use crate::xattr::Xattrs;

/// A file being written under a temporary name (behaviour.md 7.1), readable by its owner only.
/// Dropped without [`commit`](Self::commit) or [`keep_as`](Self::keep_as), it is removed.
#[derive(Debug)]
pub struct TempFile {
    file: File,
    /// Where it is now; the name is empty once it is there no more.
    dir: Arc<Dir>,
    name: OsString,
    /// Where it belongs.
    final_dir: Arc<Dir>,
    final_name: OsString,
    /// Its permissions may be others than those it was made with.
    has_any_mode: bool,
}

impl Root {
    /// A new file that will be `rel`, under the name `.NAME.XXXXXX` beside it.
    pub fn temp_file(&self, rel: &Path) -> Result<TempFile> {
        let (dir, name) = self.at(rel)?;
        dir.temp_file(name)
    }

    /// A new file that will be `rel`, under the name `NAME.XXXXXX` in `temp_dir` (`--temp-dir`).
    /// Committing it fails with `EXDEV` if that is on another file system: copy it then.
    pub fn temp_file_in(&self, temp_dir: &Arc<Dir>, rel: &Path) -> Result<TempFile> {
        let (dir, name) = self.at(rel)?;
        TempFile::create(temp_dir, false, dir, name)
    }
}

impl Dir {
    /// A new file that will be `name` here, under the name `.NAME.XXXXXX` until then.
    pub fn temp_file(self: &Arc<Self>, name: &OsStr) -> Result<TempFile> {
        check_name(name).within("mkstemp", self.rel(), name)?;
        TempFile::create(self, true, Arc::clone(self), name)
    }
}

impl TempFile {
    /// The open file, for reading and writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Its extended attributes, and with them its access control lists. To be set before it is
    /// committed: a list sets the permissions too.
    pub fn xattrs(&mut self) -> Result<Xattrs> {
        self.has_any_mode = true;
        // The directory's default list may have taken our own right to write. What cannot be changed
        // is found out by whoever sets something.
        let ours = Mode::RUSR | Mode::WUSR;
        let _ = retry_on_intr(|| rustix::fs::fchmod(&self.file, ours));
        let path = join(self.final_dir.rel(), &self.final_name);
        let xattrs = Xattrs::of_file(&self.file, &path)?;
        Ok(xattrs.faking(self.final_dir.policy().fake_super))
    }

    /// The name it has at present.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Sets the attributes named by `which` to those of `want`, then renames the file over its
    /// final name. Returns the stat it has there.
    ///
    /// Attributes that cannot be set do not cost the content: the file is renamed nevertheless, and
    /// the error [says so](Error::is_attribute). On any other error it is removed; if a directory
    /// is in the way, [that is the error](Error::is_directory_in_the_way): remove it before.
    pub fn commit(mut self, want: &Meta, which: Which) -> Result<Meta> {
        self.finish(want, which)?;
        Meta::of(&self.file).within("stat", self.final_dir.rel(), &self.final_name)
    }

    /// Like [`commit`](Self::commit), for who needs no stat of the result: one call less.
    pub fn commit_unseen(mut self, want: &Meta, which: Which) -> Result<()> {
        self.finish(want, which)
    }

    /// Like [`commit_unseen`](Self::commit_unseen), under another name than was planned (`--partial-dir`).
    pub fn keep_as(mut self, root: &Root, rel: &Path, want: &Meta, which: Which) -> Result<()> {
        let (dir, name) = root.at(rel)?;
        (self.final_dir, self.final_name) = (dir, name.to_owned());
        self.finish(want, which)
    }

    fn create(
        dir: &Arc<Dir>,
        hidden: bool,
        final_dir: Arc<Dir>,
        final_name: &OsStr,
    ) -> Result<Self> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let (name, file) = unused_name(
            || temp_name(final_name, hidden, &random_suffix()),
            |name| {
                retry_on_intr(|| rustix::fs::openat(dir.fd(), name, flags, Mode::RUSR | Mode::WUSR))
            },
        )
        .within("mkstemp", final_dir.rel(), final_name)?;
        Ok(Self {
            file: File::from(file),
            dir: Arc::clone(dir),
            name,
            final_dir,
            final_name: final_name.to_owned(),
            has_any_mode: false,
        })
    }

    fn finish(&mut self, want: &Meta, which: Which) -> Result<()> {
        if self.final_dir.policy().fake_super {
            let (dir, name) = (Arc::clone(&self.final_dir), self.final_name.clone());
            let noted = note_meta_of(&self.file, &join(dir.rel(), &name), want, which);
            self.move_to(&dir, &name)?;
            return noted;
        }
        let shown = || join(self.final_dir.rel(), &self.final_name);
        let (uid, gid) = if which.intersects(Which::OWNER | Which::GROUP) {
            self.dir
                .newborn_owner(&self.file)
                .map_err(|cause| Error::new("stat", shown(), cause))?
        } else {
            (want.uid, want.gid)
        };
        let newborn = Meta {
            kind: Kind::File,
            mode: if self.has_any_mode { NO_MODE } else { 0o600 },
            uid,
            gid,
            // Different from any time that can be asked for, so that they are always set.
            mtime: NO_TIME,
            atime: NO_TIME,
            ..*want
        };
        let target = Target::File(self.file.as_fd());
        let attributes = Changes::between(&newborn, want, which).apply(target, shown);
        let (dir, name) = (Arc::clone(&self.final_dir), self.final_name.clone());
        self.move_to(&dir, &name)?;
        attributes
    }

    fn move_to(&mut self, dir: &Dir, name: &OsStr) -> Result<()> {
        retry_on_intr(|| rustix::fs::renameat(self.dir.fd(), &self.name, dir.fd(), name)).within(
            "rename",
            dir.rel(),
            name,
        )?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // Nobody is left to tell; a temporary name says what it is.
            let _ = rustix::fs::unlinkat(self.dir.fd(), &self.name, AtFlags::empty());
        }
    }
}

/// Reserves `len` bytes for a new file (`--preallocate`), which then has that length: cut it to
/// what was written in the end. (Space reserved beyond the length could not be punched.)
pub fn preallocate(file: &File, len: u64) -> std::io::Result<()> {
    if len > 0 {
        retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len))?;
    }
    Ok(())
}

/// Different from any mode.
const NO_MODE: u32 = u32::MAX;

const NO_TIME: Time = Time {
    sec: i64::MIN,
    nsec: u32::MAX,
};

/// Makes something under a name that nothing has yet.
pub(crate) fn unused_name<T>(
    mut propose: impl FnMut() -> OsString,
    mut make: impl FnMut(&OsStr) -> Result<T, Errno>,
) -> Result<(OsString, T), Errno> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        let name = propose();
        match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// The name beside `name` under which its replacement is made (behaviour.md 7.1): `.NAME.N`, with
/// a number that starts at the process id.
pub(crate) fn counted_name(name: &OsStr) -> OsString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % 100_000;
    temp_name(name, true, number.to_string().as_bytes())
}

/// `.NAME.SUFFIX`, or `NAME.SUFFIX` if not `hidden`: a leading dot of the name is not doubled, and
/// the name is cut where the whole would be longer than a name can be.
fn temp_name(name: &OsStr, hidden: bool, suffix: &[u8]) -> OsString {
    const NAME_MAX: usize = 255;
    let name = name.as_bytes();
    let base = match name {
        [b'.', rest @ ..] if hidden => rest,
        _ => name,
    };
    let room = NAME_MAX - usize::from(hidden) - 1 - suffix.len();
    let base = cut(base, room);
    let base = base.strip_suffix(b".").unwrap_or(base);

    let mut made = Vec::with_capacity(base.len() + suffix.len() + 2);
    if hidden {
        made.push(b'.');
    }
    made.extend_from_slice(base);
    made.push(b'.');
    made.extend_from_slice(suffix);
    OsString::from_vec(made)
}

/// The longest head of at most `room` bytes that does not end inside a UTF-8 sequence.
fn cut(name: &[u8], room: usize) -> &[u8] {
    let Some(next) = name.get(room) else {
        return name;
    };
    let mut end = room;
    if is_continuation(*next) {
        // At most three bytes precede a continuation byte; more of them are not UTF-8 anyway.
        let start = (room.saturating_sub(3)..room)
            .rev()
            .find(|at| !is_continuation(name[*at]));
        end = start.unwrap_or(room);
    }
    &name[..end]
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Six characters that nobody else is likely to choose. They need not be secret: the file is
/// created exclusively and never through a link.
fn random_suffix() -> [u8; 6] {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static STATE: OnceLock<AtomicU64> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        // Without the system's randomness, process id and the exclusive create still do.
        let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        AtomicU64::new(seed)
    });
    // splitmix64: one system call for the seed, none for each file.
    let mut bits = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    std::array::from_fn(|_| {
        let letter = ALPHABET[usize::try_from(bits % 62).unwrap_or(0)];
        bits /= 62;
        letter
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &[u8], hidden: bool) -> Vec<u8> {
        temp_name(OsStr::from_bytes(name), hidden, b"abcdef").into_vec()
    }

    #[test]
    fn temporary_names_are_rsyncs() {
        assert_eq!(named(b"file", true), b".file.abcdef");
        assert_eq!(named(b".hidden", true), b".hidden.abcdef");
        assert_eq!(named(b"..z", true), b"..z.abcdef");
        assert_eq!(named(b"a.", true), b".a.abcdef");
        assert_eq!(named(b"b", false), b"b.abcdef");
        assert_eq!(named(b".hidden", false), b".hidden.abcdef");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(named(&[b'q'; 255], true).len(), 255);
        assert_eq!(named(&[0xff; 255], true).len(), 255);
        let even = "é".repeat(127);
        let odd = format!("x{even}");
        for name in [even, odd] {
            let made = named(name.as_bytes(), true);
            assert!(made.len() <= 255 && made.len() >= 254);
            assert!(std::str::from_utf8(&made).is_ok());
        }
    }

    #[test]
    fn suffixes_are_letters_and_digits_and_differ() {
        let (one, two) = (random_suffix(), random_suffix());
        assert!(one.iter().chain(&two).all(u8::is_ascii_alphanumeric));
        assert_ne!(one, two);
    }

    #[test]
    fn space_that_was_reserved_is_the_files() {
        use std::os::unix::fs::MetadataExt as _;
        let file = tempfile::tempfile().unwrap();
        preallocate(&file, 0).unwrap();
        if preallocate(&file, 1 << 20).is_err() {
            println!("skipped: no fallocate here");
            return;
        }
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 1 << 20);
        assert!(meta.blocks() >= 2048, "{} blocks", meta.blocks());
    }
}
