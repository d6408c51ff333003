//! The sending side of a session: lists of a tree first, then what becomes of its files (wire-session.md 8).

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use delta::Tally;
use tree::Kind;
use wire::{
    BasisType, CompatFlags, DeleteStatistics, IoErrors, Item, ItemFlags, Malformed, Message,
    NdxWriter, Statistics, SumHead, XattrsOwed,
};

use crate::Error;
use crate::attributes::{XattrRules, xattrs_of};
use crate::destination::Destination;
use crate::event::{Class, Counts, Direction, Event, FileProgress, Itemized, Outcome, Role, Stats};
use crate::flist::Entry;
use crate::flist::sending::ListWriter;
use crate::options::{Append, Options, RemoveSource};
use crate::recording::Record;
use crate::report::{Reporter, quoted, sentence};
use crate::scan::rel;
use crate::sender::{Catalogue, Opened, Sender, Sent};
use crate::session::Session;
use crate::source::{open_source, remove_source};
use crate::stream::Stream;
use crate::write::Pace;

/// What the sending side of a session works with.
pub(crate) struct Sending<'a> {
    pub(crate) session: &'a Session,
    pub(crate) options: &'a Options,
    pub(crate) rules: Arc<filter::Rules>,
    pub(crate) report: &'a Reporter<'a>,
    pub(crate) is_client: bool,
    /// The destination, if it is on this machine.
    pub(crate) own: Option<&'a Path>,
}

impl Sending<'_> {
    /// As [`Sending::run`], and the peer hears what ends it before its end.
    pub(crate) fn over(self, mut stream: Stream, sources: &[OsString]) -> Result<Outcome, Error> {
        let (session, report) = (self.session, self.report);
        self.run(&mut stream, sources)
            .map_err(|error| session.part(&mut stream, error, report))
    }

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
        let mut forest = Forest {
            xattr_rules: XattrRules::new(options, &self.rules, filter::Side::Sender),
            owed: XattrsOwed::default(),
            session,
            options,
            report,
            lists: ListWriter::new(session, options, self.rules, report),
            is_client,
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
        let listed = forest.lists.first(stream, sources);
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
            entries: forest.lists.entries,
        });
        let mut sender = Sender::new(stream, session, session.item_format(options), forest);
        let statistics = |forest: &Forest<'_>, stream: &Stream| Statistics {
            read: stream.link().received(),
            written: stream.link().sent(),
            total_size: forest.lists.total_size,
            list_build_ms: forest.stats.list_build_ms,
            list_transfer_ms: forest.stats.list_transfer_ms,
        };
        // A server that has nothing to send leaves it at that: the client learns why from our exit code (8.5).
        let started = sender.start(!is_client);
        let served = match entries == 0 && !is_client {
            true => started,
            false => started.and_then(|()| sender.serve(!is_client, Some(&statistics))),
        };
        sender.hear_rest()?;
        served?;
        let (received, sent) = sender.totals;
        let Forest { lists, stats, .. } = sender.catalogue;
        let stats = Stats {
            listed: lists.counts,
            total_size: lists.total_size,
            list_size: lists.size,
            sent,
            received,
            ..stats
        };
        stream.flush()?;
        Ok(report.outcome(stats, 0))
    }
}

