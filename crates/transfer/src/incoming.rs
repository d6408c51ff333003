//! What the sender says, as the receiving side hears it: values in the data, messages beside it.

use wire::{Cursor, IoErrors, Message, Stop};

use crate::Error;
use crate::event::Event;
use crate::report::Reporter;
use crate::session::Session;
use crate::stream::Stream;

/// The way from the sender.
pub(crate) struct Incoming<'a> {
    pub(crate) stream: Stream,
    session: &'a Session,
    report: &'a Reporter<'a>,
    /// Learns which requests will not be answered.
    refused: Box<dyn FnMut(u32) + Send + 'a>,
    ignores_errors: bool,
    /// What the sender could not read, as it has said lately.
    told_errors: IoErrors,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(
        mut stream: Stream,
        session: &'a Session,
        report: &'a Reporter<'a>,
        ignores_errors: bool,
    ) -> Self {
        stream.listen();
        Self {
            stream,
            session,
            report,
            refused: Box::new(|_| {}),
            ignores_errors,
            told_errors: IoErrors::empty(),
        }
    }

    /// From here on `refused` learns which requests will not be answered.
    pub(crate) fn on_refusal(self, refused: impl FnMut(u32) + Send + 'a) -> Self {
        Self {
            refused: Box::new(refused),
            ..self
        }
    }

    /// Decodes the next value.
    pub(crate) fn read<T>(
        &mut self,
        decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        self.read_some(false, decode)
    }

    /// Decodes the next value of a decoder that keeps what it has seen of an incomplete one.
    pub(crate) fn read_pieces<T>(
        &mut self,
        decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        self.read_some(true, decode)
    }

    /// What the sender has told of errors since the last call: they count from the next list on.
    pub(crate) fn take_told_errors(&mut self) -> IoErrors {
        std::mem::take(&mut self.told_errors)
    }

    fn read_some<T>(
        &mut self,
        keeps: bool,
        decode: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        let Self {
            stream,
            session,
            report,
            refused,
            ignores_errors,
            told_errors,
        } = self;
        let mut hear = |message: Message| {
            match message {
                Message::Text(severity, text) => report.event(Event::Peer {
                    severity,
                    text: &session.here(text),
                }),
                Message::IoError(errors) if !*ignores_errors => *told_errors |= errors,
                Message::NoSend(number) => refused(number),
                // Who leaves, and that somebody lives, is for the stream to see.
                Message::IoError(_)
                | Message::IoTimeout(_)
                | Message::Noop
                | Message::ErrorExit(_)
                | Message::Success(_)
                | Message::Deleted { .. } => {}
            }
            Ok(())
        };
        stream.read_hearing(&mut hear, keeps, decode)
    }
}
