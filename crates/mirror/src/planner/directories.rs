//! Directories in a plan: listed whole where nobody knows what the replica has, compared with the ledger where it knows.

use std::ffi::OsString;
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Instant;

use transfer::Item;
use tree::{Kind, Meta};

use super::PlanError;
use super::ahead::Listing;
use super::draft::Draft;
use crate::dirty::{Look, Taken};
use crate::ledger::Held;
use crate::source::Child;

impl Draft<'_> {
    /// Looks at a directory: what it is itself, and what is in it if that is in doubt.
    pub(super) fn directory(
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
        if taken.look.exact || !same_directory(&known.version, &meta) {
            self.add_dir(path, meta, true, known.whole);
        }
        if taken.look.recursive || known.version.file_id() != meta.file_id() {
            self.compare_directory(taken, stack)?;
        }
        Ok(())
    }

    /// Puts a directory with its complete content, one level, into the draft. The directories in it follow if they
    /// are in doubt too, or all of them if the look is `recursive`.
    pub(super) fn list_whole(
        &mut self,
        dir: &Path,
        since: Instant,
        recursive: bool,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        if self.is_unmounted(dir) || self.done.whole.contains(dir) && !recursive {
            return Ok(());
        }
        let Some(meta) = self
            .source
            .lstat(dir)?
            .filter(|meta| meta.kind == Kind::Dir)
        else {
            return Ok(());
        };
        let children = self.list(dir, stack);
        self.add_dir(dir, meta, true, children.is_ok());
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
        self.done.deletions.unknown |= !self.is_known_at_the_replica(dir)?;
        let unreadable = self.done.unreadable.len();
        let mut rows = Rows::of(self.ledger.children(dir)?);
        let (mut below, mut stuck) = (Vec::new(), Vec::new());
        for Child { path, meta } in children {
            let held = rows.find(name_of(&path));
            if recursive {
                self.note_restless(&path, &meta);
            }
            if let Some(held) = held.as_ref().filter(|_| self.is_unmounted(&path)) {
                self.show_as_held(&path, held);
            } else if meta.kind == Kind::Dir {
                let is_whole = self.list_dir(&path, meta, held.as_ref());
                if recursive || !is_whole {
                    let look = Look {
                        recursive,
                        exact: false,
                    };
                    below.push(Taken { path, look, since });
                }
            } else if !self.list_leaf(&path, meta, held.as_ref())? {
                self.part(path.clone(), since);
                stuck.push(path);
            }
        }
        if self.done.unreadable.len() > unreadable {
            // What cannot be read cannot be listed, and must not be removed for that.
            self.done.whole.remove(dir);
            if let Some(listed) = self.items.get_mut(dir) {
                listed.note.whole = false;
            }
        } else {
            self.done.forgotten.extend(stuck);
            for (name, held) in rows.missing() {
                let path = dir.join(OsString::from_vec(name));
                let kind = held.version.kind;
                if !self.source.protects(&path, kind == Kind::Dir) {
                    self.note_deletion(&path, kind);
                }
                self.done.forgotten.push(path);
            }
        }
        stack.extend(below.into_iter().rev());
        Ok(())
    }

    /// What is in a directory. It may have been listed while others were compared, and counts as looked at then; those that
    /// come next on the `stack` are listed meanwhile.
    fn list(&mut self, dir: &Path, stack: &[Taken]) -> Result<Vec<Child>, tree::Error> {
        let next = stack.iter().rev().filter(|next| next.look.recursive);
        self.ahead.announce(next.map(|next| next.path.as_path()));
        match self.ahead.take(dir) {
            Some(Listing {
                looked_at,
                children: Ok(children),
            }) => {
                self.looking_since = looked_at;
                Ok(children)
            }
            // What could not be listed then may be listed now.
            _ => self.source.children(dir),
        }
    }

    /// Puts a directory into one that is listed whole. Whether the ledger knows all that the replica has in it.
    fn list_dir(&mut self, path: &Path, meta: Meta, held: Option<&Held>) -> bool {
        let held = held.map(|held| (&held.version, held.whole));
        let is_whole = held.is_some_and(|(version, whole)| version.kind == Kind::Dir && whole);
        let is_update = !held.is_some_and(|(version, _)| same_directory(version, &meta));
        if !self.done.whole.contains(path) {
            self.add_dir(path, meta, is_update, is_whole);
        }
        is_whole
    }

    /// Has a directory that is listed whole show one as the replica has it.
    fn show_as_held(&mut self, path: &Path, held: &Held) {
        self.add_dir(path, held.version, false, held.whole);
        if let Some(shown) = self.items.get_mut(path) {
            shown.note.is_elsewhere = true;
        }
    }

    /// Puts anything else into a directory that is listed whole. False if what the replica has there must go first.
    fn list_leaf(
        &mut self,
        path: &Path,
        meta: Meta,
        held: Option<&Held>,
    ) -> Result<bool, PlanError> {
        let step = self.step.as_mut();
        let by_content = step.is_some_and(|step| step.takes(path, &meta));
        let is_update = by_content || !held.is_some_and(|held| held.is_surely(&meta));
        let is_misjudged = is_update && held.is_some_and(|held| self.must_compare(held, &meta));
        let exact = by_content || is_misjudged;
        let is_stuck = match held {
            Some(held) => is_update && self.is_stuck(path, held, &meta, exact)?,
            // Whatever the replica has there is something else.
            None => !self.abilities.keep(meta.kind),
        };
        if is_stuck {
            return Ok(false);
        }
        self.add_leaf(path, meta, is_update, exact)?;
        if held.is_none() && self.step.is_none() {
            self.note_rename(path, &meta)?;
        }
        Ok(true)
    }

    fn add_dir(&mut self, path: &Path, meta: Meta, is_update: bool, whole: bool) {
        let item = Item {
            path: path.to_owned(),
            meta,
            target: None,
        };
        self.add(item, is_update, whole, false);
    }

    /// Whether the ledger knows all that the replica has in `dir`: because it was listed whole, or because there is no such
    /// directory in one that was.
    fn is_known_at_the_replica(&self, dir: &Path) -> Result<bool, PlanError> {
        for above in dir.ancestors() {
            if let Some(held) = self.ledger.held(above)? {
                return Ok(held.whole);
            }
        }
        Ok(false)
    }

    /// Compares the content of a directory, one level, with the ledger; its directories are compared in turn.
    fn compare_directory(
        &mut self,
        taken: &Taken,
        stack: &mut Vec<Taken>,
    ) -> Result<(), PlanError> {
        let dir = &taken.path;
        let children = match self.list(dir, stack) {
            Ok(children) => children,
            Err(error) if error.vanished() || error.is_confined() => return Ok(()),
            Err(error) => {
                self.done.unreadable.push((dir.clone(), error.to_string()));
                return Ok(());
            }
        };
        let mut rows = Rows::of(self.ledger.children(dir)?);
        let mut below = Vec::new();
        for Child { path, meta } in children {
            let held = rows.find(name_of(&path));
            self.note_restless(&path, &meta);
            if meta.kind == Kind::Dir {
                below.push(Taken {
                    path,
                    look: Look::BELOW,
                    since: taken.since,
                });
            } else {
                let taken = Taken {
                    path,
                    look: Look::AT,
                    since: taken.since,
                };
                self.leaf(&taken, meta, held.as_ref(), stack)?;
            }
        }
        for (name, held) in rows.missing() {
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
}

/// Whether a replica that holds one version of a directory holds the other: its inode and size say nothing about that.
/// The ctime does: it moves alone with attributes that no stat shows.
fn same_directory(old: &Meta, new: &Meta) -> bool {
    // What is mounted must be known to be.
    (old.is_mount || !new.is_mount)
        && (old.kind, old.mode, old.uid, old.gid, old.mtime, old.ctime)
            == (new.kind, new.mode, new.uid, new.gid, new.mtime, new.ctime)
}

/// The last name in the path of something in a directory.
fn name_of(path: &Path) -> &[u8] {
    let mut names = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/');
    names.next().unwrap_or_default()
}

/// A row of a directory: a name, and what the replica holds under it.
type Row = (Vec<u8>, Held);

/// The rows of a directory beside what is in it: both are in byte order of the names.
struct Rows {
    rest: Peekable<std::vec::IntoIter<Row>>,
    missing: Vec<Row>,
}

impl Rows {
    fn of(rows: Vec<Row>) -> Self {
        Self {
            rest: rows.into_iter().peekable(),
            missing: Vec::new(),
        }
    }

    /// The row of a name. The names that are asked for rise: a row that one of them is beyond is missing.
    fn find(&mut self, name: &[u8]) -> Option<Held> {
        while let Some(row) = self.rest.next_if(|(next, _)| next.as_slice() < name) {
            self.missing.push(row);
        }
        let row = self.rest.next_if(|(next, _)| next.as_slice() == name);
        row.map(|(_, held)| held)
    }

    /// The rows of which nothing is there.
    fn missing(self) -> impl Iterator<Item = Row> {
        self.missing.into_iter().chain(self.rest)
    }
}
