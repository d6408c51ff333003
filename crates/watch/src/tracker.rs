//! Events in, changes out: keeps the tree of watched directories equal to the tree on disk.
//!
//! An event names a watch and an entry. By the time it is read, the paths it is about may lead elsewhere:
//! between the event and our use of a path anything can have been renamed. Three rules keep the model
//! right without ever stopping the world:
//!
//! 1. *Order.* Events move nodes in the order in which things happened, so a path built from the tree is
//!    the one the directory has after the events read so far.
//! 2. *Identity.* A path is only used to add a watch, and the descriptor that comes back belongs to the
//!    directory found, not to the path. If it is known at another place, the directory was moved before we
//!    read the events that say so: its node moves now, and the place it left is looked at again.
//! 3. *Certainty.* What a path led to counts only if the path of the directory above still led to *that*
//!    directory afterwards. Otherwise somebody is renaming there, events about it are in the queue, and the
//!    directory is read once more when they have been seen (`unsettled`).
//!
//! Every change of who lives at a place makes an event for that place, so after the last event the model
//! is the truth. When events are dropped, the whole tree is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;

use self::mounted::Mounted;
use crate::change::{Change, Notice, Reason, Touch};
use crate::inotify::{self, Event, Events, Inotify};
use crate::mounts::Mounts;
use crate::names::{Names, NodeId};
use crate::polled::{Polled, Why};
use crate::queue::{Queue, Taken};
use crate::watcher::Prune;

mod mounted;
mod moves;
mod poll;
#[cfg(test)]
mod tests;
mod walk;

/// How long the first half of a rename waits for the second. The kernel queues both within microseconds, but a read may
/// fall in between, and the next one comes after a pause ([`crate::queue::LONG_PAUSE`]).
const PAIR_WAIT: Duration = Duration::from_millis(25);

/// First pause before an unsettled directory is tried again; it doubles each time.
const SETTLE: Duration = Duration::from_millis(2);
/// After this many tries (2 s together) a directory counts as lost.
const SETTLE_TRIES: u32 = 10;

/// A directory that cannot be placed for so long keeps nobody waiting who wants to know what has happened.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Changes sent at once at most, so that a consumer can start on a burst before it ends.
const BATCH: usize = 1024;

/// The state machine. It does no waiting of its own but in [`Tracker::run`].
pub(crate) struct Tracker {
    /// Absolute path of the root.
    root: PathBuf,
    /// `None` when everything is polled.
    inotify: Option<Arc<Inotify>>,
    mounted: Option<Mounted>,
    prune: Option<Prune>,
    /// Watches we may use, when fewer than the kernel allows.
    max_watches: Option<u64>,
    /// Whether the first walk ends when no watch is left.
    gives_up: bool,
    sink: Sender<Vec<Change>>,
    stop: Arc<AtomicBool>,
    directories: Arc<AtomicU64>,

    names: Names,
    polled: Polled,
    /// First halves of renames that wait for the second.
    departures: Vec<Departure>,
    /// Directories whose path did not lead to them when they were read.
    unsettled: BTreeMap<NodeId, Retry>,
    /// Directories whose filesystem was unmounted and whose watch ends with the next event.
    unmounted: BTreeSet<NodeId>,
    /// Places that a directory has left without an event so far.
    vacated: Vec<Vacated>,
    /// Numbers of [`Change::CaughtUp`] that are to be told, and since when.
    asked: Vec<(u64, Instant)>,
    out: Vec<Change>,
    /// Whether the operator knows that the limit is reached.
    limit_told: bool,
    ended: bool,
}

/// What a [`Tracker`] is made of.
pub(crate) struct Setup {
    pub(crate) root: PathBuf,
    pub(crate) inotify: Option<Arc<Inotify>>,
    /// To be told of mounts below the root.
    pub(crate) mounts: Option<Mounts>,
    pub(crate) prune: Option<Prune>,
    pub(crate) max_watches: Option<u64>,
    /// Whether a tree beyond the limit is of no use ([`Tracker::beyond_limit`]).
    pub(crate) gives_up: bool,
    pub(crate) poll_every: Duration,
    pub(crate) sink: Sender<Vec<Change>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) directories: Arc<AtomicU64>,
}

