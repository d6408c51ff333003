//! The receiver: takes the sender's answers, and tells the generator what became of its requests (behaviour.md 2.12,
//! wire-files.md 14). A file's content is for [`mod@file`] and [`assembly`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crossbeam_channel::Sender;
use wire::{
    DeleteStatistics, Item, ItemFlags, ItemFormat, Ndx, NdxReader, Statistics, SumHead,
    TokenDecoder,
};

use self::file::Answer;
use crate::Error;
use crate::asked::Asked;
use crate::destination::Destination;
use crate::event::{Class, Direction, Event, FileProgress, Itemized, Role, Stats};
use crate::finish::Finisher;
use crate::flist::receiving::ListReader;
use crate::flist::{Entry, List};
use crate::generator::Fate;
use crate::incoming::Incoming;
use crate::options::Options;
use crate::replay::Wants;
use crate::report::{Reporter, sentence};
use crate::scan::rel;
use crate::session::Session;
use crate::site::Site;

mod assembly;
mod file;

/// What the receiver tells the generator.
pub(crate) enum Note {
    /// A list has come, with the directory that it is the content of.
    List(Arc<List>, Option<Entry>),
    /// No more lists will come.
    AllListed,
    /// The next list is none that may be followed. What came before it counts.
    BadList(Error),
    /// What became of a request.
    Fate(u32, Fate),
    /// The sender has ended so many phases.
    Phase(u8),
    /// The receiver is done.
    End(Result<(), Error>),
}

/// The receiving thread's state.
pub(crate) struct Receiver<'a> {
    pub(crate) incoming: Incoming<'a>,
    pub(crate) session: &'a Session,
    pub(crate) options: &'a Options,
    pub(crate) report: &'a Reporter<'a>,
    pub(crate) destination: &'a Destination,
    pub(crate) site: &'a Site<'a>,
    pub(crate) finisher: Finisher<'a>,
    /// What the generator has asked for.
    pub(crate) asked: &'a Asked,
    pub(crate) notes: Sender<Note>,
    /// Notes sent so far.
    pub(crate) noted: u64,
    /// What the generator wants, if the sender is on file.
    pub(crate) wants: Option<Wants>,
    pub(crate) reader: NdxReader,
    pub(crate) lists: ListReader<'a>,
    /// Lists that are not finished.
    pub(crate) open: VecDeque<Arc<List>>,
    pub(crate) all_listed: bool,
    /// We are the client: what happens is reported, and the sender tells statistics.
    pub(crate) is_client: bool,
    pub(crate) stats: Stats,
    pub(crate) items: ItemFormat,
    pub(crate) tokens: TokenDecoder,
    pub(crate) phase: u8,
    /// Files that did not verify once.
    pub(crate) redone: HashSet<u32>,
    pub(crate) total_done: u64,
}

