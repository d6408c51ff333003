//! What can end a transfer, told apart by whose fault it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::event::Role;

/// Why a transfer ended before its end.
#[derive(Debug, Error)]
pub enum Error {
    /// The name of a host means nothing.
    #[error("cannot find {target}: {cause}")]
    Resolve {
        /// The name as given, and the port if there is one.
        target: String,
        /// The resolver's answer.
        cause: io::Error,
    },
    /// Nothing answers.
    #[error("{}", unreachable(.host, .attempts))]
    Connect {
        /// The name as given.
        host: String,
        /// Each address that was tried, and the kernel's answer.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    /// The connection did not come about in the permitted time.
    #[error("timeout waiting for a connection to {host} ({address})")]
    ConnectTimeout {
        /// The name as given.
        host: String,
        /// The address that was tried last.
        address: SocketAddr,
    },
    /// Our own end of the connection cannot be where it was asked to be.
    #[error("cannot connect from {local}: {cause}")]
    Bind {
        /// The name or address as given.
        local: String,
        /// The answer of the resolver, or of the kernel.
        cause: io::Error,
    },
    /// The proxy does not connect us.
    #[error("{0}")]
    Proxy(String),
    /// The daemon said no before the session began, in its own words.
    #[error("{0}")]
    Refused(String),
    /// What answers at the address is no rsync daemon that we can talk to.
    #[error("{0}")]
    Greeting(String),
    /// The module asks for a user and we have no password.
    #[error("module {module} asks for a password: give --password-file or RSYNC_PASSWORD")]
    PasswordNeeded {
        /// The module.
        module: String,
    },
    /// The peer ended the session with an exit code, after what it had to say.
    #[error("{}", with_words(.words, &format!("the peer ended the session with code {code}")))]
    PeerExit {
        /// rsync's exit code (wire-session.md 8.6).
        code: i32,
        /// The peer's error messages, a line each.
        words: Vec<String>,
    },
    /// The connection ended where the protocol goes on.
    #[error("{}", with_words(.words, &format!("connection unexpectedly closed ({received} bytes received so far)")))]
    Closed {
        /// Bytes received before the end.
        received: u64,
        /// The peer's error messages, a line each.
        words: Vec<String>,
    },
    /// The connection broke.
    #[error("{0}")]
    Socket(io::Error),
    /// The connection broke while we listened.
    #[error("{}", with_words(.words, &cause.to_string()))]
    Read {
        /// The system's reason.
        cause: io::Error,
        /// The peer's error messages, a line each.
        words: Vec<String>,
    },
    /// The peer neither sent nor took anything for the permitted time, if that is known.
    #[error("no progress within the time limit")]
    Stalled(Option<Duration>),
    /// The peer sent bytes that mean nothing.
    #[error("{0}")]
    Malformed(#[from] wire::Malformed),
    /// The peer sent something that it may not say here.
    #[error("{0}")]
    Forbidden(String),
    /// The two ends have no way of doing what was asked.
    #[error("{0}")]
    NoCommon(String),
    /// The local file system.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
    /// An option whose work the engine does not do; nothing has been changed.
    #[error("{0} is not supported here")]
    Unsupported(&'static str),
    /// A filter rule, or a file of them.
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// The run cannot go on, for a reason that rsync has words and a code for.
    #[error("{text}{}", .cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Fatal {
        /// rsync's exit code.
        code: u8,
        /// Who says so.
        role: Role,
        /// rsync's words.
        text: String,
        /// The system's reason.
        cause: Option<io::Error>,
    },
    /// A stop was asked for.
    #[error("stopped")]
    Cancelled,
}

impl Error {
    /// rsync's exit code for this end (wire-session.md 8.6).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Bind { .. }
            | Self::Proxy(_)
            | Self::Socket(_)
            | Self::Read { .. } => 10,
            Self::ConnectTimeout { .. } => 35,
            Self::Refused(_) | Self::Greeting(_) => 5,
            Self::PasswordNeeded { .. } | Self::Usage(_) => 1,
            // Who leaves so has not come to an end, whatever it says.
            Self::PeerExit { code, .. } => match u8::try_from(*code) {
                Ok(0) | Err(_) => 12,
                Ok(code) => code,
            },
            Self::Closed { .. } => 12,
            Self::Stalled(_) => 30,
            Self::Malformed(malformed) => malformed.exit_code(),
            Self::Forbidden(_) => 2,
            Self::NoCommon(_) | Self::Unsupported(_) => 4,
            Self::Filter(filter::Error::Unreadable { .. }) => 11,
            Self::Filter(filter::Error::TooModern) => 2,
            Self::Filter(_) => 1,
            Self::Fatal { code, .. } => *code,
            Self::Tree(_) => 11,
            Self::Cancelled => 20,
        }
    }

    /// Whether trying again later may help, without anybody having changed the command.
    #[must_use]
    pub fn can_pass(&self) -> bool {
        match self {
            // A daemon says the same "@ERROR" for what is wrong and for what is full.
            Self::Refused(words) => words.contains("max connections"),
            // The peer's own "syntax or usage" and "requested action not supported": a read-only module, a refused
            // option. Full disks and lost connections have other codes.
            Self::PeerExit { code, .. } => !matches!(code, 1 | 4),
            Self::PasswordNeeded { .. }
            | Self::NoCommon(_)
            | Self::Usage(_)
            | Self::Unsupported(_) => false,
            Self::Filter(_) => false,
            Self::Greeting(_)
            | Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Bind { .. }
            | Self::Proxy(_)
            | Self::Closed { .. }
            | Self::Socket(_)
            | Self::Read { .. }
            | Self::Stalled(_)
            | Self::Malformed(_)
            | Self::Forbidden(_)
            | Self::Tree(_)
            | Self::Fatal { .. }
            | Self::Cancelled => true,
        }
    }

    /// An end that rsync has words for.
    pub(crate) fn fatal(
        code: u8,
        role: Role,
        text: impl AsRef<[u8]>,
        cause: Option<io::Error>,
    ) -> Self {
        Self::Fatal {
            code,
            role,
            text: String::from_utf8_lossy(text.as_ref()).into_owned(),
            cause,
        }
    }

    /// The same end with the peer's words, where it says nothing better itself.
    #[must_use]
    pub(crate) fn with_peer_words(self, received: u64, mut words: Vec<String>) -> Self {
        match self {
            Self::Socket(cause) if words.is_empty() => Self::Socket(cause),
            // Whether writing or reading meets the reset first is a matter of chance.
            Self::Socket(cause) if cause.kind() == io::ErrorKind::ConnectionReset => {
                Self::Read { cause, words }
            }
            Self::Socket(_) => Self::Closed { received, words },
            Self::Read {
                cause,
                words: earlier,
            } => {
                words.extend(earlier);
                Self::Read { cause, words }
            }
            Self::Closed {
                received,
                words: earlier,
            } => {
                words.extend(earlier);
                Self::Closed { received, words }
            }
            other => other,
        }
    }
}

fn unreachable(host: &str, attempts: &[(SocketAddr, io::Error)]) -> String {
    let attempts: Vec<String> = attempts
        .iter()
        .map(|(address, cause)| format!("failed to connect to {host} ({address}): {cause}"))
        .collect();
    attempts.join("; ")
}

fn with_words(words: &[String], otherwise: &str) -> String {
    if words.is_empty() {
        otherwise.to_owned()
    } else {
        words.join("; ")
    }
}
