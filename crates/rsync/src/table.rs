//! The option table: one row for every option, from which all else follows.
//!
//! The rows stand in `options`, in the order of `rsync --help`. The parser, the help, the words for a server
//! and a daemon's list of refused options are read off them.

use crate::given::Given;
use crate::options;
use crate::server_args::{Outgoing, Words};
use crate::stop::Stop;

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// The long name without dashes; empty if there is only a letter.
    pub long: &'static str,
    /// The letter.
    pub short: Option<u8>,
    /// Other long names, without dashes.
    pub aliases: &'static [&'static str],
    /// The negative spellings, all of them long and without dashes. Nothing else turns the option off.
    pub no: &'static [&'static str],
    /// What follows the name.
    pub takes: Takes,
    /// The help's words; empty if the help does not show the option itself.
    pub brief: &'static str,
    /// Further lines of the help: what stands left and right.
    pub also: &'static [(&'static str, &'static str)],
    /// What it does, for the manual page: paragraphs separated by empty lines, with names and values in `backticks`.
    pub doc: &'static str,
    /// How a server hears of it; empty if it does not, or not in its arguments.
    pub forward: &'static [Forward],
    /// Wildcards of a daemon's `refuse options` reach it; by its exact name every option can be refused.
    pub refusable: bool,
    /// What it does to what was given.
    pub(crate) set: fn(&mut Given, Said<'_>) -> Result<(), Stop>,
}

/// What an option's name is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A text; the word that stands for it in the help.
    Text(&'static str),
    /// An integer, decimal or with the prefixes of C.
    Number(&'static str),
}

/// How an option was spelled, and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// By name or letter, without a value.
    On,
    /// By a negative spelling.
    Off,
    /// With a text.
    Text(&'a [u8]),
    /// With a number.
    Number(i32),
}

impl Said<'_> {
    pub(crate) fn on(self) -> bool {
        !matches!(self, Said::Off)
    }

    /// The text; `None` for a negative spelling.
    pub(crate) fn text(self) -> Option<Vec<u8>> {
        match self {
            Said::Text(text) => Some(text.to_vec()),
            _ => None,
        }
    }

    /// The number; 0 for a negative spelling.
    pub(crate) fn number(self) -> i32 {
        match self {
            Said::Number(number) => number,
            _ => 0,
        }
    }

    /// Counts up, or back to 0.
    pub(crate) fn count(self, counter: &mut u32) {
        *counter = if self.on() {
            counter.saturating_add(1)
        } else {
            0
        };
    }
}

/// How an option reaches a server (wire-session.md 2.2 and 2.3). Rows of equal `place` keep the table's order.
#[derive(Clone, Copy)]
pub enum Forward {
    /// A letter of the cluster, so many times.
    Letter {
        /// Its place in the cluster.
        place: u8,
        /// Who must know.
        to: Peer,
        /// How many times.
        times: fn(&Outgoing<'_>) -> u32,
    },
    /// Words after the cluster.
    Words {
        /// Their place after it.
        place: u8,
        /// Who must know.
        to: Peer,
        /// Adds them.
        write: WriteWords,
    },
}

/// Adds the words that tell a server of an option.
pub type WriteWords = fn(&Outgoing<'_>, &mut Words);

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Letter { place, to, .. } => write!(f, "Letter({place}, {to:?})"),
            Self::Words { place, to, .. } => write!(f, "Words({place}, {to:?})"),
        }
    }
}

/// The server that an option concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Either.
    Any,
    /// One that receives: we push.
    Receiver,
    /// One that sends: we pull.
    Sender,
}

impl Peer {
    pub(crate) fn is(self, server_sends: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Receiver => !server_sends,
            Self::Sender => server_sends,
        }
    }
}

/// What a row says unless it says otherwise.
pub(crate) const ROW: Opt = Opt {
    long: "",
    short: None,
    aliases: &[],
    no: &[],
    takes: Takes::Nothing,
    brief: "",
    also: &[],
    doc: "",
    forward: &[],
    refusable: true,
    set: |_, _| Ok(()),
};

/// Options that belong together.
#[derive(Debug)]
pub struct Topic {
    /// Its heading in the manual page.
    pub title: &'static str,
    /// The options, in the order of the help.
    pub rows: &'static [Opt],
}

/// All topics, in the order of the help.
#[must_use]
pub fn topics() -> &'static [Topic] {
    options::TOPICS
}

/// All options, in the order of the help.
pub fn rows() -> impl Iterator<Item = &'static Opt> {
    topics().iter().flat_map(|topic| topic.rows)
}

/// The option of a long name, and whether the name is a negative one.
pub(crate) fn find_long(name: &[u8]) -> Option<(&'static Opt, bool)> {
    let is = |known: &str| known.as_bytes() == name;
    rows().find_map(|row| {
        if !name.is_empty() && (is(row.long) || row.aliases.iter().copied().any(is)) {
            Some((row, true))
        } else {
            row.no.iter().copied().any(is).then_some((row, false))
        }
    })
}

/// The option of a letter.
pub(crate) fn find_short(letter: u8) -> Option<&'static Opt> {
    rows().find(|row| row.short == Some(letter))
}

impl Opt {
    /// The option as messages call it: `--name`, with ` (-x)` if there is a letter.
    #[must_use]
    pub fn shown(&self) -> String {
        match (self.long, self.short) {
            ("", Some(letter)) => format!("-{}", char::from(letter)),
            (long, Some(letter)) => format!("--{long} (-{})", char::from(letter)),
            (long, None) => format!("--{long}"),
        }
    }

    /// The option as messages call it when it was spelled with this long name.
    #[must_use]
    pub fn shown_as(&self, name: &str) -> String {
        if name == self.long {
            self.shown()
        } else {
            format!("--{name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_spelling_is_used_twice() {
        let mut seen = HashSet::new();
        for row in rows() {
            let long = Some(row.long).filter(|long| !long.is_empty());
            for name in long.iter().chain(row.aliases).chain(row.no) {
                assert!(seen.insert((*name).to_owned()), "--{name} twice");
            }
            if let Some(letter) = row.short {
                assert!(
                    seen.insert(format!("-{}", char::from(letter))),
                    "{} twice",
                    row.shown()
                );
            }
            assert!(!row.long.is_empty() || row.short.is_some());
        }
    }

    #[test]
    fn spellings_are_plain() {
        for row in rows() {
            let negative = row
                .no
                .iter()
                .inspect(|name| assert!(name.starts_with("no-"), "{name}"));
            for name in std::iter::once(&row.long)
                .chain(row.aliases)
                .chain(negative)
            {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
                assert!(
                    name.chars().all(is_plain) && !name.starts_with('-'),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn every_row_is_documented() {
        for row in rows() {
            assert!(row.doc.ends_with('.'), "{}", row.shown());
            assert!(row.doc.matches('`').count() % 2 == 0, "{}", row.shown());
        }
    }

    #[test]
    fn letters_have_places_of_their_own() {
        let mut seen = HashSet::new();
        for row in rows() {
            for forward in row.forward {
                if let Forward::Letter { place, to, .. } = forward {
                    assert!(row.short.is_some(), "{} has no letter", row.shown());
                    assert!(
                        seen.insert((*place, *to as u8)),
                        "{} shares its place",
                        row.shown()
                    );
                }
            }
        }
    }
}
