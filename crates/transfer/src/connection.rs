//! A daemon's module that is open for one session (wire-session.md 7).

use std::time::{Duration, Instant};

use wire::Protocol;

use crate::dial::Dial;
use crate::link::Link;
use crate::session::exchange_versions;
use crate::stream::Stream;
use crate::visit::{Quietly, Request, Terms, Visit};
use crate::{DaemonAddress, Error, Role};

/// How we prove who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user, unless the address names one.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<Vec<u8>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A daemon's module that is open for one session.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: Stream,
    pub(crate) protocol: Protocol,
    /// Where pushes go: the module, and the path in it.
    pub(crate) location: Vec<u8>,
    pub(crate) compares_nanoseconds: bool,
    /// The server has its arguments already.
    pub(crate) is_told: bool,
    pub(crate) opened: Instant,
}

impl Connection {
    /// Connects and authenticates. The next thing the daemon expects is the session's arguments.
    ///
    /// # Errors
    /// Those of [`Dial::connect`], [`Visit::begin`] and [`Visit::enter`].
    pub fn open(
        address: &DaemonAddress,
        credentials: &Credentials,
        terms: &Terms,
    ) -> Result<Self, Error> {
        let dialled = dial(terms).connect(&address.host, address.port, terms.cancel.clone())?;
        Self::over(dialled.link, address, credentials, terms)
    }

    /// The same over a link to the daemon, whatever is between.
    ///
    /// # Errors
    /// Those of [`Visit::begin`] and [`Visit::enter`].
    pub fn over(
        link: Link,
        address: &DaemonAddress,
        credentials: &Credentials,
        terms: &Terms,
    ) -> Result<Self, Error> {
        let visit = Visit::begin(link, terms, &Request::of(address))?;
        let user = address.user.as_deref().unwrap_or(&credentials.user);
        let connection = visit.enter(user.as_bytes(), &Quietly(credentials.password.as_deref()))?;
        Ok(Self {
            location: format!("{}/{}", address.module, address.path).into_bytes(),
            ..connection
        })
    }

    /// A server that a remote shell has been started with the words of [`PushOptions::arguments`](crate::PushOptions::arguments); the ends have only their
    /// versions to exchange. It serves the push that those words are for.
    ///
    /// # Errors
    /// What answers is no rsync, and those of a broken connection.
    pub fn over_shell(link: Link, terms: &Terms) -> Result<Self, Error> {
        let mut stream = Stream::new(link, terms.patience);
        let protocol = exchange_versions(&mut stream, terms.newest, 0, Role::Sender)?;
        Ok(Self {
            stream,
            protocol,
            location: Vec::new(),
            is_told: true,
            compares_nanoseconds: protocol.has_nanoseconds(),
            opened: Instant::now(),
        })
    }

    /// The same, with another time for which the peer may make no progress; none for ever.
    #[must_use]
    pub fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.stream.set_patience(patience);
        self
    }

    /// The protocol both ends speak.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the daemon can be asked to compare and set times to the nanosecond (`--modify-window=-1`). Daemons
    /// that list digests in their greeting (3.2.7) know how; 3.0.9 and 3.1.2 would end the session.
    #[must_use]
    pub fn compares_nanoseconds(&self) -> bool {
        self.compares_nanoseconds
    }

    /// How long the daemon has been waiting for us.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }
}

/// How a daemon is reached on these terms.
#[must_use]
pub fn dial(terms: &Terms) -> Dial {
    let patience = terms.patience.unwrap_or(CONNECT_PATIENCE);
    Dial {
        patience: Some(patience.min(CONNECT_PATIENCE)),
        ..Dial::default()
    }
}

/// The longest time for a TCP connection to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
