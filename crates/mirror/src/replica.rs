//! One replica's life: wait for looks, plan, apply, confirm, and try again for as long as it takes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use transfer::{Applied, Cancel, Progress};
use tree::Identity;

use self::verification::Job;
use crate::aftermath::Aftermath;
use crate::brake::{Brake, BrakeLimits};
use crate::destination::{Broken, Destination};
use crate::dirty::{Look, Pace, Taken};
use crate::failures::FailureList;
use crate::history::CHANGES_MAX;
use crate::hooks::{Change, ChangeKind, Hooks};
use crate::ledger::{Confirmed, Held, Ledger};
use crate::planner::{self, Errand, Plan, PlanError};
use crate::queue::Queue;
use crate::schedule::{Due, Schedule};
use crate::settings::Verify;
use crate::source::Source;
use crate::status::{Board, Failure, ReplicaState, ReplicaStatus, unix_time};
use crate::{Error, Event};

mod guard;
mod verification;

/// A replica that has been behind for so long says so, even when nothing fails.
const NOTICEABLE_LAG: Duration = Duration::from_secs(10);

/// How long before a look is due the connection is made: enough for its round trips.
const PREPARE_AHEAD: Duration = Duration::from_millis(200);

/// How long a plan that removes too much is put off for the hints of single removals.
const MORE_HINTS: Duration = Duration::from_millis(30);

/// The pauses between tries: the first one, the longest one when the other end cannot be reached (asking costs one
/// packet), and the longest one otherwise.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_UNREACHABLE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The same for single paths that fail while the replica as a whole does not.
const FIRST_PATH_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PATH_PAUSE: Duration = Duration::from_secs(300);

/// One replica.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) source: Arc<Source>,
    pub(crate) destination: Box<dyn Destination>,
    pub(crate) ledger: Ledger,
    pub(crate) queue: Arc<Queue>,
    pub(crate) aftermath: Aftermath,
    pub(crate) board: Arc<Board>,
    pub(crate) stop: Cancel,
    pub(crate) report: Arc<dyn Fn(Event) + Send + Sync>,
    pub(crate) mode: Mode,
    pub(crate) rescan: Option<Schedule>,
    pub(crate) verify: Verify,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) failures: Option<Arc<FailureList>>,
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
    /// How much a batch may delete unasked.
    pub(crate) brake: BrakeLimits,
}

