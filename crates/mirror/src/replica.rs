//! One replica's life: wait for looks, plan, apply, confirm, and try again for as long as it takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use transfer::Cancel;
use tree::Identity;

use self::failed::Failed;
use self::pacing::Pacing;
use self::verification::Job;
use crate::aftermath::{Aftermath, Reached};
use crate::brake::{Brake, BrakeLimits};
use crate::destination::Destination;
use crate::dirty::{Look, Pace, Taken};
use crate::failures::FailureList;
use crate::hooks::Hooks;
use crate::ledger::Ledger;
use crate::planner;
use crate::queue::Queue;
use crate::restless::Restless;
use crate::schedule::{Due, Schedule};
use crate::settings::Verify;
use crate::source::Source;
use crate::status::{Board, Failure, ReplicaState, unix_time};
use crate::{Error, Event};

mod failed;
mod guard;
mod pacing;
mod session;
mod verification;

/// A replica that has been behind for so long says so, even when nothing fails.
const NOTICEABLE_LAG: Duration = Duration::from_secs(10);

/// How long before a look is due the connection is made: enough for its round trips.
const PREPARE_AHEAD: Duration = Duration::from_millis(200);

/// How long a plan that removes too much is put off for the hints of single removals.
const MORE_HINTS: Duration = Duration::from_millis(30);

/// How often the history is written down while changes flow. What a crash takes of it nobody depends on.
const HISTORY_KEPT_EVERY: Duration = Duration::from_secs(60);

