//! Resolution by hand, one component at a time.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::meta::{Identity, Meta};

/// Which symbolic links are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// None.
    Never,
    /// Those that stay beneath the start.
    Beneath,
    /// Those of root and of the effective user (behaviour.md 9.1).
    TrustedOwner,
}

/// A path on its way, each component of which is opened without following a link.
pub(crate) struct ByHand<'a> {
    start: BorrowedFd<'a>,
    follow: Follow,
    /// What is still to be resolved.
    pending: VecDeque<OsString>,
    /// The true names from `start` to `at`. Leaving a directory by `..` starts again at the top
    /// with these, for the `..` of a directory that was moved away meanwhile leads outside.
    names: Vec<OsString>,
    /// The directory reached; `None` is `start`.
    at: Option<OwnedFd>,
    links_left: u32,
    /// Of a file that is made.
    pub(crate) mode: Mode,
    /// Where the last component has to be.
    pub(crate) bound: Option<Bound>,
}

impl<'a> ByHand<'a> {
    pub(crate) fn new(start: BorrowedFd<'a>, path: &Path, follow: Follow) -> Self {
        let mut walk = Self {
            start,
            follow,
            pending: VecDeque::new(),
            names: Vec::new(),
            at: None,
            links_left: 40,
            mode: Mode::empty(),
            bound: None,
        };
        walk.push(path.as_os_str());
        walk
    }

