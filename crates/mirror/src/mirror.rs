//! A running mirror: one thread that turns hints into looks, one for each replica.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use transfer::Cancel;
use tree::{Kind, Meta};
use watch::{Change, Reason, Touch, Watcher};

use crate::aftermath::Aftermath;
use crate::control::ControlSocket;
use crate::destination;
use crate::dirty::{DirtySet, Look, Pace};
use crate::exclusions::Exclusions;
use crate::failures::FailureList;
use crate::history::History;
use crate::hooks::Hooks;
use crate::ledger::State;
use crate::queue::{Orders, Queue};
use crate::replica::{Mode, Replica};
use crate::settings::{FilterRule, Place, ReplicaSettings, Settings};
use crate::source::Source;
use crate::status::{Board, MirrorStatus, ReplicaState, ReplicaStatus};
use crate::{Error, Event};

/// How long a file that somebody has open for writing must be left alone before it is brought over as it is.
const QUIET: Duration = Duration::from_millis(100);

/// How often a source that is gone is looked for.
const SOURCE_CHECK: Duration = Duration::from_secs(1);

/// How often directories without a watch are looked at.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// How long the kernel's events may take to become hints.
const HINT_LATENCY: Duration = Duration::from_millis(50);

/// How long a flush may last at most, whatever was asked for.
const FLUSH_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where events go.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// A running mirror.
pub struct Mirror {
    handle: Handle,
    replicas: Vec<JoinHandle<Result<(), Error>>>,
    hints: Option<JoinHandle<()>>,
    _control: Option<ControlSocket>,
}

/// A mirror as others see it: how it is, what it may be told, and the end. Clones are the same mirror.
#[derive(Clone)]
pub struct Handle {
    name: String,
    source: Arc<Source>,
    replicas: Vec<Observed>,
    stopper: Stopper,
}

/// A replica as others see it.
#[derive(Clone)]
struct Observed {
    queue: Arc<Queue>,
    board: Arc<Board>,
}

/// Ends a mirror from another thread.
#[derive(Clone)]
pub struct Stopper {
    cancel: Cancel,
    queues: Vec<Arc<Queue>>,
    /// Wakes the thread that takes hints.
    hints: Sender<()>,
}

impl Stopper {
    /// Asks for the end. What is under way is broken off without leaving anything half-written.
    pub fn stop(&self) {
        self.cancel.cancel();
        for queue in &self.queues {
            queue.wake();
        }
        // A full channel has been told already.
        let _ = self.hints.try_send(());
    }
}

impl Mirror {
    /// Looks for mistakes in settings without touching anything.
    ///
    /// # Errors
    /// The first one.
    pub fn check(settings: &Settings) -> Result<(), Error> {
        check_places(settings)?;
        let source = Source::open(&settings.source, exclusions(settings)?, &[]);
        source.map(drop)?;
        Hooks::check(&settings.hooks)
    }

