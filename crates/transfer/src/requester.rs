//! The generator's way to a sender on the other end of a connection.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use delta::{Blocks, Signature, block_len, strong_len};
use wire::{Checksum, Item, ItemFlags, ItemFormat, Message, Ndx, NdxWriter, SumHead};

use crate::Error;
use crate::asked::Asked;
use crate::event::{Counts, Direction, Event, Itemized};
use crate::flist::{Entry, List};
use crate::generator::{At, Fate, Peer, Wanted};
use crate::options::Options;
use crate::outgoing::Outgoing;
use crate::receiver::Note;
use crate::replay::Want;
use crate::report::Reporter;
use crate::session::Session;
use crate::sums;

/// A list, and the directory that it is the content of.
pub(crate) type Arrived = (Arc<List>, Option<Entry>);

/// Sends requests, and hears from the receiver what became of them.
pub(crate) struct Requester<'a> {
    options: &'a Options,
    session: &'a Session,
    /// Where what is done without data is told, if the sender has no words to echo it.
    itemizes: Option<&'a Reporter<'a>>,
    outgoing: &'a Outgoing,
    asked: &'a Asked,
    notes: Receiver<Note>,
    /// Where wishes go if the sender is on file.
    wants: Option<Sender<Want>>,
    /// Notes taken so far.
    taken: u64,
    writer: NdxWriter,
    items: ItemFormat,
    /// Requests without an answer, where the sender cannot say that there will be none.
    unanswered: BTreeSet<u32>,
    /// What the sender may remove. It hears of that when there is nothing more to ask for at once: what is asked for may
    /// be the same file under another name.
    confirmed: Vec<u32>,
    lists: Vec<Arrived>,
    fates: Vec<(u32, Fate)>,
    all_listed: bool,
    /// Why no list comes after those that have come.
    bad_list: Option<Error>,
    /// Phases that the sender has ended.
    phase: u8,
    has_ended: bool,
    /// Since when something waits to be sent.
    unsent_since: Option<Instant>,
}

impl<'a> Requester<'a> {
    pub(crate) fn new(
        options: &'a Options,
        session: &'a Session,
        itemizes: Option<&'a Reporter<'a>>,
        outgoing: &'a Outgoing,
        asked: &'a Asked,
        notes: Receiver<Note>,
        wants: Option<Sender<Want>>,
    ) -> Self {
        Self {
            options,
            session,
            itemizes,
            outgoing,
            asked,
            notes,
            wants,
            taken: 0,
            writer: NdxWriter::new(session.protocol),
            items: ItemFormat {
                dry_run: options.dry_run && !options.is_only_recorded(),
                ..session.item_format(options)
            },
            unanswered: BTreeSet::new(),
            confirmed: Vec::new(),
            lists: Vec::new(),
            fates: Vec::new(),
            all_listed: !session.is_incremental(),
            bad_list: None,
            phase: 0,
            has_ended: false,
            unsent_since: None,
        }
    }

    /// Lists that have come since the last call. If `wait`, there is at least one unless all have come.
    pub(crate) fn lists(&mut self, wait: bool) -> Result<Vec<Arrived>, Error> {
        self.take_notes()?;
        while wait && self.lists.is_empty() && !self.has_all_lists() {
            self.wait()?;
        }
        if self.bad_list.is_some() {
            // rsync's generator looks for more lists before it goes on with others than the first.
            self.lists.retain(|(list, _)| list.parent.is_none());
        }
        Ok(std::mem::take(&mut self.lists))
    }

    /// Why the lists have come to an end before all have come.
    pub(crate) fn take_bad_list(&mut self) -> Option<Error> {
        self.bad_list.take()
    }

    /// Whether the sender is on file, and waits until each list is looked at.
    pub(crate) fn is_replay(&self) -> bool {
        self.wants.is_some()
    }

    /// Whether no more lists will come.
    pub(crate) fn has_all_lists(&self) -> bool {
        (self.all_listed || self.bad_list.is_some()) && self.lists.is_empty()
    }

    /// Whether the sender has ended this phase, counted from 1.
    pub(crate) fn has_passed(&mut self, phase: u8) -> Result<bool, Error> {
        self.take_notes()?;
        Ok(self.phase >= phase)
    }

