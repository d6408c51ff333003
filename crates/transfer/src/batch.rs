//! What one session is to bring over.
//!
//! A batch is a piece of a tree as it was when somebody looked: versions of paths, and names that are gone.
//! It is self-contained, so that any destination (a local directory, a peer over the wire) can apply it
//! without looking at the source again but for file contents.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tree::Meta;

/// A path and the version of it that the replica is to hold.
#[derive(Debug, Clone)]
pub struct Item {
    /// The path below both roots; empty for the root itself.
    pub path: PathBuf,
    /// The stat taken before anything of it was read.
    pub meta: Meta,
    /// A symlink's target, as read together with the stat.
    pub target: Option<Vec<u8>>,
}

/// A piece of a tree to bring over.
#[derive(Debug, Default)]
pub struct Batch {
    /// Versions to hold, in byte order of their paths. Each path's parents are among them, up to the root: a
    /// session changes the times of every directory it writes in, and must be told the right ones. All
    /// names of a file with several are among them too, as far as they are known.
    pub items: Vec<Item>,
    /// Directories of `items` whose complete content (less what the filters exclude) is in `items`:
    /// whatever else the replica has in them is to go.
    pub whole: HashSet<PathBuf>,
    /// Names to remove with everything below; only the topmost of each missing tree.
    pub gone: Vec<PathBuf>,
    /// Compare contents rather than sizes and times before deciding that the replica holds a version.
    pub exact: bool,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.gone.is_empty()
    }

    /// The batch's version of `path`.
    #[must_use]
    pub fn item(&self, path: &Path) -> Option<&Item> {
        self.items.binary_search_by(|item| by_bytes(&item.path, path)).ok().map(|at| &self.items[at])
    }
}

/// The order of [`Batch::items`]: bytes, so that a directory comes before its content.
#[must_use]
pub fn by_bytes(left: &Path, right: &Path) -> std::cmp::Ordering {
    left.as_os_str().cmp(right.as_os_str())
}

/// What a destination made of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Removals that the destination reports, whoever asked for them.
    pub removed: HashSet<PathBuf>,
    /// Items whose file changed while it was read, or was gone: what the destination holds is not the version
    /// in the batch.
    pub changed: HashSet<PathBuf>,
    /// Items that could not be brought over.
    pub failed: HashSet<PathBuf>,
    /// Set when the destination cannot say what failed: only these items does it hold for certain.
    pub acknowledged: Option<HashSet<PathBuf>>,
    /// What went wrong, a line each, in the peer's or the kernel's words. Empty after a clean end.
    pub errors: Vec<String>,
    /// What the peer wanted to be known, a line each.
    pub notes: Vec<String>,
    /// File bytes that travelled or were copied.
    pub bytes: u64,
    /// Files whose content travelled or was copied.
    pub files: u64,
}

impl Applied {
    /// Whether everything in the batch is known to have been done, but for [`Applied::changed`].
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Progress of a batch, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many more bytes of file content have been brought over.
    Bytes(u64),
    /// One more file's content is complete.
    File,
}