    /// Watches the source, and then compares it with what the replicas are known to hold; so nothing is missed in
    /// between.
    ///
    /// # Errors
    /// Whatever is wrong with the settings, before anything is touched.
    pub fn start(settings: &Settings, report: Report) -> Result<Self, Error> {
        check_places(settings)?;
        let exclusions = exclusions(settings)?;
        let state = match &settings.state {
            Some(path) => State::open(path)?,
            None => State::in_memory(),
        };
        let mut own = state.files();
        own.extend(settings.control.clone());
        own.extend(settings.failures.clone());
        let source = Arc::new(Source::open(&settings.source, exclusions, &own)?);
        let cancel = Cancel::default();
        let mode = Mode {
            once: settings.once,
            is_only_one: settings.replicas.len() == 1,
            allow_empty_source: settings.allow_empty_source,
            brake: settings.brake,
        };
        let hooks = Hooks::start(&settings.hooks, &settings.name, &settings.source, &report)?;
        let hooks = Arc::new(hooks);
        let failures = match &settings.failures {
            Some(path) => {
                let created = FailureList::create(path.clone());
                Some(Arc::new(created.map_err(|cause| Error::Failures {
                    path: path.clone(),
                    cause,
                })?))
            }
            None => None,
        };
        let mut replicas = Vec::new();
        for one in &settings.replicas {
            let place = one.place.to_string();
            replicas.push(Replica {
                name: one.name.clone(),
                source: Arc::clone(&source),
                destination: destination::open(one, &source, &cancel)?,
                ledger: state.ledger(&place)?,
                queue: Arc::new(Queue::new(DirtySet::new(settings.settle, QUIET))),
                aftermath: Aftermath::default(),
                board: Arc::new(Board::new(one.name.clone(), place)),
                stop: cancel.clone(),
                report: Arc::clone(&report),
                mode,
                rescan: settings.rescan.clone(),
                verify: settings.verify.clone(),
                hooks: Arc::clone(&hooks),
                failures: failures.clone(),
            });
        }
        if let Some(aside) = &state.moved_aside {
            let text = format!(
                "the state file was not usable and was moved to {}; everything is compared anew",
                aside.display()
            );
            report(Event::Notice {
                replica: None,
                text,
            });
        }
        let observed: Vec<Observed> = replicas
            .iter()
            .map(|replica| Observed {
                queue: Arc::clone(&replica.queue),
                board: Arc::clone(&replica.board),
            })
            .collect();
        let (stop_hints, stop) = bounded(1);
        let handle = Handle {
            name: settings.name.clone(),
            source: Arc::clone(&source),
            stopper: Stopper {
                cancel,
                queues: observed
                    .iter()
                    .map(|replica| Arc::clone(&replica.queue))
                    .collect(),
                hints: stop_hints,
            },
            replicas: observed,
        };
        let control = match &settings.control {
            Some(path) => Some(ControlSocket::listen(path.clone(), handle.clone())?),
            None => None,
        };
        let hints = match settings.once {
            true => None,
            false => {
                let hints = Hints {
                    source: Arc::clone(&source),
                    queues: handle.stopper.queues.clone(),
                    stop,
                    report,
                    max_watches: settings.max_watches,
                };
                let watching = hints.watch()?;
                Some(spawn("hints", move || hints.run(watching))?)
            }
        };
        let replicas = replicas
            .into_iter()
            .map(|replica| spawn("replica", move || replica.run()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            handle,
            replicas,
            hints,
            _control: control,
        })
    }

    /// What others may know of this mirror, and tell it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Whether every replica has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.replicas.iter().all(JoinHandle::is_finished)
    }

    /// Waits until every replica has ended.
    ///
    /// # Errors
    /// The first replica's that ended for another reason than that it was asked to.
    pub fn join(self) -> Result<(), Error> {
        let mut result = Ok(());
        for replica in self.replicas {
            let ended = replica
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result = result.and(ended);
        }
        self.handle.stopper.stop();
        if let Some(hints) = self.hints {
            hints
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        result
    }
}

impl Handle {
    /// Something that ends the mirror.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// How everything is.
    #[must_use]
    pub fn status(&self) -> MirrorStatus {
        MirrorStatus {
            name: self.name.clone(),
            source: self.source.root().path().display().to_string(),
            replicas: self.replicas.iter().map(Observed::status).collect(),
        }
    }

    /// What has happened lately: to each replica, in the order of the settings.
    #[must_use]
    pub fn history(&self) -> Vec<(String, History)> {
        let of = |replica: &Observed| (replica.board.read().name, replica.board.history());
        self.replicas.iter().map(of).collect()
    }

    /// Adds how everything is now to the history.
    pub fn sample(&self) {
        for replica in &self.replicas {
            replica.board.sample(&replica.status());
        }
    }

    /// Releases the brake of a replica, or of all if the tree is named: whatever its reason is, what it holds back is
    /// done, and a source that was replaced is accepted.
    ///
    /// # Errors
    /// There is no such replica, or no source.
    pub fn approve(&self, name: &str) -> Result<(), String> {
        let named = self.named(Some(name))?;
        if self.source.is_replaced() {
            self.source.reopen().map_err(|error| error.to_string())?;
        }
        for replica in named {
            replica.queue.order(|orders| orders.is_approved = true);
            replica.look_at_everything();
        }
        Ok(())
    }

