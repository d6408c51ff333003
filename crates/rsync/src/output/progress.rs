//! The progress line: of each file, or of the whole transfer (behaviour.md 3.8).

use std::time::{Duration, Instant};

use transfer::{FileProgress, Stats};

use super::number::Human;

/// Between two lines of the same file.
const REFRESH: Duration = Duration::from_secs(1);
/// The rate is that of the last so many seconds.
const WINDOW: usize = 5;

/// What the progress lines remember.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    human: Human,
    /// One line for everything (`--info=progress2`).
    is_total: bool,
    /// When, and how many bytes by then; the first is the start.
    samples: Vec<(Instant, u64)>,
    start: Option<(Instant, u64)>,
    last_length: usize,
    /// Bytes of all files that are complete.
    total_done: u64,
}

impl ProgressLine {
    pub(crate) fn new(human: Human, is_total: bool) -> Self {
        Self {
            human,
            is_total,
            samples: Vec::new(),
            start: None,
            last_length: 0,
            total_done: 0,
        }
    }

    /// What is to be written, without a line end of its own unless a file's line is complete; `None` if it is too
    /// early for another line.
    pub(crate) fn update(&mut self, progress: &FileProgress<'_>, now: Instant) -> Option<Vec<u8>> {
        let (done, size) = if self.is_total {
            (progress.total_done, progress.total_size)
        } else {
            (progress.done, progress.size)
        };
        let is_first = self.start.is_none();
        let start = *self.start.get_or_insert((now, done));
        if progress.finished {
            return Some(self.finish(progress, done, size, start, now));
        }
        let last = self.samples.last().copied();
        if !is_first && last.is_some_and(|(at, _)| now.duration_since(at) < REFRESH) {
            return None;
        }
        let oldest = self.samples.first().copied().unwrap_or(start);
        let rate = rate(done.saturating_sub(oldest.1), now.duration_since(oldest.0));
        if self.samples.len() == WINDOW {
            self.samples.remove(0);
        }
        self.samples.push((now, done));
        let left = size.saturating_sub(done);
        #[expect(clippy::cast_precision_loss, reason = "whole seconds are shown")]
        let remaining = if rate > 0.0 { left as f64 / rate } else { 0.0 };
        let line = self.line(done, size, rate, remaining) + "  ";
        Some(self.shown(&line))
    }

    fn finish(
        &mut self,
        progress: &FileProgress<'_>,
        done: u64,
        size: u64,
        start: (Instant, u64),
        now: Instant,
    ) -> Vec<u8> {
        let elapsed = now.duration_since(start.0);
        let line = self.line(done, size, rate(done, elapsed), elapsed.as_secs_f64());
        let check = if progress.all_known { "to" } else { "ir" };
        let (number, left, known) = (progress.transferred, progress.left, progress.known);
        self.total_done = progress.total_done;
        let tail = format!(" (xfr#{number}, {check}-chk={left}/{known})");
        if self.is_total {
            return self.shown(&(line + &tail));
        }
        self.start = None;
        self.samples.clear();
        self.last_length = 0;
        format!("\r{line}{tail}\n").into_bytes()
    }

    /// The line for the whole transfer when nothing is left to check; `None` if each file had its own.
    pub(crate) fn end(&mut self, stats: &Stats, now: Instant) -> Option<Vec<u8>> {
        if !self.is_total {
            return None;
        }
        let elapsed = self
            .start
            .map_or(Duration::ZERO, |(at, _)| now.duration_since(at));
        let done = self.total_done;
        let line = self.line(
            done,
            stats.total_size,
            rate(done, elapsed),
            elapsed.as_secs_f64(),
        );
        let (number, known) = (stats.transferred, stats.listed.total());
        Some(format!("\r{line} (xfr#{number}, to-chk=0/{known})").into_bytes())
    }

    /// The line over the one before, whose rest it blanks.
    fn shown(&mut self, line: &str) -> Vec<u8> {
        let blanks = if self.is_total {
            self.last_length.saturating_sub(line.len())
        } else {
            0
        };
        self.last_length = line.len();
        format!("\r{line}{}", " ".repeat(blanks)).into_bytes()
    }

