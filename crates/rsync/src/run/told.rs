//! Errors that end a run, in rsync's words.

use crate::exit::{Exit, Place};
use crate::named_file::{UNTRUSTED, is_loop};
use crate::output::{role_name, strerror};
use crate::run::place;

/// Who decided on this end: `own` if nobody in particular.
pub(super) fn role_of(error: &transfer::Error, own: &'static str) -> &'static str {
    match error {
        transfer::Error::Fatal { role, .. } => role_name(*role),
        _ => own,
    }
}

/// All that is said by an end that leaves with an error.
pub(crate) fn parting_words(error: &transfer::Error, role: &'static str) -> Vec<String> {
    let mut lines = told(error, role);
    lines.extend(Exit::of(error.exit_code()).line(&place!(role_of(error, role))));
    lines
}

/// The engine's error as lines; none if the final line says it all.
pub(crate) fn told(error: &transfer::Error, role: &str) -> Vec<String> {
    let text = match error {
        transfer::Error::Stalled(after) => {
            let seconds = after.map_or(0, |after| after.as_secs());
            format!("[{role}] io timeout after {seconds} seconds -- exiting")
        }
        transfer::Error::Cancelled => return Vec::new(),
        transfer::Error::PeerExit { words, .. } => return words.clone(),
        transfer::Error::Fatal {
            text, cause: None, ..
        } => text.clone(),
        transfer::Error::Fatal {
            text,
            cause: Some(cause),
            role,
            ..
        } => {
            // In a module, a link is more likely to lead out of it.
            let is_hinted = is_loop(cause) && !text.contains("\" (in ");
            let hint = if is_hinted { UNTRUSTED } else { "" };
            let (role, cause) = (role_name(*role), strerror(cause));
            format!("{hint}\nrsync: [{role}] {text}: {cause}")
                .trim_start()
                .to_owned()
        }
        transfer::Error::Tree(error) => {
            let (verb, path, cause) = (
                error.verb(),
                error.path().display(),
                strerror(error.cause()),
            );
            format!("rsync: [{role}] {verb} \"{path}\" failed: {cause}")
        }
        transfer::Error::Closed { received, words } => {
            let closed =
                format!("connection unexpectedly closed ({received} bytes received so far)");
            return words
                .iter()
                .cloned()
                .chain([format!("rsync: {closed} [{role}]")])
                .collect();
        }
        transfer::Error::Connect { host, attempts } => {
            let told = attempts.iter().map(|(address, cause)| {
                let (address, cause) = (address.ip(), strerror(cause));
                format!("rsync: [{role}] failed to connect to {host} ({address}): {cause}")
            });
            return told.collect();
        }
        // The final line says it all.
        transfer::Error::ConnectTimeout { .. } => return Vec::new(),
        transfer::Error::Bind { local, cause } => match cause.raw_os_error() {
            Some(_) => {
                let cause = strerror(cause);
                format!("rsync: [{role}] cannot connect from {local}: {cause}")
            }
            None => format!("rsync: getaddrinfo {local}: {cause}"),
        },
        transfer::Error::Resolve { target, cause } => {
            format!("rsync: getaddrinfo: {target}: {cause}")
        }
        transfer::Error::Socket(cause) => {
            format!("rsync: [{role}] write error: {}", strerror(cause))
        }
        transfer::Error::Read { cause, words } => {
            let broken = format!("rsync: [{role}] read error: {}", strerror(cause));
            return words.iter().cloned().chain([broken]).collect();
        }
        transfer::Error::Refused(_)
        | transfer::Error::Greeting(_)
        | transfer::Error::NoCommon(_)
        | transfer::Error::Proxy(_)
        | transfer::Error::Usage(_)
        | transfer::Error::Filter(_) => error.to_string(),
        other => format!("rsync: {other}"),
    };
    text.lines().map(str::to_owned).collect()
}
