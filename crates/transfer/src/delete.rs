//! Removing what the sender does not have (behaviour.md 6).

use std::cmp::Ordering;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use filter::{MergeFile, Scope, Side};
use tree::{Kind, Meta, Root, Which};
use wire::{IoErrors, Protocol, SortOrder};

use crate::Error;
use crate::backup::Backups;
use crate::destination::Destination;
use crate::event::{Class, Counts, Event, Role, Skip};
use crate::flist::{is_below, join};
use crate::options::Options;
use crate::report::{Reporter, sentence};
use crate::scan::{read_merge_file, rel};

/// Removes items of the destination, within the limits that were set.
pub(crate) struct Deleter<'a> {
    options: &'a Options,
    destination: &'a Destination,
    backups: Option<&'a Backups>,
    report: &'a Reporter<'a>,
    rules: Arc<filter::Rules>,
    /// Rules of the directories on the way to the present one.
    scopes: Vec<(Vec<u8>, Scope)>,
    /// The device to stay on.
    device: Option<u64>,
    has_said_errors: bool,
    removed: u64,
    pub(crate) counts: Counts,
    pub(crate) skipped: u64,
}

/// Something to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surplus {
    pub(crate) path: Vec<u8>,
    is_dir: bool,
}

impl Surplus {
    pub(crate) fn of(path: &[u8], is_dir: bool) -> Self {
        Self {
            path: path.to_vec(),
            is_dir,
        }
    }
}

impl<'a> Deleter<'a> {
    pub(crate) fn new(
        options: &'a Options,
        rules: Arc<filter::Rules>,
        destination: &'a Destination,
        backups: Option<&'a Backups>,
        report: &'a Reporter<'a>,
    ) -> Self {
        let root = destination.root();
        let device = root
            .filter(|_| options.one_file_system > 0)
            .and_then(|root| Some(root.identity().ok()?.dev));
        Self {
            options,
            destination,
            backups,
            report,
            rules,
            scopes: Vec::new(),
            device,
            has_said_errors: false,
            removed: 0,
            counts: Counts::default(),
            skipped: 0,
        }
    }

