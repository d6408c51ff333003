//! From "worth a look" to "this is what the replica lacks": the difference of tree and ledger.
//!
//! Every look, whatever caused it, takes the same way: stat the path, read the ledger, and put what differs
//! into a draft. A directory whose content at the replica nobody knows (a first start, a broken session) is
//! listed *whole*, one level, so that what is too much there goes too.

mod ahead;
mod directories;
mod draft;
mod names;
mod parents;
#[cfg(test)]
mod tests;
mod verification;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use transfer::{Batch, Item};
use tree::{Kind, Meta};

use self::draft::Draft;
pub(crate) use self::verification::{Unverified, verification};
use crate::dirty::{Look, Taken};
use crate::ledger::{Held, Ledger, Reach};
use crate::restless::Restless;
use crate::source::Source;

/// What the replica can be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// It removes a name that is sent as missing. Otherwise its directory is listed whole.
    pub removes_by_name: bool,
    /// It compares times to the nanosecond before it takes two versions for the same; otherwise to the second.
    pub compares_nanoseconds: bool,
    /// It compares contents. Otherwise what is to be compared is sent, whatever it holds.
    pub compares_contents: bool,
    /// It keeps symbolic links. Otherwise it has nothing under their names.
    pub keeps_links: bool,
    /// The same of devices, sockets and FIFOs.
    pub keeps_specials: bool,
}

impl Abilities {
    /// Those of a replica that nothing is asked of in vain.
    pub(crate) const ALL: Self = Self {
        removes_by_name: true,
        compares_nanoseconds: true,
        compares_contents: true,
        keeps_links: true,
        keeps_specials: true,
    };

    /// Whether a replica that holds `old` and compares sizes and times (behaviour.md 2.8) would take `new` for the
    /// same.
    fn would_misjudge(self, old: &Meta, new: &Meta) -> bool {
        let same_time = old.mtime.sec == new.mtime.sec
            && (!self.compares_nanoseconds || old.mtime == new.mtime);
        old.kind == Kind::File && new.kind == Kind::File && old.size == new.size && same_time
    }

    /// Whether the replica keeps what is of this kind.
    fn keep(self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Dir => true,
            Kind::Symlink => self.keeps_links,
            _ => self.keeps_specials,
        }
    }
}

/// What is to be brought over, and what is known without doing so.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What the replica decides rightly by size and time.
    pub quick: Errand,
    /// What it must compare by content.
    pub exact: Errand,
    /// Looks that found no room in this plan.
    pub postponed: Vec<Taken>,
    /// Looks at what this plan removes or leaves out because it can only come when that has happened.
    pub parted: Vec<Taken>,
    /// Rows that end with the confirmation of `quick` without being removals of their own: names that a
    /// directory listed whole no longer has, or that are left out now.
    pub forgotten: Vec<PathBuf>,
    /// Paths that could not be read, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    /// What the plan removes, as far as the ledger knows of it.
    pub deletions: Deletions,
    /// Files that may change without anybody's telling.
    pub restless: Restless,
}

/// What a plan removes from the replica.
#[derive(Debug, Default)]
pub(crate) struct Deletions {
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
    pub(crate) fn is_none(&self) -> bool {
        self.leaves == 0 && self.dirs.is_empty() && !self.unknown
    }
}

impl Plan {
    /// Has a directory listed whole by the next plan, not by this one.
    fn leave_unlisted(&mut self, dir: &Path) {
        if !self.quick.batch.whole.remove(dir) {
            return;
        }
        let items = self.quick.batch.items.iter();
        for (item, note) in items.zip(&mut self.quick.notes) {
            note.whole &= item.path != dir;
        }
        self.parted.push(Taken {
            path: dir.to_owned(),
            look: Look::BELOW,
            since: Instant::now(),
        });
    }

