//! The marks behind a command line that uses fanotify: the filesystems of the operands.
//!
//! Without `-S` only what is at or below an operand is told. Paths are absolute, as the original's are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::recursion::Unwatched;
use crate::fanotify::{self, Entry, Event, Fanotify, Handle, mask};
use crate::mounts::Mounts;
use crate::places::Places;

/// What is asked of the marks.
pub(crate) struct Asked {
    /// Events to be told, as inotify bits.
    pub(crate) events: u32,
    pub(crate) recursive: bool,
    /// Tell everything on the filesystem (`-S`).
    pub(crate) filesystem: bool,
    pub(crate) no_dereference: bool,
    pub(crate) excluded: BTreeSet<Vec<u8>>,
}

/// Marks with what lies where.
pub(crate) struct Marks {
    fanotify: Arc<Fanotify>,
    asked: Asked,
    places: Places,
    operands: Vec<Operand>,
    /// Absolute.
    excluded: Vec<PathBuf>,
}

struct Operand {
    given: Vec<u8>,
    path: PathBuf,
    is_dir: bool,
    handle: Box<Handle>,
}

/// One event to be told.
pub(crate) struct Told {
    /// The directory with its slash.
    pub(crate) watched: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) mask: u32,
}

/// What a mark on a filesystem can ask for, of the twelve that inotify has.
const POSSIBLE: u32 = 0xfff;

const MOVED_FROM: u32 = 0x40;
const MOVED_TO: u32 = 0x80;

impl Marks {
    pub(crate) fn new(fanotify: Arc<Fanotify>, asked: Asked) -> Marks {
        let path = |path: &Vec<u8>| {
            let path = Path::new(OsStr::from_bytes(path));
            std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
        };
        let excluded = asked.excluded.iter().map(path).collect();
        Marks {
            fanotify,
            asked,
            places: Places::new(),
            operands: Vec::new(),
            excluded,
        }
    }

    /// Marks the filesystem that an operand lies on.
    pub(crate) fn add_operand(&mut self, operand: &[u8]) -> Result<(), Unwatched> {
        self.add(operand).map_err(|error| Unwatched {
            path: operand.to_vec(),
            error,
        })
    }

    /// How many operands there are.
    pub(crate) fn len(&self) -> usize {
        self.operands.len()
    }

