//! Filesystems that come and go below the root, of which inotify tells nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Tracker;
use crate::change::Reason;
use crate::mounts::Mounts;
use crate::names::{Names, NodeId};

/// What is known to be mounted below the root.
pub(super) struct Mounted {
    list: Mounts,
    /// The root without symlinks, as the list names it.
    root: PathBuf,
    /// The mounts at each place, relative to the root.
    places: BTreeMap<PathBuf, Vec<i32>>,
}

impl Mounted {
    /// `None` if it cannot be known.
    pub(super) fn below(root: &Path, mut list: Mounts) -> Option<Mounted> {
        let root = std::fs::canonicalize(root).ok()?;
        let places = list.below(&root).ok()?;
        Some(Mounted { list, root, places })
    }
}

impl Tracker {
    /// Looks at the places where something has been mounted or unmounted: another directory is there now.
    pub(super) fn follow_mounts(&mut self) {
        let Some(Mounted { list, root, places }) = &mut self.mounted else {
            return;
        };
        let Ok(now) = list.below(root) else {
            return;
        };
        let before = std::mem::replace(places, now.clone());
        let all: BTreeSet<&PathBuf> = before.keys().chain(now.keys()).collect();
        // Places above come first: what is there now is looked at with all below it.
        for place in all {
            if before.get(place) == now.get(place) {
                continue;
            }
            let reason = match now.contains_key(place) {
                true => Reason::MovedIn,
                false => Reason::Unmounted,
            };
            if let (Some(dir), Some(name)) = (self.node_above(place), place.file_name())
                && !self.pruned(place, true)
            {
                self.appear(dir, name.as_bytes(), reason);
            }
        }
    }

    /// The directory that a place is in, as far as it is known.
    fn node_above(&self, place: &Path) -> Option<NodeId> {
        let dir = place.parent()?;
        dir.iter().try_fold(Names::ROOT, |node, name| {
            self.names.child(node, name.as_bytes())
        })
    }
}