    /// Waits for the sender to end a phase.
    pub(crate) fn await_phase(&mut self, phase: u8) -> Result<(), Error> {
        while self.phase < phase {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for news of any kind.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        self.flush()?;
        if let Some(error) = self.take_bad_list() {
            return Err(error);
        }
        if let Some(wants) = &self.wants {
            // A receiver that has gone has left a note.
            let _ = wants.send(Want::Idle(self.taken));
        }
        self.outgoing.set_idle(true);
        let note = self.notes.recv();
        self.outgoing.set_idle(false);
        let note = note.map_err(|_| self.check_answers().err().unwrap_or_else(gone))?;
        self.take(note)
    }

    /// Ends a list or a phase. It leaves with what follows, or when we wait.
    pub(crate) fn done(&mut self) -> Result<(), Error> {
        self.tell_confirmed()?;
        let writer = &mut self.writer;
        self.outgoing.with(|stream| {
            writer.write(stream.out(), Ndx::Done);
            Ok(())
        })?;
        self.flush_in_time()
    }

    /// Sends what has been said.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.tell_confirmed()?;
        self.send()
    }

    /// Tells what was deleted.
    pub(crate) fn deletions(&mut self, counts: Counts) -> Result<(), Error> {
        let writer = &mut self.writer;
        self.outgoing.with(|stream| {
            writer.write(stream.out(), Ndx::DelStats);
            counts.to_wire().encode(stream.out());
            Ok(())
        })
    }

    fn take_notes(&mut self) -> Result<(), Error> {
        loop {
            match self.notes.try_recv() {
                Ok(note) => self.take(note)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) if self.has_ended => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(gone()),
            }
        }
    }

    fn take(&mut self, note: Note) -> Result<(), Error> {
        self.taken += 1;
        match note {
            Note::List(list, dir) => self.lists.push((list, dir)),
            Note::AllListed => self.all_listed = true,
            Note::BadList(error) => self.bad_list = Some(error),
            Note::Fate(number, fate) => {
                self.unanswered.remove(&number);
                self.fates.push((number, fate));
            }
            Note::Phase(phase) => {
                self.phase = phase;
                let lost = std::mem::take(&mut self.unanswered).into_iter();
                self.fates.extend(lost.map(|number| (number, Fate::Failed)));
            }
            Note::End(ended) => {
                self.has_ended = true;
                ended?;
            }
        }
        Ok(())
    }

    /// Whether the sender has dealt with all that it was asked for, now that it says that this is the end.
    ///
    /// # Errors
    /// If it has not.
    pub(crate) fn check_answers(&self) -> Result<(), Error> {
        let open = match self.session.protocol.has_no_send() {
            true => self.asked.count(),
            false => self.unanswered.len(),
        };
        if open == 0 || self.wants.is_some() {
            return Ok(());
        }
        let text = format!("the sender has come to its end and owes us {open} files");
        Err(Error::fatal(12, crate::Role::Generator, text, None))
    }

    fn tell_confirmed(&mut self) -> Result<(), Error> {
        let mut confirmed = self.confirmed.drain(..);
        confirmed.try_for_each(|number| self.outgoing.message(&Message::Success(number)))
    }

    fn send(&mut self) -> Result<(), Error> {
        self.unsent_since = None;
        self.outgoing.flush()
    }

    /// Sends what has been said, if that is much or was said a while ago.
    fn flush_in_time(&mut self) -> Result<(), Error> {
        let since = *self.unsent_since.get_or_insert_with(Instant::now);
        let length = self.outgoing.with(|stream| Ok(stream.out().len()))?;
        match length >= FLUSH_AT || since.elapsed() >= FLUSH_AFTER {
            true => self.send(),
            false => Ok(()),
        }
    }

    /// The sums of a basis; none for one that is too large to be described.
    fn signature(&self, wanted: &mut Wanted) -> Option<Signature> {
        let (file, meta) = wanted.basis.as_mut()?;
        let digest = self.session.checksum.digest_length();
        let longest = self.session.protocol.max_block_length();
        let length = match self.options.block_size {
            Some(length) if length > 0 => length.min(longest),
            _ => block_len(meta.size, longest),
        };
        let strong = strong_len(meta.size, length, digest, wanted.is_redo);
        let blocks = Blocks::divide(meta.size, length, strong).ok()?;
        if self.options.append.is_some() && !wanted.is_redo {
            return Some(Signature::new(blocks));
        }
        let read = |offset: u64, buffer: &mut [u8]| file.read_at(buffer, offset);
        Signature::of(&read, blocks, &self.session.block_sum()).ok()
    }
}

