//! Where the directories are that fanotify names by handle.
//!
//! What is known of a directory is the handle of the one above and its name there, so that a rename changes
//! one entry whatever is below. Directories are looked up on disk when their first event is read, which may be
//! long after it happened, and again when they have been renamed: what an event says of a rename is
//! not enough, for the kernel joins it with an equal one that is still queued, and after "a to b",
//! "b to a", "a to b" the last event read says "b to a". Whatever was renamed after, or while,
//! it was looked up has an event that is still to be read, and its new place is looked at as a whole then.
//!
//! So the table is only a memory: to forget all of it is always right. What it is needed for are
//! directories that are gone by the time their events are read.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::fanotify::{self, Entry, Handle};

/// The table.
pub(crate) struct Places {
    anchors: Vec<Anchor>,
    known: HashMap<Box<Handle>, Place>,
    /// The directory asked for last: events come in runs.
    last: Option<(Box<Handle>, Vec<PathBuf>)>,
}

/// A directory whose path is given: the root, and every mount below it.
struct Anchor {
    handle: Box<Handle>,
    /// The mount whose directory it is, or through which it is seen.
    mount: i32,
    /// Where to open it.
    absolute: PathBuf,
    /// What its path begins with where it is reported.
    reported: PathBuf,
    /// Open while a burst of events is handled. Not longer, for it would keep the filesystem mounted.
    open: Option<OwnedFd>,
}

enum Place {
    Below {
        parent: Box<Handle>,
        name: Box<[u8]>,
        /// Only an event says so: to be looked up, and believed if it is gone.
        hearsay: bool,
    },
    /// Nothing above it can be seen: the top of a filesystem, or of what is mounted of it.
    Top,
}

/// Why a directory has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unplaced {
    /// It has been deleted. The event that says so names it, or what it was in, in a directory that is
    /// known or still there.
    Gone,
    /// The kernel would not tell.
    Lost,
}

/// Directories remembered at most, some 150 bytes each.
const MOST: usize = 1 << 18;

/// How often a directory is opened that is just being removed; 15 times were enough on a busy machine.
const TRIES: usize = 1000;

/// No path is so deep: what is deeper is a circle, made of places of different times.
const DEEPEST: usize = 1 << 14;

impl Places {
    pub(crate) fn new() -> Places {
        Places {
            anchors: Vec::new(),
            known: HashMap::new(),
            last: None,
        }
    }

    /// Adds a directory that is reported as `reported`. The first one is the root.
    pub(crate) fn add_anchor(&mut self, absolute: &Path, reported: &Path) -> Result<i32, Errno> {
        let fd = open_directory(absolute)?;
        let (handle, mount) = fanotify::handle_at(fd.as_fd(), c"")?;
        // Finds out now whether handles can be used at all.
        fanotify::open_handle(fd.as_fd(), &handle)?;
        self.anchors.push(Anchor {
            handle,
            mount,
            absolute: absolute.to_owned(),
            reported: reported.to_owned(),
            open: None,
        });
        self.last = None;
        Ok(mount)
    }

    /// Whether something on this mount is an anchor.
    pub(crate) fn has_anchor(&self, mount: i32) -> bool {
        self.anchors.iter().any(|anchor| anchor.mount == mount)
    }

    /// Forgets an anchor; returns what it was reported as.
    pub(crate) fn remove_anchor(&mut self, mount: i32) -> Option<PathBuf> {
        let at = self
            .anchors
            .iter()
            .position(|anchor| anchor.mount == mount)?;
        self.forget_all();
        Some(self.anchors.remove(at).reported)
    }

    /// Whether this directory is the root.
    pub(crate) fn is_root(&self, dir: &Handle) -> bool {
        let root = self.anchors.first();
        root.is_some_and(|anchor| *anchor.handle == *dir)
    }

    /// Whether this is the root's own name in the directory above it, as far as that is known.
    pub(crate) fn is_at_root(&self, entry: Entry<'_>) -> bool {
        let place = self
            .anchors
            .first()
            .and_then(|root| self.known.get(&root.handle));
        match place {
            Some(Place::Below { parent, name, .. }) => {
                **parent == *entry.dir && **name == *entry.name
            }
            Some(Place::Top) | None => false,
        }
    }

