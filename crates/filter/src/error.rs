//! What can be wrong with rules, in rsync's words (behaviour 5.1, 5.2).

use std::fmt;
use std::io;

use crate::rule::Action;

/// Why rules could not be taken, or not be sent. The text is rsync's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text of a rule is wrong: rsync ends with code 1.
    #[error("{}", syntax_message(.fault, .place))]
    Syntax {
        /// What is wrong.
        fault: Fault,
        /// The rule.
        place: Place,
    },
    /// A merge file that must exist could not be read: rsync ends with code 11.
    #[error("failed to open {} file {file}{}", kind_of_file(*.action), why(.cause.as_ref()))]
    Unreadable {
        /// What the file's rules would have been by default.
        action: Action,
        /// The file's name, or the place that names it if that is a file's content.
        file: String,
        /// The system's reason; absent if it would tell about a file that another file's content names.
        cause: Option<io::Error>,
    },
    /// Merge files name each other too deeply: rsync ends with code 11, or drops the file of a directory.
    #[error(
        "merge-file include depth limit ({}) exceeded at {place}",
        crate::load::MAX_DEPTH
    )]
    TooDeep {
        /// The rule that names one file too many.
        place: Place,
    },
    /// A pattern of 4096 bytes or more; the rule is left out and nothing else happens.
    #[error("discarding over-long filter: {place}")]
    OverLong {
        /// The rule.
        place: Place,
    },
    /// The peer's protocol cannot express a rule: rsync ends with code 2.
    #[error("filter rules are too modern for remote rsync.")]
    TooModern,
}

/// What is wrong with a rule's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It starts with no known rule name.
    Unknown,
    /// A modifier that does not exist, or not for this kind of rule.
    Modifier {
        /// The offending byte.
        byte: u8,
        /// Its offset from the start of the rule.
        position: usize,
    },
    /// The pattern or file name is missing.
    UnexpectedEnd,
    /// A rule that clears the list takes nothing.
    TrailingCharacters,
    /// The merge file's own rule already says which side it is for.
    SideTwice,
}

/// Where a rule was found. The content of a file is never quoted: it may not be for the reader's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An argument, quoted whole.
    Argument(Vec<u8>),
    /// A line of a file; no number if the file is split at whitespace, or named by another file.
    File {
        /// How the file is called in messages.
        file: String,
        /// The number of the line, from 1.
        line: Option<usize>,
    },
}

impl Place {
    /// What messages call a file that the rule here names: `name`, unless that is itself the content of a file.
    pub(crate) fn title_of(&self, name: &[u8]) -> Title {
        match self {
            Place::Argument(_) => Title::Name(String::from_utf8_lossy(name).into_owned()),
            Place::File {
                file,
                line: Some(line),
            } => Title::Phrase(format!("a file named at {file} line {line}")),
            Place::File { file, line: None } => Title::Phrase(format!("a file named at {file}")),
        }
    }
}

/// What messages call a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Title {
    /// Its name; rules in it have line numbers.
    Name(String),
    /// A phrase in place of a name that is the content of a file.
    Phrase(String),
}

impl Title {
    pub(crate) fn place(&self, line: Option<usize>) -> Place {
        match self {
            Title::Name(file) => Place::File {
                file: file.clone(),
                line,
            },
            Title::Phrase(file) => Place::File {
                file: file.clone(),
                line: None,
            },
        }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Title::Name(text) | Title::Phrase(text)) = self;
        f.write_str(text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Argument(text) => write!(f, "{}", String::from_utf8_lossy(text)),
            Place::File {
                file,
                line: Some(line),
            } => write!(f, "<rule from {file} line {line}>"),
            Place::File { file, line: None } => write!(f, "<rule from {file}>"),
        }
    }
}

fn syntax_message(fault: &Fault, place: &Place) -> String {
    match (fault, place) {
        (Fault::Unknown, _) => format!("Unknown filter rule: {place}"),
        (Fault::Modifier { byte, position }, Place::Argument(_)) => {
            let byte = char::from(*byte);
            format!("invalid modifier '{byte}' at position {position} in filter rule: {place}")
        }
        (Fault::Modifier { .. }, Place::File { .. }) => {
            format!("invalid modifier in filter rule: {place}")
        }
        (Fault::UnexpectedEnd, _) => format!("unexpected end of filter rule: {place}"),
        (Fault::TrailingCharacters, _) => format!("'!' rule has trailing characters: {place}"),
        (Fault::SideTwice, _) => {
            format!("specified-side merge file contains specified-side filter: {place}")
        }
    }
}

fn kind_of_file(action: Action) -> &'static str {
    match action {
        Action::Include => "include",
        Action::Exclude => "exclude",
    }
}

/// The text after the file name, without the error number, which the reporter of system errors adds.
fn why(cause: Option<&io::Error>) -> String {
    cause.map_or(String::new(), |cause| format!(": {cause}"))
}
