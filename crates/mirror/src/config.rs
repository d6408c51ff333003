//! Configuration files: our own TOML, and what sersync and lsyncd read, all of which become the same values.
//!
//! [`Config`] is what is written in a file. [`Config::settings`] makes of it what a mirror needs, with every mistake
//! named by its place.

mod foreign_text;
mod keys;
mod lsyncd;
mod sersync;
mod spot;
mod toml;
mod xml;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::foreign_text::foreign_text;
pub use self::keys::{
    Config, HookConfig, LogFormat, PurgeConfig, ReplicaConfig, TreeConfig, VerifyBy,
};
use self::spot::Spot;
use crate::brake::BrakeLimits;
use crate::control::socket_path;
use crate::credentials;
use crate::exclusions::Exclusions;
use crate::hooks::{self, Hook};
use crate::settings::{FilterRule, Place, ReplicaSettings, SESSIONS, Settings, Tls, Verify};
use crate::{Error, PageSettings, Protocol};

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

    /// What the status page needs, if there is to be one.
    ///
    /// # Errors
    /// An address that is none or open to everybody, or a token that is not secret, with its line.
    pub fn page(&self, file: &Path, text: &str) -> Result<Option<PageSettings>, BadConfig> {
        let top = Spot::top(file, text);
        let bad =
            |key: &'static str, value: &str, message: String| top.key(key).bad(value, message);
        let token = match &self.status_token_file {
            Some(path) => Some(credentials::password_from(path).map_err(|error| {
                bad(
                    "status-token-file",
                    &path.to_string_lossy(),
                    error.to_string(),
                )
            })?),
            None => None,
        };
        match &self.status {
            Some(address) => PageSettings::new(address, token)
                .map(Some)
                .map_err(|message| bad("status", address, message)),
            None if token.is_some() => Err(bad(
                "status-token-file",
                "status-token-file",
                "a token without a page: status = \"HOST:PORT\" is missing".to_owned(),
            )),
            None => Ok(None),
        }
    }

    /// What the mirrors need.
    ///
    /// # Errors
    /// The first value that means nothing, with its line.
    pub fn settings(&self, around: &Surroundings<'_>) -> Result<Vec<Settings>, BadConfig> {
        let top = Spot::top(around.file, around.text);
        if self.trees.is_empty() {
            return Err(top.bad("", "no [[tree]] is given"));
        }
        let mut all: Vec<Settings> = Vec::new();
        for (number, tree) in self.trees.iter().enumerate() {
            let spot = top.nth("tree", number);
            let settings = tree.settings(around, &spot)?;
            for other in &all {
                check_apart(other, &settings, &spot)?;
            }
            all.push(settings);
        }
        Ok(all)
    }
}

/// Refuses a tree that would take another one's name, state file or replica for its own.
fn check_apart(other: &Settings, tree: &Settings, spot: &Spot<'_>) -> Result<(), BadConfig> {
    if other.name == tree.name {
        let message = format!("two trees are called {}; give each a name", other.name);
        return Err(spot.key("name").bad(&tree.name, message));
    }
    if let Some(state) = &tree.state
        && other.state.as_ref() == Some(state)
    {
        let message = format!("two trees have the state file {}", state.display());
        return Err(spot.key("state").bad(&state.to_string_lossy(), message));
    }
    for (number, replica) in tree.replicas.iter().enumerate() {
        let is_same = |other: &ReplicaSettings| other.place == replica.place;
        if replica.place != Place::Nowhere && other.replicas.iter().any(is_same) {
            let place = replica.place.to_string();
            let message = format!(
                "{} and {} have the replica {place}: each would remove what the other brings there",
                other.name, tree.name
            );
            return Err(spot.nth("replica", number).key("to").bad(&place, message));
        }
    }
    Ok(())
}

