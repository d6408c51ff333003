//! What a mirror knows about itself, as values: whoever shows it (a socket, a page, a metric) takes them from here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use transfer::Progress;

use crate::brake::Brake;
use crate::history::History;
use crate::hooks::Change;
use crate::meter::{Meter, Throughput};

/// One tree and its replicas.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorStatus {
    /// The tree's name.
    pub name: String,
    /// The directory that is mirrored.
    pub source: String,
    /// Its replicas, in the order of the settings.
    pub replicas: Vec<ReplicaStatus>,
}

/// One replica, as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: String,
    /// What it is doing.
    pub state: ReplicaState,
    /// Paths that wait to be looked at or brought over.
    pub waiting: usize,
    /// How long the oldest of them has waited, in seconds.
    pub lag: f64,
    /// Why it does not delete, and waits for approval.
    pub brake: Option<Brake>,
    /// The same in words.
    pub brake_reason: Option<String>,
    /// What went wrong the last time something did, until the replica is in step again.
    pub failure: Option<Failure>,
    /// Paths that the replica does not take, and will not take if they are sent again, each with its reason: at most
    /// [`ReplicaStatus::STANDING_MAX`] of them. They are no failures.
    pub standing: BTreeMap<String, String>,
    /// Why the replica deletes nothing although it should.
    pub refuses_deletions: Option<String>,
    /// What the far end does not keep of any file, each with the reason.
    pub lacks: Vec<String>,
    /// How fast it is filled now.
    pub throughput: Throughput,
    /// What has crossed since the start.
    pub totals: Totals,
    /// The verification that is under way, or the last one.
    pub verification: Option<Verification>,
}

impl ReplicaStatus {
    /// How many standing differences are kept by name.
    pub const STANDING_MAX: usize = 1000;
}

/// What a replica is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaState {
    /// It has not yet held the whole tree since the start.
    Comparing,
    /// It holds everything that is known of the source.
    InStep,
    /// Changes are on their way.
    Busy,
    /// Something fails, and is tried again.
    Behind,
    /// It waits for the operator's approval.
    Braked,
    /// The operator has paused it.
    Paused,
    /// It has ended.
    Ended,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// In the words of the peer or the kernel.
    pub reason: String,
    /// The first path below the source that it is about, where it is about paths.
    pub path: Option<String>,
    /// When, in seconds since 1970.
    pub at: f64,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Sessions that ended well.
    pub sessions: u64,
    /// Paths brought up to date.
    pub updates: u64,
    /// Names removed.
    pub removals: u64,
    /// Bytes of file content that travelled or were copied.
    pub bytes: u64,
    /// Rounds that did not bring everything over.
    pub failures: u64,
}

/// A comparison of the replica itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    /// When it began, in seconds since 1970.
    pub began: f64,
    /// When it ended.
    pub ended: Option<f64>,
    /// Files compared so far.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of all files there were to compare when it began.
    pub total: u64,
    /// How many paths differed, and were mended.
    pub mended: u64,
    /// The first of them by name.
    pub drifted: Vec<String>,
}

/// What is known of one replica, shared between its thread and those who show it.
#[derive(Debug)]
pub(crate) struct Board(Mutex<Known>);

#[derive(Debug)]
struct Known {
    status: ReplicaStatus,
    history: History,
    /// Something is in the history that [`Board::unkept_history`] has not told.
    is_history_new: bool,
    meter: Meter,
    /// Files and bytes since the start, those of broken sessions too.
    crossed: (u64, u64),
}

impl Board {
    pub(crate) fn new(name: String, place: String) -> Self {
        Self(Mutex::new(Known {
            status: ReplicaStatus {
                name,
                place,
                state: ReplicaState::Comparing,
                waiting: 0,
                lag: 0.0,
                brake: None,
                brake_reason: None,
                failure: None,
                standing: BTreeMap::new(),
                refuses_deletions: None,
                lacks: Vec::new(),
                throughput: Throughput::default(),
                totals: Totals::default(),
                verification: None,
            },
            history: History::default(),
            is_history_new: false,
            meter: Meter::new(Instant::now()),
            crossed: (0, 0),
        }))
    }

    /// Changes what is shown.
    pub(crate) fn note(&self, change: impl FnOnce(&mut ReplicaStatus)) {
        change(&mut self.lock().status);
    }

    /// Notes that something crosses.
    pub(crate) fn progress(&self, progress: Progress) {
        let (bytes, paths) = match progress {
            Progress::File => (0, 1),
            Progress::Bytes(bytes) => (bytes, 0),
        };
        let mut known = self.lock();
        known.meter.add(Instant::now(), bytes, paths);
        known.crossed.0 += paths;
        known.crossed.1 += bytes;
    }

    /// How many files and bytes have crossed since the start.
    pub(crate) fn crossed(&self) -> (u64, u64) {
        self.lock().crossed
    }

    /// Notes a session that ended well.
    pub(crate) fn session(&self, updates: u64, removals: u64, bytes: u64) {
        let mut known = self.lock();
        // Files have been counted one by one.
        known.meter.add(Instant::now(), 0, removals);
        let totals = &mut known.status.totals;
        totals.sessions += 1;
        totals.updates += updates;
        totals.removals += removals;
        totals.bytes += bytes;
    }

    /// Notes what went wrong.
    pub(crate) fn failed(&self, failure: Failure) {
        let mut known = self.lock();
        known.history.failed(&failure);
        known.is_history_new = true;
        known.status.totals.failures += 1;
        known.status.state = ReplicaState::Behind;
        known.status.failure = Some(failure);
    }

    /// Notes changes that the replica has confirmed.
    pub(crate) fn changed(&self, changes: &[Change]) {
        let mut known = self.lock();
        known.history.changed(unix_time(), changes);
        known.is_history_new = true;
    }

    /// Adds `status`, which is this replica's now, to the history.
    pub(crate) fn sample(&self, status: &ReplicaStatus) {
        let mut known = self.lock();
        known.history.sample(unix_time(), status);
        known.is_history_new = true;
    }

    /// Begins with what an earlier run remembered.
    pub(crate) fn recall(&self, history: History) {
        self.lock().history = history;
    }

    /// The history, if there is something new in it since the last time.
    pub(crate) fn unkept_history(&self) -> Option<History> {
        let mut known = self.lock();
        std::mem::take(&mut known.is_history_new).then(|| known.history.clone())
    }

    /// What is shown now.
    pub(crate) fn read(&self) -> ReplicaStatus {
        let known = self.lock();
        ReplicaStatus {
            throughput: known.meter.read(Instant::now()),
            ..known.status.clone()
        }
    }

    /// What is remembered.
    pub(crate) fn history(&self) -> History {
        self.lock().history.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, in seconds since 1970.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs_f64()
}
