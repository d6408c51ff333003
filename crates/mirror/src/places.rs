//! Where source and replicas are: none may lie in another, by whatever path it is reached.

use std::path::{Path, PathBuf};

use watch::Mount;

use crate::Error;
use crate::settings::{Place, ReplicaSettings, Settings};

/// Refuses replicas that lie in the source, or the source in them, and places named twice.
///
/// # Errors
/// [`Error::Overlap`] and [`Error::Twice`]; [`Error::Source`] when there is no source.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    let unusable = |cause| Error::Source {
        path: settings.source.clone(),
        cause,
    };
    let source = settings.source.canonicalize().map_err(unusable)?;
    // Without the list only the paths tell.
    let mounts = watch::mounts().unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    for ReplicaSettings { place, .. } in &settings.replicas {
        let mut name = place.to_string();
        if let Place::Directory(path) = place {
            let replica = canonical_as_far_as_it_exists(path);
            if overlap(&source, &replica, &mounts) {
                return Err(Error::Overlap {
                    path: settings.source.clone(),
                    replica: path.clone(),
                });
            }
            name = replica.display().to_string();
        }
        let is_nowhere = matches!(place, Place::Nowhere);
        if seen.contains(&name) && !is_nowhere {
            return Err(Error::Twice(place.to_string()));
        }
        seen.push(name);
    }
    Ok(())
}

/// Whether one of two directories, both without symlinks, shows what is in the other: by its path, or through mounts.
fn overlap(one: &Path, other: &Path, mounts: &[Mount]) -> bool {
    let shows = |shown: &Path, place: &Path| {
        let Some(shown) = Region::of(shown, mounts) else {
            return false;
        };
        let below = mounts.iter().filter(|mount| mount.at.starts_with(place));
        let below = below.filter_map(|mount| Region::of(&mount.at, mounts));
        let mut regions = Region::of(place, mounts).into_iter().chain(below);
        regions.any(|region| region.overlaps(&shown))
    };
    one.starts_with(other) || other.starts_with(one) || shows(one, other) || shows(other, one)
}

/// Where a directory is on its file system.
#[derive(Debug)]
struct Region<'a> {
    device: &'a str,
    path: PathBuf,
}

impl<'a> Region<'a> {
    fn of(directory: &Path, mounts: &'a [Mount]) -> Option<Self> {
        // Of several at one place the last one hides the others.
        let is_above = |mount: &&Mount| directory.starts_with(&mount.at);
        let above = mounts.iter().filter(is_above);
        let mount = above.max_by_key(|mount| mount.at.as_os_str().len())?;
        let within = directory.strip_prefix(&mount.at).ok()?;
        Some(Self {
            device: &mount.device,
            path: mount.root.join(within),
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.device == other.device
            && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

/// The real path of something whose last components may not exist yet.
fn canonical_as_far_as_it_exists(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path
        .ancestors()
        .find_map(|above| Some((above, above.canonicalize().ok()?)));
    match existing {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(device: &str, root: &str, at: &str) -> Mount {
        Mount {
            id: 0,
            device: device.into(),
            root: root.into(),
            at: at.into(),
        }
    }

    #[test]
    fn what_is_seen_through_mounts_overlaps() {
        let mounts = [
            mount("8:1", "/", "/"),
            mount("8:2", "/", "/disk"),
            mount("8:1", "/data", "/bound"),
            mount("8:1", "/data/sub", "/elsewhere"),
            mount("8:2", "/backup", "/home/kept"),
            mount("0:5", "/", "/jail/one/proc"),
            mount("0:5", "/", "/jail/two/proc"),
            mount("8:3", "/", "/home/hidden"),
            mount("8:4", "/", "/home/hidden"),
        ];
        for (one, other, expected) in [
            ("/data", "/data/sub", true),
            ("/data", "/backup", false),
            ("/data", "/database", false),
            ("/data", "/bound", true),
            ("/data", "/bound/new", true),
            ("/data/other", "/elsewhere", false),
            ("/data", "/elsewhere/new", true),
            ("/data/sub/below", "/elsewhere", true),
            ("/bound/sub", "/elsewhere", true),
            ("/disk/data", "/disk/backup", false),
            ("/home", "/disk/backup", true),
            ("/home", "/disk/other", false),
            ("/disk", "/home/kept", true),
            ("/jail/one", "/jail/two", false),
            ("/home/hidden/a", "/home/hidden/b", false),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let found = overlap(Path::new(one), Path::new(other), &mounts);
                assert_eq!(found, expected, "{one} and {other}");
            }
        }
    }
}
