//! A mirror's events as lines, and its progress where somebody can see it.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mirror::Event;
use transfer::Progress;

/// Shows events: what is well on standard output, what is not on standard error, progress on a terminal only.
pub(super) struct Display {
    verbose: bool,
    /// The first copies' progress; gone when they are complete.
    bar: Mutex<Option<ProgressBar>>,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Display {
    pub(super) fn new(verbose: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
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
            bar: Mutex::new(bar),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn show(&self, event: Event) {
        match event {
            Event::Progress { progress, .. } => self.progress(progress),
            Event::InStep {
                replica,
                is_first_copy,
            } => {
                self.end();
                let what = if is_first_copy {
                    "first copy complete"
                } else {
                    "in step"
                };
                let files = HumanCount(self.files.load(Ordering::Relaxed));
                let bytes = HumanBytes(self.bytes.load(Ordering::Relaxed));
                self.say(&format!(
                    "{replica}: {what} ({files} files, {bytes} brought over)"
                ));
            }
            Event::CaughtUp { replica, after } => {
                self.say(&format!("{replica}: caught up after {}", seconds(after)));
            }
            Event::Behind {
                replica,
                reason,
                waiting,
            } => {
                self.complain(&format!(
                    "{replica}: behind: {reason} ({waiting} paths waiting)"
                ));
            }
            Event::Braked { replica, brake } => {
                self.complain(&format!(
                    "{replica}: waits for approval: {brake} (driftless approve {replica})"
                ));
            }
            Event::Verified { replica, found } => {
                self.say(&format!(
                    "{replica}: verified: {} files ({}) compared, {} mended",
                    HumanCount(found.files),
                    HumanBytes(found.bytes),
                    HumanCount(found.mended)
                ));
                for path in &found.drifted {
                    self.complain(&format!("{replica}: had drifted: {path}"));
                }
            }
            Event::Released { replica } => self.say(&format!("{replica}: deletes again")),
            Event::Notice {
                replica: Some(replica),
                text,
            } => self.complain(&format!("{replica}: {text}")),
            Event::Notice {
                replica: None,
                text,
            } => self.complain(&text),
            Event::Session {
                replica,
                updates,
                removals,
                bytes,
            } if self.verbose => {
                let bytes = HumanBytes(bytes);
                self.say(&format!(
                    "{replica}: {updates} updated, {removals} removed, {bytes} sent"
                ));
            }
            Event::Session { .. } => {}
        }
    }

    /// Takes the progress off the terminal.
    pub(super) fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
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

    #[expect(clippy::print_stdout, reason = "this is the user's terminal")]
    pub(super) fn say(&self, line: &str) {
        self.beside_the_bar(|| println!("driftless: {line}"));
    }

    #[expect(clippy::print_stderr, reason = "this is the user's terminal")]
    pub(super) fn complain(&self, line: &str) {
        self.beside_the_bar(|| eprintln!("driftless: {line}"));
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

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