struct Departure {
    cookie: u32,
    dir: NodeId,
    name: Vec<u8>,
    from: PathBuf,
    is_dir: bool,
    /// The directory, out of its place; `None` for files and for what had no node.
    node: Option<NodeId>,
    /// Something happened below meanwhile and had no path to be reported under.
    stirred: bool,
    since: Instant,
}

struct Retry {
    tries: u32,
    at: Instant,
}

struct Vacated {
    dir: NodeId,
    name: Vec<u8>,
    /// The directory that was here and was found elsewhere.
    by: NodeId,
}

impl Tracker {
    /// Watches the whole tree. What changes from now on is reported.
    pub(crate) fn start(setup: Setup) -> Result<Tracker, Errno> {
        let mut tracker = Tracker {
            mounted: setup
                .mounts
                .and_then(|mounts| Mounted::below(&setup.root, mounts)),
            root: setup.root,
            inotify: setup.inotify,
            prune: setup.prune,
            max_watches: setup.max_watches,
            gives_up: setup.gives_up,
            sink: setup.sink,
            stop: setup.stop,
            directories: setup.directories,
            names: Names::new(),
            polled: Polled::new(setup.poll_every),
            departures: Vec::new(),
            unsettled: BTreeMap::new(),
            unmounted: BTreeSet::new(),
            vacated: Vec::new(),
            asked: Vec::new(),
            out: Vec::new(),
            limit_told: false,
            ended: false,
        };
        match &tracker.inotify {
            Some(inotify) => match inotify.add(&tracker.root, inotify::ROOT) {
                Ok(watch) if tracker.max_watches != Some(0) => {
                    tracker.names.set_watch(Names::ROOT, Some(watch));
                }
                Ok(watch) => {
                    inotify.remove(watch);
                    tracker.polled.insert(Names::ROOT, Why::Limit);
                }
                Err(Errno::NOSPC | Errno::NOMEM) => tracker.polled.insert(Names::ROOT, Why::Limit),
                Err(error) => return Err(error),
            },
            None => tracker.polled.insert(Names::ROOT, Why::Asked),
        }
        // An unreadable root is an error; any other unreadable directory is a notice.
        walk::open(&tracker.root, true)?;
        tracker.walk(Names::ROOT, walk::Extent::New);
        tracker.tell_limit();
        // There was no change yet: whoever consumes the stream looks at the tree after this.
        tracker
            .out
            .retain(|change| matches!(change, Change::Notice(_)));
        tracker.flush();
        Ok(tracker)
    }

    /// How many directories got a watch before none was left, and the limit; `None` if all have one.
    pub(crate) fn beyond_limit(&self) -> Option<(u64, Option<u64>)> {
        let limit = self.max_watches.or_else(kernel_limit);
        (self.polled.any_limited()).then(|| (self.names.watched() as u64, limit))
    }

    /// Handles events until the queue is closed, the root is gone or nobody listens.
    pub(crate) fn run(mut self, queue: &Queue) {
        let mut bytes = Vec::new();
        loop {
            match queue.take(&mut bytes, self.deadline()) {
                Taken::Events => self.process(&bytes, Instant::now()),
                Taken::Rung => self.follow_mounts(),
                Taken::Nothing => {}
                Taken::CaughtUp(number) => self.asked.push((number, Instant::now())),
                Taken::Closed => return,
            }
            self.due(Instant::now());
            if !self.flush() || self.ended || self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Handles what was read from the kernel at `now`.
    pub(crate) fn process(&mut self, bytes: &[u8], now: Instant) {
        for event in Events(bytes) {
            if self.ended {
                return;
            }
            self.event(event, now);
            if self.out.len() >= BATCH {
                self.flush();
            }
        }
    }

    /// Does what has become due: half renames, directories to read again, polling.
    pub(crate) fn due(&mut self, now: Instant) {
        self.expire_departures(now);
        self.settle(now);
        self.poll_some(now);
        self.tell_limit();
        self.tell_caught_up(now);
    }

    /// When [`Tracker::due`] has something to do; `None` while nothing is under way.
    fn deadline(&self) -> Option<Instant> {
        let halves = self
            .departures
            .iter()
            .map(|departure| departure.since + PAIR_WAIT);
        let retries = self.unsettled.values().map(|retry| retry.at);
        halves.chain(retries).chain(self.polled.next()).min()
    }

    fn event(&mut self, event: Event<'_>, now: Instant) {
        if event.mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.overflow();
            return;
        }
        // Events of watches we removed may still come, up to their IGNORED.
        let Some(dir) = self.names.by_watch(event.watch) else {
            return;
        };
        if event.mask.contains(ReadFlags::IGNORED) {
            self.watch_ended(dir);
        } else if event.mask.contains(ReadFlags::UNMOUNT) {
            self.unmounted.insert(dir);
        } else if event
            .mask
            .intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF)
        {
            // Only the root's watch asks for these.
            self.end();
        } else {
            self.entry_event(dir, event, now);
        }
    }

