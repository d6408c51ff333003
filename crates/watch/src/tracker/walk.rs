//! From the disk into the tree of names: one place, one directory, a whole subtree.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, FsWord, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Tracker, Vacated};
use crate::change::{Change, Notice, Reason};
use crate::inotify;
use crate::names::{Names, NodeId};
use crate::polled::Why;

/// How far a walk goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Into directories that had no node before.
    New,
    /// Into all.
    All,
}

/// What is at a place.
enum Found {
    /// A directory that has a node from now on; its content has not been read.
    New(NodeId),
    /// The directory that the tree has there.
    Known(NodeId),
    /// No directory, or none that can be said to be there.
    Nothing,
}

/// Why a directory got no watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no directory by that name.
    Gone,
    /// We may not read it.
    Unreadable,
    /// No watch is left, or the kernel cannot watch it for another reason.
    Limit,
}

/// A directory's entry as far as reading the directory tells.
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) is_dir: bool,
}

impl Tracker {
    /// A directory is said to be at this place: watches it and all below it, if it is new to us.
    pub(super) fn appear(&mut self, dir: NodeId, name: &[u8], reason: Reason) {
        let found = self.look(dir, name, None);
        if !self.leads_to(dir) {
            if let Found::New(node) = found {
                self.forget(node);
            }
            self.unsettle(dir);
        } else if let Found::New(node) = found {
            // A large directory should not hold up what is known already.
            self.flush();
            self.walk(node, Extent::New);
            self.rescan(node, reason);
        }
        self.look_at_vacated();
    }

    /// Makes the nodes below a directory equal to what is on disk.
    pub(super) fn walk(&mut self, top: NodeId, extent: Extent) {
        let mut rest = vec![top];
        while let Some(dir) = rest.pop() {
            let useless = self.gives_up && self.polled.any_limited();
            if useless || self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.read(dir, extent, &mut rest);
        }
        self.look_at_vacated();
    }

    /// Whether the path of a directory leads to it. One that is polled is found by its path alone.
    pub(super) fn leads_to(&mut self, dir: NodeId) -> bool {
        let Some(watch) = self.names.watch(dir) else {
            return self.polled.contains(dir);
        };
        let found = match self.names.place(dir) {
            None if dir == Names::ROOT => self.watch_at(dir, b""),
            None => return false,
            Some(_) => self.watch_at(dir, b""),
        };
        match found {
            Ok(found) if found == watch => true,
            Ok(stranger) => {
                self.unwatch_stranger(stranger);
                false
            }
            Err(_) => false,
        }
    }