    /// Leaves everything that removes something out of the plan. The rows of it stay, and with them the difference.
    pub(crate) fn withhold_deletions(&mut self) {
        self.forgotten.clear();
        self.parted.clear();
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
pub(crate) struct Errand {
    /// What the replica is told.
    pub batch: Batch,
    /// A note for each of the batch's items, in their order.
    pub notes: Vec<Note>,
}

/// What the ledger will say of an item, beyond its version, once it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    /// See [`Held::doubtful`](crate::ledger::Held::doubtful).
    pub doubtful: bool,
    /// See [`Held::whole`](crate::ledger::Held::whole).
    pub whole: bool,
    /// More than the parent of other items: what a broken session leaves in doubt.
    pub is_update: bool,
    /// Only in the list because a directory is listed whole; the other session brings it over and confirms it.
    pub is_elsewhere: bool,
}

impl Errand {
    /// Everything that this session may change at the replica, but for the attributes of the directories above.
    pub(crate) fn reach(&self) -> impl Iterator<Item = (&Path, Reach)> {
        let items = self.noted().filter_map(|(item, note)| {
            let reach = self.reach_of(item, note)?;
            Some((item.path.as_path(), reach))
        });
        let gone = self.batch.gone.iter();
        items.chain(gone.map(|path| (path.as_path(), Reach::Entry)))
    }

    /// The same of one item.
    pub(crate) fn reach_of(&self, item: &Item, note: &Note) -> Option<Reach> {
        let is_whole = |dir: &Path| self.batch.whole.contains(dir);
        let is_dir = item.meta.is_dir();
        let reach = match is_dir {
            true if is_whole(&item.path) => Reach::Listed,
            true => Reach::Directory,
            false => Reach::Entry,
        };
        // An unchanged name in a directory listed whole is a part of that; only which directories were told counts.
        let is_listed = item.path.parent().is_some_and(is_whole);
        (note.is_update || is_dir == is_listed).then_some(reach)
    }

    /// The names that this session is about to make names of one file, as rows in doubt. Should it break, nothing else tells
    /// that the replica may have them so, and that one of them must go before it can be another file.
    ///
    /// # Errors
    /// SQLite's.
    pub fn expected_links(&self, ledger: &Ledger) -> rusqlite::Result<Vec<(PathBuf, Held)>> {
        let mut expected = Vec::new();
        let updates = self.noted().filter(|(_, note)| note.is_update);
        for (item, _) in updates.filter(|(item, _)| item.meta.link_group().is_some()) {
            if let Some(Held { version, .. }) = ledger.held(&item.path)? {
                // What the replica holds as a directory, or as one with others, is not to be forgotten for this.
                let is_told = version.is_dir() || version.identity() == item.meta.identity();
                if is_told || ledger.names_of(version.dev, version.ino)?.len() > 1 {
                    continue;
                }
            }
            let held = Held {
                version: item.meta,
                doubtful: true,
                whole: false,
            };
            expected.push((item.path.clone(), held));
        }
        Ok(expected)
    }

    /// The paths that this session is to change at the replica.
    pub(crate) fn updates(&self) -> impl Iterator<Item = &Path> {
        self.noted()
            .filter(|(_, note)| note.is_update)
            .map(|(item, _)| item.path.as_path())
    }

    /// How many bytes the files among them have.
    pub(crate) fn update_bytes(&self) -> u64 {
        let is_file = |item: &Item| item.meta.kind == Kind::File;
        let updates = self
            .noted()
            .filter(|(_, note)| note.is_update && !note.is_elsewhere);
        updates
            .filter(|(item, _)| is_file(item))
            .map(|(item, _)| item.meta.size)
            .sum()
    }

    /// The items with their notes.
    pub(crate) fn noted(&self) -> impl Iterator<Item = (&Item, &Note)> {
        self.batch.items.iter().zip(&self.notes)
    }
}

/// Makes a plan from looks. SQLite's errors end the planning, those of single paths do not. What is `unmounted`, and all below
/// it, is left as it is: the file systems that were there are not.
///
/// # Errors
/// SQLite's, or the source's root cannot be read.
pub(crate) fn plan(
    source: &Source,
    ledger: &Ledger,
    abilities: Abilities,
    unmounted: &[PathBuf],
    looks: Vec<Taken>,
) -> Result<Plan, PlanError> {
    let _snapshot = ledger.snapshot()?;
    let source = &Arc::new(source.as_opened());
    let mut draft = Draft::new(source, ledger, abilities);
    draft.unmounted = unmounted;
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

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The ledger failed.
    #[error("state file: {0}")]
    Ledger(#[from] rusqlite::Error),
    /// The root of the source cannot be looked at.
    #[error(transparent)]
    Source(#[from] tree::Error),
}
