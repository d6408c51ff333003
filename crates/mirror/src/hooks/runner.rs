//! The thread of one hook: gathers what it is told, and acts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Serialize;

use super::delivery::{deliver, exchange, is_success, patiently, post, run};
use super::stopping::Stopping;
use super::{Action, Change, Hook, PATH_ARGUMENT, Purge, Told};
use crate::Event;
use crate::mirror::Report;
use crate::status::unix_time;

/// How many changes one run is told of at most.
const BATCH_MAX: usize = 10_000;

/// What a hook is told at a time.
#[derive(Debug, Serialize)]
struct Batch<'a> {
    tree: &'a str,
    source: &'a str,
    replica: &'a str,
    /// Seconds since 1970.
    time: f64,
    changes: &'a [Change],
}

pub(super) struct Runner {
    pub(super) hook: Hook,
    pub(super) only: Vec<regex::bytes::Regex>,
    pub(super) rewrite: Option<regex::bytes::Regex>,
    pub(super) tree: String,
    pub(super) source: PathBuf,
    pub(super) told: Receiver<Told>,
    pub(super) report: Report,
    pub(super) stopping: Arc<Stopping>,
}

impl Runner {
    pub(super) fn run(self) {
        while let Ok(Told {
            replica,
            mut changes,
        }) = self.told.recv()
        {
            let until = Instant::now() + self.hook.wait;
            let mut others = Vec::new();
            while changes.len() < BATCH_MAX {
                match self.told.recv_deadline(until) {
                    Ok(more) if more.replica == replica => changes.extend(more.changes),
                    Ok(other) => others.push(other),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.tell(&replica, changes);
            for Told { replica, changes } in others {
                self.tell(&replica, changes);
            }
        }
    }

    fn tell(&self, replica: &str, mut changes: Vec<Change>) {
        changes.retain(|change| {
            let path = self.source.join(&change.exact).into_os_string().into_vec();
            self.only.is_empty() || self.only.iter().any(|only| only.is_match(&path))
        });
        for changes in changes.chunks(BATCH_MAX) {
            let acted = match self.stopping.is_over() {
                true => Err(format!(
                    "{} changes are told no more, for the mirror ends",
                    changes.len()
                )),
                false => self.act(replica, changes),
            };
            if let Err(reason) = acted {
                (self.report)(Event::Notice {
                    replica: Some(replica.to_owned()),
                    text: format!("hook: {reason}"),
                });
            }
        }
    }

    fn act(&self, replica: &str, changes: &[Change]) -> Result<(), String> {
        let batch = || {
            let source = self.source.to_string_lossy();
            serde_json::to_vec(&Batch {
                tree: &self.tree,
                source: &source,
                replica,
                time: unix_time(),
                changes,
            })
            .map_err(|error| error.to_string())
        };
        let stopping = &*self.stopping;
        match &self.hook.action {
            Action::Command(words) if words.iter().any(|word| word.contains(PATH_ARGUMENT)) => self
                .for_each(changes, |change, _| {
                    let path = self.source.join(&change.exact);
                    let words = words.iter().map(|word| with_path(word, &path));
                    run(words, Vec::new(), stopping)
                }),
            Action::Command(words) => run(words.iter().map(OsString::from), batch()?, stopping),
            Action::Shell(script) => {
                let words = ["/bin/sh", "-c", script].map(OsString::from);
                run(words, batch()?, stopping)
            }
            Action::Http(url) => {
                let body = batch()?;
                patiently(stopping, || post(url, &body))
            }
            Action::Socket {
                address,
                plain: false,
            } => {
                let mut line = batch()?;
                line.push(b'\n');
                patiently(stopping, || deliver(address, &line))
            }
            Action::Socket {
                address,
                plain: true,
            } => self.for_each(changes, |change, all_well| {
                let path = self.source.join(&change.exact);
                let deliver = || deliver(address, path.as_os_str().as_bytes());
                match all_well {
                    true => patiently(stopping, deliver),
                    false => deliver(),
                }
            }),
            Action::Purge(purge) => self.for_each(changes, |change, all_well| {
                let purge = || self.purge(purge, change);
                match all_well {
                    true => patiently(stopping, purge),
                    false => purge(),
                }
            }),
        }
    }

    /// Acts on each change, also when others have failed. `act` is told whether all before it went well: who has been
    /// waited for in vain is waited for no more.
    fn for_each(
        &self,
        changes: &[Change],
        mut act: impl FnMut(&Change, bool) -> Result<(), String>,
    ) -> Result<(), String> {
        let (mut first, mut failed) = (None, 0);
        for change in changes {
            let acted = match self.stopping.is_over() {
                true => Err("the mirror ends".to_owned()),
                false => act(change, first.is_none()),
            };
            if let Err(reason) = acted {
                first.get_or_insert(reason);
                failed += 1;
            }
        }
        match (first, failed) {
            (None, _) => Ok(()),
            (Some(reason), 1) => Err(reason),
            (Some(reason), _) => Err(format!("{reason} (and {} more)", failed - 1)),
        }
    }

    /// mirror.md 1.6, refreshCDN.
    fn purge(&self, purge: &Purge, change: &Change) -> Result<(), String> {
        let path = change.exact.as_os_str().as_bytes();
        let mut url = purge.base.clone().into_bytes();
        match &self.rewrite {
            None => {
                url.push(b'/');
                url.extend_from_slice(path);
            }
            Some(rewrite) => {
                let subject = [b"/", path].concat();
                let Some(found) = rewrite.captures(&subject) else {
                    return Ok(());
                };
                url.extend_from_slice(found.get(1).map_or(b"", |group| group.as_bytes()));
                let end = found.get(0).map_or(0, |all| all.end());
                url.extend_from_slice(&subject[end..]);
            }
        }
        if change.is_dir {
            url.push(b'/');
        }
        let what = if change.is_dir { "dirs" } else { "urls" };
        let request = format!(
            "HEAD /index.jsp?user={}&pswd={}&ok=ok&{what}={} HTTP/1.0\r\nHost: {}\r\n\r\n",
            escaped(purge.user.as_bytes()),
            escaped(purge.password.as_bytes()),
            escaped(&url),
            purge.domain,
        );
        let status = exchange(&purge.address, request.as_bytes())?;
        is_success(&status)
    }
}

/// A command's argument with the path in its place.
fn with_path(word: &str, path: &Path) -> OsString {
    let mut parts = word.split(PATH_ARGUMENT);
    let mut built = OsString::from(parts.next().unwrap_or_default());
    for part in parts {
        built.push(path);
        built.push(OsStr::new(part));
    }
    built
}

/// What may stand in a query: everything else as `%XX`.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    bytes
        .iter()
        .map(|&byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_argument() {
        let path = Path::new("/a b/$(rm -rf .);`x`");
        assert_eq!(with_path("{path}", path), path.as_os_str());
        assert_eq!(
            with_path("--file={path}!", path),
            *"--file=/a b/$(rm -rf .);`x`!"
        );
        assert_eq!(with_path("plain", path), *"plain");
    }

    #[test]
    fn a_query_cannot_be_left() {
        assert_eq!(escaped(b"a b&c=d\r\n/%~"), "a%20b%26c%3Dd%0D%0A/%25~");
    }
}
