//! What the receiving side says to the sender. Generator and receiver share it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use wire::{Code, Message, Protocol, Severity};

use crate::Error;
use crate::stream::Stream;

/// The way to the peer, for several threads.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: Mutex<Stream>,
    protocol: Protocol,
}

impl Outgoing {
    pub(crate) fn new(stream: Stream, protocol: Protocol) -> Self {
        Self {
            stream: Mutex::new(stream),
            protocol,
        }
    }

    /// Says something as a whole: nothing comes in between.
    pub(crate) fn with<T>(
        &self,
        say: impl FnOnce(&mut Stream) -> Result<T, Error>,
    ) -> Result<T, Error> {
        say(&mut self.stream.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a message beside the data.
    pub(crate) fn message(&self, message: &Message) -> Result<(), Error> {
        self.with(|stream| stream.send_message(message, self.protocol))
    }

    /// Sends what has been said.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.with(Stream::flush)
    }

    /// Shows the peer that we live whenever nothing else was sent for half of the time that it is likely to wait, until
    /// `end` is dropped.
    pub(crate) fn keep_alive(&self, end: &Receiver<()>) {
        let mut interval = CHECK;
        while matches!(end.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
            // Who says something will hear of a connection that is broken.
            let _ = self.with(Stream::show_life);
            let patience = self.patience();
            interval = patience.map_or(CHECK, |patience| (patience / 4).min(CHECK));
        }
    }

    /// Whether the generator only waits for what the receiver hears.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.set_idle(is_idle);
    }

    fn patience(&self) -> Option<Duration> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.patience()
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .link()
            .sent()
    }
}

/// Tells a server's client, and with it the user, something. It is sent when the session sends next.
#[derive(Debug, Clone)]
pub struct Speaker {
    queue: Queue,
    protocol: Protocol,
}

/// Framed messages that wait to be sent.
pub(crate) type Queue = Arc<Mutex<Vec<u8>>>;

impl Speaker {
    pub(crate) fn new(queue: Queue, protocol: Protocol) -> Self {
        Self { queue, protocol }
    }

    /// Sends a text, usually a line with its line end. What is too long for a message is cut.
    pub fn say(&self, severity: Severity, text: &[u8]) {
        self.message(&Message::Text(
            severity,
            text[..text.len().min(Code::TEXT_MAX)].to_vec(),
        ));
    }

    pub(crate) fn message(&self, message: &Message) {
        message.encode(
            self.protocol,
            &mut self.queue.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// How often we look whether a sign of life is due, if no time limit says more.
const CHECK: Duration = Duration::from_secs(1);
