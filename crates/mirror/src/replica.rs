//! One replica's life: wait for looks, plan, apply, confirm, and try again for as long as it takes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use transfer::{Applied, Batch, Cancel, Progress};

use crate::destination::{Broken, Destination};
use crate::dirty::{DirtySet, Look, Pace, Taken};
use crate::ledger::{Confirmed, Held, Ledger};
use crate::planner::{self, Plan, PlanError};
use crate::source::Source;
use crate::{Error, Event};

/// A replica that has been behind for so long says so, even when nothing fails.
const NOTICEABLE_LAG: Duration = Duration::from_secs(10);

/// The pauses between tries: the first one, the longest one when the other end cannot be reached (asking costs one
/// packet), and the longest one otherwise.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_UNREACHABLE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The looks that wait for one replica, shared between those who hint and the one who looks.
#[derive(Debug)]
pub(crate) struct Queue {
    dirty: Mutex<DirtySet>,
    changed: Condvar,
}

impl Queue {
    pub(crate) fn new(dirty: DirtySet) -> Self {
        Self { dirty: Mutex::new(dirty), changed: Condvar::new() }
    }

    /// Adds looks, and wakes the replica.
    pub(crate) fn add(&self, add: impl FnOnce(&mut DirtySet)) {
        add(&mut self.lock());
        self.changed.notify_all();
    }

