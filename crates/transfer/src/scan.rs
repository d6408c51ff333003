//! From arguments to entries: what of the source takes part (wire-files.md 4).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;
use tree::{Kind, Links, Meta, Policy, Root, Time};
use wire::{HardLink, MAX_PATH, Rdev};

use crate::Error;
use crate::attributes::{XattrRules, acl, refuse_corrupt_note, xattrs_of};
use crate::event::{Class, Event, Role, Skip};
use crate::flist::{Entry, join};
use crate::options::{FilesFrom, MissingArgs, Options};
use crate::report::{Reporter, Shown, quoted, sentence};
use crate::symlink::{MUNGED, is_unsafe};

mod rules;
mod start;
mod trouble;

pub(crate) use rules::{Inside, read_merge_file};
use start::Start;

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
            .filter_map(|name| Start::listed(&base, name, self.options.relative))
            .collect())
    }

    fn start(&mut self, start: &Start, found: &mut Vec<Found>) -> Result<(), Error> {
        let Some(base) = self.base(&start.base)? else {
            return Ok(());
        };
        let path = start.name.strip_prefix(b"/").unwrap_or(&start.name);
        let path = if path.is_empty() {
            b".".as_slice()
        } else {
            path
        };
        let root = &self.bases[usize::from(base)].root;
        let follow = start.content && path != b".";
        let meta = match root.lstat(rel(path)) {
            Ok(Some(meta)) if meta.is_symlink() && (follow || self.options.copy_links) => {
                match (root.stat(rel(path)), self.beyond(base, path)) {
                    (Ok(meta), _) => meta,
                    (Err(_), Some(None)) => None,
                    (Err(error), Some(_)) => {
                        self.astray(base, path, &error);
                        return Ok(());
                    }
                    (Err(error), None) => {
                        self.bad_argument(base, path, error.cause());
                        return Ok(());
                    }
                }
            }
            Ok(meta) => meta,
            Err(error) => {
                self.bad_argument(base, path, error.cause());
                return Ok(());
            }
        };
        let Some(meta) = meta else {
            if start.relative && self.options.missing_args == MissingArgs::Delete {
                self.implied_parents(start, base, found)?;
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
            self.implied_parents(start, base, found)?;
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
            let path = join(dir_path, name.as_bytes());
            // What the listing tells saves the stat of what is hidden anyway.
            if kind.is_some_and(|kind| {
                kind != Kind::Symlink
                    && self.is_hidden(pending.base, &inside, &path, kind == Kind::Dir)
            }) {
                continue;
            }
            if path.len() >= MAX_PATH {
                let text = sentence(&[b"skipping overly long name: ", &path]);
                self.general_error();
                self.report.say(Class::Transfer, Role::Sender, text);
                continue;
            }
            let meta = match dir.lstat(&name) {
                Ok(Some(meta)) => meta,
                Ok(None) => {
                    self.vanished(pending.base, &path, b"file has vanished: ");
                    continue;
                }
                Err(error) => {
                    let shown = quoted(&base.shown, &path);
                    let why = (Role::Sender, error.cause());
                    refuse_corrupt_note(&base.root, rel(&path), &shown, why)?;
                    self.unreadable_entry(pending.base, &path, error.cause());
                    continue;
                }
            };
            if self.options.skip_unreadable && !meta.is_symlink() && !dir.is_readable(&name) {
                continue;
            }
            let Some((entry, meta)) = self.entry(pending.base, &path, meta, false) else {
                continue;
            };
            let was_asked = kind
                .is_some_and(|kind| kind != Kind::Symlink && (kind == Kind::Dir) == entry.is_dir());
            if !was_asked && self.is_hidden(pending.base, &inside, &path, entry.is_dir()) {
                continue;
            }
            found.extend(self.below(entry, &meta, pending, &inside));
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

    /// The entry of a path, and the stat it came of: of what a link leads to, if that is what is to be sent.
    fn entry(
        &self,
        base: u16,
        path: &[u8],
        meta: Meta,
        is_argument: bool,
    ) -> Option<(Entry, Meta)> {
        let root = &self.bases[usize::from(base)].root;
        let mut meta = meta;
        let mut target = Vec::new();
        if meta.is_symlink() {
            if self.options.copy_links && !is_argument {
                meta = self.follow(base, path, meta)?;
            } else if self.options.links
                || self.options.copy_unsafe_links
                || self.options.copy_dirlinks
            {
                target = match root.read_link(rel(path)) {
                    Ok(target) => target,
                    Err(error) => {
                        self.unreadable_entry(base, path, error.cause());
                        return None;
                    }
                };
                if target.is_empty() {
                    self.general_error();
                    let shown = quoted(&self.bases[usize::from(base)].shown, path);
                    let text = sentence(&[b"skipping symlink with 0-length value: ", &shown]);
                    self.report.say(Class::Transfer, Role::Sender, text);
                    return None;
                }
                if self.options.copy_unsafe_links && is_unsafe(&target, path) {
                    self.report.event(Event::UnsafeLink {
                        path,
                        target: &target,
                        is_copied: true,
                    });
                    meta = self.follow(base, path, meta)?;
                } else if self.options.copy_dirlinks
                    && let Ok(Some(followed)) = root.stat(rel(path))
                    && followed.is_dir()
                {
                    meta = followed;
                }
            }
        }
        Some((self.entry_of(base, path, &meta, target), meta))
    }

    fn entry_of(&self, base: u16, path: &[u8], meta: &Meta, mut target: Vec<u8>) -> Entry {
        let options = self.options;
        let meta = &match options.copy_devices && meta.kind.is_device() {
            true => self.as_content(base, path, meta),
            false => *meta,
        };
        let mut entry = Entry {
            name: path.into(),
            size: match meta.kind {
                Kind::File | Kind::Dir | Kind::Symlink => meta.size,
                Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => 0,
            },
            mtime: meta.mtime.sec,
            mtime_nsec: meta.mtime.nsec,
            mode: meta.full_mode(),
            uid: meta.uid,
            gid: meta.gid,
            base,
            ..Entry::default()
        };
        if !options.chmod.is_empty() && !meta.is_symlink() {
            let changed = options.chmod.apply(meta.mode, meta.is_dir(), options.umask);
            entry.mode = meta.kind.type_bits() | changed;
        }
        if meta.is_symlink() && options.links {
            if options.munge_links
                && let Some(usable) = target.strip_prefix(MUNGED)
            {
                target = usable.to_vec();
            }
            entry.extra_mut().target = target.into();
        }
        if meta.kind.is_device() {
            entry.extra_mut().rdev = Rdev {
                major: meta.rdev.0,
                minor: meta.rdev.1,
            };
        }
        if options.hard_links
            && let Some(group) = meta.link_group()
        {
            entry.extra_mut().link = Some(HardLink::Inode {
                device: group.dev,
                inode: group.ino,
            });
        }
        if options.atimes && !meta.is_dir() {
            entry.extra_mut().atime = meta.atime.sec;
        }
        if options.acls && !meta.is_symlink() || self.xattrs.is_some() {
            self.add_lists(&mut entry, meta.kind);
        }
        entry
    }

    /// The stat of a regular file with a device's content. Since nobody knows when that was changed, it counts as new.
    fn as_content(&self, base: u16, path: &[u8], meta: &Meta) -> Meta {
        let root = &self.bases[usize::from(base)].root;
        let sized = root.lstat_content(rel(path)).unwrap_or_default();
        Meta {
            kind: Kind::File,
            size: sized.map_or(0, |sized| sized.size),
            mtime: Time {
                sec: Time::from(SystemTime::now()).sec,
                ..meta.mtime
            },
            ..*meta
        }
    }

    /// Adds access control lists and extended attributes to an entry.
    fn add_lists(&self, entry: &mut Entry, kind: Kind) {
        let base = &self.bases[usize::from(entry.base)];
        let failed = |what: &[u8], after: &[u8], error: &tree::Error| {
            if !error.vanished() {
                self.general_error();
                let shown = quoted(&base.shown, entry.path());
                let text = sentence(&[what, &shown, after]);
                self.report.failed(Role::Sender, text, error.cause());
            }
        };
        let opened = match xattrs_of(&base.root, rel(entry.path()), kind) {
            Ok(opened) => opened,
            Err(error) => return failed(b"get_xattr_names: llistxattr(", b",1024) failed", &error),
        };
        let mut acls = [None, None];
        if self.options.acls && kind != Kind::Symlink {
            match acl::sent(&opened, entry.mode, entry.is_dir()) {
                Ok(found) => acls = found,
                Err(error) => failed(b"get_acl: sys_acl_get_file(", b", ACL_TYPE_ACCESS)", &error),
            }
        }
        let mut xattrs = None;
        if let Some(rules) = &self.xattrs {
            match rules.sent(&opened) {
                Ok(found) => xattrs = found,
                Err(error) => failed(b"get_xattr_names: llistxattr(", b",1024) failed", &error),
            }
        }
        if xattrs.is_some() || acls.iter().any(Option::is_some) {
            let extra = entry.extra_mut();
            extra.acls = acls;
            extra.xattrs = xattrs;
        }
    }

    /// The stat of what a link leads to; `None`, with its message, if that is nothing.
    fn follow(&self, base: u16, path: &[u8], link: Meta) -> Option<Meta> {
        match self.bases[usize::from(base)].root.stat(rel(path)) {
            Ok(Some(meta)) => return Some(meta),
            Ok(None) if link.is_symlink() => self.no_referent(base, path),
            Ok(None) => {}
            Err(error) => self.astray(base, path, &error),
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
    fn implied_parents(
        &mut self,
        start: &Start,
        base: u16,
        found: &mut Vec<Found>,
    ) -> Result<(), Error> {
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
        Ok(())
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

/// The relative path of a name for `tree`.
pub(crate) fn rel(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn path_of(name: &[u8]) -> &[u8] {
    let path = name.strip_prefix(b"/").unwrap_or(name);
    if path.is_empty() { b"." } else { path }
}
