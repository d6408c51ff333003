//! The end that the user started: agrees with a server, then sends to it or receives from it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use filter::{Dialect, Side};
use wire::{ClientInfo, Protocol, put_arguments, put_rule, put_rules_end, put_secluded};

use crate::event::{Events, Outcome, Role};
use crate::names;
use crate::options::{FilesFrom, Options};
use crate::receiving::Receiving;
use crate::report::Reporter;
use crate::requested::Requested;
use crate::sending::Sending;
use crate::session::{Algorithms, Session, exchange_versions};
use crate::stream::Stream;
use crate::{Connection, Error, Link};

/// A session with a server, before the first file list.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    session: Session,
}

impl Client {
    /// Agrees with a server that a remote shell has started with arguments for these options; `info` is what they say
    /// that we can do ([`Options::client_info`]), and `sends` tells whether we are the sender.
    ///
    /// # Errors
    /// What the ends have not in common, and those of a broken connection.
    pub fn over_shell(
        link: Link,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        options.check_supported()?;
        let mut stream = Stream::new(link, options.timeout);
        let protocol = exchange_versions(&mut stream, options.newest, 0, Role::of_end(sends))?;
        Self::agree(stream, protocol, options, info, sends)
    }

    /// Agrees with the daemon of a [`Connection`], which gets these arguments first, and after them the `secluded` ones
    /// that are not for everybody's eyes (wire-session.md 2.5).
    ///
    /// # Errors
    /// As [`Client::over_shell`].
    pub fn of_daemon(
        connection: Connection,
        arguments: &[Vec<u8>],
        secluded: Option<&[Vec<u8>]>,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        options.check_supported()?;
        let Connection {
            mut stream,
            protocol,
            ..
        } = connection;
        put_daemon_arguments(stream.out(), protocol, arguments, secluded)
            .map_err(|error| Error::NoCommon(error.to_string()))?;
        stream.flush()?;
        Self::agree(stream, protocol, options, info, sends)
    }

    /// The protocol both ends speak.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.session.protocol
    }

    /// The algorithms of the session.
    #[must_use]
    pub fn algorithms(&self) -> Algorithms {
        let session = &self.session;
        let (is_checksum_negotiated, is_compression_negotiated) = session.negotiated;
        Algorithms {
            checksum: session.checksum,
            is_checksum_negotiated,
            compression: Algorithms::leveled(session.compression, session.level),
            is_compression_negotiated,
        }
    }

    /// Receives what the server sends into `destination`; without one only a listing is made. `asked` are the names as
    /// the server was given them: others are refused.
    ///
    /// # Errors
    /// What ends the run before its end.
    pub fn receive(
        mut self,
        mut options: Options,
        asked: &[Vec<u8>],
        destination: Option<&Path>,
        events: &dyn Events,
    ) -> Result<Outcome, Error> {
        options.settle_defaults(self.session.protocol);
        options.spare_destination();
        let report = Reporter::new(events);
        let requested = match self.ask(asked, &options) {
            Ok(requested) => requested,
            Err(error) => return Err(self.session.part(&mut self.stream, error, &report)),
        };
        let rules = Arc::new(std::mem::take(&mut options.rules));
        let Self { stream, session } = self;
        Receiving {
            session: &session,
            options: &options,
            rules,
            report: &report,
            destination,
            requested,
            is_client: true,
            is_local: false,
        }
        .over(stream)
    }

    /// Sends `sources` to the server.
    ///
    /// # Errors
    /// What ends the run before its end.
    pub fn send(
        mut self,
        mut options: Options,
        sources: &[OsString],
        events: &dyn Events,
    ) -> Result<Outcome, Error> {
        options.settle_defaults(self.session.protocol);
        let report = Reporter::new(events);
        if let Err(error) = self.prepare_sending(&mut options) {
            return Err(self.session.part(&mut self.stream, error, &report));
        }
        let rules = Arc::new(std::mem::take(&mut options.rules));
        let Self {
            mut stream,
            session,
        } = self;
        if !stream.link().is_tcp() {
            stream.leave_without_farewell();
        }
        Sending {
            session: &session,
            options: &options,
            rules,
            report: &report,
            is_client: true,
            own: None,
        }
        .over(stream, sources)
    }

    /// Tells the sender the rules and names that count there. Returns what it may send then.
    fn ask(&mut self, asked: &[Vec<u8>], options: &Options) -> Result<Requested, Error> {
        let requested = Requested::of(asked, options)?;
        self.send_rules(options, Side::Receiver)?;
        if let Some(FilesFrom::Names(names)) = &options.files_from {
            names::send(&mut self.stream, &self.session, names)?;
        }
        Ok(requested)
    }

    /// Tells the receiver the rules that count there, and hears which names it wants.
    fn prepare_sending(&mut self, options: &mut Options) -> Result<(), Error> {
        if options.tells_receiver_rules(self.session.protocol) {
            self.send_rules(options, Side::Sender)?;
        } else {
            // What the protocol cannot express is refused even if nobody is told.
            options.check_rules(self.session.protocol)?;
        }
        if options.files_from == Some(FilesFrom::Peer) {
            let names = names::receive(&mut self.stream, options.allocation_limit())?;
            options.files_from = Some(FilesFrom::Names(names));
            if !self.stream.demultiplexes() {
                self.stream.start_demultiplexing();
            }
        }
        Ok(())
    }

    fn agree(
        mut stream: Stream,
        protocol: Protocol,
        options: &Options,
        info: &ClientInfo,
        sends: bool,
    ) -> Result<Self, Error> {
        stream.heed_timeouts();
        options.check_protocol(protocol, Role::of_end(sends))?;
        let session = Session::of_client(&mut stream, protocol, info, options, sends)?;
        Ok(Self { stream, session })
    }

    /// Sends the filter rules that count at the other end (wire-session.md 6.1).
    fn send_rules(&mut self, options: &Options, we: Side) -> Result<(), Error> {
        let dialect = Dialect::of_protocol(self.session.protocol.number().into());
        for rule in options.rules.for_wire(we, dialect)? {
            put_rule(self.stream.out(), &rule)
                .map_err(|error| Error::NoCommon(error.to_string()))?;
        }
        put_rules_end(self.stream.out());
        self.stream.flush()
    }
}

fn put_daemon_arguments(
    out: &mut Vec<u8>,
    protocol: Protocol,
    arguments: &[Vec<u8>],
    secluded: Option<&[Vec<u8>]>,
) -> Result<(), wire::Unsendable> {
    let Some(secluded) = secluded else {
        return put_arguments(out, protocol, arguments);
    };
    let mut open = arguments.to_vec();
    // Old daemons read on until the end of the line-wise list, and pass over what follows this word.
    if !protocol.has_compat_flags() {
        open.extend([b"(null)".to_vec(), b".".to_vec()]);
    }
    put_arguments(out, protocol, &open)?;
    put_secluded(out, secluded)
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]
pub(crate) mod tests;
