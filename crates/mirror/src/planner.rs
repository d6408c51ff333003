//! From "worth a look" to "this is what the replica lacks": the difference of tree and ledger.
//!
//! Every look, whatever caused it, takes the same way: stat the path, read the ledger, and put what differs
//! into a draft. A directory whose content at the replica nobody knows (a first start, a broken session) is
//! listed *whole*, one level, so that what is too much there goes too.

mod parents;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use transfer::{Batch, Item, Renamed};
use tree::{Identity, Kind, Meta};

use self::parents::Parents;
use crate::dirty::{Look, Taken};
use crate::ledger::{Held, Ledger};
use crate::source::{Child, Source};

/// A batch is closed when it has this many items. What one directory listed whole holds is never divided.
const BATCH_ITEMS: usize = 20_000;

/// A batch is closed when the files in it have this many bytes, so that a broken session repeats little.
const BATCH_BYTES: u64 = 4 << 30;

/// The same for one step of a verification, which should not keep changes waiting.
const VERIFIED_ITEMS: usize = 2_000;

/// A ctime younger than this may be carried by a later change too: the coarsest clock tick of the kernels
/// in use (HZ=100).
const CLOCK_TICK: Duration = Duration::from_millis(10);

/// What the replica can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// It removes a name that is sent as missing. Otherwise its directory is listed whole.
    pub removes_by_name: bool,
    /// It compares times to the nanosecond before it takes two versions for the same; otherwise to the second.
    pub compares_nanoseconds: bool,
}

impl Abilities {
    /// Whether a replica that holds `old` and compares sizes and times (behaviour.md 2.8) would take `new` for the
    /// same.
    fn would_misjudge(self, old: &Meta, new: &Meta) -> bool {
        let same_time = old.mtime.sec == new.mtime.sec
            && (!self.compares_nanoseconds || old.mtime == new.mtime);
        old.kind == Kind::File && new.kind == Kind::File && old.size == new.size && same_time
    }
}

/// What is to be brought over, and what is known without doing so.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the replica decides rightly by size and time.
    pub quick: Errand,
    /// What it must compare by content.
    pub exact: Errand,
    /// Looks that found no room in this plan.
    pub postponed: Vec<Taken>,
    /// Rows that end with the confirmation of `quick` without being removals of their own: names that a
    /// directory listed whole no longer has, or that are left out now.
    pub forgotten: Vec<PathBuf>,
    /// Paths that could not be read, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// What the plan removes, as far as the ledger knows of it.
    pub deletions: Deletions,
}

/// What a plan removes from the replica.
#[derive(Debug, Default)]
pub struct Deletions {
    /// Names that are no directories.
    pub leaves: u64,
    /// Directories, with everything below them.
    pub dirs: Vec<PathBuf>,
    /// Names that are no directories whose removal was seen by itself, as `rm -r` removes them. That is somebody's
    /// doing, not a source that is not what it was.
    pub witnessed: u64,
    /// Directories are listed whole of which nobody knows what the replica has in them: that goes too.
    pub unknown: bool,
}

impl Deletions {
    /// Whether the plan removes nothing, for certain.
    pub fn is_none(&self) -> bool {
        self.leaves == 0 && self.dirs.is_empty() && !self.unknown
    }
}

impl Plan {
    /// Leaves everything that removes something out of the plan. The rows of it stay, and with them the difference.
    pub fn withhold_deletions(&mut self) {
        self.forgotten.clear();
        for Errand { batch, notes } in [&mut self.quick, &mut self.exact] {
            batch.gone.clear();
            for (item, note) in batch.items.iter().zip(notes) {
                note.whole &= !batch.whole.contains(&item.path);
            }
            batch.whole.clear();
        }
    }
}

/// One session's batch, and what it means for the ledger.
#[derive(Debug, Default)]
pub struct Errand {
    /// What the replica is told.
    pub batch: Batch,
    /// A note for each of the batch's items, in their order.
    pub notes: Vec<Note>,
}

/// What the ledger will say of an item, beyond its version, once it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// See [`Held::doubtful`].
    pub doubtful: bool,
    /// See [`Held::whole`].
    pub whole: bool,
    /// More than the parent of other items: what a broken session leaves in doubt.
    pub is_update: bool,
    /// Only in the list because a directory is listed whole; the other session brings it over and confirms it.
    pub is_elsewhere: bool,
}

