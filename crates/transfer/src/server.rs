//! The end that a client started: agrees with the client, then receives from it or sends to it.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use filter::{Dialect, MergeFile};
use wire::{ClientInfo, Message, Protocol, RuleReader};

use crate::event::{Event, Events, Outcome, Role};
use crate::names;
use crate::options::{FilesFrom, Options};
use crate::outgoing::Speaker;
use crate::receiving::Receiving;
use crate::report::Reporter;
use crate::requested::Requested;
use crate::sending::Sending;
use crate::session::{Session, exchange_versions};
use crate::stream::Stream;
use crate::{Error, Link};

/// A session with a client, before the first file list.
#[derive(Debug)]
pub struct Server {
    stream: Stream,
    session: Session,
    /// The user sees our standard error.
    has_stderr: bool,
}

impl Server {
    /// Agrees with a client that has started us through a remote shell. `info` is what the client can do, as its
    /// arguments tell; `sends` tells whether we are the sender.
    ///
    /// # Errors
    /// What the ends have not in common, and those of a broken connection.
    pub fn over_shell(
        link: Link,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        let mut stream = Stream::new(link, options.timeout);
        let protocol =
            exchange_versions(&mut stream, options.newest, info.sub(), Role::of_end(sends))?;
        Self::agree(stream, protocol, options, info, sends)
    }

    /// Agrees with a daemon's client, whose greeting and arguments have been read from `link`; what had come after them
    /// is `read_ahead`.
    ///
    /// # Errors
    /// As [`Server::over_shell`].
    pub fn in_daemon(
        link: Link,
        read_ahead: Vec<u8>,
        protocol: Protocol,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        let mut stream = Stream::new(link, options.timeout);
        stream.put_back(read_ahead);
        let mut server = Self::agree(stream, protocol, options, info, sends)?;
        if let Some(timeout) = options.timeout
            && protocol.announces_timeout()
        {
            let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
            let announcement = Message::IoTimeout(NonZeroU32::new(seconds));
            server.stream.send_message(&announcement, protocol)?;
        }
        Ok(server)
    }

    /// What is wrong reaches the user by our standard error. A sender then leaves the client to find the connection
    /// closed, as rsync's does (wire-session.md 4.7).
    #[must_use]
    pub fn with_stderr(self) -> Self {
        Self {
            has_stderr: true,
            ..self
        }
    }