    /// The watch of the directory at a place; an empty name means `dir` itself.
    pub(super) fn watch_at(&self, dir: NodeId, name: &[u8]) -> Result<i32, Refusal> {
        let path = self.absolute(dir, name).ok_or(Refusal::Gone)?;
        let inotify = self.inotify.as_ref().ok_or(Refusal::Limit)?;
        let is_root = dir == Names::ROOT && name.is_empty();
        let flags = if is_root {
            inotify::ROOT
        } else {
            inotify::DIRECTORY
        };
        match inotify.add(&path, flags) {
            Ok(watch) => {
                if self.at_own_limit() && self.names.by_watch(watch).is_none() {
                    inotify.remove(watch);
                    return Err(Refusal::Limit);
                }
                Ok(watch)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Err(Refusal::Gone),
            Err(Errno::ACCESS | Errno::PERM) => Err(Refusal::Unreadable),
            Err(_) => Err(Refusal::Limit),
        }
    }

    /// Whether the operator allows no more watches.
    pub(super) fn at_own_limit(&self) -> bool {
        self.max_watches
            .is_some_and(|limit| self.names.watched() as u64 >= limit)
    }

    /// Ends a watch that was added by a path that led elsewhere.
    pub(super) fn unwatch_stranger(&self, watch: i32) {
        if let Some(inotify) = &self.inotify
            && self.names.by_watch(watch).is_none()
        {
            inotify.remove(watch);
        }
    }

    /// Makes one place right: the node there becomes that of the directory there.
    ///
    /// Whatever is taken away from the tree is taken only when `dir` is certain (rule 3); for a new
    /// node in a free place the caller finds out, once for all entries. `left_by` is the directory
    /// that was here and has been found at another place.
    fn look(&mut self, dir: NodeId, name: &[u8], left_by: Option<NodeId>) -> Found {
        let present = self.names.child(dir, name);
        if let Some(why @ (Why::Asked | Why::Alias)) = self.polled.why(dir) {
            return match present {
                Some(node) => Found::Known(node),
                None => Found::New(self.insert_polled(dir, name, why)),
            };
        }
        let watch = match self.watch_at(dir, name) {
            Ok(watch) => watch,
            Err(Refusal::Gone) => return Found::Nothing,
            Err(Refusal::Unreadable) => {
                if let Some(path) = self.names.path_of(dir, name) {
                    self.out.push(Change::Notice(Notice::Unreadable { path }));
                }
                return Found::Nothing;
            }
            Err(Refusal::Limit) => return self.look_without_watch(dir, name),
        };
        let known = self.names.by_watch(watch);
        if known.is_some() && known == present {
            return present.map_or(Found::Nothing, Found::Known);
        }
        if (known.is_some() || present.is_some()) && !self.leads_to(dir) {
            self.unwatch_stranger(watch);
            self.unsettle(dir);
            return Found::Nothing;
        }
        let Some(node) = known else {
            if let Some(displaced) = present {
                self.forget(displaced);
            }
            let node = self.names.insert(dir, name);
            self.names.set_watch(node, Some(watch));
            return Found::New(node);
        };
        // A bind mount can show one directory at two places; one of them has to do without events.
        let here_too = left_by == Some(node) && self.leads_to(node);
        if here_too || self.names.is_within(dir, node) {
            return match present {
                Some(present) if self.polled.contains(present) => Found::Known(present),
                _ => Found::New(self.insert_polled(dir, name, Why::Alias)),
            };
        }
        if self.missed_events(node) {
            self.forget(node);
            return self.look(dir, name, None);
        }
        self.bring(node, dir, name);
        Found::Known(node)
    }

    /// A directory was moved and the events that say so are still to come (rule 2).
    fn bring(&mut self, node: NodeId, dir: NodeId, name: &[u8]) {
        match self.place(node) {
            Some((from, old)) => self.vacated.push(Vacated {
                dir: from,
                name: old,
                by: node,
            }),
            None => self.found_on_its_way(node),
        }
        self.names.detach(node);
        if let Some(displaced) = self.names.child(dir, name) {
            self.forget(displaced);
        }
        self.names.attach(node, dir, name);
        self.rescan(node, Reason::MovedIn);
    }

    /// A directory that got no watch: polled, if it is a directory at all.
    fn look_without_watch(&mut self, dir: NodeId, name: &[u8]) -> Found {
        match self.names.child(dir, name) {
            Some(node) if self.polled.contains(node) => Found::Known(node),
            // What was here had a watch, so this is another one, and may have the watch set free.
            Some(node) if self.leads_to(dir) => {
                self.forget(node);
                self.look(dir, name, None)
            }
            Some(_) => {
                self.unsettle(dir);
                Found::Nothing
            }
            None => {
                let path = self.absolute(dir, name);
                match path.map(|path| open(&path, false)) {
                    Some(Ok(_)) => Found::New(self.insert_polled(dir, name, Why::Limit)),
                    _ => Found::Nothing,
                }
            }
        }
    }

    fn insert_polled(&mut self, dir: NodeId, name: &[u8], why: Why) -> NodeId {
        if let Some(displaced) = self.names.child(dir, name) {
            self.forget(displaced);
        }
        let node = self.names.insert(dir, name);
        self.polled.insert(node, why);
        node
    }

    /// Looks at the places that directories have left: something else may be there.
    fn look_at_vacated(&mut self) {
        while let Some(Vacated { dir, name, by }) = self.vacated.pop() {
            match self.look(dir, &name, Some(by)) {
                Found::New(node) => {
                    // Pops what this walk vacates, too: the list is shared.
                    self.walk(node, Extent::New);
                    self.rescan(node, Reason::LostWatch);
                }
                Found::Known(_) | Found::Nothing => {}
            }
        }
    }

    /// Reads one directory and makes its nodes right; adds those to be read next to `rest`.
    fn read(&mut self, dir: NodeId, extent: Extent, rest: &mut Vec<NodeId>) {
        let Some(path) = self.absolute(dir, b"") else {
            return;
        };
        let listing = open(&path, dir == Names::ROOT).and_then(|fd| {
            let entries = match self.polled.contains(dir) {
                true => list(&fd, false)?,
                false if surely_has_no_directories(&fd) => Vec::new(),
                false => list(&fd, true)?,
            };
            Ok((entries, fd))
        });
        let (entries, fd) = match listing {
            Ok(listing) => listing,
            Err(Errno::ACCESS | Errno::PERM) => {
                if let Some(path) = self.names.path(dir) {
                    self.out.push(Change::Notice(Notice::Unreadable { path }));
                }
                return;
            }
            Err(_) => {
                self.unsettle(dir);
                return;
            }
        };
        if self.polled.contains(dir) {
            self.take_snapshot(dir, &fd, &entries);
        }
        drop(fd);
        let had_children = self.names.children(dir).next().is_some();
        let mut present = HashSet::new();
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            if self.entry_pruned(dir, entry) {
                continue;
            }
            let node = match self.look(dir, &entry.name, None) {
                Found::New(node) => {
                    rest.push(node);
                    node
                }
                Found::Known(node) => {
                    if extent == Extent::All {
                        rest.push(node);
                    }
                    node
                }
                Found::Nothing => continue,
            };
            if had_children {
                present.insert(node);
            }
        }
        if !self.leads_to(dir) {
            self.unsettle(dir);
        } else if had_children {
            let missing = |node: &NodeId| !present.contains(node);
            let missing: Vec<NodeId> = self.names.children(dir).filter(missing).collect();
            for node in missing {
                self.forget(node);
            }
        }
    }

