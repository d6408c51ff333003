//! Regular files (behaviour.md 2.7, 2.8 and 2.11).

use std::fs::File;

use tree::Meta;
use wire::{BasisType, Item, ItemFlags};

use super::alternate::Match;
use super::{At, Generator, Peer, Wanted};
use crate::Error;
use crate::attributes::There;
use crate::event::{Role, Skip};
use crate::flist::{Entry, parent};
use crate::options::RemoveSource;
use crate::report::sentence;
use crate::scan::rel;

/// A file that the new content may be put together from.
pub(super) struct Basis {
    pub(super) kind: BasisType,
    pub(super) name: Option<Vec<u8>>,
    pub(super) file: File,
    pub(super) meta: Meta,
}

impl<P: Peer> Generator<'_, P> {
    pub(super) fn file(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<Meta>,
    ) -> Result<(), Error> {
        let entry = at.entry;
        if let Some(why) = self.reason_to_skip(entry, now.as_ref()) {
            self.skip(entry, why);
            return self.pass_over(at);
        }
        let now = match now {
            Some(now) if !now.is_file() => {
                if !self.make_way(place, &now, "regular file")? {
                    return self.pass_over(at);
                }
                None
            }
            now => now,
        };
        let mut basis = None;
        match self.alternate_file(at, place, now.as_ref())? {
            // An alternate has it: there is nothing here that others could be linked to.
            Match::Done if self.alternates.are_compared() => return self.pass_over(at),
            Match::Done => return self.lead(at),
            Match::Basis(found) => basis = Some(found),
            Match::None => {}
        }
        let Some(now) = now else {
            let basis = basis
                .or_else(|| self.partial_basis(place))
                .or_else(|| self.fuzzy_basis(entry, place));
            if basis.is_none() && self.waits_for_others(at) {
                return Ok(());
            }
            let flags = match &basis {
                Some(Basis {
                    kind: BasisType::AlternateDir(index),
                    meta,
                    ..
                }) => {
                    let there = There {
                        root: self.alternates.get((*index).into()),
                        path: entry.path(),
                        meta,
                    };
                    self.attributes
                        .differences(entry, there, ItemFlags::TRANSFER)
                }
                _ => self.attributes.of_unseen(entry),
            };
            return self.request(at, flags, None, basis, false);
        };
        if self.is_unchanged(entry, &now, place) {
            return self.up_to_date(at, place, &now);
        }
        if self.options.append.is_some() && now.size >= entry.size {
            return self.pass_over(at);
        }
        let mut flags =
            self.attributes
                .differences(entry, self.there(entry, &now), ItemFlags::TRANSFER);
        flags.set(ItemFlags::REPORT_CHANGE, self.options.checksum);
        if self.options.inplace && !self.keep_before_inplace(place, &now) {
            return self.pass_over(at);
        }
        let basis = self.partial_basis(place);
        self.request(at, flags, Some(now), basis, false)
    }

    /// A file that did not verify is asked for once more, whatever the options say.
    pub(super) fn redo(&mut self, at: At<'_>) -> Result<(), Error> {
        let place = self.destination.place(at.entry.path());
        let now = self
            .look(at.entry, place)
            .unwrap_or_default()
            .filter(Meta::is_file);
        let flags = match &now {
            Some(now) => self.attributes.differences(
                at.entry,
                self.there(at.entry, now),
                ItemFlags::TRANSFER,
            ),
            None => ItemFlags::empty(),
        };
        self.request(at, flags, now, None, true)
    }

    fn reason_to_skip(&self, entry: &Entry, now: Option<&Meta>) -> Option<Skip<'static>> {
        if self.options.max_size.is_some_and(|max| entry.size > max) {
            return Some(Skip::TooLarge);
        }
        if self.options.min_size.is_some_and(|min| entry.size < min) {
            return Some(Skip::TooSmall);
        }
        let now = now.filter(|now| now.is_file())?;
        (self.options.update && self.attributes.is_newer(entry, now.mtime)).then_some(Skip::Newer)
    }

    /// The quick check, or the thorough one of `--checksum`.
    pub(super) fn is_unchanged(&self, entry: &Entry, now: &Meta, place: &[u8]) -> bool {
        if !entry.is_file() {
            return self.is_same_special(entry, now, place);
        }
        if !now.is_file() || entry.size != now.size {
            return false;
        }
        if self.options.checksum {
            let opened = self
                .destination
                .root()
                .and_then(|root| root.open_regular(rel(place)).ok());
            return opened.is_some_and(|(file, _)| self.peer.has_content(entry, file));
        }
        self.looks_unchanged(entry, now)
    }

    /// The quick check of a file whose size is right.
    pub(super) fn looks_unchanged(&self, entry: &Entry, now: &Meta) -> bool {
        self.options.size_only
            || !self.options.ignore_times && self.attributes.same_time(entry, now.mtime)
    }

    fn is_same_special(&self, entry: &Entry, now: &Meta, place: &[u8]) -> bool {
        if entry.is_symlink() {
            let target = self
                .destination
                .root()
                .and_then(|root| root.read_made_link(rel(place)).ok());
            return target.is_some_and(|target| target == entry.target());
        }
        !entry.is_device() || entry.rdev() == now.rdev
    }

    fn up_to_date(&mut self, at: At<'_>, place: &[u8], now: &Meta) -> Result<(), Error> {
        self.drop_partial(place);
        let flags = self.amend(at, place, now, self.options.checksum);
        self.tell(at, flags, None)?;
        if self.options.remove_source == RemoveSource::All {
            self.peer.confirm(at)?;
        }
        self.lead(at)
    }

    fn request(
        &mut self,
        at: At<'_>,
        flags: ItemFlags,
        existing: Option<Meta>,
        basis: Option<Basis>,
        is_redo: bool,
    ) -> Result<(), Error> {
        let place = self.destination.place(at.entry.path());
        if let Some(root) = self.root() {
            self.touch(parent(place));
            if self.options.relative && existing.is_none() && root.dir(rel(parent(place))).is_err()
            {
                self.make_parents(place)?;
            }
        }
        if self.options.fuzzy > 0 && self.peer.wants_basis() {
            self.similar.note_request(place);
        }
        let flags = flags | ItemFlags::TRANSFER;
        let mut wanted = Wanted {
            item: Item {
                flags,
                ..Item::default()
            },
            existing,
            model: basis.as_ref().map(|basis| basis.meta),
            basis: None,
            is_redo,
            values: self.wanted_values(at.entry, flags),
        };
        if !self.options.dry_run || self.options.is_only_recorded() {
            let wants_basis = self.peer.wants_basis();
            let basis = match wants_basis {
                true => basis.or_else(|| self.own_basis(place, wanted.existing.as_ref())),
                // A file that is sent whole has the permissions of what it is like all the same.
                false => basis.filter(|basis| matches!(basis.kind, BasisType::AlternateDir(_))),
            };
            if let Some(basis) = basis {
                wanted.item.basis = basis.kind;
                wanted.item.xname = basis.name;
                wanted.basis = Some((basis.file, basis.meta)).filter(|_| wants_basis);
            }
        }
        self.open += 1;
        self.count(at.number, 1);
        self.lead_soon(at);
        self.peer.request(at, wanted)?;
        match self.options.dry_run {
            // Nothing has to come before the others can be told about.
            true => self.lead(at),
            false => Ok(()),
        }
    }

    /// The file that is there as its own basis.
    fn own_basis(&self, place: &[u8], now: Option<&Meta>) -> Option<Basis> {
        now?;
        let opened = self.destination.root()?.open_regular(rel(place));
        match opened {
            Ok((file, meta)) => Some(Basis {
                kind: BasisType::Destination,
                name: None,
                file,
                meta,
            }),
            Err(error) => {
                let shown = self.destination.quoted(place);
                let text = sentence(&[b"failed to open ", &shown, b", continuing"]);
                self.report.failed(Role::Generator, text, error.cause());
                None
            }
        }
    }

    /// What is about to be overwritten piece by piece is copied away first.
    fn keep_before_inplace(&mut self, place: &[u8], now: &Meta) -> bool {
        let Some(backups) = self.backups.filter(|_| !self.options.dry_run) else {
            return true;
        };
        self.touch(parent(place));
        match backups.copy(self.destination, place, now, self.report) {
            Ok(()) => true,
            Err(error) => {
                let text =
                    sentence(&[b"make_backup ", &self.destination.quoted(place), b" failed"]);
                self.report.failed(Role::Generator, text, error.cause());
                false
            }
        }
    }
}
