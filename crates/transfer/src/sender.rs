//! The sender: answers the generator's requests, to the end of the session (wire-files.md 10, wire-session.md 8).
//!
//! What the numbers of the session stand for is a [`Catalogue`]'s to know: a mirror's batch, or lists of a tree.

use std::collections::HashSet;
use std::fs::File;
use std::io;

use delta::Tally;
use tree::Meta;
use wire::{
    DeleteStatistics, IoErrors, Item, ItemFlags, ItemFormat, Message, Ndx, NdxReader, NdxWriter,
    Statistics, SumHead, TokenEncoder,
};

use crate::session::Session;
use crate::stream::Stream;
use crate::{Error, sums};

mod contents;

/// What the numbers of a session stand for, and who wants to know what becomes of them.
pub(crate) trait Catalogue {
    /// Whether a number stands for a regular file.
    ///
    /// # Errors
    /// If it stands for nothing.
    fn is_file(&self, number: u32) -> Result<bool, Error>;

    /// Whether only what comes after the described length is sent; `Some(true)` if the sum covers the rest, too.
    fn appends(&self) -> Option<bool>;

    /// Opens a file whose content is wanted. What goes wrong has been reported, and is summed up in the answer.
    fn open(&mut self, number: u32, item: &Item, head: &SumHead) -> Result<Opened, IoErrors>;

    /// Takes note of a request for long values of an entry's extended attributes.
    ///
    /// # Errors
    /// A value that there is not, or that was asked for before.
    fn request_values(&mut self, number: u32, values: &[u32]) -> Result<(), Error>;

    /// The values that are due with an answer for an entry, by ascending number.
    fn due_values(&mut self, number: u32) -> Vec<(u32, Vec<u8>)>;

    /// The peer has told about an entry, or asked for content that a dry run does not send.
    fn noted(&mut self, number: u32, item: &Item);

    /// The most bytes of content to send at a time, if the rate is limited.
    fn piece(&self) -> Option<usize>;

    /// So many more bytes of content have been sent.
    fn progress(&mut self, bytes: u64);

    /// A file's content has been sent.
    fn sent(&mut self, number: u32, item: &Item, sent: Sent) -> Result<(), Error>;

    /// Every file that was wanted has been sent.
    fn all_sent(&mut self);

    /// The peer says something beside the data, if the stream leaves it to us.
    fn hear(&mut self, message: Message) -> Result<(), Error>;

    /// What the peer has deleted.
    fn deleted(&mut self, counts: DeleteStatistics);

    /// Whether no list is to follow those that were sent.
    fn is_whole(&self) -> bool {
        true
    }

    /// Sends a further list, if there is one and it is time: `eagerly` is while we wait for the peer. False if not.
    fn send_list(
        &mut self,
        stream: &mut Stream,
        writer: &mut NdxWriter,
        eagerly: bool,
    ) -> Result<bool, Error>;

    /// The peer has finished the oldest list. False if it was the last one.
    fn release(&mut self) -> bool;
}

/// A file whose content is wanted.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) meta: Meta,
    /// The receiver writes over its basis while it reads it.
    pub(crate) in_place: bool,
}

/// What has been sent of a file.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) opened: Meta,
    pub(crate) literal: u64,
    pub(crate) matched: u64,
    pub(crate) tally: Tally,
    /// Bytes of the whole answer.
    pub(crate) bytes: u64,
    /// Bytes of the block sums, which came the other way.
    pub(crate) sum_bytes: u64,
    pub(crate) digest: Vec<u8>,
    /// What could not be read.
    pub(crate) damage: Option<io::Error>,
}

/// Sums up the session for the peer.
pub(crate) type Summary<C> = dyn Fn(&C, &Stream) -> Statistics;

/// One session's sender.
pub(crate) struct Sender<'a, C> {
    stream: &'a mut Stream,
    session: &'a Session,
    items: ItemFormat,
    reader: NdxReader,
    writer: NdxWriter,
    tokens: TokenEncoder,
    io_errors: IoErrors,
    is_server: bool,
    /// How much had been said before the present answer.
    said_before: u64,
    /// Files that have been appended to once.
    answered: HashSet<u32>,
    /// Bytes read and written when the last file was done: what follows is no part of the transfer.
    pub(crate) totals: (u64, u64),
    pub(crate) catalogue: C,
}