impl Replica {
    /// Runs until a stop is asked for.
    ///
    /// # Errors
    /// What cannot pass, before the first success; any failure with [`Mode::once`].
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let result = self.live();
        self.board.note(|status| status.state = ReplicaState::Ended);
        result
    }

    fn live(&mut self) -> Result<(), Error> {
        let mut state = State {
            rescan: Due::of(self.rescan.as_ref()),
            verify: Due::of(self.verify.schedule.as_ref()),
            is_complete: self.ledger.is_complete()?,
            ..State::default()
        };
        self.queue
            .order(|orders| orders.verify |= self.verify.at_start);
        self.recall()?;
        while self.wait(&state) {
            self.keep_schedules(&mut state);
            let has_looks = self.queue.has_due()
                || self
                    .aftermath
                    .next_due()
                    .is_some_and(|due| due <= Instant::now());
            let result = match &state.verification {
                Some(job) if !has_looks && job.due <= Instant::now() => {
                    self.verify_some(&mut state)
                }
                _ => self.round(&mut state),
            };
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
        let in_flight = self.ledger.in_flight()?.into_iter().collect();
        self.doubt(&in_flight)?;
        self.await_aftermath(&in_flight);
        self.queue
            .add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
        Ok(())
    }

    /// Waits for something to do. The connection is made while changes settle.
    fn wait(&mut self, state: &State) -> bool {
        let job = state.verification.as_ref().map(|job| job.due);
        let due = [
            self.aftermath.next_due(),
            job,
            state.rescan.alarm(),
            state.verify.alarm(),
        ];
        let alarm = due.into_iter().flatten().min();
        if !self.queue.wait(
            alarm,
            PREPARE_AHEAD,
            state.not_before,
            state.can_verify(),
            &self.stop,
        ) {
            return false;
        }
        if state.failures == 0 && self.destination.prepare().is_err() {
            // The round will meet the same error and deal with it.
            self.destination.rest();
        }
        let lead = Duration::ZERO;
        self.queue.wait(
            alarm,
            lead,
            state.not_before,
            state.can_verify(),
            &self.stop,
        )
    }

    /// One plan, carried out.
    fn round(&mut self, state: &mut State) -> Result<(), Failed> {
        if let Some(directories) = self.aftermath.take_due(Instant::now()) {
            self.doubt_directories(directories.iter().map(PathBuf::as_path), Pace::Now)?;
        }
        let (mut taken, files) = {
            let mut waiting = self.queue.lock();
            state.is_approved = waiting.orders.is_approved;
            let taken = waiting.dirty.take_due(Instant::now());
            waiting.under_way = taken.iter().map(|taken| taken.since).min();
            (taken, waiting.dirty.take_files())
        };
        for file in files {
            for (path, _) in self.ledger.names_of(file.dev, file.ino)? {
                taken.push(Taken {
                    path,
                    look: Look::AT,
                    since: Instant::now(),
                });
            }
        }
        let result = match self.try_round(state, &taken) {
            Ok(()) => Ok(()),
            // What failed waits for its own pause, and the rest is done.
            Err(failed @ Failed::Paths(_)) => Err(failed),
            Err(Failed::Premature) => {
                self.put_back(&taken, Pace::Later(MORE_HINTS));
                Ok(())
            }
            Err(failed) => {
                self.put_back(&taken, Pace::Now);
                if self.destination.has_learned() {
                    Ok(())
                } else {
                    Err(failed)
                }
            }
        };
        self.queue.lock().under_way = None;
        result
    }

    fn try_round(&mut self, state: &mut State, taken: &[Taken]) -> Result<(), Failed> {
        self.check_place(state)?;
        let is_complete_look = taken
            .iter()
            .any(|taken| taken.path.as_os_str().is_empty() && taken.look.recursive);
        // What was not seen to be removed, one by one, may as well have been unmounted.
        state.source_is_plausible &= !is_complete_look;
        let abilities = self.destination.prepare()?;
        self.guard_against_another_source(state)?;
        self.guard_against_an_empty_source(state)?;
        let mut plan = planner::plan(&self.source, &self.ledger, abilities, taken.to_vec())?;
        self.check_place(state)?;
        self.guard_against_many_deletions(state, &mut plan, is_complete_look)?;
        let failures = self.carry_out(state, &mut plan)?;
        let is_last = plan.postponed.is_empty();
        self.put_back(&plan.postponed, Pace::Now);
        if let Some(notice) = self.destination.notice() {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text: notice,
            });
        }
        state.has_succeeded = true;
        if failures.is_empty() || (self.mode.once && !is_last) {
            Ok(())
        } else {
            Err(Failed::Paths(failures))
        }
    }

    /// Applies both batches of a plan and confirms them. Returns what failed path by path, and leaves those paths
    /// waiting for a pause.
    fn carry_out(&mut self, state: &mut State, plan: &mut Plan) -> Result<Vec<String>, Failed> {
        let pause = state.path_pause();
        let mut failures = Vec::new();
        let now = Instant::now();
        state.failed_path = plan.unreadable.first().map(|(path, _)| path.clone());
        for (path, reason) in plan.unreadable.drain(..) {
            failures.push(reason);
            self.queue
                .add(|dirty| dirty.add(path, Look::BELOW, Pace::Later(pause), now));
        }
        let mut forgotten = std::mem::take(&mut plan.forgotten);
        for errand in [&plan.quick, &plan.exact] {
            if errand.batch.is_empty() {
                continue;
            }
            self.ledger.begin_session(
                errand
                    .updates()
                    .chain(errand.batch.gone.iter().map(PathBuf::as_path)),
            )?;
            let (report, name) = (Arc::clone(&self.report), self.name.clone());
            let board = Arc::clone(&self.board);
            let mut progress = |progress: Progress| {
                board.progress(progress);
                report(Event::Progress {
                    replica: name.clone(),
                    progress,
                });
            };
            match self.destination.apply(&errand.batch, &mut progress) {
                Ok(applied) => {
                    self.note_drift(state, errand, &applied)?;
                    self.tell_changes(state, errand, &applied)?;
                    self.confirm(errand, &applied, &mut forgotten, pause)?;
                    self.note_standing(errand, &applied);
                    let removals = applied.removed.len();
                    self.board.session(
                        errand.updates().count() as u64,
                        removals as u64,
                        applied.bytes,
                    );
                    self.say(Event::Session {
                        replica: self.name.clone(),
                        updates: errand.updates().count(),
                        removals,
                        bytes: applied.bytes,
                    });
                    if state.failed_path.is_none() {
                        state.failed_path = failed_path(errand, &applied);
                    }
                    failures.extend(applied.errors);
                }
                Err(Broken {
                    error,
                    touched,
                    began,
                }) => {
                    self.after_a_broken_session(errand, &touched, began)?;
                    return Err(error.into());
                }
            }
        }
        if failures.is_empty() && !forgotten.is_empty() {
            self.ledger.confirm(&Confirmed {
                gone: forgotten,
                ..Confirmed::default()
            })?;
        }
        Ok(failures)
    }

    /// Writes what a session proved, and leaves the rest waiting. `forgotten` are the rows that end with it.
    fn confirm(
        &mut self,
        errand: &Errand,
        applied: &Applied,
        forgotten: &mut Vec<PathBuf>,
        pause: Duration,
    ) -> Result<(), Failed> {
        let Errand { batch, notes } = errand;
        let is_clean = applied.is_clean();
        let mut confirmed = Confirmed::default();
        let mut again = Vec::new();
        for (item, note) in batch
            .items
            .iter()
            .zip(notes)
            .filter(|(_, note)| !note.is_elsewhere)
        {
            let is_dir = item.meta.is_dir();
            let is_stored = match &applied.acknowledged {
                // Directories are not acknowledged.
                Some(stored) => !is_dir && stored.contains(&item.path),
                None => !applied.failed.contains(&item.path),
            };
            // The replica holds something of this version, whatever came between: the row makes sure that it is
            // looked at again, and removed when there is nothing more to look at.
            let is_changed = applied.changed.contains(&item.path);
            let doubtful = note.doubtful || is_changed;
            let is_refused = || {
                let mut above = item.path.ancestors();
                above.any(|path| applied.refused.contains_key(path))
            };
            if !is_stored && !applied.refused.is_empty() && is_refused() {
                // It would be refused again. When it changes, it is looked at again.
            } else if !is_stored && (!is_dir || note.is_update) {
                again.push((item.path.clone(), Pace::Later(pause)));
            } else if doubtful {
                again.push((item.path.clone(), Pace::Settled));
            }
            if is_stored {
                let held = Held {
                    version: item.meta,
                    doubtful,
                    // Not before the last look at it, so that a restart does not forget what may still happen.
                    whole: is_dir && note.whole && is_clean && !self.aftermath.concerns(&item.path),
                };
                confirmed.held.push((item.path.clone(), held));
            }
        }
        let (removed, unreported): (HashSet<_>, HashSet<_>) = batch
            .gone
            .iter()
            .cloned()
            .partition(|path| applied.removed.contains(path));
        confirmed.gone = removed.into_iter().collect();
        if is_clean && !batch.exact {
            confirmed.gone.append(forgotten);
        }
        confirmed.landed = errand
            .settled()
            .map(Path::to_owned)
            .chain(batch.gone.iter().cloned())
            .collect();
        self.ledger.confirm(&confirmed)?;
        // A removal that nobody reported: whether the name is there is seen when its directory is listed whole.
        let pace = if is_clean {
            Pace::Now
        } else {
            Pace::Later(pause)
        };
        self.doubt_directories_of(&unreported, pace)?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for (path, pace) in again {
                dirty.add(path, Look::AT, pace, now);
            }
        });
        Ok(())
    }

    /// Keeps the list of standing differences true, and tells of new ones.
    fn note_standing(&self, errand: &Errand, applied: &Applied) {
        let mut news = Vec::new();
        self.board.note(|status| {
            status.refuses_deletions = self.destination.refuses_deletions().map(str::to_owned);
            for item in &errand.batch.items {
                if !applied.failed.contains(&item.path) && !status.standing.is_empty() {
                    status.standing.remove(&item.path.display().to_string());
                }
            }
            for path in &errand.batch.gone {
                status.standing.remove(&path.display().to_string());
            }
            for (path, reason) in &applied.refused {
                let path = path.display().to_string();
                let is_new = !status.standing.contains_key(&path);
                if is_new && status.standing.len() < ReplicaStatus::STANDING_MAX {
                    news.push(format!("{path} stays different: {reason}"));
                    status.standing.insert(path, reason.clone());
                }
            }
        });
        for text in news {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text,
            });
        }
    }

    /// Forgets the standing differences of paths that the source no longer has.
    fn prune_standing(&self) {
        self.board.note(|status| {
            status.standing.retain(|path, _| {
                // A name that had to be shown differently is kept rather than lost.
                path.contains(char::REPLACEMENT_CHARACTER)
                    || !matches!(self.source.lstat(Path::new(path)), Ok(None))
            });
        });
    }

    /// What the session may have touched is compared by content, its directories whole, for a killed worker leaves a
    /// temporary file that no ledger knows of; the rest was not changed.
    fn after_a_broken_session(
        &mut self,
        errand: &Errand,
        touched: &HashSet<PathBuf>,
        began: bool,
    ) -> Result<(), Failed> {
        let paths = errand
            .updates()
            .chain(errand.batch.gone.iter().map(PathBuf::as_path));
        let landed = paths
            .filter(|path| !touched.contains(*path))
            .map(Path::to_owned)
            .collect();
        self.ledger.confirm(&Confirmed {
            landed,
            ..Confirmed::default()
        })?;
        if began {
            self.doubt(touched)?;
            let mut uncertain: HashSet<PathBuf> = errand.batch.gone.iter().cloned().collect();
            for path in errand.updates() {
                // The replica may have it by now, and no row would tell when it is gone again.
                if self.ledger.held(path)?.is_none() {
                    uncertain.insert(path.to_owned());
                }
            }
            self.doubt_directories_of(&uncertain, Pace::Now)?;
            uncertain.extend(touched.iter().cloned());
            self.await_aftermath(&uncertain);
        }
        Ok(())
    }

    /// Has the directories of `paths` looked at later too, if the other end may go on without us.
    fn await_aftermath(&mut self, paths: &HashSet<PathBuf>) {
        if self.destination.outlives_a_session() {
            self.aftermath
                .expect(paths.iter().map(PathBuf::as_path), Instant::now());
        }
    }

    /// Queues paths of which the replica may hold any version, and their directories whole.
    fn doubt(&mut self, paths: &HashSet<PathBuf>) -> Result<(), rusqlite::Error> {
        self.doubt_directories_of(paths, Pace::Now)?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for path in paths {
                dirty.add(path.clone(), Look::EXACT, Pace::Now, now);
            }
        });
        Ok(())
    }

    /// Queues the directories of paths, to be listed whole.
    fn doubt_directories_of(
        &mut self,
        paths: &HashSet<PathBuf>,
        pace: Pace,
    ) -> Result<(), rusqlite::Error> {
        let directories: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        self.doubt_directories(directories.iter().copied(), pace)
    }

    /// Queues directories to be listed whole.
    fn doubt_directories<'a>(
        &mut self,
        directories: impl Iterator<Item = &'a Path> + Clone,
        pace: Pace,
    ) -> Result<(), rusqlite::Error> {
        self.ledger.doubt_directories(directories.clone())?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for directory in directories {
                dirty.add(directory.to_owned(), Look::AT, pace, now);
            }
        });
        Ok(())
    }

    fn put_back(&self, taken: &[Taken], pace: Pace) {
        let now = Instant::now();
        self.queue.add(|dirty| {
            for Taken { path, look, since } in taken {
                dirty.add_since(path.clone(), *look, pace, *since, now);
            }
        });
    }

    /// After a round without failures: says what has been reached. True if the replica's work is done.
    fn take_stock(&mut self, state: &mut State) -> Result<bool, Error> {
        let (waiting, oldest) = {
            let mut waiting = self.queue.lock();
            if waiting.len() == 0 {
                waiting.orders.is_approved = false;
            }
            (waiting.len(), waiting.oldest())
        };
        state.failures = 0;
        state.not_before = None;
        if waiting == 0 && !self.aftermath.is_fresh() {
            state.path_failures = 0;
            self.list_failures(Vec::new());
            self.prune_standing();
            if state.verification.is_none() {
                self.destination.rest();
            }
            if state.brake.is_some() {
                return Ok(self.mode.once);
            }
            self.board.note(|status| {
                status.state = ReplicaState::InStep;
                status.failure = None;
            });
            if !state.in_step_said {
                let is_first_copy = !self.ledger.is_complete()?;
                self.ledger.set_complete()?;
                state.is_complete = true;
                state.in_step_said = true;
                state.behind_since = None;
                self.say(Event::InStep {
                    replica: self.name.clone(),
                    is_first_copy,
                });
            }
            if let Some(since) = state.behind_since.take() {
                self.say(Event::CaughtUp {
                    replica: self.name.clone(),
                    after: since.elapsed(),
                });
            }
            self.begin_verification(state);
            if self.mode.once && state.verification.is_none() {
                // What the replica does not take is a difference all the same.
                return match self.board.read().standing.into_values().next() {
                    Some(reason) => Err(Failed::Paths(vec![reason]).into_error(&self.name)),
                    None => Ok(true),
                };
            }
            return Ok(false);
        }
        let lags = oldest.is_some_and(|oldest| oldest.elapsed() > NOTICEABLE_LAG);
        if lags && state.in_step_said && state.behind_since.is_none() {
            state.behind_since = oldest;
            let reason = "changes come faster than they can be brought over".to_owned();
            self.say(Event::Behind {
                replica: self.name.clone(),
                reason,
                waiting,
            });
        }
        Ok(false)
    }

    /// After a failure: ends the replica if that is in order, else says so once and sets the next try.
    fn fall_behind(&mut self, state: &mut State, failed: Failed) -> Result<(), Error> {
        self.destination.rest();
        let is_unreachable = failed.is_unreachable();
        let lasting = !failed.can_pass() && !state.has_succeeded && self.mode.is_only_one;
        if self.mode.once || lasting || matches!(failed, Failed::Ledger(_)) {
            return Err(failed.into_error(&self.name));
        }
        let waiting = self.queue.lock().len();
        let reason = failed.to_string();
        self.list_failures(match &failed {
            Failed::Paths(failures) => failures.clone(),
            _ => vec![reason.clone()],
        });
        let path = match &failed {
            Failed::Paths(_) => state.failed_path.take(),
            _ => None,
        };
        self.board.failed(Failure {
            reason: reason.clone(),
            path: path.map(|path| path.display().to_string()),
            at: unix_time(),
        });
        if let Failed::Braked(brake) = failed {
            if state.brake.as_ref() != Some(&brake) {
                state.brake = Some(brake.clone());
                self.board.note(|status| status.brake = Some(brake.clone()));
                self.say(Event::Braked {
                    replica: self.name.clone(),
                    brake,
                });
            }
            state.not_before = Some(Instant::now() + LONGEST_PAUSE_UNREACHABLE);
            return Ok(());
        }
        if state.behind_since.is_none() || state.last_reason != reason {
            state.behind_since.get_or_insert_with(Instant::now);
            state.last_reason.clone_from(&reason);
            self.say(Event::Behind {
                replica: self.name.clone(),
                reason,
                waiting,
            });
        }
        if let Failed::Paths(_) = failed {
            // What failed waits by itself; everything else goes on.
            state.path_failures += 1;
            return Ok(());
        }
        let longest = if is_unreachable {
            LONGEST_PAUSE_UNREACHABLE
        } else {
            LONGEST_PAUSE
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << state.failures.min(16))
            .min(longest);
        state.failures += 1;
        state.not_before = Some(Instant::now() + pause);
        Ok(())
    }

    /// Does what a schedule says is due.
    fn keep_schedules(&mut self, state: &mut State) {
        if state.rescan.has_come() {
            self.queue
                .add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
        }
        if state.verify.has_come() {
            self.queue.order(|orders| orders.verify = true);
        }
        self.begin_verification(state);
    }

    /// Keeps the list of what fails true.
    fn list_failures(&self, failures: Vec<String>) {
        if let Some(list) = &self.failures
            && let Err(error) = list.set(&self.name, failures)
        {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text: format!("the list of failures cannot be written: {error}"),
            });
        }
    }

    /// Tells history and hooks what a session is about to be confirmed of. A first copy is nobody's change.
    fn tell_changes(
        &self,
        state: &State,
        errand: &Errand,
        applied: &Applied,
    ) -> Result<(), Failed> {
        if !state.is_complete {
            return Ok(());
        }
        // The history keeps no more than that, and looking a name up takes time.
        let most = match self.hooks.is_empty() {
            true => CHANGES_MAX,
            false => usize::MAX,
        };
        let batch = &errand.batch;
        let mut changes = Vec::new();
        let items = batch.items.iter().zip(&errand.notes);
        for (item, note) in items.skip(batch.items.len().saturating_sub(most)) {
            let is_stored = match &applied.acknowledged {
                Some(stored) => item.meta.is_dir() || stored.contains(&item.path),
                None => !applied.failed.contains(&item.path),
            };
            // The time of a directory changes with what is in it, which is told by itself.
            let is_news = match item.meta.is_dir() {
                true => self.ledger.held(&item.path)?.is_none(),
                false => note.is_update && !note.is_elsewhere && state.verification.is_none(),
            };
            if is_stored && is_news {
                let is_dir = item.meta.is_dir();
                changes.push(Change::new(&item.path, ChangeKind::Updated, is_dir));
            }
        }
        let gone = batch.gone.iter();
        for path in gone
            .skip(batch.gone.len().saturating_sub(most))
            .filter(|path| applied.removed.contains(*path))
        {
            let held = self.ledger.held(path)?;
            let is_dir = held.is_some_and(|held| held.version.is_dir());
            changes.push(Change::new(path, ChangeKind::Removed, is_dir));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.board.changed(&changes);
        if !self.hooks.tell(&self.name, &changes) {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text: format!(
                    "a hook is too slow and does not hear of {} changes",
                    changes.len()
                ),
            });
        }
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
    /// The source that the ledger is known to be about.
    known_source: Option<Identity>,
    /// Whether the replica had nothing in it when it was met first.
    began_empty: Option<bool>,
    /// Why nothing is deleted.
    brake: Option<Brake>,
    /// How many removals had been seen by themselves when a plan was put off for more of them, and since when.
    witnessed: Option<(u64, Instant)>,
    /// Whether the operator has released the brake.
    is_approved: bool,
    /// Whether the replica has held the whole tree at some time.
    is_complete: bool,
    rescan: Due,
    verify: Due,
    /// The verification that is under way.
    verification: Option<Job>,
    behind_since: Option<Instant>,
    last_reason: String,
    /// The first path that failed in this round.
    failed_path: Option<PathBuf>,
    failures: u32,
    path_failures: u32,
    not_before: Option<Instant>,
}