    fn entry_event(&mut self, dir: NodeId, event: Event<'_>, now: Instant) {
        let Some(path) = self.names.path_of(dir, event.name) else {
            self.stir(dir);
            return;
        };
        let is_dir = event.mask.contains(ReadFlags::ISDIR);
        if !event.name.is_empty() && self.pruned(&path, is_dir) {
            let renames = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
            if event
                .mask
                .intersects(ReadFlags::CREATE | ReadFlags::DELETE | renames)
            {
                // The entry is left out, but its coming and going has changed the time of its directory.
                let dir = path.parent().unwrap_or(Path::new("")).to_owned();
                self.touched(dir, Touch::Attributes);
            }
            return;
        }
        match event.mask.difference(ReadFlags::ISDIR) {
            ReadFlags::CREATE => {
                self.touched(path, Touch::Created { is_dir });
                if is_dir {
                    self.appear(dir, event.name, Reason::NewDirectory);
                }
            }
            ReadFlags::DELETE => {
                self.touched(path, Touch::Removed { is_dir });
                if is_dir && let Some(node) = self.names.child(dir, event.name) {
                    self.forget(node);
                }
            }
            ReadFlags::MOVED_FROM => self.depart(dir, event, path, now),
            ReadFlags::MOVED_TO => self.arrive(dir, event, path),
            ReadFlags::MODIFY => self.touched(path, Touch::Written),
            ReadFlags::CLOSE_WRITE => self.touched(path, Touch::Closed),
            ReadFlags::ATTRIB => {
                self.touched(path, Touch::Attributes);
                // It may have become readable.
                let unknown = is_dir && self.names.child(dir, event.name).is_none();
                if unknown && !event.name.is_empty() {
                    self.appear(dir, event.name, Reason::NewDirectory);
                }
            }
            _ => {}
        }
    }

    /// Events were dropped: reads the whole tree again.
    fn overflow(&mut self) {
        while let Some(departure) = self.departures.pop() {
            self.departed(departure);
        }
        self.unsettled.clear();
        self.walk(Names::ROOT, walk::Extent::All);
        self.rescan(Names::ROOT, Reason::Overflow);
    }

    /// The kernel ended a watch: the directory is deleted or its filesystem gone.
    fn watch_ended(&mut self, node: NodeId) {
        self.names.set_watch(node, None);
        let unmounted = self.unmounted.remove(&node);
        if node == Names::ROOT {
            self.end();
            return;
        }
        let Some((dir, name)) = self.place(node) else {
            return;
        };
        let reason = if unmounted {
            Reason::Unmounted
        } else {
            Reason::LostWatch
        };
        let rescans = self.out.len();
        self.appear(dir, &name, reason);
        if self.names.child(dir, &name) == Some(node) && self.names.watch(node).is_none() {
            if unmounted && self.out.len() == rescans {
                self.rescan(node, reason);
            }
            self.forget(node);
        }
    }

