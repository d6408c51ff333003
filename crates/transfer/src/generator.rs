//! The generator: decides for each entry of the list what is to be done at the destination, does what needs no data,
//! and asks for the data of the rest (behaviour.md 2).
//!
//! Who brings the data is a [`Peer`]: a sender on the other end of a connection, or the kernel of this machine.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tree::{Kind, Meta, Root};
use wire::{Item, ItemFlags};

use crate::Error;
use crate::attributes::{Attributes, There, refuse_corrupt_note};
use crate::backup::Backups;
use crate::delete::{Deleter, Surplus, steps};
use crate::destination::Destination;
use crate::event::{Class, Event, Role, Skip};
use crate::flist::{Entry, List, is_below, parent};
use crate::fuzzy::Similar;
use crate::options::{DeleteWhen, Options, RemoveSource};
use crate::report::{Reporter, sentence};
use crate::scan::rel;
use crate::site::Site;

mod alternate;
mod directory;
mod file;
mod links;
mod open;
mod peer;
mod removal;
mod special;

pub(crate) use alternate::Alternates;
use links::Links;
use open::Open;
pub(crate) use peer::{At, Fate, Peer, Wanted};

/// The state of one run.
pub(crate) struct Generator<'a, P> {
    options: &'a Options,
    attributes: &'a Attributes<'a>,
    destination: &'a Destination,
    backups: Option<&'a Backups>,
    alternates: &'a Alternates,
    report: &'a Reporter<'a>,
    pub(crate) peer: P,
    pub(crate) deleter: Deleter<'a>,
    /// Surplus that is to go at the end.
    delayed: Vec<Surplus>,
    /// Directories whose content takes no part: they could not be made, or are not to be.
    skipped: HashSet<Vec<u8>>,
    /// Directories that a dry run did not make.
    absent: HashSet<Vec<u8>>,
    /// Directories that the run has made and is in, the innermost last: they hold nothing that it has not put there.
    fresh: Vec<Vec<u8>>,
    links: Links,
    /// Lists that are not finished, the oldest first.
    lists: VecDeque<Open>,
    /// Directories that were dealt with, for the end.
    dirs: Vec<Entry>,
    /// Directories whose times the run has changed.
    touched: HashSet<Vec<u8>>,
    last_touched: Vec<u8>,
    /// Directories made usable until the end, and the modes that they are to have then.
    loosened: HashMap<Vec<u8>, u32>,
    similar: Similar,
    /// Requests whose fate is not known.
    open: usize,
}

impl<'a, P: Peer> Generator<'a, P> {
    /// `rules` are the filter rules of the receiving side.
    pub(crate) fn new(site: &'a Site<'a>, rules: Arc<filter::Rules>, peer: P) -> Self {
        let Site {
            options,
            report,
            destination,
            attributes,
            backups,
            alternates,
        } = site;
        let backups = backups.as_ref();
        Self {
            options,
            attributes,
            destination,
            backups,
            alternates,
            report,
            peer,
            deleter: Deleter::new(options, rules, destination, backups, report),
            delayed: Vec::new(),
            skipped: HashSet::new(),
            absent: HashSet::new(),
            fresh: match destination.is_new && !destination.is_single() {
                true => vec![b".".to_vec()],
                false => Vec::new(),
            },
            links: Links::default(),
            lists: VecDeque::new(),
            dirs: Vec::new(),
            touched: HashSet::new(),
            last_touched: Vec::new(),
            loosened: HashMap::new(),
            similar: Similar::default(),
            open: 0,
        }
    }

    /// Deals with a list that is the whole of the transfer, or with the content of one directory; then `dir` is that
    /// directory.
    pub(crate) fn list(&mut self, list: &Arc<List>, dir: Option<&Entry>) -> Result<(), Error> {
        if self.options.list_only {
            self.show(list, dir);
            self.pass(list);
            return Ok(());
        }
        if self.options.delete == Some(DeleteWhen::Before) {
            self.delete_everywhere(list)?;
        }
        if let Some(entry) = dir {
            self.entry(At {
                list,
                number: list.start.saturating_sub(1),
                entry,
            })?;
        }
        for (number, entry) in list.active() {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            // Where lists come by directory, each directory has its turn with its content.
            if list.is_partial && entry.is_dir() {
                continue;
            }
            self.entry(At {
                list,
                number,
                entry,
            })?;
            // Links to a file are reported after everything else that was asked for meanwhile, as rsync does.
            if !self.options.hard_links {
                self.settle(false)?;
            }
        }
        self.pass(list);
        Ok(())
    }

    /// Gives directories the times and permissions that the run has taken from them (7.12).
    pub(crate) fn finish_directories(&mut self) {
        if self.options.dry_run || self.destination.is_single() {
            return;
        }
        for entry in std::mem::take(&mut self.dirs) {
            self.finish_directory(&entry);
        }
    }

    /// Files that were parked are in place now.
    pub(crate) fn installed_all(&mut self, numbers: &[u32]) -> Result<(), Error> {
        for &number in numbers {
            if let Some(list) = self.find(number)
                && let Some(at) = At::of(&list, number)
            {
                self.installed(at)?;
            }
        }
        Ok(())
    }

