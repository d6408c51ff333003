//! How many rounds a replica may make while changes flow.
//!
//! Each round costs a session, whatever it brings over. A change that comes alone, or with a few others, is worth one at
//! once; of a steady flow it is enough to take what has gathered, some dozens of times in a second.

use std::time::{Duration, Instant};

/// How far rounds are apart while changes flow.
const APART: Duration = Duration::from_millis(30);

/// So many rounds may come one after the other before that counts.
const AT_ONCE: u32 = 6;

/// When rounds have been made, as far as that matters.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// When the rounds made so far would have been over, had they come [`APART`].
    level: Option<Instant>,
}

impl Pacing {
    /// Notes that a round begins.
    pub(super) fn note(&mut self, now: Instant) {
        self.level = Some(self.level.map_or(now, |level| level.max(now)) + APART);
    }

    /// When the next round may begin; `None` if it may at any time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.level?.checked_sub(APART * (AT_ONCE - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_rounds_come_at_once_and_many_apart() {
        let start = Instant::now() + Duration::from_secs(1);
        let mut pacing = Pacing::default();
        let mut now = start;
        for _ in 0..100 {
            now = pacing.next().map_or(now, |next| next.max(now));
            pacing.note(now);
        }
        assert_eq!(now, start + APART * (100 - AT_ONCE));
        now += APART * AT_ONCE;
        for _ in 0..AT_ONCE {
            assert!(pacing.next().is_none_or(|next| next <= now));
            pacing.note(now);
        }
        assert_eq!(pacing.next(), Some(now + APART));
    }
}