    /// Tries unsettled directories again.
    fn settle(&mut self, now: Instant) {
        let due: Vec<NodeId> = self
            .unsettled
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(&id, _)| id)
            .collect();
        for dir in due {
            // Settling one directory may forget another.
            let Some(mut retry) = self.unsettled.remove(&dir) else {
                continue;
            };
            if self.leads_to(dir) {
                self.walk(dir, walk::Extent::New);
                self.rescan(dir, Reason::LostWatch);
            } else if retry.tries < SETTLE_TRIES {
                retry.tries += 1;
                retry.at = now + SETTLE * 2_u32.pow(retry.tries);
                self.unsettled.insert(dir, retry);
            } else if dir == Names::ROOT {
                self.end();
            } else if let Some((above, name)) = self.place(dir) {
                self.forget(dir);
                self.appear(above, &name, Reason::LostWatch);
            } else {
                self.stir(dir);
            }
        }
    }

    /// Has a directory read again later, because its path leads elsewhere or cannot be used now.
    fn unsettle(&mut self, dir: NodeId) {
        let retry = Retry {
            tries: 0,
            at: Instant::now() + SETTLE,
        };
        self.unsettled.entry(dir).or_insert(retry);
    }

    /// Ends the watches of a directory and all below it.
    fn forget(&mut self, node: NodeId) {
        self.found_on_its_way(node);
        let Tracker {
            names,
            inotify,
            polled,
            unsettled,
            unmounted,
            ..
        } = self;
        names.remove(node, |id, watch| {
            if let (Some(inotify), Some(watch)) = (inotify.as_ref(), watch) {
                inotify.remove(watch);
            }
            polled.remove(id);
            unsettled.remove(&id);
            unmounted.remove(&id);
        });
    }

    /// The root is gone, and with it the stream.
    fn end(&mut self) {
        self.rescan(Names::ROOT, Reason::RootGone);
        self.ended = true;
    }

    /// Says once that the limit is reached, when it is known how many directories there are.
    fn tell_limit(&mut self) {
        if !self.polled.any_limited() {
            self.limit_told = false;
        } else if !self.limit_told {
            self.limit_told = true;
            let watched = self.names.watched() as u64;
            self.out.push(Change::Notice(Notice::WatchLimit {
                watched,
                needed: watched + self.polled.len() as u64,
                limit: self.max_watches.or_else(kernel_limit),
            }));
        }
    }

    /// Answers those who asked when all had happened that is still under way here.
    fn tell_caught_up(&mut self, now: Instant) {
        let Self {
            asked,
            departures,
            unsettled,
            out,
            ..
        } = self;
        asked.retain(|&(number, since)| {
            let is_placed = unsettled.is_empty() || now > since + SETTLED_AFTER;
            let is_told = is_placed && departures.iter().all(|half| half.since > since);
            if is_told {
                out.push(Change::CaughtUp(number));
            }
            !is_told
        });
    }

    /// Hands over what is known so far; false when nobody wants it.
    fn flush(&mut self) -> bool {
        let directories = self.names.watched() + self.polled.len();
        self.directories
            .store(directories as u64, Ordering::Relaxed);
        self.out.is_empty() || self.sink.send(std::mem::take(&mut self.out)).is_ok()
    }

    /// Reports a touch, unless it only repeats the last change.
    fn touched(&mut self, path: PathBuf, touch: Touch) {
        let change = Change::Touched { path, touch };
        if self.out.last() != Some(&change) {
            self.out.push(change);
        }
    }

    fn rescan(&mut self, node: NodeId, reason: Reason) {
        if let Some(subtree) = self.names.path(node) {
            self.out.push(Change::Rescan { subtree, reason });
        }
    }

    fn pruned(&self, path: &Path, is_dir: bool) -> bool {
        self.prune.as_ref().is_some_and(|prune| prune(path, is_dir))
    }

    fn place(&self, node: NodeId) -> Option<(NodeId, Vec<u8>)> {
        let (dir, name) = self.names.place(node)?;
        Some((dir, name.to_vec()))
    }

    fn absolute(&self, dir: NodeId, name: &[u8]) -> Option<PathBuf> {
        Some(self.root.join(self.names.path_of(dir, name)?))
    }
}

/// What the kernel allows for the user who runs this.
fn kernel_limit() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?;
    text.trim().parse().ok()
}
