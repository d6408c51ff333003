//! What can be wrong with a configuration file, and rsync's words for it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Settings;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// The line, from 1; the first one of lines that are continued.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Something in a file that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` if it was said on the command line, or the file itself cannot be opened.
    pub place: Option<Place>,
    /// What.
    pub fault: Fault,
}

/// The kinds of problem. All texts are as in the file, made printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No parameter has this name.
    UnknownParameter(String),
    /// A parameter of the daemon as a whole, in a module.
    GlobalInModule(String),
    /// Neither yes nor no.
    BadBoolean(String),
    /// No number, or more than one; rsync takes what it begins with, or 0, and says nothing.
    NoNumber(String),
    /// A value that a parameter of ours does not know. rsync has no words for it.
    BadValue {
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
    },
    /// No `=` in a line.
    BadLine(String),
    /// The file ends within a line that has no `=`.
    EndInName(String),
    /// Nothing before the `=`. Fatal, as all that follow.
    NoName,
    /// A section header without `]`.
    BadSection(String),
    /// The file ends within a section header.
    EndInSection(String),
    /// `[]`.
    EmptySection,
    /// A module's name with a slash.
    InvalidSection(String),
    /// A directive other than `&include` and `&merge`.
    UnknownDirective(String),
    /// An included file cannot be found.
    NoSuchFile(String, OsCode),
    /// A file cannot be opened.
    UnreadableFile(String, OsCode),
    /// A directory cannot be read.
    UnreadableDir(String, OsCode),
    /// Files include each other, too deeply.
    TooDeep(String),
}

/// An error of the operating system that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsCode(pub i32);

impl From<&io::Error> for OsCode {
    fn from(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(0))
    }
}

impl fmt::Display for OsCode {
    /// `No such file or directory (2)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        write!(f, "{text} ({})", self.0)
    }
}

/// A file that is of no use.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was wrong, in the order of the file; the last one was fatal.
    pub problems: Vec<Problem>,
    /// What the global section had said by then, which tells where to log it.
    pub defaults: Box<Settings>,
}

impl Failure {
    /// What rsync logs of it, line by line. `role` is the process that says so, as in `[Receiver]`.
    pub fn log_lines(&self, role: &str) -> Vec<String> {
        let mut lines: Vec<String> = self
            .problems
            .iter()
            .flat_map(|problem| problem.fault.log_lines(role))
            .collect();
        // The outermost file is opened before rsync begins to parse.
        if !matches!(self.problems.last(), Some(Problem { place: None, .. })) {
            lines.push(
                "params.c:pm_process() - Failed.  Error returned from params.c:parse().".to_owned(),
            );
        }
        lines
    }
}

impl Fault {
    /// What rsync logs of it (behaviour.md 8.2); it names no place.
    #[must_use]
    pub fn log_lines(&self, role: &str) -> Vec<String> {
        let line = match self {
            Self::UnknownParameter(name) => {
                let ignoring = format!("IGNORING unknown parameter \"{name}\"");
                // rsync passes over the first line if the name begins so.
                if name.starts_with('-') {
                    return vec![ignoring];
                }
                return vec![
                    format!("Unknown Parameter encountered: \"{name}\""),
                    ignoring,
                ];
            }
            Self::GlobalInModule(name) => {
                format!("Global parameter {name} found in module section!")
            }
            Self::BadBoolean(value) => {
                format!("Badly formed boolean in configuration file: \"{value}\".")
            }
            Self::NoNumber(_) => return Vec::new(),
            Self::BadValue { parameter, value } => {
                format!("Badly formed value of \"{parameter}\" in configuration file: \"{value}\".")
            }
            Self::BadLine(line) => {
                format!("params.c:Parameter() - Ignoring badly formed line in config file: {line}")
            }
            Self::EndInName(name) => {
                format!("params.c:Parameter() - Unexpected end-of-file at: {name}")
            }
            Self::NoName => {
                "params.c:Parameter() - Invalid parameter name in config file.".to_owned()
            }
            Self::BadSection(name) => {
                format!("params.c:Section() - Badly formed line in config file: {name}")
            }
            Self::EndInSection(name) => {
                format!("params.c:Section() - Unexpected EOF in the config file: {name}")
            }
            Self::EmptySection => {
                "params.c:Section() - Empty section name in config file.".to_owned()
            }
            Self::InvalidSection(name) => {
                format!("Warning: invalid section name in configuration file: {name}")
            }
            Self::UnknownDirective(name) => format!("Unknown directive: {name}."),
            Self::NoSuchFile(file, cause) => {
                format!("rsync: [{role}] unable to stat config file \"{file}\": {cause}")
            }
            Self::UnreadableFile(file, cause) => {
                format!("rsync: [{role}] unable to open config file \"{file}\": {cause}")
            }
            Self::UnreadableDir(dir, cause) => {
                format!("rsync: [{role}] unable to open config dir \"{dir}\": {cause}")
            }
            Self::TooDeep(file) => format!("config file \"{file}\" is included too deeply"),
        };
        vec![line]
    }
}

impl fmt::Display for Fault {
    /// For an administrator who is told the place too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownParameter(name) => write!(f, "unknown parameter \"{name}\""),
            Self::GlobalInModule(name) => {
                write!(
                    f,
                    "global parameter \"{name}\" in a module: it belongs before the first module"
                )
            }
            Self::BadBoolean(value) => write!(f, "\"{value}\" is neither yes nor no"),
            Self::NoNumber(value) => write!(f, "\"{value}\" is no number"),
            Self::BadValue { parameter, value } => {
                write!(f, "bad value of \"{parameter}\": \"{value}\"")
            }
            Self::BadLine(line) => write!(f, "no \"=\" in \"{line}\": the line is ignored"),
            Self::EndInName(name) => write!(f, "the file ends after \"{name}\", without a \"=\""),
            Self::NoName => f.write_str("no parameter before the \"=\""),
            Self::BadSection(name) => write!(f, "no \"]\" after \"[{name}\""),
            Self::EndInSection(name) => {
                write!(f, "the file ends after \"[{name}\", without a \"]\"")
            }
            Self::EmptySection => f.write_str("a module without a name"),
            Self::InvalidSection(name) => write!(f, "the module name \"{name}\" contains a slash"),
            Self::UnknownDirective(name) => write!(f, "unknown directive \"{name}\""),
            Self::NoSuchFile(file, cause) | Self::UnreadableFile(file, cause) => {
                write!(f, "cannot open \"{file}\": {cause}")
            }
            Self::UnreadableDir(dir, cause) => {
                write!(f, "cannot read the directory \"{dir}\": {cause}")
            }
            Self::TooDeep(file) => write!(f, "\"{file}\" is included too deeply"),
        }
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE: what`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.fault)
    }
}
