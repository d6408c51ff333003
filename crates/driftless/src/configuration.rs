//! Configuration files, and what else the environment says: read at the start, and again when a signal asks for it.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use anyhow::Context;
use mirror::config::{Config, Converted, LogFormat, Surroundings, foreign_text};
use mirror::{PageSettings, Settings};

use crate::state;

/// A file that says what to mirror.
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
    pub(crate) once: bool,
    pub(crate) verify: bool,
    /// What the command line says of it.
    pub(crate) shown: Shown,
}

/// What is shown of running mirrors besides their lines, where it is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) page: Option<PageSettings>,
    pub(crate) log: Option<LogFormat>,
}

/// What the file is written in.
pub(crate) enum Form {
    /// Our own TOML.
    Toml,
    /// sersync's XML, for a plugin alone if one is named.
    Sersync { plugin: Option<String> },
}

/// What a file says.
pub(crate) struct Said {
    pub(crate) settings: Vec<Settings>,
    /// What could not be carried over.
    pub(crate) notes: Vec<String>,
    /// A line for each session is wanted.
    pub(crate) verbose: bool,
    pub(crate) shown: Shown,
}

impl ConfigFile {
    /// Reads the file as it is now.
    pub(crate) fn read(&self) -> anyhow::Result<Said> {
        let bytes = std::fs::read(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        let (text, converted) = match &self.form {
            Form::Toml => {
                let text = Config::text(bytes, &self.path)?;
                let config = Config::from_toml(&text, &self.path)?;
                let converted = Converted {
                    config,
                    ..Converted::default()
                };
                (text, converted)
            }
            Form::Sersync { plugin } => {
                let (text, note) = foreign_text(&bytes);
                let mut converted = Config::from_sersync(&text, &self.path, plugin.as_deref())?;
                converted.notes.extend(note);
                (text, converted)
            }
        };
        let settings = converted.config.settings(&Surroundings {
            file: &self.path,
            text: &text,
            state: &|source, places| {
                state::default_file(source, places).map_err(|error| format!("{error:#}"))
            },
            user: user(),
            password: password(),
            once: self.once,
            verify: self.verify,
        })?;
        let shown = Shown {
            page: match &self.shown.page {
                Some(page) => Some(page.clone()),
                None => converted.config.page(&self.path, &text)?,
            },
            log: self.shown.log.or(converted.config.log),
        };
        Ok(Said {
            settings,
            shown,
            notes: converted.notes,
            verbose: converted.debug,
        })
    }
}

/// The login name, which daemons are told unless another is given, as rsync does.
pub(crate) fn user() -> String {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    user.unwrap_or_else(|| "nobody".to_owned())
}

/// The password of the environment, for daemons that ask.
pub(crate) fn password() -> Option<Vec<u8>> {
    std::env::var_os("RSYNC_PASSWORD").map(OsStringExt::into_vec)
}
