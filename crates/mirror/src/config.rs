//! Configuration files: our own TOML, and what sersync and lsyncd read, all of which become the same values.
//!
//! [`Config`] is what is written in a file. [`Config::settings`] makes of it what a mirror needs, with every mistake
//! named by its place.

mod foreign_text;
mod keys;
mod lsyncd;
mod meaning;
mod sersync;
mod spot;
mod toml;
mod xml;

use std::path::{Path, PathBuf};

pub use self::foreign_text::foreign_text;
pub use self::keys::{
    Config, HookConfig, LogFormat, PurgeConfig, ReplicaConfig, TreeConfig, VerifyBy,
};
pub use self::meaning::{check_sessions, check_trash, rate};
use crate::settings::Place;

/// A file's content that is no configuration, or means nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {message}", .file.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct BadConfig {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong, and what would be right where that can be guessed.
    pub message: String,
}

/// What was read from a foreign file, and what could not be carried over.
#[derive(Debug, Default)]
pub struct Converted {
    /// What could.
    pub config: Config,
    /// What could not, or means something else here, a line each.
    pub notes: Vec<String>,
    /// A line for each session was asked for.
    pub debug: bool,
}

impl Converted {
    /// Adds a tree. Of one that is here with the same settings it is the replicas that are added; of one with others, another
    /// name.
    fn add(&mut self, mut tree: TreeConfig) {
        let settings = |tree: &TreeConfig| TreeConfig {
            replicas: Vec::new(),
            ..tree.clone()
        };
        let trees = &mut self.config.trees;
        if let Some(same) = trees
            .iter_mut()
            .find(|known| settings(known) == settings(&tree))
        {
            same.replicas.append(&mut tree.replicas);
            return;
        }
        let known = trees.iter().filter(|known| known.source == tree.source);
        let number = known.count() + 1;
        if number > 1 {
            tree.name = Some(format!("{} ({number})", tree.source.display()));
        }
        trees.push(tree);
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        // What holds for every tree of a file is said once.
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}

/// Names the state file of a mirror of a source to these places, or says in words why there is none.
pub type StatePlace = dyn Fn(&Path, &[Place]) -> Result<PathBuf, String>;

/// What a configuration's meaning depends on besides its text.
pub struct Surroundings<'a> {
    /// The file, for messages.
    pub file: &'a Path,
    /// Its text, for the lines of mistakes.
    pub text: &'a str,
    /// Where to keep the state of a tree that names no file.
    pub state: &'a StatePlace,
    /// The login name, for daemons that ask.
    pub user: String,
    /// A password from the environment.
    pub password: Option<Vec<u8>>,
    /// Bring everything over and end.
    pub once: bool,
    /// Compare the replicas themselves as soon as they are in step.
    pub verify: bool,
}

impl Config {
    /// The text of a file in our own format, which is UTF-8.
    ///
    /// # Errors
    /// The line that is not.
    pub fn text(bytes: Vec<u8>, file: &Path) -> Result<String, BadConfig> {
        String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            BadConfig {
                file: file.to_owned(),
                line: Some(1 + good.iter().filter(|byte| **byte == b'\n').count()),
                message: "the file is not UTF-8 from here on".to_owned(),
            }
        })
    }

    /// Reads our own format.
    ///
    /// # Errors
    /// With the line, and the key that was probably meant.
    pub fn from_toml(text: &str, file: &Path) -> Result<Self, BadConfig> {
        toml::read(text, file)
    }

    /// Reads a sersync `confxml.xml`, for mirroring or, if one is named, for a plugin alone.
    ///
    /// # Errors
    /// What is no XML, or lacks what cannot be guessed.
    pub fn from_sersync(
        text: &str,
        file: &Path,
        plugin: Option<&str>,
    ) -> Result<Converted, BadConfig> {
        sersync::read(text, file, plugin)
    }

    /// Reads the tables `settings` and `sync` of an lsyncd configuration.
    ///
    /// # Errors
    /// What cannot be read without being a Lua program's interpreter.
    pub fn from_lsyncd(text: &str, file: &Path) -> Result<Converted, BadConfig> {
        lsyncd::read(text, file)
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// In words, when a value has no such form.
    pub fn to_toml(&self) -> Result<String, String> {
        ::toml::to_string_pretty(self).map_err(|error| error.to_string())
    }
}
