//! The environment as a value, so that a run depends on nothing but its arguments.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The variables that rsync reads (behaviour.md 1.6).
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: HashMap<OsString, OsString>,
}

impl Env {
    /// The variables of a process.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables
            .get(&OsString::from_vec(name.as_bytes().to_vec()))
            .map(|value| value.as_bytes())
    }

    /// Sets a variable, as for a child or for `%VAR%` in a daemon's configuration.
    pub fn put(&mut self, name: &str, value: &[u8]) {
        self.variables
            .insert(name.into(), OsString::from_vec(value.to_vec()));
    }

    /// Takes a variable away. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.variables.remove(OsStr::new(name)).is_some()
    }

    /// The value of a variable that counts only if it is not empty.
    pub(crate) fn set(&self, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The number in a variable that is not empty; what is no number counts as 0.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let text = self.set(name)?;
        Some(
            std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
        )
    }

    /// All of it, for a child.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self::new(variables.map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }
}
