//! A mirror's events as lines or JSON, and its progress where somebody can see it.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mirror::Event;
use mirror::config::LogFormat;
use serde_json::{Map, Value, json};
use transfer::Progress;

/// Shows events. As text, what is well goes to standard output, what is not to standard error, and progress to a terminal
/// only. As JSON, everything goes to standard output.
pub(super) struct Display {
    verbose: bool,
    format: LogFormat,
    /// The progress of all first copies together; gone when one is complete.
    bar: Mutex<Option<ProgressBar>>,
    files: AtomicU64,
    bytes: AtomicU64,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Info,
    Warning,
    Error,
}

impl Display {
    pub(super) fn new(verbose: bool, format: LogFormat) -> Self {
        let has_bar = format == LogFormat::Text && std::io::stderr().is_terminal();
        let bar = has_bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message("comparing");
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            verbose,
            format,
            bar: Mutex::new(bar),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn show(&self, event: Event) {
        match event {
            Event::Progress { progress, .. } => self.progress(progress),
            Event::Session { .. } if !self.verbose => {}
            event => {
                if let Event::InStep { .. } = event {
                    self.end();
                }
                self.tell(&event);
            }
        }
    }

    /// Takes the progress off the terminal.
    pub(super) fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    /// Something about the mirror as a whole that is well.
    pub(super) fn say(&self, text: &str) {
        self.line(Level::Info, "notice", text, json!({}));
    }

    /// Something about the mirror as a whole that is not.
    pub(super) fn complain(&self, text: &str) {
        self.line(Level::Warning, "notice", text, json!({}));
    }

    /// The reason for the end, which a reader of JSON would not find among the lines of standard error.
    pub(super) fn fail(&self, text: &str) {
        if self.format == LogFormat::Json {
            self.line(Level::Error, "failed", text, json!({}));
        }
    }

    /// An event: its level, its name, its words, and its figures for programs.
    fn tell(&self, event: &Event) {
        match event {
            Event::InStep {
                replica,
                is_first_copy,
                files,
                bytes,
            } => {
                let what = if *is_first_copy {
                    "first copy complete"
                } else {
                    "in step"
                };
                let text = format!(
                    "{replica}: {what} ({} files, {} brought over)",
                    HumanCount(*files),
                    HumanBytes(*bytes)
                );
                let figures = json!({"replica": replica, "first_copy": is_first_copy, "files": files, "bytes": bytes});
                self.line(Level::Info, "in-step", &text, figures);
            }
            Event::CaughtUp { replica, after } => {
                let seconds = after.as_secs_f64();
                let text = format!("{replica}: caught up after {seconds:.1} s");
                let figures = json!({"replica": replica, "after": seconds});
                self.line(Level::Info, "caught-up", &text, figures);
            }
            Event::Behind {
                replica,
                reason,
                waiting,
            } => {
                let text = format!("{replica}: behind: {reason} ({waiting} paths waiting)");
                let figures = json!({"replica": replica, "reason": reason, "waiting": waiting});
                self.line(Level::Warning, "behind", &text, figures);
            }
            Event::Braked { replica, brake } => {
                let text =
                    format!("{replica}: waits for approval: {brake} (driftless approve {replica})");
                let figures = json!({"replica": replica, "reason": brake.to_string()});
                self.line(Level::Warning, "braked", &text, figures);
            }
            Event::Verified { replica, found } => {
                let text = format!(
                    "{replica}: verified: {} files ({}) compared, {} mended",
                    HumanCount(found.files),
                    HumanBytes(found.bytes),
                    HumanCount(found.mended)
                );
                let figures = json!({"replica": replica, "files": found.files, "bytes": found.bytes, "mended": found.mended});
                self.line(Level::Info, "verified", &text, figures);
                for path in &found.drifted {
                    let text = format!("{replica}: had drifted: {path}");
                    let figures = json!({"replica": replica, "path": path});
                    self.line(Level::Warning, "drifted", &text, figures);
                }
            }
            Event::Released { replica } => {
                let text = format!("{replica}: deletes again");
                self.line(Level::Info, "released", &text, json!({"replica": replica}));
            }
            Event::Notice { replica, text } => {
                let line = match replica {
                    Some(replica) => format!("{replica}: {text}"),
                    None => text.clone(),
                };
                let figures = json!({"replica": replica});
                self.line(Level::Warning, "notice", &line, figures);
            }
            Event::Session {
                replica,
                updates,
                removals,
                bytes,
            } => {
                let text = format!(
                    "{replica}: {updates} updated, {removals} removed, {} sent",
                    HumanBytes(*bytes)
                );
                let figures = json!({"replica": replica, "updates": updates, "removals": removals, "bytes": bytes});
                self.line(Level::Info, "session", &text, figures);
            }
            Event::Progress { .. } => {}
        }
    }

    #[expect(
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "this is the user's terminal"
    )]
    fn line(&self, level: Level, event: &str, text: &str, figures: Value) {
        match (self.format, level) {
            (LogFormat::Json, _) => println!("{}", record(level, event, text, figures)),
            (LogFormat::Text, Level::Info) => {
                self.beside_the_bar(|| println!("driftless: {text}"));
            }
            (LogFormat::Text, _) => self.beside_the_bar(|| eprintln!("driftless: {text}")),
        }
    }

    fn progress(&self, progress: Progress) {
        let (files, bytes) = match progress {
            Progress::File => (1, 0),
            Progress::Bytes(bytes) => (0, bytes),
        };
        let files = self.files.fetch_add(files, Ordering::Relaxed) + files;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &*self.bar() {
            let rate = bytes as f64 / bar.elapsed().as_secs_f64().max(0.001);
            bar.set_message(format!(
                "{} files, {}, {}/s",
                HumanCount(files),
                HumanBytes(bytes),
                HumanBytes(rate as u64)
            ));
        }
    }

    fn beside_the_bar(&self, print: impl FnOnce()) {
        match &*self.bar() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A line for programs: when, how much it matters, what it is, the words, and the figures.
fn record(level: Level, event: &str, text: &str, figures: Value) -> Value {
    let level = match level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let mut record = Map::new();
    let now = jiff::Timestamp::now();
    record.insert("time".to_owned(), format!("{now:.3}").into());
    record.insert("level".to_owned(), level.into());
    record.insert("event".to_owned(), event.into());
    record.insert("message".to_owned(), text.into());
    if let Value::Object(figures) = figures {
        record.extend(figures);
    }
    Value::Object(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_and_says_when() {
        let figures = json!({"replica": "a\nb", "waiting": 3});
        let record = record(Level::Warning, "behind", "x\ny", figures);
        let text = record.to_string();
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(record["waiting"], 3);
        assert_eq!(record["level"], "warning");
        let time = record["time"].as_str().unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'),
            "{time}"
        );
    }
}