    /// Brings nothing over until [`Handle::resume`]; what is under way is completed.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn pause(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.is_paused = true)
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn resume(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.is_paused = false)
    }

    /// Compares the whole tree with what replicas are known to hold.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn rescan(&self, name: Option<&str>) -> Result<(), String> {
        for replica in self.named(name)? {
            replica.look_at_everything();
        }
        Ok(())
    }

    /// Compares replicas themselves, as soon as they are in step, and mends them.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn verify(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.verify = true)
    }

    /// Waits until everything seen so far has been brought over.
    ///
    /// # Errors
    /// There is no such replica; one of them waits for approval or has been paused; or the time is over.
    pub fn flush(&self, name: Option<&str>, timeout: Duration) -> Result<(), String> {
        let named = self.named(name)?;
        let deadline = Instant::now() + timeout.min(FLUSH_LONGEST);
        // What the kernel has told the watcher by now is a hint by then.
        std::thread::sleep(HINT_LATENCY);
        let now = Instant::now();
        for replica in named {
            let gives_up = || {
                let is_paused = replica.queue.lock().orders.is_paused;
                is_paused
                    || replica.board.read().brake.is_some()
                    || self.stopper.cancel.is_cancelled()
            };
            if !replica.queue.wait_until_held(now, deadline, gives_up)
                || replica.board.read().brake.is_some()
            {
                let status = replica.status();
                return Err(match (status.brake, status.failure) {
                    (Some(brake), _) => format!("{}: {brake}", status.name),
                    _ if status.state == ReplicaState::Paused => format!("{}: paused", status.name),
                    (None, Some(failure)) => format!("{}: {}", status.name, failure.reason),
                    (None, None) => format!("{}: {} paths still wait", status.name, status.waiting),
                });
            }
        }
        Ok(())
    }

    fn order(&self, name: Option<&str>, order: impl Fn(&mut Orders)) -> Result<(), String> {
        for replica in self.named(name)? {
            replica.queue.order(&order);
        }
        Ok(())
    }

    /// The replicas of this name; all of them under the tree's name or none.
    fn named(&self, name: Option<&str>) -> Result<Vec<&Observed>, String> {
        let Some(name) = name.filter(|name| *name != self.name) else {
            return Ok(self.replicas.iter().collect());
        };
        let is_it = |replica: &&Observed| {
            let status = replica.board.read();
            status.name == name || status.place == name
        };
        let named: Vec<&Observed> = self.replicas.iter().filter(is_it).collect();
        if named.is_empty() {
            let known: Vec<String> = self
                .replicas
                .iter()
                .map(|replica| replica.board.read().name)
                .collect();
            return Err(format!(
                "there is no replica {name} here; there is {}",
                known.join(", ")
            ));
        }
        Ok(named)
    }
}

impl Observed {
    fn status(&self) -> ReplicaStatus {
        let mut status = self.board.read();
        let waiting = self.queue.lock();
        status.waiting = waiting.len();
        status.brake_reason = status.brake.as_ref().map(ToString::to_string);
        status.lag = waiting
            .oldest()
            .map_or(0.0, |oldest| oldest.elapsed().as_secs_f64());
        status.state = match status.state {
            ReplicaState::Ended => ReplicaState::Ended,
            _ if status.brake.is_some() => ReplicaState::Braked,
            _ if waiting.orders.is_paused => ReplicaState::Paused,
            ReplicaState::InStep if status.waiting > 0 || waiting.under_way.is_some() => {
                ReplicaState::Busy
            }
            state => state,
        };
        status
    }

    fn look_at_everything(&self) {
        self.queue
            .add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(Error::Thread)
}

/// The thread that turns the watcher's changes into looks.
struct Hints {
    source: Arc<Source>,
    queues: Vec<Arc<Queue>>,
    stop: Receiver<()>,
    report: Report,
    max_watches: Option<u64>,
}

type Watching = (Watcher, Receiver<Vec<Change>>);

impl Hints {
    fn watch(&self) -> Result<Watching, watch::Error> {
        let source = Arc::clone(&self.source);
        let settings = watch::Settings {
            poll_every: POLL_EVERY,
            prune: Some(Arc::new(move |path: &Path, is_dir| {
                source.leaves_out(path, is_dir)
            })),
            max_watches: self.max_watches,
            ..watch::Settings::default()
        };
        Watcher::start(self.source.root().path(), settings)
    }

    fn run(self, watching: Watching) {
        let mut watching = Some(watching);
        let mut is_in_place = true;
        let mut watched = self.source.identity();
        loop {
            if watched != self.source.identity() {
                // Another directory has been accepted as the source.
                watched = self.source.identity();
                watching = None;
            }
            match &watching {
                Some((_, changes)) => select! {
                    recv(self.stop) -> _ => return,
                    recv(changes) -> changes => match changes {
                        Ok(changes) => self.take(changes),
                        Err(_) => watching = None,
                    },
                    // Another file system mounted over the source, or a lazy unmount, is no event of any directory.
                    default(SOURCE_CHECK) => {
                        let was_in_place = std::mem::replace(&mut is_in_place, self.source.is_in_place());
                        if was_in_place != is_in_place {
                            self.add([(PathBuf::new(), Look::BELOW, Pace::Now)]);
                        }
                    }
                },
                None => {
                    if self.stop.recv_timeout(SOURCE_CHECK) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                    if self.source.is_in_place() {
                        watching = self.watch().ok();
                        self.add([(PathBuf::new(), Look::BELOW, Pace::Now)]);
                    }
                }
            }
        }
    }

