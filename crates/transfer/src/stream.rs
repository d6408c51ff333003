//! A conversation over a [`Link`]: raw at first, multiplexed after the handshake.
//!
//! Received bytes pass from `raw` through the demultiplexer into `data`, from where values are decoded, and
//! into `heard`, what the peer says beside the data. What we say is collected in `out`, with room for the frame's header in
//! front, so that file contents are read straight into the frame they leave in.

mod parting;
mod patience;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use wire::{Code, Cursor, Demux, Incoming, Message, Stop};

use self::patience::Patience;
use crate::Error;
use crate::heard::Heard;
use crate::link::Link;
use crate::outgoing::{Queue, Speaker};
use crate::recording::Record;

/// Output is sent when it has grown to this, in bytes: large writes, few system calls.
const FLUSH_AT: usize = 256 << 10;

/// So many times its patience a half that only waits takes its own signs of life for the peer's.
const OWN_SIGNS: u32 = 4;

/// Both directions of a session.
#[derive(Debug)]
pub(crate) struct Stream {
    link: Link,
    patience: Patience,
    /// A server may ask for less patience (wire-session.md 4.6).
    heeds_timeouts: bool,
    raw: Vec<u8>,
    demux: Option<Demux>,
    /// No frame is opened before its data is asked for.
    is_reluctant: bool,
    data: Vec<u8>,
    /// How much of `data` has been decoded.
    decoded: usize,
    /// Bytes of data that were decoded, without what frames them.
    understood: u64,
    heard: Heard,
    /// What the peer says beside the data, for roles that take it themselves.
    inbox: Option<Vec<Message>>,
    out: Vec<u8>,
    /// Bytes of data that have left, without what frames them.
    said: u64,
    multiplexes: bool,
    /// Another one speaks for us.
    only_hears: bool,
    /// The peer knows that we have heard that it leaves.
    has_parted: bool,
    /// Who leaves does not say so.
    is_curt: bool,
    /// Why it may not know it.
    unheard: Option<Error>,
    /// A copy of the data of one direction.
    record: Option<Record>,
    /// What others want to be said beside the data.
    queue: Queue,
}

impl Stream {
    pub(crate) fn new(link: Link, patience: Option<Duration>) -> Self {
        Self {
            link,
            patience: Patience::new(patience),
            heeds_timeouts: false,
            raw: Vec::new(),
            demux: None,
            is_reluctant: false,
            data: Vec::new(),
            decoded: 0,
            understood: 0,
            heard: Heard::default(),
            inbox: None,
            out: Vec::new(),
            said: 0,
            multiplexes: false,
            only_hears: false,
            has_parted: false,
            is_curt: false,
            unheard: None,
            record: None,
            queue: Queue::default(),
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// How long the peer may neither send nor take anything of substance, by our own wish or the server's.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience.get()
    }

    /// Whether this half of a split stream only waits for what the other half hears.
    pub(crate) fn set_idle(&mut self, is_idle: bool) {
        self.patience.set_idle(is_idle);
    }

    /// From here on the peer has another time to make progress in.
    pub(crate) fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = Patience::new(patience);
    }

    /// From here on a server may ask for less patience.
    pub(crate) fn heed_timeouts(&mut self) {
        self.heeds_timeouts = true;
    }

    /// From here on the data has a copy on file, if there is a record.
    pub(crate) fn record(&mut self, record: Option<Record>) -> Result<(), Error> {
        self.flush()?;
        self.record = record;
        Ok(())
    }

    /// What is said next is the content of a file, or is so no more: a record may be the only place for it.
    pub(crate) fn divert(&mut self, is_content: bool) -> Result<(), Error> {
        if self.record.is_some() {
            self.flush()?;
        }
        if let Some(record) = &mut self.record {
            record.divert(is_content);
        }
        Ok(())
    }

    /// Notes something on file that is not said.
    pub(crate) fn note(&mut self, data: &[u8]) -> Result<(), Error> {
        self.flush()?;
        self.record
            .as_ref()
            .map_or(Ok(()), |record| record.write(data))
    }

    /// The two directions apart, for two threads: what the peer says, and what is said to it.
    pub(crate) fn split(mut self) -> Result<(Self, Self), Error> {
        self.flush()?;
        let (reading, writing) = self.link.split()?;
        let mut speaking = Self::new(writing, None);
        speaking.patience = self.patience.clone();
        speaking.multiplexes = self.multiplexes;
        speaking.queue = Arc::clone(&self.queue);
        speaking.open_frame();
        let hearing = Self {
            link: reading,
            out: Vec::new(),
            multiplexes: false,
            only_hears: true,
            queue: Queue::default(),
            ..self
        };
        Ok((hearing, speaking))
    }

