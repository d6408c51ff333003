//! The receiver: takes the sender's answers, puts files together, and tells the generator what became of its requests
//! (behaviour.md 2.12, wire-files.md 14).

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crossbeam_channel::Sender;
use delta::{Blocks, FileSum, Patch, PatchError, Target};
use tree::{Meta, TempFile};
use wire::{
    BasisType, Checksum, DeleteStatistics, Item, ItemFlags, ItemFormat, Ndx, NdxReader, Statistics,
    SumHead, Token, TokenDecoder, check_blocks,
};

use crate::Error;
use crate::attributes::LongValues;
use crate::backup::Backups;
use crate::destination::Destination;
use crate::event::{Class, Direction, Event, Itemized, Progress, Role, Stats};
use crate::finish::Finisher;
use crate::flist::receiving::ListReader;
use crate::flist::{Entry, List, basename, join, parent};
use crate::generator::{Alternates, Fate, partial_place};
use crate::incoming::Incoming;
use crate::options::{Append, Options};
use crate::replay::Wants;
use crate::report::{Reporter, sentence};
use crate::scan::rel;
use crate::session::Session;
use crate::write::{Ahead, Output, preallocate};

/// What the receiver tells the generator.
pub(crate) enum Note {
    /// A list has come, with the directory that it is the content of.
    List(Arc<List>, Option<Entry>),
    /// No more lists will come.
    AllListed,
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
    pub(crate) backups: Option<&'a Backups>,
    pub(crate) alternates: &'a Alternates,
    /// Values of extended attributes, as the sender tells them.
    pub(crate) long_values: &'a LongValues<'a>,
    pub(crate) finisher: Finisher<'a>,
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

/// Where a file's content goes.
enum Place<'f> {
    /// Nowhere: the data is taken and dropped.
    Nowhere,
    File(Output<'f>),
}

impl Target for Place<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(output) => output.write(data),
        }
    }

    fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(output) => output.keep(data),
        }
    }
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
            match self.incoming.read(|cursor| reader.read(cursor))? {
                Ndx::File(number) => self.answer(number)?,
                Ndx::Dir(number) if self.session.is_incremental() && !self.all_listed => {
                    let (list, dir) = self.lists.content_of(&mut self.incoming, number)?;
                    self.add_list(list, Some(dir));
                }
                Ndx::FlistEof if self.session.is_incremental() && !self.all_listed => {
                    self.all_listed = true;
                    self.tell(Note::AllListed);
                }
                Ndx::Done if self.open.len() > 1 => _ = self.open.pop_front(),
                Ndx::Done => {
                    self.give_up_absent();
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
        let invalid = |text: String| Err(Error::fatal(2, Role::Receiver, text, None));
        let Some(list) = self
            .open
            .iter()
            .find(|list| list.get(number).is_some())
            .cloned()
        else {
            return invalid(format!("Invalid file index: {number}"));
        };
        let Some(entry) = list.get(number) else {
            return Ok(());
        };
        if entry.is_cleared {
            return invalid(format!(
                "rsync: refusing transfer of cleared file index {number}"
            ));
        }
        if !entry.is_file() {
            return invalid(format!(
                "received request to transfer non-regular file: {number}"
            ));
        }
        if self.phase >= 2 {
            return invalid("got transfer request in phase 2".to_owned());
        }
        if let Some(wants) = &mut self.wants
            && !wants.take(number, self.noted)
        {
            return self.pass_over(&list, number, entry);
        }
        self.note_new(entry, item.flags);
        self.stats.transferred += 1;
        self.stats.transferred_size += entry.size;
        if !items.has_data(item.flags) {
            self.itemize(entry, &item, 0, None);
            self.tell(Note::Fate(number, Fate::Done));
            return Ok(());
        }
        if self.options.dry_run {
            self.itemize(entry, &item, 0, None);
            let basis = self.basis(&item, entry, self.destination.place(entry.path()))?;
            self.discard(&list, number, entry, basis.as_ref())?;
            self.tell(Note::Fate(number, Fate::Done));
            return Ok(());
        }
        let fate = self.file(&list, number, entry, &item)?;
        self.tell(Note::Fate(number, fate));
        Ok(())
    }

    /// Content on file that is not wanted.
    fn pass_over(&mut self, list: &List, number: u32, entry: &Entry) -> Result<(), Error> {
        let text = sentence(&[b"(Skipping batched update for \"", entry.path(), b"\")"]);
        self.report.say(Class::Info, Role::Receiver, text);
        let place = self.destination.place(entry.path());
        let root = self.destination.root();
        let basis = root.and_then(|root| root.open_regular(rel(place)).ok());
        self.discard(list, number, entry, basis.map(|(file, _)| file).as_ref())
            .map(drop)
    }

    /// Takes the content of a file, to no end but to come to what follows it.
    fn discard(
        &mut self,
        list: &List,
        number: u32,
        entry: &Entry,
        basis: Option<&File>,
    ) -> Result<Received, Error> {
        let (protocol, digest_length) =
            (self.session.protocol, self.session.checksum.digest_length());
        let head = self
            .incoming
            .read(|cursor| SumHead::decode(cursor, protocol, digest_length))?;
        let sum = self.session.transfer_sum();
        let place = Place::Nowhere;
        let (received, _) = self.content(list, number, entry, place, head, basis, false, sum)?;
        Ok(received)
    }

    /// What is wanted, but not on file. What did not verify may still come once more.
    fn give_up_absent(&mut self) {
        let Some(wants) = self.wants.as_mut().filter(|_| self.phase < 2) else {
            return;
        };
        for number in wants.absent(self.noted) {
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
        self.itemize(&entry, item, 0, None);
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
        found.ok_or_else(|| {
            let text = format!("Invalid file index: {number}");
            Error::fatal(2, Role::Receiver, text, None)
        })
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
            if !self.long_values.take(&entry, attribute, &value) {
                let shown = String::from_utf8_lossy(entry.path()).into_owned();
                let text = format!("could not find xattr #{attribute} for {shown}");
                return Err(Error::fatal(2, Role::Receiver, text, None));
            }
            previous = attribute;
        }
    }

    /// Receives a file's content, and puts it in place.
    fn file(
        &mut self,
        list: &List,
        number: u32,
        entry: &Entry,
        item: &Item,
    ) -> Result<Fate, Error> {
        let (protocol, digest_length) =
            (self.session.protocol, self.session.checksum.digest_length());
        let head = self
            .incoming
            .read(|cursor| SumHead::decode(cursor, protocol, digest_length))?;
        let place = self.destination.place(entry.path());
        let existing = match self.destination.root() {
            Some(root) => root.lstat(rel(place)).unwrap_or_default(),
            None => None,
        };
        if !self.options.report.after_transfer {
            self.itemize(entry, item, 0, None);
        }
        let is_redo = self.redone.contains(&number);
        let basis = self.basis(item, entry, place)?;
        let append = self.options.append.filter(|_| !is_redo);
        let in_place = self.options.inplace || append.is_some();
        let received = match in_place {
            true => self.in_place(
                list,
                number,
                entry,
                place,
                existing.as_ref(),
                head,
                basis.as_ref(),
                append,
            )?,
            false => self.anew(
                list,
                number,
                entry,
                place,
                existing.as_ref(),
                head,
                basis.as_ref(),
            )?,
        };
        if self.options.report.after_transfer {
            self.itemize(entry, item, received.literal, Some(&received.digest));
        }
        self.stats.literal += received.literal;
        self.stats.matched += received.matched;
        let fate = match received.verdict {
            Verdict::Done if self.options.delay_updates => Fate::Parked,
            Verdict::Done => Fate::Done,
            Verdict::Lost => Fate::Failed,
            Verdict::Wrong => self.mismatch(number, entry),
        };
        if received.verdict == Verdict::Done {
            if item.basis == BasisType::PartialDir {
                self.finisher.drop_partial(place);
            }
            self.total_done += entry.size;
            self.progress(list, number, entry, entry.size, true);
        }
        Ok(fate)
    }

    /// The file that blocks refer to.
    fn basis(&self, item: &Item, entry: &Entry, place: &[u8]) -> Result<Option<File>, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(None);
        };
        let fuzzy_name = || -> Result<&[u8], Error> {
            let name = basename(item.xname.as_deref().unwrap_or_default());
            if self.options.fuzzy == 0 || matches!(name, b"" | b"." | b"..") {
                let text = sentence(&[
                    b"rsync: refusing malicious fuzzy operation for ",
                    entry.path(),
                ]);
                return Err(Error::fatal(2, Role::Receiver, text, None));
            }
            Ok(name)
        };
        let alternate = |index: u8| {
            let missing = || {
                Error::fatal(
                    2,
                    Role::Receiver,
                    format!("invalid basis_dir index: {index}."),
                    None,
                )
            };
            if usize::from(index) < self.alternates.len() {
                Ok(self.alternates.get(index.into()))
            } else {
                Err(missing())
            }
        };
        let opened = match item.basis {
            BasisType::Destination => root.open_regular(rel(place)).ok(),
            BasisType::PartialDir => {
                let dir = self.options.partial_dir.as_deref();
                dir.and_then(|dir| match dir.is_absolute() {
                    true => self
                        .options
                        .open_dir(dir, tree::Policy::default())
                        .ok()?
                        .open_regular(rel(basename(place)))
                        .ok(),
                    false => root.open_regular(rel(&partial_place(dir, place))).ok(),
                })
            }
            BasisType::Backup => {
                return Ok(self
                    .backups
                    .and_then(|backups| backups.reopen(self.destination, place)));
            }
            BasisType::AlternateDir(index) => {
                alternate(index)?.and_then(|root| root.open_regular(rel(entry.path())).ok())
            }
            BasisType::Fuzzy => root
                .open_regular(rel(&join(parent(place), fuzzy_name()?)))
                .ok(),
            BasisType::FuzzyAlternateDir(index) => {
                let name = fuzzy_name()?;
                alternate(index)?
                    .and_then(|root| root.open_regular(rel(&join(parent(place), name))).ok())
            }
        };
        Ok(opened.map(|(file, _)| file))
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one answer")]
    fn anew(
        &mut self,
        list: &List,
        number: u32,
        entry: &Entry,
        place: &[u8],
        existing: Option<&Meta>,
        head: SumHead,
        basis: Option<&File>,
    ) -> Result<Received, Error> {
        let is_in_the_way = existing.is_some_and(Meta::is_dir);
        if is_in_the_way {
            let text = sentence(&[
                b"recv_files: ",
                &self.destination.quoted(place),
                b" is a directory",
            ]);
            self.report.say(Class::Transfer, Role::Receiver, text);
        }
        let temp = if is_in_the_way {
            None
        } else {
            self.finisher.temp_file(place)
        };
        let Some(mut temp) = temp else {
            let sum = self.session.transfer_sum();
            let received = self
                .content(list, number, entry, Place::Nowhere, head, basis, false, sum)?
                .0;
            return Ok(Received {
                verdict: Verdict::Lost,
                ..received
            });
        };
        if self.options.preallocate
            && let Err(cause) = preallocate(temp.file(), entry.size)
        {
            let text = sentence(&[b"do_fallocate ", &self.destination.quoted(place)]);
            self.report.say(
                Class::Warning,
                Role::Receiver,
                sentence(&[&text, b": ", cause.to_string().as_bytes()]),
            );
        }
        let ahead = match self.options.preallocate {
            true => Ahead::Reserved,
            false => Ahead::Nothing,
        };
        let output = Output::new(temp.file(), self.options.sparse, ahead);
        let sum = self.session.transfer_sum();
        let content = self.content(
            list,
            number,
            entry,
            Place::File(output),
            head,
            basis,
            false,
            sum,
        );
        let (received, failure) = match content {
            Ok(content) => content,
            Err(error) => {
                self.finisher.keep_partial(temp, entry, place);
                return Err(error);
            }
        };
        match failure {
            Some(cause) => {
                self.finisher.keep_partial(temp, entry, place);
                Err(self.unwritable(place, cause))
            }
            None if received.verdict == Verdict::Wrong => {
                self.keep_wrong(temp, entry, place);
                Ok(received)
            }
            None => {
                let done = self.finisher.commit(temp, number, entry, place, existing)?;
                Ok(Received {
                    verdict: if done { Verdict::Done } else { Verdict::Lost },
                    ..received
                })
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one answer")]
    fn in_place(
        &mut self,
        list: &List,
        number: u32,
        entry: &Entry,
        place: &[u8],
        existing: Option<&Meta>,
        head: SumHead,
        basis: Option<&File>,
        append: Option<Append>,
    ) -> Result<Received, Error> {
        let opened = self
            .destination
            .root()
            .map(|root| root.open_in_place(rel(place), true));
        let mut file = match opened {
            Some(Ok((file, _))) => file,
            failed => {
                if let Some(Err(error)) = failed {
                    let text = sentence(&[b"open ", &self.destination.quoted(place), b" failed"]);
                    self.report.failed(Role::Receiver, text, error.cause());
                }
                let sum = self.session.transfer_sum();
                let received = self
                    .content(list, number, entry, Place::Nowhere, head, basis, false, sum)?
                    .0;
                return Ok(Received {
                    verdict: Verdict::Lost,
                    ..received
                });
            }
        };
        let mut sum = self.session.transfer_sum();
        let kept = if append.is_some() {
            head.described_length()
        } else {
            0
        };
        if append == Some(Append::Verified)
            && let Some(basis) = basis
        {
            sum_prefix(&mut sum, basis, kept);
        }
        // What is appended refers to no block.
        let head = if append.is_some() {
            SumHead::default()
        } else {
            head
        };
        let mut output = Output::new(&mut file, self.options.sparse, Ahead::OldData);
        output
            .skip(kept)
            .map_err(|cause| self.unwritable(place, cause))?;
        let (received, failure) = self.content(
            list,
            number,
            entry,
            Place::File(output),
            head,
            basis,
            true,
            sum,
        )?;
        if let Some(cause) = failure {
            return Err(self.unwritable(place, cause));
        }
        if received.verdict != Verdict::Wrong {
            self.finisher.finish_in_place(entry, place, existing);
        }
        Ok(received)
    }

    /// Takes one file's tokens. What cannot be written is the second part of the answer.
    #[expect(clippy::too_many_arguments, reason = "the facts of one answer")]
    fn content(
        &mut self,
        list: &List,
        number: u32,
        entry: &Entry,
        target: Place<'_>,
        head: SumHead,
        basis: Option<&File>,
        in_place: bool,
        sum: FileSum,
    ) -> Result<(Received, Option<io::Error>), Error> {
        let (max, digest) = (
            self.session.protocol.max_block_length(),
            self.session.checksum.digest_length(),
        );
        let SumHead {
            count,
            block_length,
            strong_length,
            remainder,
        } = head;
        let blocks = Blocks::new(count, block_length, strong_length, remainder, max, digest)
            .map_err(|error| Error::fatal(2, Role::Receiver, error.to_string(), None))?;
        let read = |offset: u64, buffer: &mut [u8]| match basis {
            Some(basis) => basis.read_at(buffer, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        // What is not wanted from a file may come without what it was made from.
        let is_discarded = self.wants.is_some() && matches!(target, Place::Nowhere);
        let mut patch = Patch::new(read, blocks, in_place, target, sum);
        let mut received = Received::default();
        // A file that cannot be written or read is taken to its end all the same.
        let (mut failure, mut is_wrong) = (None, false);
        self.progress(list, number, entry, 0, false);
        loop {
            let tokens = &mut self.tokens;
            let step = self.incoming.read_pieces(|cursor| {
                Ok(match tokens.decode(cursor)? {
                    Token::Literal(data) => {
                        let written = if failure.is_none() {
                            patch.literal(data)
                        } else {
                            Ok(())
                        };
                        Step::Literal(data.len() as u64, written)
                    }
                    Token::Blocks { first, count } => Step::Blocks(first, count),
                    Token::End => Step::End,
                })
            })?;
            match step {
                Step::Literal(length, written) => {
                    received.literal += length;
                    is_wrong |= matches!(written, Err(PatchError::Basis(_)));
                    failure = failure.or(written.err().and_then(cause_of));
                }
                Step::Blocks(first, run) => {
                    check_blocks(first, run, count)?;
                    if basis.is_none() && !is_discarded {
                        let shown = self
                            .destination
                            .quoted(self.destination.place(entry.path()));
                        let text = sentence(&[
                            b"got a block match with no basis file for ",
                            &shown,
                            b" [receiver]",
                        ]);
                        return Err(Error::fatal(2, Role::Receiver, text, None));
                    }
                    for block in first..first + run {
                        let (offset, length) = blocks.range(block);
                        if self.tokens.wants_matched_data() {
                            let mut data = vec![0; length as usize];
                            let read = basis.map(|basis| basis.read_exact_at(&mut data, offset));
                            is_wrong |= !matches!(read, Some(Ok(())));
                            self.tokens.see_matched(&data)?;
                        }
                        received.matched += u64::from(length);
                        match patch.copy(block) {
                            Ok(()) => {}
                            // The basis has changed meanwhile: the sum will tell.
                            Err(PatchError::Basis(_)) => is_wrong = true,
                            Err(error) => failure = failure.or(cause_of(error)),
                        }
                    }
                }
                Step::End => {
                    match patch.settle() {
                        Ok(()) => {}
                        Err(PatchError::Basis(_)) => is_wrong = true,
                        Err(error) => failure = failure.or(cause_of(error)),
                    }
                    break;
                }
            }
            if self.options.report.progress {
                self.progress(list, number, entry, patch.written(), false);
            }
        }
        let theirs = self
            .incoming
            .read(|cursor| cursor.take(digest).map(<[u8]>::to_vec))?;
        let (target, ours) = patch.finish();
        if let Place::File(output) = target
            && failure.is_none()
        {
            failure = output.finish().err();
        }
        is_wrong |= self.session.checksum != Checksum::None && *ours != *theirs;
        received.verdict = if is_wrong {
            Verdict::Wrong
        } else {
            Verdict::Done
        };
        received.digest = theirs;
        Ok((received, failure))
    }

    fn unwritable(&self, place: &[u8], cause: io::Error) -> Error {
        let text = sentence(&[b"write failed on ", &self.destination.quoted(place)]);
        Error::fatal(11, Role::Receiver, text, Some(cause))
    }

    /// A file that did not verify is of use only to the next try.
    fn keep_wrong(&self, temp: TempFile, entry: &Entry, place: &[u8]) {
        if self.options.partial {
            self.finisher.keep_partial(temp, entry, place);
        }
    }

    /// The first time, a file that did not verify is asked for again (2.11).
    fn mismatch(&mut self, number: u32, entry: &Entry) -> Fate {
        let is_first = self.redone.insert(number);
        let kept: &[u8] = match (
            &self.options.partial_dir,
            self.options.partial || self.options.inplace,
        ) {
            (Some(_), _) => b"put into partial-dir",
            (None, true) => b"retained",
            (None, false) => b"discarded",
        };
        let again: &[u8] = if is_first { b" (will try again)" } else { b"" };
        let start: &[u8] = if is_first { b"WARNING: " } else { b"ERROR: " };
        let text = sentence(&[
            start,
            entry.path(),
            b" failed verification -- update ",
            kept,
            again,
            b".",
        ]);
        if !is_first {
            self.report.say(Class::Transfer, Role::Receiver, text);
            return Fate::Failed;
        }
        if self.options.report.names {
            self.report.say(Class::Warning, Role::Receiver, text);
        }
        Fate::Redo
    }

    fn note_new(&mut self, entry: &Entry, flags: ItemFlags) {
        if flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(entry.mode);
        }
    }

    fn itemize(&self, entry: &Entry, item: &Item, bytes: u64, digest: Option<&[u8]>) {
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
        let checksum = self.session.written_sum(entry, digest);
        self.report.event(Event::Itemized(Itemized {
            entry: entry.received_view(),
            flags: item.flags,
            direction: Direction::Received,
            link,
            unchanged: (item.flags - silent).is_empty() && link.is_none(),
            bytes,
            sum_bytes: 0,
            checksum: checksum.as_deref(),
        }));
    }

    fn progress(&self, list: &List, number: u32, entry: &Entry, done: u64, finished: bool) {
        if !self.options.report.progress || !self.is_client {
            return;
        }
        let known = self.lists.entries;
        self.report.event(Event::Progress(Progress {
            path: entry.path(),
            done,
            size: entry.size,
            finished,
            transferred: self.stats.transferred,
            left: known.saturating_sub(u64::from(number - list.start) + 1),
            known,
            all_known: self.all_listed,
            total_done: if finished {
                self.total_done
            } else {
                self.total_done + done
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

/// One decoded token, and what came of writing it.
enum Step {
    Literal(u64, Result<(), PatchError>),
    Blocks(u32, u32),
    End,
}

/// What came of one answer.
#[derive(Debug, Default)]
struct Received {
    literal: u64,
    matched: u64,
    digest: Vec<u8>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    /// It is what the sender has, and in place.
    #[default]
    Done,
    /// It is what the sender has, and could not be put in place.
    Lost,
    /// It is not what the sender has.
    Wrong,
}

fn cause_of(error: PatchError) -> Option<io::Error> {
    match error {
        PatchError::Target(cause) => Some(cause),
        PatchError::Basis(_) | PatchError::NoSuchBlock { .. } => None,
    }
}

/// Sums what a file that is appended to has already.
fn sum_prefix(sum: &mut FileSum, basis: &File, length: u64) {
    let mut buffer = vec![0; PREFIX_READ];
    let mut basis = basis.take(length);
    while let Ok(count @ 1..) = basis.read(&mut buffer) {
        sum.update(&buffer[..count]);
    }
}

/// What is summed at a time, in bytes.
const PREFIX_READ: usize = 256 << 10;
