//! The generator: decides for each entry of the list what is to be done at the destination, does what needs no data,
//! and asks for the data of the rest (behaviour.md 2).
//!
//! Who brings the data is a [`Peer`]: a sender on the other end of a connection, or the kernel of this machine.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

use tree::{Meta, Root};
use wire::{Item, ItemFlags};

use crate::Error;
use crate::attributes::{Attributes, failure_text};
use crate::backup::Backups;
use crate::delete::{Deleter, Surplus};
use crate::destination::Destination;
use crate::event::{Class, Event, Role, Skip};
use crate::flist::{Entry, List, basename, is_below, parent};
use crate::options::{DeleteWhen, Options, RemoveSource};
use crate::report::{Reporter, sentence};
use crate::scan::rel;

mod alternate;
mod directory;
mod file;
mod links;
mod special;

pub(crate) use alternate::{Alternates, partial_place};
use links::Links;

/// Who brings the content of files.
pub(crate) trait Peer {
    /// Tells about an entry that needs no data.
    fn report(&mut self, at: At<'_>, item: Item) -> Result<(), Error>;

    /// Asks for the content of a file.
    fn request(&mut self, at: At<'_>, wanted: Wanted) -> Result<(), Error>;

    /// The destination has this entry: its source may go.
    fn confirm(&mut self, at: At<'_>) -> Result<(), Error>;

    /// Whether the destination's old version is of use to this peer.
    fn wants_basis(&self) -> bool;

    /// Whether a file, which has the right size, has the entry's content.
    fn has_content(&self, entry: &Entry, file: File) -> bool;

    /// What has become of requests. If `wait`, and requests are open, there is at least one.
    fn fates(&mut self, wait: bool) -> Result<Vec<(u32, Fate)>, Error>;
}

/// An entry and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'l> {
    pub(crate) list: &'l Arc<List>,
    pub(crate) number: u32,
    pub(crate) entry: &'l Entry,
}

/// A request for content.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) item: Item,
    /// What the destination has under the name.
    pub(crate) existing: Option<Meta>,
    /// What the new content may be put together from; absent if the whole file is to be sent.
    pub(crate) basis: Option<(File, Meta)>,
    /// A repetition: the first try did not verify.
    pub(crate) is_redo: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The file is in place.
    Done,
    /// It is complete, and will be in place at the end (`--delay-updates`).
    Parked,
    /// It is not, and will not be.
    Failed,
    /// It did not verify and is to be asked for once more.
    Redo,
}

/// The state of one run.
pub(crate) struct Generator<'a, P> {
    options: &'a Options,
    attributes: &'a Attributes,
    destination: &'a Destination,
    backups: Option<&'a Backups>,
    alternates: &'a Alternates,
    report: &'a Reporter<'a>,
    pub(crate) peer: P,
    pub(crate) deleter: Deleter<'a>,
    /// Surplus that is to go at the end.
    delayed: Vec<Surplus>,
    /// Directories whose content takes no part: they could not be made, or are not to be.
    skipped: Vec<Vec<u8>>,
    /// Directories that a dry run did not make.
    absent: Vec<Vec<u8>>,
    links: Links,
    /// Lists that are not finished, the oldest first.
    lists: VecDeque<Open>,
    /// Directories that were dealt with, for the end.
    dirs: Vec<Entry>,
    /// Directories whose times the run has changed.
    touched: HashSet<Vec<u8>>,
    last_touched: Vec<u8>,
    /// Directories made writable until the end.
    loosened: HashSet<Vec<u8>>,
    /// Files that were written in this run, if similar ones are looked for.
    written: HashSet<Vec<u8>>,
    /// Requests whose fate is not known.
    open: usize,
}

/// A list that is not finished.
struct Open {
    list: Arc<List>,
    /// The generator has passed it.
    is_passed: bool,
    /// Requests from it whose fate is not known, and names that wait for another one of their group.
    open: usize,
}

