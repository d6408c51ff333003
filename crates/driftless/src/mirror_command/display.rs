//! A mirror's events as lines or JSON, and its progress where somebody can see it.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{HumanBytes, HumanCount};
use mirror::Event;
use mirror::config::LogFormat;
use serde_json::{Map, Value, json};

use super::bars::Bars;
use crate::control_command::escaped;

/// Shows events. As text, what is well goes to standard output, what is not to standard error, and progress to a terminal
/// only. As JSON, everything goes to standard output.
pub(super) struct Display {
    verbose: bool,
    format: LogFormat,
    /// Where somebody can see it.
    bars: Option<Mutex<Bars>>,
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
        let has_bars = format == LogFormat::Text && std::io::stderr().is_terminal();
        Self {
            verbose,
            format,
            bars: has_bars.then(Mutex::default),
        }
    }

    /// Whether anybody wants to know how much there is to bring over.
    pub(super) fn wants_total(&self) -> bool {
        self.bars.is_some()
    }

    /// How many replicas begin, of which nothing is known yet.
    pub(super) fn begin(&self, replicas: usize) {
        if let Some(mut bars) = self.bars() {
            bars.begin(replicas);
        }
    }

    /// How much there is to bring over to all of them.
    pub(super) fn expect(&self, bytes: u64) {
        if let Some(mut bars) = self.bars() {
            bars.expect(bytes);
        }
    }

    pub(super) fn show(&self, event: Event) {
        if let Some(mut bars) = self.bars() {
            bars.show(&event);
        }
        match event {
            Event::Progress { .. } | Event::Verifying { .. } => {}
            Event::Session { .. } if !self.verbose => {}
            event => self.tell(&event),
        }
    }

    /// Takes the progress off the terminal.
    pub(super) fn end(&self) {
        if let Some(mut bars) = self.bars() {
            bars.end();
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
                covered: _,
            } => {
                let text = format!(
                    "{replica}: {updates} updated, {removals} removed, {} sent",
                    HumanBytes(*bytes)
                );
                let figures = json!({"replica": replica, "updates": updates, "removals": removals, "bytes": bytes});
                self.line(Level::Info, "session", &text, figures);
            }
            Event::Progress { .. } | Event::Verifying { .. } => {}
        }
    }

    #[expect(
        clippy::print_stdout,
        clippy::print_stderr,
        reason = "this is the user's terminal"
    )]
    fn line(&self, level: Level, event: &str, text: &str, figures: Value) {
        if self.format == LogFormat::Json {
            println!("{}", record(level, event, text, figures));
            return;
        }
        // Names and the words of peers may be anything.
        let text = escaped(text);
        let print = || match level {
            Level::Info => println!("driftless: {text}"),
            Level::Warning | Level::Error => eprintln!("driftless: {text}"),
        };
        match self.bars() {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    fn bars(&self) -> Option<MutexGuard<'_, Bars>> {
        let bars = self.bars.as_ref()?;
        Some(bars.lock().unwrap_or_else(PoisonError::into_inner))
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
