//! A running mirror: one thread that turns hints into looks, one for each replica.

mod handle;
mod hints;
mod writers;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};
use transfer::Cancel;

use self::handle::Observed;
pub use self::handle::{Handle, Stopper};
use self::hints::{Hints, Watching};
use crate::aftermath::Aftermath;
use crate::control::ControlSocket;
use crate::destination;
use crate::dirty::DirtySet;
use crate::exclusions::Exclusions;
use crate::failures::FailureList;
use crate::hooks::Hooks;
use crate::ledger::{Claim, State};
use crate::places;
use crate::queue::Queue;
use crate::replica::{Mode, Replica};
use crate::restless::Restless;
use crate::settings::{FilterRule, Settings};
use crate::source::Source;
use crate::status::Board;
use crate::{Error, Event};

/// How long a file that somebody has open for writing must be left alone before it is brought over as it is.
const QUIET: Duration = Duration::from_millis(100);

/// Where events go.
pub type Report = Arc<dyn Fn(Event) + Send + Sync>;

/// A running mirror.
pub struct Mirror {
    handle: Handle,
    replicas: Vec<JoinHandle<Result<(), Error>>>,
    hints: Option<JoinHandle<()>>,
    _control: Option<ControlSocket>,
}

impl Mirror {
    /// Looks for mistakes in settings without touching anything.
    ///
    /// # Errors
    /// The first one.
    pub fn check(settings: &Settings) -> Result<(), Error> {
        places::check(settings)?;
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
        places::check(settings)?;
        let exclusions = exclusions(settings)?;
        let claim = settings.state.as_deref().map(Claim::of).transpose()?;
        let mut own = claim.as_ref().map(Claim::files).unwrap_or_default();
        own.extend(settings.control.clone());
        own.extend(settings.failures.clone());
        let source = Arc::new(Source::open(&settings.source, exclusions, &own)?);
        let (state, watching) = open_and_watch(claim, &source, settings)?;
        let cancel = Cancel::default();
        let (note_restless, restless) = unbounded();
        let replicas = open_replicas(settings, &state, &source, &report, &cancel, &note_restless)?;
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
        let (ask_hints, asks) = unbounded();
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
            hints: ask_hints,
        };
        let control = match &settings.control {
            Some(path) => Some(ControlSocket::listen(path.clone(), handle.clone())?),
            None => None,
        };
        let hints = match watching {
            None => None,
            Some(watching) => {
                let hints = Hints {
                    source: Arc::clone(&source),
                    queues: handle.stopper.queues.clone(),
                    stop,
                    asks,
                    restless,
                    report,
                    max_watches: settings.max_watches,
                };
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

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(Error::Thread)
}

/// Opens the state, and meanwhile, unless the mirror runs once, watches the source: the one reads every row, the other every
/// directory.
fn open_and_watch(
    claim: Option<Claim>,
    source: &Arc<Source>,
    settings: &Settings,
) -> Result<(State, Option<Watching>), Error> {
    let open = || claim.map_or_else(|| Ok(State::in_memory()), Claim::open);
    let opening = spawn("state", open)?;
    let watching = (!settings.once).then(|| hints::watch(source, settings.max_watches));
    let state = opening
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok((state?, watching.transpose()?))
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

/// What each replica's thread is to work with. None of them runs yet.
fn open_replicas(
    settings: &Settings,
    state: &State,
    source: &Arc<Source>,
    report: &Report,
    cancel: &Cancel,
    restless: &Sender<Restless>,
) -> Result<Vec<Replica>, Error> {
    let mode = Mode {
        once: settings.once,
        is_only_one: settings.replicas.len() == 1,
        allow_empty_source: settings.allow_empty_source,
        brake: settings.brake,
    };
    let (name, place) = (&settings.name, &settings.source);
    let hooks = Hooks::start(&settings.hooks, name, place, report, cancel)?;
    let hooks = Arc::new(hooks);
    let failures = match &settings.failures {
        Some(path) => {
            let created = FailureList::create(path.clone());
            Some(created.map_err(|cause| Error::Failures {
                path: path.clone(),
                cause,
            })?)
        }
        None => None,
    };
    let mut replicas = Vec::new();
    for one in &settings.replicas {
        let place = one.place.to_string();
        replicas.push(Replica {
            name: one.name.clone(),
            source: Arc::clone(source),
            destination: destination::open(one, source, cancel)?,
            ledger: state.ledger(&place)?,
            queue: Arc::new(Queue::new(DirtySet::new(settings.settle, QUIET))),
            aftermath: Aftermath::default(),
            board: Arc::new(Board::new(one.name.clone(), place)),
            stop: cancel.clone(),
            report: Arc::clone(report),
            mode,
            rescan: settings.rescan.clone(),
            verify: settings.verify.clone(),
            hooks: Arc::clone(&hooks),
            failures: failures.clone(),
            restless: restless.clone(),
        });
    }
    Ok(replicas)
}
