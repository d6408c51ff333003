//! The watches behind a command line: operands, and with `-r` all directories below them.
//!
//! A directory is watched before it is read, so that nothing put into it meanwhile is missed. Reading
//! makes events of its own (OPEN, ACCESS, CLOSE), and those of directories that are being set up must not
//! be printed: until all of a subtree has been read, its watches ask only for the others.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{ReadFlags, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::events::ONESHOT;
use crate::inotify::{Event, Inotify};
use crate::names::{Names, NodeId};

/// What is asked of the recursion.
pub(crate) struct Asked {
    /// Events to be told, as inotify bits; others that it needs are added.
    pub(crate) events: u32,
    pub(crate) recursive: bool,
    /// Whether directories that appear later are watched too.
    pub(crate) follow: bool,
    /// Watch a symlink operand itself.
    pub(crate) no_dereference: bool,
    pub(crate) excluded: BTreeSet<Vec<u8>>,
}

/// Watches with the paths to print for them.
pub(crate) struct Recursion {
    inotify: Arc<Inotify>,
    asked: Asked,
    /// Operands are children of the root, named as they were given.
    names: Names,
    /// Watches whose path is printed without a slash at its end.
    plain: BTreeSet<NodeId>,
    departures: Vec<Departure>,
    /// Entries that were told because a reading found them, and whose CREATE may still be queued.
    told: BTreeSet<(NodeId, Vec<u8>)>,
    told_last: Instant,
}

struct Departure {
    cookie: u32,
    node: NodeId,
    since: Instant,
}

/// What was found in a directory that appeared, which may have no event of its own.
pub(crate) struct Found {
    /// The directory's watch.
    pub(crate) watch: i32,
    /// The directory's path, with its slash.
    pub(crate) watched: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) is_dir: bool,
    pub(crate) is_file: bool,
}

/// A watch that could not be had.
#[derive(Debug)]
pub(crate) struct Unwatched {
    pub(crate) path: Vec<u8>,
    pub(crate) error: Errno,
}

/// Events that our own reading of directories causes.
const NOISE: u32 =
    ReadFlags::OPEN.bits() | ReadFlags::ACCESS.bits() | ReadFlags::CLOSE_NOWRITE.bits();

/// Events that keep the paths right.
const STRUCTURE: u32 =
    ReadFlags::CREATE.bits() | ReadFlags::MOVED_FROM.bits() | ReadFlags::MOVED_TO.bits();

/// How long the first half of a rename waits for the second.
const PAIR_WAIT: Duration = Duration::from_millis(5);

/// How long an event may be under way that was queued before a reading ended.
const TOLD_WAIT: Duration = Duration::from_millis(200);

impl Recursion {
    pub(crate) fn new(inotify: Arc<Inotify>, asked: Asked) -> Recursion {
        Recursion {
            inotify,
            asked,
            names: Names::new(),
            plain: BTreeSet::new(),
            departures: Vec::new(),
            told: BTreeSet::new(),
            told_last: Instant::now(),
        }
    }

    /// Watches an operand, and with `-r` what is below it.
    pub(crate) fn add_operand(&mut self, operand: &[u8]) -> Result<(), Unwatched> {
        let path = Path::new(OsStr::from_bytes(operand));
        let failed = |error| Unwatched {
            path: operand.to_vec(),
            error,
        };
        let flags = if self.asked.no_dereference {
            AtFlags::SYMLINK_NOFOLLOW
        } else {
            AtFlags::empty()
        };
        let stat = rustix::fs::statat(rustix::fs::CWD, path, flags).map_err(failed)?;
        let link = rustix::fs::lstat(path).map_err(failed)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let is_link = FileType::from_raw_mode(link.st_mode).is_symlink();
        let recursive = is_dir && self.asked.recursive;
        let slash = is_dir && (recursive || !is_link || operand.ends_with(b"/"));
        let name = if slash {
            operand.strip_suffix(b"/").unwrap_or(operand)
        } else {
            operand
        };
        if self.names.child(Names::ROOT, name).is_some() {
            return Ok(());
        }
        let quiet = if recursive { NOISE } else { 0 };
        let watch = self.inotify.add(path, self.flags(quiet)).map_err(failed)?;
        if self.names.by_watch(watch).is_some() {
            // The same object by another name: the first is printed.
            return Ok(());
        }
        let node = self.names.insert(Names::ROOT, name);
        self.names.set_watch(node, Some(watch));
        if !slash {
            self.plain.insert(node);
        }
        if recursive {
            let read = self.read_below(node, None);
            // The operand is named, not the directory that failed (watch.md 3).
            read.map_err(|unwatched| failed(unwatched.error))?;
            self.complete(node).map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.names.watched()
    }

    /// The path to print for an event's watch; `None` for a watch that was removed.
    pub(crate) fn watched(&self, event: Event<'_>) -> Option<(NodeId, Vec<u8>)> {
        let node = self.names.by_watch(event.watch)?;
        Some((node, self.printed(node)?))
    }

    /// All watches with their paths as inotify-tools orders them: what is below a directory first.
    pub(crate) fn in_order(&self) -> Vec<(i32, Vec<u8>)> {
        let mut order = Vec::new();
        self.add_in_order(Names::ROOT, &mut order);
        order
    }

    /// Whether an event only repeats what has been told when its directory was read.
    pub(crate) fn was_told(&mut self, node: NodeId, event: Event<'_>) -> bool {
        if self.told.is_empty() {
            return false;
        }
        let entry = (node, event.name.to_vec());
        if event
            .mask
            .intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM)
        {
            self.told.remove(&entry);
        }
        event.mask.contains(ReadFlags::CREATE) && self.told.remove(&entry)
    }

