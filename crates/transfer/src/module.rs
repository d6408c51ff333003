//! Where the paths of a run lead: anywhere, or beneath the module of a daemon (behaviour.md 8.9 and 9.3).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use filter::Side;
use rustix::io::Errno;
use tree::{Links, Policy, Root};

use crate::flist::join;
use crate::options::{Options, Privilege};
use crate::report::{Shown, absolute};

/// A daemon's module, as the process that serves it sees it.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name, for messages.
    pub name: Vec<u8>,
    /// Its path in the process' own view: `/` in a chroot of its own.
    pub path: PathBuf,
    /// Its open directory, which no path leaves, not by a symbolic link either. `None` leaves that to the kernel, as in
    /// a chroot, or to nobody (`insecure links`).
    pub root: Option<Arc<Root>>,
    /// Where temporary files go unless the client says something else: the operator's choice, wherever it is.
    pub temp_dir: Option<Arc<Root>>,
}

/// Directories that one of the ends has named. Without a module the path is the operator's own.
impl Module {
    /// Opens a directory.
    pub(crate) fn open(this: Option<&Self>, path: &Path, policy: Policy) -> tree::Result<Root> {
        match this.and_then(|module| module.beneath(path)) {
            Some((root, rel)) => {
                let links = match policy.links {
                    Links::Anywhere => Links::Beneath,
                    links => links,
                };
                root.beneath(&rel, Policy { links, ..policy })
            }
            None => Root::open_with(path, policy),
        }
    }

    /// Opens a directory, and makes it if only itself is missing.
    pub(crate) fn create(this: Option<&Self>, path: &Path) -> tree::Result<Root> {
        let Some((root, rel)) = this.and_then(|module| module.beneath(path)) else {
            return Root::create(path);
        };
        match root.beneath(&rel, Policy::default()) {
            Err(error) if error.vanished() => {}
            opened => return opened,
        }
        // The parent is found as the directory itself would be: through links that stay in the module.
        let (parent, name) = match (rel.parent(), rel.file_name()) {
            (Some(parent), Some(name)) => (parent, Path::new(name)),
            _ => (Path::new(""), rel.as_path()),
        };
        let parent = root.beneath(parent, Policy::default())?;
        parent.mkdir(name, 0o777)?;
        root.beneath(&rel, Policy::default())
    }

    /// Whether a path leads to a directory.
    ///
    /// # Errors
    /// The system's, also if it leads to nothing.
    pub(crate) fn is_dir(this: Option<&Self>, path: &Path) -> io::Result<bool> {
        let Some((root, rel)) = this.and_then(|module| module.beneath(path)) else {
            return std::fs::metadata(path).map(|metadata| metadata.is_dir());
        };
        let policy = Policy {
            links: Links::Beneath,
            ..Policy::default()
        };
        let whole = root.beneath(Path::new(""), policy);
        match whole.and_then(|whole| whole.stat(&rel)) {
            Ok(Some(meta)) if !meta.is_dir() && path.as_os_str().as_bytes().ends_with(b"/") => {
                Err(Errno::NOTDIR.into())
            }
            Ok(Some(meta)) => Ok(meta.is_dir()),
            // Why there is nothing, only opening it tells.
            Ok(None) => Err(root
                .beneath(&rel, policy)
                .map_or_else(tree::Error::into_cause, |_| io::ErrorKind::NotFound.into())),
            Err(error) => Err(error.into_cause()),
        }
    }

    /// The open directory, and the way of `path` from there. By names alone, as messages are: what `..` leaves is not
    /// looked at.
    fn beneath(&self, path: &Path) -> Option<(&Arc<Root>, PathBuf)> {
        let root = self.root.as_ref()?;
        let whole = absolute(path);
        // Nothing outside is named but by our own mistake; the module itself is what is looked at then.
        let rel = whole.strip_prefix(&self.path).unwrap_or(Path::new(""));
        Some((root, rel.to_owned()))
    }
}

/// Where the directories may be that options name beside the destination: in the module, or without one wherever nobody
/// else's link leads, and within the bound that was set (behaviour.md 9.1, 9.3 and 9.4).
#[derive(Debug)]
pub(crate) struct Reach {
    module: Option<Module>,
    confine_root: Option<PathBuf>,
    insecure_links: bool,
}

impl Reach {
    pub(crate) fn open(&self, path: &Path, policy: Policy) -> tree::Result<Root> {
        let policy = Policy {
            trusted_path: !self.insecure_links,
            ..policy
        };
        let root = Module::open(self.module.as_ref(), path, policy)?;
        match &self.confine_root {
            Some(bound) if self.module.is_none() && !root.is_within(bound) => {
                let cause = io::Error::from(Errno::LOOP);
                Err(tree::Error::new("open", path, cause))
            }
            _ => Ok(root),
        }
    }

