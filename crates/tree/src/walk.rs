//! Looking at a whole subtree, in order.

use std::ffi::{OsStr, OsString};
use std::iter::FusedIterator;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::descent::Descent;
use crate::dir::{DirEntry, entries_of};
use crate::error::{Context, Error, Result, join};
use crate::meta::{Kind, Meta};
use crate::root::Root;

/// Whether a walk or a removal goes into directories of other file systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// It does.
    #[default]
    Cross,
    /// A mount point is seen but not entered, and never removed (`-x`, behaviour.md 7.21).
    Stay,
}

/// A path that a [`Walk`] came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEntry {
    /// Relative to the root.
    pub path: PathBuf,
    /// Its stat: of a link itself, not its target.
    pub meta: Meta,
}

impl Root {
    /// Walks `rel` and everything beneath it: a directory before its content, the names of each
    /// directory in the order of their bytes. (So `a/x` comes before `a.b`: this is not the order
    /// of the whole paths' bytes.)
    ///
    /// `keep` is asked, with path and whether it is a directory, about each path but `rel` itself;
    /// what it does not keep is neither stat'ed nor entered. Fails if the directory above `rel`
    /// cannot be opened; that `rel` itself is missing is the walk's first and only entry.
    pub fn walk<'a>(
        &self,
        rel: &Path,
        mounts: Mounts,
        keep: impl FnMut(&Path, bool) -> bool + 'a,
    ) -> Result<Walk<'a>> {
        let (base, name) = self.at(rel)?;
        Ok(Walk {
            top: Some(name.to_owned()),
            descent: Descent::new(Arc::clone(&base)),
            entering: None,
            device: match mounts {
                Mounts::Cross => None,
                Mounts::Stay => Some(0),
            },
            keep: Box::new(keep),
            buffer: Vec::new(),
        })
    }
}

/// An ordered walk; see [`Root::walk`]. What cannot be looked at (vanished meanwhile, no
/// permission) is an error among the entries, not the end.
pub struct Walk<'a> {
    /// The name to start with, until it was looked at.
    top: Option<OsString>,
    /// Each level keeps its names in reverse order: the next one is the last.
    descent: Descent<Vec<DirEntry>>,
    /// The directory that was just yielded, unless it is to be passed over.
    entering: Option<OsString>,
    /// The device to stay on.
    device: Option<u64>,
    keep: Keep<'a>,
    buffer: Vec<u8>,
}

type Keep<'a> = Box<dyn FnMut(&Path, bool) -> bool + 'a>;

impl Walk<'_> {
    /// Passes over the content of the directory that was just yielded.
    pub fn skip_content(&mut self) {
        self.entering = None;
    }

    fn start(&mut self, name: OsString) -> Result<WalkEntry> {
        let meta =
            Meta::read(self.descent.fd(), &name).within("stat", self.descent.rel(), &name)?;
        if let Some(device) = &mut self.device {
            *device = meta.dev;
        }
        Ok(self.found(name, meta))
    }

    fn enter(&mut self, name: &OsStr) -> Result<()> {
        let buffer = &mut self.buffer;
        let entered = self.descent.enter(name, |fd| {
            let mut entries = entries_of(fd, buffer)?;
            entries.sort_unstable_by(|a, b| b.name.cmp(&a.name));
            Ok(entries)
        });
        entered.map_err(|cause| Error::new("opendir", join(self.descent.rel(), name), raced(cause)))
    }

    /// Looks at one name of the present directory; `None` if it is not wanted.
    fn look(&mut self, entry: DirEntry) -> Option<Result<WalkEntry>> {
        let path = join(self.descent.rel(), &entry.name);
        let hint = entry.kind.map(|kind| kind == Kind::Dir);
        if let Some(is_dir) = hint
            && !(self.keep)(&path, is_dir)
        {
            return None;
        }
        let meta = match Meta::read(self.descent.fd(), &entry.name) {
            Ok(meta) => meta,
            Err(cause) => return Some(Err(Error::new("stat", path, cause))),
        };
        // The listing told nothing, or told what has changed since.
        if hint != Some(meta.is_dir()) && !(self.keep)(&path, meta.is_dir()) {
            return None;
        }
        Some(Ok(self.found(entry.name, meta)))
    }

    fn found(&mut self, name: OsString, meta: Meta) -> WalkEntry {
        let path = join(self.descent.rel(), &name);
        let here = self.device.is_none_or(|device| device == meta.dev);
        self.entering = (meta.is_dir() && here).then_some(name);
        WalkEntry { path, meta }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(name) = self.top.take() {
            return Some(self.start(name));
        }
        if let Some(name) = self.entering.take()
            && let Err(error) = self.enter(&name)
        {
            return Some(Err(error));
        }
        loop {
            let Some(entry) = self.descent.state()?.pop() else {
                if let Err(cause) = self.descent.leave() {
                    // No way back to the directories above: what is left of them is unseen.
                    let error = Error::new("opendir", self.descent.rel(), cause);
                    self.descent = Descent::new(self.descent.base());
                    return Some(Err(error));
                }
                continue;
            };
            if let Some(seen) = self.look(entry) {
                return Some(seen);
            }
        }
    }
}

impl FusedIterator for Walk<'_> {}

impl std::fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk")
            .field("at", &self.descent.rel())
            .finish_non_exhaustive()
    }
}

/// A directory that became something else between the listing and the open has vanished as such.
fn raced(cause: Errno) -> Errno {
    if cause == Errno::LOOP {
        Errno::NOTDIR
    } else {
        cause
    }
}
