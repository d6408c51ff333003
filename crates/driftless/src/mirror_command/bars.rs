//! The progress of long work on a terminal: first copies, and comparisons of replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mirror::Event;
use transfer::Progress;

/// While nobody knows how much there is.
const OPEN: &str = "{spinner} {msg} {elapsed}";

/// When it is known.
const MEASURED: &str =
    "{spinner} [{bar:30}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left{msg}";

/// At most one bar, for all replicas together: of their first copies until the last one is in step, then of
/// verifications.
#[derive(Default)]
pub(super) struct Bars {
    bar: Option<ProgressBar>,
    /// How many replicas there are.
    replicas: usize,
    /// Those that have been in step.
    complete: BTreeSet<String>,
    /// Those that have said that something is in their way: the others do not wait for them.
    troubled: BTreeSet<String>,
    copies: BTreeMap<String, Copied>,
    files: u64,
    /// What has been compared of each replica, and how much there is.
    verified: BTreeMap<String, (u64, u64)>,
}

/// How much of a replica's first copy is done, in bytes.
#[derive(Default)]
struct Copied {
    /// By sessions that have ended.
    done: u64,
    /// What has crossed in the one that is under way.
    crossing: u64,
}

impl Bars {
    pub(super) fn begin(&mut self, replicas: usize) {
        self.replicas = replicas;
        if self.bar.is_none() {
            let bar = bar(None, OPEN);
            bar.set_message("comparing");
            self.bar = Some(bar);
        }
    }

    pub(super) fn expect(&mut self, bytes: u64) {
        if let Some(bar) = self.bar.as_ref().filter(|_| self.is_copying() && bytes > 0) {
            set_style(bar, MEASURED);
            bar.set_length(bytes);
            bar.reset_eta();
            self.draw_copies();
        }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Progress { replica, progress } => {
                match progress {
                    Progress::File => self.files += 1,
                    Progress::Bytes(bytes) => self.copied(replica).crossing += bytes,
                }
                self.draw_copies();
            }
            Event::Session {
                replica, covered, ..
            } => {
                let copied = self.copied(replica);
                copied.done += covered;
                copied.crossing = 0;
                self.draw_copies();
            }
            Event::InStep { replica, .. } => {
                self.complete.insert(replica.clone());
                self.end_if_copied();
            }
            Event::Behind { replica, .. } | Event::Braked { replica, .. } => {
                self.troubled.insert(replica.clone());
                self.end_if_copied();
            }
            Event::Verifying { replica, found } => {
                let state = (found.bytes, found.total);
                self.verified.insert(replica.clone(), state);
                self.draw_verifications();
            }
            Event::Verified { replica, .. } => {
                self.verified.remove(replica);
                if self.verified.is_empty() && !self.is_copying() {
                    self.end();
                }
            }
            _ => {}
        }
    }

    /// Takes the bar off the terminal.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Prints something beside the bar.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Whether there are first copies on their way.
    fn is_copying(&self) -> bool {
        let heard_of = self.complete.union(&self.troubled).count();
        self.complete.is_empty() || heard_of < self.replicas
    }

    fn end_if_copied(&mut self) {
        if !self.is_copying() && self.verified.is_empty() {
            self.end();
        }
    }

    fn copied(&mut self, replica: &str) -> &mut Copied {
        self.copies.entry(replica.to_owned()).or_default()
    }

    fn draw_copies(&self) {
        let Some(bar) = self.bar.as_ref().filter(|_| self.is_copying()) else {
            return;
        };
        let sizes = self.copies.values();
        let bytes: u64 = sizes.map(|copied| copied.done + copied.crossing).sum();
        let files = HumanCount(self.files);
        match bar.length() {
            // What was written meanwhile was not measured.
            Some(length) => {
                bar.set_position(bytes.min(length));
                bar.set_message(format!(", {files} files"));
            }
            None => {
                let rate = bytes as f64 / bar.elapsed().as_secs_f64().max(0.001);
                let (bytes, rate) = (HumanBytes(bytes), HumanBytes(rate as u64));
                bar.set_message(format!("{files} files, {bytes}, {rate}/s"));
            }
        }
    }

    fn draw_verifications(&mut self) {
        if self.is_copying() {
            return;
        }
        let states = self.verified.values();
        let (bytes, total) = states.fold((0, 0), |sum, state| (sum.0 + state.0, sum.1 + state.1));
        let bar = self.bar.get_or_insert_with(|| bar(Some(total), MEASURED));
        bar.set_length(total.max(bytes));
        bar.set_position(bytes);
        bar.set_message(", comparing");
    }
}

fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(10));
    set_style(&bar, template);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn set_style(bar: &ProgressBar, template: &str) {
    // The templates are constants that are tried below.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

#[cfg(test)]
mod tests {
    use mirror::Verification;

    use super::*;

    fn position(bars: &Bars) -> Option<(u64, Option<u64>)> {
        let bar = bars.bar.as_ref()?;
        Some((bar.position(), bar.length()))
    }

    #[test]
    fn the_templates_are_some() {
        assert!(ProgressStyle::with_template(OPEN).is_ok());
        assert!(ProgressStyle::with_template(MEASURED).is_ok());
    }

    #[test]
    fn first_copies_count_until_the_last_one_is_there() {
        let mut bars = Bars::default();
        bars.begin(2);
        bars.expect(100);
        let crossing = |replica: &str, bytes| Event::Progress {
            replica: replica.to_owned(),
            progress: Progress::Bytes(bytes),
        };
        bars.show(&crossing("a", 10));
        bars.show(&crossing("b", 5));
        assert_eq!(position(&bars), Some((15, Some(100))));
        // Half of the files were there already.
        bars.show(&Event::Session {
            replica: "a".to_owned(),
            updates: 2,
            removals: 0,
            bytes: 10,
            covered: 50,
        });
        assert_eq!(position(&bars), Some((55, Some(100))));
        let in_step = |replica: &str| Event::InStep {
            replica: replica.to_owned(),
            is_first_copy: true,
            files: 1,
            bytes: 1,
        };
        bars.show(&in_step("a"));
        assert!(position(&bars).is_some());
        bars.show(&in_step("b"));
        assert!(position(&bars).is_none());
        // What changes later is no long work.
        bars.show(&crossing("a", 10));
        assert!(position(&bars).is_none());
    }

    #[test]
    fn verifications_have_a_bar_of_their_own() {
        let mut bars = Bars::default();
        bars.complete.insert("a".to_owned());
        let found = |bytes| Verification {
            bytes,
            total: 80,
            ..Verification::default()
        };
        let replica = || "a".to_owned();
        bars.show(&Event::Verifying {
            replica: replica(),
            found: found(20),
        });
        assert_eq!(position(&bars), Some((20, Some(80))));
        bars.show(&Event::Verified {
            replica: replica(),
            found: found(80),
        });
        assert!(position(&bars).is_none());
    }
}
