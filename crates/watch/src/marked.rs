//! fanotify's events in, changes out: whole filesystems are marked, and no directory is watched.
//!
//! Nothing below the root is read: neither at the start, nor when a directory appears, for its filesystem has
//! been marked all along. What has to be kept right is where directories are ([`crate::places`]) and which
//! filesystems are mounted below the root.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::Sender;
use rustix::io::Errno;

use crate::change::{Change, Notice, Reason, Touch};
use crate::fanotify::{Entry, Event, Events, Fanotify, mask};
use crate::mounts::Mounts;
use crate::places::{Places, Unplaced};
use crate::queue::{Queue, Taken};
use crate::watcher::{Prune, Settings, Source, Watcher};

#[cfg(test)]
mod tests;

/// What is asked of every filesystem: all that can make an entry differ, nothing that only reads.
const EVENTS: u32 = mask::CREATE
    | mask::DELETE
    | mask::RENAME
    | mask::MODIFY
    | mask::CLOSE_WRITE
    | mask::ATTRIB
    | mask::DIRECTORY;

/// Changes sent at once at most, so that a consumer can start on a burst before it ends.
const BATCH: usize = 1024;

/// The state machine. It does no waiting of its own but in [`Marked::run`].
pub(crate) struct Marked {
    /// Absolute path of the root, without symlinks.
    root: PathBuf,
    fanotify: Arc<Fanotify>,
    places: Places,
    mounts: Mounts,
    /// The root's own.
    root_mount: i32,
    /// Mounts below the root by number, relative to it.
    below: BTreeMap<i32, PathBuf>,
    /// Those that cannot be marked.
    polled: BTreeMap<i32, Watcher>,
    settings: Settings,
    sink: Sender<Vec<Change>>,
    stop: Arc<AtomicBool>,
    directories: Arc<AtomicU64>,
    out: Vec<Change>,
    /// Whether the directory looked at last is pruned, itself or from above.
    last_pruned: Option<(PathBuf, bool)>,
    ended: bool,
}

/// What a [`Marked`] is made of.
pub(crate) struct Setup {
    /// Absolute.
    pub(crate) root: PathBuf,
    pub(crate) fanotify: Arc<Fanotify>,
    pub(crate) mounts: Mounts,
    pub(crate) settings: Settings,
    pub(crate) sink: Sender<Vec<Change>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) directories: Arc<AtomicU64>,
}

impl Marked {
    /// Marks the root's filesystem and those mounted below it. What changes from now on is reported.
    pub(crate) fn start(setup: Setup) -> Result<Marked, Errno> {
        let root = std::fs::canonicalize(&setup.root)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        setup.fanotify.mark(&root, EVENTS)?;
        let mut places = Places::new();
        let root_mount = places.add_anchor(&root, Path::new(""))?;
        let mut marked = Marked {
            root,
            fanotify: setup.fanotify,
            places,
            mounts: setup.mounts,
            root_mount,
            below: BTreeMap::new(),
            polled: BTreeMap::new(),
            settings: setup.settings,
            sink: setup.sink,
            stop: setup.stop,
            directories: setup.directories,
            out: Vec::new(),
            last_pruned: None,
            ended: false,
        };
        marked.follow_mounts();
        // There was no change yet: whoever consumes the stream looks at the tree after this.
        marked
            .out
            .retain(|change| matches!(change, Change::Notice(_)));
        marked.flush();
        Ok(marked)
    }

