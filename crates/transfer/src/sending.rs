//! The sending side of a session: lists of a tree, and what becomes of its files (wire-files.md 4 to 6).

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use delta::Tally;
use wire::{
    BasisType, DeleteStatistics, EntryEncoder, EntryFormat, IoErrors, Item, ItemFlags, Malformed,
    Message, Ndx, NdxWriter, SortOrder, Statistics, SumHead, XattrsOwed,
};

use tree::Kind;

use crate::Error;
use crate::attributes::{XattrRules, xattrs_of};
use crate::destination::Destination;
use crate::event::{Class, Direction, Event, Itemized, Outcome, Progress, Role, Stats};
use crate::flist::{Entry, List, parent};
use crate::options::{Append, Options, RemoveSource};
use crate::owners::OwnerNames;
use crate::recording::Record;
use crate::report::{Reporter, quoted, sentence};
use crate::scan::{Found, Pending, Scanner, rel};
use crate::sender::{Catalogue, Opened, Sender, Sent};
use crate::session::Session;
use crate::source::{open_source, remove_source};
use crate::stream::Stream;
use crate::sums;
use crate::write::Pace;

/// What the sending side of a session works with.
pub(crate) struct Sending<'a> {
    pub(crate) session: &'a Session,
    pub(crate) options: &'a Options,
    pub(crate) rules: Arc<filter::Rules>,
    pub(crate) report: &'a Reporter<'a>,
    pub(crate) is_client: bool,
    /// Which way the user sees files go.
    pub(crate) direction: Direction,
    /// The destination, if it is on this machine.
    pub(crate) own: Option<&'a Path>,
}

impl Sending<'_> {
    /// Sends the lists of `sources`, and the content of files that are asked for.
    pub(crate) fn run(self, stream: &mut Stream, sources: &[OsString]) -> Result<Outcome, Error> {
        let Self {
            session,
            options,
            report,
            is_client,
            ..
        } = self;
        stream.listen();
        if is_client {
            stream.record(Record::begin(options, session, false)?)?;
        }
        let format = session.entry_format(options);
        let mut forest = Forest {
            xattr_rules: XattrRules::new(options, &self.rules, filter::Side::Sender),
            owed: XattrsOwed::default(),
            session,
            options,
            report,
            scanner: Scanner::new(options, self.rules, report),
            encoder: EntryEncoder::new(format.clone()),
            format,
            order: SortOrder::of(session.protocol),
            names: OwnerNames::default(),
            lists: VecDeque::new(),
            dirs: Vec::new(),
            ahead: Vec::new(),
            below: HashMap::new(),
            known: 0,
            referenced: 0,
            released: 0,
            all_listed: !session.is_incremental(),
            told_errors: IoErrors::empty(),
            is_client,
            direction: self.direction,
            own: self.own,
            stats: Stats::default(),
            tally: Tally::default(),
            total_done: 0,
            pace: options.bandwidth.map(Pace::new),
            under_way: (0, 0),
        };
        report.event(Event::ListStarted {
            incremental: session.is_incremental(),
            sending: true,
        });
        let started = Instant::now();
        let listed = forest.first(stream, sources);
        // A peer that wants none of it has said so by now.
        stream
            .messages()
            .into_iter()
            .try_for_each(|message| forest.hear(message))?;
        let entries = listed?;
        forest.stats.list_build_ms = u64::try_from(started.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        report.event(Event::ListFinished {
            entries: forest.known,
        });
        let mut sender = Sender::new(stream, session, session.item_format(options), forest);
        let statistics = |forest: &Forest<'_>, stream: &Stream| Statistics {
            read: stream.link().received(),
            written: stream.link().sent(),
            total_size: forest.stats.total_size,
            list_build_ms: forest.stats.list_build_ms,
            list_transfer_ms: forest.stats.list_transfer_ms,
        };
        // A server that has nothing to send leaves it at that: the client learns why from our exit code (8.5).
        let started = sender.start();
        let served = match entries == 0 && !is_client {
            true => started,
            false => started.and_then(|()| sender.serve(!is_client, Some(&statistics))),
        };
        sender.hear_rest()?;
        served?;
        let (received, sent) = sender.totals;
        let stats = Stats {
            sent,
            received,
            ..sender.catalogue.stats
        };
        stream.flush()?;
        Ok(outcome(stats, report))
    }
}

