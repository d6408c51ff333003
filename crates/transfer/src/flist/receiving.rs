//! A file list as it comes over the wire, checked before anybody acts on it (behaviour.md 5.7 and 9.7, wire-files.md
//! 15.4).

use std::collections::HashSet;

use wire::{Decoded, EntryDecoder, EntryFormat, IdListItem, IoErrors, SortOrder};

use super::{Entry, List, is_below, parent};
use crate::Error;
use crate::event::{Class, Counts, Role};
use crate::ids::IdMap;
use crate::incoming::Incoming;
use crate::options::Options;
use crate::report::{Reporter, sentence};
use crate::requested::Requested;
use crate::scan::rel;
use crate::session::Session;
use crate::symlink::{MUNGED, confined};

/// Receives lists, and knows the directories of all of them.
pub(crate) struct ListReader<'a> {
    /// Links are made harmless (`--munge-links`).
    pub(crate) munges: bool,
    session: &'a Session,
    options: &'a Options,
    report: &'a Reporter<'a>,
    decoder: EntryDecoder,
    format: EntryFormat,
    order: SortOrder,
    ids: IdMap,
    requested: Requested,
    dirs: Vec<KnownDir>,
    /// Bytes that these take in memory.
    dirs_footprint: usize,
    pub(crate) counts: Counts,
    pub(crate) total_size: u64,
    pub(crate) entries: u64,
    /// Bytes that were read for lists.
    pub(crate) size: u64,
}

/// A directory whose content may come as a list of its own.
struct KnownDir {
    entry: Entry,
    has_list: bool,
}

impl<'a> ListReader<'a> {
    pub(crate) fn new(
        session: &'a Session,
        options: &'a Options,
        report: &'a Reporter<'a>,
        ids: IdMap,
        requested: Requested,
    ) -> Self {
        let format = session.entry_format(options);
        Self {
            session,
            options,
            report,
            decoder: EntryDecoder::new(format.clone()),
            order: SortOrder::of(format.protocol),
            format,
            ids,
            requested,
            munges: options.munge_links,
            dirs: Vec::new(),
            dirs_footprint: 0,
            counts: Counts::default(),
            total_size: 0,
            entries: 0,
            size: 0,
        }
    }

    /// Receives the first list.
    pub(crate) fn first(&mut self, incoming: &mut Incoming<'_>) -> Result<List, Error> {
        let mut list = self.entries(incoming, None)?;
        if !self.format.incremental {
            self.id_lists(incoming)?;
            for entry in &mut list.entries {
                self.ids.map_entry(entry)?;
            }
            if self.format.protocol.ends_list_with_errors() {
                let errors = incoming.read(|cursor| cursor.int().map(IoErrors::from_wire))?;
                self.report.io_error(errors);
            }
        }
        self.complete(&mut list)?;
        if !self.format.incremental {
            self.check_parents(&list)?;
        }
        Ok(list)
    }

    /// Receives the content of directory `number`, which comes with it.
    pub(crate) fn content_of(
        &mut self,
        incoming: &mut Incoming<'_>,
        number: u32,
    ) -> Result<(List, Entry), Error> {
        let count = self.dirs.len();
        let Some(dir) = self.dirs.get_mut(number as usize) else {
            return Err(protocol(format!(
                "rsync: refusing invalid dir_ndx {number} >= {count}"
            )));
        };
        if dir.entry.is_cleared {
            return Err(protocol(format!(
                "rsync: refusing flist for cleared dir_ndx {number}"
            )));
        }
        if std::mem::replace(&mut dir.has_list, true) {
            return Err(protocol(format!(
                "rsync: refusing malicious duplicate flist for dir {number}"
            )));
        }
        let entry = dir.entry.clone();
        let mut list = self.entries(incoming, Some(&entry))?;
        list.parent = Some(number);
        self.complete(&mut list)?;
        Ok((list, entry))
    }

    /// The directory that a list is the content of: of the first one that is the root, if it is listed.
    pub(crate) fn dir_of<'l>(&'l self, list: &'l List) -> Option<&'l Entry> {
        list.dir(|number| self.dirs.get(number).map(|dir| &dir.entry))
    }