    fn take(&self, changes: Vec<Change>) {
        let mut looks = Vec::with_capacity(changes.len());
        let mut files = Vec::new();
        for change in changes {
            match change {
                Change::Touched { path, touch } => {
                    let meta = match touch {
                        Touch::Removed { .. } => None,
                        _ => self.source.lstat(&path).ok().flatten(),
                    };
                    // By the time of the look this name may be another file's.
                    files.extend(meta.and_then(|meta| meta.link_group()));
                    let (look, pace) = look_for(touch, meta);
                    looks.push((path, look, pace));
                }
                Change::Moved { from, to, is_dir } => {
                    looks.push((from, Look::AT, Pace::Settled));
                    looks.push((
                        to,
                        if is_dir { Look::BELOW } else { Look::AT },
                        Pace::Settled,
                    ));
                }
                Change::Rescan { subtree, reason } => {
                    if reason == Reason::Overflow {
                        self.notice(
                            "the kernel's event queue overflowed: the tree is compared anew"
                                .to_owned(),
                        );
                    }
                    looks.push((subtree, Look::BELOW, Pace::Settled));
                }
                Change::Notice(notice) => self.notice(notice.to_string()),
            }
        }
        self.add(looks);
        for queue in self.queues.iter().filter(|_| !files.is_empty()) {
            queue.add(|dirty| files.iter().for_each(|file| dirty.add_file(*file)));
        }
    }

    fn add(&self, looks: impl IntoIterator<Item = (PathBuf, Look, Pace)>) {
        let looks: Vec<_> = looks.into_iter().collect();
        let now = Instant::now();
        for queue in &self.queues {
            queue.add(|dirty| {
                for (path, look, pace) in &looks {
                    dirty.add(path.clone(), *look, *pace, now);
                }
            });
        }
    }

    fn notice(&self, text: String) {
        (self.report)(Event::Notice {
            replica: None,
            text,
        });
    }
}

/// How, and how soon, to look at a path that was touched and now is what `meta` says.
fn look_for(touch: Touch, meta: Option<Meta>) -> (Look, Pace) {
    // The creation of a name may be the beginning of writing a file, whose end will be seen too. A link or a special
    // file is complete at once.
    let will_be_closed = || meta.is_some_and(|meta| meta.kind == Kind::File && meta.nlink == 1);
    match touch {
        Touch::Created { is_dir: true } => (Look::BELOW, Pace::Settled),
        Touch::Created { is_dir: false } if will_be_closed() => (Look::AT, Pace::Writing),
        Touch::Written => (Look::AT, Pace::Writing),
        Touch::Created { .. } | Touch::Closed | Touch::Attributes | Touch::Removed { .. } => {
            (Look::AT, Pace::Settled)
        }
    }
}

/// What is left out: what the settings say, and the replicas' trash.
fn exclusions(settings: &Settings) -> Result<Exclusions, Error> {
    let trash = settings
        .replicas
        .iter()
        .filter_map(|replica| replica.trash.as_ref());
    let trash = trash.map(|trash| FilterRule::Exclude(format!("/{trash}").into_bytes()));
    let rules: Vec<FilterRule> = trash.chain(settings.rules.iter().cloned()).collect();
    Exclusions::of(&rules)
}

/// Refuses replicas that lie in the source, or the source in them, and places named twice.
fn check_places(settings: &Settings) -> Result<(), Error> {
    let unusable = |cause| Error::Source {
        path: settings.source.clone(),
        cause,
    };
    let source = settings.source.canonicalize().map_err(unusable)?;
    let mut seen: Vec<String> = Vec::new();
    for ReplicaSettings { place, .. } in &settings.replicas {
        let mut name = place.to_string();
        if let Place::Directory(path) = place {
            let replica = canonical_as_far_as_it_exists(path);
            if replica.starts_with(&source) || source.starts_with(&replica) {
                return Err(Error::Overlap {
                    path: settings.source.clone(),
                    replica: path.clone(),
                });
            }
            name = replica.display().to_string();
        }
        let is_nowhere = matches!(place, Place::Nowhere);
        if seen.contains(&name) && !is_nowhere {
            return Err(Error::Twice(place.to_string()));
        }
        seen.push(name);
    }
    Ok(())
}

/// The real path of something whose last components may not exist yet.
fn canonical_as_far_as_it_exists(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    match existing {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path,
    }
}
