//! How a session ends: what is said and heard at the end, and the error that it leaves (wire-session.md 4.7, 9).

use std::time::{Duration, Instant};

use wire::{Code, Message};

use super::Stream;
use crate::Error;

/// How long we listen for the peer's last words after the connection broke.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long we stay when we leave without a word: a peer that still writes its list to us is to find out when it listens
/// again, not by a broken connection. rsync stays as long.
const LINGER: Duration = Duration::from_millis(100);

/// How long the peer may take to hear our last word.
const FAREWELL: Duration = Duration::from_secs(60);

impl Stream {
    /// From here on the peer is not told that we leave, nor that we have heard it leave: a sender's way whose user has its
    /// standard error (wire-session.md 4.7).
    pub(crate) fn leave_without_farewell(&mut self) {
        self.is_curt = true;
    }

    /// Tells the peer with which code we leave, or that we have heard with which code it does, and lets it hear that
    /// (wire-session.md 4.7). Returns what broke the connection meanwhile; the exit code stays what it is.
    pub(crate) fn say_farewell(
        &mut self,
        protocol: wire::Protocol,
        error: &Error,
    ) -> Option<Error> {
        let code = match error {
            Error::PeerExit { .. } => None,
            error => Some(i32::from(error.exit_code())),
        };
        // What the peer finds out by itself, or has no ears for (9.3, 9.4).
        let is_silent = matches!(code, Some(10 | 12 | 19 | 30));
        let is_silent = is_silent || self.has_parted || self.is_curt || !self.multiplexes;
        let is_silent = is_silent || !protocol.has_error_exit();
        // Who cannot begin with its own arguments leaves without a word to the peer.
        let is_silent = is_silent || matches!(error, Error::Usage(_));
        if is_silent {
            // Who leaves over a broken connection has said so.
            let _ = self.flush();
            if code.is_some() && !protocol.has_error_exit() {
                std::thread::sleep(LINGER);
            }
            return self.unheard.take();
        }
        let mut frame = Vec::new();
        Message::ErrorExit(code).encode(protocol, &mut frame);
        let patience = self.patience.get();
        let told = self.flush().and_then(|()| {
            self.link.send(&frame, &mut self.raw, patience)?;
            match error {
                Error::Cancelled => Ok(()),
                _ => self
                    .link
                    .drain(&Code::ErrorExit.header(0), patience.unwrap_or(FAREWELL)),
            }
        });
        told.err()
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

    /// Reads on until the peer closes or we are told to stop, and heeds nothing of it.
    pub(crate) fn ignore_the_rest(&mut self) {
        while let Ok(1..) = self.link.fill(&mut self.raw, None) {
            self.raw.clear();
        }
    }

    /// A peer that has told us why it leaves waits until we have heard it (wire-session.md 4.7).
    pub(super) fn leave_if_told(&mut self) -> Result<(), Error> {
        if !self.heard.is_leaving {
            return Ok(());
        }
        if self.multiplexes {
            self.has_parted = true;
        }
        if self.multiplexes && !self.is_curt {
            // Whether it still takes this makes no difference any more.
            let farewell = Code::ErrorExit.header(0);
            let told = self.link.send(&farewell, &mut self.raw, Some(LAST_WORDS));
            self.unheard = told.and_then(|()| self.read_to_end()).err();
        }
        Err(self.hear_out(Error::Socket(std::io::ErrorKind::ConnectionAborted.into())))
    }

    /// The error that broke the connection, in the peer's own words if it had any: what it sent before is read
    /// first, also when it closed while we were still writing.
    pub(super) fn hear_out(&mut self, error: Error) -> Error {
        if matches!(error, Error::Socket(_)) && !self.has_parted && self.link.reads() {
            // A broken connection may end in another error; what came before that is what matters.
            let _ = self.read_to_end();
        }
        let _ = self.take_in();
        let words = std::mem::take(&mut self.heard.errors);
        match (error, self.heard.exit) {
            (Error::Socket(_) | Error::Read { .. } | Error::Closed { .. }, Some(code)) => {
                Error::PeerExit { code, words }
            }
            (Error::Stalled(_), _) => Error::Stalled(self.patience.get()),
            (error, _) => error.with_peer_words(self.link.received(), words),
        }
    }
}
