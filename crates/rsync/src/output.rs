//! rsync's lines: what the engine reports, as text on standard output, standard error and in a log file.
//!
//! [`Printer`] brings lines where they belong; `events` knows which of them the engine's events are worth. The other modules
//! are pure: a value in, a text out.

mod escape;
mod events;
mod format;
mod itemize;
mod listing;
mod log_file;
mod number;
mod progress;
mod settings;
mod stats;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use transfer::{Outcome, Role};

pub(crate) use escape::Passes;
pub use format::Visitor;
pub(crate) use format::{Facts, Format};
pub(crate) use listing::Columns;
pub(crate) use log_file::LogFile;
pub use log_file::{Log, log_line, log_text};
pub(crate) use number::Human;
use progress::ProgressLine;
pub(crate) use settings::{ErrorPasses, Settings};
pub use words::strerror;
pub(crate) use words::{notice_line, role_name};

use crate::exit::Exit;

/// When something happened: for durations, and for the calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) timestamp: Timestamp,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            timestamp: Timestamp::now(),
        }
    }
}

/// Writes the lines of one run.
#[derive(Debug)]
pub(crate) struct Printer<O, E> {
    out: O,
    err: E,
    settings: Settings,
    log: Option<Box<dyn Log>>,
    progress: Option<ProgressLine>,
    /// Standard output stands in the middle of a line.
    is_mid_line: bool,
    /// The list was announced by a line that its end completes.
    is_list_open: bool,
    /// Standard output cannot be written any more.
    is_broken: bool,
    is_delta_told: bool,
    /// What follows the last line.
    after_all: Vec<String>,
}

impl<O: Write, E: Write> Printer<O, E> {
    pub(crate) fn new(out: O, err: E, settings: Settings, log: Option<Box<dyn Log>>) -> Self {
        let level = settings.info.level("PROGRESS");
        let progress =
            (level > 0 && !settings.quiet).then(|| ProgressLine::new(settings.human, level > 1));
        Self {
            out,
            err,
            settings,
            log,
            progress,
            is_mid_line: false,
            is_list_open: false,
            is_broken: false,
            is_delta_told: false,
            after_all: Vec::new(),
        }
    }

    /// The closing lines of a transfer that came to its end.
    pub(crate) fn finished(&mut self, outcome: &Outcome, elapsed: Duration, now: Now) {
        if self.settings.is_server {
            self.log(stats::logged(&outcome.stats).as_bytes(), now);
            return;
        }
        self.delta_told(now);
        if let Some(line) = self
            .progress
            .as_mut()
            .and_then(|progress| progress.end(&outcome.stats, now.instant))
        {
            self.write(&line);
            self.is_mid_line = true;
        }
        if self.progress.is_some() {
            self.end_line();
        }
        let settings = &self.settings;
        let human = settings.human;
        let mut text = String::new();
        if self.level("STATS") > 1 {
            text += &stats::block(&outcome.stats, human, settings.protocol);
        }
        if self.level("STATS") > 0 {
            let suffix = match (settings.is_batch_only, settings.is_dry_run) {
                (true, _) => " (BATCH ONLY)",
                (false, true) => " (DRY RUN)",
                (false, false) => "",
            };
            text += &stats::summary(&outcome.stats, human, elapsed, suffix);
        }
        for line in text.lines() {
            self.info(line.as_bytes(), now);
        }
        if self.level("STATS") == 0 || outcome.exit_code() != 0 {
            self.log(stats::logged(&outcome.stats).as_bytes(), now);
        }
    }

    /// The last line, and all that is still held back.
    pub(crate) fn last_line(&mut self, line: Option<&str>, now: Now) {
        if let Some(line) = line {
            self.error(line.as_bytes(), now);
        }
        for line in std::mem::take(&mut self.after_all) {
            self.error(line.as_bytes(), now);
        }
        self.end_line();
        self.flush();
    }

    /// The exit code in place of `exit` if our own messages could not be written.
    pub(crate) fn broken(&mut self, exit: Exit) -> Exit {
        self.end_line();
        self.flush();
        if self.is_broken { Exit::Messages } else { exit }
    }

    /// A line for standard output, and the log.
    pub(crate) fn info(&mut self, line: &[u8], now: Now) {
        self.log(line, now);
        self.say(line);
    }

    /// A line for standard error, and the log.
    pub(crate) fn error(&mut self, line: &[u8], now: Now) {
        self.error_of(Role::Sender, line, now);
    }

    /// The same, of something that went wrong in a role.
    pub(crate) fn error_of(&mut self, role: Role, line: &[u8], now: Now) {
        self.log_as(line, true, now);
        self.flush();
        // What ends an open line goes where the next line goes.
        let mut text = if std::mem::take(&mut self.is_mid_line) {
            b"\n".to_vec()
        } else {
            Vec::new()
        };
        let passes = match role {
            Role::Sender => self.settings.error_passes.sender,
            Role::Generator | Role::Receiver | Role::ReceivingSide => {
                self.settings.error_passes.receiver
            }
        };
        text.extend(passes.escape(line));
        text.push(b'\n');
        // There is nobody left to tell of an error on standard error.
        let _ = self.err.write_all(&text).and_then(|()| self.err.flush());
    }

    /// A line for standard output alone.
    fn say(&mut self, line: &[u8]) {
        if self.settings.quiet {
            return;
        }
        self.end_line();
        let mut text = self.settings.passes.escape(line);
        text.push(b'\n');
        self.write(&text);
    }

    fn log(&mut self, line: &[u8], now: Now) {
        self.log_as(line, false, now);
    }

    /// A line for the log alone.
    pub(crate) fn log_as(&mut self, line: &[u8], is_error: bool, now: Now) {
        if let Some(log) = self.log.as_mut().filter(|_| !line.is_empty()) {
            log.line(line, is_error, now.timestamp);
        }
    }

    /// Ends what a progress line left open.
    fn end_line(&mut self) {
        if self.is_mid_line {
            self.is_mid_line = false;
            self.write(b"\n");
        }
    }

    fn write(&mut self, text: &[u8]) {
        let result = self.out.write_all(text);
        self.note(&result);
    }

    fn flush(&mut self) {
        let result = self.out.flush();
        self.note(&result);
    }

    fn note(&mut self, result: &io::Result<()>) {
        self.is_broken |= result.is_err();
    }

    fn level(&self, word: &str) -> u8 {
        self.settings.info.level(word)
    }

    fn has_any(&self, letters: &[u8]) -> bool {
        self.settings
            .format
            .as_ref()
            .is_some_and(|format| format.has_any(letters))
    }
}