impl Peer for Requester<'_> {
    fn report(&mut self, at: At<'_>, item: Item, values: &[u32]) -> Result<(), Error> {
        if self.wants.is_some() {
            return Ok(());
        }
        if !self.session.protocol.has_item_flags() {
            if let Some(report) = self.itemizes {
                let (view, name) = (at.entry.received_view(), item.xname.as_deref());
                let mut flags = item.flags;
                flags.set(ItemFlags::XNAME_FOLLOWS, name.is_some());
                let item = Itemized::new(view, flags, name, Direction::Received);
                report.event(Event::Itemized(item));
            }
            return Ok(());
        }
        let (writer, items) = (&mut self.writer, self.items);
        self.outgoing.with(|stream| {
            writer.write(stream.out(), Ndx::File(at.number));
            items.encode(&item, stream.out());
            if items.has_xattr_exchange(&item) {
                wire::encode_xattr_request(values, stream.out());
            }
            Ok(())
        })?;
        self.flush_in_time()
    }

    fn request(&mut self, at: At<'_>, mut wanted: Wanted) -> Result<(), Error> {
        if let Some(wants) = &self.wants {
            let _ = wants.send(Want::File(at.number));
            return Ok(());
        }
        let has_data = self.items.has_data(wanted.item.flags);
        let signature = if has_data {
            self.signature(&mut wanted)
        } else {
            None
        };
        self.asked.add(at.number);
        if !self.session.protocol.has_no_send() {
            self.unanswered.insert(at.number);
        }
        let (writer, items) = (&mut self.writer, self.items);
        self.outgoing.with(|stream| {
            let out = stream.out();
            writer.write(out, Ndx::File(at.number));
            items.encode(&wanted.item, out);
            if items.has_xattr_exchange(&wanted.item) {
                wire::encode_xattr_request(&wanted.values, out);
            }
            if !has_data {
                return Ok(());
            }
            let head = signature
                .as_ref()
                .map_or_else(SumHead::default, |signature| {
                    let blocks = signature.blocks();
                    SumHead {
                        count: blocks.count(),
                        block_length: blocks.block_len(),
                        strong_length: blocks.strong_len().into(),
                        remainder: blocks.remainder(),
                    }
                });
            let head = if head.count == 0 {
                SumHead::default()
            } else {
                head
            };
            head.encode(out);
            for (weak, strong) in signature.iter().flat_map(Signature::sums) {
                head.encode_block(weak, strong, stream.out());
                stream.flush_if_large()?;
            }
            Ok(())
        })?;
        self.flush_in_time()
    }

    fn confirm(&mut self, at: At<'_>) -> Result<(), Error> {
        if !self.options.dry_run {
            self.confirmed.push(at.number);
        }
        Ok(())
    }

    fn wants_basis(&self) -> bool {
        !self.options.whole_file.unwrap_or(false) && self.session.checksum != Checksum::None
    }

    fn has_content(&self, entry: &Entry, mut file: File) -> bool {
        let mut sum = self.session.content_sum();
        let mut buffer = sums::buffer_for(entry.size);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return *sum.finish() == *entry.checksum(),
                Ok(count) => sum.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn fates(&mut self, wait: bool) -> Result<Vec<(u32, Fate)>, Error> {
        self.take_notes()?;
        while wait && self.fates.is_empty() {
            self.wait()?;
        }
        Ok(std::mem::take(&mut self.fates))
    }
}

/// The receiver went without a word: its thread has failed.
fn gone() -> Error {
    Error::fatal(14, crate::Role::Generator, "the receiver has gone", None)
}

/// Requests are sent when they are so many bytes, or so old.
const FLUSH_AT: usize = 4 << 10;
const FLUSH_AFTER: Duration = Duration::from_millis(2);