    /// What directory `dir` has that is not among `listed` (names within it) and may go, in the order of removal.
    pub(crate) fn surplus(
        &mut self,
        dir: &[u8],
        listed: &HashSet<&[u8]>,
    ) -> Result<Vec<Surplus>, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(Vec::new());
        };
        let Ok(opened) = root.dir(rel(dir)) else {
            return Ok(Vec::new());
        };
        if self.is_stopped_by_errors() {
            return Ok(Vec::new());
        }
        if let Some(device) = self.device
            && opened.meta().is_ok_and(|meta| meta.dev != device)
        {
            return Ok(Vec::new());
        }
        let mut candidates = Vec::new();
        let listing = opened.list(&mut Vec::new(), |name, kind| {
            if !listed.contains(name.as_bytes()) {
                candidates.push((name.to_owned(), kind));
            }
        });
        if let Err(error) = listing {
            let text = sentence(&[b"opendir ", &self.destination.quoted(dir), b" failed"]);
            self.report.failed(Role::Generator, text, error.cause());
        }
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let scope = self.scope(root, dir)?;
        let mut surplus = Vec::new();
        for (name, kind) in candidates {
            let is_dir = match kind {
                Some(kind) => kind == Kind::Dir,
                None => opened
                    .lstat(&name)
                    .ok()
                    .flatten()
                    .is_some_and(|meta| meta.is_dir()),
            };
            let path = join(dir, name.as_bytes());
            if !self.is_protected(scope.as_ref(), &path, is_dir) {
                surplus.push(Surplus { path, is_dir });
            }
        }
        surplus
            .sort_by(|left, right| last_first(&left.path, left.is_dir, &right.path, right.is_dir));
        Ok(surplus)
    }

    /// Removes an item that [`Deleter::surplus`] named.
    pub(crate) fn remove(&mut self, surplus: &Surplus) -> Result<bool, Error> {
        self.remove_reported(surplus, Extent::Everything)
    }

    /// Removes what an argument names that the sender does not have; a directory with content only if that is permitted.
    pub(crate) fn remove_argument(&mut self, surplus: &Surplus) -> Result<bool, Error> {
        let extent = match self.removes_content() {
            true => Extent::Everything,
            false => Extent::Empty,
        };
        self.remove_reported(surplus, extent)
    }

    fn remove_reported(&mut self, surplus: &Surplus, extent: Extent) -> Result<bool, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(true);
        };
        let Ok(Some(now)) = root.lstat(rel(&surplus.path)) else {
            return Ok(true);
        };
        let scope = match surplus.is_dir {
            true => self.scope(root, crate::flist::parent(&surplus.path))?,
            false => None,
        };
        self.remove_all(root, surplus, &now, scope.as_ref(), extent)
    }

    /// Removes what is in the way of something of another type; a directory with content only if that is permitted.
    /// What is in it is reported, it itself is not. False, with its message, if something stays.
    pub(crate) fn make_way(&mut self, place: &[u8], now: &Meta) -> Result<bool, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(true);
        };
        let surplus = Surplus {
            path: place.to_vec(),
            is_dir: now.is_dir(),
        };
        let scope = match now.is_dir() {
            true => self.scope(root, crate::flist::parent(place))?,
            false => None,
        };
        let extent = match self.removes_content() {
            true => Extent::SilentTop,
            false => Extent::EmptyTop,
        };
        self.remove_all(root, &surplus, now, scope.as_ref(), extent)
    }

    fn removes_content(&self) -> bool {
        self.options.delete.is_some() || self.options.force
    }

    fn remove_all(
        &mut self,
        root: &Root,
        top: &Surplus,
        now: &Meta,
        scope: Option<&Scope>,
        extent: Extent,
    ) -> Result<bool, Error> {
        if !top.is_dir {
            return Ok(self.remove_file(root, &top.path, now, extent.is_reported()));
        }
        let mut levels = vec![self.level(root, top.path.clone(), now, scope, extent)?];
        let mut is_gone = true;
        while let Some(level) = levels.last_mut() {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(next) = level.content.pop() {
                let scope = level.scope.clone();
                let gone = match self.look(root, &next, now.dev) {
                    Look::Gone => true,
                    Look::Stays => false,
                    Look::There(meta) if !next.is_dir => {
                        self.remove_file(root, &next.path, &meta, true)
                    }
                    Look::There(meta) => {
                        let scope = scope.as_ref();
                        let below =
                            self.level(root, next.path, &meta, scope, Extent::Everything)?;
                        levels.push(below);
                        continue;
                    }
                };
                if let Some(level) = levels.last_mut() {
                    level.stays |= !gone;
                }
                continue;
            }
            let Some(done) = levels.pop() else { break };
            let is_top = levels.is_empty();
            let gone = self.remove_emptied(root, &done, is_top, !is_top || extent.is_reported());
            match levels.last_mut() {
                Some(above) => above.stays |= !gone || done.stays,
                None => is_gone = gone,
            }
        }
        Ok(is_gone)
    }

    /// A directory and what of its content is to go, the last to be removed first.
    fn level(
        &self,
        root: &Root,
        path: Vec<u8>,
        now: &Meta,
        above: Option<&Scope>,
        extent: Extent,
    ) -> Result<Level, Error> {
        if extent.empties() && !self.options.dry_run {
            make_writable(root, &path, now);
        }
        let scope = match above {
            Some(scope) => Some(self.enter(root, scope, &path)?),
            None => None,
        };
        let mut level = Level {
            path,
            scope,
            content: Vec::new(),
            stays: false,
        };
        let entries = match root.read_dir(rel(&level.path)) {
            Ok(entries) => entries,
            Err(error) if error.vanished() => return Ok(level),
            Err(error) => {
                let text = sentence(&[
                    b"opendir ",
                    &self.destination.quoted(&level.path),
                    b" failed",
                ]);
                self.report.failed(Role::Generator, text, error.cause());
                level.stays = true;
                return Ok(level);
            }
        };
        if !extent.empties() {
            level.stays = !entries.is_empty();
            return Ok(level);
        }
        let emptying = level.scope.as_ref().map(Scope::while_emptying);
        for entry in entries {
            let path = join(&level.path, entry.name.as_bytes());
            let is_dir = match entry.kind {
                Some(kind) => kind == Kind::Dir,
                None => root
                    .lstat(rel(&path))
                    .ok()
                    .flatten()
                    .is_some_and(|meta| meta.is_dir()),
            };
            if self.is_protected(emptying.as_ref(), &path, is_dir) {
                level.stays = true;
            } else {
                level.content.push(Surplus { path, is_dir });
            }
        }
        level
            .content
            .sort_by(|left, right| last_first(&right.path, right.is_dir, &left.path, left.is_dir));
        Ok(level)
    }

    fn look(&self, root: &Root, surplus: &Surplus, device: u64) -> Look {
        match root.lstat(rel(&surplus.path)) {
            Ok(Some(meta)) if meta.is_dir() && self.device.is_some() && meta.dev != device => {
                let why = Skip::UndeletableMountPoint;
                self.report.event(Event::Skipped {
                    path: &surplus.path,
                    is_dir: true,
                    why,
                });
                Look::Stays
            }
            Ok(Some(meta)) => Look::There(meta),
            Ok(None) => Look::Gone,
            Err(error) => {
                let text = sentence(&[b"delete_file: unlink(", &surplus.path, b") failed"]);
                self.report.failed(Role::Generator, text, error.cause());
                Look::Stays
            }
        }
    }

    fn remove_file(&mut self, root: &Root, path: &[u8], now: &Meta, counts: bool) -> bool {
        if counts && self.is_at_limit() {
            return false;
        }
        let backups = self.backups.filter(|backups| !backups.is_backup(path));
        if let Some(backups) = backups {
            match backups.keep(self.destination, path, now, self.report) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    let text = sentence(&[b"delete_file: make_backup(", path, b") failed"]);
                    self.report.failed(Role::Generator, text, error.cause());
                    return false;
                }
            }
        }
        if !self.options.dry_run
            && let Err(error) = root.remove_file(rel(path))
            && !error.vanished()
        {
            let text = sentence(&[b"delete_file: unlink(", path, b") failed"]);
            self.report.failed(Role::Generator, text, error.cause());
            return false;
        }
        if counts {
            self.note(path, now.full_mode());
        }
        true
    }

    fn remove_emptied(&mut self, root: &Root, level: &Level, is_top: bool, counts: bool) -> bool {
        if level.stays {
            self.report.event(Event::Skipped {
                path: &level.path,
                is_dir: true,
                why: Skip::NotEmpty,
            });
            // Further down rsync tries all the same, which shows: in a second message, in a dry run as a removal,
            // and in the number of those that a limit prevented.
            if is_top {
                return false;
            }
        }
        if counts && self.is_at_limit() {
            return false;
        }
        if !self.options.dry_run
            && let Err(error) = root.remove_dir(rel(&level.path))
            && !error.vanished()
        {
            match error.is_not_empty() {
                true => self.report.event(Event::Skipped {
                    path: &level.path,
                    is_dir: true,
                    why: Skip::NotEmpty,
                }),
                false => {
                    let text = sentence(&[b"delete_file: rmdir(", &level.path, b") failed"]);
                    self.report.failed(Role::Generator, text, error.cause());
                }
            }
            return false;
        }
        if counts {
            self.note(&level.path, 0o040_000);
        }
        true
    }

    fn note(&mut self, path: &[u8], mode: u32) {
        self.removed += 1;
        self.counts.note(mode);
        self.report.event(Event::Deleted {
            path,
            is_dir: mode & 0o170_000 == 0o040_000,
        });
    }

    fn is_at_limit(&mut self) -> bool {
        let reached = self
            .options
            .max_delete
            .is_some_and(|limit| self.removed >= limit);
        if reached {
            self.skipped += 1;
            self.report.io_error(IoErrors::DELETE_LIMIT);
        }
        reached
    }

    fn is_protected(&self, scope: Option<&Scope>, path: &[u8], is_dir: bool) -> bool {
        let rules_protect = scope.is_some_and(|scope| {
            let verdict = scope.check(path, is_dir);
            if self.options.report.filters {
                self.report.filtered(Role::Generator, path, is_dir, verdict);
            }
            verdict.is_excluded()
        });
        rules_protect
            || self
                .options
                .hides(&self.destination.shown, path, is_dir, Side::Receiver)
    }

    /// Whether something could not be read: then nothing is too much for certain. It is said once.
    fn is_stopped_by_errors(&mut self) -> bool {
        if !self.report.io_errors().contains(IoErrors::GENERAL) || self.options.ignore_errors {
            return false;
        }
        if !self.has_said_errors {
            self.has_said_errors = true;
            let text = "IO error encountered -- skipping file deletion";
            self.report.say(Class::Info, Role::Generator, text);
        }
        true
    }

    /// The rules for the content of `dir`.
    fn scope(&mut self, root: &Root, dir: &[u8]) -> Result<Option<Scope>, Error> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        while self
            .scopes
            .last()
            .is_some_and(|(path, _)| path != dir && !is_below(dir, path))
        {
            self.scopes.pop();
        }
        let known = self
            .scopes
            .last()
            .map(|(path, scope)| (path.clone(), scope.clone()));
        let (from, mut scope) = match known {
            Some((path, scope)) => (Some(path), scope),
            None => {
                let shown = self.destination.shown.real().as_os_str().as_bytes();
                (
                    None,
                    Scope::new(Arc::clone(&self.rules), Side::Receiver, shown),
                )
            }
        };
        for step in steps(dir) {
            let is_known = from
                .as_deref()
                .is_some_and(|from| step == from || is_below(from, step) || step == b".");
            if !is_known {
                scope = self.enter(root, &scope, step)?;
                self.scopes.push((step.to_vec(), scope.clone()));
            }
        }
        Ok(Some(scope))
    }

    fn enter(&self, root: &Root, scope: &Scope, dir: &[u8]) -> Result<Scope, Error> {
        let bound = self.options.confine_root.as_deref();
        Ok(scope.enter(dir, &mut |file: MergeFile<'_>| {
            read_merge_file(root, bound, file)
        })?)
    }
}

