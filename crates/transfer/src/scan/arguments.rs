//! What the arguments name: the directories that names are relative to, the entries themselves, and the parents that
//! `--relative` implies.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tree::{Links, Meta, Policy};

use super::start::Start;
use super::{Base, Found, Inside, Pending, Scanner, path_of, rel, trouble};
use crate::Error;
use crate::event::{Event, Role, Skip};
use crate::options::{FilesFrom, MissingArgs};
use crate::report::sentence;

impl Scanner<'_> {
    /// What the arguments name, without the content of directories.
    pub(crate) fn arguments(&mut self, sources: &[OsString]) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for start in self.starts(sources)? {
            self.start(&start, &mut found)?;
        }
        Ok(found)
    }

    fn starts(&self, sources: &[OsString]) -> Result<VecDeque<Start>, Error> {
        let Some(FilesFrom::Names(names)) = &self.options.files_from else {
            return sources
                .iter()
                .map(|source| Start::of(source.as_bytes(), self.options.relative))
                .collect();
        };
        let base = sources.first().map(PathBuf::from).unwrap_or_default();
        Ok(names
            .iter()
            .map(|name| Start::listed(&base, name, self.options.relative))
            .collect())
    }

    fn start(&mut self, start: &Start, found: &mut Vec<Found>) -> Result<(), Error> {
        let Some(base) = self.base(&start.base)? else {
            return Ok(());
        };
        let path = path_of(&start.name);
        let Some(meta) = self.argument(base, path, start.content && path != b".") else {
            return Ok(());
        };
        let Some(meta) = meta else {
            if start.relative && self.options.missing_args == MissingArgs::Delete {
                self.implied_parents(start, base, found);
            }
            return self.missing_argument(base, path, start, found);
        };
        let shown = &self.bases[usize::from(base)].shown;
        let side = filter::Side::Sender;
        if self.options.hides_way(shown, path, meta.is_dir(), side) {
            return self.missing_argument(base, path, start, found);
        }
        let inside = self.inside_root(base)?;
        let above = match start.relative && path != b"." {
            true => self.inside_parents(base, path, inside)?,
            false => inside,
        };
        if path != b"." && self.is_hidden(base, &above, path, meta.is_dir()) {
            return Ok(());
        }
        if meta.is_dir() && !self.options.lists_dirs() {
            self.report.event(Event::Skipped {
                path: &start.name,
                is_dir: true,
                why: Skip::Directory,
            });
            return Ok(());
        }
        if start.relative {
            self.implied_parents(start, base, found);
        }
        let Some((mut entry, meta)) = self.entry(base, path, meta, true) else {
            return Ok(());
        };
        entry.name = start.name.as_slice().into();
        let is_dir = entry.is_dir();
        let enters = is_dir && (self.options.recursive || start.content || path == b".");
        entry.top_dir = enters;
        entry.no_content = is_dir && !enters;
        let device = (self.options.one_file_system > 0).then_some(meta.dev);
        let recursive = self.options.recursive;
        let above = Inside { device, ..above };
        let pending = enters.then(|| Pending {
            path: entry.name.to_vec(),
            base,
            above,
            recursive,
        });
        found.push(Found { entry, pending });
        Ok(())
    }

    /// The stat of what an argument names, if it exists. `None`, with its message, if there is no telling.
    fn argument(&self, base: u16, path: &[u8], follows: bool) -> Option<Option<Meta>> {
        let root = &self.bases[usize::from(base)].root;
        match root.lstat(rel(path)) {
            Ok(Some(meta)) if meta.is_symlink() && (follows || self.options.copy_links) => {
                match (root.stat(rel(path)), self.beyond(base, path)) {
                    (Ok(meta), _) => return Some(meta),
                    (Err(_), Some(None)) => return Some(None),
                    (Err(error), Some(_)) => self.astray(base, path, &error),
                    (Err(error), None) => self.bad_argument(base, path, error.cause()),
                }
            }
            Ok(meta) => return Some(meta),
            Err(error) => self.bad_argument(base, path, error.cause()),
        }
        None
    }

    /// The number of a directory that names are relative to; `None`, with its message, if it cannot be opened.
    fn base(&mut self, path: &Path) -> Result<Option<u16>, Error> {
        if let Some(last) = self.bases.last()
            && last.given == path
        {
            return Ok(u16::try_from(self.bases.len() - 1).ok());
        }
        let follows = self.options.copy_links
            || self.options.copy_unsafe_links
            || self.options.copy_dirlinks
            || self.options.relative;
        let dereferences = self.options.copy_links || self.options.copy_unsafe_links;
        let is_bound = self.options.confine_root.is_some() && self.options.files_from.is_some();
        let policy = Policy {
            links: match follows {
                false => Links::Refuse,
                // A name of a list may not lead out by a link; an operand may.
                true if is_bound && !dereferences => Links::Beneath,
                true => Links::Anywhere,
            },
            hold_dirs: true,
            without_births: true,
            noatime: self.options.open_noatime,
            devices: self.options.copy_devices,
            ..Policy::default()
        };
        let opened = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let shown = self.options.shown(opened);
        let side = filter::Side::Sender;
        let root = match self.options.hides_way(&shown, b".", true, side) {
            // What clients are not to see is not there.
            true => {
                let missing = std::io::Error::from_raw_os_error(trouble::ENOENT);
                Err(tree::Error::new("open", opened, missing))
            }
            false => self.options.open_dir(opened, policy),
        };
        // The directory of a name of a list; without --relative the operand is not all of it.
        let root = root.and_then(|root| match &self.options.confine_root {
            Some(bound) if is_bound && !self.options.relative && !root.is_within(bound) => {
                let cause = std::io::Error::from(Errno::LOOP);
                Err(tree::Error::new("open", opened, cause))
            }
            _ => Ok(root),
        });
        // A directory that may not be searched can be opened all the same, and is of no use.
        let root = match root.and_then(|root| root.lstat(rel(b".")).map(|_| root)) {
            Ok(root) => root,
            Err(error) => {
                self.general_error();
                let text = sentence(&[b"change_dir ", &self.options.quoted(path), b" failed"]);
                self.report.failed(Role::Sender, text, error.cause());
                return Ok(None);
            }
        };
        let number = u16::try_from(self.bases.len());
        let number = number.map_err(|_| Error::Usage("too many source directories".to_owned()))?;
        self.bases.push(Base {
            root,
            shown,
            given: path.to_owned(),
        });
        Ok(Some(number))
    }

    /// The parents of a relative name, but for those of the argument before it.
    fn implied_parents(&mut self, start: &Start, base: u16, found: &mut Vec<Found>) {
        if start.with_dot && !self.sent_dot && start.name != b"." {
            self.sent_dot = true;
            self.implied_parent(b".", base, found);
        }
        let slashes = start
            .name
            .iter()
            .enumerate()
            .filter(|&(at, &byte)| byte == b'/' && at > 0);
        let parents: Vec<Vec<u8>> = slashes.map(|(at, _)| start.name[..at].to_vec()).collect();
        for parent in &parents {
            if !self.implied.contains(parent) {
                self.implied_parent(parent, base, found);
            }
        }
        self.implied = parents;
    }

    fn implied_parent(&self, name: &[u8], base: u16, found: &mut Vec<Found>) {
        let root = &self.bases[usize::from(base)].root;
        let path = path_of(name);
        match root.stat(rel(path)) {
            Ok(Some(meta)) if meta.is_dir() => {
                let mut entry = self.entry_of(base, path, &meta, Vec::new());
                entry.name = name.into();
                entry.top_dir = true;
                entry.no_content = true;
                found.push(Found {
                    entry,
                    pending: None,
                });
            }
            Ok(_) => self.vanished(base, path, b"file has vanished: "),
            Err(error) => self.unreadable_entry(base, path, error.cause()),
        }
    }
}