    /// From here on what the peer says beside the data is kept for [`Stream::messages`].
    pub(crate) fn listen(&mut self) {
        self.inbox.get_or_insert_default();
    }

    /// What the peer has said beside the data since the last call.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        self.inbox.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Like [`Stream::read`], and `hear` learns of each message as soon as it has come. A decoder that `keeps` what it
    /// needs of a value that is not complete finds it gone the next time it is asked.
    pub(crate) fn read_hearing<T>(
        &mut self,
        hear: &mut dyn FnMut(Message) -> Result<(), Error>,
        keeps: bool,
        mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        let mut deadline = self.deadline();
        let mut last_heard = Instant::now();
        loop {
            let mut value = self.decode_some(keeps, &mut decode)?;
            if value.is_none() {
                self.flush()?;
                value = self.decode_some(keeps, &mut decode)?;
            }
            self.messages().into_iter().try_for_each(&mut *hear)?;
            if let Some(value) = value {
                return Ok(value);
            }
            let (data, heard) = (self.data.len(), self.heard.count);
            // To rsync any sign of life is a reason to go on waiting (wire-session.md 9.1). To a mirror only progress is.
            // Our own signs are those of the other half of a split link, which may have made progress; while that only
            // waits itself they count for some time, in which a sender may look at a large file, and not for ever as
            // with rsync.
            let is_lenient = self.inbox.is_some();
            let patience = self.patience.get().unwrap_or(Duration::MAX);
            let is_owed = self.patience.is_idle()
                && last_heard.elapsed() >= patience.saturating_mul(OWN_SIGNS);
            let received = match self.receive(deadline) {
                Err(Error::Stalled(_))
                    if self.only_hears
                        && is_lenient
                        && !is_owed
                        && self.link.last_sent().elapsed() < patience =>
                {
                    Ok(())
                }
                received => {
                    last_heard = Instant::now();
                    received
                }
            };
            if is_lenient || self.data.len() > data || self.heard.count > heard {
                deadline = self.deadline();
            }
            if let Err(error) = received {
                // What was said before the end may be the reason for it.
                self.messages().into_iter().try_for_each(&mut *hear)?;
                return Err(error);
            }
        }
    }

