//! A watched tree, its settings and its threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use rustix::io::Errno;

use crate::change::{Change, Notice};
use crate::inotify::Inotify;
use crate::queue::{self, Closer};
use crate::tracker::{Setup, Tracker};

/// Keeps the threads that watch; dropping it stops them and closes the channel.
#[derive(Debug)]
pub struct Watcher {
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
    /// Watches to use at most, when fewer than the kernel allows; the other directories are polled.
    pub max_watches: Option<u64>,
}

/// Called with a path relative to the root and whether it is a directory; true leaves out the entry and
/// all below it. Must give the same answer for the same path every time.
pub type Prune = Arc<dyn Fn(&Path, bool) -> bool + Send + Sync>;

/// Where changes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Source {
    /// inotify, or polling where the filesystem cannot tell what other hosts change.
    #[default]
    Auto,
    /// A watch for each directory.
    Inotify,
    /// Looking again and again: sees every difference that lasts, whoever made it.
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
    /// instance or a thread. Missing watches are no error but a [`Notice::WatchLimit`].
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
        let (inotify, blind) = match (settings.source, blind) {
            (Source::Auto, Some(filesystem)) => (None, Some(filesystem)),
            (Source::Poll, _) => (None, None),
            (Source::Auto | Source::Inotify, _) => {
                let inotify = Inotify::new().map_err(|error| Error::Start {
                    source: error.into(),
                })?;
                (Some(Arc::new(inotify)), None)
            }
        };
        let (sink, changes) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let directories = Arc::new(AtomicU64::new(0));
        // The queue is emptied from the first watch on, also while the tree is still being read.
        let (queue, closer) =
            queue::start(inotify.clone()).map_err(|source| Error::Start { source })?;
        let tracker = Tracker::start(Setup {
            root: absolute,
            inotify,
            prune: settings.prune,
            max_watches: settings.max_watches,
            poll_every: settings.poll_every,
            sink: sink.clone(),
            stop: Arc::clone(&stop),
            directories: Arc::clone(&directories),
        })
        .map_err(|error| at_root(error.into()))?;
        if let Some(filesystem) = blind {
            let notice = Notice::PollingInstead {
                directories: directories.load(Ordering::Relaxed),
                filesystem,
            };
            // The receiver is still here.
            let _ = sink.send(vec![Change::Notice(notice)]);
        }
        drop(sink);
        let tracker = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || tracker.run(&queue))
            .map_err(|source| Error::Start { source })?;
        let watcher = Watcher {
            stop,
            directories,
            closer: Some(closer),
            tracker: Some(tracker),
        };
        Ok((watcher, changes))
    }

    /// How many directories are watched or polled now.
    pub fn directories(&self) -> u64 {
        self.directories.load(Ordering::Relaxed)
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
