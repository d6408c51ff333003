//! Where mirrors keep what they know, unless they are told.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mirror::Place;

/// Where a mirror of these places keeps its ledger, unless it is told: one file for each set of places.
pub(crate) fn default_file(source: &Path, replicas: &[Place]) -> anyhow::Result<PathBuf> {
    let directory =
        directory().context("no place for the state file; name one with --state FILE")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(&directory)
        .with_context(|| {
            format!(
                "cannot make {}; name a state file with --state FILE",
                directory.display()
            )
        })?;
    let mut identity = source
        .canonicalize()
        .unwrap_or_else(|_| source.to_owned())
        .into_os_string()
        .into_encoded_bytes();
    for replica in replicas {
        identity.push(0);
        let place = match replica {
            Place::Directory(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .into_os_string(),
            place => place.to_string().into(),
        };
        identity.extend_from_slice(place.as_encoded_bytes());
    }
    Ok(directory.join(format!(
        "mirror-{:016x}.sqlite",
        xxhash_rust::xxh3::xxh3_64(&identity)
    )))
}

/// systemd's `StateDirectory=`, root's `/var/lib`, or the user's own by the XDG base directory specification.
pub(crate) fn directory() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("STATE_DIRECTORY") {
        return Some(directory.into());
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/driftless".into());
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("driftless"))
}
