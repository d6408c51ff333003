//! Going down into a tree and up again with a bounded number of open directories.
//!
//! A hostile tree may be deeper than the limit of open files, than `PATH_MAX` and than any stack.
//! So there is no recursion, every step takes one name, and directories far above are closed; on
//! the way back they are found again by `..` and known by their identity.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::meta::{Identity, Meta};
use crate::resolve::{Links, open_beneath};

/// The directories from a base down to the present one, each with what the caller keeps for it.
#[derive(Debug)]
pub(crate) struct Descent<T> {
    base: Arc<Dir>,
    levels: Vec<Level<T>>,
    rel: PathBuf,
}

#[derive(Debug)]
struct Level<T> {
    handle: Handle,
    /// The length of `rel` before this level's name was added.
    parent_len: usize,
    state: T,
}

#[derive(Debug)]
enum Handle {
    Open(OwnedFd),
    LetGo(Identity),
}

impl<T> Descent<T> {
    /// Levels whose directories stay open: more than trees made by people are deep.
    const KEPT: usize = 48;

    /// Starts above the tree: the first [`enter`](Self::enter) takes a name in `base`.
    pub(crate) fn new(base: Arc<Dir>) -> Self {
        let rel = base.rel().to_owned();
        Self {
            base,
            levels: Vec::new(),
            rel,
        }
    }

    /// The path of the present directory, relative to the root.
    pub(crate) fn rel(&self) -> &Path {
        &self.rel
    }

    /// The present directory: open for reading, except the base.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self.levels.last().map(|level| &level.handle) {
            Some(Handle::Open(fd)) => fd.as_fd(),
            // The last level is never let go.
            Some(Handle::LetGo(_)) | None => self.base.fd(),
        }
    }

    /// What the caller keeps for the present directory; `None` at the base.
    pub(crate) fn state(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.state)
    }

    /// Opens the directory `name` in the present one, which it becomes. `state` makes what the
    /// caller keeps for it.
    pub(crate) fn enter(
        &mut self,
        name: &OsStr,
        state: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<(), Errno> {
        let fd = open(self.fd(), name)?;
        let state = state(fd.as_fd())?;
        let parent_len = self.rel.as_os_str().len();
        if name != "." {
            self.rel.push(name);
        }
        self.levels.push(Level {
            handle: Handle::Open(fd),
            parent_len,
            state,
        });
        self.let_go_far_above()
    }

    /// Goes back up. The path is the parent's again even if that cannot be found any more, which is
    /// `ESTALE`: somebody moved the directories we came by, and there is no way on from here.
    pub(crate) fn leave(&mut self) -> Result<Option<T>, Errno> {
        let Some(left) = self.levels.pop() else {
            return Ok(None);
        };
        self.truncate_rel(left.parent_len);
        if let Some(parent) = self.levels.last_mut()
            && let Handle::LetGo(identity) = parent.handle
            && let Handle::Open(child) = &left.handle
        {
            let same = |fd: &OwnedFd| Meta::of(fd).is_ok_and(|meta| meta.identity() == identity);
            // From the top again if the directory we were in was removed or moved meanwhile.
            let way = self.rel.strip_prefix(self.base.rel()).unwrap_or(&self.rel);
            let fd = open(child.as_fd(), OsStr::new(".."))
                .ok()
                .filter(same)
                .or_else(|| open_beneath(self.base.fd(), way, LIST, Links::Refuse).ok())
                .filter(same)
                .ok_or(Errno::STALE)?;
            parent.handle = Handle::Open(fd);
        }
        Ok(Some(left.state))
    }

    fn let_go_far_above(&mut self) -> Result<(), Errno> {
        let Some(far) = self.levels.len().checked_sub(Self::KEPT + 1) else {
            return Ok(());
        };
        if let Some(level) = self.levels.get_mut(far)
            && let Handle::Open(fd) = &level.handle
        {
            level.handle = Handle::LetGo(Meta::of(fd)?.identity());
        }
        Ok(())
    }

    fn truncate_rel(&mut self, len: usize) {
        let mut bytes = std::mem::take(&mut self.rel).into_os_string().into_vec();
        bytes.truncate(len);
        self.rel = PathBuf::from(OsString::from_vec(bytes));
    }
}

fn open(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(dir, name, LIST, Mode::empty()))
}

const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
