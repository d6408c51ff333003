//! Where backups and partial files are kept.

use crate::env::Env;
use crate::given::Given;
use crate::stop::{Stop, shown};

/// Where `--delay-updates` keeps files until the end.
const DELAYED: &[u8] = b".~tmp~";

pub(super) struct Backup {
    pub(super) dir: Option<Vec<u8>>,
    pub(super) suffix: Vec<u8>,
}

impl Backup {
    pub(super) fn new(said: &Given) -> Result<Self, Stop> {
        let dir = said.backup_dir.as_deref().map(|mut dir| {
            while let Some(rest) = dir.strip_prefix(b"./") {
                dir = rest;
            }
            dir.to_vec()
        });
        let dir = dir.filter(|dir| !dir.is_empty() && dir != b".");
        let default: &[u8] = if said.backup_dir.is_some() { b"" } else { b"~" };
        let suffix = said.suffix.as_deref().unwrap_or(default).to_vec();
        if suffix.contains(&b'/') {
            return Err(Stop::option(format!(
                "--suffix cannot contain slashes: {}",
                shown(&suffix)
            )));
        }
        if suffix.is_empty() && dir.is_none() {
            return Err(Stop::option(match said.backup_dir {
                None => "--suffix cannot be empty without a --backup-dir",
                Some(_) => "--suffix cannot be empty when --backup-dir is the same as the dest dir",
            }));
        }
        Ok(Self { dir, suffix })
    }
}

pub(super) struct Partial {
    pub(super) keeps: bool,
    pub(super) dir: Option<Vec<u8>>,
    pub(super) implied: bool,
}

impl Partial {
    pub(super) fn new(said: &Given, env: &Env, inplace: bool) -> Result<Self, Stop> {
        if inplace && (said.partial_dir.is_some() || said.delay_updates) {
            let option = if said.append > 0 {
                "--append"
            } else {
                "--inplace"
            };
            let other = if said.delay_updates {
                "--delay-updates"
            } else {
                "--partial-dir"
            };
            return Err(Stop::option(format!(
                "{option} cannot be used with {other}"
            )));
        }
        let keeps = (said.partial || said.partial_dir.is_some() || said.delay_updates) && !inplace;
        let named = said
            .partial_dir
            .as_deref()
            .map(clean)
            .filter(|dir| !dir.is_empty() && dir != b".");
        if let Some(dir) = named {
            return Ok(Self {
                keeps,
                dir: Some(dir),
                implied: false,
            });
        }
        if said.delay_updates {
            return Ok(Self {
                keeps,
                dir: Some(DELAYED.to_vec()),
                implied: true,
            });
        }
        let wants_default = keeps && !said.server && said.partial_dir.is_none();
        let inherited = env
            .set("RSYNC_PARTIAL_DIR")
            .filter(|_| wants_default)
            .map(clean);
        Ok(Self {
            keeps,
            dir: inherited.filter(|dir| !dir.is_empty() && dir != b"."),
            implied: false,
        })
    }
}

/// A path without empty components, `.` and what `..` takes back.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let is_absolute = path.starts_with(b"/");
    for part in path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
    {
        let can_go_up = parts.last().is_some_and(|last| *last != b"..");
        match part {
            b".." if can_go_up => drop(parts.pop()),
            b".." if is_absolute => {}
            _ => parts.push(part),
        }
    }
    let root: &[u8] = if is_absolute { b"/" } else { b"" };
    [root, &parts.join(&b'/')].concat()
}
