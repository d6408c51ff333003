//! Keeping what is replaced or removed (behaviour.md 7.4).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tree::{Kind, Meta, Mounts, Root, Which};
use wire::MAX_PATH;

use crate::Error;
use crate::destination::Destination;
use crate::event::{Class, Event, Role};
use crate::flist::parent;
use crate::options::Options;
use crate::report::{Reporter, absolute, quoted, sentence};
use crate::scan::{is_unsafe, rel};

/// Where backups of one run go.
#[derive(Debug)]
pub(crate) struct Backups {
    suffix: Vec<u8>,
    /// As it was named, and opened; without one they stay beside the new versions.
    dir: Option<(PathBuf, Root)>,
    safe_links: bool,
}

impl Backups {
    /// Prepares for backups; `None` if none are asked for.
    pub(crate) fn prepare(
        options: &Options,
        destination: &Destination,
        report: &Reporter<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(backup) = &options.backup else { return Ok(None) };
        let dir = match (&backup.dir, options.dry_run) {
            (Some(dir), false) => {
                let path = destination.shown.join(dir);
                let existing = std::fs::metadata(&path);
                if existing.as_ref().is_ok_and(|metadata| !metadata.is_dir()) {
                    let text = format!("The backup-dir is not a directory: {}", dir.display());
                    return Err(Error::fatal(1, Role::ReceivingSide, text, None));
                }
                Some((dir.clone(), Self::open(&path)?))
            }
            _ => None,
        };
        let _ = report;
        Ok(Some(Self { suffix: backup.suffix.clone(), dir, safe_links: options.safe_links }))
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
        let Some(root) = destination.root() else { return Ok(true) };
        let name = [place, &self.suffix].concat();
        if name.len() >= MAX_PATH {
            report.say(Class::Transfer, Role::Generator, "backup filename too long");
            return Ok(false);
        }
        if now.is_symlink() && self.safe_links {
            let target = root.read_link(rel(place))?;
            if is_unsafe(&target, place) {
                let text = sentence(&[b"not backing up unsafe symlink \"", place, b"\" -> \"", &target, b"\""]);
                report.say(Class::Info, Role::Generator, text);
                return Ok(true);
            }
        }
        let (to, kept_as) = match &self.dir {
            Some((dir, opened)) => (opened, dir.join(rel(&name))),
            None => (root, rel(&name).to_owned()),
        };
        if self.dir.is_some() {
            make_parents(root, to, parent(place))?;
        }
        if to.lstat(rel(&name))?.is_some_and(|existing| existing.is_dir()) {
            to.remove_tree(rel(&name), Mounts::Cross, &mut |_, _| false, &mut |_, _| {})?;
        }
        link_or_copy(root, place, to, &name, now)?;
        report.event(Event::BackedUp { path: place, kept_as: &kept_as });
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
        let Some(root) = destination.root() else { return Ok(()) };
        let name = [place, &self.suffix].concat();
        let (to, kept_as) = match &self.dir {
            Some((dir, opened)) => (opened, dir.join(rel(&name))),
            None => (root, rel(&name).to_owned()),
        };
        if self.dir.is_some() {
            make_parents(root, to, parent(place))?;
        }
        copy_file(root, place, to, &name, now)?;
        report.event(Event::BackedUp { path: place, kept_as: &kept_as });
        Ok(())
    }

    /// The file that was just kept, as a basis.
    pub(crate) fn reopen(&self, destination: &Destination, place: &[u8]) -> Option<std::fs::File> {
        let root = self.dir.as_ref().map(|(_, dir)| dir).or(destination.root())?;
        root.open_file(rel(&[place, &self.suffix].concat())).ok()
    }

    fn open(path: &Path) -> Result<Root, Error> {
        let path = absolute(path);
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| std::fs::metadata(dir).is_err()).collect();
        for dir in missing.iter().rev() {
            Root::create(dir).map_err(|error| Self::unusable(dir, error))?;
        }
        Root::open(&path).map_err(|error| Self::unusable(&path, error))
    }

    fn unusable(path: &Path, error: tree::Error) -> Error {
        let text = sentence(&[b"backup mkdir ", &quoted(path, b"."), b" failed"]);
        Error::fatal(11, Role::ReceivingSide, text, Some(error.into_cause()))
    }
}

/// The directories of a backup, with the attributes of those that they stand for.
fn make_parents(from: &Root, to: &Root, dir: &[u8]) -> Result<(), tree::Error> {
    if dir == b"." {
        return Ok(());
    }
    let slashes = dir.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
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
            let _ = to.set_meta(dir, &wanted, Which::OWNER | Which::GROUP | Which::MODE | Which::MTIME, &now);
        }
    }
    Ok(())
}

fn link_or_copy(from: &Root, place: &[u8], to: &Root, name: &[u8], now: &Meta) -> Result<(), tree::Error> {
    let from_dir = from.dir(rel(parent(place)))?;
    let to_dir = to.dir(rel(parent(name)))?;
    let base = |path: &[u8]| OsString::from_vec(crate::flist::basename(path).to_vec());
    let Err(refused) = to_dir.hard_link(&base(name), &from_dir, &base(place)) else { return Ok(()) };
    match now.kind {
        Kind::File => copy_file(from, place, to, name, now),
        Kind::Symlink => to.symlink(rel(name), &from.read_link(rel(place))?),
        Kind::Dir => Err(refused),
        kind => to.mknod(rel(name), kind, now.mode, now.rdev),
    }
}

fn copy_file(from: &Root, place: &[u8], to: &Root, name: &[u8], now: &Meta) -> Result<(), tree::Error> {
    let (source, _) = from.open_regular(rel(place))?;
    let mut temp = to.temp_file(rel(name))?;
    let copied = tree::copy_contents(&source, temp.file(), now.size, &|| false, &mut |_| {});
    let stopped = || tree::Error::new("copy", rel(name), std::io::Error::other("stopped"));
    copied.map_err(|error| error.at(rel(place), rel(name)).unwrap_or_else(stopped))?;
    temp.commit_unseen(now, Which::MODE | Which::MTIME)
}
