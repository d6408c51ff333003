//! One file under several names: hard links, and the former name of a renamed file.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use transfer::{Batch, Item, Renamed};
use tree::{Identity, Kind, Meta};

use super::PlanError;
use super::draft::Draft;
use crate::dirty::{Look, Taken};
use crate::ledger::Held;

/// A directory above a former name.
enum FormerDir {
    /// It is in the batch.
    Listed,
    /// It must be listed for the former name alone.
    Extra(Item),
    /// The replica has none, or the batch makes something else of it.
    Unknown,
}

impl FormerDir {
    fn into_item(self) -> Option<Item> {
        match self {
            Self::Extra(item) => Some(item),
            Self::Listed | Self::Unknown => None,
        }
    }
}

impl Draft<'_> {
    /// What happened to a file under a name that it has no longer concerns its other names too: an event names only
    /// one of them.
    pub(super) fn look_at_other_names(
        &mut self,
        path: &Path,
        file: Identity,
        since: Instant,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        if self.done.left.insert(file) {
            for (name, _) in self.ledger.names_of(file.dev, file.ino)? {
                if name == path {
                    continue;
                }
                if let Some(meta) = self.source.lstat(&name).ok().flatten() {
                    self.note_restless(&name, &meta);
                }
                stack.push(Taken {
                    path: name,
                    look: Look::AT,
                    since,
                });
            }
        }
        Ok(())
    }

    /// Notes that a new name is that of a file which the replica holds under a former name, if that is so: the same
    /// inode and birth, size and time, and nothing under the former name any more.
    pub(super) fn note_rename(&mut self, path: &Path, meta: &Meta) -> Result<(), PlanError> {
        if meta.nlink > 1 {
            return Ok(());
        }
        for (former, held) in self.ledger.names_of(meta.dev, meta.ino)? {
            let is_it = !held.doubtful
                && held.version.file_id() == meta.file_id()
                && (held.version.size, held.version.mtime) == (meta.size, meta.mtime)
                && !self.source.leaves_out(&former, false)
                && !self.source.protects(&former, false)
                && self.is_missing(&former)?;
            if is_it {
                let old = Item {
                    path: former.clone(),
                    meta: held.version,
                    target: None,
                };
                self.done.renamed.insert(
                    former,
                    Renamed {
                        old,
                        new: path.to_owned(),
                    },
                );
            }
        }
        Ok(())
    }

    /// Takes the removals of directories out of which files have been renamed, which another plan is to look at: as long
    /// as more of their files are to come, these would cross as data.
    pub(super) fn take_former_places(&mut self) -> Vec<Taken> {
        let former = self.done.renamed.keys();
        let places: HashSet<&Path> = former.flat_map(|path| path.ancestors().skip(1)).collect();
        let is_place = |path: &PathBuf, _: &mut Instant| places.contains(path.as_path());
        let taken: Vec<Taken> = self
            .done
            .gone
            .extract_if(.., is_place)
            .map(|(path, since)| Taken {
                path,
                look: Look::AT,
                since,
            })
            .collect();
        let is_left = |dir: &PathBuf| !taken.iter().any(|taken| taken.path == *dir);
        self.done.deletions.dirs.retain(is_left);
        taken
    }

    /// Whether there is nothing at `path`. Of a directory that was renamed, the former names of its files are all asked for.
    fn is_missing(&mut self, path: &Path) -> Result<bool, PlanError> {
        let dir = path.parent().unwrap_or(path);
        if self.done.missing_dirs.contains(dir) {
            return Ok(true);
        }
        let is_missing = self.source.lstat(path)?.is_none();
        if is_missing && self.source.lstat(dir)?.is_none() {
            self.done.missing_dirs.insert(dir.to_owned());
        }
        Ok(is_missing)
    }

    /// Whether a name must go before its new version can come. The replica may keep nothing of the new kind, and then
    /// leaves alone what it has. Or it holds the name as one file with others that are something else now, and would take
    /// the new version for that, by itself: it would give the new attributes to all of them.
    pub(super) fn is_stuck(
        &self,
        path: &Path,
        held: &Held,
        meta: &Meta,
        exact: bool,
    ) -> Result<bool, PlanError> {
        let old = &held.version;
        if old.kind != meta.kind && !self.abilities.keep(meta.kind) {
            return Ok(true);
        }
        let would_be_kept = old.kind == meta.kind
            && (meta.kind != Kind::File || exact || self.abilities.would_misjudge(old, meta));
        if !would_be_kept || old.identity() == meta.identity() {
            return Ok(false);
        }
        for (name, _) in self.ledger.names_of(old.dev, old.ino)? {
            let now = self.source.lstat(&name).ok().flatten();
            if name != path && now.is_some_and(|now| now.identity() != meta.identity()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has a name looked at again in the next plan, when it has gone.
    pub(super) fn part(&mut self, path: PathBuf, since: Instant) {
        self.done.parted.push(Taken {
            path,
            look: Look::AT,
            since,
        });
    }

    /// Adds the other names of a file: a receiver links only what it sees in one session.
    pub(super) fn add_names(&mut self, group: Identity, exact: bool) -> Result<(), PlanError> {
        for (path, _) in self.ledger.names_of(group.dev, group.ino)? {
            let meta = self
                .source
                .lstat(&path)?
                .filter(|meta| meta.link_group() == Some(group));
            if let Some(meta) = meta
                && !self.source.leaves_out(&path, false)
                && let Some(item) = self.item(&path, meta)
            {
                self.add(item, true, false, exact);
            }
        }
        Ok(())
    }

    /// Adds the renames that spare sending data, and whose former directories can be told to the replica too.
    pub(super) fn add_renames(&mut self, batch: &mut Batch) -> Result<(), PlanError> {
        let mut former_dirs: BTreeMap<PathBuf, FormerDir> = BTreeMap::new();
        let renamed = std::mem::take(&mut self.done.renamed).into_values();
        let has_data = |old: &Meta| old.kind == Kind::File && old.size > 0;
        for renamed in renamed.filter(|renamed| has_data(&renamed.old.meta)) {
            let mut is_known = batch.item(&renamed.new).is_some();
            for dir in renamed.old.path.ancestors().skip(1) {
                if !former_dirs.contains_key(dir) {
                    former_dirs.insert(dir.to_owned(), self.former_dir(dir, batch)?);
                }
                is_known &= !matches!(former_dirs.get(dir), Some(FormerDir::Unknown));
            }
            if is_known {
                batch.renamed.push(renamed);
            }
        }
        batch.former_dirs = former_dirs
            .into_values()
            .filter_map(FormerDir::into_item)
            .collect();
        Ok(())
    }

    /// What there is to tell of a directory that holds, or held, a former name.
    fn former_dir(&self, dir: &Path, batch: &Batch) -> Result<FormerDir, PlanError> {
        if let Some(item) = batch.item(dir) {
            return Ok(match item.meta.kind {
                Kind::Dir => FormerDir::Listed,
                _ => FormerDir::Unknown,
            });
        }
        let meta = match self.source.lstat(dir)? {
            Some(meta) => Some(meta),
            None => self.ledger.held(dir)?.map(|held| held.version),
        };
        let Some(meta) = meta.filter(Meta::is_dir) else {
            return Ok(FormerDir::Unknown);
        };
        Ok(FormerDir::Extra(Item {
            path: dir.to_owned(),
            meta,
            target: None,
        }))
    }

    /// All names of one file go in one session, and if one of them must be compared by content, all are.
    pub(super) fn join_groups(&mut self) {
        let exact: HashSet<Identity> = self
            .items
            .values()
            .filter(|item| item.exact)
            .filter_map(|item| item.item.meta.link_group())
            .collect();
        if exact.is_empty() {
            return;
        }
        for item in self.items.values_mut() {
            item.exact |= item
                .item
                .meta
                .link_group()
                .is_some_and(|group| exact.contains(&group));
        }
    }
}
