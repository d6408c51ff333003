//! What one session is to bring over.
//!
//! A batch is a piece of a tree as it was when somebody looked: versions of paths, and names that are gone.
//! It is self-contained, so that any destination (a local directory, a peer over the wire) can apply it
//! without looking at the source again but for file contents.

use std::collections::{BTreeMap, HashMap, HashSet};
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
    /// Versions to hold, in the order of [`Path`], component by component, in which [`Batch::item`] finds them. Each path's parents are among them, up to the root: a
    /// session changes the times of every directory it writes in, and must be told the right ones. All
    /// names of a file with several are among them too, as far as they are known.
    pub items: Vec<Item>,
    /// Directories of `items` whose complete content (less what the filters exclude) is in `items`:
    /// whatever else the replica has in them is to go.
    pub whole: HashSet<PathBuf>,
    /// Names to remove with everything below; only the topmost of each missing tree.
    pub gone: Vec<PathBuf>,
    /// Files among `items` that the replica holds under a name that the source no longer has.
    pub renamed: Vec<Renamed>,
    /// The directories above those former names that the source does not have any more, as the replica holds them.
    pub former_dirs: Vec<Item>,
    /// Names that stand for one file although they are not hard links in the source: each former name with its new
    /// one, where the content is read.
    pub linked: HashMap<PathBuf, PathBuf>,
    /// Compare contents rather than sizes and times before deciding that the replica holds a version.
    pub exact: bool,
}

/// A file with a new name.
#[derive(Debug, Clone)]
pub struct Renamed {
    /// The former name, and what the replica holds there.
    pub old: Item,
    /// The new name, that of one of the batch's items.
    pub new: PathBuf,
}

impl Batch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.gone.is_empty()
    }

    /// A batch that does nothing but give the replica's files their new names, as further hard links: the receiver
    /// finds the former name up to date and links the new one to it, without any data. The former names go with the
    /// next session. Only `pairs` are in it, which are some of [`Batch::renamed`].
    #[must_use]
    pub fn linking<'p>(&self, pairs: impl IntoIterator<Item = &'p Renamed>, exact: bool) -> Self {
        let mut items: BTreeMap<&Path, &Item> = BTreeMap::new();
        let mut linked = HashMap::new();
        let former: HashMap<&Path, &Item> = self
            .former_dirs
            .iter()
            .map(|dir| (dir.path.as_path(), dir))
            .collect();
        let mut last = [Path::new("/"); 2];
        for Renamed { old, new } in pairs {
            items.insert(&old.path, old);
            items.extend(self.item(new).map(|item| (item.path.as_path(), item)));
            // Files that were renamed together have their directories in common.
            let dirs = [old.path.as_path(), new].map(|path| path.parent().unwrap_or(path));
            if std::mem::replace(&mut last, dirs) != dirs {
                for dir in dirs.into_iter().flat_map(Path::ancestors) {
                    let item = self.item(dir).or_else(|| former.get(dir).copied());
                    items.extend(item.map(|item| (item.path.as_path(), item)));
                }
            }
            linked.insert(old.path.clone(), new.clone());
        }
        Self {
            items: items.into_values().cloned().collect(),
            linked,
            exact,
            ..Self::default()
        }
    }

    /// The batch's version of `path`.
    #[must_use]
    pub fn item(&self, path: &Path) -> Option<&Item> {
        self.items
            .binary_search_by(|item| item.path.as_path().cmp(path))
            .ok()
            .map(|at| &self.items[at])
    }
}

/// What a destination made of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Removals that the destination reports, whoever asked for them.
    pub removed: HashSet<PathBuf>,
    /// Names among [`Applied::failed`] that the destination does not take and will not take, each with its words.
    pub refused: HashMap<PathBuf, String>,
    /// Names that the replica had too much in directories that were listed whole, as far as they are known.
    pub extra: Vec<PathBuf>,
    /// Items of which the replica held another version, as far as the destination tells.
    pub amended: HashSet<PathBuf>,
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
    /// Has all names of a file in doubt of which one is: what a receiver was told to link to a name is missing where
    /// that name never came.
    pub(crate) fn doubt_other_names(&mut self, batch: &Batch) {
        let of_changed = self.changed.iter().filter_map(|path| batch.item(path));
        let files: HashSet<_> = of_changed
            .filter_map(|item| item.meta.link_group())
            .collect();
        if files.is_empty() {
            return;
        }
        let is_name = |item: &&Item| {
            let file = item.meta.link_group();
            file.is_some_and(|file| files.contains(&file))
        };
        let names = batch.items.iter().filter(is_name);
        self.changed.extend(names.map(|item| item.path.clone()));
    }

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
