//! Keeping what is replaced or removed (behaviour.md 7.4).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tree::{Kind, Meta, Policy, Root, Time, Which};
use wire::{MAX_PATH, Protocol};

use crate::destination::Destination;
use crate::event::{Class, Event, Role};
use crate::flist::parent;
use crate::module::Reach;
use crate::options::Options;
use crate::report::{Reporter, absolute};
use crate::scan::rel;
use crate::symlink::is_unsafe;
use crate::{Error, Rights};

/// Where backups of one run go.
#[derive(Debug)]
pub(crate) struct Backups {
    suffix: Vec<u8>,
    /// Without one they stay beside the new versions.
    dir: Option<BackupDir>,
    safe_links: bool,
    /// Copies have the times that entries have, which may lack nanoseconds.
    protocol: Protocol,
    /// What a copy has of the file that it stands for, as far as this process may set it.
    kept: Which,
    rights: Rights,
}

/// A directory for backups. It is made when the first one is.
#[derive(Debug)]
struct BackupDir {
    given: PathBuf,
    path: PathBuf,
    opened: OnceLock<Root>,
    reach: Reach,
    policy: Policy,
    /// What its directories have of those that they stand for.
    kept: Which,
}

impl Backups {
    /// Prepares for backups; `None` if none are asked for.
    ///
    /// # Errors
    /// If the directory for them is something else.
    pub(crate) fn prepare(
        options: &Options,
        destination: &Destination,
        protocol: Protocol,
    ) -> Result<Option<Self>, Error> {
        let Some(backup) = &options.backup else {
            return Ok(None);
        };
        let mut kept = Which::MODE;
        kept.set(Which::OWNER, options.owner);
        kept.set(Which::GROUP, options.group);
        let kept_of_dirs = kept | Which::MTIME;
        kept.set(Which::MTIME, options.times);
        let dir = match &backup.dir {
            Some(dir) => {
                let path = absolute(&options.below(&destination.shown, dir));
                if options.is_dir(&path).is_ok_and(|is_dir| !is_dir) {
                    let text = format!("The backup-dir is not a directory: {}", dir.display());
                    return Err(Error::fatal(1, Role::ReceivingSide, text, None));
                }
                Some(BackupDir {
                    given: dir.clone(),
                    path,
                    opened: OnceLock::new(),
                    policy: options.noting(Policy::default()),
                    reach: options.reach(),
                    kept: kept_of_dirs,
                })
            }
            None => None,
        };
        Ok(Some(Self {
            suffix: backup.suffix.clone(),
            dir,
            safe_links: options.safe_links,
            protocol,
            kept,
            rights: Rights::of_this_process(),
        }))
    }

    /// The name of a place's backup, in the directory of backups if there is one.
    pub(crate) fn name(&self, place: &[u8]) -> Vec<u8> {
        [place, &self.suffix].concat()
    }

    /// Whether this is a backup's own name, which is not backed up again when it is removed.
    pub(crate) fn is_backup(&self, place: &[u8]) -> bool {
        self.dir.is_none() && !self.suffix.is_empty() && place.ends_with(&self.suffix)
    }

    /// Makes what is at `place` reachable under its backup's name. It stays where it is, to be replaced or removed.
    /// False if it is of a kind that is not kept.
    pub(crate) fn keep(
        &self,
        destination: &Destination,
        place: &[u8],
        now: &Meta,
        report: &Reporter<'_>,
    ) -> Result<bool, tree::Error> {
        let Some(root) = destination.root() else {
            return Ok(true);
        };
        let name = self.name(place);
        if name.len() >= MAX_PATH {
            report.say(Class::Transfer, Role::Generator, "backup filename too long");
            return Ok(false);
        }
        if now.is_symlink() && self.safe_links {
            let target = root.read_link(rel(place))?;
            if is_unsafe(&target, place) {
                report.event(Event::UnsafeLink {
                    path: place,
                    target: &target,
                    is_copied: false,
                });
                return Ok(true);
            }
        }
        let (to, kept_as) = self.target(root, place, &name)?;
        if to
            .lstat(rel(&name))?
            .is_some_and(|existing| existing.is_dir())
        {
            let mut tell = |path: &Path, kind| {
                let path = path.as_os_str().as_bytes();
                let is_dir = kind == Kind::Dir;
                if path != name {
                    report.event(Event::Deleted { path, is_dir });
                }
            };
            to.remove_tree(rel(&name), &mut |_, _| false, &mut tell)?;
        }
        link_or_copy(root, place, to, &name, now, self.settable(now))?;
        report.event(Event::BackedUp {
            path: place,
            kept_as: &kept_as,
        });
        Ok(true)
    }

