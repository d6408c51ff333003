//! Directories, links, devices, renames and single removals.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::error::{Context, Result};
use crate::meta::Kind;
use crate::resolve::check_name;
use crate::root::Root;
use crate::temp::{counted_name, unused_name};

/// A non-directory that is already there is replaced atomically: the new one is made under a
/// temporary name and renamed over it. A directory in the way
/// [is an error](crate::Error::is_directory_in_the_way).
impl Root {
    /// Makes a directory with `mode`, less the process's umask. An existing name is an error.
    pub fn mkdir(&self, rel: &Path, mode: u32) -> Result<()> {
        let (dir, name) = self.at(rel)?;
        // Whoever only stands for the owner still has to get in.
        let mode = if self.fakes() {
            mode & 0o777 | 0o700
        } else {
            mode
        };
        dir.mkdir(name, mode)
    }

    /// Makes a symbolic link that holds `target`.
    pub fn symlink(&self, rel: &Path, target: &[u8]) -> Result<()> {
        if self.fakes() {
            return self.make_stand_in(rel, Kind::Symlink, (0, 0), target);
        }
        let (dir, name) = self.at(rel)?;
        dir.symlink(name, target)
    }

    /// Makes `to` another name of the file `from`; a symbolic link itself, not its target.
    pub fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name) = self.at(from)?;
        let (to_dir, to_name) = self.at(to)?;
        to_dir.hard_link(to_name, &from_dir, from_name)
    }

    /// Makes a pipe, socket or device with `mode`, less the process's umask; `rdev` is the major
    /// and minor number of a device.
    pub fn mknod(&self, rel: &Path, kind: Kind, mode: u32, rdev: (u32, u32)) -> Result<()> {
        if self.fakes() {
            return self.make_stand_in(rel, kind, rdev, b"");
        }
        let (dir, name) = self.at(rel)?;
        dir.mknod(name, kind, mode, rdev)
    }

    /// Renames `from` to `to`, replacing what is there.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name) = self.at(from)?;
        let (to_dir, to_name) = self.at(to)?;
        self.forget(from);
        self.forget(to);
        retry_on_intr(|| rustix::fs::renameat(from_dir.fd(), from_name, to_dir.fd(), to_name))
            .at("rename", to)
    }

    /// Removes anything but a directory.
    pub fn remove_file(&self, rel: &Path) -> Result<()> {
        let (dir, name) = self.at(rel)?;
        dir.remove_file(name)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, rel: &Path) -> Result<()> {
        let (dir, name) = self.at(rel)?;
        self.forget(rel);
        dir.remove_dir(name)
    }
}

/// The same for names in this directory.
impl Dir {
    /// See [`Root::mkdir`].
    pub fn mkdir(&self, name: &OsStr, mode: u32) -> Result<()> {
        check_name(name)
            .and_then(|()| {
                retry_on_intr(|| rustix::fs::mkdirat(self.fd(), name, permissions(mode)))
            })
            .within("mkdir", self.rel(), name)
    }

    /// See [`Root::symlink`].
    pub fn symlink(&self, name: &OsStr, target: &[u8]) -> Result<()> {
        self.put(name, |name| rustix::fs::symlinkat(target, self.fd(), name))
            .within("symlink", self.rel(), name)
    }

    /// Makes `name` here another name of `from_name` in `from`; see [`Root::hard_link`].
    pub fn hard_link(&self, name: &OsStr, from: &Dir, from_name: &OsStr) -> Result<()> {
        check_name(from_name).within("link", from.rel(), from_name)?;
        self.put(name, |name| {
            rustix::fs::linkat(from.fd(), from_name, self.fd(), name, AtFlags::empty())
        })
        .within("link", self.rel(), name)
    }

    /// See [`Root::mknod`].
    pub fn mknod(&self, name: &OsStr, kind: Kind, mode: u32, rdev: (u32, u32)) -> Result<()> {
        let file_type = FileType::from_raw_mode(kind.type_bits());
        let device = if kind.is_device() {
            rustix::fs::makedev(rdev.0, rdev.1)
        } else {
            0
        };
        self.put(name, |name| {
            rustix::fs::mknodat(self.fd(), name, file_type, permissions(mode), device)
        })
        .within("mknod", self.rel(), name)
    }

    /// See [`Root::remove_file`].
    pub fn remove_file(&self, name: &OsStr) -> Result<()> {
        check_name(name)
            .and_then(|()| self.unlink(name, AtFlags::empty()))
            .within("unlink", self.rel(), name)
    }

    /// See [`Root::remove_dir`].
    pub fn remove_dir(&self, name: &OsStr) -> Result<()> {
        check_name(name)
            .and_then(|()| self.unlink(name, AtFlags::REMOVEDIR))
            .within("rmdir", self.rel(), name)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
        retry_on_intr(|| rustix::fs::unlinkat(self.fd(), name, flags))
    }

    /// Makes something as `name`, over what is there.
    fn put(&self, name: &OsStr, make: impl Fn(&OsStr) -> Result<(), Errno>) -> Result<(), Errno> {
        check_name(name)?;
        match retry_on_intr(|| make(name)) {
            Err(Errno::EXIST) => {}
            made => return made,
        }
        let (temp, ()) = unused_name(|| counted_name(name), |temp| retry_on_intr(|| make(temp)))?;
        let renamed = retry_on_intr(|| rustix::fs::renameat(self.fd(), &temp, self.fd(), name));
        // Renaming one name of a file over another one succeeds and does nothing: the temporary
        // name is still there then. Otherwise it is gone, and that is the error ignored.
        let _ = self.unlink(&temp, AtFlags::empty());
        renamed
    }
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