    /// Keeps the watches right after an event of `node` has been printed. What a new directory held when
    /// it was read comes back in `found`.
    pub(crate) fn follow(
        &mut self,
        node: NodeId,
        event: Event<'_>,
        now: Instant,
        found: &mut Vec<Found>,
    ) -> Result<(), Unwatched> {
        if event.mask.contains(ReadFlags::IGNORED) {
            self.names.set_watch(node, None);
            self.departures.retain(|departure| departure.node != node);
            self.forget(node);
            return Ok(());
        }
        let is_dir = event.mask.contains(ReadFlags::ISDIR);
        if !self.asked.follow || !is_dir || event.name.is_empty() {
            return Ok(());
        }
        let child = self.names.child(node, event.name);
        if event.mask.contains(ReadFlags::MOVED_FROM) {
            self.departures.extend(child.map(|node| Departure {
                cookie: event.cookie,
                node,
                since: now,
            }));
        } else if event.mask.contains(ReadFlags::MOVED_TO) {
            let same = |departure: &Departure| departure.cookie == event.cookie;
            if let Some(half) = self.departures.iter().position(same) {
                let departure = self.departures.remove(half);
                self.free_place(node, event.name, Some(departure.node));
                self.names.detach(departure.node);
                self.names.attach(departure.node, node, event.name);
                return Ok(());
            }
            return self.appear(node, event.name, found);
        } else if event.mask.contains(ReadFlags::CREATE) {
            return self.appear(node, event.name, found);
        }
        Ok(())
    }

