//! Directories (behaviour.md 2.2).

use tree::{Meta, Root, Which};
use wire::{IoErrors, ItemFlags};

use super::{At, Generator, Peer};
use crate::Error;
use crate::attributes::Before;
use crate::event::Role;
use crate::flist::{Entry, parent};
use crate::options::DeleteWhen;
use crate::report::sentence;
use crate::scan::rel;

impl<P: Peer> Generator<'_, P> {
    pub(super) fn directory(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<Meta>,
    ) -> Result<(), Error> {
        let entry = at.entry;
        if entry.is_incomplete {
            self.report.io_error(IoErrors::GENERAL);
        }
        if entry.is_implied() && !self.options.implied_dirs {
            return Ok(());
        }
        let now = match now {
            Some(now) if !now.is_dir() => {
                if !self.make_way(place, &now, "directory")? {
                    self.skip_content(entry.path());
                    return Ok(());
                }
                None
            }
            now => now,
        };
        if now.is_none() && self.options.dry_run {
            self.absent.insert(entry.path().to_vec());
        }
        let is_new = now.is_none() || self.destination.is_new && place == b".";
        let mut flags = match &now {
            Some(now) if !is_new => {
                let there = self.there(entry, now);
                self.attributes
                    .differences(entry, there, ItemFlags::empty())
            }
            _ => ItemFlags::LOCAL_CHANGE | self.attributes.of_unseen(entry),
        };
        if is_new && let Some(differences) = self.alternate_directory(at) {
            flags = differences;
        }
        self.tell(at, flags, None)?;
        if self.root().is_some() {
            if now.is_none() && !self.make(entry, place)? {
                return Ok(());
            }
            self.finish_now(entry, place)?;
            self.dirs.push(entry.clone());
        }
        if matches!(
            self.options.delete,
            Some(DeleteWhen::During | DeleteWhen::Delay)
        ) && !self.destination.is_single()
        {
            self.delete_in(at.list, entry, at.number)?;
        }
        Ok(())
    }

    /// Makes a directory. False, with its message, if that fails.
    fn make(&mut self, entry: &Entry, place: &[u8]) -> Result<bool, Error> {
        let Some(root) = self.root() else {
            return Ok(true);
        };
        let before = self.attributes.before(Some(root), place, None);
        let mode = self.attributes.permissions(entry, before);
        let made = match root.mkdir(rel(place), mode) {
            Err(error) if error.vanished() && self.options.relative => {
                self.make_parents(place)?;
                root.mkdir(rel(place), mode)
            }
            made => made,
        };
        match made {
            Ok(()) => {
                self.touch(parent(place));
                self.touch(place);
                self.fresh.push(place.to_vec());
                Ok(true)
            }
            Err(error) if error.is_existing() => Ok(true),
            Err(error) => {
                let text = sentence(&[
                    b"recv_generator: mkdir ",
                    &self.destination.quoted(place),
                    b" failed",
                ]);
                self.report.failed(Role::Generator, text, error.cause());
                self.skip_content(entry.path());
                Ok(false)
            }
        }
    }

    /// The run ends before directories have their turn with their content: those of lists that were dealt with are there
    /// all the same, for rsync makes them in passing.
    pub(crate) fn make_announced(&self) {
        let Some(root) = self.root() else {
            return;
        };
        let passed = self.lists.iter().filter(|open| open.is_passed);
        for (_, entry) in passed.flat_map(|open| open.list.active()) {
            let path = entry.path();
            let is_unwanted = !entry.is_dir()
                || self.options.existing_only
                || entry.is_implied() && !self.options.implied_dirs
                || self.is_in(&self.skipped, path)
                || self.is_refused(entry);
            if !is_unwanted {
                // What is there already stays; what cannot be made is none of our business any more.
                let place = self.destination.place(path);
                let _ = root.mkdir(rel(place), entry.permissions() & 0o700);
            }
        }
    }

    /// Parents that `--relative` without implied directories leaves to us.
    pub(super) fn make_parents(&mut self, place: &[u8]) -> Result<(), Error> {
        let Some(root) = self.root() else {
            return Ok(());
        };
        for (end, _) in place.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            match root.mkdir(rel(&place[..end]), 0o777) {
                Ok(()) => self.touch(parent(&place[..end])),
                Err(error) if error.is_existing() => {}
                Err(error) => {
                    let shown = self.destination.quoted(&place[..end]);
                    let text = sentence(&[b"recv_generator: mkdir ", &shown, b" failed"]);
                    self.report.failed(Role::Generator, text, error.cause());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Sets the attributes of a directory, which stays usable to us until the end.
    fn finish_now(&mut self, entry: &Entry, place: &[u8]) -> Result<(), Error> {
        let Some(root) = self.root() else {
            return Ok(());
        };
        let Ok(Some(mut now)) = stat_dir(root, place) else {
            return Ok(());
        };
        // A destination that was made for this run is as new as what comes into it.
        if self.destination.is_new && place == b"." {
            let before = self.attributes.before(Some(root), place, None);
            let mode = self.attributes.permissions(entry, before);
            let newborn = Meta { mode, ..now };
            if root
                .set_meta(rel(place), &newborn, Which::MODE, &now)
                .is_ok()
            {
                now = newborn;
            }
        }
        let wanted = self.attributes.permissions(entry, Before::Same(&now));
        if !self.attributes.is_privileged && now.mode & 0o700 != 0o700 {
            let usable = Meta {
                mode: now.mode | 0o700,
                ..now
            };
            if root
                .set_meta(rel(place), &usable, Which::MODE, &now)
                .is_ok()
            {
                now.mode |= 0o700;
                self.loosened.insert(place.to_vec(), wanted);
            }
        }
        self.set_attributes(place, entry, &now, false);
        if !self.attributes.is_privileged && wanted & 0o700 != 0o700 {
            let now = Meta {
                mode: wanted,
                ..now
            };
            let usable = Meta {
                mode: wanted | 0o700,
                ..now
            };
            match root.set_meta(rel(place), &usable, Which::MODE, &now) {
                Ok(_) => _ = self.loosened.insert(place.to_vec(), wanted),
                Err(error) => {
                    let shown = self.destination.quoted(place);
                    let text = sentence(&[b"failed to modify permissions on ", &shown]);
                    self.report.failed(Role::Generator, text, error.cause());
                }
            }
        }
        Ok(())
    }

    /// The touch-up pass for one directory.
    pub(super) fn finish_directory(&mut self, entry: &Entry) {
        let place = entry.path();
        if self.attributes.has_late(entry) {
            self.set_late(entry);
        }
        let meant = self.loosened.get(place).copied();
        if meant.is_none() && !self.touched.contains(place)
            || entry.is_implied() && !self.options.implied_dirs
        {
            return;
        }
        let Some(root) = self.root() else { return };
        let Some(now) = root.lstat(rel(place)).ok().flatten() else {
            return;
        };
        if let (Some(mode), true) = (meant, now.is_dir()) {
            self.set_attributes(place, entry, &now, true);
            if self.attributes.permissions(entry, Before::Same(&now)) != mode {
                let before = Meta { mode, ..now };
                // As with the rest, what fails now has failed before.
                let _ = root.set_meta(rel(place), &before, Which::MODE, &now);
            }
        } else if now.is_dir() {
            // The rest is as it was set before: what failed then is not tried again. Of a time that belongs to others rsync
            // says nothing either, once the user knows or nothing had to be set then.
            self.attributes.set_time(root, rel(place), entry, &now);
        }
    }

    /// Values of extended attributes that had to be asked for: by now they have come.
    fn set_late(&mut self, entry: &Entry) {
        let place = entry.path();
        let Some(root) = self.root() else { return };
        if let Ok(Some(now)) = root.lstat(rel(place)) {
            let applied = self.attributes.set_late(root, rel(place), entry, &now);
            let shown = self.destination.quoted(place);
            applied.reported(self.report, Role::Generator, &shown);
        }
    }
}

/// The stat of a directory, through a link that stands for it.
fn stat_dir(root: &Root, place: &[u8]) -> Result<Option<Meta>, tree::Error> {
    match root.lstat(rel(place))? {
        Some(now) if now.is_symlink() => root.stat(rel(place)),
        now => Ok(now),
    }
}