impl TreeConfig {
    fn settings(&self, around: &Surroundings<'_>, spot: &Spot<'_>) -> Result<Settings, BadConfig> {
        let source_text = self.source.to_string_lossy();
        if self.source.as_os_str().is_empty() {
            return Err(spot.key("source").bad("source", "the source is empty"));
        }
        if self.replicas.is_empty() && self.hooks.is_empty() {
            let message = format!("{source_text} has no [[tree.replica]] and no [[tree.hook]]");
            return Err(spot.bad(&source_text, message));
        }
        let mut replicas: Vec<ReplicaSettings> = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate() {
            let spot = spot.nth("replica", number);
            let replica = replica.settings(around, &spot)?;
            let has_its_name = |other: &ReplicaSettings| {
                other.name == replica.name && other.place != replica.place
            };
            if replicas.iter().any(has_its_name) {
                // Orders and metrics name replicas.
                let name = &replica.name;
                let message = format!(
                    "two replicas of {source_text} are called {name}; give each a name of its own"
                );
                return Err(spot.key("name").bad(name, message));
            }
            replicas.push(replica);
        }
        if self.replicas.is_empty() {
            replicas.push(ReplicaSettings::at(Place::Nowhere));
        }
        let places: Vec<Place> = replicas
            .iter()
            .map(|replica| replica.place.clone())
            .collect();
        let state = match &self.state {
            Some(path) if path == Path::new(":memory:") => None,
            Some(path) => Some(path.clone()),
            None => Some(
                (around.state)(&self.source, &places)
                    .map_err(|error| spot.bad(&source_text, error))?,
            ),
        };
        let mut brake = BrakeLimits::default();
        if let Some(percent) = self.max_delete_share {
            if percent > 100 {
                let message = format!("max-delete-share is 0 to 100, not {percent}");
                return Err(spot
                    .key("max-delete-share")
                    .bad("max-delete-share", message));
            }
            brake.percent = percent;
        }
        brake.files = self.max_delete_files.unwrap_or(brake.files);
        let schedule = |key: &'static str, text: &Option<String>| {
            let parsed = text.as_deref().map(str::parse).transpose();
            parsed.map_err(|error: crate::BadSchedule| {
                let text = text.as_deref().unwrap_or_default();
                spot.key(key).bad(text, error.to_string())
            })
        };
        let bytes = |text: &String| text.clone().into_bytes();
        let of = |key: &'static str, texts: &[String], rule: &dyn Fn(&String) -> FilterRule| {
            let numbered = texts.iter().enumerate();
            let checked = numbered.map(|(number, text)| {
                let rule = rule(text);
                // Each alone, so that the mistake has a place.
                Exclusions::of(std::slice::from_ref(&rule))
                    .map_err(|error| spot.nth(key, number).bad(text, error.to_string()))?;
                Ok(rule)
            });
            checked.collect::<Result<Vec<_>, BadConfig>>()
        };
        let rules = [
            of("filter", &self.filter, &|text| {
                FilterRule::Filter(bytes(text))
            })?,
            of("exclude", &self.exclude, &|text| {
                FilterRule::Exclude(bytes(text))
            })?,
            of("exclude-regex", &self.exclude_regex, &|text| {
                FilterRule::Regex(text.clone())
            })?,
        ]
        .concat();
        let names: Vec<&str> = replicas
            .iter()
            .map(|replica| replica.name.as_str())
            .collect();
        let numbered = self.hooks.iter().enumerate();
        let hooks = numbered.map(|(number, hook)| hook.hook(&names, &spot.nth("hook", number)));
        let hooks = hooks.collect::<Result<_, _>>()?;
        Ok(Settings {
            name: self
                .name
                .clone()
                .unwrap_or_else(|| source_text.clone().into_owned()),
            source: self.source.clone(),
            rules,
            settle: Duration::from_millis(self.settle_ms.unwrap_or(10)),
            control: self
                .control
                .clone()
                .or_else(|| state.as_deref().map(socket_path)),
            state,
            once: around.once,
            allow_empty_source: self.allow_empty_source,
            brake,
            max_watches: self.max_watches,
            rescan: schedule("rescan", &self.rescan)?,
            verify: Verify {
                at_start: around.verify,
                schedule: schedule("verify", &self.verify)?,
                by_content: self.verify_by != Some(VerifyBy::Times),
                rate: rate_at("verify-rate", self.verify_rate.as_deref(), spot)?,
            },
            failures: self.failures.clone(),
            hooks,
            replicas,
        })
    }
}

impl ReplicaConfig {
    fn settings(
        &self,
        around: &Surroundings<'_>,
        spot: &Spot<'_>,
    ) -> Result<ReplicaSettings, BadConfig> {
        let place = Place::parse(&self.to, &self.shell, self.rsync.as_deref(), self.tls)
            .map_err(|error| spot.key("to").bad(&self.to, error.to_string()))?;
        let tls = match (self.tls, &self.tls_ca, &place) {
            (false, None, _) => None,
            (false, Some(_), _) => {
                return Err(spot.key("tls-ca").bad("tls-ca", "tls-ca needs tls = true"));
            }
            (true, Some(path), Place::Daemon(_)) => {
                Some(Tls::believing(path).map_err(|error| {
                    spot.key("tls-ca")
                        .bad(&path.to_string_lossy(), error.to_string())
                })?)
            }
            (true, None, Place::Daemon(_)) => Some(Tls::default()),
            (true, ..) => {
                let message = format!("tls is for daemons (HOST::MODULE), and {} is none", self.to);
                return Err(spot.key("tls").bad(&self.to, message));
            }
        };
        let password = match &self.password_file {
            Some(path) => Some(credentials::password_from(path).map_err(|error: Error| {
                spot.key("password-file")
                    .bad(&path.to_string_lossy(), error.to_string())
            })?),
            None => around.password.clone(),
        };
        let protocol = match self.protocol {
            None => Protocol::LATEST,
            Some(number) => Protocol::new(number)
                .filter(|protocol| protocol.has_compat_flags())
                .ok_or_else(|| {
                    let message = format!("protocol is 30 to {}, not {number}", Protocol::LATEST);
                    spot.key("protocol").bad("protocol", message)
                })?,
        };
        if let Some(trash) = &self.trash {
            check_trash(trash).map_err(|message| spot.key("trash").bad(trash, message))?;
        }
        let bandwidth = rate_at("bandwidth", self.bandwidth.as_deref(), spot)?;
        if matches!(place, Place::Directory(_)) && (self.compress || bandwidth.is_some()) {
            let message = format!(
                "compress and bandwidth are for daemons and shells, and {} is a directory",
                self.to
            );
            return Err(spot.key("to").bad(&self.to, message));
        }
        let sessions = match self.sessions {
            None => SESSIONS,
            Some(sessions) => check_sessions(sessions.into())
                .map_err(|message| spot.key("sessions").bad(&sessions.to_string(), message))?,
        };
        Ok(ReplicaSettings {
            name: self.name.clone().unwrap_or_else(|| place.to_string()),
            place,
            deletes: self.delete.unwrap_or(true),
            credentials: transfer::Credentials {
                user: around.user.clone(),
                password,
            },
            tls,
            timeout: Duration::from_secs(self.timeout.unwrap_or(60)),
            protocol,
            trash: self.trash.clone(),
            compress: self.compress,
            bandwidth,
            sessions,
        })
    }
}

