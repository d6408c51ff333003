//! A plan in the making: looks go in one by one, and what differs gathers until the plan is full.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use transfer::{Item, Renamed};
use tree::{Identity, Kind, Meta};

use super::ahead::Ahead;
use super::parents::Parents;
use super::verification::Step;
use super::{Abilities, Deletions, Note, Plan, PlanError};
use crate::dirty::{Look, Taken};
use crate::ledger::{Held, Ledger};
use crate::restless::Restless;
use crate::source::Source;

/// A batch is closed when it has this many items. What one directory listed whole holds is never divided.
const BATCH_ITEMS: usize = 20_000;

/// A batch is closed when the files in it have this many bytes, so that a broken session repeats little.
pub(super) const BATCH_BYTES: u64 = 4 << 30;

/// A ctime younger than this may be carried by a later change too: the coarsest clock tick of the kernels
/// in use (HZ=100).
const CLOCK_TICK: Duration = Duration::from_millis(10);

pub(super) struct Draft<'a> {
    pub(super) source: &'a Source,
    pub(super) ledger: &'a Ledger,
    pub(super) abilities: Abilities,
    pub(super) items: BTreeMap<PathBuf, DraftItem>,
    bytes: u64,
    pub(super) ahead: Ahead,
    pub(super) done: Done,
    /// Nothing that is added now was looked at before.
    pub(super) looking_since: SystemTime,
    /// A verification is planned.
    pub(super) step: Option<Step>,
    /// Directories that are left as they are, with all below them.
    pub(super) unmounted: &'a [PathBuf],
}

#[derive(Default)]
pub(super) struct Done {
    pub(super) whole: HashSet<PathBuf>,
    /// Names to be removed, and since when they are known to be missing.
    pub(super) gone: BTreeMap<PathBuf, Instant>,
    pub(super) forgotten: Vec<PathBuf>,
    pub(super) unreadable: Vec<(PathBuf, String)>,
    pub(super) deletions: Deletions,
    /// Inodes with several names whose names have been gathered.
    pub(super) grouped: HashSet<Identity>,
    /// Inodes that have lost a name, and whose other names are looked at for that.
    pub(super) left: HashSet<Identity>,
    /// Names that go first and are looked at again when they have gone.
    pub(super) parted: Vec<Taken>,
    /// Renamed files, by their former names.
    pub(super) renamed: BTreeMap<PathBuf, Renamed>,
    /// Directories that such a name was in and that are gone.
    pub(super) missing_dirs: HashSet<PathBuf>,
    pub(super) restless: Restless,
}

pub(super) struct DraftItem {
    pub(super) item: Item,
    pub(super) note: Note,
    pub(super) exact: bool,
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
    pub(super) fn new(source: &'a Arc<Source>, ledger: &'a Ledger, abilities: Abilities) -> Self {
        Draft {
            ahead: Ahead::of(Arc::clone(source)),
            source,
            ledger,
            abilities,
            items: BTreeMap::new(),
            bytes: 0,
            done: Done::default(),
            looking_since: SystemTime::now(),
            step: None,
            unmounted: &[],
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= BATCH_ITEMS || self.bytes >= BATCH_BYTES
    }

    /// Looks at one path, and puts on `stack` what is to be looked at because of it.
    pub(super) fn examine(
        &mut self,
        taken: &Taken,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let path = &taken.path;
        if self.is_unmounted(path) {
            return Ok(());
        }
        let held = self.ledger.held(path)?;
        self.looking_since = SystemTime::now();
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
            (Some(meta), held) => self.leaf(taken, meta, held.as_ref(), stack),
        }
    }

    /// Whether a path is, or was, in a file system that is not mounted now.
    pub(super) fn is_unmounted(&self, path: &Path) -> bool {
        self.unmounted.iter().any(|above| path.starts_with(above))
    }

    /// Notes a file that may change from now on without an event that names it.
    pub(super) fn note_restless(&mut self, path: &Path, meta: &Meta) {
        self.done.restless.note(path, meta, self.looking_since);
    }

