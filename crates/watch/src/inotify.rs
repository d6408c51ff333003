//! The kernel's inotify interface: watches are added here, and bytes become events.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// What is asked of every watched directory: all that can make an entry differ, nothing that only reads. An entry that has
/// gone counts too, for the file may have another name. A watch that is added again is added to: to replace its mask, the
/// kernel clears it first, and drops what happens at that moment.
pub(crate) const DIRECTORY: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::MASK_ADD);

/// The root's own end is seen by its own watch only; every other directory has a watched parent.
/// The root may be a symlink: it is the operator's.
pub(crate) const ROOT: WatchFlags = DIRECTORY
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .difference(WatchFlags::DONT_FOLLOW);

/// An inotify instance with its queue.
#[derive(Debug)]
pub(crate) struct Inotify(OwnedFd);

impl Inotify {
    pub(crate) fn new() -> Result<Inotify, Errno> {
        inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map(Inotify)
    }

    /// Watches what the path leads to. The descriptor belongs to the inode: the same directory gives
    /// the same number again, by whatever path.
    pub(crate) fn add(&self, path: &Path, flags: WatchFlags) -> Result<i32, Errno> {
        inotify::add_watch(&self.0, path, flags)
    }

    /// Ends a watch. Its last event, IGNORED, is still to come.
    pub(crate) fn remove(&self, watch: i32) {
        // Fails only if the kernel removed it already, which is as good.
        let _ = inotify::remove_watch(&self.0, watch);
    }

    /// Reads what is queued, at most `buffer`; `WOULDBLOCK` when nothing is.
    #[cfg(test)]
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer))
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One event as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The watch, or -1 for a queue overflow.
    pub(crate) watch: i32,
    pub(crate) mask: ReadFlags,
    /// The same number on both halves of a rename, otherwise 0.
    pub(crate) cookie: u32,
    /// The entry's name; empty when the watched object itself is meant.
    pub(crate) name: &'a [u8],
}

/// The events in what was read from an instance (inotify(7), "Reading events").
pub(crate) struct Events<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let (head, rest) = self.0.split_first_chunk::<HEADER>()?;
        let field = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let length = u32::from_ne_bytes(field(12)) as usize;
        let (name, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(length);
        Some(Event {
            watch: i32::from_ne_bytes(field(0)),
            mask: ReadFlags::from_bits_retain(u32::from_ne_bytes(field(4))),
            cookie: u32::from_ne_bytes(field(8)),
            name: &name[..end],
        })
    }
}

/// struct `inotify_event` without its name.
const HEADER: usize = 16;
