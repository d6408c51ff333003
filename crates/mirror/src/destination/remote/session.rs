//! One session with a peer, and what it teaches about the peer: what it refuses is remembered, and done without.

use std::time::{Duration, Instant};

use transfer::{Batch, Connection, Error, Progress, PushOptions, Pushed, Without};

use super::super::trash_of_today;
use super::RemoteReplica;
use super::peer::{Line, Peer};

/// A connection that waited longer than this may have been closed by the daemon meanwhile (3.5.0 waits 60 s for
/// the arguments, or the module's own `timeout`).
const FRESH: Duration = Duration::from_secs(20);

/// Without these a peer keeps nothing of some kinds.
const KINDS: Without = Without::LINKS.union(Without::DEVICES);

impl RemoteReplica {
    /// A connection to a daemon; a shell is started when the arguments are known.
    pub(super) fn connect(&self) -> Result<Option<Connection>, Error> {
        match &self.peer {
            Peer::Daemon(daemon) => daemon.open(&self.terms, self.last_session).map(Some),
            Peer::Shell(_) => Ok(None),
        }
    }

    pub(super) fn take_connection(&mut self) -> Result<Option<Connection>, Error> {
        match self.ready.take().filter(|ready| ready.age() < FRESH) {
            Some(ready) => Ok(Some(ready)),
            None => self.connect(),
        }
    }

    /// One session over a connection, or over a shell of its own.
    pub(super) fn session(
        &mut self,
        connection: Option<Connection>,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let pushed = self.try_session(connection, batch, options, progress);
        self.note_end(&pushed);
        pushed
    }

    /// Notes that a session has ended, and what its error says of the peer.
    pub(super) fn note_end(&mut self, pushed: &Result<Pushed, Error>) {
        self.last_session = Some(Instant::now());
        let Some(error) = failure(pushed) else {
            return;
        };
        if self.removes_by_name && rejects_missing_names(error) {
            self.removes_by_name = false;
            self.has_learned = true;
        }
        if self.compares_nanoseconds && rejects_nanoseconds(error) {
            self.compares_nanoseconds = false;
            self.has_learned = true;
        }
    }

    fn try_session(
        &mut self,
        connection: Option<Connection>,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let line = match connection {
            Some(connection) => Line::to_a_daemon(connection),
            None => self.open(batch, options, true)?,
        };
        line.push(&self.source, batch, options, progress)
    }

    /// Makes a connection of its own for a session; if the peer has no slot for it, one may be `awaited`.
    pub(super) fn open(
        &mut self,
        batch: &Batch,
        options: &PushOptions,
        awaited: bool,
    ) -> Result<Line, Error> {
        match &mut self.peer {
            Peer::Shell(there) => {
                let words = options.arguments(batch, self.compares_nanoseconds, there.path());
                let (connection, shell) = there.start(&words, &self.terms)?;
                Ok(Line {
                    connection,
                    shell: Some(shell),
                })
            }
            Peer::Daemon(daemon) => daemon
                .open(&self.terms, self.last_session.filter(|_| awaited))
                .map(Line::to_a_daemon),
        }
    }

    fn push(
        &mut self,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let is_held = self.ready.is_some();
        let connection = self.take_connection()?;
        let pushed = self.session(connection, batch, options, progress)?;
        match &pushed.result {
            // The daemon may have closed a connection that was made ahead (its `timeout`, a restart): that is no outage.
            Err(Error::Closed { .. } | Error::Socket(_) | Error::Read { .. })
                if is_held && !pushed.began =>
            {
                self.session(self.connect()?, batch, options, progress)
            }
            _ => Ok(pushed),
        }
    }

    /// Pushes a batch, without what the peer turns out to refuse.
    pub(super) fn push_as_permitted(
        &mut self,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        loop {
            let pushed = self.push(batch, &self.permitted(options), progress);
            let Some(error) = failure(&pushed) else {
                return pushed;
            };
            let kept_before = self.capabilities.without() & KINDS;
            // Each is refused once, so this ends.
            if !self.learn_from(error) {
                return pushed;
            }
            if self.capabilities.without() & KINDS != kept_before {
                // The replica must have nothing else under these names: that takes another plan.
                self.has_learned = true;
                if !options.dry_run {
                    return pushed;
                }
            }
        }
    }

    /// All that a session asks for, as far as the peer is not known to refuse it.
    pub(super) fn permitted(&self, options: &PushOptions) -> PushOptions {
        let mut options = PushOptions {
            deletes: self.deletes,
            itemize: self.itemizes,
            backup_dir: self.trash.as_deref().map(trash_of_today),
            compress: self.compress,
            bandwidth: self.bandwidth,
            without: self.without(),
            ..options.clone()
        };
        self.capabilities.ask(&mut options);
        options
    }

    /// What the peer is known to refuse.
    pub(super) fn without(&self) -> Without {
        let mut without = self.capabilities.without();
        without.set(Without::NANOSECONDS, !self.compares_nanoseconds);
        without
    }

    /// Whether a session failed for something that the peer refuses and that there is a way without.
    pub(super) fn learn_from(&mut self, error: &Error) -> bool {
        let news = self.capabilities.learn_from(error);
        let lists_content = self.capabilities.without().contains(Without::DIRS);
        let mut has_learned = news.is_some();
        if let Some(news) = news {
            self.tell(news);
        }
        if self.deletes && (refuses_deletions(error) || lists_content) {
            self.deletes = false;
            self.refuses_deletions = Some(error.to_string());
            self.tell(format!("this replica does not delete: {error}"));
            has_learned = true;
        }
        has_learned
    }

    /// Leaves a text for the operator.
    pub(super) fn tell(&mut self, text: String) {
        self.notice = Some(match self.notice.take() {
            Some(before) => format!("{before}; {text}"),
            None => text,
        });
    }
}

/// Why a session failed, before its batch or within it.
fn failure(pushed: &Result<Pushed, Error>) -> Option<&Error> {
    match pushed {
        Ok(pushed) => pushed.result.as_ref().err(),
        Err(error) => Some(error),
    }
}

/// Whether the daemon's administrator forbids deletions (`refuse options = delete`), or what they need.
fn refuses_deletions(error: &Error) -> bool {
    let words = error.to_string();
    ["--delete", "--no-r"]
        .iter()
        .any(|option| words.contains(&format!("configured to refuse {option}")))
}

/// Whether the daemon cannot take names that are missing. The 3.2.7 of some distributions, hardened afterwards, knows
/// the option and refuses the entries it leads to.
fn rejects_missing_names(error: &Error) -> bool {
    let words = error.to_string();
    words.contains("invalid file mode 00") || words.contains("--delete-missing-args")
}

/// Whether a server does not know what `--modify-window=-1` means.
fn rejects_nanoseconds(error: &Error) -> bool {
    let words = error.to_string();
    words.contains("modify-window") || words.contains("-@")
}
