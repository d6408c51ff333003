//! A watched tree, its settings and its threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::io::Errno;

use crate::change::{Change, Notice};
use crate::fanotify::Fanotify;
use crate::inotify::Inotify;
use crate::marked::{self, Marked};
use crate::mounts::Mounts;
use crate::queue::{self, Closer, Queue};
use crate::tracker::{Setup, Tracker};

/// Keeps the threads that watch; dropping it stops them and closes the channel.
#[derive(Debug)]
pub struct Watcher {
    source: Source,
    stop: Arc<AtomicBool>,
    directories: Arc<AtomicU64>,
    /// Dropped before the tracker is joined: it ends when its queue is closed.
    closer: Option<Closer>,
    tracker: Option<JoinHandle<()>>,
}

/// How to watch.
#[derive(Clone)]
pub struct Settings {
    /// Where changes come from.
    pub source: Source,
    /// Pause between two looks at directories that are polled; longer when a look takes long, so that
    /// polling never takes more than a tenth of the time.
    pub poll_every: Duration,
    /// Tells what is neither reported nor looked into. That such an entry comes or goes is still told
    /// as a change of its directory's attributes.
    pub prune: Option<Prune>,
    /// Watches to use at most, when fewer than the kernel allows; the other directories are polled, also with
    /// [`Source::Auto`]. Without meaning for fanotify.
    pub max_watches: Option<u64>,
    /// Leaves out what this process itself changes, which only fanotify can tell apart.
    pub ignore_own: bool,
}

/// Called with a path relative to the root and whether it is a directory; true leaves out the entry and
/// all below it. Must give the same answer for the same path every time.
pub type Prune = Arc<dyn Fn(&Path, bool) -> bool + Send + Sync>;

/// Where changes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Source {
    /// Polling where the filesystem cannot tell what other hosts change; otherwise inotify while the tree
    /// fits the limit of watches, then fanotify if it may be used, then inotify for as many
    /// directories as possible. Which, and why no better one, is told by a [`Notice`], unless it is inotify.
    #[default]
    Auto,
    /// A watch for each directory.
    Inotify,
    /// A mark for each filesystem, and no start-up work for any number of directories. Needs Linux 5.17 and
    /// `CAP_SYS_ADMIN`.
    Fanotify,
    /// Looking again and again: sees every difference that lasts, whoever made it. What came and went between
    /// two looks is not told, though a consumer may have seen it in the meantime.
    Poll,
}

/// Why a tree cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root is missing, unreadable or not a directory.
    #[error("cannot watch {}: {source}", path.display())]
    Root {
        /// The root as given.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// fanotify was asked for and cannot be used.
    #[error("cannot watch {} with fanotify: {reason}", path.display())]
    Fanotify {
        /// The root.
        path: PathBuf,
        /// Why, and what helps.
        reason: String,
    },
    /// Too many inotify instances, descriptors or threads.
    #[error("cannot start watching: {source}{}", instances_hint(source))]
    Start {
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            source: Source::Auto,
            poll_every: Duration::from_secs(2),
            prune: None,
            max_watches: None,
            ignore_own: false,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("source", &self.source)
            .field("poll_every", &self.poll_every)
            .field("prune", &self.prune.as_ref().map(|_| "fn"))
            .field("max_watches", &self.max_watches)
            .field("ignore_own", &self.ignore_own)
            .finish()
    }
}

impl Watcher {
    /// Watches a directory and all below it. Returns when every directory is watched: whatever
    /// changes after that is reported, as described for [`Change`].
    ///
    /// The channel has no bound, so a slow consumer never makes the kernel drop events; it is closed
    /// when the root is gone ([`crate::Reason::RootGone`]) or the watcher stops.
    ///
    /// # Errors
    ///
    /// [`Error::Root`] if `root` is not a readable directory, [`Error::Start`] if the kernel refuses an inotify
    /// instance or a thread, [`Error::Fanotify`] if that was asked for and cannot be had. Missing watches
    /// are no error but a [`Notice`].
    pub fn start(
        root: &Path,
        settings: Settings,
    ) -> Result<(Watcher, Receiver<Vec<Change>>), Error> {
        let at_root = |source: std::io::Error| Error::Root {
            path: root.to_owned(),
            source,
        };
        let absolute = std::path::absolute(root).map_err(at_root)?;
        let blind = blind_filesystem(&absolute).map_err(|error| at_root(error.into()))?;
        let start = Start {
            root: absolute,
            settings,
        };
        match (start.settings.source, blind) {
            (Source::Poll, _) => start.polling(None),
            (Source::Auto, Some(filesystem)) => start.polling(Some(filesystem)),
            // To poll beyond so many watches is what was asked for.
            (Source::Auto, None) if start.settings.max_watches.is_some() => {
                start.inotify(Vec::new())
            }
            (Source::Inotify, _) => start.inotify(Vec::new()),
            (Source::Fanotify, _) => start.fanotify(Vec::new()),
            (Source::Auto, None) => start.best(),
        }
    }

