//! What is said before the session: lines, and the bytes between them, within a time limit.

use std::time::{Duration, Instant};

use transfer::{Error, Link};
use wire::{Cursor, Stop, if_complete};

/// A client that has connected.
#[derive(Debug)]
pub(crate) struct Conversation {
    link: Link,
    /// What has come and was not read yet.
    heard: Vec<u8>,
    deadline: Option<Instant>,
}

impl Conversation {
    pub(crate) fn new(link: Link, heard: Vec<u8>) -> Self {
        Self {
            link,
            heard,
            deadline: None,
        }
    }

    /// From now on the client has so long for all that it has to say; `None` is for ever.
    pub(crate) fn limit(&mut self, patience: Option<Duration>) {
        self.deadline = patience.map(|patience| Instant::now() + patience);
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`Error::Stalled`] at the limit, what `decode` says of bytes that mean nothing, [`Error::Closed`] and those of a
    /// broken connection.
    pub(crate) fn read<T>(
        &mut self,
        mut decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        loop {
            let mut cursor = Cursor::new(&self.heard);
            if let Some(value) = if_complete(decode(&mut cursor))? {
                let end = cursor.position();
                self.heard.drain(..end);
                return Ok(value);
            }
            if self.link.fill(&mut self.heard, self.deadline)? == 0 {
                return Err(Error::Closed {
                    received: self.link.received(),
                    words: Vec::new(),
                });
            }
        }
    }

    /// Reads a list whose reader keeps what it has seen.
    ///
    /// # Errors
    /// As [`Conversation::read`].
    pub(crate) fn read_list<T>(
        &mut self,
        mut decode: impl FnMut(&mut Cursor<'_>) -> Result<Option<T>, wire::Malformed>,
    ) -> Result<T, Error> {
        loop {
            let mut cursor = Cursor::new(&self.heard);
            let list = decode(&mut cursor)?;
            let end = cursor.position();
            self.heard.drain(..end);
            if let Some(list) = list {
                return Ok(list);
            }
            if self.link.fill(&mut self.heard, self.deadline)? == 0 {
                return Err(Error::Closed {
                    received: self.link.received(),
                    words: Vec::new(),
                });
            }
        }
    }

    /// Says something.
    ///
    /// # Errors
    /// [`Error::Stalled`] and those of a broken connection.
    pub(crate) fn say(&mut self, text: &[u8]) -> Result<(), Error> {
        let patience = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.link.send(text, &mut self.heard, patience)
    }

    /// What somebody else has read of what the client said.
    pub(crate) fn put_back(&mut self, heard: Vec<u8>) {
        self.heard.splice(..0, heard);
    }

    /// What has come of what the client is to say later.
    pub(crate) fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// The connection, and what has come of the session already.
    pub(crate) fn into_parts(self) -> (Link, Vec<u8>) {
        (self.link, self.heard)
    }
}
