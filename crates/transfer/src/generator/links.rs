//! Names of one file (behaviour.md 2.3, wire-files.md 6.10).
//!
//! Of each group one name leads: it is brought over like any file, and the others are linked to it. Names that are not
//! at the destination wait until the last of their group is known, in case one of them is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tree::Meta;
use wire::{HardLink, ItemFlags};

use super::{At, Generator, Peer};
use crate::Error;
use crate::event::Role;
use crate::flist::{Entry, List, parent};
use crate::report::sentence;
use crate::scan::rel;

/// The groups of a run.
#[derive(Debug, Default)]
pub(super) struct Links {
    groups: HashMap<HardLink, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// The last name that is known to come.
    last: u32,
    leader: Leader,
    /// Names that waited for one to lead, the last one first: rsync deals with them in that order.
    before: VecDeque<(Arc<List>, u32)>,
    /// Names that wait for the leader's content.
    after: VecDeque<(Arc<List>, u32)>,
}

#[derive(Debug, Default)]
enum Leader {
    #[default]
    None,
    /// Its content has been asked for.
    UnderWay(u32),
    /// The others can be linked to it.
    Ready { place: Vec<u8>, name: Vec<u8> },
}

impl Links {
    /// Learns which names are to come.
    pub(super) fn expect(&mut self, list: &List) {
        for (number, entry) in list.active() {
            if let Some(link) = entry.link() {
                self.groups.entry(link).or_default().last = number;
            }
        }
    }

    fn group_of(&mut self, entry: &Entry) -> Option<&mut Group> {
        self.groups.get_mut(&entry.link()?)
    }
}

impl<P: Peer> Generator<'_, P> {
    /// Links a name to the leader of its group, or lets it wait. False if it is to be dealt with like any other.
    pub(super) fn follows_leader(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<&Meta>,
    ) -> Result<bool, Error> {
        let Some(group) = self.links.group_of(at.entry) else {
            return Ok(false);
        };
        match &group.leader {
            Leader::None => Ok(false),
            Leader::UnderWay(_) => {
                group.after.push_back((Arc::clone(at.list), at.number));
                self.count(at.number, 1);
                Ok(true)
            }
            Leader::Ready {
                place: leading,
                name,
            } => {
                let (leading, name) = (leading.clone(), name.clone());
                self.link(at, place, now, &leading, &name)?;
                Ok(true)
            }
        }
    }

    /// Whether a name that is not at the destination waits for further names of its group.
    pub(super) fn waits_for_others(&mut self, at: At<'_>) -> bool {
        let Some(group) = self.links.group_of(at.entry) else {
            return false;
        };
        let waits = group.last != at.number;
        if waits {
            group.before.push_front((Arc::clone(at.list), at.number));
            self.count(at.number, 1);
        }
        waits
    }

    /// The content of a name has been asked for.
    pub(super) fn lead_soon(&mut self, at: At<'_>) {
        if let Some(group) = self.links.group_of(at.entry) {
            group.leader = Leader::UnderWay(at.number);
        }
    }

    /// A name is as it should be: the others can be linked to it.
    pub(super) fn lead(&mut self, at: At<'_>) -> Result<(), Error> {
        let Some(group) = self.links.group_of(at.entry) else {
            return Ok(());
        };
        let leading = self.destination.place(at.entry.path()).to_vec();
        let name = at.entry.name.to_vec();
        group.leader = Leader::Ready {
            place: leading.clone(),
            name: name.clone(),
        };
        let before = std::mem::take(&mut group.before);
        let after = std::mem::take(&mut group.after);
        for (list, number) in before.into_iter().chain(after) {
            let Some(at) = At::of(&list, number) else {
                continue;
            };
            let place = self.destination.place(at.entry.path());
            let now = self.look(at.entry, place).unwrap_or_default();
            self.link(at, place, now.as_ref(), &leading, &name)?;
            self.count(number, -1);
        }
        Ok(())
    }

    /// What became of the request for a leader's content.
    pub(super) fn settle_links(&mut self, at: At<'_>, is_done: bool) -> Result<(), Error> {
        match at.entry.link() {
            None => Ok(()),
            Some(_) if is_done => self.lead(at),
            Some(link) => self.drop_out(at, link),
        }
    }

    /// A name takes no part. If no other one is to come, one of those that wait must lead.
    pub(super) fn drop_out(&mut self, at: At<'_>, link: HardLink) -> Result<(), Error> {
        let Some(group) = self.links.groups.get_mut(&link) else {
            return Ok(());
        };
        let was_leader = matches!(group.leader, Leader::UnderWay(number) if number == at.number);
        if was_leader {
            group.leader = Leader::None;
        }
        let is_last =
            matches!(group.leader, Leader::None) && (was_leader || group.last == at.number);
        if !is_last {
            return Ok(());
        }
        let next = group.after.pop_back().or_else(|| group.before.pop_front());
        let Some((list, number)) = next else {
            return Ok(());
        };
        // It leads now whatever else there may be.
        group.last = number;
        if let Some(at) = At::of(&list, number) {
            self.entry(at)?;
        }
        self.count(number, -1);
        Ok(())
    }

    fn link(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<&Meta>,
        leading: &[u8],
        name: &[u8],
    ) -> Result<(), Error> {
        let linked = match self.destination.root() {
            Some(root) if !self.is_in(&self.absent, leading) => {
                root.lstat(rel(leading)).unwrap_or_default()
            }
            _ => None,
        };
        if let (Some(now), Some(linked)) = (now, &linked)
            && now.identity() == linked.identity()
        {
            return self.tell(at, ItemFlags::empty(), Some(Vec::new()));
        }
        let flags = match now {
            Some(now) if now.kind.type_bits() == at.entry.file_type() => {
                ItemFlags::LOCAL_CHANGE
                    | self.attributes.differences(
                        at.entry,
                        self.there(at.entry, now),
                        ItemFlags::LOCAL_CHANGE,
                    )
            }
            _ => ItemFlags::LOCAL_CHANGE | self.attributes.of_unseen(at.entry),
        };
        if let Some(now) = now {
            let is_kept = !now.is_dir() && !self.back_up(place, now);
            if is_kept || now.is_dir() && !self.make_way(place, now, "hard link")? {
                return Ok(());
            }
        }
        if let Some(root) = self.root() {
            let made = match root.hard_link(rel(leading), rel(place)) {
                Err(error) if error.vanished() && self.options.relative => {
                    self.make_parents(place)?;
                    root.hard_link(rel(leading), rel(place))
                }
                made => made,
            };
            if let Err(error) = made {
                let shown = self.destination.quoted(place);
                let text = sentence(&[b"link ", &shown, b" => ", name, b" failed"]);
                self.report.failed(Role::Generator, text, error.cause());
                return Ok(());
            }
            self.touch(parent(place));
        }
        self.tell(at, flags, Some(name.to_vec()))?;
        if self.options.remove_source == crate::options::RemoveSource::All {
            self.peer.confirm(at)?;
        }
        Ok(())
    }
}
