//! What goes: names that the sender does not have, and what is in the way of others (behaviour.md 4).

use std::collections::HashSet;
use std::sync::Arc;

use tree::Meta;

use super::{Generator, Peer};
use crate::Error;
use crate::delete::Surplus;
use crate::event::{Class, Role};
use crate::flist::{Entry, List, basename, is_below, parent};
use crate::options::DeleteWhen;
use crate::report::sentence;

impl<P: Peer> Generator<'_, P> {
    /// Removes what was left until the end.
    pub(crate) fn delete_late(&mut self) -> Result<(), Error> {
        for surplus in std::mem::take(&mut self.delayed) {
            self.remove(&surplus)?;
        }
        if self.options.delete == Some(DeleteWhen::After) {
            for list in self
                .lists
                .iter()
                .map(|open| Arc::clone(&open.list))
                .collect::<Vec<_>>()
            {
                self.delete_everywhere(&list)?;
            }
        }
        Ok(())
    }

    pub(super) fn delete_everywhere(&mut self, list: &Arc<List>) -> Result<(), Error> {
        if self.destination.is_single() {
            return Ok(());
        }
        for (number, entry) in list.active().filter(|(_, entry)| entry.is_dir()) {
            if self.options.report.delete_detail && entry.top_dir && entry.has_content() {
                let text = sentence(&[b"deleting in ", entry.path()]);
                self.report.say(Class::Info, Role::Generator, text);
            }
            self.delete_in(list, entry, number)?;
        }
        Ok(())
    }

    /// Removes, or sets aside for the end, what a directory has too much.
    pub(super) fn delete_in(&mut self, list: &List, dir: &Entry, number: u32) -> Result<(), Error> {
        if !dir.has_content()
            || self.is_in(&self.skipped, dir.path())
            || self.is_in(&self.absent, dir.path())
        {
            return Ok(());
        }
        let listed = names_in(list, number);
        let surplus = self.deleter.surplus(dir.path(), &listed)?;
        if self.options.delete == Some(DeleteWhen::Delay) {
            self.delayed.extend(surplus);
            return Ok(());
        }
        surplus.iter().try_for_each(|surplus| self.remove(surplus))
    }

    /// An argument that the sender does not have: it goes here, too.
    pub(super) fn missing_arg(&mut self, entry: &Entry, now: Option<Meta>) -> Result<(), Error> {
        let Some(now) = now else { return Ok(()) };
        let surplus = Surplus::of(entry.path(), now.is_dir());
        self.touch(parent(&surplus.path));
        self.deleter.remove_argument(&surplus).map(drop)
    }

    /// Removes what is in the way of `what`. False, with its messages, if it stays.
    pub(super) fn make_way(&mut self, place: &[u8], now: &Meta, what: &str) -> Result<bool, Error> {
        let gone = self.options.dry_run && !now.is_dir() || self.deleter.make_way(place, now)?;
        if gone {
            self.touch(parent(place));
        } else {
            let text = sentence(&[
                b"could not make way for new ",
                what.as_bytes(),
                b": ",
                place,
            ]);
            self.report.say(Class::Transfer, Role::Generator, text);
        }
        Ok(gone)
    }

    pub(super) fn remove(&mut self, surplus: &Surplus) -> Result<(), Error> {
        self.touch(parent(&surplus.path));
        self.deleter.remove(surplus).map(drop)
    }
}

/// The names in a directory, as far as they are in the list.
fn names_in(list: &List, number: u32) -> HashSet<&[u8]> {
    let mut names = HashSet::new();
    if list.is_partial {
        let active = list.active().map(|(_, entry)| entry.path());
        return active.filter(|path| *path != b".").map(basename).collect();
    }
    let Some(first) = list.place(number) else {
        return names;
    };
    let dir = list.entries[first].path();
    let mut at = first + 1;
    while let Some(entry) = list
        .entries
        .get(at)
        .filter(|entry| is_below(entry.path(), dir))
    {
        if !entry.is_cleared {
            names.insert(basename(entry.path()));
        }
        at += 1;
        // A duplicate of the directory itself has the same content.
        if entry.is_dir() && entry.path() != dir {
            let path = entry.path();
            at += list.entries[at..].partition_point(|below| is_below(below.path(), path));
        }
    }
    names
}