    /// Opens a directory, and makes it if only itself is missing.
    pub(crate) fn create(&self, path: &Path, policy: Policy) -> tree::Result<Root> {
        match self.open(path, policy) {
            Err(error) if error.vanished() => {}
            opened => return opened,
        }
        if self.module.is_none() {
            let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            self.open(parent.unwrap_or(Path::new(".")), policy)?;
        }
        Module::create(self.module.as_ref(), path)?;
        self.open(path, policy)
    }

    /// Whether there is nothing at a path.
    pub(crate) fn is_missing(&self, path: &Path) -> bool {
        Module::is_dir(self.module.as_ref(), path).is_err()
    }
}

impl Options {
    /// Opens a directory that one of the ends has named.
    pub(crate) fn open_dir(&self, path: &Path, policy: Policy) -> tree::Result<Root> {
        Module::open(self.module.as_ref(), path, self.noting(policy))
    }

    /// Opens a directory that an option names beside the destination.
    pub(crate) fn open_named_dir(&self, path: &Path) -> tree::Result<Root> {
        self.reach().open(path, self.noting(Policy::default()))
    }

    /// The same; it is made if only itself is missing.
    pub(crate) fn create_named_dir(&self, path: &Path) -> tree::Result<Root> {
        self.reach().create(path, self.noting(Policy::default()))
    }

    /// Where the paths of options may lead.
    pub(crate) fn reach(&self) -> Reach {
        Reach {
            module: self.module.clone(),
            confine_root: self.confine_root.clone(),
            insecure_links: self.insecure_links,
        }
    }

    /// A policy under which what only root may set is noted, if that was asked for.
    pub(crate) fn noting(&self, policy: Policy) -> Policy {
        Policy {
            fake_super: self.privilege == Privilege::Fake,
            ..policy
        }
    }

    /// Opens a directory that one of the ends has named, and makes it if only itself is missing.
    pub(crate) fn create_dir(&self, path: &Path) -> tree::Result<Root> {
        Module::create(self.module.as_ref(), path)
    }

    /// A directory that is named relative to another one. In a module an absolute path begins there, and `..` goes no
    /// higher.
    pub(crate) fn below(&self, dir: &Shown, path: &Path) -> PathBuf {
        let Some(module) = &self.module else {
            return dir.real().join(path);
        };
        let mut whole = match path.is_absolute() {
            true => module.path.clone(),
            false => dir.real().to_owned(),
        };
        for component in path.components() {
            match component {
                Component::Normal(name) => whole.push(name),
                Component::ParentDir if whole != module.path => drop(whole.pop()),
                _ => {}
            }
        }
        whole
    }

    /// Whether targets of links are stored so that they stay in the transfer (behaviour.md 7.16).
    pub(crate) fn confines_targets(&self) -> bool {
        self.module
            .as_ref()
            .is_some_and(|module| module.root.is_some())
    }

    /// Whether a path that one of the ends has named leads to a directory.
    ///
    /// # Errors
    /// The system's, also if it leads to nothing.
    pub(crate) fn is_dir(&self, path: &Path) -> io::Result<bool> {
        Module::is_dir(self.module.as_ref(), path)
    }

    /// A directory as messages show it.
    pub(crate) fn shown(&self, path: &Path) -> Shown {
        let real = absolute(path);
        match &self.module {
            None => Shown::whole(real),
            Some(module) => {
                let inside = real.strip_prefix(&module.path).unwrap_or(&real).to_owned();
                Shown::in_module(real, inside, module)
            }
        }
    }

    /// A path as it was given, in quotes, for messages.
    pub(crate) fn quoted(&self, path: &Path) -> Vec<u8> {
        match &self.module {
            None => {
                let mut shown = absolute(path).into_os_string();
                // The slash at its end is a part of what was given.
                if path.as_os_str().as_bytes().ends_with(b"/") && shown != "/" {
                    shown.push("/");
                }
                Shown::whole(shown.into()).quoted(b"")
            }
            Some(module) => Shown::as_given(path, module),
        }
    }

    /// Whether the module's own rules hide `path`, which is relative to `dir`.
    pub(crate) fn hides(&self, dir: &Shown, path: &[u8], is_dir: bool, side: Side) -> bool {
        !self.module_rules.is_empty()
            && self
                .module_rules
                .check(&in_module(dir, path), is_dir, side)
                .is_excluded()
    }

    /// Whether the module's own rules hide `path`, or a directory that it is in.
    pub(crate) fn hides_way(&self, dir: &Shown, path: &[u8], is_dir: bool, side: Side) -> bool {
        let whole = in_module(dir, path);
        !self.module_rules.is_empty()
            && whole != b"."
            && self
                .module_rules
                .excluded_with_parents(&whole, is_dir, side)
    }
}

fn in_module(dir: &Shown, path: &[u8]) -> Vec<u8> {
    match path {
        b"" | b"." => match dir.inside() {
            b"" => b".".to_vec(),
            inside => inside.to_vec(),
        },
        path => join(dir.inside(), path),
    }
}