    /// Copies a file that is about to be written into.
    pub(crate) fn copy(
        &self,
        destination: &Destination,
        place: &[u8],
        now: &Meta,
        report: &Reporter<'_>,
    ) -> Result<(), tree::Error> {
        let Some(root) = destination.root() else {
            return Ok(());
        };
        let name = self.name(place);
        let (to, kept_as) = self.target(root, place, &name)?;
        let mtime = match self.protocol.has_nanoseconds() {
            true => now.mtime,
            false => Time::from_secs(now.mtime.sec),
        };
        let which = self.settable(now);
        copy_file(root, place, to, &name, &Meta { mtime, ..*now }, which)?;
        report.event(Event::BackedUp {
            path: place,
            kept_as: &kept_as,
        });
        Ok(())
    }

    fn settable(&self, now: &Meta) -> Which {
        self.kept & self.rights.settable(now)
    }

    /// A file that was just kept, as a basis.
    pub(crate) fn reopen(&self, destination: &Destination, place: &[u8]) -> Option<std::fs::File> {
        let kept = self
            .dir
            .as_ref()
            .and_then(|dir| dir.opened.get())
            .or(destination.root())?;
        kept.open_file(rel(&[place, &self.suffix].concat())).ok()
    }

    /// Where a backup goes, and what that is called.
    fn target<'r>(
        &'r self,
        root: &'r Root,
        place: &[u8],
        name: &[u8],
    ) -> Result<(&'r Root, PathBuf), tree::Error> {
        let Some(dir) = &self.dir else {
            return Ok((root, rel(name).to_owned()));
        };
        let to = match dir.opened.get() {
            Some(opened) => opened,
            None => {
                let opened = dir.make()?;
                dir.opened.get_or_init(|| opened)
            }
        };
        make_parents(root, to, parent(place), dir.kept)?;
        Ok((to, dir.given.join(rel(name))))
    }
}

impl BackupDir {
    fn make(&self) -> Result<Root, tree::Error> {
        let missing: Vec<&Path> = self
            .path
            .ancestors()
            .take_while(|dir| self.reach.is_missing(dir))
            .collect();
        missing
            .iter()
            .rev()
            .try_for_each(|dir| self.reach.create(dir, self.policy).map(drop))?;
        self.reach.open(&self.path, self.policy)
    }
}

/// The directories of a backup, with the attributes of those that they stand for.
fn make_parents(from: &Root, to: &Root, dir: &[u8], kept: Which) -> Result<(), tree::Error> {
    if dir == b"." {
        return Ok(());
    }
    let slashes = dir
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at);
    for end in slashes.chain([dir.len()]) {
        let dir = rel(&dir[..end]);
        match to.lstat(dir)? {
            Some(existing) if existing.is_dir() => continue,
            Some(_) => to.remove_file(dir)?,
            None => {}
        }
        to.mkdir(dir, 0o700)?;
        if let (Some(wanted), Some(now)) = (from.lstat(dir)?, to.lstat(dir)?) {
            // An owner that cannot be given does not keep the backup from being made.
            let _ = to.set_meta(dir, &wanted, kept, &now);
        }
    }
    Ok(())
}

fn link_or_copy(
    from: &Root,
    place: &[u8],
    to: &Root,
    name: &[u8],
    now: &Meta,
    which: Which,
) -> Result<(), tree::Error> {
    let from_dir = from.dir(rel(parent(place)))?;
    let to_dir = to.dir(rel(parent(name)))?;
    let base = |path: &[u8]| OsString::from_vec(crate::flist::basename(path).to_vec());
    let Err(refused) = to_dir.hard_link(&base(name), &from_dir, &base(place)) else {
        return Ok(());
    };
    match now.kind {
        Kind::File => copy_file(from, place, to, name, now, which),
        Kind::Symlink => to.symlink(rel(name), &from.read_link(rel(place))?),
        Kind::Dir => Err(refused),
        kind => to.mknod(rel(name), kind, now.mode, now.rdev),
    }
}

fn copy_file(
    from: &Root,
    place: &[u8],
    to: &Root,
    name: &[u8],
    now: &Meta,
    which: Which,
) -> Result<(), tree::Error> {
    let (source, _) = from.open_regular(rel(place))?;
    let mut temp = to.temp_file(rel(name))?;
    let copied = tree::copy_contents(&source, temp.file(), now.size, &|| false, &mut |_| {});
    let stopped = || tree::Error::new("copy", rel(name), std::io::Error::other("stopped"));
    copied.map_err(|error| error.at(rel(place), rel(name)).unwrap_or_else(stopped))?;
    temp.commit_unseen(now, which)
}
