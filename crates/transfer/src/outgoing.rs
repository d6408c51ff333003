//! What the receiving side says to the sender. Generator and receiver share it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
        Self { stream: Mutex::new(stream), protocol }
    }

    /// Says something as a whole: nothing comes in between.
    pub(crate) fn with<T>(&self, say: impl FnOnce(&mut Stream) -> Result<T, Error>) -> Result<T, Error> {
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

    /// Shows the peer that we live, if nothing was sent for so long.
    pub(crate) fn keep_alive(&self, interval: Duration) -> Result<(), Error> {
        self.with(|stream| match stream.link().last_sent().elapsed() >= interval {
            true => stream.send_empty_frame(),
            false => Ok(()),
        })
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).link().sent()
    }
}

/// Tells a server's client, and with it the user, something.
#[derive(Debug, Clone)]
pub struct Speaker(pub(crate) Arc<Outgoing>);

impl Speaker {
    /// Sends a text, usually a line with its line end. What is too long for a message is cut.
    ///
    /// # Errors
    /// Those of a broken connection.
    pub fn say(&self, severity: Severity, text: &[u8]) -> Result<(), Error> {
        let text = text[..text.len().min(Code::TEXT_MAX)].to_vec();
        self.0.message(&Message::Text(severity, text))
    }

    /// Tells the client with which code we leave (wire-session.md 4.7).
    ///
    /// # Errors
    /// Those of a broken connection.
    pub fn leave(&self, code: u8) -> Result<(), Error> {
        match self.0.protocol.has_error_exit() {
            true => self.0.message(&Message::ErrorExit(Some(i32::from(code)))),
            false => self.0.flush(),
        }
    }
}
