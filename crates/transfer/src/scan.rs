//! From arguments to entries: what of the source takes part (wire-files.md 4).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tree::{Dir, Kind, Meta, Root};
use wire::MAX_PATH;

use crate::Error;
use crate::attributes::{XattrRules, refuse_corrupt_note};
use crate::event::{Class, Event, Role, Skip};
use crate::flist::{Entry, join};
use crate::options::Options;
use crate::report::{Reporter, Shown, quoted, sentence};

mod arguments;
mod entry;
mod rules;
mod start;
mod trouble;

pub(crate) use rules::{Inside, read_merge_file};

/// The directories that names of the list are relative to.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) root: Root,
    /// For messages.
    pub(crate) shown: Shown,
    /// As the user named it, for what is shown of a source.
    pub(crate) given: PathBuf,
}

/// Where the scan is.
pub(crate) struct Scanner<'a> {
    options: &'a Options,
    rules: Arc<filter::Rules>,
    report: &'a Reporter<'a>,
    pub(crate) bases: Vec<Base>,
    /// The last argument's parents, which are not sent again.
    implied: Vec<Vec<u8>>,
    sent_dot: bool,
    xattrs: Option<XattrRules>,
    /// What could not be read so far.
    errors: AtomicUsize,
    /// Whoever scans says himself when that counts as an I/O error.
    pub(crate) defers_errors: bool,
}

/// A directory whose content is to be listed.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) path: Vec<u8>,
    pub(crate) base: u16,
    pub(crate) above: Inside,
    /// Further levels follow.
    pub(crate) recursive: bool,
}

/// What is found: entries, and directories to go into.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) pending: Option<Pending>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(
        options: &'a Options,
        rules: Arc<filter::Rules>,
        report: &'a Reporter<'a>,
    ) -> Self {
        Self {
            options,
            xattrs: XattrRules::new(options, &rules, filter::Side::Sender),
            rules,
            report,
            bases: Vec::new(),
            implied: Vec::new(),
            sent_dot: false,
            errors: AtomicUsize::new(0),
            defers_errors: false,
        }
    }

    /// How much could not be read so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.load(Ordering::Relaxed)
    }

    /// The content of one directory, in the order of the list: other entries, then directories.
    pub(crate) fn content(&self, pending: &Pending) -> Result<Vec<Found>, Error> {
        let dir_path = path_of(&pending.path);
        let base = &self.bases[usize::from(pending.base)];
        let inside = Inside {
            scope: match &pending.above.scope {
                Some(scope) => Some(self.enter(scope, dir_path, pending.base)?),
                None => None,
            },
            device: pending.above.device,
        };
        let dir = match base.root.dir(rel(dir_path)) {
            Ok(dir) => dir,
            Err(error) => {
                self.unreadable("opendir", pending, error.cause());
                return Ok(Vec::new());
            }
        };
        let mut names = Vec::new();
        if let Err(error) = dir.list(&mut Vec::new(), |name, kind| {
            names.push((name.to_owned(), kind));
        }) {
            self.unreadable(error.verb(), pending, error.cause());
        }
        let mut found = Vec::with_capacity(names.len());
        for (name, kind) in names {
            found.extend(self.found(pending, &inside, &dir, &name, kind)?);
        }
        let order = wire::SortOrder::of(wire::Protocol::LATEST);
        found.sort_by(|left, right| crate::flist::compare(order, &left.entry, &right.entry));
        Ok(found)
    }

    /// Everything, a directory before its content: the order of the list, but for further arguments.
    pub(crate) fn whole(
        &mut self,
        sources: &[OsString],
        each: &mut dyn FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for found in self.arguments(sources)? {
            let mut levels = vec![vec![found].into_iter()];
            while let Some(level) = levels.last_mut() {
                if self.options.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let Some(found) = level.next() else {
                    levels.pop();
                    continue;
                };
                each(found.entry)?;
                if let Some(pending) = found.pending {
                    levels.push(self.content(&pending)?.into_iter());
                }
            }
        }
        Ok(())
    }

    /// One name of a directory that is being listed, unless it takes no part.
    fn found(
        &self,
        pending: &Pending,
        inside: &Inside,
        dir: &Dir,
        name: &OsStr,
        kind: Option<Kind>,
    ) -> Result<Option<Found>, Error> {
        let base = &self.bases[usize::from(pending.base)];
        let path = join(path_of(&pending.path), name.as_bytes());
        // What the listing tells saves the stat of what is hidden anyway.
        if kind.is_some_and(|kind| {
            kind != Kind::Symlink && self.is_hidden(pending.base, inside, &path, kind == Kind::Dir)
        }) {
            return Ok(None);
        }
        if path.len() >= MAX_PATH {
            let text = sentence(&[b"skipping overly long name: ", &path]);
            self.general_error();
            self.report.say(Class::Transfer, Role::Sender, text);
            return Ok(None);
        }
        let meta = match dir.lstat(name) {
            Ok(Some(meta)) => meta,
            Ok(None) => {
                self.vanished(pending.base, &path, b"file has vanished: ");
                return Ok(None);
            }
            Err(error) => {
                let shown = quoted(&base.shown, &path);
                let why = (Role::Sender, error.cause());
                refuse_corrupt_note(&base.root, rel(&path), &shown, why)?;
                self.unreadable_entry(pending.base, &path, error.cause());
                return Ok(None);
            }
        };
        if self.options.skip_unreadable && !meta.is_symlink() && !dir.is_readable(name) {
            return Ok(None);
        }
        let Some((entry, meta)) = self.entry(pending.base, &path, meta, false) else {
            return Ok(None);
        };
        let was_asked =
            kind.is_some_and(|kind| kind != Kind::Symlink && (kind == Kind::Dir) == entry.is_dir());
        if !was_asked && self.is_hidden(pending.base, inside, &path, entry.is_dir()) {
            return Ok(None);
        }
        Ok(self.below(entry, &meta, pending, inside))
    }

    /// An entry of a directory that is being listed, unless it is a mount point that does not take part.
    fn below(
        &self,
        mut entry: Entry,
        meta: &Meta,
        pending: &Pending,
        inside: &Inside,
    ) -> Option<Found> {
        if pending.path.first() == Some(&b'/') {
            entry.name = [b"/", &*entry.name].concat().into();
        }
        if !entry.is_dir() {
            return Some(Found {
                entry,
                pending: None,
            });
        }
        let is_mount = inside.device.is_some_and(|device| device != meta.dev);
        if is_mount && self.options.one_file_system > 1 {
            self.report.event(Event::Skipped {
                path: &entry.name,
                is_dir: true,
                why: Skip::MountPoint,
            });
            return None;
        }
        let enters = pending.recursive && !is_mount;
        entry.no_content = !enters;
        let pending = enters.then(|| Pending {
            path: entry.name.to_vec(),
            base: pending.base,
            above: inside.clone(),
            recursive: true,
        });
        Some(Found { entry, pending })
    }
}

/// The relative path of a name for `tree`.
pub(crate) fn rel(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn path_of(name: &[u8]) -> &[u8] {
    let path = name.strip_prefix(b"/").unwrap_or(name);
    if path.is_empty() { b"." } else { path }
}