    fn entries(&mut self, incoming: &mut Incoming<'_>, dir: Option<&Entry>) -> Result<List, Error> {
        let is_partial = self.format.incremental;
        let received = incoming.stream.link().received();
        let mut list = List {
            start: self.decoder.list_start(),
            before: self.entries,
            is_partial,
            ..List::default()
        };
        loop {
            let decoder = &mut self.decoder;
            match incoming.read(|cursor| decoder.decode(cursor))? {
                Decoded::Entry(entry) => {
                    let entry = self.accept(entry, dir)?;
                    list.footprint += entry.footprint();
                    list.entries.push(entry);
                    self.check_length([&list], incoming)?;
                }
                Decoded::End { io_errors } => {
                    if !self.options.ignore_errors {
                        list.io_errors = io_errors | incoming.take_told_errors();
                    }
                    self.size += incoming.stream.link().received() - received;
                    return Ok(list);
                }
            }
        }
    }

    /// A list that never ends must not take all memory, nor must lists that nobody finishes. The limit is rsync's for the
    /// array of their entries, which are pointers there. More bytes than that they may take only if the sender has sent
    /// their share of it: few bytes can repeat a long name or target.
    pub(crate) fn check_length<'l>(
        &self,
        unfinished: impl IntoIterator<Item = &'l List>,
        incoming: &Incoming<'_>,
    ) -> Result<(), Error> {
        let limit = self.options.allocation_limit();
        let (mut entries, mut bytes) = (0, self.dirs_footprint);
        for list in unfinished {
            entries += list.entries.len();
            bytes += list.footprint;
        }
        let earned = incoming.stream.link().received().saturating_mul(EXPANSION);
        let is_modest = bytes <= limit || bytes as u64 <= earned;
        if is_modest && entries.max(self.dirs.len()) < limit / size_of::<usize>() {
            return Ok(());
        }
        let text = format!("[receiver] exceeded --max-alloc={limit} setting");
        Err(Error::fatal(22, Role::Receiver, text, None))
    }

    /// Checks an entry, and makes it one of ours.
    fn accept(&mut self, mut entry: wire::Entry, dir: Option<&Entry>) -> Result<Entry, Error> {
        self.ids.learn(&entry);
        if !self.convert(&mut entry, dir.is_some()) {
            // rsync takes the name for an empty one, which may stand in the first list only.
            if dir.is_some() {
                return Err(unsafe_name(b"invalid path", b"/"));
            }
            let mut entry = Entry::from_wire(entry);
            entry.is_cleared = true;
            return Ok(entry);
        }
        let mut entry = Entry::from_wire(entry);
        let path = entry.path();
        if path == b"." && !entry.is_dir() {
            let shown = String::from_utf8_lossy(path).into_owned();
            return Err(protocol(format!(
                "ERROR: rejecting non-directory transfer-root entry: {shown}"
            )));
        }
        if self.format.incremental {
            let expected = dir.map_or(b".".as_slice(), Entry::path);
            let is_root = dir.is_none()
                && (path == b"." || self.format.relative && entry.name.starts_with(b"/"));
            if !is_root && (parent(path) != expected || path == b".") {
                return Err(unsafe_name(b"invalid path", path));
            }
            self.ids.map_entry(&mut entry)?;
        }
        if let Some(error) = self.requested.refusal(&entry) {
            return Err(error);
        }
        if entry.has_content() && self.requested.is_only_implied(entry.path()) {
            entry.no_content = true;
            entry.top_dir = true;
        }
        if !self.options.chmod.is_empty() && !entry.is_symlink() && !entry.is_missing_arg() {
            let mode = self
                .options
                .chmod
                .apply(entry.mode, entry.is_dir(), self.options.umask);
            entry.mode = entry.file_type() | mode;
        }
        if self.munges && entry.is_symlink() {
            let target = [MUNGED, entry.target()].concat();
            entry.extra_mut().target = target.into();
        } else if self.options.confines_targets() && entry.is_symlink() {
            let target = confined(entry.target(), entry.path());
            entry.extra_mut().target = target.into();
        }
        self.entries += 1;
        if !entry.is_missing_arg() {
            self.counts.note(entry.mode);
            self.total_size = self.total_size.saturating_add(entry.counted_size());
        }
        Ok(entry)
    }

    /// Turns the name and the target into those of our charset. False, with its message, if that lacks a character.
    fn convert(&self, entry: &mut wire::Entry, is_late: bool) -> bool {
        let Some(charset) = self.session.charset else {
            return true;
        };
        let we: &[u8] = if is_late {
            b"[receiver]"
        } else {
            b"[Receiver]"
        };
        let fail = |what: &[u8], name: &[u8]| {
            let cause = format!(" ({})", charset.fault(name));
            let text = sentence(&[we, what, name, cause.as_bytes()]);
            self.report.say(Class::Transfer, Role::Receiver, text);
            false
        };
        let Some(name) = charset.to_local(&entry.name) else {
            return fail(b" cannot convert filename: ", &entry.name);
        };
        entry.name = name;
        if entry.target.is_empty() || !self.session.converts_targets {
            return true;
        }
        let Some(target) = charset.to_local(&entry.target) else {
            let shown = self.options.quoted(rel(&entry.name));
            return fail(b" cannot convert symlink data for: ", &shown);
        };
        entry.target = target;
        true
    }

    fn id_lists(&mut self, incoming: &mut Incoming<'_>) -> Result<(), Error> {
        let (ids, has_users, has_groups) = self.format.id_lists();
        for (_, of_users) in [(has_users, true), (has_groups, false)]
            .into_iter()
            .filter(|(is_present, _)| *is_present)
        {
            let mut left = ID_LIST_MAX;
            loop {
                match incoming.read(|cursor| ids.decode(cursor))? {
                    IdListItem::Name { id, name } => self.ids.name(of_users, id, &name),
                    IdListItem::End { zero } => {
                        if let Some(name) = zero {
                            self.ids.name(of_users, 0, &name);
                        }
                        break;
                    }
                }
                left -= 1;
                if left == 0 {
                    return Err(protocol("too many names of owners".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Sorts a list and registers its directories.
    fn complete(&mut self, list: &mut List) -> Result<(), Error> {
        match self.session.charset {
            None => list.sort(self.order),
            Some(_) => list.sort_apart(self.order),
        }
        list.clear_duplicates(self.order);
        if self.options.prune_empty_dirs && !self.format.incremental {
            list.prune_empty_dirs(|_| false);
        }
        if self.format.incremental {
            for entry in list.by_number().filter(|entry| entry.is_dir()) {
                self.dirs_footprint += entry.footprint();
                self.dirs.push(KnownDir {
                    entry: entry.clone(),
                    has_list: entry.path() == b".",
                });
            }
        }
        Ok(())
    }

    /// Every entry's directory must be in the list, or nobody would have checked it.
    fn check_parents(&self, list: &List) -> Result<(), Error> {
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut above: Vec<&[u8]> = Vec::new();
        for (_, entry) in list.active() {
            let path = entry.path();
            while above.last().is_some_and(|dir| !is_below(path, dir)) {
                above.pop();
            }
            let dir = parent(path);
            let is_known = dir == b"." || above.last() == Some(&dir) || known.contains(dir);
            let is_left_to_us = self.options.relative && !self.options.implied_dirs;
            if !is_known && !is_left_to_us {
                if entry.is_missing_arg() {
                    let text =
                        sentence(&[b"WARNING: parent dir is absent in the file list: ", dir]);
                    self.report.say(Class::Warning, Role::Generator, text);
                } else {
                    let shown = String::from_utf8_lossy(path).into_owned();
                    return Err(protocol(format!(
                        "ABORTING due to invalid path from sender: {shown}"
                    )));
                }
            }
            if entry.is_dir() {
                above.push(path);
                if !self.format.protocol.sorts_files_first() {
                    known.insert(path);
                }
            }
        }
        Ok(())
    }
}

fn protocol(text: String) -> Error {
    Error::fatal(2, Role::Receiver, text, None)
}

fn unsafe_name(what: &[u8], path: &[u8]) -> Error {
    let text = sentence(&[b"ABORTING due to ", what, b" from sender: ", path]);
    Error::fatal(4, Role::Receiver, text, None)
}

/// What an entry may take in memory for each byte that the sender has sent.
const EXPANSION: u64 = 64;

/// More owners than this do not share one tree.
const ID_LIST_MAX: u32 = 1 << 20;
