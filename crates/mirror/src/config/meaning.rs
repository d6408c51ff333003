//! What a configuration means: its values as settings, with every mistake named by its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{Config, HookConfig, ReplicaConfig, TreeConfig, VerifyBy};
use super::spot::Spot;
use super::{BadConfig, Surroundings, toml};
use crate::brake::BrakeLimits;
use crate::control::socket_path;
use crate::credentials;
use crate::exclusions::Exclusions;
use crate::hooks::{self, Hook};
use crate::schedule::Schedule;
use crate::settings::{FilterRule, Place, ReplicaSettings, SESSIONS, Settings, Tls, Verify};
use crate::{BadSchedule, Error, PageSettings, Protocol};

impl Config {
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
        let replicas = self.replicas(around, spot)?;
        let state = self.state_file(around, &replicas, spot)?;
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
            rules: self.rules(spot)?,
            settle: Duration::from_millis(self.settle_ms.unwrap_or(10)),
            control: self
                .control
                .clone()
                .or_else(|| state.as_deref().map(socket_path)),
            state,
            once: around.once,
            allow_empty_source: self.allow_empty_source,
            brake: self.brake(spot)?,
            max_watches: self.max_watches,
            rescan: schedule_at("rescan", self.rescan.as_deref(), spot)?,
            verify: Verify {
                at_start: around.verify,
                schedule: schedule_at("verify", self.verify.as_deref(), spot)?,
                by_content: self.verify_by != Some(VerifyBy::Times),
                rate: rate_at("verify-rate", self.verify_rate.as_deref(), spot)?,
            },
            failures: self.failures.clone(),
            hooks,
            replicas,
        })
    }

    /// The replicas; a tree of hooks alone has one that is nowhere.
    fn replicas(
        &self,
        around: &Surroundings<'_>,
        spot: &Spot<'_>,
    ) -> Result<Vec<ReplicaSettings>, BadConfig> {
        if self.replicas.is_empty() {
            return Ok(vec![ReplicaSettings::at(Place::Nowhere)]);
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
                let (name, source) = (&replica.name, self.source.display());
                let message = format!(
                    "two replicas of {source} are called {name}; give each a name of its own"
                );
                return Err(spot.key("name").bad(name, message));
            }
            replicas.push(replica);
        }
        Ok(replicas)
    }

    /// The state file; `None` for one in memory.
    fn state_file(
        &self,
        around: &Surroundings<'_>,
        replicas: &[ReplicaSettings],
        spot: &Spot<'_>,
    ) -> Result<Option<PathBuf>, BadConfig> {
        match &self.state {
            Some(path) if path == Path::new(":memory:") => Ok(None),
            Some(path) => Ok(Some(path.clone())),
            None => {
                let places = replicas.iter().map(|replica| replica.place.clone());
                (around.state)(&self.source, &places.collect::<Vec<_>>())
                    .map(Some)
                    .map_err(|error| spot.bad(&self.source.to_string_lossy(), error))
            }
        }
    }

    fn brake(&self, spot: &Spot<'_>) -> Result<BrakeLimits, BadConfig> {
        const SHARE: &str = "max-delete-share";
        let usual = BrakeLimits::default();
        let percent = self.max_delete_share.unwrap_or(usual.percent);
        if percent > 100 {
            let message = format!("{SHARE} is 0 to 100, not {percent}");
            return Err(spot.key(SHARE).bad(SHARE, message));
        }
        Ok(BrakeLimits {
            percent,
            files: self.max_delete_files.unwrap_or(usual.files),
        })
    }

    /// The rules of all kinds, in the order in which they count.
    fn rules(&self, spot: &Spot<'_>) -> Result<Vec<FilterRule>, BadConfig> {
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
        ];
        Ok(rules.concat())
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
        let tls = self.tls(&place, spot)?;
        let password = match &self.password_file {
            Some(path) => Some(credentials::password_from(path).map_err(|error: Error| {
                spot.key("password-file")
                    .bad(&path.to_string_lossy(), error.to_string())
            })?),
            None => around.password.clone(),
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
            protocol: self.protocol(spot)?,
            trash: self.trash.clone(),
            compress: self.compress,
            bandwidth,
            sessions,
        })
    }

    /// Whom a daemon behind TLS has to be believed by, where there is one.
    fn tls(&self, place: &Place, spot: &Spot<'_>) -> Result<Option<Tls>, BadConfig> {
        match (self.tls, &self.tls_ca, place) {
            (false, None, _) => Ok(None),
            (false, Some(_), _) => Err(spot.key("tls-ca").bad("tls-ca", "tls-ca needs tls = true")),
            (true, Some(path), Place::Daemon(_)) => {
                let tls = Tls::believing(path).map_err(|error| {
                    spot.key("tls-ca")
                        .bad(&path.to_string_lossy(), error.to_string())
                });
                tls.map(Some)
            }
            (true, None, Place::Daemon(_)) => Ok(Some(Tls::default())),
            (true, ..) => {
                let message = format!("tls is for daemons (HOST::MODULE), and {} is none", self.to);
                Err(spot.key("tls").bad(&self.to, message))
            }
        }
    }

    fn protocol(&self, spot: &Spot<'_>) -> Result<Protocol, BadConfig> {
        let Some(number) = self.protocol else {
            return Ok(Protocol::LATEST);
        };
        Protocol::new(number)
            .filter(|protocol| protocol.has_compat_flags())
            .ok_or_else(|| {
                let message = format!("protocol is 30 to {}, not {number}", Protocol::LATEST);
                spot.key("protocol").bad("protocol", message)
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

/// The schedule under a key.
fn schedule_at(
    key: &'static str,
    text: Option<&str>,
    spot: &Spot<'_>,
) -> Result<Option<Schedule>, BadConfig> {
    let read = |text: &str| {
        text.parse()
            .map_err(|error: BadSchedule| spot.key(key).bad(text, error.to_string()))
    };
    text.map(read).transpose()
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