    fn show(&self, list: &List, dir: Option<&Entry>) {
        let is_own = |entry: &&Entry| !(list.is_partial && entry.is_dir());
        for entry in dir
            .into_iter()
            .chain(list.active().map(|(_, entry)| entry).filter(is_own))
        {
            self.report.event(Event::Listed(entry.view()));
        }
    }

    /// A file is in place.
    pub(crate) fn installed(&mut self, at: At<'_>) -> Result<(), Error> {
        if self.options.remove_source != RemoveSource::No {
            self.peer.confirm(at)?;
        }
        self.settle_links(at, true)
    }

    fn entry(&mut self, at: At<'_>) -> Result<(), Error> {
        let entry = at.entry;
        let path = entry.path();
        if self.is_in(&self.skipped, path) {
            return self.pass_over(at);
        }
        if path != b"." && self.is_refused(entry) {
            return self.refuse(at);
        }
        let place = self.destination.place(path);
        let looked = match self.is_in_fresh(place) {
            true => Ok(None),
            false => self.look(entry, place),
        };
        let now = match looked {
            Ok(now) => now,
            Err(error) => {
                let shown = self.destination.quoted(place);
                if let Some(root) = self.destination.root() {
                    let why = (Role::Generator, error.cause());
                    refuse_corrupt_note(root, rel(place), &shown, why)?;
                }
                let text = sentence(&[b"recv_generator: failed to stat ", &shown]);
                self.report.failed(Role::Generator, text, error.cause());
                return self.pass_over(at);
            }
        };
        if entry.is_missing_arg() {
            return self.missing_arg(entry, now);
        }
        if self.options.existing_only && now.is_none() && !(path == b"." && self.destination.is_new)
        {
            self.skip(entry, Skip::NotExisting);
            if entry.is_dir() {
                self.skipped.insert(path.to_vec());
            }
            return self.pass_over(at);
        }
        if self.options.ignore_existing
            && let Some(there) = &now
            && !(entry.is_dir() && there.is_dir())
        {
            let detail = self
                .options
                .report
                .skip_detail
                .then(|| self.detail(entry, there));
            self.skip(entry, Skip::Exists(detail));
            return self.pass_over(at);
        }
        if entry.is_dir() {
            return self.directory(at, place, now);
        }
        if entry.link().is_some() && self.follows_leader(at, place, now.as_ref())? {
            return Ok(());
        }
        match entry {
            entry if entry.is_symlink() && self.options.links => self.symlink(at, place, now),
            entry if self.takes_node(entry) => self.node(at, place, now),
            entry if entry.is_file() => self.file(at, place, now),
            _ => {
                self.skip(entry, Skip::NonRegular);
                self.pass_over(at)
            }
        }
    }

    /// Whether a place is in a directory that was empty when it was made and has not been left since.
    fn is_in_fresh(&mut self, place: &[u8]) -> bool {
        while self.fresh.pop_if(|dir| !is_below(place, dir)).is_some() {}
        place != b"." && self.fresh.last().is_some_and(|dir| parent(place) == dir)
    }

    /// What the destination has, if a dry run would have it too.
    fn look(&self, entry: &Entry, place: &[u8]) -> Result<Option<Meta>, tree::Error> {
        let Some(root) = self.destination.root() else {
            return Ok(None);
        };
        if self.is_in(&self.absent, entry.path()) {
            return Ok(None);
        }
        let now = root.lstat(rel(place))?;
        if entry.is_dir()
            && self.options.keep_dirlinks
            && now.as_ref().is_some_and(Meta::is_symlink)
            && let Ok(Some(target)) = root.stat(rel(place))
            && target.is_dir()
        {
            return Ok(Some(target));
        }
        if self.options.write_devices
            && entry.is_file()
            && now.as_ref().is_some_and(|now| now.kind.is_device())
        {
            let content = root.lstat_content(rel(place))?;
            return Ok(content.map(|content| Meta {
                kind: Kind::File,
                ..content
            }));
        }
        Ok(now)
    }

    /// An entry that takes no part. If it was to lead a group of links, another one must.
    fn pass_over(&mut self, at: At<'_>) -> Result<(), Error> {
        match at.entry.link() {
            Some(link) => self.drop_out(at, link),
            None => Ok(()),
        }
    }

    fn is_refused(&self, entry: &Entry) -> bool {
        let dir = &self.destination.shown;
        let place = self.destination.place(entry.path());
        self.options
            .hides(dir, place, entry.is_dir(), filter::Side::Receiver)
    }

    fn refuse(&mut self, at: At<'_>) -> Result<(), Error> {
        let kind: &[u8] = if at.entry.is_dir() {
            b"directory"
        } else {
            b"file"
        };
        let text = sentence(&[
            b"ERROR: daemon refused to receive ",
            kind,
            b" \"",
            at.entry.path(),
            b"\"",
        ]);
        self.report.say(Class::Transfer, Role::Generator, text);
        if at.entry.is_dir() {
            self.skip_content(at.entry.path());
        }
        self.pass_over(at)
    }

