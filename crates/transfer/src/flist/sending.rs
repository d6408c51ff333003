//! Lists of a tree on their way to the peer (wire-files.md 4 to 6).

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;

use wire::{EntryEncoder, EntryFormat, IoErrors, Message, Ndx, NdxWriter, SortOrder};

use super::{Entry, List, parent};
use crate::event::{Class, Counts, Role};
use crate::options::{DeleteWhen, Options};
use crate::owners::OwnerNames;
use crate::report::{Reporter, sentence};
use crate::scan::{Base, Found, Pending, Scanner, rel};
use crate::session::Session;
use crate::stream::Stream;
use crate::{Error, sums};

/// Makes the lists of a session, sends them, and knows them as long as the peer may refer to them.
pub(crate) struct ListWriter<'a> {
    session: &'a Session,
    options: &'a Options,
    report: &'a Reporter<'a>,
    scanner: Scanner<'a>,
    encoder: EntryEncoder,
    format: EntryFormat,
    order: SortOrder,
    names: OwnerNames,
    /// Lists that the receiving side has not finished.
    open: VecDeque<List>,
    /// Every directory of the session, by number.
    dirs: Vec<Entry>,
    /// Directories whose content has not been listed, the next one last. Several of one name are one.
    ahead: Vec<(u32, Vec<Pending>)>,
    /// What the arguments name below directories, by the directory in whose list it belongs.
    below: HashMap<Vec<u8>, Vec<Found>>,
    /// Entries up to the end of the list that was referred to last.
    referenced: u64,
    /// Entries in lists that the receiving side has finished.
    released: u64,
    /// What the peer knows of our errors.
    told_errors: IoErrors,
    /// No list will follow.
    pub(crate) all_listed: bool,
    pub(crate) counts: Counts,
    pub(crate) total_size: u64,
    /// Entries that were sent.
    pub(crate) entries: u64,
    /// Bytes of the lists.
    pub(crate) size: u64,
}

impl<'a> ListWriter<'a> {
    pub(crate) fn new(
        session: &'a Session,
        options: &'a Options,
        rules: Arc<filter::Rules>,
        report: &'a Reporter<'a>,
    ) -> Self {
        let format = session.entry_format(options);
        Self {
            session,
            options,
            report,
            scanner: Scanner::new(options, rules, report),
            encoder: EntryEncoder::new(format.clone()),
            format,
            order: SortOrder::of(session.protocol),
            names: OwnerNames::new(&options.accounts),
            open: VecDeque::new(),
            dirs: Vec::new(),
            ahead: Vec::new(),
            below: HashMap::new(),
            referenced: 0,
            released: 0,
            told_errors: IoErrors::empty(),
            all_listed: !session.is_incremental(),
            counts: Counts::default(),
            total_size: 0,
            entries: 0,
            size: 0,
        }
    }

    /// Sends the first list, which is the only one unless lists go by directory. Returns how many entries it has.
    pub(crate) fn first(
        &mut self,
        stream: &mut Stream,
        sources: &[OsString],
    ) -> Result<usize, Error> {
        let mut list = List {
            start: self.encoder.list_start(),
            ..List::default()
        };
        let sent_before = stream.link().sent();
        let mut pending = Vec::new();
        if self.session.is_incremental() {
            list.is_partial = true;
            for found in self.scanner.arguments(sources)? {
                // The first list has what is in the root. What a path names below comes with its directory.
                if found.entry.path().contains(&b'/') {
                    let dir = parent(&found.entry.name).to_vec();
                    self.below.entry(dir).or_default().push(found);
                    continue;
                }
                let below = found.pending.clone();
                let is_root = found.entry.path() == b".";
                self.add(stream, &mut list, &mut pending, found)?;
                if let (true, Some(below)) = (is_root, below) {
                    // What is in the root has no list of its own.
                    pending.pop();
                    for found in self.scanner.content(&below)? {
                        self.add(stream, &mut list, &mut pending, found)?;
                    }
                }
            }
        } else {
            self.whole(stream, &mut list, sources)?;
        }
        self.finish(stream, list, pending)?;
        // What of a list has left already: rsync counts no more either.
        self.size += stream.link().sent() - sent_before;
        Ok(self.open.back().map_or(0, |list| list.entries.len()))
    }

