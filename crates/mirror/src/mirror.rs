//! A running mirror: one thread that turns hints into looks, one for each replica.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use transfer::{Cancel, Terms};
use tree::{Kind, Meta};
use watch::{Change, Reason, Touch, Watcher};

use crate::aftermath::Aftermath;
use crate::destination::{DaemonReplica, Destination, DirectoryReplica};
use crate::dirty::{DirtySet, Look, Pace};
use crate::ledger::State;
use crate::replica::{Mode, Queue, Replica};
use crate::settings::{Place, Settings};
use crate::source::Source;
use crate::{Error, Event};

/// How long a file that somebody has open for writing must be left alone before it is brought over as it is.
const QUIET: Duration = Duration::from_millis(100);

/// How often a source that is gone is looked for.
const SOURCE_CHECK: Duration = Duration::from_secs(1);

/// How often directories without a watch are looked at.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Where events go.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// A running mirror.
pub struct Mirror {
    stopper: Stopper,
    replicas: Vec<JoinHandle<Result<(), Error>>>,
    hints: Option<JoinHandle<()>>,
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
    /// Watches the source, and then compares it with what the replicas are known to hold; so nothing is missed in
    /// between.
    ///
    /// # Errors
    /// Whatever is wrong with the settings, before anything is touched.
    pub fn start(settings: Settings, report: Report) -> Result<Self, Error> {
        check_places(&settings)?;
        if settings.rules.has_dir_merges() {
            return Err(Error::DirMerge);
        }
        let state = match &settings.state {
            Some(path) => State::open(path)?,
            None => State::in_memory(),
        };
        let source = Arc::new(Source::open(
            &settings.source,
            settings.rules,
            &state.files(),
        )?);
        let cancel = Cancel::default();
        let mode = Mode {
            once: settings.once,
            is_only_one: settings.replicas.len() == 1,
            allow_empty_source: settings.allow_empty_source,
        };
        let terms = Terms {
            patience: Some(settings.timeout).filter(|timeout| !timeout.is_zero()),
            newest: settings.protocol,
            cancel: cancel.clone(),
        };
        let mut replicas = Vec::new();
        for place in &settings.replicas {
            let destination: Box<dyn Destination> = match place {
                Place::Directory(path) => {
                    let opened = DirectoryReplica::open(
                        Arc::clone(&source),
                        path,
                        settings.deletes,
                        cancel.clone(),
                    );
                    Box::new(opened.map_err(|error| Error::Directory {
                        path: path.clone(),
                        cause: error.into_cause(),
                    })?)
                }
                Place::Daemon(address) => Box::new(DaemonReplica::new(
                    Arc::clone(&source),
                    address.clone(),
                    settings.credentials.clone(),
                    terms.clone(),
                    settings.deletes,
                )),
            };
            replicas.push(Replica {
                name: place.to_string(),
                source: Arc::clone(&source),
                destination,
                ledger: state.ledger(&place.to_string())?,
                queue: Arc::new(Queue::new(DirtySet::new(settings.settle, QUIET))),
                aftermath: Aftermath::default(),
                stop: cancel.clone(),
                report: Arc::clone(&report),
                mode,
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
        let (stop_hints, stop) = bounded(1);
        let queues = replicas
            .iter()
            .map(|replica| Arc::clone(&replica.queue))
            .collect();
        let stopper = Stopper {
            cancel,
            queues,
            hints: stop_hints,
        };
        let hints = match settings.once {
            true => None,
            false => {
                let hints = Hints {
                    source: Arc::clone(&source),
                    queues: stopper.queues.clone(),
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
            stopper,
            replicas,
            hints,
        })
    }

    /// A handle that ends this mirror.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
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
        self.stopper.stop();
        if let Some(hints) = self.hints {
            hints
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        result
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
        loop {
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

/// Refuses replicas that lie in the source, or the source in them, and places named twice.
fn check_places(settings: &Settings) -> Result<(), Error> {
    let unusable = |cause| Error::Source {
        path: settings.source.clone(),
        cause,
    };
    let source = settings.source.canonicalize().map_err(unusable)?;
    let mut seen: Vec<String> = Vec::new();
    for place in &settings.replicas {
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
        if seen.contains(&name) {
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