    /// Handles events until the queue is closed, the root is gone or nobody listens.
    pub(crate) fn run(mut self, queue: &Queue) {
        let mut bytes = Vec::new();
        loop {
            match queue.take(&mut bytes, None) {
                Taken::Events => self.process(&bytes),
                Taken::Rung => self.follow_mounts(),
                Taken::Nothing => {}
                Taken::CaughtUp(number) => self.out.push(Change::CaughtUp(number)),
                Taken::Closed => return,
            }
            self.places.rest();
            if !self.flush() || self.ended || self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Handles what was read from the kernel.
    pub(crate) fn process(&mut self, bytes: &[u8]) {
        for event in Events(bytes) {
            if self.ended {
                return;
            }
            self.event(event);
            if self.out.len() >= BATCH {
                self.flush();
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        if event.mask & mask::OVERFLOW != 0 {
            self.places.forget_all();
            self.rescan(PathBuf::new(), Reason::Overflow);
            return;
        }
        let told = self.out.len();
        match (event.entry, event.to) {
            (Some(from), Some(to)) => self.rename(event, from, to),
            (Some(entry), None) => self.entry(event, entry),
            (None, _) => self.object(event),
        }
        // Where directories are has to be known whoever moves them.
        let own = self.settings.ignore_own && event.pid.cast_unsigned() == std::process::id();
        if own && !self.ended {
            self.out.truncate(told);
        }
    }

    fn entry(&mut self, event: Event<'_>, entry: Entry<'_>) {
        let is_dir = event.mask & mask::DIRECTORY != 0;
        let paths = self.paths(entry);
        if let (true, Some(target)) = (is_dir, event.target) {
            if event.mask & mask::CREATE != 0 {
                // Perhaps deleted as well, in the same event; what it held comes after this.
                let outside = paths.is_empty();
                self.places.settle(target, entry.dir, entry.name, outside);
            } else if event.mask & mask::DELETE != 0 {
                if self.places.is_root(target) {
                    self.end();
                    return;
                }
                self.places.forget(target);
            }
        }
        for path in paths {
            let comes_or_goes = event.mask & (mask::CREATE | mask::DELETE) != 0;
            if !self.is_seen(&path, is_dir, comes_or_goes) {
                continue;
            }
            // Of several things at once, the order is not known.
            let touches = [
                (mask::DELETE, Touch::Removed { is_dir }),
                (mask::CREATE, Touch::Created { is_dir }),
                (mask::MODIFY, Touch::Written),
                (mask::ATTRIB, Touch::Attributes),
                (mask::CLOSE_WRITE, Touch::Closed),
            ];
            for (bit, touch) in touches {
                if event.mask & bit != 0 {
                    self.touched(path.clone(), touch);
                }
            }
            if is_dir && event.mask & mask::CREATE != 0 {
                // All of its content will be told, but what was here before may have had the same names.
                self.rescan(path, Reason::NewDirectory);
            }
        }
    }

    fn rename(&mut self, event: Event<'_>, from: Entry<'_>, to: Entry<'_>) {
        let is_dir = event.mask & mask::DIRECTORY != 0;
        let left = self.paths(from);
        let taken = self.paths(to);
        if let (true, Some(target)) = (is_dir, event.target) {
            if self.places.is_root(target) || self.places.is_at_root(to) {
                self.end();
                return;
            }
            let outside = taken.is_empty();
            self.places.settle(target, to.dir, to.name, outside);
        }
        let mut left = left.into_iter();
        let mut taken = taken.into_iter();
        loop {
            match (left.next(), taken.next()) {
                (None, None) => return,
                (left, taken) => self.moved(left, taken, is_dir),
            }
        }
    }

    /// Something has left one place for another; either may be outside.
    fn moved(&mut self, from: Option<PathBuf>, to: Option<PathBuf>, is_dir: bool) {
        let from = from.filter(|from| self.is_seen(from, is_dir, true));
        let to = to.filter(|to| self.is_seen(to, is_dir, true));
        match (from, to) {
            (Some(from), Some(to)) => {
                let subtree = to.clone();
                self.out.push(Change::Moved { from, to, is_dir });
                // What is pruned may depend on the path.
                if is_dir && self.settings.prune.is_some() {
                    self.rescan(subtree, Reason::MovedIn);
                }
            }
            (Some(from), None) => self.touched(from, Touch::Removed { is_dir }),
            (None, Some(to)) => {
                self.touched(to.clone(), Touch::Created { is_dir });
                if is_dir {
                    self.rescan(to, Reason::MovedIn);
                } else {
                    // Nobody will close it here: it is complete as it comes.
                    self.touched(to, Touch::Closed);
                }
            }
            (None, None) => {}
        }
    }

    /// Something happened to an object that was reached by no name, as a server of NFS does.
    fn object(&mut self, event: Event<'_>) {
        // The number of names has changed, which the events of these names tell as well.
        if event.mask & !mask::DIRECTORY == mask::ATTRIB {
            return;
        }
        let Some(object) = event.target else {
            return;
        };
        match self.places.path_of_object(object) {
            Ok(Some(path)) => {
                let is_dir = event.mask & mask::DIRECTORY != 0;
                if self.is_seen(&path, is_dir, false) {
                    self.touched(path, Touch::Closed);
                }
            }
            Ok(None) | Err(Unplaced::Gone) => {}
            Err(Unplaced::Lost) => self.lost(),
        }
    }

    /// Where an entry is, relative to the root; nowhere, if it is outside.
    fn paths(&mut self, entry: Entry<'_>) -> Vec<PathBuf> {
        match self.places.paths(entry.dir) {
            Ok(dirs) => {
                let name = std::ffi::OsStr::from_bytes(entry.name);
                let path = |dir: &PathBuf| match entry.name {
                    [] => dir.clone(),
                    _ => dir.join(name),
                };
                dirs.iter().map(path).collect()
            }
            // What is above it was deleted where we can see it, or moved out before: that is told.
            Err(Unplaced::Gone) => Vec::new(),
            Err(Unplaced::Lost) => {
                self.lost();
                Vec::new()
            }
        }
    }

    /// Something has changed, and we cannot find out where.
    fn lost(&mut self) {
        if self.places.root_is_in_place() {
            self.rescan(PathBuf::new(), Reason::LostWatch);
        } else {
            self.end();
        }
    }

    /// Marks filesystems that have been mounted below the root, and forgets those that are gone.
    fn follow_mounts(&mut self) {
        let Ok(mounts) = self.mounts.read() else {
            self.lost();
            return;
        };
        self.places.rest();
        let root_is_mounted = mounts.iter().any(|mount| mount.id == self.root_mount);
        if !root_is_mounted || !self.places.root_is_in_place() {
            self.end();
            return;
        }
        let mut below = BTreeMap::new();
        for mount in mounts {
            if let Ok(path) = mount.at.strip_prefix(&self.root)
                && !path.as_os_str().is_empty()
            {
                below.insert(mount.id, path.to_owned());
            }
        }
        let before = std::mem::replace(&mut self.below, below.clone());
        for (id, path) in &before {
            if below.get(id) != Some(path) {
                self.places.remove_anchor(*id);
                self.polled.remove(id);
                self.rescan(path.clone(), Reason::Unmounted);
            }
        }
        for (id, path) in below {
            if before.get(&id) != Some(&path) {
                self.add_mount(id, path);
            }
        }
    }

    fn add_mount(&mut self, id: i32, path: PathBuf) {
        if self.is_pruned(&path) {
            return;
        }
        let absolute = self.root.join(&path);
        let marked = self
            .fanotify
            .mark(&absolute, EVENTS)
            .and_then(|()| self.places.add_anchor(&absolute, &path));
        match marked {
            Ok(found) if found == id => self.rescan(path, Reason::MovedIn),
            // Another mount hides this one.
            Ok(hiding) => drop(self.places.remove_anchor(hiding)),
            Err(error) => self.poll_mount(id, path, error),
        }
    }

    /// A filesystem that cannot be marked is polled.
    fn poll_mount(&mut self, id: i32, path: PathBuf, error: Errno) {
        let prune = self.settings.prune.clone().map(|prune| {
            let prefix = path.clone();
            Arc::new(move |below: &Path, is_dir| prune(&prefix.join(below), is_dir)) as Prune
        });
        let settings = Settings {
            source: Source::Poll,
            prune,
            ..self.settings.clone()
        };
        let Ok((watcher, changes)) = Watcher::start(&self.root.join(&path), settings) else {
            // It cannot be read either, or is gone already.
            return;
        };
        let sink = self.sink.clone();
        let prefix = path.clone();
        let forward = move || {
            for batch in changes {
                let batch = batch.into_iter().map(|change| below(change, &prefix));
                if sink.send(batch.collect()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("watch-mount".into());
        if thread.spawn(forward).is_err() {
            self.ended = true;
            return;
        }
        let directories = watcher.directories();
        self.polled.insert(id, watcher);
        self.out.push(Change::Notice(Notice::PollingMount {
            path: path.clone(),
            directories,
            reason: refusal(error),
        }));
        self.rescan(path, Reason::MovedIn);
    }

    /// The root is gone, and with it the stream.
    fn end(&mut self) {
        self.rescan(PathBuf::new(), Reason::RootGone);
        self.ended = true;
    }

    /// Hands over what is known so far; false when nobody wants it.
    fn flush(&mut self) -> bool {
        let known = self.places.len() as u64;
        self.directories.store(known, Ordering::Relaxed);
        self.out.is_empty() || self.sink.send(std::mem::take(&mut self.out)).is_ok()
    }

    /// Reports a touch, unless it only repeats the last change.
    fn touched(&mut self, path: PathBuf, touch: Touch) {
        self.tell(Change::Touched { path, touch });
    }

    fn rescan(&mut self, subtree: PathBuf, reason: Reason) {
        self.tell(Change::Rescan { subtree, reason });
    }

    fn tell(&mut self, change: Change) {
        if self.out.last() != Some(&change) {
            self.out.push(change);
        }
    }

    /// Whether an entry is to be reported. That a pruned one comes or goes changes the time of its directory.
    fn is_seen(&mut self, path: &Path, is_dir: bool, comes_or_goes: bool) -> bool {
        let Some(prune) = self.settings.prune.clone() else {
            return true;
        };
        let Some(dir) = path.parent() else {
            return true;
        };
        if self.is_pruned(dir) {
            return false;
        }
        let pruned = prune(path, is_dir);
        if pruned && comes_or_goes {
            self.touched(dir.to_owned(), Touch::Attributes);
        }
        !pruned
    }

    /// Whether a directory or one above it is pruned.
    fn is_pruned(&mut self, path: &Path) -> bool {
        let Some(prune) = &self.settings.prune else {
            return false;
        };
        if let Some((last, pruned)) = &self.last_pruned
            && last == path
        {
            return *pruned;
        }
        let real = |path: &&Path| !path.as_os_str().is_empty();
        let mut above = path.ancestors().filter(real);
        let pruned = above.any(|above| prune(above, true));
        self.last_pruned = Some((path.to_owned(), pruned));
        pruned
    }
}

/// A change below a mount, relative to the root.
fn below(change: Change, mount: &Path) -> Change {
    let full = |path: PathBuf| {
        if path.as_os_str().is_empty() {
            mount.to_owned()
        } else {
            mount.join(path)
        }
    };
    match change {
        Change::Touched { path, touch } => Change::Touched {
            path: full(path),
            touch,
        },
        Change::Moved { from, to, is_dir } => Change::Moved {
            from: full(from),
            to: full(to),
            is_dir,
        },
        Change::Rescan { subtree, reason } => Change::Rescan {
            subtree: full(subtree),
            // The stream goes on.
            reason: match reason {
                Reason::RootGone => Reason::Unmounted,
                reason => reason,
            },
        },
        Change::Notice(Notice::Unreadable { path }) => {
            Change::Notice(Notice::Unreadable { path: full(path) })
        }
        Change::Notice(notice) => Change::Notice(notice),
        Change::CaughtUp(number) => Change::CaughtUp(number),
    }
}

/// Why fanotify cannot be used, and what helps.
pub(crate) fn refusal(error: Errno) -> String {
    let known = match error {
        Errno::PERM | Errno::ACCESS => "it needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH (root)",
        Errno::INVAL => "it needs Linux 5.17 or later",
        Errno::NOSYS => "this kernel, or a filter of system calls, has none",
        Errno::MFILE => "sysctl fs.fanotify.max_user_groups raises the number of groups",
        Errno::NOSPC => "sysctl fs.fanotify.max_user_marks raises the number of marks",
        Errno::OPNOTSUPP | Errno::NODEV | Errno::XDEV => {
            "the filesystem has no file handles for it"
        }
        _ => return std::io::Error::from(error).to_string(),
    };
    known.to_owned()
}