    pub(super) fn entry_pruned(&self, dir: NodeId, entry: &Listed) -> bool {
        self.prune.is_some()
            && self
                .names
                .path_of(dir, &entry.name)
                .is_some_and(|path| self.pruned(&path, entry.is_dir))
    }
}

/// Opens a directory to be read. The root may be a symlink, nothing below it.
pub(super) fn open(path: &Path, is_root: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    flags.set(OFlags::NOFOLLOW, !is_root);
    rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
}

/// Whether the count of a directory's links tells that there are no directories in it: each of them has one to it, by the
/// name `..`. Most directories are of this kind, and to read a large one takes far longer than this. Only of these file
/// systems is it known that they count so.
fn surely_has_no_directories(dir: &OwnedFd) -> bool {
    const EXT: FsWord = 0xef53;
    const XFS: FsWord = 0x5846_5342;
    const TMPFS: FsWord = 0x0102_1994;
    let only_itself = rustix::fs::fstat(dir).is_ok_and(|stat| stat.st_nlink == 2);
    only_itself && rustix::fs::fstatfs(dir).is_ok_and(|fs| matches!(fs.f_type, EXT | XFS | TMPFS))
}

/// A directory's entries, or only its directories.
pub(super) fn list(dir: &OwnedFd, only_directories: bool) -> Result<Vec<Listed>, Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
    let mut entries = Vec::new();
    let mut reader = RawDir::new(dir, &mut buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            // Some filesystems do not tell here.
            FileType::Unknown => {
                rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
            }
            _ => false,
        };
        if is_dir || !only_directories {
            entries.push(Listed {
                name: name.to_vec(),
                is_dir,
            });
        }
    }
    Ok(entries)
}