fn outcome(stats: Stats, report: &Reporter<'_>) -> Outcome {
    Outcome {
        stats,
        io_errors: report.io_errors(),
        is_partial: report.is_partial(),
        deletions_skipped: 0,
        peer_exit: None,
    }
}

/// The trees that are sent, as the catalogue of a session.
struct Forest<'a> {
    session: &'a Session,
    options: &'a Options,
    report: &'a Reporter<'a>,
    scanner: Scanner<'a>,
    encoder: EntryEncoder,
    format: EntryFormat,
    order: SortOrder,
    names: OwnerNames,
    /// Lists that the receiving side has not finished.
    lists: VecDeque<List>,
    /// Every directory of the session, by number.
    dirs: Vec<Entry>,
    /// Directories whose content has not been listed, the next one last. Several of one name are one.
    ahead: Vec<(u32, Vec<Pending>)>,
    /// What the arguments name below directories, by the directory in whose list it belongs.
    below: HashMap<Vec<u8>, Vec<Found>>,
    /// Entries that have been sent.
    known: u64,
    /// Entries up to the end of the list that was referred to last.
    referenced: u64,
    /// Entries in lists that the receiving side has finished.
    released: u64,
    all_listed: bool,
    /// What the peer knows of our errors.
    told_errors: IoErrors,
    is_client: bool,
    direction: Direction,
    own: Option<&'a Path>,
    stats: Stats,
    tally: Tally,
    total_done: u64,
    pace: Option<Pace>,
    /// The file whose content is being sent, and how many literal bytes of it have left.
    under_way: (u32, u64),
    xattr_rules: Option<XattrRules>,
    /// Values of extended attributes that were asked for.
    owed: XattrsOwed,
}