impl HookConfig {
    /// The hook; `replicas` are those of its tree.
    fn hook(&self, replicas: &[&str], spot: &Spot<'_>) -> Result<Hook, BadConfig> {
        for (number, name) in self.replicas.iter().enumerate() {
            if !replicas.contains(&name.as_str()) {
                let message = format!(
                    "there is no replica {name}; {}",
                    toml::suggestion(name, replicas)
                );
                return Err(spot.nth("replicas", number).bad(name, message));
            }
        }
        let mut actions = Vec::new();
        if let Some(words) = &self.command {
            if words.is_empty() {
                return Err(spot.key("command").bad("command", "the command is empty"));
            }
            actions.push(hooks::Action::Command(words.clone()));
        }
        actions.extend(self.shell.clone().map(hooks::Action::Shell));
        if let Some(url) = &self.http {
            actions.push(hooks::Action::Http(
                hooks::Url::parse(url).map_err(|error| spot.key("http").bad(url, error))?,
            ));
        }
        actions.extend(self.socket.clone().map(|address| hooks::Action::Socket {
            address,
            plain: self.plain,
        }));
        actions.extend(self.purge.as_ref().map(|purge| {
            hooks::Action::Purge(hooks::Purge {
                address: purge.address.clone(),
                domain: purge.domain.clone(),
                user: purge.user.clone(),
                password: purge.password.clone(),
                base: purge.base.clone(),
                rewrite: purge.rewrite.clone(),
            })
        }));
        let [action] = <[hooks::Action; 1]>::try_from(actions).map_err(|_| {
            spot.bad(
                "hook",
                "a hook has exactly one of command, shell, http, socket and purge",
            )
        })?;
        Ok(Hook {
            action,
            replicas: self.replicas.clone(),
            only: self.only.clone(),
            wait: Duration::from_millis(self.wait_ms.unwrap_or(200)),
        })
    }
}

/// Whether a text names a directory below a replica.
///
/// # Errors
/// In words, if it does not.
pub fn check_trash(trash: &str) -> Result<(), String> {
    let is_odd = |part: &str| part.is_empty() || part == ".." || part == ".";
    let is_plain = !trash.contains(['*', '?', '[', '\\', '\n']);
    match !trash.split('/').any(is_odd) && is_plain {
        true => Ok(()),
        false => Err(format!(
            "{trash:?} is no plain name of a directory below the replica"
        )),
    }
}

/// The rate under a key.
fn rate_at(
    key: &'static str,
    text: Option<&str>,
    spot: &Spot<'_>,
) -> Result<Option<u64>, BadConfig> {
    let read = |text: &str| {
        let message =
            || format!("{text:?} is no rate; give a number of bytes a second, with k, M or G");
        rate(text).ok_or_else(|| spot.key(key).bad(text, message()))
    };
    text.map(read).transpose()
}

/// How many sessions a batch may be divided for.
///
/// # Errors
/// In words, if there cannot be so many.
pub fn check_sessions(sessions: u64) -> Result<usize, String> {
    match usize::try_from(sessions) {
        Ok(sessions @ 1..=16) => Ok(sessions),
        _ => Err(format!("sessions is 1 to 16, not {sessions}")),
    }
}

/// A number of bytes, with k, M or G in units of 1024.
#[must_use]
pub fn rate(text: &str) -> Option<u64> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..at].parse().ok()?;
    let unit: u64 = match &text[at..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit).filter(|rate| *rate > 0)
}