    /// A path that the replica holds and the source no longer has.
    pub(super) fn removed(
        &mut self,
        path: &Path,
        kind: Kind,
        since: Instant,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let (topmost, is_replaced) = self.topmost_missing(path)?;
        let parent = topmost.parent().unwrap_or(Path::new(""));
        if is_replaced {
            let is_still_there = |held: Held| held.version.kind == Kind::Dir;
            if !self.ledger.held(parent)?.is_some_and(is_still_there) {
                self.done.forgotten.push(topmost.to_owned());
            } else if !self.items.contains_key(parent) {
                // What comes in the directory's place takes it away with all that is in it, and only then the row ends.
                stack.push(Taken {
                    path: parent.to_owned(),
                    look: Look::AT,
                    since,
                });
            }
        } else if self.done.whole.contains(parent) {
            self.done.forgotten.push(topmost.to_owned());
        } else if self.abilities.removes_by_name {
            if !topmost
                .ancestors()
                .any(|above| self.done.gone.contains_key(above))
            {
                self.done.gone.insert(topmost.to_owned(), since);
                let kind = if topmost == path { kind } else { Kind::Dir };
                self.note_deletion(topmost, kind);
            }
        } else {
            self.list_whole(parent, since, false, stack)?;
        }
        Ok(())
    }

