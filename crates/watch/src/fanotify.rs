//! The kernel's fanotify interface: filesystems are marked here, and bytes become events.
//!
//! A mark covers a whole filesystem, and events name directories by file handle, which is theirs for life
//! and tells nothing about where they are; [`crate::places`] knows that.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::fanotify::{EventFFlags, InitFlags, MarkFlags, MaskFlags};
use rustix::io::Errno;

/// Bits of an event's mask. All but the last have the same value in inotify.
pub(crate) mod mask {
    pub(crate) const MODIFY: u32 = 0x2;
    pub(crate) const ATTRIB: u32 = 0x4;
    pub(crate) const CLOSE_WRITE: u32 = 0x8;
    pub(crate) const CREATE: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x200;
    pub(crate) const OVERFLOW: u32 = 0x4000;
    pub(crate) const DIRECTORY: u32 = 0x4000_0000;
    /// Both names of a rename in one event (Linux 5.17).
    pub(crate) const RENAME: u32 = 0x1000_0000;
}

/// A group of marks with its queue.
#[derive(Debug)]
pub(crate) struct Fanotify(nix::sys::fanotify::Fanotify);

/// `FAN_REPORT_FID`, `_DIR_FID`, `_NAME` and `_TARGET_FID`: directories and entries by handle, entries by name too.
const REPORT: u32 = 0x200 | 0x400 | 0x800 | 0x1000;

impl Fanotify {
    /// `INVAL` before Linux 5.17, `PERM` without the privilege.
    pub(crate) fn new() -> Result<Fanotify, Errno> {
        let flags = InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_CLASS_NOTIF
            | InitFlags::from_bits_retain(REPORT);
        let group = nix::sys::fanotify::Fanotify::init(flags, EventFFlags::O_RDONLY);
        group.map(Fanotify).map_err(errno)
    }

    /// Asks for events of the whole filesystem that the path lies on.
    pub(crate) fn mark(&self, path: &Path, events: u32) -> Result<(), Errno> {
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        let events = MaskFlags::from_bits_retain(u64::from(events));
        let marked = self.0.mark(flags, events, rustix::fs::CWD, Some(path));
        marked.map_err(errno)
    }
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

/// What an object is known by as long as it exists: the filesystem's id, then the kernel's
/// `struct file_handle`. Never used again for another object.
pub(crate) type Handle = [u8];

/// Bytes of the filesystem's id.
const FSID: usize = 8;
/// Bytes of `struct file_handle` before the handle proper: its length and its type.
const HANDLE_HEAD: usize = 8;
/// `MAX_HANDLE_SZ`.
const HANDLE_MOST: usize = 128;

/// The id of a handle's filesystem.
pub(crate) fn filesystem(handle: &Handle) -> &[u8] {
    &handle[..FSID.min(handle.len())]
}

/// The handle of what a path leads to from `dir`, and the number of the mount it was reached by. An empty
/// path is `dir` itself; symlinks are not followed.
#[allow(unsafe_code, reason = "no crate wraps file handles")]
pub(crate) fn handle_at(dir: BorrowedFd<'_>, path: &CStr) -> Result<(Box<Handle>, i32), Errno> {
    #[repr(C)]
    struct Room {
        length: u32,
        kind: i32,
        bytes: [u8; HANDLE_MOST],
    }
    let mut room = Room {
        length: HANDLE_MOST as u32,
        kind: 0,
        bytes: [0; HANDLE_MOST],
    };
    let mut mount = 0_i32;
    // SAFETY: `path` ends in NUL, `room` is a `struct file_handle` with as much room behind its head
    // as `length` says, `mount` is an int, and all outlive the call, which keeps none of them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw mut room,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if result != 0 {
        return Err(last_error());
    }
    // Two numbers of 32 bits in one.
    let filesystem = rustix::fs::fstatvfs(dir)?.f_fsid;
    let mut handle = (filesystem as u32).to_ne_bytes().to_vec();
    handle.extend(((filesystem >> 32) as u32).to_ne_bytes());
    handle.extend(room.length.to_ne_bytes());
    handle.extend(room.kind.to_ne_bytes());
    let length = (room.length as usize).min(HANDLE_MOST);
    handle.extend(&room.bytes[..length]);
    Ok((handle.into(), mount))
}

