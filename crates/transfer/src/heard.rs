//! What a peer says beside the data, boiled down to what the session needs to know: a peer may say any amount of
//! it, so only answers to our own questions and a bounded amount of text are kept.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use wire::{Message, Severity};

/// The most text of a peer that is kept, in bytes.
const WORDS_LIMIT: usize = 256 << 10;

/// What the peer has said so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Messages of any kind: whoever waits for the peer sees that it lives.
    pub(crate) count: u64,
    /// Errors and warnings, a line each.
    pub(crate) errors: Vec<String>,
    /// Other texts, a line each.
    pub(crate) notes: Vec<String>,
    /// At least one file was not transferred (rsync's exit code 23).
    pub(crate) is_partial: bool,
    /// The exit code the peer leaves with.
    pub(crate) exit: Option<i32>,
    /// Whether the peer has asked us to confirm that it may leave.
    pub(crate) is_leaving: bool,
    /// How many removals the peer reported.
    pub(crate) removals: u64,
    /// Those of them that were asked for by name.
    pub(crate) removed: HashSet<PathBuf>,
    /// The others of them, as many as there is room for: names that nobody named.
    pub(crate) extra: Vec<PathBuf>,
    /// Indexes of entries that the peer has stored for certain.
    pub(crate) stored: HashSet<u32>,
    awaited_removals: HashSet<PathBuf>,
    entries: u32,
    words: usize,
}

impl Heard {
    /// Says which removals, and acknowledgements of how many entries, are worth remembering.
    pub(crate) fn listen_for(&mut self, removals: impl IntoIterator<Item = PathBuf>, entries: u32) {
        self.awaited_removals.extend(removals);
        self.entries = entries;
    }

    /// Takes note of a peer that leaves.
    pub(crate) fn note_exit(&mut self, message: &Message) {
        self.count += 1;
        if let Message::ErrorExit(code) = message {
            self.exit = self.exit.or(*code);
            self.is_leaving = true;
        }
    }

    /// Takes note of one message.
    pub(crate) fn note(&mut self, message: Message) {
        self.count += 1;
        match message {
            Message::Text(severity, text) => self.text(severity, &text),
            Message::ErrorExit(code) => {
                self.exit = self.exit.or(code);
                self.is_leaving = true;
            }
            Message::Deleted { path, .. } => {
                self.removals += 1;
                let path = PathBuf::from(OsString::from_vec(path));
                if self.awaited_removals.contains(&path) {
                    self.removed.insert(path);
                } else if self.words + path.as_os_str().len() <= WORDS_LIMIT {
                    self.words += path.as_os_str().len();
                    self.extra.push(path);
                }
            }
            Message::Success(index) if index < self.entries => {
                self.stored.insert(index);
            }
            Message::Success(_)
            | Message::IoError(_)
            | Message::IoTimeout(_)
            | Message::Noop
            | Message::NoSend(_) => {}
        }
    }

    fn text(&mut self, severity: Severity, text: &[u8]) {
        let kept = match severity {
            Severity::ErrorXfer => {
                self.is_partial = true;
                &mut self.errors
            }
            Severity::Error | Severity::Warning => &mut self.errors,
            Severity::Info => &mut self.notes,
        };
        let line = one_line(text);
        if !line.is_empty() && self.words + line.len() <= WORDS_LIMIT {
            self.words += line.len();
            kept.push(line);
        }
    }
}

/// A peer's text as one line that cannot forge another one in a log.
pub(crate) fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_awaited_answers_are_kept() {
        let mut heard = Heard::default();
        heard.listen_for([PathBuf::from("a/*")], 2);
        for path in [&b"a/*"[..], b"a/b", b"a"] {
            heard.note(Message::Deleted {
                path: path.to_vec(),
                is_dir: false,
            });
        }
        for index in [1, 2, 70_000] {
            heard.note(Message::Success(index));
        }
        assert_eq!(heard.removed, HashSet::from([PathBuf::from("a/*")]));
        assert_eq!(heard.stored, HashSet::from([1]));
        assert_eq!(heard.count, 6);
    }

    #[test]
    fn texts_are_bounded_and_cannot_forge_lines() {
        let mut heard = Heard::default();
        heard.note(Message::Text(
            Severity::ErrorXfer,
            b"mkstemp failed\nERROR: all is well\r\n".to_vec(),
        ));
        for _ in 0..1000 {
            heard.note(Message::Text(Severity::Info, vec![b'x'; 5000]));
        }
        assert_eq!(heard.errors, ["mkstemp failed ERROR: all is well"]);
        assert!(heard.is_partial);
        assert!(heard.notes.len() * 5000 <= WORDS_LIMIT);
    }
}