impl Errand {
    /// The paths that this session may change at the replica.
    pub fn updates(&self) -> impl Iterator<Item = &Path> {
        self.noted()
            .filter(|(_, note)| note.is_update)
            .map(|(item, _)| item.path.as_path())
    }

    /// Those of them about which nothing is in doubt when it has gone well.
    pub fn settled(&self) -> impl Iterator<Item = &Path> {
        let settled = self
            .noted()
            .filter(|(_, note)| note.is_update && !note.is_elsewhere);
        settled.map(|(item, _)| item.path.as_path())
    }

    fn noted(&self) -> impl Iterator<Item = (&Item, &Note)> {
        self.batch.items.iter().zip(&self.notes)
    }
}

/// Makes a plan from looks. SQLite's errors end the planning, those of single paths do not.
///
/// # Errors
/// SQLite's, or the source's root cannot be read.
pub fn plan(
    source: &Source,
    ledger: &Ledger,
    abilities: Abilities,
    looks: Vec<Taken>,
) -> Result<Plan, PlanError> {
    let mut draft = Draft::new(source, ledger, abilities);
    let mut stack = looks;
    stack.reverse();
    while let Some(taken) = stack.pop() {
        if draft.is_full() {
            stack.push(taken);
            break;
        }
        draft.examine(&taken, &mut stack)?;
    }
    stack.reverse();
    draft.finish(stack)
}

/// Makes a plan that compares directories of the replica with the source, whatever the ledger says: as many of `dirs` as
/// have `bytes` in their files. What they contain in turn is put in their place. Returns how many files and bytes that is.
///
/// # Errors
/// As [`plan`].
pub fn verification(
    source: &Source,
    ledger: &Ledger,
    abilities: Abilities,
    dirs: &mut Vec<PathBuf>,
    by_content: bool,
    bytes: u64,
) -> Result<(Plan, Compared), PlanError> {
    let mut draft = Draft::new(source, ledger, abilities);
    draft.verifies = Some(by_content);
    let mut compared = Compared::default();
    while compared.bytes < bytes && draft.items.len() < VERIFIED_ITEMS {
        let Some(dir) = dirs.pop() else { break };
        draft.list_whole(&dir, Instant::now(), false, &mut Vec::new())?;
        let children = draft.items.values().filter(|draft| {
            draft.item.path.parent() == Some(&dir) && !draft.item.path.as_os_str().is_empty()
        });
        for DraftItem { item, .. } in children {
            match item.meta.kind {
                Kind::Dir => dirs.push(item.path.clone()),
                Kind::File => {
                    compared.files += 1;
                    compared.bytes += item.meta.size;
                }
                _ => compared.files += 1,
            }
        }
    }
    // Whatever the ledger says, the replica may have anything.
    draft.done.deletions.unknown = true;
    Ok((draft.finish(Vec::new())?, compared))
}

/// What a verification looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compared {
    /// Files, and whatever else is no directory.
    pub files: u64,
    /// Bytes in the files.
    pub bytes: u64,
}

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The ledger failed.
    #[error("state file: {0}")]
    Ledger(#[from] rusqlite::Error),
    /// The root of the source cannot be looked at.
    #[error(transparent)]
    Source(#[from] tree::Error),
}

struct Draft<'a> {
    source: &'a Source,
    ledger: &'a Ledger,
    abilities: Abilities,
    items: BTreeMap<PathBuf, DraftItem>,
    bytes: u64,
    done: Done,
    /// A verification is planned; whether it compares contents.
    verifies: Option<bool>,
}

#[derive(Default)]
struct Done {
    whole: HashSet<PathBuf>,
    gone: BTreeSet<PathBuf>,
    forgotten: Vec<PathBuf>,
    unreadable: Vec<(PathBuf, String)>,
    deletions: Deletions,
    /// Inodes with several names whose names have been gathered.
    grouped: HashSet<Identity>,
    /// Inodes that have lost a name, and whose other names are looked at for that.
    left: HashSet<Identity>,
    /// Renamed files, by their former names.
    renamed: BTreeMap<PathBuf, Renamed>,
}