    fn line(&self, done: u64, size: u64, rate: f64, seconds: f64) -> String {
        let percent = if done == size {
            100
        } else {
            percent(done, size)
        };
        let mut rate = rate / 1024.0;
        let mut unit = "kB/s";
        for larger in ["MB/s", "GB/s"] {
            if rate > 1024.0 {
                rate /= 1024.0;
                unit = larger;
            }
        }
        let done = self.human.bytes(done);
        format!(
            "{done:>15} {percent:>3}% {rate:>7.2}{unit} {}",
            clock(seconds)
        )
    }
}

fn percent(done: u64, size: u64) -> u64 {
    u64::try_from(u128::from(done) * 100 / u128::from(size.max(1))).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn rate(bytes: u64, elapsed: Duration) -> f64 {
    // The resolution of the clock that rsync asks.
    bytes as f64 / elapsed.as_secs_f64().max(0.001)
}

fn clock(seconds: f64) -> String {
    const TOO_LONG: f64 = 9999.0 * 3600.0;
    if !(0.0..=TOO_LONG).contains(&seconds) {
        return "  ??:??:??".to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 <= seconds <= TOO_LONG"
    )]
    let whole = seconds as u64;
    format!(
        "{:>4}:{:02}:{:02}",
        whole / 3600,
        whole / 60 % 60,
        whole % 60
    )
}

#[cfg(test)]
mod tests {
    use transfer::Counts;

    use super::*;

    fn at(done: u64, finished: bool) -> FileProgress<'static> {
        FileProgress {
            path: b"big",
            done,
            size: 300_000,
            finished,
            transferred: 2,
            left: 5,
            known: 8,
            all_known: true,
            total_done: if finished { 300_006 } else { 6 },
            total_size: 300_010,
        }
    }

    fn text(bytes: Option<Vec<u8>>) -> String {
        String::from_utf8(bytes.expect("a line")).expect("text")
    }

    #[test]
    fn of_a_file() {
        let mut line = ProgressLine::new(Human(1), false);
        let start = Instant::now();
        assert_eq!(
            text(line.update(&at(0, false), start)),
            "\r              0   0%    0.00kB/s    0:00:00  "
        );
        assert_eq!(
            line.update(&at(32_768, false), start + Duration::from_millis(900)),
            None
        );
        let later = start + Duration::from_secs(1);
        assert_eq!(
            text(line.update(&at(102_400, false), later)),
            "\r        102,400  34%  100.00kB/s    0:00:01  "
        );
        let end = start + Duration::from_secs(3);
        assert_eq!(
            text(line.update(&at(300_000, true), end)),
            "\r        300,000 100%   97.66kB/s    0:00:03 (xfr#2, to-chk=5/8)\n"
        );
        assert_eq!(
            text(line.update(&at(0, false), end)),
            "\r              0   0%    0.00kB/s    0:00:00  "
        );
    }

    #[test]
    fn progress_of_everything_is_one_line() {
        let mut line = ProgressLine::new(Human(1), true);
        let start = Instant::now();
        assert_eq!(
            text(line.update(&at(0, false), start)),
            "\r              6   0%    0.00kB/s    0:00:00  "
        );
        let end = start + Duration::from_secs(3);
        let listed = Counts {
            files: 8,
            ..Counts::default()
        };
        let stats = Stats {
            total_size: 300_010,
            transferred: 2,
            listed,
            ..Stats::default()
        };
        let mut last = at(300_000, true);
        last.all_known = false;
        assert_eq!(
            text(line.update(&last, end)),
            "\r        300,006  99%   97.66kB/s    0:00:03 (xfr#2, ir-chk=5/8)"
        );
        assert_eq!(
            text(line.end(&stats, end)),
            "\r        300,006  99%   97.66kB/s    0:00:03 (xfr#2, to-chk=0/8)"
        );
    }

    #[test]
    fn a_time_that_nobody_knows_is_question_marks() {
        assert_eq!(clock(3725.9), "   1:02:05");
        assert_eq!(clock(f64::MAX), "  ??:??:??");
    }
}