    /// The protocol both ends speak.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.session.protocol
    }

    /// A way to tell the client's user something, from now on to the end.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        self.stream.speaker(self.session.protocol)
    }

    /// Receives what the client sends into `destination`. Deletions are told to the client, if its protocol has words for
    /// them; `events` hears of everything.
    ///
    /// # Errors
    /// What ends the run before its end.
    pub fn receive(
        mut self,
        mut options: Options,
        destination: &Path,
        events: &dyn Events,
    ) -> Result<Outcome, Error> {
        if let Err(error) = self.prepare_receiving(&mut options) {
            let report = Reporter::new(events);
            return Err(self.session.part(&mut self.stream, error, &report));
        }
        let rules = Arc::new(std::mem::take(&mut options.rules));
        let speaker = self.speaker();
        let Self {
            stream, session, ..
        } = self;
        let tell = |event: Event<'_>| {
            if let Event::Deleted { path, is_dir } = event
                && session.protocol.reports_deletions()
            {
                speaker.message(&Message::Deleted {
                    path: session.there(path.to_vec()),
                    is_dir,
                });
            }
            events.event(event);
        };
        Receiving {
            session: &session,
            options: &options,
            rules,
            report: &Reporter::new(&tell),
            destination: Some(destination),
            requested: Requested::default(),
            is_client: false,
            is_local: false,
        }
        .over(stream)
    }

    /// Sends `sources` to the client.
    ///
    /// # Errors
    /// What ends the run before its end.
    pub fn send(
        mut self,
        mut options: Options,
        sources: &[OsString],
        events: &dyn Events,
    ) -> Result<Outcome, Error> {
        let report = Reporter::new(events);
        if let Err(error) = self.prepare_sending(&mut options) {
            return Err(self.session.part(&mut self.stream, error, &report));
        }
        let rules = Arc::new(std::mem::take(&mut options.rules));
        let Self {
            mut stream,
            session,
            has_stderr,
        } = self;
        if has_stderr {
            stream.leave_without_farewell();
        }
        Sending {
            session: &session,
            options: &options,
            rules,
            report: &report,
            is_client: false,
            own: None,
        }
        .over(stream, sources)
    }

    fn prepare_receiving(&mut self, options: &mut Options) -> Result<(), Error> {
        options.settle_defaults(self.session.protocol);
        options.spare_destination();
        options.check_supported()?;
        if options.tells_receiver_rules(self.session.protocol) {
            self.receive_rules(options, filter::Side::Receiver)?;
        }
        let Some(FilesFrom::Names(names)) = &options.files_from else {
            return Ok(());
        };
        names::send(&mut self.stream, &self.session, names)?;
        match self.stream.multiplexes() {
            true => Ok(()),
            false => self.stream.start_multiplexing(),
        }
    }

    fn prepare_sending(&mut self, options: &mut Options) -> Result<(), Error> {
        options.settle_defaults(self.session.protocol);
        options.check_supported()?;
        self.receive_rules(options, filter::Side::Sender)?;
        if options.files_from == Some(FilesFrom::Peer) {
            let was_demultiplexing = self.stream.demultiplexes();
            if !self.session.protocol.frames_files_from() {
                self.stream.stop_demultiplexing();
            }
            let names = names::receive(&mut self.stream, options.allocation_limit())?;
            options.files_from = Some(FilesFrom::Names(names));
            if was_demultiplexing && !self.stream.demultiplexes() {
                self.stream.start_demultiplexing();
            }
        }
        Ok(())
    }

    /// Tells the client why there is no session, and with which code we leave if it is to know that. `lines` are errors
    /// in rsync's words. Returns how many bytes were sent and received.
    ///
    /// # Errors
    /// Those of a broken connection.
    pub fn refuse(
        mut self,
        lines: &[Vec<u8>],
        code: Option<u8>,
        sends: bool,
    ) -> Result<(u64, u64), Error> {
        let speaker = self.speaker();
        for line in lines {
            speaker.say(wire::Severity::Error, &[line, &b"\n"[..]].concat());
        }
        self.stream.flush()?;
        if let Some(code) = code.filter(|_| sends) {
            let error = Error::fatal(code, Role::of_end(sends), "", None);
            self.stream.say_farewell(self.session.protocol, &error);
        } else if let Some(code) = code.filter(|_| self.session.protocol.has_error_exit()) {
            // What it goes on sending is not waited for.
            let farewell = Message::ErrorExit(Some(i32::from(code)));
            self.stream.send_message(&farewell, self.session.protocol)?;
        }
        let link = self.stream.link();
        Ok((link.sent(), link.received()))
    }

    fn agree(
        mut stream: Stream,
        protocol: Protocol,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        options.check_protocol(protocol, Role::of_end(sends))?;
        let session = Session::of_server(&mut stream, protocol, info, options, sends)?;
        Ok(Self {
            stream,
            session,
            has_stderr: false,
        })
    }

    /// Takes the client's filter rules.
    fn receive_rules(&mut self, options: &mut Options, side: filter::Side) -> Result<(), Error> {
        let dialect = Dialect::of_protocol(self.session.protocol.number().into());
        let mut reader = RuleReader::new();
        // A rule that merges a file of ours would tell the client what is in it.
        let mut no_files = |_: MergeFile<'_>| Ok(None);
        while let Some(rule) = self
            .stream
            .read(|cursor| Ok(reader.read(cursor)?.map(<[u8]>::to_vec)))?
        {
            options.rules.receive(&rule, dialect, &mut no_files)?;
        }
        options.rules.received_all(side, dialect)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]
mod tests;