    /// Like [`Stream::read_hearing`], but only of what has come already.
    pub(crate) fn try_read_hearing<T>(
        &mut self,
        hear: &mut dyn FnMut(Message) -> Result<(), Error>,
        mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Error> {
        let mut value = self.decode(&mut decode)?;
        if value.is_none() && self.link.fill_available(&mut self.raw)? {
            self.take_in().and_then(|()| self.leave_if_told())?;
            value = self.decode(&mut decode)?;
        }
        self.messages().into_iter().try_for_each(hear)?;
        Ok(value)
    }

    /// From here on the peer sends frames. What it sent already and we have not decoded is the first of them.
    pub(crate) fn start_demultiplexing(&mut self) {
        let mut raw = self.data.split_off(self.decoded);
        self.data.clear();
        self.decoded = 0;
        raw.append(&mut self.raw);
        self.raw = raw;
        self.demux = Some(Demux::new());
    }

    /// From here on we send frames. What was written before is sent as it is.
    pub(crate) fn start_multiplexing(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.multiplexes = true;
        self.open_frame();
        Ok(())
    }

    /// From here on bytes count; what was read and not decoded is among them.
    pub(crate) fn start_counting(&mut self) {
        let ahead = self.raw.len() + self.data.len() - self.decoded;
        self.link.count_from(ahead as u64);
    }

    /// Whether what we say leaves in frames.
    pub(crate) fn multiplexes(&self) -> bool {
        self.multiplexes
    }

    /// From here on what we say leaves as it is.
    pub(crate) fn stop_multiplexing(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.multiplexes = false;
        self.out.clear();
        Ok(())
    }

    /// Frames are opened one by one, as they are needed: the peer is about to stop sending them.
    pub(crate) fn demultiplex_reluctantly(&mut self) {
        self.is_reluctant = true;
    }

    /// From here on the peer sends bytes as they are.
    pub(crate) fn stop_demultiplexing(&mut self) {
        self.is_reluctant = false;
        if self.demux.take().is_some() {
            self.data.append(&mut self.raw);
        }
    }

    /// Whether the peer sends frames.
    pub(crate) fn demultiplexes(&self) -> bool {
        self.demux.is_some()
    }

    /// Where to append what is to be said. Call [`Stream::flush_if_large`] between items.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes of data that were said so far, without what frames them.
    pub(crate) fn said(&self) -> u64 {
        let header = if self.multiplexes { FRAME_HEADER } else { 0 };
        self.said + (self.out.len() - header.min(self.out.len())) as u64
    }

    /// Bytes of data that were decoded so far, without what frames them.
    pub(crate) fn understood(&self) -> u64 {
        self.understood
    }

    /// Sends what has been said if it is much, and anything at all if we have been silent for long: whoever works
    /// for long without a word calls this now and then.
    pub(crate) fn flush_if_large(&mut self) -> Result<(), Error> {
        match self.out.len() >= FLUSH_AT {
            true => self.flush(),
            false => self.show_life(),
        }
    }

    /// Shows the peer that we live, if nothing else did for long.
    pub(crate) fn show_life(&mut self) -> Result<(), Error> {
        match self.next_sign().is_some_and(|due| due <= Instant::now()) {
            true => self.send_empty_frame(),
            false => Ok(()),
        }
    }

    /// A way to say something beside the data. It leaves with the next flush.
    pub(crate) fn speaker(&self, protocol: wire::Protocol) -> Speaker {
        Speaker::new(Arc::clone(&self.queue), protocol)
    }

    /// Input that was read by somebody else.
    pub(crate) fn put_back(&mut self, mut read_ahead: Vec<u8>) {
        self.raw.append(&mut read_ahead);
        self.data.append(&mut self.raw);
    }

    /// Sends what has been said.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let queued =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        // Messages go first: after the last word of the data nobody listens.
        if !queued.is_empty() && self.multiplexes {
            let sent = self.link.send(&queued, &mut self.raw, self.patience.get());
            sent.map_err(|error| self.hear_out(error))?;
        }
        self.flush_data()
    }

    fn flush_data(&mut self) -> Result<(), Error> {
        let header = if self.multiplexes { FRAME_HEADER } else { 0 };
        if self.out.len() <= header {
            return Ok(());
        }
        if self.multiplexes {
            let length = self.out.len() - FRAME_HEADER;
            self.out[..FRAME_HEADER].copy_from_slice(&Code::Data.header(length));
        }
        self.said += (self.out.len() - header) as u64;
        if let Some(record) = self.record.as_ref().filter(|record| !record.of_heard) {
            record.write(&self.out[header..])?;
        }
        let is_diverted = self.record.as_ref().is_some_and(|record| record.diverts);
        let sent = match is_diverted {
            true => Ok(()),
            false => self
                .link
                .send(&self.out, &mut self.raw, self.patience.get()),
        };
        self.out.clear();
        self.open_frame();
        match sent {
            Ok(()) => self.take_in().and_then(|()| self.leave_if_told()),
            Err(error) => Err(self.hear_out(error)),
        }
    }

    /// Sends a message beside the data. What was said before it leaves first.
    pub(crate) fn send_message(
        &mut self,
        message: &Message,
        protocol: wire::Protocol,
    ) -> Result<(), Error> {
        self.flush()?;
        let mut frame = Vec::new();
        message.encode(protocol, &mut frame);
        let sent = self.link.send(&frame, &mut self.raw, self.patience.get());
        sent.map_err(|error| self.hear_out(error))
    }

    /// Sends nothing, to show that we live. Only a multiplexed direction can say that.
    pub(crate) fn send_empty_frame(&mut self) -> Result<(), Error> {
        self.flush()?;
        if !self.multiplexes {
            return Ok(());
        }
        let sent = self
            .link
            .send(&wire::KEEPALIVE, &mut self.raw, self.patience.get());
        sent.map_err(|error| self.hear_out(error))
    }