/// The trees that are sent, as the catalogue of a session.
struct Forest<'a> {
    session: &'a Session,
    options: &'a Options,
    report: &'a Reporter<'a>,
    lists: ListWriter<'a>,
    is_client: bool,
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
        let mut view = entry.view();
        view.source = Some(self.lists.base(entry).given.as_path());
        let checksum = self.session.written_sum(entry, digest);
        let mut flags = item.flags;
        let sets_link_times = self.session.flags.contains(CompatFlags::SYMLINK_TIMES);
        if entry.is_symlink() && flags.contains(ItemFlags::REPORT_TIME) && !sets_link_times {
            flags |= ItemFlags::REPORT_TIMEFAIL;
        }
        let name = item.xname.as_deref();
        // The user of a local copy sees files come.
        let direction = match self.own {
            Some(_) => Direction::Received,
            None => Direction::Sent,
        };
        self.report.event(Event::Itemized(Itemized {
            bytes,
            sum_bytes,
            checksum: checksum.as_deref(),
            ..Itemized::new(view, flags, name, direction)
        }));
    }

    fn show_progress(&self, number: u32, done: u64, finished: bool) {
        if !self.options.report.progress || !self.is_client {
            return;
        }
        let Some(entry) = self.lists.find(number) else {
            return;
        };
        self.report.event(Event::Progress(FileProgress {
            path: &entry.name,
            done,
            size: entry.size,
            finished,
            transferred: self.stats.transferred,
            left: self
                .lists
                .entries
                .saturating_sub(self.lists.through(number)),
            known: self.lists.entries,
            all_known: self.lists.all_listed,
            total_done: if finished {
                self.total_done
            } else {
                self.total_done.saturating_add(done)
            },
            total_size: self.lists.total_size,
        }));
    }
}

impl Catalogue for Forest<'_> {
    fn is_file(&self, number: u32) -> Result<bool, Error> {
        match self.lists.find(number) {
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
        self.lists.refer(number);
        self.under_way = (number, 0);
        let Some(entry) = self.lists.find(number) else {
            return Err(IoErrors::GENERAL);
        };
        let base = self.lists.base(entry);
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
        let item = self.lists.find(number).and_then(Entry::xattrs).cloned();
        match item {
            Some(item) => Ok(self.owed.request(&item, values)?),
            None => match values.first() {
                Some(&number) => Err(Malformed::XattrRequest { number }.into()),
                None => Ok(()),
            },
        }
    }

    fn due_values(&mut self, number: u32) -> Vec<(u32, Vec<u8>)> {
        let Some(item) = self.lists.find(number).and_then(Entry::xattrs).cloned() else {
            return Vec::new();
        };
        let due = self.owed.deliver(item.number);
        let (Some(rules), Some(entry)) = (&self.xattr_rules, self.lists.find(number)) else {
            return Vec::new();
        };
        let base = self.lists.base(entry);
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
        self.lists.refer(number);
        let Some(entry) = self.lists.find(number) else {
            return;
        };
        self.itemize(entry, item, (0, 0), None);
        let (mode, size) = (entry.mode, entry.size);
        if item.flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(mode);
        }
        if item.flags.contains(ItemFlags::TRANSFER) {
            self.stats.note_transfer(size);
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
        let Some(entry) = self.lists.find(number) else {
            return Ok(());
        };
        if self.options.report.after_transfer {
            let travelled = (sent.bytes, sent.sum_bytes);
            self.itemize(entry, item, travelled, Some(&sent.digest));
        }
        if let Some(cause) = &sent.damage {
            self.report.io_error(IoErrors::GENERAL);
            let shown = quoted(&self.lists.base(entry).shown, entry.path());
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
        self.stats.note_transfer(size);
        self.stats.literal += sent.literal;
        self.stats.matched += sent.matched;
        self.tally += sent.tally;
        self.total_done = self.total_done.saturating_add(size);
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
                let Some(entry) = self.lists.find(number).filter(|entry| !entry.is_dir()) else {
                    let text =
                        format!("File-list index {number} not in the lists (successful_send)");
                    return Err(Error::fatal(2, Role::Sender, text, None));
                };
                let base = self.lists.base(entry);
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
        self.stats.deleted = Counts::default();
        self.stats.deleted.add(counts);
    }

    fn is_whole(&self) -> bool {
        self.lists.is_whole()
    }

    fn send_list(
        &mut self,
        stream: &mut Stream,
        writer: &mut NdxWriter,
        eagerly: bool,
    ) -> Result<bool, Error> {
        self.lists.next(stream, writer, eagerly)
    }

    fn release(&mut self) -> bool {
        self.lists.release()
    }
}