    /// Ends the watches of directories whose rename had no second half, and forgets what was told when
    /// no event about it can be under way any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.told_last + TOLD_WAIT <= now {
            self.told.clear();
        }
        let expired = |departure: &mut Departure| departure.since + PAIR_WAIT <= now;
        let expired: Vec<Departure> = self.departures.extract_if(.., expired).collect();
        for departure in expired {
            self.forget(departure.node);
        }
    }

    /// When [`Recursion::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let halves = self
            .departures
            .iter()
            .map(|departure| departure.since + PAIR_WAIT);
        let told = (!self.told.is_empty()).then_some(self.told_last + TOLD_WAIT);
        halves.chain(told).min()
    }

    /// A directory appeared: watches it and all below it.
    fn appear(
        &mut self,
        dir: NodeId,
        name: &[u8],
        found: &mut Vec<Found>,
    ) -> Result<(), Unwatched> {
        let Some(top) = self.watch_entry(dir, name)? else {
            return Ok(());
        };
        self.read_below(top, Some(found))?;
        // Fails only if the directory is gone already.
        let _ = self.complete(top);
        Ok(())
    }

    /// Watches a directory without the noise; `None` if it is gone, unreadable, excluded or known.
    fn watch_entry(&mut self, dir: NodeId, name: &[u8]) -> Result<Option<NodeId>, Unwatched> {
        let Some(mut path) = self.printed(dir) else {
            return Ok(None);
        };
        path.extend_from_slice(name);
        if self.asked.excluded.contains(&path) {
            return Ok(None);
        }
        let flags = self.flags(NOISE) | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let watch = match self.inotify.add(Path::new(OsStr::from_bytes(&path)), flags) {
            Ok(watch) => watch,
            Err(Errno::ACCESS | Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            Err(error) => {
                path.push(b'/');
                return Err(Unwatched { path, error });
            }
        };
        if let Some(known) = self.names.by_watch(watch) {
            // It was moved here, and the events that say so are still queued.
            if self.names.child(dir, name) != Some(known) && !self.names.is_within(dir, known) {
                self.free_place(dir, name, Some(known));
                self.names.detach(known);
                self.names.attach(known, dir, name);
            }
            let _ = self.complete(known);
            return Ok(None);
        }
        self.free_place(dir, name, None);
        let node = self.names.insert(dir, name);
        self.names.set_watch(node, Some(watch));
        Ok(Some(node))
    }

    /// Watches all directories below one that is watched; tells what is in them, if asked.
    fn read_below(
        &mut self,
        top: NodeId,
        mut found: Option<&mut Vec<Found>>,
    ) -> Result<(), Unwatched> {
        let mut rest = vec![top];
        while let Some(dir) = rest.pop() {
            let (Some(watch), Some(watched)) = (self.names.watch(dir), self.printed(dir)) else {
                continue;
            };
            for (name, kind) in list(Path::new(OsStr::from_bytes(&watched))) {
                if kind.is_dir() {
                    rest.extend(self.watch_entry(dir, &name)?);
                }
                if let Some(found) = &mut found {
                    self.told.insert((dir, name.clone()));
                    found.push(Found {
                        watch,
                        watched: watched.clone(),
                        name,
                        is_dir: kind.is_dir(),
                        is_file: kind.is_file(),
                    });
                }
            }
        }
        self.told_last = Instant::now();
        Ok(())
    }

    /// Asks for all events of a subtree, now that it has been read.
    fn complete(&mut self, top: NodeId) -> Result<(), Errno> {
        if self.asked.events & NOISE == 0 {
            return Ok(());
        }
        let mut rest = vec![top];
        while let Some(node) = rest.pop() {
            rest.extend(self.names.children(node));
            let Some(path) = self.names.path(node) else {
                continue;
            };
            let is_operand = self
                .names
                .place(node)
                .is_some_and(|(dir, _)| dir == Names::ROOT);
            let mut flags = self.flags(0);
            if !is_operand {
                flags |= WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
            }
            let path = if path.as_os_str().is_empty() {
                PathBuf::from("/")
            } else {
                path
            };
            match self.inotify.add(&path, flags) {
                Ok(watch) if self.names.watch(node) == Some(watch) => {}
                // Something else has the name by now; its own event is queued.
                Ok(stranger) if self.names.by_watch(stranger).is_none() => {
                    self.inotify.remove(stranger);
                }
                Err(error) if node == top => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn add_in_order(&self, node: NodeId, order: &mut Vec<(i32, Vec<u8>)>) {
        let mut children: Vec<NodeId> = self.names.children(node).collect();
        // The newest child is the first of the list.
        children.reverse();
        for child in children {
            self.add_in_order(child, order);
        }
        if let (Some(watch), Some(path)) = (self.names.watch(node), self.printed(node)) {
            order.push((watch, path));
        }
    }

    /// Makes a place free for another directory.
    fn free_place(&mut self, dir: NodeId, name: &[u8], comes: Option<NodeId>) {
        let Some(present) = self.names.child(dir, name) else {
            return;
        };
        let leaves = |departure: &Departure| departure.node == present;
        if Some(present) == comes {
            return;
        }
        if self.departures.iter().any(leaves) {
            self.names.detach(present);
        } else {
            self.forget(present);
        }
    }

    fn forget(&mut self, node: NodeId) {
        let Recursion {
            names,
            inotify,
            plain,
            ..
        } = self;
        names.remove(node, |id, watch| {
            if let Some(watch) = watch {
                inotify.remove(watch);
            }
            plain.remove(&id);
        });
    }

    fn flags(&self, without: u32) -> WatchFlags {
        let mut bits = self.asked.events & !without;
        if self.asked.follow {
            bits |= STRUCTURE;
        }
        let mut flags = WatchFlags::from_bits_retain(bits & !ONESHOT);
        if self.asked.events & ONESHOT != 0 && without == 0 {
            flags |= WatchFlags::ONESHOT;
        }
        if self.asked.no_dereference {
            flags |= WatchFlags::DONT_FOLLOW;
        }
        if flags.is_empty() {
            // The kernel wants at least one; this one is told anyhow.
            flags = WatchFlags::DELETE_SELF;
        }
        // To replace a mask, the kernel clears it first, and drops what happens at that moment.
        flags | WatchFlags::MASK_ADD
    }

    fn printed(&self, node: NodeId) -> Option<Vec<u8>> {
        let mut path = self.names.path(node)?.into_os_string();
        if !self.plain.contains(&node) {
            path.push("/");
        }
        Some(path.as_bytes().to_vec())
    }
}

/// A directory's entries; none if it cannot be read.
fn list(path: &Path) -> Vec<(Vec<u8>, FileType)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(dir) = rustix::fs::open(path, flags, Mode::empty()) else {
        return Vec::new();
    };
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut reader = RawDir::new(&dir, &mut buffer);
    let mut entries = Vec::new();
    while let Some(Ok(entry)) = reader.next() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown
            && let Ok(stat) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        entries.push((name.to_bytes().to_vec(), kind));
    }
    entries
}
