//! Where in a configuration file a value stands, for mistakes that are found after it has been read.

use std::path::Path;

use super::{BadConfig, toml};

/// A key's way from the top of the file, and an element's place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Nth(usize),
}

/// A place in a file.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    file: &'a Path,
    text: &'a str,
    steps: Vec<Step>,
}

impl<'a> Spot<'a> {
    /// The whole file.
    pub(super) fn top(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            steps: Vec::new(),
        }
    }

    /// A key of the table that this is.
    pub(super) fn key(&self, name: &'static str) -> Self {
        self.step(Step::Key(name))
    }

    /// An element of the list under a key.
    pub(super) fn nth(&self, name: &'static str, number: usize) -> Self {
        self.key(name).step(Step::Nth(number))
    }

    /// A mistake at this place. `value` is looked for where the file is not our own format.
    pub(super) fn bad(&self, value: &str, message: impl Into<String>) -> BadConfig {
        let line = toml::line_at(self.text, &self.steps);
        BadConfig {
            file: self.file.to_owned(),
            line: line.or_else(|| toml::line_of(self.text, value)),
            message: message.into(),
        }
    }

    fn step(&self, step: Step) -> Self {
        let mut spot = self.clone();
        spot.steps.push(step);
        spot
    }
}