    fn add(&mut self, operand: &[u8]) -> Result<(), Errno> {
        let given = Path::new(OsStr::from_bytes(operand));
        let follow = if self.asked.no_dereference {
            OFlags::NOFOLLOW
        } else {
            OFlags::empty()
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC | follow;
        let fd = rustix::fs::open(given, flags, Mode::empty())?;
        let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let path = real_path(given, self.asked.no_dereference)?;
        let marked = if is_dir {
            &path
        } else {
            path.parent().unwrap_or(&path)
        };
        let structure = mask::CREATE | mask::DELETE | mask::RENAME | mask::DIRECTORY;
        // Both halves of a rename come as one event.
        let possible = POSSIBLE & !(MOVED_FROM | MOVED_TO);
        if self.asked.events & POSSIBLE == 0 {
            return Err(Errno::INVAL);
        }
        let events = self.asked.events & possible | structure;
        self.fanotify.mark(marked, events)?;
        let (handle, mount) = fanotify::handle_at(fd.as_fd(), c"")?;
        self.add_anchor(marked, mount)?;
        self.operands.push(Operand {
            given: operand.to_vec(),
            path,
            is_dir,
            handle,
        });
        Ok(())
    }

    /// Makes paths on a mount known, from its top on, for what is marked is not only the operand.
    fn add_anchor(&mut self, marked: &Path, mount: i32) -> Result<(), Errno> {
        let mounts = Mounts::open().and_then(|mut mounts| mounts.read());
        let mounts = mounts.unwrap_or_default();
        let top = mounts.into_iter().find(|other| other.id == mount);
        let top = top.map_or_else(|| marked.to_owned(), |top| top.at);
        if self.places.has_anchor(mount) {
            return Ok(());
        }
        let found = self.places.add_anchor(&top, &top)?;
        if found != mount {
            // The top is hidden by another mount.
            self.places.remove_anchor(found);
            self.places.add_anchor(marked, marked)?;
        }
        Ok(())
    }

    /// What is to be told of an event.
    pub(crate) fn tell(&mut self, event: Event<'_>) -> Vec<Told> {
        let is_dir = event.mask & mask::DIRECTORY != 0;
        let own = event.pid.cast_unsigned() == std::process::id();
        let mut told = Vec::new();
        match (event.entry, event.to) {
            (Some(from), Some(to)) => {
                let kind = event.mask & mask::DIRECTORY;
                self.add_told(from, MOVED_FROM | kind, &mut told);
                self.add_told(to, MOVED_TO | kind, &mut told);
            }
            (Some(entry), None) => {
                // The kernel joins what happened to one object; its beginning and its end are told apart.
                let kind = event.mask & mask::DIRECTORY;
                let (begin, end) = (event.mask & mask::CREATE, event.mask & mask::DELETE);
                let between = event.mask & !(begin | end | kind);
                for part in [begin, between, end] {
                    if part != 0 {
                        self.add_told(entry, part | kind, &mut told);
                    }
                }
            }
            (None, _) => told.extend(self.tell_operand(event)),
        }
        if let (true, Some(target), Some(entry)) = (is_dir, event.target, event.to.or(event.entry))
        {
            if event.mask & (mask::CREATE | mask::RENAME) != 0 {
                self.places.settle(target, entry.dir, entry.name, false);
            } else if event.mask & mask::DELETE != 0 {
                self.places.forget(target);
            }
        }
        told.retain(|told| !own && told.mask & self.asked.events & POSSIBLE != 0);
        told
    }

    /// Renames have been missed.
    pub(crate) fn overflow(&mut self) {
        self.places.forget_all();
    }

    /// Nothing is to be done for now.
    pub(crate) fn rest(&mut self) {
        self.places.rest();
    }

    fn add_told(&mut self, entry: Entry<'_>, mask: u32, told: &mut Vec<Told>) {
        // A directory that is gone and was never heard of before is left out: there is no path to print.
        let dirs = self.places.paths(entry.dir).unwrap_or_default().to_vec();
        let name = OsStr::from_bytes(entry.name);
        for dir in dirs {
            if !self.asked.filesystem && !self.concerns(&dir, name) {
                continue;
            }
            let mut watched = dir.into_os_string().into_vec();
            if !watched.ends_with(b"/") {
                watched.push(b'/');
            }
            told.push(Told {
                watched,
                name: entry.name.to_vec(),
                mask,
            });
        }
    }

    /// Whether an entry is what an operand asks for.
    fn concerns(&self, dir: &Path, name: &OsStr) -> bool {
        if self
            .excluded
            .iter()
            .any(|excluded| dir.starts_with(excluded))
        {
            return false;
        }
        self.operands.iter().any(|operand| {
            if !operand.is_dir {
                dir.join(name) == operand.path
            } else if self.asked.recursive {
                dir.starts_with(&operand.path)
            } else {
                dir == operand.path
            }
        })
    }

    /// What happens to an operand itself, such as its end, is told without its directory.
    fn tell_operand(&self, event: Event<'_>) -> Option<Told> {
        let is_operand =
            |operand: &&Operand| !operand.is_dir && Some(&*operand.handle) == event.target;
        let operand = self.operands.iter().find(is_operand)?;
        Some(Told {
            watched: operand.given.clone(),
            name: Vec::new(),
            mask: event.mask,
        })
    }
}

/// The absolute path without symlinks; of a symlink itself, if that is what is meant.
fn real_path(given: &Path, no_dereference: bool) -> Result<PathBuf, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let is_link = given.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    match (given.parent(), given.file_name()) {
        (Some(parent), Some(name)) if no_dereference && is_link => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Ok(std::fs::canonicalize(parent).map_err(errno)?.join(name))
        }
        _ => std::fs::canonicalize(given).map_err(errno),
    }
}
