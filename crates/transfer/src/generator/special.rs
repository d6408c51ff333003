//! Symbolic links, devices, FIFOs and sockets (behaviour.md 2.4 and 2.5).

use tree::{Kind, Meta};
use wire::ItemFlags;

use super::{At, Generator, Peer};
use crate::Error;
use crate::event::{Role, Skip};
use crate::flist::{Entry, parent};
use crate::options::RemoveSource;
use crate::report::sentence;
use crate::scan::rel;
use crate::symlink::is_unsafe;

impl<P: Peer> Generator<'_, P> {
    pub(super) fn symlink(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<Meta>,
    ) -> Result<(), Error> {
        let target = at.entry.target();
        if self.options.safe_links && is_unsafe(target, at.entry.path()) {
            self.skip(at.entry, Skip::UnsafeLink(target));
            return self.pass_over(at);
        }
        let is_same = now.as_ref().is_some_and(Meta::is_symlink)
            && self
                .destination
                .root()
                .is_some_and(|root| root.read_made_link(rel(place)).is_ok_and(|it| it == target));
        self.put(at, place, now, is_same, "symlink")
    }

    /// Whether devices, FIFOs and sockets like this one are made here.
    pub(super) fn takes_node(&self, entry: &Entry) -> bool {
        !self.options.drop_specials
            && (self.options.devices && entry.is_device() && self.attributes.is_privileged
                || self.options.specials && entry.is_special())
    }

    pub(super) fn node(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<Meta>,
    ) -> Result<(), Error> {
        let is_same = now.as_ref().is_some_and(|now| {
            // rsync tells devices apart by their numbers alone.
            match at.entry.is_device() {
                true => now.kind.is_device() && now.rdev == at.entry.rdev(),
                false => now.kind.type_bits() == at.entry.file_type(),
            }
        });
        self.put(
            at,
            place,
            now,
            is_same,
            if at.entry.is_device() {
                "device file"
            } else {
                "special file"
            },
        )
    }

    /// Makes what has no content, unless it is there.
    fn put(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<Meta>,
        is_same: bool,
        what: &str,
    ) -> Result<(), Error> {
        let entry = at.entry;
        if let (Some(now), true) = (&now, is_same) {
            let flags = self.amend(at, place, now, false);
            self.tell(at, flags, None)?;
            if self.options.remove_source == RemoveSource::All {
                self.peer.confirm(at)?;
            }
            return self.lead(at);
        }
        let mut flags = match &now {
            Some(now)
                if now.kind.type_bits() == entry.file_type()
                    || now.kind.is_device() && entry.is_device() =>
            {
                let done = ItemFlags::LOCAL_CHANGE | ItemFlags::REPORT_CHANGE;
                done | self.attributes.differences(
                    entry,
                    self.there(entry, now),
                    ItemFlags::LOCAL_CHANGE,
                )
            }
            _ => ItemFlags::LOCAL_CHANGE | self.attributes.of_unseen(entry),
        };
        let mut xname = None;
        if now.is_none()
            && let Some(found) = self.alternate_special(at, place)?
        {
            if found.is_done {
                return self.lead(at);
            }
            (flags, xname) = (found.flags, found.xname);
        }
        if let Some(now) = &now {
            let is_kept = !now.is_dir() && !self.back_up(place, now);
            if is_kept || now.is_dir() && !self.make_way(place, now, what)? {
                return self.pass_over(at);
            }
        }
        let replaced = now.as_ref().filter(|now| !now.is_dir());
        if !self.make_special(entry, place, replaced) {
            return self.pass_over(at);
        }
        self.tell(at, flags, xname)?;
        let is_moved = match self.options.remove_source {
            RemoveSource::No => false,
            // Files and links only (behaviour.md 2.4).
            RemoveSource::Sent => entry.is_symlink(),
            RemoveSource::All => true,
        };
        if is_moved {
            self.peer.confirm(at)?;
        }
        self.lead(at)
    }

    /// Makes a link or node in place of what is there. False, with its message, if that fails.
    fn make_special(&mut self, entry: &Entry, place: &[u8], replaced: Option<&Meta>) -> bool {
        let Some(root) = self.root() else { return true };
        let make = || match Kind::from_mode(entry.mode) {
            Some(Kind::Symlink) | None => root.symlink(rel(place), entry.target()),
            Some(kind) => root.mknod(rel(place), kind, 0o600, entry.rdev()),
        };
        let made = match make() {
            Err(error) if error.vanished() && self.options.relative => {
                match self.make_parents(place) {
                    Ok(()) => make(),
                    Err(_) => Err(error),
                }
            }
            made => made,
        };
        if let Err(error) = made {
            let shown = self.destination.quoted(place);
            let text = match entry.is_symlink() {
                true => sentence(&[b"symlink ", &shown, b" -> \"", entry.target(), b"\" failed"]),
                false => sentence(&[b"mknod ", &shown, b" failed"]),
            };
            self.report.failed(Role::Generator, text, error.cause());
            return false;
        }
        self.touch(parent(place));
        if let Ok(Some(made)) = root.lstat(rel(place)) {
            let made = Meta {
                mode: self.initial_mode(entry, &made),
                ..made
            };
            self.set_new_attributes(place, entry, &made, replaced);
        }
        true
    }

    /// The mode that counts as present when permissions are not kept: none, so that the wanted one is set.
    fn initial_mode(&self, entry: &Entry, made: &Meta) -> u32 {
        if entry.is_symlink() {
            made.mode
        } else {
            NO_MODE
        }
    }

    /// Sets the attributes of something that was just made.
    fn set_new_attributes(
        &mut self,
        place: &[u8],
        entry: &Entry,
        made: &Meta,
        replaced: Option<&Meta>,
    ) {
        let Some(root) = self.root() else { return };
        // rsync takes permissions that are not kept from whatever was there, be it of another type.
        let before = self.attributes.before(Some(root), place, replaced);
        let (wanted, which) = self.attributes.of_new(entry, before);
        let wanted = Meta {
            kind: made.kind,
            ..wanted
        };
        let path = rel(place);
        let applied = self
            .attributes
            .set_all(root, path, entry, &wanted, which, made);
        let shown = self.destination.quoted(place);
        applied.reported(self.report, Role::Generator, &shown);
    }
}

/// Differs from every mode.
const NO_MODE: u32 = u32::MAX;
