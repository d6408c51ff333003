//! A replica with a peer that speaks rsync's protocol: a daemon, or a server behind a remote shell.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use filter::{Dialect, Side};
use transfer::{
    Applied, Batch, Cancel, Connection, Credentials, DaemonAddress, Error, Item, Progress,
    PushOptions, Pushed, Renamed, Terms, Without,
};
use tree::Kind;

use super::capabilities::Capabilities;
use super::division::Division;
use super::refusals::take_refusals;
use super::shell::{RemoteShell, Shell};
use super::{Broken, Destination, encrypted, trash_of_today};
use crate::planner::Abilities;
use crate::settings::ReplicaSettings;
use crate::source::Source;

/// A connection that waited longer than this may have been closed by the daemon meanwhile (3.5.0 waits 60 s for
/// the arguments, or the module's own `timeout`).
const FRESH: Duration = Duration::from_secs(20);

/// A daemon frees the slot of a session (`max connections`) when its process has ended, a moment after the session.
const SLOT_FREED: Duration = Duration::from_secs(2);
const SLOT_PAUSE: Duration = Duration::from_millis(20);

/// Below so many bytes, sending renamed files takes less time than a session that spares it.
const WORTH_A_SESSION: u64 = 256 << 10;

/// Without these a peer keeps nothing of some kinds.
const KINDS: Without = Without::LINKS.union(Without::DEVICES);

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
    fn open(&self, terms: &Terms, last_session: Option<Instant>) -> Result<Connection, Error> {
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
struct Line {
    connection: Connection,
    shell: Option<Shell>,
}

impl Line {
    fn to_a_daemon(connection: Connection) -> Self {
        Self {
            connection,
            shell: None,
        }
    }

    /// A session, from its beginning to its end.
    fn push(
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

/// A replica with a peer.
pub(crate) struct RemoteReplica {
    source: Arc<Source>,
    peer: Peer,
    terms: Terms,
    deletes: bool,
    refuses_deletions: Option<String>,
    trash: Option<String>,
    compress: bool,
    bandwidth: Option<u64>,
    /// As far as its protocol allows, and until it has shown otherwise.
    removes_by_name: bool,
    /// The same of a server that gets its arguments before it tells its version.
    compares_nanoseconds: bool,
    has_learned: bool,
    capabilities: Capabilities,
    ready: Option<Connection>,
    notice: Option<String>,
    has_sent_links: bool,
    itemizes: bool,
    /// How many sessions may run side by side.
    sessions: usize,
    /// When the last session ended.
    last_session: Option<Instant>,
}

impl RemoteReplica {
    pub(crate) fn new(
        source: Arc<Source>,
        peer: Peer,
        settings: &ReplicaSettings,
        cancel: &Cancel,
    ) -> Self {
        Self {
            source,
            peer,
            terms: Terms {
                patience: Some(settings.timeout).filter(|timeout| !timeout.is_zero()),
                newest: settings.protocol,
                cancel: cancel.clone(),
            },
            deletes: settings.deletes,
            refuses_deletions: None,
            trash: settings.trash.clone(),
            compress: settings.compress,
            bandwidth: settings.bandwidth,
            removes_by_name: true,
            compares_nanoseconds: true,
            has_learned: false,
            capabilities: Capabilities::default(),
            ready: None,
            notice: None,
            has_sent_links: false,
            itemizes: false,
            sessions: settings.sessions,
            last_session: None,
        }
    }

    /// A connection to a daemon; a shell is started when the arguments are known.
    fn connect(&self) -> Result<Option<Connection>, Error> {
        match &self.peer {
            Peer::Daemon(daemon) => daemon.open(&self.terms, self.last_session).map(Some),
            Peer::Shell(_) => Ok(None),
        }
    }

    fn take_connection(&mut self) -> Result<Option<Connection>, Error> {
        match self.ready.take().filter(|ready| ready.age() < FRESH) {
            Some(ready) => Ok(Some(ready)),
            None => self.connect(),
        }
    }

    /// One session over a connection, or over a shell of its own.
    fn session(
        &mut self,
        connection: Option<Connection>,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        let pushed = self.try_session(connection, batch, options, progress);
        self.last_session = Some(Instant::now());
        if let Err(error)
        | Ok(Pushed {
            result: Err(error), ..
        }) = &pushed
        {
            if self.removes_by_name && rejects_missing_names(error) {
                self.removes_by_name = false;
                self.has_learned = true;
            }
            if self.compares_nanoseconds && rejects_nanoseconds(error) {
                self.compares_nanoseconds = false;
                self.has_learned = true;
            }
        }
        pushed
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
    fn open(&mut self, batch: &Batch, options: &PushOptions, awaited: bool) -> Result<Line, Error> {
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
    fn push_as_permitted(
        &mut self,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, Error> {
        loop {
            let pushed = self.push(batch, &self.permitted(options), progress);
            let (Err(error)
            | Ok(Pushed {
                result: Err(error), ..
            })) = &pushed
            else {
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
    fn permitted(&self, options: &PushOptions) -> PushOptions {
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
    fn without(&self) -> Without {
        let mut without = self.capabilities.without();
        without.set(Without::NANOSECONDS, !self.compares_nanoseconds);
        without
    }

    /// Whether a session failed for something that the peer refuses and that there is a way without.
    fn learn_from(&mut self, error: &Error) -> bool {
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
    fn tell(&mut self, text: String) {
        self.notice = Some(match self.notice.take() {
            Some(before) => format!("{before}; {text}"),
            None => text,
        });
    }

    /// Gives renamed files their new names before anything is deleted or sent, in sessions of their own. What does
    /// not come about is sent as data by the session that follows, so their errors mean nothing.
    fn link_renamed(&mut self, batch: &Batch) -> Result<(), Broken> {
        let size = |renamed: &Renamed| renamed.old.meta.size;
        let without = self.capabilities.without();
        if batch.renamed.iter().map(size).sum::<u64>() < WORTH_A_SESSION
            || without.contains(Without::HARD_LINKS)
        {
            return Ok(());
        }
        // A file whose ctime is the old one has not been changed; the others are compared by content.
        let is_certain = |renamed: &&Renamed| {
            batch
                .item(&renamed.new)
                .is_some_and(|item| item.meta.unchanged_since(&renamed.old.meta))
        };
        let (certain, uncertain): (Vec<_>, Vec<_>) = batch.renamed.iter().partition(is_certain);
        let mut began = false;
        for (pairs, exact) in [(certain, false), (uncertain, true)] {
            if pairs.is_empty() {
                continue;
            }
            let broken = |error| Broken {
                began,
                ..Broken::from(error)
            };
            let connection = self.take_connection().map_err(broken)?;
            let linking = batch.linking(pairs, exact);
            let options = PushOptions {
                without: self.without(),
                ..PushOptions::default()
            };
            let pushed = self
                .session(connection, &linking, &options, &mut |_| {})
                .map_err(broken)?;
            began = true;
            if let Err(error) = pushed.result {
                if self.learn_from(&error) {
                    // The session that follows does without, and sends the data.
                    return Ok(());
                }
                return Err(Broken {
                    error,
                    touched: pushed.touched,
                    began: true,
                });
            }
        }
        Ok(())
    }

    /// Brings a batch over, of which a session may have `pushed` something already. `began`: the replica may have done
    /// something before.
    fn bring_over(
        &mut self,
        batch: &Batch,
        pushed: Option<Pushed>,
        began: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        let broken = |pushed: Pushed, error| Broken {
            error,
            began: pushed.began || began,
            touched: pushed.touched,
        };
        let mut pushed = match pushed {
            Some(pushed) => pushed,
            None => self
                .push_as_permitted(batch, &PushOptions::default(), progress)
                .map_err(|error| Broken {
                    began,
                    ..Broken::from(error)
                })?,
        };
        let mut applied = match std::mem::replace(&mut pushed.result, Err(Error::Cancelled)) {
            Ok(applied) => applied,
            Err(error) => {
                return Err(broken(pushed, error));
            }
        };
        self.take_refusals(&mut applied, batch);
        if !applied.is_clean() {
            // Something failed, and the errors are made for people. Asked to acknowledge what it holds, every stock
            // receiver names the rest by its silence.
            let options = PushOptions {
                acknowledge: true,
                ..PushOptions::default()
            };
            let mut again = self
                .push_as_permitted(batch, &options, progress)
                .map_err(|error| Broken {
                    began: true,
                    touched: std::mem::take(&mut pushed.touched),
                    ..Broken::from(error)
                })?;
            again.touched.extend(pushed.touched);
            match std::mem::replace(&mut again.result, Err(Error::Cancelled)) {
                Ok(acknowledged) => applied = joined(applied, acknowledged),
                Err(error) => return Err(broken(again, error)),
            }
        }
        self.take_refusals(&mut applied, batch);
        Ok(applied)
    }

    /// The same in parts, most of them side by side.
    fn bring_over_divided(
        &mut self,
        division: &Division,
        began: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        let Division { first, rest } = division;
        let mut all = vec![(first, self.bring_over(first, None, began, progress)?)];
        let mut broken: Option<Broken> = None;
        for (part, pushed) in rest.iter().zip(self.side_by_side(rest, progress)) {
            // One that did not come about (there may be no more slots) is tried again alone.
            let pushed = pushed
                .ok()
                .filter(|pushed| pushed.result.is_ok() || pushed.began);
            if let Some(broken) = &mut broken {
                broken
                    .touched
                    .extend(pushed.into_iter().flat_map(|pushed| pushed.touched));
                continue;
            }
            match self.bring_over(part, pushed, true, progress) {
                Ok(applied) => all.push((part, applied)),
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(broken) => Err(broken),
            None => Ok(united(all)),
        }
    }

    /// A session for each batch, all at the same time.
    fn side_by_side(
        &mut self,
        batches: &[Batch],
        progress: &mut dyn FnMut(Progress),
    ) -> Vec<Result<Pushed, Error>> {
        let mut options = self.permitted(&PushOptions::default());
        options.bandwidth = options
            .bandwidth
            .map(|all| (all / batches.len() as u64).max(1));
        let lines: Vec<Result<Line, Error>> = batches
            .iter()
            .enumerate()
            // The slots that are missing may be those of the first ones.
            .map(|(at, batch)| self.open(batch, &options, at == 0))
            .collect();
        let source = &*self.source;
        let (told, heard) = crossbeam_channel::unbounded();
        let pushed = std::thread::scope(|scope| {
            let sessions: Vec<_> = lines
                .into_iter()
                .zip(batches)
                .map(|(line, batch)| {
                    let (told, options) = (told.clone(), &options);
                    let push = move || {
                        // The listener stays until all have ended.
                        let mut tell = |progress| told.send(progress).unwrap_or_default();
                        line?.push(source, batch, options, &mut tell)
                    };
                    std::thread::Builder::new()
                        .name("session".to_owned())
                        .spawn_scoped(scope, push)
                        .map_err(Error::Socket)
                })
                .collect();
            drop(told);
            heard.iter().for_each(progress);
            let ended = |session: ScopedJoinHandle<'_, _>| {
                let ended = session.join();
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            sessions
                .into_iter()
                .map(|session| session.and_then(ended))
                .collect()
        });
        self.last_session = Some(Instant::now());
        pushed
    }

    /// Tells apart what a repetition would not change from what failed.
    fn take_refusals(&mut self, applied: &mut Applied, batch: &Batch) {
        take_refusals(applied, batch);
        for news in self.capabilities.learn_from_errors(applied) {
            self.tell(news);
        }
    }

    fn note_links(&mut self, batch: &Batch) {
        if !self.has_sent_links
            && batch
                .items
                .iter()
                .any(|item| item.meta.kind == Kind::Symlink)
        {
            self.has_sent_links = true;
            let text = "symlinks are sent as they are; a module with `use chroot = no` may store them in a form of \
                        its own (see `munge symlinks` in rsyncd.conf)";
            self.notice.get_or_insert_with(|| text.to_owned());
        }
    }
}

impl Destination for RemoteReplica {
    fn prepare(&mut self) -> Result<Abilities, Error> {
        if let Peer::Shell(there) = &mut self.peer {
            there.connect(&self.terms)?;
        }
        self.ready = self.take_connection()?;
        let removes = |ready: &Connection| ready.protocol().removes_missing_arguments();
        let compares = |ready: &Connection| ready.compares_nanoseconds();
        let without = self.capabilities.without();
        Ok(Abilities {
            removes_by_name: self.removes_by_name && self.ready.as_ref().is_none_or(removes),
            compares_nanoseconds: self.compares_nanoseconds
                && self.ready.as_ref().is_none_or(compares),
            compares_contents: !without.contains(Without::CHECKSUM),
            keeps_links: !without.contains(Without::LINKS),
            keeps_specials: !without.contains(Without::DEVICES),
        })
    }

    fn apply(
        &mut self,
        batch: &Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        self.link_renamed(batch)?;
        // Files may have been given their new names by then.
        let has_linked = !batch.renamed.is_empty();
        let mut applied = match Division::of(batch, self.sessions) {
            Some(division) => self.bring_over_divided(&division, has_linked, progress)?,
            None => self.bring_over(batch, None, has_linked, progress)?,
        };
        self.note_links(batch);
        if !self.deletes {
            // Nobody will remove them; that has been said once and is no reason to try again.
            applied.removed.extend(batch.gone.iter().cloned());
        }
        Ok(applied)
    }

    fn is_empty(&mut self) -> Result<bool, Error> {
        if !self.deletes {
            return Ok(true);
        }
        // What a deletion of everything would delete, without doing it.
        let root = self.source.root().lstat(std::path::Path::new(""))?;
        let Some(meta) = root else { return Ok(true) };
        let batch = Batch {
            items: vec![Item {
                path: PathBuf::new(),
                meta,
                target: None,
            }],
            whole: HashSet::from([PathBuf::new()]),
            ..Batch::default()
        };
        Ok(self.count_removals(&batch, 1)? == 0)
    }

    fn count_removals(&mut self, batch: &Batch, _: u64) -> Result<u64, Error> {
        let options = PushOptions {
            dry_run: true,
            ..PushOptions::default()
        };
        let pushed = self.push_as_permitted(batch, &options, &mut |_| {})?;
        pushed.result.map(|_| pushed.removals)
    }

    fn deletes(&self) -> bool {
        self.deletes
    }

    fn refuses_deletions(&self) -> Option<&str> {
        self.refuses_deletions.as_deref()
    }

    fn lacks(&self) -> Vec<String> {
        self.capabilities.lacks()
    }

    fn tell_changes(&mut self, tell: bool) {
        self.itemizes = tell;
    }

    fn rest(&mut self) {
        self.ready = None;
    }

    fn has_learned(&mut self) -> bool {
        std::mem::take(&mut self.has_learned)
    }

    fn notice(&mut self) -> Option<String> {
        if let Peer::Shell(there) = &mut self.peer
            && let Some(text) = there.notice()
        {
            self.tell(text);
        }
        self.notice.take()
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

/// What became of all parts of a batch.
fn united(parts: Vec<(&Batch, Applied)>) -> Applied {
    let has_failed = parts
        .iter()
        .any(|(_, applied)| applied.acknowledged.is_some());
    let mut united = Applied::default();
    for (batch, applied) in parts {
        if has_failed {
            // Where nothing failed, nothing had to be acknowledged.
            let stored = applied.acknowledged.unwrap_or_else(|| {
                let paths = batch.items.iter().map(|item| &item.path);
                let stored = paths.filter(|path| !applied.failed.contains(*path));
                stored.cloned().collect()
            });
            united.acknowledged.get_or_insert_default().extend(stored);
        }
        united.removed.extend(applied.removed);
        united.refused.extend(applied.refused);
        united.extra.extend(applied.extra);
        united.amended.extend(applied.amended);
        united.changed.extend(applied.changed);
        united.failed.extend(applied.failed);
        united.errors.extend(applied.errors);
        united.notes.extend(applied.notes);
        united.bytes += applied.bytes;
        united.files += applied.files;
    }
    united
}

/// A first session's result with what the second one, which repeats it, knows better.
fn joined(first: Applied, second: Applied) -> Applied {
    Applied {
        removed: first.removed.into_iter().chain(second.removed).collect(),
        refused: first.refused.into_iter().chain(second.refused).collect(),
        extra: first.extra.into_iter().chain(second.extra).collect(),
        amended: first.amended.into_iter().chain(second.amended).collect(),
        changed: first.changed.into_iter().chain(second.changed).collect(),
        failed: first.failed.into_iter().chain(second.failed).collect(),
        acknowledged: second.acknowledged,
        errors: second.errors,
        notes: second.notes,
        bytes: first.bytes + second.bytes,
        files: first.files + second.files,
    }
}