    /// Wakes the replica to see that it should stop.
    pub(crate) fn wake(&self) {
        // Taking the lock orders this after a wait that is just about to begin.
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, DirtySet> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is due, or (with `any`) until something waits at all; false when asked to stop.
    fn wait(&self, any: bool, until: Option<Instant>, stop: &Cancel) -> bool {
        let mut dirty = self.lock();
        loop {
            if stop.is_cancelled() {
                return false;
            }
            let now = Instant::now();
            let ready_at = if any && !dirty.is_empty() { Some(now) } else { dirty.next_due() };
            let wake_at = match (ready_at, until) {
                (Some(ready), Some(until)) => Some(ready.max(until)),
                (ready, _) => ready,
            };
            match wake_at {
                Some(at) if at <= now => return true,
                Some(at) => {
                    let waited = self.changed.wait_timeout(dirty, at - now);
                    dirty = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => dirty = self.changed.wait(dirty).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// One replica.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) source: Arc<Source>,
    pub(crate) destination: Box<dyn Destination>,
    pub(crate) ledger: Ledger,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stop: Cancel,
    pub(crate) report: Arc<dyn Fn(Event) + Send + Sync>,
    pub(crate) mode: Mode,
}

/// How a replica is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// End when everything has been brought over, or at the first error.
    pub(crate) once: bool,
    /// An error that cannot pass ends the replica, as long as it has never succeeded.
    pub(crate) is_only_one: bool,
    /// An empty source may empty the replica.
    pub(crate) allow_empty_source: bool,
}

impl Replica {
    /// Runs until a stop is asked for.
    ///
    /// # Errors
    /// What cannot pass, before the first success; any failure with [`Mode::once`].
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut state = State::default();
        self.recall()?;
        while self.wait(&state) {
            let result = self.round(&mut state);
            if self.stop.is_cancelled() {
                break;
            }
            match result {
                Ok(()) => {
                    if self.take_stock(&mut state)? {
                        return Ok(());
                    }
                }
                Err(error) => self.fall_behind(&mut state, error)?,
            }
        }
        Ok(())
    }

    /// Puts into the queue what has to be looked at after a start: everything, and by content what was under way when
    /// the last run ended.
    fn recall(&mut self) -> Result<(), Error> {
        let in_flight = self.ledger.in_flight()?;
        self.doubt(&in_flight.into_iter().collect())?;
        self.queue.add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
        Ok(())
    }

    /// Waits for something to do. The connection is made while changes settle.
    fn wait(&mut self, state: &State) -> bool {
        if !self.queue.wait(true, state.not_before, &self.stop) {
            return false;
        }
        if state.failures == 0 && self.destination.prepare().is_err() {
            // The round will meet the same error and deal with it.
            self.destination.rest();
        }
        self.queue.wait(false, state.not_before, &self.stop)
    }

    /// One plan, carried out.
    fn round(&mut self, state: &mut State) -> Result<(), Failed> {
        let taken = self.queue.lock().take_due(Instant::now());
        match self.try_round(state, &taken) {
            Ok(()) => Ok(()),
            Err(failed) => {
                self.put_back(&taken);
                Err(failed)
            }
        }
    }

    fn try_round(&mut self, state: &mut State, taken: &[Taken]) -> Result<(), Failed> {
        if !self.source.is_in_place() {
            return Err(Failed::SourceGone);
        }
        let abilities = self.destination.prepare()?;
        self.guard_against_an_empty_source(state)?;
        let mut plan = planner::plan(&self.source, &self.ledger, abilities, taken.to_vec())?;
        if !self.source.is_in_place() {
            return Err(Failed::SourceGone);
        }
        let failures = self.carry_out(&mut plan)?;
        self.put_back(&plan.postponed);
        if let Some(notice) = self.destination.notice() {
            self.say(Event::Notice { replica: Some(self.name.clone()), text: notice });
        }
        state.has_succeeded = true;
        if failures.is_empty() { Ok(()) } else { Err(Failed::Paths(failures)) }
    }

    /// Applies both batches of a plan and confirms them. Returns what failed path by path, and leaves those paths
    /// waiting.
    fn carry_out(&mut self, plan: &mut Plan) -> Result<Vec<String>, Failed> {
        let mut failures: Vec<String> = plan.unreadable.iter().map(|(_, reason)| reason.clone()).collect();
        let retry: Vec<Taken> = plan
            .unreadable
            .iter()
            .map(|(path, _)| Taken { path: path.clone(), look: Look::BELOW, since: Instant::now() })
            .collect();
        self.put_back(&retry);
        let (quick, exact) = (std::mem::take(&mut plan.quick), std::mem::take(&mut plan.exact));
        for batch in [quick, exact] {
            if batch.is_empty() {
                if !batch.exact && !plan.forgotten.is_empty() {
                    let gone = std::mem::take(&mut plan.forgotten);
                    self.ledger.confirm(&Confirmed { gone, ..Confirmed::default() })?;
                }
                continue;
            }
            let updates = || {
                let items = batch.items.iter().map(|item| &item.path);
                items.filter(|path| plan.updates.contains(*path)).map(PathBuf::as_path)
            };
            self.ledger.begin_session(updates().chain(batch.gone.iter().map(PathBuf::as_path)))?;
            let (report, name) = (Arc::clone(&self.report), self.name.clone());
            let mut progress =
                |progress: Progress| report(Event::Progress { replica: name.clone(), progress });
            match self.destination.apply(&batch, &mut progress) {
                Ok(applied) => {
                    self.confirm(plan, &batch, &applied)?;
                    self.say(Event::Session {
                        replica: self.name.clone(),
                        updates: batch.items.iter().filter(|item| plan.updates.contains(&item.path)).count(),
                        removals: applied.removed.len(),
                        bytes: applied.bytes,
                    });
                    failures.extend(applied.errors);
                }
                Err(Broken { error, touched, began }) => {
                    self.after_a_broken_session(plan, &batch, &touched, began)?;
                    return Err(error.into());
                }
            }
        }
        Ok(failures)
    }

    /// Writes what a session proved, and leaves the rest waiting.
    fn confirm(&mut self, plan: &mut Plan, batch: &Batch, applied: &Applied) -> Result<(), Failed> {
        let is_held = |path: &Path| {
            !applied.changed.contains(path)
                && !applied.failed.contains(path)
                && applied.acknowledged.as_ref().is_none_or(|stored| stored.contains(path))
        };
        let mut confirmed = Confirmed::default();
        let mut again = Vec::new();
        for item in &batch.items {
            let Some(held) = plan.held.get(&item.path) else { continue };
            if !is_held(&item.path) {
                again.push(item.path.clone());
                continue;
            }
            if held.doubtful {
                again.push(item.path.clone());
            }
            let whole = item.meta.is_dir() && (held.whole || batch.whole.contains(&item.path)) && applied.is_clean();
            confirmed.held.push((item.path.clone(), Held { whole, ..held.clone() }));
        }
        let mut unconfirmed = HashSet::new();
        for path in &batch.gone {
            if applied.removed.contains(path) {
                confirmed.gone.push(path.clone());
            } else {
                unconfirmed.insert(path.clone());
            }
        }
        if applied.is_clean() && !batch.exact {
            confirmed.gone.append(&mut plan.forgotten);
        }
        let settled = batch.items.iter().map(|item| &item.path).filter(|path| plan.updates.contains(*path));
        confirmed.landed = settled.chain(&batch.gone).cloned().collect();
        self.ledger.confirm(&confirmed)?;
        // A removal that nobody reported: whether the name is there is seen when its directory is listed whole.
        self.doubt_directories_of(&unconfirmed)?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for path in again {
                dirty.add(path, Look::AT, Pace::Settled, now);
            }
        });
        Ok(())
    }

    /// What the session may have touched is compared by content, its directories whole, for a killed worker leaves a
    /// temporary file that no ledger knows of; the rest was not changed.
    fn after_a_broken_session(
        &mut self,
        plan: &Plan,
        batch: &Batch,
        touched: &HashSet<PathBuf>,
        began: bool,
    ) -> Result<(), Failed> {
        let updates = batch.items.iter().map(|item| &item.path).filter(|path| plan.updates.contains(*path));
        let landed = updates.chain(&batch.gone).filter(|path| !touched.contains(*path)).cloned().collect();
        self.ledger.confirm(&Confirmed { landed, ..Confirmed::default() })?;
        if began {
            self.doubt(touched)?;
            self.doubt_directories_of(&batch.gone.iter().cloned().collect())?;
        }
        Ok(())
    }

    /// Queues paths of which the replica may hold any version, and their directories whole.
    fn doubt(&mut self, paths: &HashSet<PathBuf>) -> Result<(), rusqlite::Error> {
        self.doubt_directories_of(paths)?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for path in paths {
                dirty.add(path.clone(), Look::EXACT, Pace::Now, now);
            }
        });
        Ok(())
    }

    /// Queues the directories of paths, to be listed whole.
    fn doubt_directories_of(&mut self, paths: &HashSet<PathBuf>) -> Result<(), rusqlite::Error> {
        let directories: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        self.ledger.doubt_directories(directories.iter().copied())?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for directory in directories {
                dirty.add(directory.to_owned(), Look::AT, Pace::Now, now);
            }
        });
        Ok(())
    }

    fn put_back(&self, taken: &[Taken]) {
        let now = Instant::now();
        self.queue.add(|dirty| {
            for Taken { path, look, since } in taken {
                dirty.add_since(path.clone(), *look, Pace::Now, *since, now);
            }
        });
    }

    /// An empty source where there was something is more likely an unmounted one: refused at a start.
    fn guard_against_an_empty_source(&mut self, state: &mut State) -> Result<(), Failed> {
        if state.source_is_plausible || self.mode.allow_empty_source {
            return Ok(());
        }
        let is_empty = self.source.is_empty().map_err(transfer::Error::from)?;
        if is_empty && (self.ledger.holds_anything()? || !self.destination.is_empty()?) {
            return Err(Failed::EmptySource);
        }
        state.source_is_plausible = true;
        Ok(())
    }

    /// After a round without failures: says what has been reached. True if the replica's work is done.
    fn take_stock(&mut self, state: &mut State) -> Result<bool, Error> {
        let (waiting, oldest) = {
            let dirty = self.queue.lock();
            (dirty.len(), dirty.oldest())
        };
        state.failures = 0;
        state.not_before = None;
        if waiting == 0 {
            self.destination.rest();
            if !state.in_step_said {
                let is_first_copy = !self.ledger.is_complete()?;
                self.ledger.set_complete()?;
                state.in_step_said = true;
                state.behind_since = None;
                self.say(Event::InStep { replica: self.name.clone(), is_first_copy });
            }
            if let Some(since) = state.behind_since.take() {
                self.say(Event::CaughtUp { replica: self.name.clone(), after: since.elapsed() });
            }
            return Ok(self.mode.once);
        }
        let lags = oldest.is_some_and(|oldest| oldest.elapsed() > NOTICEABLE_LAG);
        if lags && state.in_step_said && state.behind_since.is_none() {
            state.behind_since = oldest;
            let reason = "changes come faster than they can be brought over".to_owned();
            self.say(Event::Behind { replica: self.name.clone(), reason, waiting });
        }
        Ok(false)
    }

    /// After a failure: ends the replica if that is in order, else says so once and sets the next try.
    fn fall_behind(&mut self, state: &mut State, failed: Failed) -> Result<(), Error> {
        self.destination.rest();
        let is_unreachable = failed.is_unreachable();
        let lasting = !failed.can_pass() && !state.has_succeeded && self.mode.is_only_one;
        if self.mode.once || lasting || matches!(failed, Failed::Ledger(_)) {
            return Err(failed.into_error(&self.name, self.source.root().path()));
        }
        let waiting = self.queue.lock().len();
        let reason = failed.to_string();
        if state.behind_since.is_none() || state.last_reason != reason {
            state.behind_since.get_or_insert_with(Instant::now);
            state.last_reason.clone_from(&reason);
            self.say(Event::Behind { replica: self.name.clone(), reason, waiting });
        }
        let longest = if is_unreachable { LONGEST_PAUSE_UNREACHABLE } else { LONGEST_PAUSE };
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(longest);
        state.failures += 1;
        state.not_before = Some(Instant::now() + pause);
        Ok(())
    }

    fn say(&self, event: Event) {
        (self.report)(event);
    }
}

