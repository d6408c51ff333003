//! An open directory, and what can be asked about a name in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Context, Error, Result, join};
use crate::meta::{Kind, Meta, Which};
use crate::resolve::check_name;
use crate::root::Policy;

/// An open directory beneath a [`Root`](crate::Root).
///
/// Its methods take one name, never a path, and cost the one system call they stand for: hold a
/// `Dir` while working through a directory. The handle stays with the directory itself when that
/// is renamed. A name of `.` is the directory itself.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    rel: PathBuf,
    policy: Policy,
    /// Owner and group that files made here come with, once one was made.
    newborn: OnceLock<(u32, u32)>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: any bytes but `/` and NUL.
    pub name: OsString,
    /// The type, where the file system tells it in the listing.
    pub kind: Option<Kind>,
}

impl Dir {
    pub(crate) fn new(fd: OwnedFd, rel: PathBuf, policy: Policy) -> Self {
        Self {
            fd,
            rel,
            policy,
            newborn: OnceLock::new(),
        }
    }

    /// The path it was opened by, relative to its root.
    pub fn rel(&self) -> &Path {
        &self.rel
    }

    /// Whether the effective user may read what `name` leads to.
    pub fn is_readable(&self, name: &OsStr) -> bool {
        use rustix::fs::{Access, AtFlags};
        retry_on_intr(|| rustix::fs::accessat(self.fd(), name, Access::READ_OK, AtFlags::EACCESS))
            .is_ok()
    }

    /// The stat of `name`, a link itself and not its target; `None` if there is no such name.
    pub fn lstat(&self, name: &OsStr) -> Result<Option<Meta>> {
        check_name(name).within("stat", &self.rel, name)?;
        let read = match self.policy.without_births {
            true => Meta::read_basic(self.fd(), name),
            false => Meta::read(self.fd(), name),
        };
        match read.and_then(|real| self.stands_for(name, real)) {
            Ok(meta) => Ok(Some(meta)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).within("stat", &self.rel, name),
        }
    }

    /// The stat of the directory itself.
    pub fn meta(&self) -> Result<Meta> {
        Meta::of(&self.fd).at("stat", &self.rel)
    }

    /// The target of a symbolic link, as it is stored.
    pub fn read_link(&self, name: &OsStr) -> Result<Vec<u8>> {
        check_name(name).within("readlink", &self.rel, name)?;
        match retry_on_intr(|| rustix::fs::readlinkat(&self.fd, name, Vec::new())) {
            Err(Errno::INVAL) if self.policy.fake_super => self.read_stand_in(name),
            target => target.map(std::ffi::CString::into_bytes),
        }
        .within("readlink", &self.rel, name)
    }

    /// Opens a regular file for reading and returns the stat taken before its first byte is read.
    ///
    /// Neither follows a link nor waits for the writer of a pipe; anything but a regular file is
    /// an error.
    pub fn open_regular(&self, name: &OsStr) -> Result<(File, Meta)> {
        check_name(name).within("open", &self.rel, name)?;
        let file = retry_on_intr(|| {
            rustix::fs::openat(
                &self.fd,
                name,
                self.read_flags() | OFlags::NOFOLLOW,
                Mode::empty(),
            )
        })
        .within("open", &self.rel, name)?;
        regular(file, self.policy).within("open", &self.rel, name)
    }

