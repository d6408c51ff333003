//! What the stream consists of.

use std::fmt;
use std::path::PathBuf;

/// One value of the stream. Paths are relative to the watched root; the empty path is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This path is worth a look.
    Touched {
        /// What was touched.
        path: PathBuf,
        /// How it was touched.
        touch: Touch,
    },
    /// Something was renamed within the root, and what is below it has moved along.
    ///
    /// Look at both names, and at all that is below the new one: it holds what the old one held, but
    /// changes made there just before were reported under the old name, where a look finds nothing now.
    /// Other things may have taken either name in the meantime.
    Moved {
        /// The name it had.
        from: PathBuf,
        /// The name it has.
        to: PathBuf,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// Anything at or below this path may have changed: look at all of it.
    Rescan {
        /// Where to begin; empty for the whole root.
        subtree: PathBuf,
        /// Why single changes are not known.
        reason: Reason,
    },
    /// Nothing has changed, but the operator should know.
    Notice(Notice),
    /// What had happened when [`Watcher::catch_up`](crate::Watcher::catch_up) returned this number, or a lower one, is
    /// covered by the values before this one.
    CaughtUp(u64),
}

/// How a path was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// A name appeared. A file may still be open for writing; [`Touch::Closed`] follows if it was
    /// opened for writing, but not for a hard link, a symlink or a special file.
    Created {
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// The content was modified and the file may still be open.
    Written,
    /// Somebody who could write closed the file, or a complete file was moved here.
    Closed,
    /// Owner, mode, times, extended attributes or the number of links changed.
    Attributes,
    /// The name is gone.
    Removed {
        /// Whether it was a directory.
        is_dir: bool,
    },
}

/// Why a subtree has to be looked at as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A directory appeared; part of its content may be older than its watch.
    NewDirectory,
    /// A directory came from outside of the root, or was moved while its events could not be placed.
    MovedIn,
    /// The kernel's event queue was full and it dropped events.
    Overflow,
    /// A watch disappeared, or a directory could not be placed for a while.
    LostWatch,
    /// The filesystem mounted here is gone.
    Unmounted,
    /// A directory got no watch and is polled from now on.
    Limit,
    /// The root was deleted, moved away or unmounted. This is the last change of the stream.
    RootGone,
}

/// What the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The limit of watches is reached; directories without one are polled.
    WatchLimit {
        /// Directories that have a watch.
        watched: u64,
        /// Directories in the tree: what the limit would have to allow for this tree alone.
        needed: u64,
        /// The limit in force; `None` when it cannot be read.
        limit: Option<u64>,
    },
    /// The tree is polled because its filesystem does not tell about changes made by other hosts.
    PollingInstead {
        /// Directories that are polled.
        directories: u64,
        /// The filesystem's kind.
        filesystem: &'static str,
    },
    /// The tree is watched with fanotify, which also wakes us for everything else on its filesystem,
    /// because it has more directories than inotify may watch.
    FanotifyInstead {
        /// Directories that got a watch before the limit was reached.
        watched: u64,
        /// The limit in force; `None` when it cannot be read.
        limit: Option<u64>,
    },
    /// fanotify, which needs no watch for each directory, cannot be used.
    NoFanotify {
        /// Why, and what helps.
        reason: String,
    },
    /// A filesystem mounted below the root is polled because fanotify cannot watch it.
    PollingMount {
        /// Where it is mounted, relative to the root.
        path: PathBuf,
        /// Directories that are polled.
        directories: u64,
        /// Why, and what helps.
        reason: String,
    },
    /// A directory cannot be read, so nothing below it is seen until its mode changes.
    Unreadable {
        /// The directory, relative to the root.
        path: PathBuf,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::WatchLimit {
                watched,
                needed,
                limit,
            } => {
                write!(
                    f,
                    "{watched} of {needed} directories are watched, the others are polled"
                )?;
                if let Some(limit) = limit {
                    write!(f, ": the limit is {limit}")?;
                }
                write!(
                    f,
                    "; this tree alone needs {needed}: sysctl fs.inotify.max_user_watches={needed} (or more) raises it"
                )
            }
            Notice::PollingInstead {
                directories,
                filesystem,
            } => write!(
                f,
                "{directories} directories are polled: {filesystem} does not report what other hosts change"
            ),
            Notice::FanotifyInstead { watched, limit } => {
                write!(
                    f,
                    "watched with fanotify, for there are more than {watched} directories"
                )?;
                if let Some(limit) = limit {
                    write!(f, " and the limit is {limit}")?;
                }
                f.write_str(
                    "; with a higher sysctl fs.inotify.max_user_watches inotify would be used, \
                     which is not woken by the rest of the filesystem",
                )
            }
            Notice::NoFanotify { reason } => write!(f, "fanotify is not used: {reason}"),
            Notice::PollingMount {
                path,
                directories,
                reason,
            } => write!(
                f,
                "{directories} directories below the mount {} are polled: fanotify is not used: {reason}",
                path.display()
            ),
            Notice::Unreadable { path } => write!(f, "cannot read directory {}", path.display()),
        }
    }
}
