//! From an address to an open module: connect, greet, authenticate (wire-session.md 7).

use std::time::{Duration, Instant};

use wire::{AuthReply, DaemonLine, Digest, Greeting, ModuleRequest, Protocol, REPLY_LINE_MAX};

use crate::heard::one_line;
use crate::link::{Cancel, Link};
use crate::stream::Stream;
use crate::{DaemonAddress, Error};

/// How we prove who we are.
#[derive(Clone, Default)]
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

/// Terms on which we talk to a peer.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long the peer may neither send nor take anything of substance.
    pub patience: Option<Duration>,
    /// The newest protocol to speak.
    pub newest: Protocol,
    /// A request to stop.
    pub cancel: Cancel,
}

/// A daemon's module that is open for one session.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: Stream,
    pub(crate) protocol: Protocol,
    pub(crate) address: DaemonAddress,
    compares_nanoseconds: bool,
    opened: Instant,
}

impl Connection {
    /// Connects and authenticates. The next thing the daemon expects is the session's arguments.
    ///
    /// # Errors
    /// [`Error::Resolve`], [`Error::Connect`], [`Error::Refused`] with the daemon's own words, [`Error::Greeting`],
    /// [`Error::PasswordNeeded`], and those of a broken connection.
    pub fn open(
        address: &DaemonAddress,
        credentials: &Credentials,
        terms: &Terms,
    ) -> Result<Self, Error> {
        let patience = terms
            .patience
            .unwrap_or(CONNECT_PATIENCE)
            .min(CONNECT_PATIENCE);
        let link = Link::connect(&address.host, address.port, patience, terms.cancel.clone())?;
        let mut stream = Stream::new(link, terms.patience);
        let greeted = greet(&mut stream, terms.newest, &address.module)?;
        let user = address.user.as_deref().unwrap_or(&credentials.user);
        enter_module(
            &mut stream,
            greeted,
            &address.module,
            user,
            credentials.password.as_deref(),
        )?;
        Ok(Self {
            stream,
            protocol: greeted.agreed,
            address: address.clone(),
            compares_nanoseconds: greeted.lists_digests && greeted.agreed.has_nanoseconds(),
            opened: Instant::now(),
        })
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

/// What the greetings settled.
#[derive(Clone, Copy)]
struct Greeted {
    agreed: Protocol,
    digest: Option<Digest>,
    lists_digests: bool,
}

/// Exchanges greetings, and names the module in the same breath: the daemon reads it after its own greeting.
fn greet(stream: &mut Stream, newest: Protocol, module: &str) -> Result<Greeted, Error> {
    stream
        .out()
        .extend_from_slice(&Greeting::own(newest).to_line());
    let request = ModuleRequest::Module(module.as_bytes().to_vec());
    request
        .encode(stream.out())
        .map_err(|error| Error::Greeting(error.to_string()))?;
    let line = match stream.read(|cursor| cursor.line(REPLY_LINE_MAX)) {
        Err(Error::Closed { .. }) => {
            return Err(Error::Greeting("did not see server greeting".to_owned()));
        }
        line => line?,
    };
    let greeting = Greeting::parse(&line)
        .map_err(|error| Error::Greeting(one_line(error.to_string().as_bytes())))?;
    let agreed = newest
        .agree(greeting.version)
        .map_err(|error| Error::Greeting(error.to_string()))?;
    let digest = Digest::choose(greeting.digests.as_deref(), agreed);
    Ok(Greeted {
        agreed,
        digest,
        lists_digests: greeting.digests.is_some(),
    })
}

fn enter_module(
    stream: &mut Stream,
    greeted: Greeted,
    module: &str,
    user: &str,
    password: Option<&[u8]>,
) -> Result<(), Error> {
    // A message of the day has an end; a daemon that talks for ever has none.
    for _ in 0..MOTD_LINES {
        let line = match stream.read(|cursor| cursor.line(REPLY_LINE_MAX)) {
            Err(Error::Closed { .. }) => {
                return Err(Error::Greeting("didn't get server startup line".to_owned()));
            }
            line => line?,
        };
        match DaemonLine::parse(&line) {
            DaemonLine::Ok => return Ok(()),
            DaemonLine::Error(text) => return Err(Error::Refused(one_line(text))),
            DaemonLine::Exit => {
                return Err(Error::Refused("the daemon ended the session".to_owned()));
            }
            DaemonLine::Text(_) => {}
            DaemonLine::AuthRequired(challenge) => {
                let password = password.ok_or_else(|| Error::PasswordNeeded {
                    module: module.to_owned(),
                })?;
                let digest = greeted.digest.ok_or_else(|| {
                    Error::NoCommon(
                        "the daemon offers no digest for authentication that we know".to_owned(),
                    )
                })?;
                let response = digest.response(password, challenge).into_bytes();
                let reply = AuthReply {
                    user: user.as_bytes().to_vec(),
                    response,
                };
                reply
                    .encode(stream.out())
                    .map_err(|error| Error::Greeting(error.to_string()))?;
            }
        }
    }
    Err(Error::Greeting(
        "the daemon's message of the day has no end".to_owned(),
    ))
}

/// The longest time for a TCP connection to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

const MOTD_LINES: usize = 10_000;
