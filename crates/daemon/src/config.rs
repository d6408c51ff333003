//! `rsyncd.conf` as values (behaviour.md 8.2 and 8.3, rsyncd.conf(5)).
//!
//! A file never fails for a parameter that is unknown or has a bad value: rsync says so and goes on, and so do we
//! ([`Config::problems`]). What it cannot get past is a [`Failure`].

mod expand;
mod facility;
mod grammar;
mod load;
pub mod parameters;
mod problem;
mod settings;

use std::path::Path;

use rsync::Env;

pub(crate) use expand::Metacharacter;
pub use expand::Text;
pub use facility::Facility;
pub use load::{Override, UnknownParameter};
pub use problem::{Failure, Fault, Place, Problem};
pub use settings::{Globals, LogStyle, Settings};

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct Config {
    /// What concerns the daemon as a whole.
    pub globals: Globals,
    /// The module parameters of the global section, for what happens before a module is chosen.
    pub defaults: Settings,
    /// The modules, in the order of their first mention.
    pub modules: Vec<Module>,
    /// What was ignored, in the order of the file.
    pub problems: Vec<Problem>,
}

/// A tree that clients can ask for by name.
#[derive(Clone, Debug)]
pub struct Module {
    /// The name, with single spaces inside.
    pub name: Vec<u8>,
    /// Where its section begins.
    pub place: Place,
    /// Where it goes on, after other sections.
    pub again: Vec<Place>,
    /// Its parameters: what its section says, or else the global section.
    pub settings: Settings,
}

impl Config {
    /// Reads all of `file`, as is done for each connection. Parameters that are no text are expanded from `env` now;
    /// texts later, where they are used. The overrides are those of `--dparam`.
    ///
    /// # Errors
    /// [`Failure`]: a file that cannot be read, a broken section header or directive.
    pub fn load(file: &Path, overrides: &[Override], env: &Env) -> Result<Self, Failure> {
        load::load(file, overrides, env, load::Extent::Whole)
    }

    /// Reads up to the first module, which is all that a listener needs.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_globals(file: &Path, overrides: &[Override], env: &Env) -> Result<Self, Failure> {
        load::load(file, overrides, env, load::Extent::Globals)
    }

    /// The module that a client calls so: exactly, unlike names in the file.
    #[must_use]
    pub fn module(&self, name: &[u8]) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}