    fn skip_content(&mut self, path: &[u8]) {
        let text = "*** Skipping any contents from this failed directory ***";
        self.report.say(Class::Transfer, Role::Generator, text);
        self.skipped.insert(path.to_vec());
    }

    fn skip(&self, entry: &Entry, why: Skip<'_>) {
        self.report.event(Event::Skipped {
            path: entry.path(),
            is_dir: entry.is_dir(),
            why,
        });
    }

    /// In which respect an entry that is left alone differs (`--info=SKIP2`).
    fn detail(&self, entry: &Entry, now: &Meta) -> &'static str {
        if entry.file_type() != now.kind.type_bits() {
            "type change"
        } else if !self.is_unchanged(entry, now, self.destination.place(entry.path())) {
            if self.options.checksum {
                "sum change"
            } else {
                "file change"
            }
        } else if !self.attributes.are_equal(entry, self.there(entry, now)) {
            "attr change"
        } else {
            "uptodate"
        }
    }

    /// Reports an entry that needs no data, if there is anything to report.
    fn tell(&mut self, at: At<'_>, flags: ItemFlags, xname: Option<Vec<u8>>) -> Result<(), Error> {
        let silent =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let is_news =
            !(flags - silent).is_empty() || xname.as_ref().is_some_and(|name| !name.is_empty());
        let is_left_alone =
            !flags.intersects(ItemFlags::LOCAL_CHANGE | ItemFlags::IS_NEW) && !at.entry.is_dir();
        if is_left_alone && self.options.report.says_unchanged {
            self.report.event(Event::LeftAlone {
                path: &at.entry.name,
                differs: is_news,
            });
        }
        if is_news || self.options.report.unchanged {
            let values = self.wanted_values(at.entry, flags);
            self.peer.report(
                at,
                Item {
                    flags,
                    xname,
                    ..Item::default()
                },
                &values,
            )?;
        }
        Ok(())
    }

    /// Long values of extended attributes that are to be asked for with a report of these differences.
    fn wanted_values(&self, entry: &Entry, flags: ItemFlags) -> Vec<u32> {
        match flags.contains(ItemFlags::REPORT_XATTR)
            && (!self.options.dry_run || self.options.is_only_recorded())
        {
            true => self.attributes.long_values.unknown(entry),
            false => Vec::new(),
        }
    }

    /// What the destination has of an entry, to be compared with it.
    fn there<'s>(&'s self, entry: &'s Entry, now: &'s Meta) -> There<'s> {
        There {
            root: self.destination.root(),
            path: self.destination.place(entry.path()),
            meta: now,
        }
    }

    /// Keeps what is about to be replaced, if backups are made. False, with its message, if that fails.
    fn back_up(&mut self, place: &[u8], now: &Meta) -> bool {
        let Some(backups) = self.backups else {
            return true;
        };
        if self.options.dry_run {
            return true;
        }
        self.touch(parent(place));
        match backups.keep(self.destination, place, now, self.report) {
            Ok(kept) => kept,
            Err(error) => {
                let text =
                    sentence(&[b"make_backup ", &self.destination.quoted(place), b" failed"]);
                self.report.failed(Role::Generator, text, error.cause());
                false
            }
        }
    }

    /// Sets the attributes of something that is there. Returns whether it had others.
    fn set_attributes(&mut self, place: &[u8], entry: &Entry, now: &Meta, is_exact: bool) -> bool {
        let Some(root) = self.root() else {
            return false;
        };
        let applied = self.attributes.set(root, rel(place), entry, now, is_exact);
        let shown = self.destination.quoted(place);
        applied.reported(self.report, Role::Generator, &shown)
    }

    /// Sets the attributes of something that is there and stays. Returns the differences that there were.
    fn amend(&mut self, at: At<'_>, place: &[u8], now: &Meta, is_exact: bool) -> ItemFlags {
        let there = self.there(at.entry, now);
        let flags = self
            .attributes
            .differences(at.entry, there, ItemFlags::empty());
        if self.options.dry_run {
            return flags;
        }
        // Whoever has read the content for --checksum has changed when it was read last.
        let after = match self.options.checksum && self.options.atimes {
            true => self.look(at.entry, place).unwrap_or_default(),
            false => None,
        };
        self.set_attributes(place, at.entry, after.as_ref().unwrap_or(now), is_exact);
        self.attributes.as_reported(at.entry, now, flags)
    }

    /// The destination, where it may be changed.
    fn root(&self) -> Option<&'a Root> {
        self.destination.root().filter(|_| !self.options.dry_run)
    }

    /// Notes that the content of a directory has changed, and so its time.
    fn touch(&mut self, dir: &[u8]) {
        if self.last_touched != dir {
            self.last_touched = dir.to_vec();
            self.touched.insert(dir.to_vec());
        }
    }

    /// Whether a path is one of these directories, or below one: asked for each entry, however many there are.
    fn is_in(&self, dirs: &HashSet<Vec<u8>>, path: &[u8]) -> bool {
        !dirs.is_empty() && steps(path).any(|dir| dirs.contains(dir))
    }
}