    pub(super) fn note_deletion(&mut self, path: &Path, kind: Kind) {
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

    /// Whether size and time do not tell if the replica holds `meta`. They never do where the row is in doubt: a version
    /// that had gone by the time it was asked for has left the replica with an earlier one, which may look like this one.
    pub(super) fn must_compare(&self, held: &Held, meta: &Meta) -> bool {
        (held.doubtful && meta.kind == Kind::File)
            || self.abilities.would_misjudge(&held.version, meta)
    }

    /// Anything but a directory.
    pub(super) fn leaf(
        &mut self,
        taken: &Taken,
        meta: Meta,
        held: Option<&Held>,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let (path, unsure) = (&taken.path, taken.look.exact);
        let exact = match held {
            Some(held) if held.is_surely(&meta) && !unsure => return Ok(()),
            Some(held) => unsure || self.must_compare(held, &meta),
            None => unsure,
        };
        if let Some(held) = held
            && self.is_stuck(path, held, &meta, exact)?
        {
            self.done.deletions.witnessed += 1;
            self.removed(path, held.version.kind, taken.since, stack)?;
            self.part(path.clone(), taken.since);
            return Ok(());
        }
        self.add_leaf(path, meta, true, exact)?;
        if held.is_none() && !unsure {
            self.note_rename(path, &meta)?;
        }
        Ok(())
    }

    pub(super) fn add_leaf(
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

    /// The item of a path that is no directory; `None` if it vanished.
    pub(super) fn item(&mut self, path: &Path, meta: Meta) -> Option<Item> {
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

    pub(super) fn add(&mut self, item: Item, is_update: bool, whole: bool, exact: bool) {
        let is_file = item.meta.kind == Kind::File;
        if is_file && is_update {
            self.bytes = self.bytes.saturating_add(item.meta.size);
        }
        let mut note = Note {
            doubtful: is_file && is_young(item.meta.ctime, self.looking_since),
            whole,
            is_update,
            is_elsewhere: false,
        };
        match self.items.entry(item.path.clone()) {
            Entry::Vacant(place) => drop(place.insert(DraftItem { item, note, exact })),
            Entry::Occupied(mut earlier) => {
                let earlier = earlier.get_mut();
                let exact = exact || earlier.exact;
                note.is_update |= earlier.note.is_update;
                note.whole |= earlier.note.whole;
                *earlier = DraftItem { item, note, exact };
            }
        }
    }

    pub(super) fn finish(mut self, mut postponed: Vec<Taken>) -> Result<Plan, PlanError> {
        self.leave_out_what_is_removed();
        self.join_groups();
        if !postponed.is_empty() {
            postponed.extend(self.take_former_places());
        }
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
        let shown = || exact.iter().filter(is_shown);
        quick.extend(shown().map(DraftItem::shown_for_another_session));
        let shown: Vec<PathBuf> = shown().map(|item| item.item.path.clone()).collect();
        let mut plan = Plan {
            postponed,
            forgotten: std::mem::take(&mut self.done.forgotten),
            unreadable: std::mem::take(&mut self.done.unreadable),
            deletions: std::mem::take(&mut self.done.deletions),
            parted: std::mem::take(&mut self.done.parted),
            restless: std::mem::take(&mut self.done.restless),
            ..Plan::default()
        };
        let gone = std::mem::take(&mut self.done.gone);
        let mut parents = Parents::new(self.source, self.ledger);
        plan.quick = parents.complete(quick, gone.into_keys())?;
        plan.quick.batch.whole = std::mem::take(&mut self.done.whole);
        self.add_renames(&mut plan.quick.batch)?;
        plan.exact = parents.complete(exact, [])?;
        plan.exact.batch.exact = true;
        // One that has lost its directory in the meantime would be kept by the one session and told by neither.
        for path in shown {
            if plan.exact.batch.item(&path).is_none() {
                plan.leave_unlisted(path.parent().unwrap_or(Path::new("")));
            }
        }
        Ok(plan)
    }

    /// A path that was there at one look and missing at another is removed, and looked at again when it has gone. Were it
    /// listed too, the replica would keep it, and no row would tell.
    fn leave_out_what_is_removed(&mut self) {
        let now = Instant::now();
        let gone = self.done.gone.iter().map(|(path, since)| (path, *since));
        let forgotten = self.done.forgotten.iter().map(|path| (path, now));
        for (path, since) in gone.chain(forgotten) {
            let is_at_or_below = |other: &PathBuf| other.starts_with(path);
            let listed = self.items.range(path.clone()..).map(|(listed, _)| listed);
            let listed: Vec<PathBuf> = listed.take_while(|p| is_at_or_below(p)).cloned().collect();
            if listed.is_empty() {
                continue;
            }
            for path in listed {
                self.items.remove(&path);
                self.done.whole.remove(&path);
            }
            self.done.parted.push(Taken {
                path: path.clone(),
                look: Look::BELOW,
                since,
            });
        }
    }
}

/// Whether a change after it was `looked_at` could leave the same ctime. One in the future is the clock's fault, and would be
/// doubted for ever.
fn is_young(ctime: tree::Time, looked_at: SystemTime) -> bool {
    let of_the_clock = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ctime = Duration::new(u64::try_from(ctime.sec).unwrap_or(0), ctime.nsec);
    let next_tick = ctime.saturating_add(CLOCK_TICK);
    next_tick > of_the_clock(looked_at) && ctime <= of_the_clock(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ctime_is_young_if_it_was_when_it_was_looked_at() {
        let now = SystemTime::now();
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap();
        let ms = Duration::from_millis;
        for (age, looked, is_young_then) in [
            (ms(1), ms(0), true),
            (ms(5), ms(0), true),
            (CLOCK_TICK, ms(0), false),
            // The look took its time, or what came of it.
            (ms(70), ms(65), true),
            (ms(70), ms(75), true),
            (ms(70), ms(50), false),
        ] {
            let ctime = since_1970.checked_sub(age).unwrap();
            let ctime = tree::Time {
                sec: i64::try_from(ctime.as_secs()).unwrap(),
                nsec: ctime.subsec_nanos(),
            };
            let looked_at = now.checked_sub(looked).unwrap();
            assert_eq!(
                is_young(ctime, looked_at),
                is_young_then,
                "{age:?}, {looked:?}"
            );
        }
        let tomorrow = tree::Time {
            sec: i64::try_from(since_1970.as_secs()).unwrap() + 86_400,
            nsec: 0,
        };
        assert!(!is_young(tomorrow, now));
    }
}
