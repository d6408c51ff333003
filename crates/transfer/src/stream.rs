//! A conversation over a [`Link`]: raw at first, multiplexed after the handshake.
//!
//! Received bytes pass from `raw` through the demultiplexer into `data`, from where values are decoded, and
//! into `heard`, what the peer says beside the data. What we say is collected in `out`, with room for the frame's header in
//! front, so that file contents are read straight into the frame they leave in.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use wire::{Code, Cursor, Demux, Incoming, Message, Stop};

use crate::Error;
use crate::heard::Heard;
use crate::link::Link;
use crate::outgoing::{Queue, Speaker};

/// Output is sent when it has grown to this, in bytes: large writes, few system calls.
const FLUSH_AT: usize = 256 << 10;

/// How long we listen for the peer's last words after the connection broke.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Both directions of a session.
#[derive(Debug)]
pub(crate) struct Stream {
    link: Link,
    /// How long the peer may neither send nor take anything of substance.
    patience: Option<Duration>,
    raw: Vec<u8>,
    demux: Option<Demux>,
    data: Vec<u8>,
    /// How much of `data` has been decoded.
    decoded: usize,
    heard: Heard,
    /// What the peer says beside the data, for roles that take it themselves.
    inbox: Option<Vec<Message>>,
    out: Vec<u8>,
    multiplexes: bool,
    /// What others want to be said beside the data.
    queue: Queue,
}

impl Stream {
    pub(crate) fn new(link: Link, patience: Option<Duration>) -> Self {
        Self {
            link,
            patience,
            raw: Vec::new(),
            demux: None,
            data: Vec::new(),
            decoded: 0,
            heard: Heard::default(),
            inbox: None,
            out: Vec::new(),
            multiplexes: false,
            queue: Queue::default(),
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The two directions apart, for two threads: what the peer says, and what is said to it.
    pub(crate) fn split(mut self) -> Result<(Self, Self), Error> {
        self.flush()?;
        let (reading, writing) = self.link.split()?;
        let mut speaking = Self::new(writing, self.patience);
        speaking.multiplexes = self.multiplexes;
        speaking.queue = Arc::clone(&self.queue);
        speaking.open_frame();
        let hearing = Self {
            link: reading,
            out: Vec::new(),
            multiplexes: false,
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
            // To rsync any sign of life is a reason to go on waiting (wire-session.md 9.1): the other half of a split
            // link may have made progress. To a mirror only progress is.
            let is_lenient = self.inbox.is_some();
            let lives = |link: &Link, patience| link.last_sent().elapsed() < patience;
            let received = match self.receive(deadline) {
                Err(Error::Stalled)
                    if is_lenient
                        && self
                            .patience
                            .is_some_and(|patience| lives(&self.link, patience)) =>
                {
                    Ok(())
                }
                received => received,
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

    /// Where to append what is to be said. Call [`Stream::flush_if_large`] between items.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub(crate) fn flush_if_large(&mut self) -> Result<(), Error> {
        if self.out.len() >= FLUSH_AT {
            self.flush()
        } else {
            Ok(())
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
            let sent = self.link.send(&queued, &mut self.raw, self.patience);
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
        let sent = self.link.send(&self.out, &mut self.raw, self.patience);
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
        let sent = self.link.send(&frame, &mut self.raw, self.patience);
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
            .send(&wire::KEEPALIVE, &mut self.raw, self.patience);
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
                return Err(self.hear_out(Error::Stalled));
            }
        }
    }

    /// What the peer has said beside the data.
    pub(crate) fn heard(&mut self) -> &mut Heard {
        &mut self.heard
    }

    /// Reads on until the peer closes, for what it still has to say.
    pub(crate) fn read_to_end(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + LAST_WORDS;
        while self.link.fill(&mut self.raw, Some(deadline))? > 0 {
            self.take_in()?;
            self.data.clear();
            self.decoded = 0;
        }
        Ok(())
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
            self.decoded += cursor.position();
            if self.decoded == self.data.len() {
                self.data.clear();
                self.decoded = 0;
            }
        }
        Ok(value)
    }

    fn receive(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        match self.link.fill(&mut self.raw, deadline) {
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

    /// A peer that has told us why it leaves waits until we have heard it (wire-session.md 4.7).
    fn leave_if_told(&mut self) -> Result<(), Error> {
        if !self.heard.is_leaving {
            return Ok(());
        }
        // Whether it still takes this makes no difference any more.
        let farewell = Code::ErrorExit.header(0);
        let _ = self.link.send(&farewell, &mut self.raw, Some(LAST_WORDS));
        Err(self.hear_out(Error::Socket(std::io::ErrorKind::ConnectionAborted.into())))
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
                Incoming::Data(data) => self.data.extend_from_slice(data),
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

    /// The error that broke the connection, in the peer's own words if it had any: what it sent before is read
    /// first, also when it closed while we were still writing.
    fn hear_out(&mut self, error: Error) -> Error {
        if matches!(error, Error::Socket(_)) && self.link.reads() {
            // A broken connection may end in another error; what came before that is what matters.
            let _ = self.read_to_end();
        }
        let _ = self.take_in();
        let words = std::mem::take(&mut self.heard.errors);
        match (error, self.heard.exit) {
            (Error::Socket(_) | Error::Closed { .. }, Some(code)) => {
                Error::PeerExit { code, words }
            }
            (error, _) => error.with_peer_words(self.link.received(), words),
        }
    }

    fn open_frame(&mut self) {
        if self.multiplexes {
            self.out.extend_from_slice(&[0; FRAME_HEADER]);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.patience.map(|patience| Instant::now() + patience)
    }
}

const FRAME_HEADER: usize = 4;

/// Nobody has more to say while one value travels.
const INBOX_MAX: usize = 1 << 17;
