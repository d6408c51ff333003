//! Comparing the replica itself, step by step, at a rate that leaves room for changes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use transfer::Applied;

use super::{Failed, Replica, State};
use crate::Event;
use crate::planner::{self, Errand, Unverified};
use crate::status::{Verification, unix_time};

/// How much one step compares, in bytes, where the rate is not limited.
const STEP: u64 = 256 << 20;

/// How many paths that differed are kept by name.
const DRIFTED_MAX: usize = 1000;

/// A verification that is under way.
#[derive(Debug)]
pub(super) struct Job {
    /// What is still to be compared, the next last.
    unverified: Vec<Unverified>,
    /// When to go on.
    pub(super) due: Instant,
    found: Verification,
}

impl Replica {
    /// Begins the verification that was ordered, if the replica is in step and none is under way.
    pub(super) fn begin_verification(&mut self, state: &mut State) {
        if !state.can_verify() || !self.queue.lock().orders.verify {
            return;
        }
        self.queue.lock().orders.verify = false;
        self.destination.forget_refusals();
        // From here on the replica may hold anything.
        state.began_empty = Some(false);
        let found = Verification {
            began: unix_time(),
            // It only tells how far the work is.
            total: self.ledger.bytes().unwrap_or_default(),
            ..Verification::default()
        };
        self.board
            .note(|status| status.verification = Some(found.clone()));
        state.verification = Some(Job {
            unverified: vec![Unverified::Dir(PathBuf::new())],
            due: Instant::now(),
            found,
        });
    }

    /// Compares one step and mends what differs.
    pub(super) fn verify_some(&mut self, state: &mut State) -> Result<(), Failed> {
        let began = Instant::now();
        let Some(job) = &state.verification else {
            return Ok(());
        };
        let before = job.unverified.clone();
        self.destination.tell_changes(true);
        let result = self.try_verify_some(state);
        self.destination.tell_changes(false);
        let Some(job) = &mut state.verification else {
            return result.map(drop);
        };
        match &result {
            Ok(bytes) => {
                let rate = self.verify.rate.unwrap_or(u64::MAX);
                job.due = began + time_for(*bytes, rate);
            }
            // What failed waits in the queue by itself.
            Err(Failed::Paths(_)) => {}
            Err(_) => job.unverified = before,
        }
        let is_over = job.unverified.is_empty();
        if is_over {
            job.found.ended = Some(unix_time());
        }
        let found = job.found.clone();
        self.board
            .note(|status| status.verification = Some(found.clone()));
        let replica = self.name.clone();
        if is_over {
            state.verification = None;
            self.say(Event::Verified { replica, found });
        } else {
            self.say(Event::Verifying { replica, found });
        }
        result.map(drop)
    }

    /// Returns how many bytes were compared.
    fn try_verify_some(&mut self, state: &mut State) -> Result<u64, Failed> {
        self.check_place(state)?;
        let abilities = self.destination.prepare()?;
        self.guard_against_another_source(state)?;
        self.guard_against_an_empty_source(state)?;
        let unmounted = self.guard_unmounted(state)?;
        let Some(job) = &mut state.verification else {
            return Ok(0);
        };
        let step = self.verify.rate.unwrap_or(STEP).min(STEP);
        let (mut plan, compared) = planner::verification(
            &self.source,
            &self.ledger,
            abilities,
            &unmounted,
            &mut job.unverified,
            self.verify.by_content,
            step,
        )?;
        job.found.files += compared.files;
        job.found.bytes = job.found.bytes.saturating_add(compared.bytes);
        self.check_place(state)?;
        self.check_mounts(state, &unmounted)?;
        self.guard_against_many_deletions(state, &mut plan, false)?;
        let failures = self.carry_out(state, &mut plan)?;
        match failures.is_empty() {
            true => Ok(compared.bytes),
            false => Err(Failed::Paths(failures)),
        }
    }

    /// Notes what the replica did not hold although it had confirmed it.
    pub(super) fn note_drift(
        &mut self,
        state: &mut State,
        errand: &Errand,
        applied: &Applied,
    ) -> Result<(), Failed> {
        let Some(job) = &mut state.verification else {
            return Ok(());
        };
        let mut drifted: Vec<PathBuf> = applied.extra.clone();
        for path in &applied.amended {
            let Some(item) = errand.batch.item(path).filter(|item| !item.meta.is_dir()) else {
                continue;
            };
            let held = self.ledger.held(path)?;
            if held.is_some_and(|held| held.is_surely(&item.meta)) {
                drifted.push(path.clone());
            }
        }
        drifted.sort();
        for path in drifted {
            let name = path.display().to_string();
            if job.found.drifted.contains(&name) {
                continue;
            }
            job.found.mended += 1;
            if job.found.drifted.len() < DRIFTED_MAX {
                job.found.drifted.push(name);
            }
        }
        Ok(())
    }
}

/// How long so many bytes are to take at a rate in bytes a second, within reason: a sparse file may claim to hold any number.
fn time_for(bytes: u64, rate: u64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let time = Duration::try_from_secs_f64(bytes as f64 / rate as f64);
    time.unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_a_time_whatever_files_claim_to_hold() {
        assert_eq!(time_for(3_000, 1_000), Duration::from_secs(3));
        assert_eq!(time_for(0, u64::MAX), Duration::ZERO);
        let longest = time_for(u64::MAX, 1);
        assert!(Instant::now().checked_add(longest).is_some());
    }
}