    /// Sends the list of a further directory, if there is one and the peer is near the end of what it knows. While we wait
    /// for the peer (`eagerly`), it gets more in advance. False if nothing was sent.
    pub(crate) fn next(
        &mut self,
        stream: &mut Stream,
        writer: &mut NdxWriter,
        eagerly: bool,
    ) -> Result<bool, Error> {
        if self.all_listed {
            return Ok(false);
        }
        let window = if eagerly { WINDOW_IDLE } else { WINDOW };
        if self.entries - self.referenced >= window
            && !self.open.is_empty()
            && !self.ahead.is_empty()
        {
            return Ok(false);
        }
        let Some((number, pending)) = self.ahead.pop() else {
            self.all_listed = true;
            writer.write(stream.out(), Ndx::FlistEof);
            return Ok(true);
        };
        let sent_before = stream.link().sent();
        writer.write(stream.out(), Ndx::Dir(number));
        let start = self.encoder.list_start();
        let mut list = List {
            start,
            before: self.entries,
            is_partial: true,
            parent: Some(number),
            ..List::default()
        };
        let mut below = Vec::new();
        let named = self.below.remove(&*self.dirs[number as usize].name);
        for found in named.into_iter().flatten() {
            self.add(stream, &mut list, &mut below, found)?;
        }
        for pending in &pending {
            for found in self.scanner.content(pending)? {
                self.add(stream, &mut list, &mut below, found)?;
            }
        }
        self.finish(stream, list, below)?;
        // What of a list has left already: rsync counts no more either.
        self.size += stream.link().sent() - sent_before;
        // The peer looks at what it has while the next list is made, but not before it has the first few.
        if eagerly && stream.out().len() >= LISTS_AT_ONCE {
            stream.flush()?;
        }
        Ok(true)
    }

    /// What a number stands for; that before a list's first is the directory that it is the content of.
    pub(crate) fn find(&self, number: u32) -> Option<&Entry> {
        let own = self.open.iter().find_map(|list| list.get(number));
        own.or_else(|| {
            let is_before = |list: &&List| list.start.checked_sub(1) == Some(number);
            let list = self.open.iter().find(is_before)?;
            list.dir(|number| self.dirs.get(number))
        })
    }

    /// How many entries there are up to a number's and with it.
    pub(crate) fn through(&self, number: u32) -> u64 {
        let list = self.open.iter().find(|list| list.get(number).is_some());
        list.map_or(self.released, |list| list.through(number))
    }

    /// Where an entry comes from.
    pub(crate) fn base(&self, entry: &Entry) -> &Base {
        &self.scanner.bases[usize::from(entry.base)]
    }

    /// Whether every directory has been listed.
    pub(crate) fn is_whole(&self) -> bool {
        self.ahead.is_empty()
    }

    /// The peer has referred to an entry: it wants to know what comes after it.
    pub(crate) fn refer(&mut self, number: u32) {
        let behind: u64 = self
            .open
            .iter()
            .filter(|list| list.start > number)
            .map(|list| list.entries.len() as u64)
            .sum();
        self.referenced = self.referenced.max(self.entries - behind);
    }

    /// The peer has finished a list. False if it cannot have.
    pub(crate) fn release(&mut self) -> bool {
        // The last list is needed until the end: its numbers may come up again.
        let finished = (self.open.len() > 1)
            .then(|| self.open.pop_front())
            .flatten();
        if let Some(finished) = &finished {
            self.released += finished.entries.len() as u64;
            self.reach_oldest();
        }
        finished.is_some()
    }

    /// The whole of the trees, as one list.
    fn whole(
        &mut self,
        stream: &mut Stream,
        list: &mut List,
        sources: &[OsString],
    ) -> Result<(), Error> {
        for found in self.scanner.arguments(sources)? {
            let mut levels = vec![vec![found].into_iter()];
            while let Some(level) = levels.last_mut() {
                if self.options.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let Some(Found { entry, pending }) = level.next() else {
                    levels.pop();
                    continue;
                };
                let mut below = Vec::new();
                self.add(stream, list, &mut below, Found { entry, pending })?;
                for pending in below {
                    levels.push(self.scanner.content(&pending)?.into_iter());
                }
            }
        }
        Ok(())
    }

    /// Sends one entry. What is below it is `pending` then, unless its name cannot travel.
    fn add(
        &mut self,
        stream: &mut Stream,
        list: &mut List,
        pending: &mut Vec<Pending>,
        found: Found,
    ) -> Result<(), Error> {
        let Found {
            mut entry,
            pending: below,
        } = found;
        if self.format.checksum_length > 0 && entry.is_file() {
            let base = self.base(&entry);
            let sum = sums::of_file(&base.root, rel(entry.path()), self.session, stream)?;
            entry.extra_mut().checksum = sum.into();
        }
        let mut sent = entry.to_wire();
        if !self.convert(&mut sent) {
            return Ok(());
        }
        if self.options.minds_names() {
            self.names.note(entry.uid, entry.gid)?;
            if self.format.incremental {
                sent.user_name = self.names.user(entry.uid);
                sent.group_name = self.names.group(entry.gid);
            }
            for acl in [&mut sent.acl, &mut sent.default_acl].into_iter().flatten() {
                self.names.note_in(acl, self.format.incremental)?;
            }
        }
        let item = self.encoder.encode(&sent, stream.out());
        if let (Some(number), Some(extra)) = (item, &mut entry.extra)
            && let Some(xattrs) = &mut extra.xattrs
        {
            xattrs.number = number;
        }
        stream.flush_if_large()?;
        if !entry.is_missing_arg() {
            self.counts.note(entry.mode);
            self.total_size = self.total_size.saturating_add(entry.counted_size());
        }
        self.entries += 1;
        pending.extend(below);
        list.entries.push(entry);
        Ok(())
    }

