//! How fast a replica is filled: what has crossed in the last seconds.

use std::time::Instant;

use serde::Serialize;

/// How many seconds are looked back.
const SECONDS: u64 = 10;

/// What crosses in a second, over the last ten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Throughput {
    /// Bytes of file content.
    pub bytes_per_second: f64,
    /// Files brought up to date, and names removed.
    pub paths_per_second: f64,
}

/// Sums by seconds, the oldest of which are written over.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    slots: [Slot; SECONDS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Which second since `began`.
    second: u64,
    bytes: u64,
    paths: u64,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            slots: Default::default(),
        }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: u64, paths: u64) {
        let second = self.second(now);
        let slot = &mut self.slots[(second % SECONDS) as usize];
        if slot.second != second {
            *slot = Slot {
                second,
                ..Slot::default()
            };
        }
        slot.bytes = slot.bytes.saturating_add(bytes);
        slot.paths = slot.paths.saturating_add(paths);
    }

    pub(crate) fn read(&self, now: Instant) -> Throughput {
        let second = self.second(now);
        let recent = |slot: &&Slot| slot.second + SECONDS > second;
        let (bytes, paths) = self
            .slots
            .iter()
            .filter(recent)
            .fold((0.0, 0.0), |(bytes, paths), slot| {
                (bytes + slot.bytes as f64, paths + slot.paths as f64)
            });
        let span = now.saturating_duration_since(self.began).as_secs_f64();
        let span = span.clamp(1.0, SECONDS as f64);
        Throughput {
            bytes_per_second: bytes / span,
            paths_per_second: paths / span,
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_older_than_ten_seconds_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new(start);
        meter.add(at(0), 1000, 1);
        assert!((meter.read(at(0)).bytes_per_second - 1000.0).abs() < 0.1);
        meter.add(at(9), 1000, 3);
        let both = meter.read(at(9));
        assert!((both.bytes_per_second - 2000.0 / 9.0).abs() < 0.1);
        assert!((both.paths_per_second - 4.0 / 9.0).abs() < 0.1);
        assert!((meter.read(at(12)).bytes_per_second - 100.0).abs() < 0.1);
        assert_eq!(meter.read(at(60)), Throughput::default());
        // A slot is used again after ten seconds.
        meter.add(at(20), 500, 1);
        assert!((meter.read(at(20)).bytes_per_second - 50.0).abs() < 0.1);
    }
}