/// After so many paths, what they took of memory is given back when there is nothing more to do.
const WORTH_RELEASING: usize = 1000;

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
    /// Takes the files that may change without anybody's telling.
    pub(crate) restless: Sender<Restless>,
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
        self.recall_history();
        let result = self.live();
        self.keep_history();
        self.board.note(|status| status.state = ReplicaState::Ended);
        result
    }

    fn live(&mut self) -> Result<(), Error> {
        let mut state = State {
            rescan: Due::of(self.rescan.as_ref()),
            verify: Due::of(self.verify.schedule.as_ref()),
            is_complete: self.ledger.is_complete()?,
            // The start itself has taken some.
            unreleased: WORTH_RELEASING,
            ..State::default()
        };
        self.queue
            .order(|orders| orders.verify |= self.verify.at_start);
        self.recall()
            .map_err(|failed| failed.into_error(&self.name))?;
        while self.wait(&state) {
            self.keep_schedules(&mut state);
            let has_looks = self.queue.has_due()
                || self
                    .aftermath
                    .next_due()
                    .is_some_and(|due| due <= Instant::now());
            let result = match &state.verification {
                _ if state.is_forgetful => self.recall().map(|()| state.is_forgetful = false),
                Some(job) if !has_looks && job.due <= Instant::now() => {
                    self.verify_some(&mut state)
                }
                _ => self.round(&mut state),
            };
            if self.stop.is_cancelled() {
                break;
            }
            let taken_stock = result.and_then(|()| self.take_stock(&mut state));
            match taken_stock {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                Err(failed) => self.fall_behind(&mut state, failed)?,
            }
        }
        Ok(())
    }

    /// Puts into the queue what has to be looked at after a start, or after the state file did not take what it was given:
    /// everything, and by content what was under way then.
    fn recall(&mut self) -> Result<(), Failed> {
        let in_flight = self.ledger.in_flight()?;
        let in_doubt = in_flight.iter().map(|(path, _)| path.clone()).collect();
        self.doubt(&in_doubt)?;
        let reached: Reached = in_flight
            .into_iter()
            .chain(self.ledger.aftermath()?)
            .collect();
        self.look_at(&reached.looks(&self.source, &self.ledger)?)?;
        self.await_aftermath(reached, [])?;
        self.queue
            .add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
        Ok(())
    }

    fn recall_history(&self) {
        // One that cannot be read is begun anew.
        let told = self.ledger.history().ok().flatten();
        if let Some(history) = told.and_then(|told| serde_json::from_str(&told).ok()) {
            self.board.recall(history);
        }
    }

    /// Writes the history down, if there is something new in it.
    fn keep_history(&self) {
        let told = self.board.unkept_history();
        if let Some(told) = told.and_then(|history| serde_json::to_string(&history).ok()) {
            // What it could not write the next time may.
            let _ = self.ledger.keep_history(&told);
        }
    }

    /// Waits for something to do. The connection is made while changes settle.
    fn wait(&mut self, state: &State) -> bool {
        let job = state.verification.as_ref().map(|job| job.due);
        let not_before = state
            .not_before
            .into_iter()
            .chain(state.pacing.next())
            .max();
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
            not_before,
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
        self.queue
            .wait(alarm, lead, not_before, state.can_verify(), &self.stop)
    }

    /// One plan, carried out.
    fn round(&mut self, state: &mut State) -> Result<(), Failed> {
        let looks = self
            .aftermath
            .take_due(Instant::now(), &self.source, &self.ledger)?;
        if let Some(looks) = looks {
            self.look_at(&looks)?;
        }
        let (mut taken, files) = {
            let mut waiting = self.queue.lock();
            state.is_approved = waiting.orders.is_approved;
            let taken = waiting.dirty.take_due(Instant::now());
            waiting.under_way = taken.iter().map(|taken| taken.since).min();
            (taken, waiting.dirty.take_files())
        };
        state.pacing.note(Instant::now());
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
        let unmounted = self.guard_unmounted(state)?;
        let (source, looks) = (&self.source, taken.to_vec());
        let mut plan = planner::plan(source, &self.ledger, abilities, &unmounted, looks)?;
        if !plan.restless.is_empty() {
            // Nobody looks again after a mirror that runs once.
            let _ = self.restless.send(std::mem::take(&mut plan.restless));
        }
        self.check_place(state)?;
        self.check_mounts(state, &unmounted)?;
        self.guard_against_many_deletions(state, &mut plan, is_complete_look)?;
        if self.destination.has_learned() {
            return Err(Failed::Premature);
        }
        let paths = [&plan.quick, &plan.exact].map(|errand| errand.batch.items.len());
        state.unreleased += taken.len() + paths.iter().sum::<usize>();
        let failures = self.carry_out(state, &mut plan)?;
        let is_last = plan.postponed.is_empty() && plan.parted.is_empty();
        self.put_back(&plan.postponed, Pace::Now);
        let pace = match failures.is_empty() {
            true => Pace::Now,
            false => Pace::Later(state.path_pause()),
        };
        self.put_back(&plan.parted, pace);
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

    fn put_back(&self, taken: &[Taken], pace: Pace) {
        let now = Instant::now();
        self.queue.add(|dirty| {
            for Taken { path, look, since } in taken {
                dirty.add_since(path.clone(), *look, pace, *since, now);
            }
        });
    }

    /// After a round without failures: says what has been reached. True if the replica's work is done.
    fn take_stock(&mut self, state: &mut State) -> Result<bool, Failed> {
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
            return self.rest_in_step(state);
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

    /// Nothing is left to do: what is kept for work goes, and what waited for this begins. True if the replica's work is
    /// done.
    fn rest_in_step(&mut self, state: &mut State) -> Result<bool, Failed> {
        state.path_failures = 0;
        self.ledger.land_all()?;
        let is_due = |kept: Instant| kept.elapsed() >= HISTORY_KEPT_EVERY;
        if state.history_kept.is_none_or(is_due) {
            self.keep_history();
            state.history_kept = Some(Instant::now());
        }
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
        self.say_in_step(state)?;
        if state.unreleased >= WORTH_RELEASING {
            state.unreleased = 0;
            self.ledger.rest()?;
            tree::release_unused_memory();
        }
        self.begin_verification(state);
        if self.mode.once && state.verification.is_none() {
            // What the replica does not take is a difference all the same.
            return match self.board.read().standing.into_values().next() {
                Some(reason) => Err(Failed::Paths(vec![reason])),
                None => Ok(true),
            };
        }
        Ok(false)
    }

    /// Says that the replica is in step, if it was not before.
    fn say_in_step(&self, state: &mut State) -> Result<(), Failed> {
        if !state.in_step_said {
            let is_first_copy = !self.ledger.is_complete()?;
            self.ledger.set_complete()?;
            state.is_complete = true;
            state.in_step_said = true;
            state.behind_since = None;
            let (files, bytes) = self.board.crossed();
            self.say(Event::InStep {
                replica: self.name.clone(),
                is_first_copy,
                files,
                bytes,
            });
        }
        if let Some(since) = state.behind_since.take() {
            self.say(Event::CaughtUp {
                replica: self.name.clone(),
                after: since.elapsed(),
            });
        }
        Ok(())
    }

    /// After a failure: ends the replica if that is in order, else says so once and sets the next try.
    fn fall_behind(&mut self, state: &mut State, failed: Failed) -> Result<(), Error> {
        self.destination.rest();
        let is_unreachable = failed.is_unreachable();
        let lasting = !failed.can_pass() && !state.has_succeeded && self.mode.is_only_one;
        let is_ledgers = matches!(failed, Failed::Ledger(_));
        if self.mode.once || lasting || is_ledgers && !failed.can_pass() {
            return Err(failed.into_error(&self.name));
        }
        if is_ledgers {
            self.forget(state);
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

    /// What the ledger has not been told is found as after a crash.
    fn forget(&self, state: &mut State) {
        state.is_forgetful = true;
        self.queue
            .add(|dirty| dirty.add(PathBuf::new(), Look::AT, Pace::Now, Instant::now()));
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
    /// Whether the ledger lacks something that it should have been told.
    is_forgetful: bool,
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
    pacing: Pacing,
    /// When the history was written down.
    history_kept: Option<Instant>,
    /// How many paths have been planned since memory was given back.
    unreleased: usize,
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
