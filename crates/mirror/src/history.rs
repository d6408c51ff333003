//! What has happened to a replica lately: a bounded memory for those who look at it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::hooks::Change;
use crate::status::{Failure, ReplicaStatus};

/// How many changes and failures are kept.
pub(crate) const CHANGES_MAX: usize = 5000;
const FAILURES_MAX: usize = 200;

/// How many samples of a kind are kept, and how many fine ones make a coarse one.
const SAMPLES_MAX: usize = 720;
const FINE_IN_COARSE: u32 = 24;

/// What is remembered of a replica, the oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Paths brought up to date or removed, but not those of a first copy.
    pub changes: VecDeque<Told>,
    /// What failed. The same again is counted, not repeated.
    pub failures: VecDeque<Repeated>,
    /// How it was, at each `History::sample`.
    pub fine: VecDeque<Sample>,
    /// The same, 24 samples at a time.
    pub coarse: VecDeque<Sample>,
    /// What has not become a coarse sample yet, and how many fine ones it is.
    #[serde(skip)]
    gathering: Option<(Sample, u32)>,
    /// The totals at the last sample.
    #[serde(skip)]
    before: (u64, u64),
}

/// A change, and when the replica confirmed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// In seconds since 1970.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// A failure, and how often it came one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repeated {
    /// The last time.
    #[serde(flatten)]
    pub failure: Failure,
    /// When it came first, in seconds since 1970.
    pub since: f64,
    /// How often.
    pub times: u64,
}

/// How a replica was over a short time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The end of that time, in seconds since 1970.
    pub at: f64,
    /// The longest that a path had waited, in seconds.
    pub lag: f64,
    /// The most paths that waited.
    pub waiting: usize,
    /// Bytes of file content that crossed.
    pub bytes: u64,
    /// Files brought up to date, and names removed.
    pub paths: u64,
}

impl History {
    /// Remembers changes that were confirmed at `at`.
    pub(crate) fn changed(&mut self, at: f64, changes: &[Change]) {
        let newest = &changes[changes.len().saturating_sub(CHANGES_MAX)..];
        for change in newest {
            let change = change.shown();
            push(&mut self.changes, Told { at, change }, CHANGES_MAX);
        }
    }

    /// Remembers a failure.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(last) = self.failures.back_mut()
            && last.failure.reason == failure.reason
            && last.failure.path == failure.path
        {
            last.failure.at = failure.at;
            last.times += 1;
            return;
        }
        let repeated = Repeated {
            failure: failure.clone(),
            since: failure.at,
            times: 1,
        };
        push(&mut self.failures, repeated, FAILURES_MAX);
    }

    /// Remembers how the replica is.
    pub(crate) fn sample(&mut self, at: f64, status: &ReplicaStatus) {
        let totals = &status.totals;
        let now = (totals.bytes, totals.updates + totals.removals);
        let sample = Sample {
            at,
            lag: status.lag,
            waiting: status.waiting,
            bytes: now.0.saturating_sub(self.before.0),
            paths: now.1.saturating_sub(self.before.1),
        };
        self.before = now;
        push(&mut self.fine, sample, SAMPLES_MAX);
        let (gathered, count) = match self.gathering.take() {
            Some((gathered, count)) => (gathered.and(&sample), count + 1),
            None => (sample, 1),
        };
        match count < FINE_IN_COARSE {
            true => self.gathering = Some((gathered, count)),
            false => push(&mut self.coarse, gathered, SAMPLES_MAX),
        }
    }
}

impl Sample {
    fn and(self, later: &Self) -> Self {
        Self {
            at: later.at,
            lag: self.lag.max(later.lag),
            waiting: self.waiting.max(later.waiting),
            bytes: self.bytes + later.bytes,
            paths: self.paths + later.paths,
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(value);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hooks::ChangeKind;
    use crate::status::Board;

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let mut history = History::default();
        let status = Board::new("r".to_owned(), "/r".to_owned()).read();
        for number in 0..2 * CHANGES_MAX {
            let name = format!("f{number}");
            let change = Change::new(Path::new(&name), ChangeKind::Updated, false);
            history.changed(number as f64, &[change]);
            history.failed(&Failure {
                reason: name,
                path: None,
                at: number as f64,
            });
            history.sample(number as f64, &status);
        }
        assert_eq!(history.changes.len(), CHANGES_MAX);
        assert_eq!(history.changes[0].change.path, format!("f{CHANGES_MAX}"));
        assert_eq!(history.failures.len(), FAILURES_MAX);
        assert_eq!(history.fine.len(), SAMPLES_MAX);
        assert_eq!(history.coarse.len(), 2 * CHANGES_MAX / 24);
    }

    #[test]
    fn the_same_failure_again_is_counted() {
        let mut history = History::default();
        for (at, reason) in [(1.0, "a"), (2.0, "a"), (3.0, "b")] {
            history.failed(&Failure {
                reason: reason.to_owned(),
                path: Some("p".to_owned()),
                at,
            });
        }
        let found = history.failures.iter();
        let found: Vec<_> = found
            .map(|one| (one.since, one.failure.at, one.times))
            .collect();
        assert_eq!(found, [(1.0, 2.0, 2), (3.0, 3.0, 1)]);
    }

    #[test]
    fn a_coarse_sample_has_the_worst_and_the_sum_of_its_time() {
        let mut history = History::default();
        let mut status = Board::new("r".to_owned(), "/r".to_owned()).read();
        for number in 1..=u64::from(FINE_IN_COARSE) {
            status.totals.bytes = number * 10;
            status.lag = if number == 5 { 3.0 } else { 0.5 };
            history.sample(number as f64, &status);
        }
        let expected = Sample {
            at: 24.0,
            lag: 3.0,
            waiting: 0,
            bytes: 240,
            paths: 0,
        };
        assert_eq!(history.coarse, [expected]);
    }
}