impl Forest<'_> {
    /// Sends the first list, which is the only one unless lists go by directory. Returns how many entries it has.
    fn first(&mut self, stream: &mut Stream, sources: &[OsString]) -> Result<usize, Error> {
        let mut list = List {
            start: self.encoder.list_start(),
            ..List::default()
        };
        let sent = stream.link().sent();
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
        self.note_list_size(stream, sent);
        Ok(self.lists.back().map_or(0, |list| list.entries.len()))
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
                self.add(
                    stream,
                    list,
                    &mut Vec::new(),
                    Found {
                        entry,
                        pending: None,
                    },
                )?;
                if let Some(pending) = pending {
                    levels.push(self.scanner.content(&pending)?.into_iter());
                }
            }
        }
        Ok(())
    }

    /// Sends one entry.
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
            let base = &self.scanner.bases[usize::from(entry.base)];
            let sum = sums::of_file(&base.root, rel(entry.path()), self.session, stream)?;
            entry.extra_mut().checksum = sum.into();
        }
        let mut sent = entry.to_wire();
        if !self.convert(&mut sent) {
            return Ok(());
        }
        if !self.options.numeric_ids {
            self.names.note(entry.uid, entry.gid);
            if self.format.incremental {
                sent.user_name = self.names.user(entry.uid);
                sent.group_name = self.names.group(entry.gid);
            }
            for acl in [&mut sent.acl, &mut sent.default_acl].into_iter().flatten() {
                self.names.note_in(acl, self.format.incremental);
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
            self.stats.listed.note(entry.mode);
            self.stats.total_size += entry.counted_size();
        }
        self.known += 1;
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
            let zero = self
                .names
                .users()
                .find(|(id, _)| *id == 0)
                .map(|(_, name)| name);
            ids.encode(self.names.users(), zero, stream.out());
        }
        if groups {
            let zero = self
                .names
                .groups()
                .find(|(id, _)| *id == 0)
                .map(|(_, name)| name);
            ids.encode(self.names.groups(), zero, stream.out());
        }
        if self.session.protocol.ends_list_with_errors() {
            wire::put_int(stream.out(), errors.to_wire());
        } else if !self.format.safe_list_end && !news.is_empty() {
            stream.send_message(&Message::IoError(news), self.session.protocol)?;
        }
        // Names that are converted may sort differently at the other end.
        if self.session.charset.is_none() {
            list.sort(self.order);
        }
        if list.is_partial {
            self.number_dirs(&list, pending);
        }
        self.lists.push_back(list);
        self.reach_oldest();
        Ok(())
    }

    /// What of a list has left already: rsync counts no more either.
    fn note_list_size(&mut self, stream: &Stream, sent_before: u64) {
        self.stats.list_size += stream.link().sent() - sent_before;
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

    fn find(&self, number: u32) -> Option<&Entry> {
        let own = self.lists.iter().find_map(|list| list.get(number));
        own.or_else(|| {
            let list = self
                .lists
                .iter()
                .find(|list| list.start.checked_sub(1) == Some(number))?;
            match list.parent {
                Some(parent) => self.dirs.get(parent as usize),
                None => list
                    .entries
                    .first()
                    .filter(|entry| list.is_partial && entry.path() == b"."),
            }
        })
    }

    /// The peer has referred to an entry: it wants to know what comes after it.
    fn refer(&mut self, number: u32) {
        let behind: u64 = self
            .lists
            .iter()
            .filter(|list| list.start > number)
            .map(|list| list.entries.len() as u64)
            .sum();
        self.referenced = self.referenced.max(self.known - behind);
    }

    /// The peer deals with the oldest list, also if it asks for nothing in it.
    fn reach_oldest(&mut self) {
        let oldest = self.lists.front().map_or(0, |list| list.entries.len());
        self.referenced = self.referenced.max(self.released + oldest as u64);
    }

    /// `travelled` are the bytes of the content's answer, and of the sums before it.
    fn itemize(
        &self,
        entry: &Entry,
        item: &Item,
        (bytes, sum_bytes): (u64, u64),
        digest: Option<&[u8]>,
    ) {
        if !self.is_client && !self.options.report.items {
            return;
        }
        let silent =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let is_transfer = item.flags.contains(ItemFlags::TRANSFER);
        let link = item
            .xname
            .as_deref()
            .filter(|name| !name.is_empty() && !is_transfer);
        let mut view = entry.view();
        view.source = self
            .scanner
            .bases
            .get(usize::from(entry.base))
            .map(|base| base.given.as_path());
        let checksum = self.session.written_sum(entry, digest);
        self.report.event(Event::Itemized(Itemized {
            entry: view,
            flags: item.flags,
            direction: self.direction,
            link,
            unchanged: (item.flags - silent).is_empty() && link.is_none(),
            bytes,
            sum_bytes,
            checksum: checksum.as_deref(),
        }));
    }

    fn show_progress(&self, number: u32, done: u64, finished: bool) {
        if !self.options.report.progress || !self.is_client {
            return;
        }
        let Some(entry) = self.find(number) else {
            return;
        };
        self.report.event(Event::Progress(Progress {
            path: &entry.name,
            done,
            size: entry.size,
            finished,
            transferred: self.stats.transferred,
            left: self.known.saturating_sub(u64::from(number) + 1),
            known: self.known,
            all_known: self.all_listed,
            total_done: if finished {
                self.total_done
            } else {
                self.total_done + done
            },
            total_size: self.stats.total_size,
        }));
    }
}