impl<'a, C: Catalogue> Sender<'a, C> {
    pub(crate) fn new(
        stream: &'a mut Stream,
        session: &'a Session,
        items: ItemFormat,
        catalogue: C,
    ) -> Self {
        Self {
            stream,
            session,
            items,
            reader: NdxReader::new(session.protocol),
            writer: NdxWriter::new(session.protocol),
            tokens: TokenEncoder::new(session.compression, session.level, session.protocol)
                .with_threads(session.threads),
            io_errors: IoErrors::empty(),
            is_server: false,
            said_before: 0,
            answered: HashSet::new(),
            totals: (0, 0),
            catalogue,
        }
    }

    /// Answers requests until the peer has said goodbye. A server's sender tells `statistics` before that, and so does
    /// every sender a batch.
    pub(crate) fn serve(
        &mut self,
        is_server: bool,
        statistics: Option<&Summary<C>>,
    ) -> Result<(), Error> {
        self.is_server = is_server;
        let mut phase = 0;
        loop {
            match self.next()? {
                Ndx::File(number) => self.answer(number, phase)?,
                Ndx::Done if phase == 0 && self.catalogue.release() => self.done(),
                Ndx::Done => {
                    phase += 1;
                    if phase > self.session.protocol.last_phase() {
                        break;
                    }
                    self.done();
                }
                other => return Err(out_of_place(other)),
            }
        }
        self.catalogue.all_sent();
        if !self.io_errors.is_empty() && self.session.protocol.has_no_send() {
            let message = Message::IoError(self.io_errors);
            self.stream.send_message(&message, self.session.protocol)?;
        }
        self.done();
        self.stream.flush()?;
        self.totals = (self.stream.link().received(), self.stream.link().sent());
        if let Some(statistics) = statistics {
            let statistics = statistics(&self.catalogue, self.stream);
            let mut told = Vec::new();
            statistics.encode(self.session.protocol, &mut told);
            match is_server {
                true => self.stream.out().extend_from_slice(&told),
                // A batch is read as if a server had written it.
                false => self.stream.note(&told)?,
            }
        }
        if self.session.protocol.late_delete_round() {
            self.last_word()?;
            self.done();
        }
        self.last_word()
    }

    /// Sends the first list, and with it that no other follows, if that is so. A server's list leaves with those that follow:
    /// before its client deletes anything it is to hear of directories that could not be read.
    pub(crate) fn start(&mut self, is_server: bool) -> Result<(), Error> {
        if self.catalogue.is_whole() {
            self.catalogue
                .send_list(self.stream, &mut self.writer, false)?;
        } else if is_server {
            return Ok(());
        }
        self.stream.flush()
    }

    /// Hears what the peer has said beside the data and nobody has listened to.
    pub(crate) fn hear_rest(&mut self) -> Result<(), Error> {
        let messages = self.stream.messages();
        messages
            .into_iter()
            .try_for_each(|message| self.catalogue.hear(message))
    }

    /// Awaits a DONE of the goodbye. After a redo, rsync's generator may still report hard links (wire-files.md
    /// 10.8); nobody waits for an answer any more.
    fn last_word(&mut self) -> Result<(), Error> {
        loop {
            match self.next()? {
                Ndx::Done => return Ok(()),
                Ndx::File(_) => {
                    let items = self.items;
                    let item = self.stream.read(|cursor| items.decode(cursor))?;
                    if items.has_xattr_exchange(&item) {
                        self.stream.read(wire::decode_xattr_request)?;
                    }
                    if items.has_data(item.flags) {
                        return Err(Error::Forbidden(
                            "the peer asks for data after the end of the run".to_owned(),
                        ));
                    }
                }
                other => return Err(out_of_place(other)),
            }
        }
    }