    /// Opens an existing regular file for reading and writing in place, without following a link
    /// (`--inplace`, `--append`). With `create`, a missing file is made with mode 0600. A file that its owner may not
    /// write is made writable for as long as it takes to open it.
    pub fn open_in_place(&self, name: &OsStr, create: bool) -> Result<(File, Meta)> {
        check_name(name).within("open", &self.rel, name)?;
        let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::CREATE, create);
        let flags = flags | OFlags::CLOEXEC;
        let open =
            || retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR));
        let file = match open() {
            Err(Errno::ACCESS) => self.open_loosened(name, open)?,
            opened => opened.within("open", &self.rel, name)?,
        };
        regular(file, self.policy).within("open", &self.rel, name)
    }

    fn open_loosened(
        &self,
        name: &OsStr,
        open: impl Fn() -> std::result::Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd> {
        let refused = || Error::new("open", join(&self.rel, name), Errno::ACCESS);
        let now = self.lstat(name)?.filter(|now| now.kind == Kind::File);
        let now = now
            .filter(|now| now.mode & 0o200 == 0)
            .ok_or_else(refused)?;
        let loose = Meta {
            mode: now.mode | 0o200,
            ..now
        };
        self.set_meta(name, &loose, Which::MODE, &now)?;
        let opened = open();
        self.set_meta(name, &now, Which::MODE, &loose)?;
        opened.within("open", &self.rel, name)
    }

    /// The names in this directory, in no order, without `.` and `..`.
    pub fn read_dir(&self) -> Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        self.list(&mut Vec::new(), |name, kind| {
            entries.push(DirEntry {
                name: name.to_owned(),
                kind,
            });
        })?;
        Ok(entries)
    }

    /// Like [`read_dir`](Self::read_dir), without an allocation for each name: `buffer` is kept by
    /// the caller from one directory to the next.
    pub fn list(
        &self,
        buffer: &mut Vec<u8>,
        visit: impl FnMut(&OsStr, Option<Kind>),
    ) -> Result<()> {
        // A handle of its own: two threads may list one directory, and each needs its own place.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, ".", flags, Mode::empty()))
            .at("opendir", &self.rel)?;
        list_fd(fd.as_fd(), buffer, visit).at("readdir", &self.rel)
    }

    /// What may be done with names in it.
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Owner and group of a file just made here. Learned from the first one: set-group-id
    /// directories, mount options and network file systems each have their own rule.
    pub(crate) fn newborn_owner(&self, file: &File) -> Result<(u32, u32), Errno> {
        if let Some(owner) = self.newborn.get() {
            return Ok(*owner);
        }
        let meta = Meta::of(file)?;
        Ok(*self.newborn.get_or_init(|| (meta.uid, meta.gid)))
    }

    fn read_flags(&self) -> OFlags {
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        flags.set(OFlags::NOATIME, self.policy.noatime);
        flags
    }
}

/// Checks that what was opened is a regular file, or a device that counts as one.
pub(crate) fn regular(fd: OwnedFd, policy: Policy) -> Result<(File, Meta), Errno> {
    let meta = match policy.without_births {
        true => Meta::basic_of(&fd)?,
        false => Meta::of(&fd)?,
    };
    match meta.kind {
        Kind::File => Ok((File::from(fd), meta)),
        Kind::Char | Kind::Block if policy.devices => {
            let size = rustix::fs::seek(&fd, SeekFrom::End(0)).unwrap_or(0);
            // What cannot be sought has no size.
            let _ = rustix::fs::seek(&fd, SeekFrom::Start(0));
            Ok((File::from(fd), Meta { size, ..meta }))
        }
        Kind::Dir => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// What an open, readable directory holds, in its own order.
pub(crate) fn entries_of(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<Vec<DirEntry>, Errno> {
    let mut entries = Vec::new();
    list_fd(fd, buffer, |name, kind| {
        entries.push(DirEntry {
            name: name.to_owned(),
            kind,
        });
    })?;
    Ok(entries)
}

/// Lists an open, readable directory from its current place on.
pub(crate) fn list_fd(
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    mut visit: impl FnMut(&OsStr, Option<Kind>),
) -> Result<(), Errno> {
    // glibc's size: a directory of about a thousand names takes one call.
    buffer.clear();
    buffer.reserve(32 * 1024);
    let spare: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
    let mut entries = RawDir::new(fd, spare);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            // The directory was removed while it was being read: it has no more names.
            Err(Errno::NOENT) => break,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            visit(
                OsStr::from_bytes(name),
                Kind::from_file_type(entry.file_type()),
            );
        }
    }
    Ok(())
}