    /// Turns the name and the target into what travels. False, with its message, if they mean nothing in our charset.
    fn convert(&self, sent: &mut wire::Entry) -> bool {
        let Some(charset) = self.session.charset else {
            return true;
        };
        let fail = |what: &[u8], name: &[u8]| {
            let cause = format!(" ({})", charset.fault(name));
            let text = sentence(&[what, name, cause.as_bytes()]);
            self.report.say(Class::Transfer, Role::Sender, text);
        };
        if self.session.converts_targets && !sent.target.is_empty() {
            let Some(target) = charset.to_wire(&sent.target) else {
                let shown = self.options.quoted(rel(&sent.name));
                fail(b"[sender] cannot convert symlink data for: ", &shown);
                return false;
            };
            sent.target = target;
        }
        let Some(name) = charset.to_wire(&sent.name) else {
            fail(b"[sender] cannot convert filename: ", &sent.name);
            return false;
        };
        sent.name = name;
        true
    }

    /// Ends a list, and numbers what is in it.
    fn finish(
        &mut self,
        stream: &mut Stream,
        mut list: List,
        pending: Vec<Pending>,
    ) -> Result<(), Error> {
        let errors = self.report.io_errors();
        let news = if errors == self.told_errors || self.options.ignore_errors {
            IoErrors::empty()
        } else {
            errors
        };
        self.told_errors = errors;
        self.encoder.end(news, stream.out());
        let (ids, users, groups) = self.format.id_lists();
        if users {
            let zero = self.names.users().find(|(id, _)| *id == 0);
            ids.encode(self.names.users(), zero.map(|(_, name)| name), stream.out());
        }
        if groups {
            let zero = self.names.groups().find(|(id, _)| *id == 0);
            ids.encode(
                self.names.groups(),
                zero.map(|(_, name)| name),
                stream.out(),
            );
        }
        if self.session.protocol.ends_list_with_errors() {
            let told = match self.options.ignore_errors {
                true => IoErrors::empty(),
                false => errors,
            };
            wire::put_int(stream.out(), told.to_wire());
        } else if !news.is_empty() && self.tells_beside(&list) {
            if list.parent.is_some() && !self.format.safe_list_end {
                self.refuse_late_errors()?;
            }
            // It overtakes lists that have not left.
            let speaker = stream.speaker(self.session.protocol);
            speaker.message(&Message::IoError(news));
        }
        // Names that are converted may sort differently at the other end.
        if self.session.charset.is_none() {
            list.sort(self.order);
        }
        if list.is_partial {
            self.number_dirs(&list, pending);
        }
        self.open.push_back(list);
        self.reach_oldest();
        Ok(())
    }

    /// Whether the peer hears of errors beside the list, at its end or there as well (wire-files.md 2.1).
    fn tells_beside(&self, list: &List) -> bool {
        let marks_only_ends = self.session.protocol.has_safe_list_end();
        !self.format.safe_list_end || list.parent.is_some() && !marks_only_ends
    }

    /// A receiver before 3.0.7 deletes while it has yet to hear of the errors in further lists (behaviour.md 6.3).
    fn refuse_late_errors(&self) -> Result<(), Error> {
        let when = match self.options.delete {
            Some(DeleteWhen::During) => "during",
            Some(DeleteWhen::Delay) => "delay",
            _ => return Ok(()),
        };
        let text = format!(
            "FATAL I/O ERROR: dying to avoid a --delete-{when} issue with a pre-3.0.7 receiver."
        );
        Err(Error::fatal(4, Role::Sender, text, None))
    }

    /// Gives the directories of a list their numbers, and plans their lists: depth first.
    fn number_dirs(&mut self, list: &List, pending: Vec<Pending>) {
        let mut planned: Vec<(u32, Vec<Pending>)> = Vec::new();
        let mut below: HashMap<Vec<u8>, Vec<Pending>> = HashMap::new();
        for pending in pending {
            below.entry(pending.path.clone()).or_default().push(pending);
        }
        let mut seen = HashSet::new();
        for entry in list.entries.iter().filter(|entry| entry.is_dir()) {
            let number = u32::try_from(self.dirs.len()).unwrap_or(u32::MAX);
            self.dirs.push(entry.clone());
            if entry.path() == b"." {
                continue;
            }
            if !seen.insert(&*entry.name) {
                continue;
            }
            let mut own = below.remove(&*entry.name).unwrap_or_default();
            // An argument that is given twice is there once.
            own.dedup_by_key(|pending| pending.base);
            planned.push((number, own));
        }
        self.ahead.extend(planned.into_iter().rev());
    }

    /// The peer deals with the oldest list, also if it asks for nothing in it.
    fn reach_oldest(&mut self) {
        let oldest = self.open.front().map_or(0, |list| list.entries.len());
        self.referenced = self.referenced.max(self.released + oldest as u64);
    }
}

/// Entries that the peer knows beyond those it deals with, while it has something to do and while we wait for it.
const WINDOW: u64 = 1000;
const WINDOW_IDLE: u64 = 10_000;

/// Bytes of lists that are sent together.
const LISTS_AT_ONCE: usize = 8 << 10;