impl State {
    /// Whether a verification could begin now.
    fn can_verify(&self) -> bool {
        self.in_step_said && self.verification.is_none() && self.brake.is_none()
    }

    /// How long a path that fails now should wait.
    fn path_pause(&self) -> Duration {
        FIRST_PATH_PAUSE
            .saturating_mul(1 << self.path_failures.min(16))
            .min(LONGEST_PATH_PAUSE)
    }
}

/// Why a round did not bring everything over.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(
        "the source is not where it was: it was unmounted, moved or replaced; nothing is brought over until it is back"
    )]
    SourceGone,
    #[error("{0}")]
    Braked(Brake),
    /// The plan is to be made again with the hints that are still on their way.
    #[error("more changes are on their way")]
    Premature,
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
            Self::SourceGone | Self::Paths(_) | Self::Braked(_) | Self::Premature => true,
            Self::Ledger(_) => false,
            Self::Transfer(error) => error.can_pass(),
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::SourceGone
                | Self::Transfer(
                    transfer::Error::Connect { .. }
                        | transfer::Error::ConnectTimeout { .. }
                        | transfer::Error::Closed { .. }
                        | transfer::Error::Socket(_)
                        | transfer::Error::Read { .. }
                )
        )
    }

    fn into_error(self, replica: &str) -> Error {
        let replica = replica.to_owned();
        match self {
            Self::Braked(brake) => Error::Braked { replica, brake },
            Self::Ledger(error) => Error::Ledger(error),
            Self::Transfer(error) => Error::Replica { replica, error },
            Self::SourceGone | Self::Paths(_) | Self::Premature => Error::Incomplete {
                replica,
                reason: self.to_string(),
            },
        }
    }
}

/// The first path that a session did not bring over and that is not refused for good.
fn failed_path(errand: &Errand, applied: &Applied) -> Option<PathBuf> {
    let is_missing = |path: &&Path| match &applied.acknowledged {
        Some(stored) => !stored.contains(*path),
        None => applied.failed.contains(*path),
    };
    let is_refused = |path: &Path| {
        let mut above = path.ancestors();
        above.any(|path| applied.refused.contains_key(path))
    };
    let mut failed = errand
        .updates()
        .filter(|path| is_missing(path) && !is_refused(path));
    failed.next().map(Path::to_owned)
}

fn summary(failures: &[String]) -> String {
    match failures {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}
