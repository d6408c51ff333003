//! How long a peer that makes no progress is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the peer may neither send nor take anything of substance. The halves of a split stream share it.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    time: Arc<AtomicU64>,
    /// The half that speaks has said all, and waits for answers.
    idle: Arc<AtomicBool>,
}

impl Patience {
    pub(super) fn new(time: Option<Duration>) -> Self {
        Self {
            time: Arc::new(AtomicU64::new(time.map_or(ENDLESS, milliseconds))),
            idle: Arc::default(),
        }
    }

    pub(super) fn set_idle(&self, is_idle: bool) {
        self.idle.store(is_idle, Ordering::Relaxed);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self) -> Option<Duration> {
        let time = self.time.load(Ordering::Relaxed);
        (time != ENDLESS).then(|| Duration::from_millis(time))
    }

    pub(super) fn lower(&self, time: Duration) {
        self.time.fetch_min(milliseconds(time), Ordering::Relaxed);
    }
}

const ENDLESS: u64 = u64::MAX;

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(ENDLESS)
}
