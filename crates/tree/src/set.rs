//! Setting owner, mode and times: the difference of two stats, applied in the one right order.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::error::{Context, Error, Result, join};
use crate::meta::{Kind, Meta, Time, Which};
use crate::resolve::check_name;
use crate::root::Root;
use crate::syscall::fchmodat2;

impl Root {
    /// Sets those attributes of `rel` named by `which` that differ between `now`, its present
    /// stat, and `want`; a symbolic link's own. Returns whether anything had to be set.
    ///
    /// The first failure is the last thing that is tried: whoever is not the owner that was meant is not to have the
    /// permissions that were meant for it.
    pub fn set_meta(&self, rel: &Path, want: &Meta, which: Which, now: &Meta) -> Result<bool> {
        let (dir, name) = self.at(rel)?;
        let changed = dir.set_meta(name, want, which, now);
        if now.is_dir() && !matches!(changed, Ok(false)) {
            // What new files in it come with may be another owner now.
            self.forget(rel);
        }
        changed
    }
}

impl Dir {
    /// Like [`Root::set_meta`], for a name in this directory.
    pub fn set_meta(&self, name: &OsStr, want: &Meta, which: Which, now: &Meta) -> Result<bool> {
        check_name(name).within("chmod", self.rel(), name)?;
        if self.policy().fake_super {
            return self.note_meta(name, want, which, now);
        }
        let changes = Changes::between(now, want, which);
        if changes.is_empty() {
            return Ok(false);
        }
        changes.apply(Target::Name(self, name, now.kind), || {
            join(self.rel(), name)
        })?;
        Ok(true)
    }
}

/// Like [`Root::set_meta`], for an open file; `path` is for messages.
pub fn set_meta_of(
    file: &File,
    path: &Path,
    want: &Meta,
    which: Which,
    now: &Meta,
) -> Result<bool> {
    let changes = Changes::between(now, want, which);
    if changes.is_empty() {
        return Ok(false);
    }
    changes.apply(Target::File(file.as_fd()), || path.to_owned())?;
    Ok(true)
}

/// What has to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) mode: Option<u32>,
    pub(crate) mtime: Option<Time>,
    pub(crate) atime: Option<Time>,
}

impl Changes {
    pub(crate) fn between(now: &Meta, want: &Meta, which: Which) -> Self {
        fn differing<T: PartialEq + Copy>(asked: bool, now: T, want: T) -> Option<T> {
            (asked && now != want).then_some(want)
        }
        let mut changes = Self {
            owner: differing(which.contains(Which::OWNER), now.uid, want.uid),
            group: differing(which.contains(Which::GROUP), now.gid, want.gid),
            mode: None,
            mtime: differing(which.contains(Which::MTIME), now.mtime, want.mtime),
            atime: differing(which.contains(Which::ATIME), now.atime, want.atime),
        };
        if which.contains(Which::MODE) && !now.is_symlink() {
            // A change of owner clears the set-id bits: they have to be set again.
            let cleared = changes.changes_owner() && want.mode & SET_ID != 0;
            changes.mode = differing(true, now.mode, want.mode).or(cleared.then_some(want.mode));
        }
        changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Owner first, for that clears set-id bits; then times; the mode last, for it opens the file to others.
    pub(crate) fn apply(
        &self,
        target: Target<'_>,
        path: impl Fn() -> std::path::PathBuf,
    ) -> Result<()> {
        let failed = |verb: &'static str| {
            let path = &path;
            move |cause| Error::new(verb, path(), cause)
        };
        if self.changes_owner() {
            let verb = if self.owner.is_some() {
                "chown"
            } else {
                "chgrp"
            };
            let owned = target.chown(self.owner, self.group);
            owned.map_err(failed(verb))?;
        }
        if self.mtime.is_some() || self.atime.is_some() {
            let timed = target.set_times(self.mtime, self.atime);
            timed.map_err(failed("utimes"))?;
        }
        match self.mode {
            Some(mode) => target.chmod(mode).map_err(failed("chmod")),
            None => Ok(()),
        }
    }

    fn changes_owner(&self) -> bool {
        self.owner.is_some() || self.group.is_some()
    }
}

const SET_ID: u32 = 0o6000;

/// Whose attributes are set.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// An open file.
    File(BorrowedFd<'a>),
    /// A name in a directory and what stood there when it was looked at.
    Name(&'a Dir, &'a OsStr, Kind),
}

impl Target<'_> {
    fn chown(self, owner: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
        // The system takes this number for "leave as it is".
        if owner == Some(u32::MAX) || group == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        retry_on_intr(|| match self {
            Self::File(fd) => rustix::fs::fchown(fd, owner, group),
            Self::Name(dir, name, _) => {
                rustix::fs::chownat(dir.fd(), name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
            }
        })
    }

    fn chmod(self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::File(fd) => retry_on_intr(|| rustix::fs::fchmod(fd, mode)),
            Self::Name(dir, name, kind) => chmod_no_follow(dir.fd(), name, kind, mode),
        }
    }

    fn set_times(self, mtime: Option<Time>, atime: Option<Time>) -> Result<(), Errno> {
        let times = Timestamps {
            last_access: timespec(atime)?,
            last_modification: timespec(mtime)?,
        };
        retry_on_intr(|| match self {
            Self::File(fd) => rustix::fs::futimens(fd, &times),
            Self::Name(dir, name, _) => {
                rustix::fs::utimensat(dir.fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
        })
    }
}

fn timespec(time: Option<Time>) -> Result<Timespec, Errno> {
    match time {
        None => Ok(Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        }),
        // Larger numbers mean "now" and "leave as it is" to the system.
        Some(time) if time.nsec >= 1_000_000_000 => Err(Errno::INVAL),
        Some(time) => Ok(Timespec {
            tv_sec: time.sec,
            tv_nsec: time.nsec.into(),
        }),
    }
}

/// chmod that fails on a symbolic link instead of following it.
pub(crate) fn chmod_no_follow(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    kind: Kind,
    mode: Mode,
) -> Result<(), Errno> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) {
        match fchmodat2(dir, name, mode) {
            Err(Errno::NOSYS) => MISSING.store(true, Ordering::Relaxed),
            // What a container's seccomp profile says, or a refusal that comes again below.
            Err(Errno::PERM) => {}
            done => return done,
        }
    }
    let flags = match kind {
        Kind::File | Kind::Dir | Kind::Fifo => OFlags::RDONLY | OFlags::NONBLOCK,
        // Opening a device may rewind a tape; a socket does not open at all.
        _ => OFlags::PATH,
    };
    let flags = flags | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty()));
    match opened {
        Ok(fd) if !flags.contains(OFlags::PATH) => retry_on_intr(|| rustix::fs::fchmod(&fd, mode)),
        Ok(fd) => chmod_pinned(fd.as_fd(), mode),
        // A file that we own but may not read.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            chmod_pinned(fd.as_fd(), mode)
        }
        Err(error) => Err(error),
    }
}

/// The last resort before Linux 6.6, for what cannot be opened: the inode is pinned, and only
/// /proc leads back to it.
fn chmod_pinned(fd: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    if Meta::of(fd)?.is_symlink() {
        return Err(Errno::LOOP);
    }
    retry_on_intr(|| rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode))
}
