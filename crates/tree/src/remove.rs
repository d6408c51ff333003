//! Removing whole trees.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::io::{Errno, retry_on_intr};

use crate::descent::Descent;
use crate::dir::{DirEntry, entries_of};
use crate::error::{Error, Result, join};
use crate::meta::{Kind, Meta};
use crate::root::Root;

/// What came of [`Root::remove_tree`].
#[derive(Debug, Default)]
pub struct Removal {
    /// Something is still there: kept by request, or not removable.
    pub left: bool,
    /// What could not be removed, and why; the first thousand.
    pub errors: Vec<Error>,
}

impl Root {
    /// Removes `rel` and everything beneath it, the content of a directory first and its names in
    /// reverse order (behaviour.md 6.2). A link is removed, never followed. What is gone already
    /// counts as removed, but is not reported.
    ///
    /// `keep` is asked, with path and whether it is a directory, about each path but `rel` itself;
    /// what it keeps stays, with everything in it and every directory above. `on_removed` hears of
    /// each path after it is gone. As an ordinary user, directories of ours without write
    /// permission get it first (behaviour.md 2.1). The root itself is emptied, not removed.
    pub fn remove_tree(
        &self,
        rel: &Path,
        keep: &mut dyn FnMut(&Path, bool) -> bool,
        on_removed: &mut dyn FnMut(&Path, Kind),
    ) -> Result<Removal> {
        let (base, name) = match self.at(rel) {
            Err(error) if error.vanished() => return Ok(Removal::default()),
            found => found?,
        };
        self.forget(rel);
        let Some(meta) = base.lstat(name)? else {
            return Ok(Removal::default());
        };
        let mut remover = Remover {
            descent: Descent::new(base),
            may_loosen: !rustix::process::geteuid().is_root(),
            keep,
            on_removed,
            buffer: Vec::new(),
            removal: Removal::default(),
        };
        remover.remove(name, meta.kind);
        remover.run();
        Ok(remover.removal)
    }
}

/// A directory that is being emptied.
struct Level {
    name: OsString,
    /// In order: the next one is the last.
    entries: Vec<DirEntry>,
    /// Something in it stays, and so does it.
    stays: bool,
}

struct Remover<'a> {
    descent: Descent<Level>,
    may_loosen: bool,
    keep: &'a mut dyn FnMut(&Path, bool) -> bool,
    on_removed: &'a mut dyn FnMut(&Path, Kind),
    buffer: Vec<u8>,
    removal: Removal,
}

impl Remover<'_> {
    fn run(&mut self) {
        while let Some(level) = self.descent.state() {
            let Some(entry) = level.entries.pop() else {
                if !self.close_level() {
                    return;
                }
                continue;
            };
            let path = join(self.descent.rel(), &entry.name);
            let kind = match self.kind_of(&entry) {
                Ok(Some(kind)) => kind,
                Ok(None) => continue,
                Err(cause) => {
                    self.failed("stat", &path, cause);
                    continue;
                }
            };
            if (self.keep)(&path, kind == Kind::Dir) {
                self.stays();
            } else {
                self.remove(&entry.name, kind);
            }
        }
    }

    /// Removes a name of the present directory, or enters it if it is a directory.
    fn remove(&mut self, name: &OsStr, kind: Kind) {
        let path = join(self.descent.rel(), name);
        if kind != Kind::Dir {
            match self.unlink(name, AtFlags::empty()) {
                Ok(()) => (self.on_removed)(&path, kind),
                Err(Errno::NOENT) => {}
                Err(cause) => self.failed("unlink", &path, cause),
            }
            return;
        }
        let mut entered = self.enter(name);
        if entered == Err(Errno::ACCESS) && self.may_loosen && loosen(self.descent.fd(), name) {
            entered = self.enter(name);
        }
        match entered {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(cause) => self.failed("opendir", &path, cause),
        }
    }

    fn enter(&mut self, name: &OsStr) -> Result<(), Errno> {
        let buffer = &mut self.buffer;
        self.descent.enter(name, |fd| {
            let mut entries = entries_of(fd, buffer)?;
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(Level {
                name: name.to_owned(),
                entries,
                stays: false,
            })
        })
    }

    /// Leaves a directory and removes it if it is empty now. `false` if there is no way on.
    fn close_level(&mut self) -> bool {
        let path = self.descent.rel().to_owned();
        let level = match self.descent.leave() {
            Ok(Some(level)) => level,
            Ok(None) => return false,
            Err(cause) => {
                self.failed("opendir", &path, cause);
                return false;
            }
        };
        if level.stays || level.name == "." {
            self.stays();
            return true;
        }
        match self.unlink(&level.name, AtFlags::REMOVEDIR) {
            Ok(()) => (self.on_removed)(&path, Kind::Dir),
            Err(Errno::NOENT) => {}
            Err(cause) => self.failed("rmdir", &path, cause),
        }
        true
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<(), Errno> {
        let dir = self.descent.fd();
        let unlink = || retry_on_intr(|| rustix::fs::unlinkat(dir, name, flags));
        match unlink() {
            // Only the directory's own permissions matter for this.
            Err(Errno::ACCESS) if self.may_loosen && loosen(dir, OsStr::new(".")) => unlink(),
            outcome => outcome,
        }
    }

    fn kind_of(&self, entry: &DirEntry) -> Result<Option<Kind>, Errno> {
        match entry.kind {
            Some(kind) => Ok(Some(kind)),
            None => match Meta::read(self.descent.fd(), &entry.name) {
                Ok(meta) => Ok(Some(meta.kind)),
                Err(Errno::NOENT) => Ok(None),
                Err(cause) => Err(cause),
            },
        }
    }

    fn failed(&mut self, verb: &'static str, path: &Path, cause: Errno) {
        const REMEMBERED: usize = 1000;
        if self.removal.errors.len() < REMEMBERED {
            self.removal.errors.push(Error::new(verb, path, cause));
        }
        self.stays();
    }

    fn stays(&mut self) {
        self.removal.left = true;
        if let Some(level) = self.descent.state() {
            level.stays = true;
        }
    }
}

/// Gives the owner all rights to a directory of ours; `false` if it is not ours or has them.
fn loosen(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let Ok(meta) = Meta::read(dir, name) else {
        return false;
    };
    if !meta.is_dir() || meta.mode & 0o700 == 0o700 {
        return false;
    }
    crate::set::chmod_no_follow(dir, name, Kind::Dir, Mode::from_raw_mode(meta.mode | 0o700))
        .is_ok()
}
