//! Who takes sessions, and the ways there.

use std::time::{Duration, Instant};

use filter::{Dialect, Side};
use transfer::{
    Batch, Connection, Credentials, DaemonAddress, Error, Progress, PushOptions, Pushed, Terms,
};

use super::super::encrypted;
use super::super::shell::{RemoteShell, Shell};
use crate::source::Source;

/// A daemon frees the slot of a session (`max connections`) when its process has ended, a moment after the session.
const SLOT_FREED: Duration = Duration::from_secs(2);
const SLOT_PAUSE: Duration = Duration::from_millis(20);

/// Who takes our sessions.
pub(crate) enum Peer {
    /// A daemon.
    Daemon(Daemon),
    /// A server that a remote shell starts.
    Shell(RemoteShell),
}

/// A daemon, and what is needed to talk to it.
pub(crate) struct Daemon {
    pub(crate) address: DaemonAddress,
    /// What proves who we are.
    pub(crate) credentials: Credentials,
    /// Who is believed to be the daemon, where it is asked to prove it.
    pub(crate) tls: Option<tls::Client>,
}

impl Daemon {
    /// Connects and authenticates. `last_session` is when a session of ours ended.
    pub(super) fn open(
        &self,
        terms: &Terms,
        last_session: Option<Instant>,
    ) -> Result<Connection, Error> {
        let Self {
            address,
            credentials,
            tls,
        } = self;
        // The session that we have just ended may still count among the daemon's connections.
        let is_recent = |ended: Instant| ended.elapsed() < SLOT_FREED;
        let may_fill_a_slot =
            || !terms.cancel.is_cancelled() && last_session.is_some_and(is_recent);
        loop {
            let opened = match tls {
                Some(client) => encrypted::open(client, address, credentials, terms),
                None => Connection::open(address, credentials, terms),
            };
            match opened {
                Err(Error::Refused(words))
                    if words.contains("max connections") && may_fill_a_slot() =>
                {
                    std::thread::sleep(SLOT_PAUSE);
                }
                opened => return opened,
            }
        }
    }
}

/// A connection, and the shell that it leads through.
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) shell: Option<Shell>,
}

impl Line {
    pub(super) fn to_a_daemon(connection: Connection) -> Self {
        Self {
            connection,
            shell: None,
        }
    }

    /// A session, from its beginning to its end.
    pub(super) fn push(
        self,
        source: &Source,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let Self { connection, shell } = self;
        let dialect = Dialect::of_protocol(connection.protocol().number().into());
        let rules = match options.deletes {
            true => source.rules().for_wire(Side::Sender, dialect),
            false => Ok(Vec::new()),
        };
        let rules = rules.map_err(|error| Error::NoCommon(error.to_string()))?;
        let options = PushOptions {
            rules,
            ..options.clone()
        };
        let root = source.root().holding_dirs();
        let mut pushed = connection.push(&root, batch, &options, progress);
        match (shell, &mut pushed.result) {
            (Some(shell), Ok(_)) => shell.end(),
            (Some(shell), result) => {
                let error = std::mem::replace(result, Err(Error::Cancelled));
                *result = error.map_err(|error| shell.explain(error));
            }
            (None, _) => {}
        }
        Ok(pushed)
    }
}