    /// Whether the root is still to be found where it was.
    pub(crate) fn root_is_in_place(&mut self) -> bool {
        self.anchors.first_mut().is_some_and(Anchor::find)
    }

    /// How many directories are remembered.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The paths of a directory: none if it is outside, several if it is mounted several times.
    pub(crate) fn paths(&mut self, dir: &Handle) -> Result<&[PathBuf], Unplaced> {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| **last == *dir);
        if !is_last {
            let paths = self.climb(dir).or_else(|unplaced| match unplaced {
                Unplaced::Gone => Err(Unplaced::Gone),
                Unplaced::Lost => {
                    self.forget_all();
                    self.climb(dir)
                }
            })?;
            self.last = Some((dir.into(), paths));
        }
        let last = self.last.as_ref();
        Ok(last.map_or(&[], |(_, paths)| paths))
    }

    /// A directory was made or moved: this is its place now. One that is `outside` is not worth
    /// remembering, unless it was known.
    pub(crate) fn settle(&mut self, dir: &Handle, parent: &Handle, name: &[u8], outside: bool) {
        if outside && !self.known.contains_key(dir) {
            return;
        }
        self.last = None;
        self.learn(
            dir,
            Place::Below {
                parent: parent.into(),
                name: name.into(),
                hearsay: true,
            },
        );
    }

    /// A directory was deleted.
    pub(crate) fn forget(&mut self, dir: &Handle) {
        self.known.remove(dir);
        if self.last.as_ref().is_some_and(|(last, _)| **last == *dir) {
            self.last = None;
        }
    }

    /// Renames have been missed.
    pub(crate) fn forget_all(&mut self) {
        self.known.clear();
        self.last = None;
    }

    /// Nothing is to be done for now.
    pub(crate) fn rest(&mut self) {
        for anchor in &mut self.anchors {
            anchor.open = None;
        }
    }

    /// The path, now, of an object that was reached by no name; `None` if it has none here.
    pub(crate) fn path_of_object(&mut self, object: &Handle) -> Result<Option<PathBuf>, Unplaced> {
        let (fd, anchor) = self.open(object)?;
        let path = link(&fd)?;
        let Ok(below) = path.strip_prefix(&self.anchors[anchor].absolute) else {
            return Ok(None);
        };
        let reported = &self.anchors[anchor].reported;
        Ok(Some(reported.join(below)))
    }

    fn climb(&mut self, dir: &Handle) -> Result<Vec<PathBuf>, Unplaced> {
        let mut paths = Vec::new();
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut at: Box<Handle> = dir.into();
        loop {
            for anchor in self.anchors.iter().filter(|anchor| anchor.handle == at) {
                paths.push(anchor.path(&names));
            }
            let heard = match self.known.get_mut(&at) {
                Some(Place::Below { hearsay, .. }) => Some(std::mem::take(hearsay)),
                Some(Place::Top) => Some(false),
                None => None,
            };
            if heard != Some(false) {
                match self.look_up(&at) {
                    Ok(place) => self.learn(&at, place),
                    Err(Unplaced::Gone) if heard.is_some() => {}
                    // What is above the root does not matter.
                    Err(_) if !paths.is_empty() => return Ok(paths),
                    Err(unplaced) => return Err(unplaced),
                }
            }
            match &self.known[&at] {
                Place::Top => return Ok(paths),
                Place::Below { .. } if names.len() >= DEEPEST => return Err(Unplaced::Lost),
                Place::Below { parent, name, .. } => {
                    names.push(name.clone());
                    at = parent.clone();
                }
            }
        }
    }

    fn learn(&mut self, dir: &Handle, place: Place) {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(dir.into(), place);
    }

    /// Looks on disk where a directory is.
    fn look_up(&mut self, dir: &Handle) -> Result<Place, Unplaced> {
        let mut unplaced = None;
        for index in 0..self.anchors.len() {
            let anchor = &mut self.anchors[index];
            if !anchor.may_open(dir) {
                continue;
            }
            match anchor.look_up(dir) {
                Ok(Place::Top) => {}
                Ok(place) => return Ok(place),
                Err(error) => unplaced = Some(error),
            }
        }
        unplaced.map_or(Ok(Place::Top), Err)
    }

    fn open(&mut self, object: &Handle) -> Result<(OwnedFd, usize), Unplaced> {
        let mut unplaced = Unplaced::Lost;
        for (index, anchor) in self.anchors.iter_mut().enumerate() {
            if anchor.may_open(object) {
                match anchor.open(object) {
                    Ok(fd) => return Ok((fd, index)),
                    Err(error) => unplaced = error,
                }
            }
        }
        Err(unplaced)
    }
}