struct DraftItem {
    item: Item,
    note: Note,
    exact: bool,
}

impl DraftItem {
    fn shown_for_another_session(&self) -> Self {
        Self {
            item: self.item.clone(),
            note: Note {
                is_elsewhere: true,
                ..self.note
            },
            exact: false,
        }
    }
}

impl<'a> Draft<'a> {
    fn new(source: &'a Source, ledger: &'a Ledger, abilities: Abilities) -> Self {
        Draft {
            source,
            ledger,
            abilities,
            items: BTreeMap::new(),
            bytes: 0,
            done: Done::default(),
            verifies: None,
        }
    }

    fn is_full(&self) -> bool {
        self.items.len() >= BATCH_ITEMS || self.bytes >= BATCH_BYTES
    }

    /// Looks at one path, and puts on `stack` what is to be looked at because of it.
    fn examine(&mut self, taken: &Taken, stack: &mut Vec<Taken>) -> Result<(), PlanError> {
        let path = &taken.path;
        let held = self.ledger.held(path)?;
        let meta = match self.source.lstat(path) {
            Ok(meta) => meta,
            Err(error) => {
                self.done.unreadable.push((path.clone(), error.to_string()));
                return Ok(());
            }
        };
        if let Some(held) = &held
            && held.version.kind != Kind::Dir
            && meta.is_none_or(|meta| meta.identity() != held.version.identity())
        {
            self.look_at_other_names(path, held.version.identity(), taken.since, stack)?;
        }
        if let (Some(meta), Some(held)) = (&meta, &held)
            && held.version.kind == Kind::Dir
            && meta.kind != Kind::Dir
        {
            for (name, _) in self.ledger.children(path)? {
                self.done
                    .forgotten
                    .push(path.join(OsString::from_vec(name)));
            }
        }
        match (meta, held) {
            (None, None) => {
                // It came and went: what is left of that is the time of its directory.
                stack.extend(path.parent().map(|parent| Taken {
                    path: parent.to_owned(),
                    look: Look::AT,
                    since: taken.since,
                }));
                Ok(())
            }
            (None, Some(held)) => {
                let is_witnessed = !taken.look.recursive && held.version.kind != Kind::Dir;
                self.done.deletions.witnessed += u64::from(is_witnessed);
                self.removed(path, held.version.kind, taken.since, stack)
            }
            (Some(meta), held) if self.source.leaves_out(path, meta.kind == Kind::Dir) => {
                if held.is_some() {
                    self.done.forgotten.push(path.clone());
                }
                Ok(())
            }
            (Some(meta), held) if meta.kind == Kind::Dir => {
                self.directory(taken, meta, held, stack)
            }
            (Some(meta), held) => self.leaf(path, meta, held.as_ref(), taken.look.exact),
        }
    }

    /// What happened to a file under a name that it has no longer concerns its other names too: an event names only
    /// one of them.
    fn look_at_other_names(
        &mut self,
        path: &Path,
        file: Identity,
        since: Instant,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        if self.done.left.insert(file) {
            let names = self
                .ledger
                .names_of(file.dev, file.ino)?
                .into_iter()
                .map(|(name, _)| name);
            stack.extend(names.filter(|name| name != path).map(|path| Taken {
                path,
                look: Look::AT,
                since,
            }));
        }
        Ok(())
    }

    /// A path that the replica holds and the source no longer has.
    fn removed(
        &mut self,
        path: &Path,
        kind: Kind,
        since: Instant,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let (topmost, is_replaced) = self.topmost_missing(path)?;
        let parent = topmost.parent().unwrap_or(Path::new(""));
        if is_replaced || self.done.whole.contains(parent) {
            self.done.forgotten.push(topmost.to_owned());
        } else if self.abilities.removes_by_name {
            if !topmost
                .ancestors()
                .any(|above| self.done.gone.contains(above))
                && self.done.gone.insert(topmost.to_owned())
            {
                let kind = if topmost == path { kind } else { Kind::Dir };
                self.note_deletion(topmost, kind);
            }
        } else {
            self.list_whole(parent, since, false, stack)?;
        }
        Ok(())
    }

    fn note_deletion(&mut self, path: &Path, kind: Kind) {
        match kind {
            Kind::Dir => self.done.deletions.dirs.push(path.to_owned()),
            _ => self.done.deletions.leaves += 1,
        }
    }

