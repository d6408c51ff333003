//! The end of hooks when their mirror is told to stop: what they do then may take a moment longer, and no more.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use transfer::Cancel;

/// That moment. A service manager waits longer.
const MOMENT: Duration = Duration::from_secs(5);

/// How long after it hooks may take to end what they have started.
const ENDING: Duration = Duration::from_secs(2);

/// Whether there is time left.
#[derive(Debug)]
pub(super) struct Stopping {
    asked: Cancel,
    seen: OnceLock<Instant>,
}

impl Stopping {
    /// Watches for a stop that is `asked` for.
    pub(super) fn new(asked: Cancel) -> Self {
        Self {
            asked,
            seen: OnceLock::new(),
        }
    }

    /// Whether the moment is over. It begins when somebody sees the stop here for the first time.
    pub(super) fn is_over(&self) -> bool {
        self.has_lasted(MOMENT)
    }

    /// Whether a hook that has not ended by now waits for something that cannot be ended.
    pub(super) fn is_in_vain(&self) -> bool {
        self.has_lasted(MOMENT + ENDING)
    }

    fn has_lasted(&self, time: Duration) -> bool {
        self.asked.is_cancelled() && self.seen.get_or_init(Instant::now).elapsed() >= time
    }
}