/// What a replica's loop remembers from round to round.
#[derive(Debug, Default)]
struct State {
    in_step_said: bool,
    has_succeeded: bool,
    source_is_plausible: bool,
    behind_since: Option<Instant>,
    last_reason: String,
    failures: u32,
    not_before: Option<Instant>,
}

/// Why a round did not bring everything over.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the source is not where it was: it was unmounted, moved or replaced; nothing is brought over until it is back")]
    SourceGone,
    #[error("the source is empty and the replica is not")]
    EmptySource,
    #[error("{}", summary(.0))]
    Paths(Vec<String>),
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    #[error("state file: {0}")]
    Ledger(#[from] rusqlite::Error),
}

impl From<PlanError> for Failed {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Ledger(error) => Self::Ledger(error),
            PlanError::Source(error) => Self::Transfer(error.into()),
        }
    }
}

impl Failed {
    fn can_pass(&self) -> bool {
        match self {
            Self::SourceGone | Self::Paths(_) => true,
            Self::EmptySource | Self::Ledger(_) => false,
            Self::Transfer(error) => error.can_pass(),
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::SourceGone
                | Self::Transfer(
                    transfer::Error::Connect { .. } | transfer::Error::Closed { .. } | transfer::Error::Socket(_)
                )
        )
    }

    fn into_error(self, replica: &str, source: &Path) -> Error {
        let replica = replica.to_owned();
        match self {
            Self::EmptySource => Error::EmptySource { path: source.to_owned(), replica },
            Self::Ledger(error) => Error::Ledger(error),
            Self::Transfer(error) => Error::Replica { replica, error },
            Self::SourceGone | Self::Paths(_) => Error::Incomplete { replica, reason: self.to_string() },
        }
    }
}

fn summary(failures: &[String]) -> String {
    match failures {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}