    /// What the changes come from; never [`Source::Auto`].
    pub fn source(&self) -> Source {
        self.source
    }

    /// How many directories are watched or polled now. fanotify watches none of them singly: there it is
    /// how many are remembered because something happened in them.
    pub fn directories(&self) -> u64 {
        self.directories.load(Ordering::Relaxed)
    }

    /// Has the stream say, by a [`Change::CaughtUp`] with this number or a higher one, when it has told of everything that
    /// has happened by now. What is polled is told by the next look at it, which this does not wait for.
    pub fn catch_up(&self) -> u64 {
        self.closer.as_ref().map_or(0, Closer::ask)
    }

    /// Stops watching; the same as dropping it, but visible in the code.
    pub fn stop(self) {}
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.closer.take());
        if let Some(tracker) = self.tracker.take() {
            let _ = tracker.join();
        }
    }
}

/// What a watcher is made from.
struct Start {
    /// Absolute.
    root: PathBuf,
    settings: Settings,
}

type Started = (Watcher, Receiver<Vec<Change>>);

/// What all ways to watch have in common.
struct Ends {
    sink: Sender<Vec<Change>>,
    changes: Receiver<Vec<Change>>,
    stop: Arc<AtomicBool>,
    directories: Arc<AtomicU64>,
}

impl Start {
    fn polling(&self, blind: Option<&'static str>) -> Result<Started, Error> {
        let ends = Ends::new();
        let (queue, closer) = queue::start(None, None, queue::FIRST_PAUSE).map_err(cannot_start)?;
        let tracker = self.tracker(None, None, &ends, false)?;
        if let Some(filesystem) = blind {
            ends.tell(Notice::PollingInstead {
                directories: ends.directories.load(Ordering::Relaxed),
                filesystem,
            });
        }
        ends.run(Source::Poll, closer, move || tracker.run(&queue))
    }

    fn inotify(&self, notices: Vec<Notice>) -> Result<Started, Error> {
        let ends = Ends::new();
        let (tracker, queue, closer) = self.with_inotify(&ends, false)?;
        notices.into_iter().for_each(|notice| ends.tell(notice));
        ends.run(Source::Inotify, closer, move || tracker.run(&queue))
    }

    fn fanotify(self, notices: Vec<Notice>) -> Result<Started, Error> {
        let ends = Ends::new();
        let refused = |error| Error::Fanotify {
            path: self.root.clone(),
            reason: marked::refusal(error),
        };
        let fanotify = Arc::new(Fanotify::new().map_err(refused)?);
        let mounts = Mounts::open().map_err(cannot_start)?;
        let bell = mounts.bell().map_err(cannot_start)?;
        let (queue, closer) = queue::start(Some(fanotify.clone()), Some(bell), queue::LONG_PAUSE)
            .map_err(cannot_start)?;
        let marked = Marked::start(marked::Setup {
            root: self.root.clone(),
            fanotify,
            mounts,
            settings: self.settings.clone(),
            sink: ends.sink.clone(),
            stop: Arc::clone(&ends.stop),
            directories: Arc::clone(&ends.directories),
        })
        .map_err(refused)?;
        notices.into_iter().for_each(|notice| ends.tell(notice));
        ends.run(Source::Fanotify, closer, move || marked.run(&queue))
    }

    /// inotify while the tree fits the limit, then fanotify, then inotify for a part of the tree.
    fn best(self) -> Result<Started, Error> {
        let ends = Ends::new();
        let (tracker, queue, closer) = self.with_inotify(&ends, true)?;
        let Some((watched, limit)) = tracker.beyond_limit() else {
            return ends.run(Source::Inotify, closer, move || tracker.run(&queue));
        };
        // Their watches are worth more than the time to walk again.
        drop((tracker, queue, closer));
        let instead = Notice::FanotifyInstead { watched, limit };
        let again = Start {
            root: self.root.clone(),
            settings: self.settings.clone(),
        };
        match again.fanotify(vec![instead]) {
            Err(Error::Fanotify { reason, .. }) => {
                self.inotify(vec![Notice::NoFanotify { reason }])
            }
            started => started,
        }
    }