impl Catalogue for Forest<'_> {
    fn is_file(&self, number: u32) -> Result<bool, Error> {
        match self.find(number) {
            Some(entry) => Ok(entry.is_file()),
            None => Err(Error::fatal(
                2,
                Role::Sender,
                format!("Invalid file index: {number}"),
                None,
            )),
        }
    }

    fn appends(&self) -> Option<bool> {
        self.options.append.map(|append| append == Append::Verified)
    }

    fn open(&mut self, number: u32, item: &Item, head: &SumHead) -> Result<Opened, IoErrors> {
        self.refer(number);
        self.under_way = (number, 0);
        let Some(entry) = self.find(number) else {
            return Err(IoErrors::GENERAL);
        };
        let base = &self.scanner.bases[usize::from(entry.base)];
        let shown = quoted(&base.shown, entry.path());
        let (file, meta) = match open_source(base, entry, self.options) {
            Ok(opened) => opened,
            Err(error) if error.vanished() => {
                self.report.io_error(IoErrors::VANISHED);
                self.report.say(
                    Class::Warning,
                    Role::Sender,
                    sentence(&[b"file has vanished: ", &shown]),
                );
                return Err(IoErrors::VANISHED);
            }
            Err(error) => {
                self.report.io_error(IoErrors::GENERAL);
                let text = sentence(&[b"send_files failed to open ", &shown]);
                self.report.failed(Role::Sender, text, error.cause());
                return Err(IoErrors::GENERAL);
            }
        };
        if self.options.append.is_some() && meta.size < head.described_length() {
            let text = sentence(&[b"skipped diminished file: ", &shown]);
            self.report.say(Class::Warning, Role::Sender, text);
            return Err(IoErrors::empty());
        }
        if !self.options.report.after_transfer {
            self.itemize(entry, item, (0, 0), None);
        }
        let in_place = self.options.inplace && item.basis == BasisType::Destination;
        Ok(Opened {
            file,
            meta,
            in_place,
        })
    }

    fn request_values(&mut self, number: u32, values: &[u32]) -> Result<(), Error> {
        let item = self.find(number).and_then(Entry::xattrs).cloned();
        match item {
            Some(item) => Ok(self.owed.request(&item, values)?),
            None => match values.first() {
                Some(&number) => Err(Malformed::XattrRequest { number }.into()),
                None => Ok(()),
            },
        }
    }

    fn due_values(&mut self, number: u32) -> Vec<(u32, Vec<u8>)> {
        let Some(item) = self.find(number).and_then(Entry::xattrs).cloned() else {
            return Vec::new();
        };
        let due = self.owed.deliver(item.number);
        let (Some(rules), Some(entry)) = (&self.xattr_rules, self.find(number)) else {
            return Vec::new();
        };
        let base = &self.scanner.bases[usize::from(entry.base)];
        let read = |name: &[u8]| {
            let kind = Kind::from_mode(entry.mode).unwrap_or(Kind::File);
            let opened = xattrs_of(&base.root, rel(entry.path()), kind);
            let value = opened.and_then(|xattrs| rules.value(&xattrs, name));
            let cause = match value {
                Ok(Some(value)) => return value,
                Ok(None) => std::io::Error::from(std::io::ErrorKind::NotFound),
                Err(error) => error.into_cause(),
            };
            // The peer takes it for an empty value; the text tells the user.
            let shown = quoted(&base.shown, entry.path());
            let text = sentence(&[
                b"get_xattr_data: lgetxattr(",
                &shown,
                b",\"",
                name,
                b"\",0) failed",
            ]);
            self.report.failed(Role::Sender, text, &cause);
            Vec::new()
        };
        due.into_iter()
            .filter_map(|number| {
                let attribute = item.attributes.get(number as usize - 1)?;
                Some((number, read(&attribute.name)))
            })
            .collect()
    }

    fn noted(&mut self, number: u32, item: &Item) {
        self.refer(number);
        let Some(entry) = self.find(number) else {
            return;
        };
        self.itemize(entry, item, (0, 0), None);
        let (mode, size) = (entry.mode, entry.size);
        if item.flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(mode);
        }
        if item.flags.contains(ItemFlags::TRANSFER) {
            self.stats.transferred += 1;
            self.stats.transferred_size += size;
        }
    }

    fn piece(&self) -> Option<usize> {
        self.pace.as_ref().map(Pace::chunk)
    }

    fn progress(&mut self, bytes: u64) {
        if let Some(pace) = &mut self.pace {
            pace.wait(bytes);
        }
        let (number, done) = self.under_way;
        self.under_way.1 = done + bytes;
        self.show_progress(number, done + bytes, false);
    }

    fn sent(&mut self, number: u32, item: &Item, sent: Sent) -> Result<(), Error> {
        let Some(entry) = self.find(number) else {
            return Ok(());
        };
        if self.options.report.after_transfer {
            let travelled = (sent.bytes, sent.sum_bytes);
            self.itemize(entry, item, travelled, Some(&sent.digest));
        }
        if let Some(cause) = &sent.damage {
            self.report.io_error(IoErrors::GENERAL);
            let shown = quoted(
                &self.scanner.bases[usize::from(entry.base)].shown,
                entry.path(),
            );
            self.report.failed(
                Role::Sender,
                sentence(&[b"read errors mapping ", &shown]),
                cause,
            );
        }
        let (mode, size) = (entry.mode, entry.size);
        if item.flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(mode);
        }
        self.stats.transferred += 1;
        self.stats.transferred_size += size;
        self.stats.literal += sent.literal;
        self.stats.matched += sent.matched;
        self.tally += sent.tally;
        self.total_done += size;
        self.show_progress(number, size, true);
        Ok(())
    }

    fn all_sent(&mut self) {
        self.report.event(Event::AllSent {
            tally: self.tally,
            literal: self.stats.literal,
        });
    }

    fn hear(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Text(severity, text) => self.report.event(Event::Peer {
                severity,
                text: &self.session.here(text),
            }),
            Message::Deleted { path, is_dir } => self.report.event(Event::Deleted {
                path: &self.session.here(path),
                is_dir,
            }),
            Message::Success(number)
                if self.options.remove_source != RemoveSource::No && !self.options.dry_run =>
            {
                let Some(entry) = self.find(number).filter(|entry| !entry.is_dir()) else {
                    let text =
                        format!("File-list index {number} not in the lists (successful_send)");
                    return Err(Error::fatal(2, Role::Sender, text, None));
                };
                let base = &self.scanner.bases[usize::from(entry.base)];
                let destination = match self.own {
                    Some(path) => Destination::found(path, self.options)?,
                    None => Destination::none(),
                };
                remove_source(base, entry, &destination, self.report);
            }
            Message::IoError(errors) => self.report.io_error(errors),
            Message::Success(_)
            | Message::IoTimeout(_)
            | Message::Noop
            | Message::ErrorExit(_)
            | Message::NoSend(_) => {}
        }
        Ok(())
    }

    fn deleted(&mut self, counts: DeleteStatistics) {
        self.stats.deleted = crate::event::Counts::default();
        self.stats.deleted.add(counts);
    }

    fn is_whole(&self) -> bool {
        self.ahead.is_empty()
    }

    fn send_list(
        &mut self,
        stream: &mut Stream,
        writer: &mut NdxWriter,
        eagerly: bool,
    ) -> Result<bool, Error> {
        if self.all_listed {
            return Ok(false);
        }
        let window = if eagerly { WINDOW_IDLE } else { WINDOW };
        if self.known - self.referenced >= window
            && !self.lists.is_empty()
            && !self.ahead.is_empty()
        {
            return Ok(false);
        }
        let Some((number, pending)) = self.ahead.pop() else {
            self.all_listed = true;
            writer.write(stream.out(), Ndx::FlistEof);
            return Ok(true);
        };
        let sent = stream.link().sent();
        writer.write(stream.out(), Ndx::Dir(number));
        let start = self.encoder.list_start();
        let mut list = List {
            start,
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
        self.note_list_size(stream, sent);
        // The peer looks at what it has while the next list is made.
        if stream.out().len() >= LISTS_AT_ONCE {
            stream.flush()?;
        }
        Ok(true)
    }

    fn release(&mut self) -> bool {
        // The last list is needed until the end: its numbers may come up again.
        let finished = (self.lists.len() > 1)
            .then(|| self.lists.pop_front())
            .flatten();
        if let Some(finished) = &finished {
            self.released += finished.entries.len() as u64;
            self.reach_oldest();
        }
        finished.is_some()
    }
}

/// Entries that the peer knows beyond those it deals with, while it has something to do and while we wait for it.
const WINDOW: u64 = 1000;
const WINDOW_IDLE: u64 = 10_000;

/// Bytes of lists that are sent together.
const LISTS_AT_ONCE: usize = 8 << 10;