impl Receiver<'_> {
    /// Takes answers until the sender has nothing more to say. Returns the numbers of the run.
    pub(crate) fn run(mut self) -> Stats {
        let ended = self.answers();
        self.stats.listed = self.lists.counts;
        self.stats.list_size = self.lists.size;
        if !self.is_client || ended.is_err() {
            self.stats.received = self.incoming.stream.link().received();
            self.stats.total_size = self.lists.total_size;
        }
        // The generator may have gone already, with an error of its own.
        let _ = self.notes.send(Note::End(ended));
        self.stats
    }

    /// A list for the generator.
    pub(crate) fn add_list(&mut self, list: List, dir: Option<Entry>) {
        let list = Arc::new(list);
        self.open.push_back(Arc::clone(&list));
        self.tell(Note::List(list, dir));
    }

    fn answers(&mut self) -> Result<(), Error> {
        loop {
            let reader = &mut self.reader;
            let ndx = self.incoming.read(|cursor| reader.read(cursor))?;
            if self.all_listed {
                self.report.io_error(self.incoming.take_told_errors());
            }
            match ndx {
                Ndx::File(number) => self.answer(number)?,
                Ndx::Dir(number) if self.session.is_incremental() && !self.all_listed => {
                    match self.lists.content_of(&mut self.incoming, number) {
                        Ok((list, dir)) => self.add_list(list, Some(dir)),
                        Err(error) => {
                            self.tell(Note::BadList(error));
                            // The generator still says what it wants of the lists before: the peer must get rid of its
                            // answers for that.
                            self.incoming.stream.ignore_the_rest();
                            return Ok(());
                        }
                    }
                    let unfinished = self.open.iter().map(Arc::as_ref);
                    self.lists.check_length(unfinished, &self.incoming)?;
                }
                Ndx::FlistEof if self.session.is_incremental() && !self.all_listed => {
                    self.all_listed = true;
                    self.tell(Note::AllListed);
                }
                Ndx::Done if self.open.len() > 1 => _ = self.open.pop_front(),
                Ndx::Done => {
                    self.give_up_absent(None);
                    self.phase += 1;
                    if self.phase == 2 && self.options.delay_updates {
                        for number in self.finisher.install()? {
                            self.tell(Note::Fate(number, Fate::Done));
                        }
                    }
                    self.tell(Note::Phase(self.phase));
                    if self.phase > self.session.protocol.last_phase() {
                        break;
                    }
                }
                Ndx::DelStats => self.deleted()?,
                other => {
                    return Err(Error::fatal(
                        2,
                        Role::Receiver,
                        format!("unexpected {other:?}"),
                        None,
                    ));
                }
            }
        }
        self.ending()
    }

    /// What follows the last phase.
    fn ending(&mut self) -> Result<(), Error> {
        let protocol = self.session.protocol;
        if self.is_client {
            let theirs = self
                .incoming
                .read(|cursor| Statistics::decode(cursor, protocol))?;
            // What counts for the user is what the sender has read and written by now.
            (self.stats.sent, self.stats.received) = (theirs.read, theirs.written);
            self.stats.total_size = theirs.total_size;
            self.stats.list_build_ms = theirs.list_build_ms;
            self.stats.list_transfer_ms = theirs.list_transfer_ms;
        }
        if !protocol.late_delete_round() {
            return Ok(());
        }
        loop {
            let reader = &mut self.reader;
            match self.incoming.read(|cursor| reader.read(cursor))? {
                Ndx::DelStats => self.deleted()?,
                Ndx::Done => {
                    self.tell(Note::Phase(self.phase + 1));
                    return Ok(());
                }
                other => {
                    let text = format!("Invalid packet at end of run ({})", other.to_wire());
                    return Err(Error::fatal(2, Role::Receiver, text, None));
                }
            }
        }
    }

    /// The echo of what our own generator has counted.
    fn deleted(&mut self) -> Result<(), Error> {
        self.incoming.read(DeleteStatistics::decode).map(drop)
    }

    fn answer(&mut self, number: u32) -> Result<(), Error> {
        let items = self.items;
        let item = self.incoming.read(|cursor| items.decode(cursor))?;
        if items.has_xattr_exchange(&item) {
            self.take_values(number)?;
        }
        if !item.flags.contains(ItemFlags::TRANSFER) {
            return self.note_item(number, &item);
        }
        let list = self.open.iter().find(|list| list.get(number).is_some());
        let list = list.cloned().ok_or_else(|| no_such_entry(number))?;
        let entry = list.get(number).ok_or_else(|| no_such_entry(number))?;
        self.check_transfer(number, entry)?;
        self.give_up_absent(Some(number));
        let wants = self.wants.as_mut();
        let is_wanted = wants.is_none_or(|wants| wants.take(number, self.noted));
        if is_wanted {
            self.note_new(entry, item.flags);
            self.stats.note_transfer(entry.size);
            if !items.has_data(item.flags) {
                self.itemize(entry, &item, 0, None);
                self.tell(Note::Fate(number, Fate::Done));
                return Ok(());
            }
        }
        let (protocol, digest_length) =
            (self.session.protocol, self.session.checksum.digest_length());
        let start = self.incoming.stream.understood();
        let answer = Answer {
            start,
            list: &list,
            number,
            entry,
            place: self.destination.place(entry.path()),
            item: &item,
            head: self
                .incoming
                .read(|cursor| SumHead::decode(cursor, protocol, digest_length))?,
        };
        if !is_wanted {
            return self.pass_over(&answer);
        }
        let fate = match self.options.dry_run {
            true => {
                self.itemize(entry, &item, 0, None);
                let basis = self.basis(&answer)?;
                self.discard(&answer, basis.as_ref().map(|(file, _)| file))?;
                Fate::Done
            }
            false => self.receive_file(&answer)?,
        };
        self.tell(Note::Fate(number, fate));
        Ok(())
    }

    /// Whether the content of an entry may come now.
    fn check_transfer(&self, number: u32, entry: &Entry) -> Result<(), Error> {
        let text = if entry.is_cleared {
            format!("rsync: refusing transfer of cleared file index {number}")
        } else if !entry.is_file() {
            format!("received request to transfer non-regular file: {number}")
        } else if self.phase >= 2 {
            "got transfer request in phase 2".to_owned()
        } else if self.wants.is_none() && !self.asked.take(number) {
            format!("got content of a file that was not asked for: {number}")
        } else {
            return Ok(());
        };
        Err(Error::fatal(2, Role::Receiver, text, None))
    }

    /// Content on file that is not wanted.
    fn pass_over(&mut self, answer: &Answer<'_>) -> Result<(), Error> {
        let text = sentence(&[
            b"(Skipping batched update for \"",
            answer.entry.path(),
            b"\")",
        ]);
        self.report.say(Class::Info, Role::Receiver, text);
        let root = self.destination.root();
        let basis = root.and_then(|root| root.open_regular(rel(answer.place)).ok());
        self.discard(answer, basis.map(|(file, _)| file).as_ref())
    }

    /// What is wanted, but not on file, where that has come `before` a number or to its end. What did not verify may still
    /// come once more.
    fn give_up_absent(&mut self, before: Option<u32>) {
        let Some(wants) = self.wants.as_mut().filter(|_| self.phase < 2) else {
            return;
        };
        for number in wants.absent(before, self.noted) {
            if self.phase == 0 && self.redone.contains(&number) {
                if let Some(wants) = &mut self.wants {
                    wants.expect(number);
                }
                continue;
            }
            if let Ok(entry) = self.entry(number) {
                let text = sentence(&[b"(No batched update for \"", entry.path(), b"\")"]);
                self.report.say(Class::Transfer, Role::Receiver, text);
            }
            self.tell(Note::Fate(number, Fate::Failed));
        }
    }

    fn note_item(&mut self, number: u32, item: &Item) -> Result<(), Error> {
        let entry = self.entry(number)?;
        self.note_new(&entry, item.flags);
        if self.is_client || !self.is_unmade_directory(&entry, item.flags) {
            self.itemize(&entry, item, 0, None);
        }
        // Directories have theirs from the generator, when everything in them is done.
        if self.items.has_xattr_exchange(item) && !entry.is_dir() && item.xname.is_none() {
            self.finisher
                .set_late(&entry, self.destination.place(entry.path()));
        }
        Ok(())
    }

    /// The entry of a number; that before a list's first is the directory that it is the content of.
    fn entry(&self, number: u32) -> Result<Entry, Error> {
        let found = self.open.iter().find_map(|list| {
            let own = list.get(number).cloned();
            own.or_else(|| {
                self.lists
                    .dir_of(list)
                    .filter(|_| list.start.checked_sub(1) == Some(number))
                    .cloned()
            })
        });
        found.ok_or_else(|| no_such_entry(number))
    }

    /// Takes the values of extended attributes that were asked for.
    fn take_values(&mut self, number: u32) -> Result<(), Error> {
        let entry = self.entry(number)?;
        let mut previous = 0;
        loop {
            let value = self.incoming.read(|cursor| {
                let value = wire::decode_xattr_answer(cursor, previous)?;
                Ok(value.map(|(number, value)| (number, value.to_vec())))
            })?;
            let Some((attribute, value)) = value else {
                return Ok(());
            };
            if !self
                .site
                .attributes
                .long_values
                .take(&entry, attribute, &value)
            {
                let shown = String::from_utf8_lossy(entry.path()).into_owned();
                let text = format!("could not find xattr #{attribute} for {shown}");
                return Err(Error::fatal(2, Role::Receiver, text, None));
            }
            previous = attribute;
        }
    }

    fn note_new(&mut self, entry: &Entry, flags: ItemFlags) {
        if flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(entry.mode);
        }
    }

    /// Whether a directory that was told as new could not be made: the generator has said so, and a log has no more of it.
    fn is_unmade_directory(&self, entry: &Entry, flags: ItemFlags) -> bool {
        if !entry.is_dir() || !flags.contains(ItemFlags::IS_NEW) || self.options.dry_run {
            return false;
        }
        let place = self.destination.place(entry.path());
        let root = self.destination.root();
        root.is_some_and(|root| matches!(root.lstat(rel(place)), Ok(None)))
    }

    fn itemize(&self, entry: &Entry, item: &Item, bytes: u64, digest: Option<&[u8]>) {
        if !self.is_client && !self.options.report.items {
            return;
        }
        let checksum = self.session.written_sum(entry, digest);
        let name = item.xname.as_deref();
        self.report.event(Event::Itemized(Itemized {
            bytes,
            checksum: checksum.as_deref(),
            ..Itemized::new(entry.received_view(), item.flags, name, Direction::Received)
        }));
    }

    fn progress(&self, answer: &Answer<'_>, done: u64, finished: bool) {
        if !self.options.report.progress || !self.is_client {
            return;
        }
        let Answer {
            list,
            number,
            entry,
            ..
        } = *answer;
        let known = self.lists.entries;
        self.report.event(Event::Progress(FileProgress {
            path: entry.path(),
            done,
            size: entry.size,
            finished,
            transferred: self.stats.transferred,
            left: known.saturating_sub(list.through(number)),
            known,
            all_known: self.all_listed,
            total_done: if finished {
                self.total_done
            } else {
                self.total_done.saturating_add(done)
            },
            total_size: self.lists.total_size,
        }));
    }

    pub(crate) fn tell(&mut self, note: Note) {
        self.noted += 1;
        // A generator that has gone needs no news.
        let _ = self.notes.send(note);
    }
}

fn no_such_entry(number: u32) -> Error {
    let text = format!("Invalid file index: {number}");
    Error::fatal(2, Role::Receiver, text, None)
}