    /// The next index that asks for something. Lists are sent meanwhile.
    fn next(&mut self) -> Result<Ndx, Error> {
        loop {
            while self
                .catalogue
                .send_list(self.stream, &mut self.writer, false)?
            {
                self.stream.flush_if_large()?;
            }
            let ndx = self.read_ndx()?;
            match ndx {
                Ndx::DelStats => {
                    let counts = self.stream.read(DeleteStatistics::decode)?;
                    self.catalogue.deleted(counts);
                    // A server tells its client what it was told.
                    if self.is_server {
                        self.writer.write(self.stream.out(), Ndx::DelStats);
                        counts.encode(self.stream.out());
                    }
                }
                ndx => return Ok(ndx),
            }
        }
    }

    fn read_ndx(&mut self) -> Result<Ndx, Error> {
        loop {
            let (reader, catalogue) = (&mut self.reader, &mut self.catalogue);
            let mut hear = |message| catalogue.hear(message);
            if let Some(ndx) = self
                .stream
                .try_read_hearing(&mut hear, |cursor| reader.read(cursor))?
            {
                return Ok(ndx);
            }
            if !self
                .catalogue
                .send_list(self.stream, &mut self.writer, true)?
            {
                break;
            }
            self.stream.flush_if_large()?;
        }
        let (reader, catalogue) = (&mut self.reader, &mut self.catalogue);
        self.stream
            .read_hearing(&mut |message| catalogue.hear(message), false, |cursor| {
                reader.read(cursor)
            })
    }

    fn done(&mut self) {
        self.writer.write(self.stream.out(), Ndx::Done);
    }

    /// Answers one request: an echo, and the file's content if it is asked for.
    fn answer(&mut self, number: u32, phase: u8) -> Result<(), Error> {
        let is_file = self.catalogue.is_file(number)?;
        let items = self.items;
        let item = self.stream.read(|cursor| items.decode(cursor))?;
        if items.has_xattr_exchange(&item) {
            let values = self.stream.read(wire::decode_xattr_request)?;
            self.catalogue.request_values(number, &values)?;
        }
        let is_transfer = item.flags.contains(ItemFlags::TRANSFER);
        if is_transfer && (!is_file || phase > 1) {
            return Err(Error::Forbidden(format!(
                "the peer asks for the content of entry {number}"
            )));
        }
        if !items.has_data(item.flags) {
            self.echo(number, &item);
            self.catalogue.noted(number, &item);
            return self.stream.flush_if_large();
        }
        let digest_length = self.session.checksum.digest_length();
        let protocol = self.session.protocol;
        let head = self
            .stream
            .read(|cursor| SumHead::decode(cursor, protocol, digest_length))?;
        // What is appended to has a length, and no sums. A repetition is no appending.
        let appends = self
            .catalogue
            .appends()
            .filter(|_| phase == 0 && !self.answered.contains(&number));
        let described = if appends.is_some() {
            SumHead::default()
        } else {
            head
        };
        let basis = sums::read_basis(self.stream, self.session, &described)?;
        match self.catalogue.open(number, &item, &head) {
            Ok(opened) => {
                if self.catalogue.appends().is_some() {
                    self.answered.insert(number);
                }
                self.said_before = self.stream.said();
                self.echo(number, &item);
                self.stream.divert(true)?;
                head.encode(self.stream.out());
                self.content(
                    number,
                    &item,
                    appends.map(|verifies| (head.described_length(), verifies)),
                    opened,
                    &basis,
                )?;
                self.stream.divert(false)
            }
            Err(errors) => {
                self.io_errors |= errors;
                match protocol.has_no_send() {
                    true => self.stream.send_message(&Message::NoSend(number), protocol),
                    false => Ok(()),
                }
            }
        }
    }

    fn echo(&mut self, number: u32, item: &Item) {
        self.writer.write(self.stream.out(), Ndx::File(number));
        self.items.encode(item, self.stream.out());
        if self.items.has_xattr_exchange(item) {
            let mut previous = 0;
            for (attribute, value) in self.catalogue.due_values(number) {
                wire::encode_xattr_answer(previous, attribute, &value, self.stream.out());
                previous = attribute;
            }
            wire::encode_xattr_answer_end(self.stream.out());
        }
    }
}

fn out_of_place(ndx: Ndx) -> Error {
    Error::Forbidden(format!("the peer says {ndx:?} where it has no meaning"))
}