impl Anchor {
    fn path(&self, names: &[Box<[u8]>]) -> PathBuf {
        let mut path = self.reported.as_os_str().as_bytes().to_vec();
        for name in names.iter().rev() {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        OsString::from_vec(path).into()
    }

    fn may_open(&self, object: &Handle) -> bool {
        fanotify::filesystem(object) == fanotify::filesystem(&self.handle)
    }

    /// Opens the anchor itself; false if something else is there.
    fn find(&mut self) -> bool {
        if self.open.is_some() {
            return true;
        }
        let Ok(fd) = open_directory(&self.absolute) else {
            return false;
        };
        let found = fanotify::handle_at(fd.as_fd(), c"");
        let same = found.is_ok_and(|(handle, _)| handle == self.handle);
        self.open = same.then_some(fd);
        same
    }

    fn open(&mut self, object: &Handle) -> Result<OwnedFd, Unplaced> {
        if !self.find() {
            return Err(Unplaced::Lost);
        }
        let mount = self.open.as_ref().ok_or(Unplaced::Lost)?;
        let mut opened = fanotify::open_handle(mount.as_fd(), object);
        for _ in 0..TRIES {
            // What is being removed is out of memory for a moment, and stale then (seen with Linux 6.18 on ext4).
            let Err(Errno::NOMEM) = opened else { break };
            std::thread::yield_now();
            opened = fanotify::open_handle(mount.as_fd(), object);
        }
        opened.map_err(|error| match error {
            Errno::STALE => Unplaced::Gone,
            _ => Unplaced::Lost,
        })
    }

    fn look_up(&mut self, dir: &Handle) -> Result<Place, Unplaced> {
        let fd = self.open(dir)?;
        match self.place_of(dir, &fd) {
            // The kernel's answers about what is just being removed are of many kinds.
            Err(Unplaced::Lost) if is_removed(&fd) => Err(Unplaced::Gone),
            found => found,
        }
    }

    fn place_of(&self, dir: &Handle, fd: &OwnedFd) -> Result<Place, Unplaced> {
        let (parent, mount) = match fanotify::handle_at(fd.as_fd(), c"..") {
            Ok(found) => found,
            // Not within what is mounted here.
            Err(Errno::NOENT) => return Ok(Place::Top),
            Err(_) => return Err(Unplaced::Lost),
        };
        if mount != self.mount || *parent == *dir {
            return Ok(Place::Top);
        }
        let path = link(fd)?;
        if path.as_os_str().as_bytes().ends_with(b" (deleted)") && is_removed(fd) {
            return Err(Unplaced::Gone);
        }
        let name = path.file_name().ok_or(Unplaced::Lost)?;
        Ok(Place::Below {
            parent,
            name: name.as_bytes().into(),
            hearsay: false,
        })
    }
}

/// The root may be a symlink: it is the operator's. Nothing but a place is needed, but a place (`O_PATH`)
/// does not open handles before Linux 6.13.
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
}

/// Whether an open directory has no name any more.
fn is_removed(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Where the kernel says that an open object is.
fn link(fd: &OwnedFd) -> Result<PathBuf, Unplaced> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new()).map_err(|_| Unplaced::Lost)?;
    Ok(OsString::from_vec(path.into_bytes()).into())
}