    /// The first missing name on the way to a missing path, and whether what is above it is no directory any more: then
    /// that is replaced together with its content.
    fn topmost_missing<'p>(&self, path: &'p Path) -> Result<(&'p Path, bool), PlanError> {
        let mut topmost = path;
        while let Some(parent) = topmost
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            match self.source.lstat(parent)? {
                Some(meta) => return Ok((topmost, meta.kind != Kind::Dir)),
                None => topmost = parent,
            }
        }
        Ok((topmost, false))
    }

    fn directory(
        &mut self,
        taken: &Taken,
        meta: Meta,
        held: Option<Held>,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let path = &taken.path;
        let known = held.filter(|held| held.version.kind == Kind::Dir);
        let Some(known) = known.filter(|held| held.whole) else {
            return self.list_whole(path, taken.since, taken.look.recursive, stack);
        };
        if !same_directory(&known.version, &meta) {
            self.add(
                Item {
                    path: path.clone(),
                    meta,
                    target: None,
                },
                true,
                known.whole,
                false,
            );
        }
        if taken.look.recursive || known.version.file_id() != meta.file_id() {
            self.compare_directory(taken, stack)?;
        }
        Ok(())
    }

    /// Puts a directory with its complete content, one level, into the draft. The directories in it follow if they
    /// are in doubt too, or all of them if the look is `recursive`.
    fn list_whole(
        &mut self,
        dir: &Path,
        since: Instant,
        recursive: bool,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        if self.done.whole.contains(dir) && !recursive {
            return Ok(());
        }
        let Some(meta) = self
            .source
            .lstat(dir)?
            .filter(|meta| meta.kind == Kind::Dir)
        else {
            return Ok(());
        };
        let children = self.source.children(dir);
        self.add(
            Item {
                path: dir.to_owned(),
                meta,
                target: None,
            },
            true,
            children.is_ok(),
            false,
        );
        let children = match children {
            Ok(children) => children,
            Err(error) => {
                self.done
                    .unreadable
                    .push((dir.to_owned(), error.to_string()));
                return Ok(());
            }
        };
        self.done.whole.insert(dir.to_owned());
        self.done.deletions.unknown |= !self.ledger.held(dir)?.is_some_and(|held| held.whole);
        let unreadable = self.done.unreadable.len();
        let mut missing: BTreeMap<Vec<u8>, Held> = self.ledger.children(dir)?.into_iter().collect();
        let mut below = Vec::new();
        for Child { path, meta } in children {
            let held = missing.remove(name_of(&path));
            if meta.kind == Kind::Dir {
                let is_whole = held
                    .as_ref()
                    .is_some_and(|held| held.version.kind == Kind::Dir && held.whole);
                let is_update = !held.is_some_and(|held| same_directory(&held.version, &meta));
                if !self.done.whole.contains(&path) {
                    self.add(
                        Item {
                            path: path.clone(),
                            meta,
                            target: None,
                        },
                        is_update,
                        is_whole,
                        false,
                    );
                }
                if recursive || !is_whole {
                    below.push(Taken {
                        path,
                        look: Look {
                            recursive,
                            exact: false,
                        },
                        since,
                    });
                }
            } else {
                let by_content = self.verifies == Some(true);
                let is_update =
                    by_content || !held.as_ref().is_some_and(|held| is_held(held, &meta));
                self.add_leaf(&path, meta, is_update, by_content)?;
                if held.is_none() && self.verifies.is_none() {
                    self.note_rename(&path, &meta)?;
                }
            }
        }
        if self.done.unreadable.len() > unreadable {
            // What cannot be read cannot be listed, and must not be removed for that.
            self.done.whole.remove(dir);
            if let Some(listed) = self.items.get_mut(dir) {
                listed.note.whole = false;
            }
        } else {
            for (name, held) in missing {
                let path = dir.join(OsString::from_vec(name));
                let kind = held.version.kind;
                if !self.source.leaves_out(&path, kind == Kind::Dir) {
                    self.note_deletion(&path, kind);
                }
                self.done.forgotten.push(path);
            }
        }
        stack.extend(below.into_iter().rev());
        Ok(())
    }

    /// Compares the content of a directory, one level, with the ledger; its directories are compared in turn.
    fn compare_directory(
        &mut self,
        taken: &Taken,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let dir = &taken.path;
        let children = match self.source.children(dir) {
            Ok(children) => children,
            Err(error) if error.vanished() => return Ok(()),
            Err(error) => {
                self.done.unreadable.push((dir.clone(), error.to_string()));
                return Ok(());
            }
        };
        let mut missing: BTreeMap<Vec<u8>, Held> = self.ledger.children(dir)?.into_iter().collect();
        let mut below = Vec::new();
        for Child { path, meta } in children {
            let held = missing.remove(name_of(&path));
            if meta.kind == Kind::Dir {
                below.push(Taken {
                    path,
                    look: Look::BELOW,
                    since: taken.since,
                });
            } else {
                self.leaf(&path, meta, held.as_ref(), false)?;
            }
        }
        for (name, held) in missing {
            let path = dir.join(OsString::from_vec(name));
            // It may have come into being, or be left out, since the directory was read.
            match self.source.lstat(&path)? {
                None => self.removed(&path, held.version.kind, taken.since, stack)?,
                Some(meta) if self.source.leaves_out(&path, meta.kind == Kind::Dir) => {
                    self.done.forgotten.push(path);
                }
                Some(_) => below.push(Taken {
                    path,
                    look: Look::BELOW,
                    since: taken.since,
                }),
            }
        }
        stack.extend(below.into_iter().rev());
        Ok(())
    }

    /// Anything but a directory.
    fn leaf(
        &mut self,
        path: &Path,
        meta: Meta,
        held: Option<&Held>,
        unsure: bool,
    ) -> Result<(), PlanError> {
        let exact = match held {
            Some(held) if is_held(held, &meta) && !unsure => return Ok(()),
            Some(held) => unsure || self.abilities.would_misjudge(&held.version, &meta),
            None => unsure,
        };
        self.add_leaf(path, meta, true, exact)?;
        if held.is_none() && !unsure {
            self.note_rename(path, &meta)?;
        }
        Ok(())
    }

    /// Notes that a new name is that of a file which the replica holds under a former name, if that is so: the same
    /// inode and birth, size and time, and nothing under the former name any more.
    fn note_rename(&mut self, path: &Path, meta: &Meta) -> Result<(), PlanError> {
        if meta.kind != Kind::File || meta.size == 0 || meta.nlink > 1 {
            return Ok(());
        }
        for (former, held) in self.ledger.names_of(meta.dev, meta.ino)? {
            let is_it = !held.doubtful
                && held.version.file_id() == meta.file_id()
                && (held.version.size, held.version.mtime) == (meta.size, meta.mtime)
                && !self.source.leaves_out(&former, false)
                && self.source.lstat(&former)?.is_none();
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

    fn add_leaf(
        &mut self,
        path: &Path,
        meta: Meta,
        is_update: bool,
        exact: bool,
    ) -> Result<(), PlanError> {
        let Some(item) = self.item(path, meta) else {
            return Ok(());
        };
        let group = meta.link_group();
        self.add(item, is_update, false, exact);
        match group {
            Some(group) if is_update && self.done.grouped.insert(group) => {
                self.add_names(group, exact)
            }
            _ => Ok(()),
        }
    }

    /// Adds the other names of a file: a receiver links only what it sees in one session.
    fn add_names(&mut self, group: Identity, exact: bool) -> Result<(), PlanError> {
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

    /// The item of a path that is no directory; `None` if it vanished.
    fn item(&mut self, path: &Path, meta: Meta) -> Option<Item> {
        let target = match meta.kind {
            Kind::Symlink => match self.source.root().read_link(path) {
                Ok(target) => Some(target),
                Err(error) if error.vanished() => return None,
                Err(error) => {
                    self.done
                        .unreadable
                        .push((path.to_owned(), error.to_string()));
                    return None;
                }
            },
            _ => None,
        };
        Some(Item {
            path: path.to_owned(),
            meta,
            target,
        })
    }

    fn add(&mut self, item: Item, is_update: bool, whole: bool, exact: bool) {
        let is_file = item.meta.kind == Kind::File;
        self.bytes += if is_file && is_update {
            item.meta.size
        } else {
            0
        };
        let mut note = Note {
            doubtful: is_file && is_young(item.meta.ctime),
            whole,
            is_update,
            is_elsewhere: false,
        };
        let mut exact = exact;
        if let Some(earlier) = self.items.get(&item.path) {
            exact |= earlier.exact;
            note.is_update |= earlier.note.is_update;
            note.whole |= earlier.note.whole;
        }
        self.items
            .insert(item.path.clone(), DraftItem { item, note, exact });
    }

    fn finish(mut self, postponed: Vec<Taken>) -> Result<Plan, PlanError> {
        self.join_groups();
        let (exact, mut quick): (Vec<_>, Vec<_>) = std::mem::take(&mut self.items)
            .into_values()
            .partition(|item| item.exact);
        // A name that a directory listed whole does not show is removed from the replica.
        let is_shown = |item: &&DraftItem| {
            item.item
                .path
                .parent()
                .is_some_and(|dir| self.done.whole.contains(dir))
        };
        let elsewhere = exact
            .iter()
            .filter(is_shown)
            .map(DraftItem::shown_for_another_session);
        quick.extend(elsewhere);
        let mut plan = Plan {
            postponed,
            forgotten: std::mem::take(&mut self.done.forgotten),
            unreadable: std::mem::take(&mut self.done.unreadable),
            deletions: std::mem::take(&mut self.done.deletions),
            ..Plan::default()
        };
        let gone = std::mem::take(&mut self.done.gone);
        let mut parents = Parents::new(self.source, self.ledger);
        plan.quick = parents.complete(quick, gone)?;
        plan.quick.batch.whole = std::mem::take(&mut self.done.whole);
        self.add_renames(&mut plan.quick.batch)?;
        plan.exact = parents.complete(exact, BTreeSet::new())?;
        plan.exact.batch.exact = true;
        Ok(plan)
    }

    /// Adds the renames whose former directories can be told to the replica too.
    fn add_renames(&mut self, batch: &mut Batch) -> Result<(), PlanError> {
        let mut former_dirs: BTreeMap<PathBuf, Item> = BTreeMap::new();
        for renamed in std::mem::take(&mut self.done.renamed).into_values() {
            let mut above = Vec::new();
            let mut is_known = batch.item(&renamed.new).is_some();
            for dir in renamed.old.path.ancestors().skip(1) {
                match (
                    batch.item(dir),
                    self.source.lstat(dir)?,
                    self.ledger.held(dir)?,
                ) {
                    (Some(item), _, _) => is_known &= item.meta.kind == Kind::Dir,
                    (None, Some(meta), _) if meta.kind == Kind::Dir => {
                        above.push(Item {
                            path: dir.to_owned(),
                            meta,
                            target: None,
                        });
                    }
                    (None, None, Some(held)) if held.version.kind == Kind::Dir => {
                        above.push(Item {
                            path: dir.to_owned(),
                            meta: held.version,
                            target: None,
                        });
                    }
                    _ => is_known = false,
                }
            }
            if is_known {
                former_dirs.extend(above.into_iter().map(|item| (item.path.clone(), item)));
                batch.renamed.push(renamed);
            }
        }
        batch.former_dirs = former_dirs.into_values().collect();
        Ok(())
    }

    /// All names of one file go in one session, and if one of them must be compared by content, all are.
    fn join_groups(&mut self) {
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

/// Whether the replica holds this version without a doubt.
fn is_held(held: &Held, meta: &Meta) -> bool {
    !held.doubtful && meta.unchanged_since(&held.version)
}

/// What a replica keeps of a directory: its inode, size and ctime say nothing about it.
fn same_directory(old: &Meta, new: &Meta) -> bool {
    (old.kind, old.mode, old.uid, old.gid, old.mtime)
        == (new.kind, new.mode, new.uid, new.gid, new.mtime)
}

/// Whether a change after now could leave the same ctime. One in the future is the clock's fault, and would be
/// doubted for ever.
fn is_young(ctime: tree::Time) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let ctime = Duration::new(u64::try_from(ctime.sec).unwrap_or(0), ctime.nsec);
    now.checked_sub(ctime).is_some_and(|age| age < CLOCK_TICK)
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}