    /// Decodes the next value, after sending what has been said if the peer must speak first.
    pub(crate) fn read<T>(
        &mut self,
        mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        let mut deadline = self.deadline();
        loop {
            if let Some(value) = self.decode(&mut decode)? {
                return Ok(value);
            }
            self.flush()?;
            if let Some(value) = self.decode(&mut decode)? {
                return Ok(value);
            }
            let (data, heard) = (self.data.len(), self.heard.count);
            self.receive(deadline)?;
            // An empty frame shows that the peer's process lives, not that it gets anywhere.
            if self.data.len() > data || self.heard.count > heard {
                deadline = self.deadline();
            } else if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(self.hear_out(Error::Stalled(None)));
            }
        }
    }

    /// What the peer has said beside the data.
    pub(crate) fn heard(&mut self) -> &mut Heard {
        &mut self.heard
    }

    fn decode<T>(
        &mut self,
        decode: &mut impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Error> {
        self.decode_some(false, decode)
    }

    fn decode_some<T>(
        &mut self,
        keeps: bool,
        decode: &mut impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Error> {
        let mut cursor = Cursor::new(&self.data[self.decoded..]);
        let value = wire::if_complete(decode(&mut cursor))?;
        if value.is_some() || keeps {
            if let Some(record) = self.record.as_ref().filter(|record| record.of_heard) {
                record.write(&self.data[self.decoded..][..cursor.position()])?;
            }
            self.decoded += cursor.position();
            self.understood += cursor.position() as u64;
            if self.decoded == self.data.len() {
                self.data.clear();
                self.decoded = 0;
            }
        }
        Ok(value)
    }

    /// Waits for something to come. Meanwhile we show that we live.
    fn receive(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        if !self.raw.is_empty() {
            // What came before the frames began, or has not been opened yet.
            let (data, heard) = (self.data.len(), self.heard.count);
            self.take_in()?;
            if self.data.len() > data || self.heard.count > heard {
                return self.leave_if_told();
            }
        }
        let filled = loop {
            let due = self.next_sign();
            let earlier = [deadline, due].into_iter().flatten().min();
            match self.link.fill(&mut self.raw, earlier) {
                Err(Error::Stalled(_)) if earlier == due && earlier != deadline => {
                    self.send_empty_frame()?;
                }
                filled => break filled,
            }
        };
        match filled {
            Ok(0) => {
                let closed = Error::Closed {
                    received: self.link.received(),
                    words: Vec::new(),
                };
                Err(self.hear_out(closed))
            }
            Ok(_) => self.take_in().and_then(|()| self.leave_if_told()),
            Err(error) => Err(self.hear_out(error)),
        }
    }

    /// Sorts what has arrived into data and messages.
    fn take_in(&mut self) -> Result<(), Error> {
        if self.decoded > FLUSH_AT {
            self.data.drain(..self.decoded);
            self.decoded = 0;
        }
        let Some(demux) = &mut self.demux else {
            self.data.append(&mut self.raw);
            return Ok(());
        };
        let mut cursor = Cursor::new(&self.raw);
        while let Some(incoming) = demux.next(&mut cursor)? {
            match incoming {
                Incoming::Data(data) => {
                    self.data.extend_from_slice(data);
                    if self.is_reluctant && !data.is_empty() {
                        break;
                    }
                }
                Incoming::Message(Message::IoTimeout(asked)) => {
                    self.heard.count += 1;
                    if let Some(asked) = asked.filter(|_| self.heeds_timeouts) {
                        self.patience.lower(Duration::from_secs(asked.get().into()));
                    }
                }
                Incoming::Message(message) => match &mut self.inbox {
                    Some(inbox) => {
                        self.heard.note_exit(&message);
                        if inbox.len() >= INBOX_MAX {
                            return Err(Error::Forbidden("the peer talks without end".to_owned()));
                        }
                        inbox.push(message);
                    }
                    None => self.heard.note(message),
                },
            }
        }
        let consumed = cursor.position();
        self.raw.drain(..consumed);
        Ok(())
    }

    fn open_frame(&mut self) {
        if self.multiplexes {
            self.out.extend_from_slice(&[0; FRAME_HEADER]);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.patience
            .get()
            .map(|patience| Instant::now() + patience)
    }

    /// When we must have said something, if only to show that we live: after half of the time that the peer is likely
    /// to wait (wire-session.md 9.2).
    fn next_sign(&self) -> Option<Instant> {
        let patience = self.patience.get().filter(|_| self.multiplexes)?;
        Some(self.link.last_sent() + patience / 2)
    }
}

/// Bytes in front of a frame's content.
const FRAME_HEADER: usize = 4;

/// Nobody has more to say while one value travels.
const INBOX_MAX: usize = 1 << 17;