    /// The way to an operator's file, which is not the directory that we are in.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Errno> {
        match path.as_os_str().is_empty() {
            true => Err(Errno::INVAL),
            false => Ok(Self::new(CWD, path, Follow::TrustedOwner)),
        }
    }

    pub(crate) fn open(mut self, flags: OFlags) -> Result<OwnedFd, Errno> {
        while let Some(name) = self.pending.pop_front() {
            match name.as_bytes() {
                b"/" if self.follow == Follow::TrustedOwner => {
                    let slash = OsStr::new("/");
                    self.at = Some(open_at(CWD, slash, OFlags::PATH | OFlags::DIRECTORY)?);
                }
                b"/" => return Err(Errno::XDEV),
                b".." if self.follow == Follow::TrustedOwner => self.enter(&name)?,
                b".." => self.leave()?,
                _ if self.pending.is_empty() => {
                    if let Some(last) = self.open_last(&name, flags)? {
                        return Ok(last);
                    }
                }
                _ => self.step(name)?,
            }
        }
        open_at(self.here(), OsStr::new("."), flags)
    }

    /// Goes down into `name`, or queues the target if it is a link that may be followed.
    fn step(&mut self, name: OsString) -> Result<(), Errno> {
        match self.enter(&name) {
            Ok(()) => {
                if self.follow == Follow::Beneath {
                    self.names.push(name);
                }
                Ok(())
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                if self.expand(&name)? {
                    Ok(())
                } else {
                    Err(Errno::NOTDIR)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the last component, or queues its target and returns `None`.
    fn open_last(&mut self, name: &OsStr, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let follows = self.follow != Follow::Never && !flags.contains(OFlags::NOFOLLOW);
        if self.follow == Follow::TrustedOwner && is_proc(self.here()) {
            // The kernel's own links, such as `/dev/stderr` leads to: what they say is no path.
            if let Some(bound) = self.bound {
                bound.check_pin(self.here(), name)?;
            }
            return open_at(self.here(), name, flags).map(Some);
        }
        if follows {
            match self.expand(name) {
                Ok(true) => return Ok(None),
                Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {}
                Err(error) => return Err(error),
                Ok(false) => {}
            }
        }
        if let Some(bound) = self.bound {
            bound.check(self.here())?;
        }
        match make_at(self.here(), name, flags | OFlags::NOFOLLOW, self.mode) {
            // O_DIRECTORY hides that it was a link; the kernel's own resolution tells.
            Err(Errno::NOTDIR) if self.expand(name)? => Err(Errno::LOOP),
            opened => opened.map(Some),
        }
    }

    /// Queues the target of `name` if that is a link: `Ok(false)` if it is not.
    fn expand(&mut self, name: &OsStr) -> Result<bool, Errno> {
        let link = open_at(self.here(), name, OFlags::PATH | OFlags::NOFOLLOW)?;
        let meta = Meta::of(&link)?;
        if !meta.is_symlink() {
            return Ok(false);
        }
        let trusted = match self.follow {
            Follow::Never => false,
            Follow::Beneath => true,
            Follow::TrustedOwner => {
                meta.uid == 0 || meta.uid == rustix::process::geteuid().as_raw()
            }
        };
        if !trusted || self.links_left == 0 {
            return Err(Errno::LOOP);
        }
        self.links_left -= 1;
        let target = retry_on_intr(|| rustix::fs::readlinkat(&link, "", Vec::new()))?;
        self.push(&OsString::from_vec(target.into_bytes()));
        Ok(true)
    }

    fn enter(&mut self, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        self.at = Some(open_at(self.here(), name, flags)?);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Errno> {
        if self.names.pop().is_none() {
            return Err(Errno::XDEV);
        }
        while self.pending.front().is_some_and(|next| next == "..") {
            self.pending.pop_front();
            if self.names.pop().is_none() {
                return Err(Errno::XDEV);
            }
        }
        for name in self.names.drain(..).rev() {
            self.pending.push_front(name);
        }
        self.at = None;
        Ok(())
    }

    /// Puts the components of `path` in front of what is pending; a leading slash is one.
    fn push(&mut self, path: &OsStr) {
        let bytes = path.as_bytes();
        for name in bytes.rsplit(|b| *b == b'/') {
            if !name.is_empty() && name != b"." {
                self.pending.push_front(OsStr::from_bytes(name).to_owned());
            }
        }
        if bytes.first() == Some(&b'/') {
            self.pending.push_front(OsString::from("/"));
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.at.as_ref().map_or(self.start, |fd| fd.as_fd())
    }
}

/// A directory that a file has to be in, at any depth.
#[derive(Clone, Copy)]
pub(crate) struct Bound(Identity);

impl Bound {
    pub(crate) fn of(path: &Path) -> Result<Self, Errno> {
        // What does not exist holds nothing.
        let dir = open_at(CWD, path.as_os_str(), OFlags::PATH | OFlags::DIRECTORY);
        let dir = dir.map_err(|_| Errno::LOOP)?;
        Ok(Self(Meta::of(&dir)?.identity()))
    }

    fn check(self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        if is_within(dir, self.0)? {
            Ok(())
        } else {
            Err(Errno::LOOP)
        }
    }

    /// The same for what is open already, which only `/proc` knows a path of.
    fn check_pin(self, proc: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let target = retry_on_intr(|| rustix::fs::readlinkat(proc, name, Vec::new()));
        let target = PathBuf::from(OsString::from_vec(target?.into_bytes()));
        let parent = target.parent().filter(|_| target.is_absolute());
        let parent = parent.ok_or(Errno::LOOP)?.as_os_str();
        let dir =
            open_at(CWD, parent, OFlags::PATH | OFlags::DIRECTORY).map_err(|_| Errno::LOOP)?;
        self.check(dir.as_fd())
    }
}

/// Whether a directory is `bound` or beneath it, as the directories above it say.
pub(crate) fn is_within(dir: BorrowedFd<'_>, bound: Identity) -> Result<bool, Errno> {
    let up = |dir: BorrowedFd<'_>, name: &str| {
        open_at(dir, OsStr::new(name), OFlags::PATH | OFlags::DIRECTORY)
    };
    let mut at = up(dir, ".")?;
    let mut identity = Meta::of(&at)?.identity();
    while identity != bound {
        let above = up(at.as_fd(), "..")?;
        let next = Meta::of(&above)?.identity();
        if next == identity {
            return Ok(false);
        }
        (at, identity) = (above, next);
    }
    Ok(true)
}

pub(super) fn open_at(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    make_at(dir, name, flags, Mode::empty())
}

fn make_at(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, mode))
}

fn is_proc(dir: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
