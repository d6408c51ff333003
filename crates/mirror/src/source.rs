//! The tree that is mirrored: an open directory, and what of it is left out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tree::{Identity, Kind, Meta, Root};

use crate::Error;
use crate::exclusions::Exclusions;

/// The source of a mirror.
pub(crate) struct Source {
    opened: RwLock<Opened>,
    exclusions: Arc<Exclusions>,
    /// Our own state files, where they lie in the tree: writing them must not cause more writing.
    own: Arc<[PathBuf]>,
}

/// The directory that is open.
struct Opened {
    root: Arc<Root>,
    identity: Identity,
}

/// One name in a directory of the source.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    /// Its path below the root.
    pub path: PathBuf,
    /// Its stat.
    pub meta: Meta,
}

impl Source {
    /// Opens the directory `path`. `state_files` are left out of the mirror if they lie below it.
    ///
    /// # Errors
    /// [`Error::Source`] when it is missing or no directory.
    pub(crate) fn open(
        path: &Path,
        exclusions: Exclusions,
        state_files: &[PathBuf],
    ) -> Result<Self, Error> {
        let unusable = |cause: tree::Error| Error::Source {
            path: path.to_owned(),
            cause: cause.into_cause(),
        };
        let opened = Opened::at(path).map_err(unusable)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let own = state_files
            .iter()
            .filter_map(|file| {
                std::path::absolute(file)
                    .ok()?
                    .strip_prefix(&absolute)
                    .ok()
                    .map(Path::to_owned)
            })
            .collect();
        Ok(Self {
            opened: RwLock::new(opened),
            exclusions: Arc::new(exclusions),
            own,
        })
    }

    /// The directory that is open now, whatever is accepted as the source meanwhile. Its directories are found anew for
    /// each look: one that was held open could be moved, and what its path leads to then would be taken for known.
    #[must_use]
    pub(crate) fn as_opened(&self) -> Self {
        let opened = self.opened();
        Self {
            opened: RwLock::new(Opened {
                root: Arc::clone(&opened.root),
                identity: opened.identity,
            }),
            exclusions: Arc::clone(&self.exclusions),
            own: Arc::clone(&self.own),
        }
    }

    /// The open directory.
    #[must_use]
    pub(crate) fn root(&self) -> Arc<Root> {
        Arc::clone(&self.opened().root)
    }

    /// Opens what the path leads to now: another directory is accepted as the source.
    ///
    /// # Errors
    /// There is no directory.
    pub(crate) fn reopen(&self) -> Result<(), tree::Error> {
        let opened = Opened::at(self.root().path())?;
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    /// Which directory is open.
    #[must_use]
    pub(crate) fn identity(&self) -> Identity {
        self.opened().identity
    }

    fn opened(&self) -> RwLockReadGuard<'_, Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter rules, which the replica must know too.
    #[must_use]
    pub(crate) fn rules(&self) -> &filter::Rules {
        self.exclusions.rules()
    }

    /// Whether the path still leads to the directory that was opened. It does not when the file system was
    /// unmounted or something else was put in its place: then nothing that is seen, or missed, in it means
    /// anything for the replicas.
    #[must_use]
    pub(crate) fn is_in_place(&self) -> bool {
        self.is_in_place_or_other() == Some(true)
    }

    /// Whether another directory is where the source was.
    #[must_use]
    pub(crate) fn is_replaced(&self) -> bool {
        self.is_in_place_or_other() == Some(false)
    }

    fn is_in_place_or_other(&self) -> Option<bool> {
        let opened = self.opened();
        let now = opened.root.current_identity().ok().flatten()?;
        Some(now == opened.identity)
    }

    /// Whether `path` is left out of the mirror, by its own name or by that of a directory above it.
    #[must_use]
    pub(crate) fn leaves_out(&self, path: &Path, is_dir: bool) -> bool {
        if path.as_os_str().is_empty() {
            return false;
        }
        self.own.iter().any(|own| own == path) || self.exclusions.leave_out(path, is_dir)
    }

    /// Whether a replica keeps `path` although the source has no such thing.
    #[must_use]
    pub fn protects(&self, path: &Path, is_dir: bool) -> bool {
        self.own.iter().any(|own| own == path) || self.exclusions.protect(path, is_dir)
    }

    /// The stat of `path`; `None` if there is no such path, be it that a link stands where a directory was.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(crate) fn lstat(&self, path: &Path) -> Result<Option<Meta>, tree::Error> {
        match self.root().lstat(path) {
            Err(error) if error.is_confined() => Ok(None),
            found => found,
        }
    }

    /// `path` itself where that is a directory, or the nearest above it that is one; `None` if not even the root can be
    /// looked at.
    #[must_use]
    pub(crate) fn nearest_directory<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let is_directory = |path: &Path| {
            let found = self.lstat(path).ok().flatten();
            found.is_some_and(|meta| meta.kind == Kind::Dir)
        };
        path.ancestors().find(|above| is_directory(above))
    }

    /// What is directly in the directory `dir` and not left out, in byte order of the names. A name that vanishes
    /// meanwhile is not among them.
    ///
    /// # Errors
    /// The directory cannot be read: what is in it is unknown, which is not to say that it is empty.
    pub(crate) fn children(&self, dir: &Path) -> Result<Vec<Child>, tree::Error> {
        let mut children = Vec::new();
        let handle = self.root().dir(dir)?;
        for entry in handle.read_dir()? {
            let path = dir.join(&entry.name);
            if let Some(meta) = handle.lstat(&entry.name)?
                && !self.leaves_out(&path, meta.kind == Kind::Dir)
            {
                children.push(Child { path, meta });
            }
        }
        // Up to the name they are all the same; to compare the paths as such takes each apart.
        children.sort_unstable_by(|left, right| left.path.as_os_str().cmp(right.path.as_os_str()));
        Ok(children)
    }

    /// Whether nothing at all is in the tree, not even what is left out.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(crate) fn is_empty(&self) -> Result<bool, tree::Error> {
        Ok(self.root().read_dir(Path::new(""))?.is_empty())
    }
}

impl Opened {
    fn at(path: &Path) -> Result<Self, tree::Error> {
        let root = Root::open(path)?;
        let identity = root.identity()?;
        Ok(Self {
            root: Arc::new(root),
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own tree")]

    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_directory_is_sought_upwards() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("a/link")).unwrap();
        let source = Source::open(dir.path(), Exclusions::default(), &[]).unwrap();
        for (path, nearest) in [
            ("a/b", "a/b"),
            ("a/b/gone/below", "a/b"),
            ("a/file/below", "a"),
            ("a/link/below", "a"),
            ("gone", ""),
            ("", ""),
        ] {
            let found = source.nearest_directory(Path::new(path));
            assert_eq!(found, Some(Path::new(nearest)), "{path}");
        }
    }
}