/// Opens what a handle belongs to, as a place only (`O_PATH`); `mount` is anything on its filesystem. `STALE` if it
/// is gone.
#[allow(unsafe_code, reason = "no crate wraps file handles")]
pub(crate) fn open_handle(mount: BorrowedFd<'_>, handle: &Handle) -> Result<OwnedFd, Errno> {
    let handle = handle.get(FSID..).ok_or(Errno::INVAL)?;
    let announced = handle.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    if announced.map(|length| length as usize + HANDLE_HEAD) != Some(handle.len()) {
        return Err(Errno::INVAL);
    }
    // SAFETY: `handle` is a `struct file_handle` of just the length that it says, which the kernel
    // copies byte by byte, so that it need not be aligned.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            handle.as_ptr(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// One event as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Several things that happened to one entry may be told as one event.
    pub(crate) mask: u32,
    /// The process that did it.
    pub(crate) pid: i32,
    /// The entry; none for an object that is reached by no name.
    pub(crate) entry: Option<Entry<'a>>,
    /// The entry's new place, of a rename.
    pub(crate) to: Option<Entry<'a>>,
    /// The object itself.
    pub(crate) target: Option<&'a Handle>,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) dir: &'a Handle,
    /// Empty when the directory itself is meant.
    pub(crate) name: &'a [u8],
}

/// The events in what was read from a group (fanotify(7), "Reading fanotify events").
pub(crate) struct Events<'a>(pub(crate) &'a [u8]);

/// struct `fanotify_event_metadata`.
const METADATA: usize = 24;

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let head = self.0.first_chunk::<METADATA>()?;
        let length = number(head, 0)? as usize;
        let records = usize::from(u16::from_ne_bytes([head[6], head[7]]));
        let (event, rest) = self.0.split_at_checked(length.max(METADATA))?;
        self.0 = rest;
        // All bits that we ask for are in the lower half of the mask's 64.
        let mut mask_bytes = [0; 8];
        mask_bytes.copy_from_slice(&head[8..16]);
        let mut told = Event {
            mask: u64::from_ne_bytes(mask_bytes) as u32,
            pid: number(head, 20)? as i32,
            entry: None,
            to: None,
            target: None,
        };
        let mut records = event.get(records..).unwrap_or_default();
        while let Some((record, rest)) = split_record(records) {
            records = rest;
            told.add(record);
        }
        Some(told)
    }
}

impl<'a> Event<'a> {
    /// Takes an information record; unknown ones are left out.
    fn add(&mut self, record: &'a [u8]) {
        /// Kinds of records, `FAN_EVENT_INFO_TYPE_*`.
        const FID: u8 = 1;
        const DFID_NAME: u8 = 2;
        const DFID: u8 = 3;
        const OLD_DFID_NAME: u8 = 10;
        const NEW_DFID_NAME: u8 = 12;
        let Some((handle, name)) = split_handle(record) else {
            return;
        };
        let end = name.iter().position(|&byte| byte == 0);
        let name = match &name[..end.unwrap_or(0)] {
            b"." => b"",
            name => name,
        };
        let entry = Entry { dir: handle, name };
        match record[0] {
            FID => self.target = Some(handle),
            DFID_NAME | DFID | OLD_DFID_NAME => self.entry = Some(entry),
            NEW_DFID_NAME => self.to = Some(entry),
            _ => {}
        }
    }
}

/// Head of a record: kind, padding, and the length of all of it.
const RECORD_HEAD: usize = 4;

fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = records.first_chunk::<RECORD_HEAD>()?;
    let length = usize::from(u16::from_ne_bytes([head[2], head[3]]));
    records.split_at_checked(length.max(RECORD_HEAD))
}

/// The handle in a record, and what follows it.
fn split_handle(record: &[u8]) -> Option<(&Handle, &[u8])> {
    let body = record.get(RECORD_HEAD..)?;
    let length = number(body, FSID)? as usize;
    body.split_at_checked(length.checked_add(FSID + HANDLE_HEAD)?)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