    fn with_inotify(&self, ends: &Ends, gives_up: bool) -> Result<(Tracker, Queue, Closer), Error> {
        let inotify = Inotify::new().map_err(|error| cannot_start(error.into()))?;
        let inotify = Arc::new(inotify);
        // inotify tells nothing of mounts. Where the list of them cannot be read, nobody does.
        let mounts = Mounts::open().ok();
        let bell = mounts.as_ref().and_then(|mounts| mounts.bell().ok());
        // The queue is emptied from the first watch on, also while the tree is still being read.
        let (queue, closer) =
            queue::start(Some(inotify.clone()), bell, queue::LONG_PAUSE).map_err(cannot_start)?;
        let tracker = self.tracker(Some(inotify), mounts, ends, gives_up)?;
        Ok((tracker, queue, closer))
    }

    fn tracker(
        &self,
        inotify: Option<Arc<Inotify>>,
        mounts: Option<Mounts>,
        ends: &Ends,
        gives_up: bool,
    ) -> Result<Tracker, Error> {
        Tracker::start(Setup {
            root: self.root.clone(),
            inotify,
            mounts,
            prune: self.settings.prune.clone(),
            max_watches: self.settings.max_watches,
            gives_up,
            poll_every: self.settings.poll_every,
            sink: ends.sink.clone(),
            stop: Arc::clone(&ends.stop),
            directories: Arc::clone(&ends.directories),
        })
        .map_err(|error| Error::Root {
            path: self.root.clone(),
            source: error.into(),
        })
    }
}

impl Ends {
    fn new() -> Ends {
        let (sink, changes) = unbounded();
        Ends {
            sink,
            changes,
            stop: Arc::default(),
            directories: Arc::default(),
        }
    }

    fn tell(&self, notice: Notice) {
        // The receiver is still here.
        let _ = self.sink.send(vec![Change::Notice(notice)]);
    }

    /// Starts the thread that handles events.
    fn run(
        self,
        source: Source,
        closer: Closer,
        track: impl FnOnce() + Send + 'static,
    ) -> Result<Started, Error> {
        let tracker = std::thread::Builder::new()
            .name("watch".into())
            .spawn(track)
            .map_err(cannot_start)?;
        let watcher = Watcher {
            source,
            stop: self.stop,
            directories: self.directories,
            closer: Some(closer),
            tracker: Some(tracker),
        };
        Ok((watcher, self.changes))
    }
}

fn cannot_start(source: std::io::Error) -> Error {
    Error::Start { source }
}

/// The kind of a filesystem on which others may change files without a word to this kernel.
fn blind_filesystem(path: &Path) -> Result<Option<&'static str>, Errno> {
    let kind = rustix::fs::statfs(path)?.f_type as u64 & 0xffff_ffff;
    let known = BLIND.iter().find(|(magic, _)| *magic == kind);
    Ok(known.map(|(_, name)| *name))
}

/// statfs(2), field `f_type`.
const BLIND: [(u64, &str); 10] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x786f_4256, "vboxsf"),
];

fn instances_hint(error: &std::io::Error) -> &'static str {
    if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
        "; sysctl fs.inotify.max_user_instances raises the number of inotify instances"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make trees of their own")]

    use super::*;

    #[test]
    fn beyond_the_limit_there_is_fanotify_or_the_reason_why_not() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b/c/d")).unwrap();
        let start = Start {
            root: root.path().to_owned(),
            settings: Settings {
                max_watches: Some(2),
                ..Settings::default()
            },
        };
        let (watcher, changes) = start.best().unwrap();
        let told: Vec<Change> = changes.try_iter().flatten().collect();
        if watcher.source() == Source::Fanotify {
            let instead = Notice::FanotifyInstead {
                watched: 2,
                limit: Some(2),
            };
            assert_eq!(told, [Change::Notice(instead)]);
        } else {
            assert_eq!(watcher.source(), Source::Inotify);
            let refused =
                |change: &Change| matches!(change, Change::Notice(Notice::NoFanotify { .. }));
            assert!(told.iter().any(refused), "{told:?}");
            assert_eq!(watcher.directories(), 5);
        }
    }
}