/// An ordinary user's own directory may forbid what is about to be done in it. If this does not help, the removals tell.
fn make_writable(root: &Root, path: &[u8], now: &Meta) {
    if rustix::process::geteuid().is_root() || now.mode & 0o300 == 0o300 {
        return;
    }
    let writable = Meta {
        mode: now.mode | 0o300,
        ..*now
    };
    let _ = root.set_meta(rel(path), &writable, Which::MODE, now);
}

/// The root, each directory on the way to `dir`, and `dir` itself.
pub(crate) fn steps(dir: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = (dir != b".").then_some(dir);
    let parents = inner.into_iter().flat_map(|dir| {
        dir.iter()
            .enumerate()
            .filter(|&(_, &byte)| byte == b'/')
            .map(|(at, _)| &dir[..at])
    });
    std::iter::once(b".".as_slice()).chain(parents).chain(inner)
}

/// The order of removal: against that of the list.
fn last_first(left: &[u8], left_is_dir: bool, right: &[u8], right_is_dir: bool) -> Ordering {
    SortOrder::of(Protocol::LATEST).compare(right, right_is_dir, left, left_is_dir)
}

/// A directory that is being emptied.
struct Level {
    path: Vec<u8>,
    scope: Option<Scope>,
    /// The next one is the last.
    content: Vec<Surplus>,
    /// Something in it stays.
    stays: bool,
}

/// How much a removal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All, and each item is reported and counted.
    Everything,
    /// All, but the top goes without a word.
    SilentTop,
    /// The top only if it is empty.
    Empty,
    /// The top only if it is empty, without a word.
    EmptyTop,
}

impl Extent {
    fn is_reported(self) -> bool {
        matches!(self, Self::Everything | Self::Empty)
    }

    fn empties(self) -> bool {
        matches!(self, Self::Everything | Self::SilentTop)
    }
}

enum Look {
    There(Meta),
    Gone,
    Stays,
}