impl<'a, P: Peer> Generator<'a, P> {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one run, each with its own owner"
    )]
    pub(crate) fn new(
        options: &'a Options,
        rules: Arc<filter::Rules>,
        attributes: &'a Attributes,
        destination: &'a Destination,
        backups: Option<&'a Backups>,
        alternates: &'a Alternates,
        report: &'a Reporter<'a>,
        peer: P,
    ) -> Self {
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
            skipped: Vec::new(),
            absent: Vec::new(),
            links: Links::default(),
            lists: VecDeque::new(),
            dirs: Vec::new(),
            touched: HashSet::new(),
            last_touched: Vec::new(),
            loosened: HashSet::new(),
            written: HashSet::new(),
            open: 0,
        }
    }

    /// Learns of a list before its turn comes.
    pub(crate) fn expect(&mut self, list: &Arc<List>) {
        self.links.expect(list);
        self.lists.push_back(Open {
            list: Arc::clone(list),
            is_passed: false,
            open: 0,
        });
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

    /// Notes that every entry of a list has had its turn.
    fn pass(&mut self, list: &Arc<List>) {
        if let Some(open) = self
            .lists
            .iter_mut()
            .find(|open| Arc::ptr_eq(&open.list, list))
        {
            open.is_passed = true;
        }
    }

    /// Takes the oldest list off, if it is finished and not the last one.
    pub(crate) fn release(&mut self) -> bool {
        let is_finished = self.lists.len() > 1
            && self
                .lists
                .front()
                .is_some_and(|open| open.is_passed && open.open == 0);
        if is_finished {
            self.lists.pop_front();
        }
        is_finished
    }

    /// Whether requests are under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.open > 0
    }

    /// Waits until nothing is under way any more.
    pub(crate) fn settle_all(&mut self) -> Result<(), Error> {
        while self.open > 0 {
            self.settle(true)?;
        }
        Ok(())
    }

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
                && let Some(entry) = list.get(number)
            {
                self.installed(At {
                    list: &list,
                    number,
                    entry,
                })?;
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

    fn find(&self, number: u32) -> Option<Arc<List>> {
        self.lists
            .iter()
            .map(|open| &open.list)
            .find(|list| list.get(number).is_some())
            .cloned()
    }

    /// Counts what a list still waits for.
    fn count(&mut self, number: u32, change: isize) {
        if let Some(open) = self
            .lists
            .iter_mut()
            .find(|open| open.list.get(number).is_some())
        {
            open.open = open.open.saturating_add_signed(change);
        }
    }

    /// A file is in place.
    pub(crate) fn installed(&mut self, at: At<'_>) -> Result<(), Error> {
        if self.options.fuzzy > 0 {
            self.written
                .insert(self.destination.place(at.entry.path()).to_vec());
        }
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
        let now = match self.look(entry, place) {
            Ok(now) => now,
            Err(error) => {
                let text = sentence(&[
                    b"recv_generator: failed to stat ",
                    &self.destination.quoted(place),
                ]);
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
                self.skipped.push(path.to_vec());
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
        let rules = &self.options.module_rules;
        !rules.is_empty()
            && rules
                .check(entry.path(), entry.is_dir(), filter::Side::Receiver)
                .is_excluded()
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
        self.skipped.push(path.to_vec());
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
        } else if !self.attributes.are_equal(entry, now) {
            "attr change"
        } else {
            "uptodate"
        }
    }

    /// An argument that the sender does not have: it goes here, too.
    fn missing_arg(&mut self, entry: &Entry, now: Option<Meta>) -> Result<(), Error> {
        let Some(now) = now else { return Ok(()) };
        let surplus = Surplus::of(entry.path(), now.is_dir());
        self.remove(&surplus)
    }

    /// Reports an entry that needs no data, if there is anything to report.
    fn tell(&mut self, at: At<'_>, flags: ItemFlags, xname: Option<Vec<u8>>) -> Result<(), Error> {
        let silent =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let is_news =
            !(flags - silent).is_empty() || xname.as_ref().is_some_and(|name| !name.is_empty());
        if is_news || self.options.report.unchanged {
            self.peer.report(
                at,
                Item {
                    flags,
                    xname,
                    ..Item::default()
                },
            )?;
        }
        Ok(())
    }

    /// Removes what is in the way of `what`. False, with its messages, if it stays.
    fn make_way(&mut self, place: &[u8], now: &Meta, what: &str) -> Result<bool, Error> {
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
        match self.attributes.set(root, rel(place), entry, now, is_exact) {
            Ok(changed) => changed,
            Err(error) => {
                let text = failure_text(&error, &self.destination.quoted(place));
                self.report.failed(Role::Generator, text, error.cause());
                false
            }
        }
    }

    /// The destination, where it may be changed.
    fn root(&self) -> Option<&'a Root> {
        self.destination.root().filter(|_| !self.options.dry_run)
    }

    fn remove(&mut self, surplus: &Surplus) -> Result<(), Error> {
        self.touch(parent(&surplus.path));
        self.deleter.remove(surplus).map(drop)
    }

    /// Removes, or sets aside for the end, what a directory has too much.
    fn delete_in(&mut self, list: &List, dir: &Entry, number: u32) -> Result<(), Error> {
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

    fn delete_everywhere(&mut self, list: &Arc<List>) -> Result<(), Error> {
        if self.destination.is_single() {
            return Ok(());
        }
        for (number, entry) in list.active().filter(|(_, entry)| entry.is_dir()) {
            self.delete_in(list, entry, number)?;
        }
        Ok(())
    }

    /// Notes that the content of a directory has changed, and so its time.
    fn touch(&mut self, dir: &[u8]) {
        if self.last_touched != dir {
            self.last_touched = dir.to_vec();
            self.touched.insert(dir.to_vec());
        }
    }

    fn is_in(&self, dirs: &[Vec<u8>], path: &[u8]) -> bool {
        dirs.iter().any(|dir| path == dir || is_below(path, dir))
    }

    /// Learns what became of requests.
    pub(crate) fn settle(&mut self, wait: bool) -> Result<(), Error> {
        if self.open == 0 {
            return Ok(());
        }
        for (number, fate) in self.peer.fates(wait)? {
            self.open = self.open.saturating_sub(1);
            let Some(list) = self.find(number) else {
                continue;
            };
            let Some(entry) = list.get(number) else {
                continue;
            };
            let at = At {
                list: &list,
                number,
                entry,
            };
            match fate {
                Fate::Redo => self.redo(at)?,
                Fate::Parked => {}
                Fate::Done => self.installed(at)?,
                Fate::Failed => self.settle_links(at, false)?,
            }
            self.count(number, -1);
        }
        Ok(())
    }
}

/// The names in a directory, as far as they are in the list.
fn names_in(list: &List, number: u32) -> HashSet<&[u8]> {
    let mut names = HashSet::new();
    if list.is_partial {
        let active = list.active().map(|(_, entry)| entry.path());
        return active.filter(|path| *path != b".").map(basename).collect();
    }
    let first = (number - list.start) as usize;
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
        if entry.is_dir() {
            let path = entry.path();
            at += list.entries[at..].partition_point(|below| is_below(below.path(), path));
        }
    }
    names
}
