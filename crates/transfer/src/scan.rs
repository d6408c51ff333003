//! From arguments to entries: what of the source takes part (wire-files.md 4).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filter::{MergeFile, Scope};
use tree::{Kind, Links, Meta, Policy, Root};
use wire::{HardLink, IoErrors, MAX_PATH, Rdev};

use crate::Error;
use crate::event::{Class, Event, Role, Skip};
use crate::flist::{Entry, basename, join, parent};
use crate::options::{FilesFrom, MissingArgs, Options};
use crate::report::{Reporter, absolute, quoted, sentence};

/// The directories that names of the list are relative to.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) root: Root,
    /// For messages.
    pub(crate) shown: PathBuf,
    /// As the user named it, for what is shown of a source.
    pub(crate) given: PathBuf,
}

/// One name to start from.
#[derive(Debug)]
struct Start {
    base: PathBuf,
    /// The name in the list; `.` stands for the base itself.
    name: Vec<u8>,
    /// It was named with a slash at the end: what it holds is meant, and a link to a directory is followed.
    content: bool,
    /// Its parents are entries too.
    relative: bool,
    /// `./` stood in front of it.
    with_dot: bool,
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
}

/// Rules in force for the content of a directory, and the device it is on if the scan stays there.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    scope: Option<Scope>,
    device: Option<u64>,
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
            rules,
            report,
            bases: Vec::new(),
            implied: Vec::new(),
            sent_dot: false,
        }
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
            let whole = join(start.base.as_os_str().as_bytes(), &start.name);
            return self.missing_argument(&whole, start, found);
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
                let Some(meta) = self.follow(base, path, meta) else {
                    return Ok(());
                };
                Some(meta)
            }
            Ok(meta) => meta,
            Err(error) => {
                let shown = quoted(&self.bases[usize::from(base)].shown, path);
                let text = sentence(&[b"link_stat ", &shown, b" failed"]);
                self.report.failed(Role::Sender, text, error.cause());
                return Ok(());
            }
        };
        let Some(meta) = meta else {
            let whole = join(start.base.as_os_str().as_bytes(), path);
            return self.missing_argument(&whole, start, found);
        };
        if start.relative {
            self.implied_parents(start, base, found)?;
        }
        if meta.is_dir() && !self.options.lists_dirs() {
            self.report.event(Event::Skipped {
                path: &start.name,
                is_dir: true,
                why: Skip::Directory,
            });
            return Ok(());
        }
        let inside = self.inside_root(base)?;
        let above = match start.relative && path != b"." {
            true => self.inside_parents(base, path, inside)?,
            false => inside,
        };
        if path != b"." && self.is_hidden(&above, path, meta.is_dir()) {
            return Ok(());
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
    pub(crate) fn content(&mut self, pending: &Pending) -> Result<Vec<Found>, Error> {
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
                self.unreadable(b"opendir ", pending, error.cause());
                return Ok(Vec::new());
            }
        };
        let mut names = Vec::new();
        if let Err(error) = dir.list(&mut Vec::new(), |name, kind| {
            names.push((name.to_owned(), kind));
        }) {
            self.unreadable(b"readdir", pending, error.cause());
        }
        let mut found = Vec::with_capacity(names.len());
        for (name, kind) in names {
            let path = join(dir_path, name.as_bytes());
            // What the listing tells saves the stat of what is hidden anyway.
            if kind.is_some_and(|kind| {
                kind != Kind::Symlink && self.is_hidden(&inside, &path, kind == Kind::Dir)
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
                    self.unreadable_entry(pending.base, &path, error.cause());
                    continue;
                }
            };
            let Some((entry, meta)) = self.entry(pending.base, &path, meta, false) else {
                continue;
            };
            let was_asked = kind
                .is_some_and(|kind| kind != Kind::Symlink && (kind == Kind::Dir) == entry.is_dir());
            if !was_asked && self.is_hidden(&inside, &path, entry.is_dir()) {
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
                    let shown = quoted(&self.bases[usize::from(base)].shown, path);
                    let text = sentence(&[
                        b"copying unsafe symlink ",
                        &shown,
                        b" -> \"",
                        &target,
                        b"\"",
                    ]);
                    self.report.say(Class::Info, Role::Sender, text);
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
        entry
    }

    /// The stat of what a link leads to; `None`, with its message, if that is nothing.
    fn follow(&self, base: u16, path: &[u8], link: Meta) -> Option<Meta> {
        let base = &self.bases[usize::from(base)];
        match base.root.stat(rel(path)) {
            Ok(Some(meta)) => Some(meta),
            Ok(None) if link.is_symlink() => {
                self.general_error();
                let text = sentence(&[b"symlink has no referent: ", &quoted(&base.shown, path)]);
                self.report.say(Class::Transfer, Role::Sender, text);
                None
            }
            Ok(None) => None,
            Err(error) => {
                self.general_error();
                let text = sentence(&[b"readlink_stat(", &quoted(&base.shown, path), b") failed"]);
                self.report.failed(Role::Sender, text, error.cause());
                None
            }
        }
    }

    /// The number of a directory that names are relative to; `None` if it is not there.
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
        let policy = Policy {
            links: if follows {
                Links::Anywhere
            } else {
                Links::Refuse
            },
            hold_dirs: true,
            noatime: self.options.open_noatime,
            ..Policy::default()
        };
        let opened = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let root = match Root::open_with(opened, policy) {
            Ok(root) => root,
            Err(error) if error.vanished() => return Ok(None),
            Err(error) => {
                self.general_error();
                let text = sentence(&[b"change_dir ", &quoted(&absolute(path), b"."), b" failed"]);
                self.report.failed(Role::Sender, text, error.cause());
                return Ok(None);
            }
        };
        let number = u16::try_from(self.bases.len());
        let number = number.map_err(|_| Error::Usage("too many source directories".to_owned()))?;
        self.bases.push(Base {
            root,
            shown: absolute(opened),
            given: path.to_owned(),
        });
        Ok(Some(number))
    }

    fn missing_argument(
        &self,
        whole: &[u8],
        start: &Start,
        found: &mut Vec<Found>,
    ) -> Result<(), Error> {
        match self.options.missing_args {
            MissingArgs::Ignore => {}
            MissingArgs::Delete => {
                let entry = Entry {
                    name: start.name.as_slice().into(),
                    ..Entry::default()
                };
                found.push(Found {
                    entry,
                    pending: None,
                });
            }
            MissingArgs::Error => {
                let shown = absolute(Path::new(OsStr::from_bytes(whole)));
                let text = sentence(&[b"link_stat ", &quoted(&shown, b"."), b" failed"]);
                self.report.failed(
                    Role::Sender,
                    text,
                    &std::io::Error::from_raw_os_error(ENOENT),
                );
            }
        }
        Ok(())
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

    fn inside_root(&self, base: u16) -> Result<Inside, Error> {
        if self.rules.is_empty() && self.options.module_rules.is_empty() {
            return Ok(Inside {
                scope: None,
                device: None,
            });
        }
        let shown = self.bases[usize::from(base)].shown.as_os_str().as_bytes();
        let scope = Scope::new(Arc::clone(&self.rules), filter::Side::Sender, shown);
        Ok(Inside {
            scope: Some(scope),
            device: None,
        })
    }

    /// The rules in force for a relative name, whose parents were not scanned.
    fn inside_parents(&self, base: u16, path: &[u8], inside: Inside) -> Result<Inside, Error> {
        let Some(mut scope) = inside.scope else {
            return Ok(inside);
        };
        scope = self.enter(&scope, b".", base)?;
        for (at, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            scope = self.enter(&scope, &path[..at], base)?;
        }
        Ok(Inside {
            scope: Some(scope),
            ..inside
        })
    }

    fn enter(&self, scope: &Scope, dir: &[u8], base: u16) -> Result<Scope, Error> {
        let root = &self.bases[usize::from(base)].root;
        let entered = scope.enter(dir, &mut |file: MergeFile<'_>| read_merge_file(root, file))?;
        for warning in entered.warnings() {
            self.report
                .say(Class::Warning, Role::Sender, warning.to_string());
        }
        Ok(entered)
    }

    fn is_hidden(&self, inside: &Inside, path: &[u8], is_dir: bool) -> bool {
        let Some(scope) = &inside.scope else {
            return false;
        };
        scope.check(path, is_dir).is_excluded()
            || self
                .options
                .module_rules
                .check(path, is_dir, filter::Side::Sender)
                .is_excluded()
    }

    fn vanished(&self, base: u16, path: &[u8], what: &[u8]) {
        self.report.io_error(IoErrors::VANISHED);
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        self.report
            .say(Class::Warning, Role::Sender, sentence(&[what, &shown]));
    }

    fn unreadable(&self, what: &[u8], pending: &Pending, cause: &std::io::Error) {
        let path = path_of(&pending.path);
        if cause.kind() == std::io::ErrorKind::NotFound {
            return self.vanished(pending.base, path, b"directory has vanished: ");
        }
        self.general_error();
        let shown = quoted(&self.bases[usize::from(pending.base)].shown, path);
        let text = match what.ends_with(b" ") {
            true => sentence(&[what, &shown, b" failed"]),
            false => sentence(&[what, b"(", &shown, b")"]),
        };
        self.report.failed(Role::Sender, text, cause);
    }

    fn unreadable_entry(&self, base: u16, path: &[u8], cause: &std::io::Error) {
        if cause.kind() == std::io::ErrorKind::NotFound {
            return self.vanished(base, path, b"file has vanished: ");
        }
        self.general_error();
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        self.report.failed(
            Role::Sender,
            sentence(&[b"readlink_stat(", &shown, b") failed"]),
            cause,
        );
    }

    fn general_error(&self) {
        self.report.io_error(IoErrors::GENERAL);
    }
}

impl Start {
    fn of(source: &[u8], relative: bool) -> Result<Self, Error> {
        if relative {
            Self::relative(source)
        } else {
            Ok(Self::plain(source))
        }
    }

    fn plain(source: &[u8]) -> Self {
        let trimmed = trim_slashes(source);
        let last = basename(trimmed);
        let dot = source.ends_with(b"/") || matches!(last, b"." | b".." | b"");
        let (base, name) = match dot {
            true if trimmed.is_empty() && !source.is_empty() => (b"/".as_slice(), b".".as_slice()),
            true => (trimmed, b".".as_slice()),
            false if trimmed.starts_with(b"/") && parent(trimmed).is_empty() => {
                (b"/".as_slice(), last)
            }
            false => (parent(trimmed), last),
        };
        let base = PathBuf::from(OsString::from_vec(base.to_vec()));
        Self {
            base,
            name: name.to_vec(),
            content: dot,
            relative: false,
            with_dot: false,
        }
    }

    fn relative(source: &[u8]) -> Result<Self, Error> {
        let (base, active) = match source.windows(3).position(|window| window == b"/./") {
            Some(at) => (
                if at == 0 {
                    b"/".as_slice()
                } else {
                    &source[..at]
                },
                &source[at + 3..],
            ),
            None if source.starts_with(b"/") => (b"/".as_slice(), source),
            None => (b".".as_slice(), source),
        };
        let rooted = active.starts_with(b"/") && base == b"/" && source == active;
        let base = PathBuf::from(OsString::from_vec(base.to_vec()));
        let with_dot = active.starts_with(b"./");
        let content = active.ends_with(b"/")
            || active.ends_with(b"/.")
            || active == b"."
            || active.is_empty();
        let components: Vec<&[u8]> = active
            .split(|&byte| byte == b'/')
            .filter(|component| !matches!(*component, b"" | b"."))
            .collect();
        if components.contains(&b"..".as_slice()) {
            let shown = String::from_utf8_lossy(active);
            return Err(Error::Usage(format!(
                "found \"..\" dir in relative path: {shown}"
            )));
        }
        let mut name = components.join(&b'/');
        if rooted {
            name.insert(0, b'/');
        }
        if name.is_empty() {
            name = b".".to_vec();
        }
        Ok(Self {
            base,
            name,
            content,
            relative: true,
            with_dot,
        })
    }

    /// A name of `--files-from`: it cannot lead out of the source (behaviour.md 7.15).
    fn listed(base: &Path, name: &[u8], relative: bool) -> Option<Self> {
        let mut components: Vec<&[u8]> = Vec::new();
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(components.pop()),
                component => components.push(component),
            }
        }
        let content = name.ends_with(b"/") || name.ends_with(b"/.");
        let clean = components.join(&b'/');
        if relative {
            let name = if clean.is_empty() {
                b".".to_vec()
            } else {
                clean
            };
            return Some(Self {
                base: base.to_owned(),
                name,
                content,
                relative: true,
                with_dot: false,
            });
        }
        let whole = join(base.as_os_str().as_bytes(), &clean);
        Some(Self::plain(&if content {
            [whole, b"/".to_vec()].concat()
        } else {
            whole
        }))
    }
}

/// Whether a symbolic link at `path` leads out of the transfer (behaviour.md 7.16).
pub(crate) fn is_unsafe(target: &[u8], path: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return true;
    }
    let mut leading = true;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b".." if !leading => return true,
            b".." | b"" | b"." => {}
            _ => leading = false,
        }
    }
    let depth = path
        .split(|&byte| byte == b'/')
        .filter(|component| !matches!(*component, b"" | b"."))
        .count();
    let mut depth = i64::try_from(depth).unwrap_or(i64::MAX) - 1;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// Reads a merge file of the tree. One that cannot be read does not count, as in rsync.
pub(crate) fn read_merge_file(
    root: &Root,
    file: MergeFile<'_>,
) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let opened = match file {
        MergeFile::InTree(path) => root.open_regular(rel(path)).map(|(file, _)| file).ok(),
        MergeFile::Named(path) | MergeFile::Above(path) => {
            let path = Path::new(OsStr::from_bytes(path));
            let dir = path
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let opened = Root::open(dir).and_then(|root| {
                root.open_regular(Path::new(path.file_name().unwrap_or_default()))
            });
            opened.map(|(file, _)| file).ok()
        }
    };
    let Some(opened) = opened else {
        return Ok(None);
    };
    let mut text = Vec::new();
    opened.take(MERGE_FILE_MAX).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// The relative path of a name for `tree`.
pub(crate) fn rel(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn path_of(name: &[u8]) -> &[u8] {
    let path = name.strip_prefix(b"/").unwrap_or(name);
    if path.is_empty() { b"." } else { path }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |at| at + 1);
    &path[..end]
}

/// What a munged link starts with (behaviour.md 7.16).
pub(crate) const MUNGED: &[u8] = b"/rsyncd-munged/";

/// More rules than this are no rules.
const MERGE_FILE_MAX: u64 = 16 << 20;

const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(source: &str) -> (String, String, bool) {
        let start = Start::plain(source.as_bytes());
        (
            start.base.to_string_lossy().into_owned(),
            String::from_utf8(start.name).unwrap(),
            start.content,
        )
    }

    #[test]
    fn arguments_without_relative() {
        for (source, base, name, content) in [
            ("dir", ".", "dir", false),
            ("a/dir", "a", "dir", false),
            ("/dir", "/", "dir", false),
            ("a/dir/", "a/dir", ".", true),
            ("a/dir/.", "a/dir/.", ".", true),
            (".", ".", ".", true),
            ("..", "..", ".", true),
            ("", "", ".", true),
            ("/", "/", ".", true),
        ] {
            assert_eq!(
                plain(source),
                (base.to_owned(), name.to_owned(), content),
                "{source}"
            );
        }
    }

    #[test]
    fn relative_arguments() {
        for (source, base, name, content, with_dot) in [
            ("a/b", ".", "a/b", false, false),
            ("/a/b", "/", "/a/b", false, false),
            ("x/./a//b/", "x", "a/b", true, false),
            ("./a", ".", "a", false, true),
            ("x/./", "x", ".", true, false),
        ] {
            let start = Start::relative(source.as_bytes()).unwrap();
            assert_eq!(start.base, Path::new(base), "{source}");
            assert_eq!(start.name, name.as_bytes(), "{source}");
            assert_eq!(
                (start.content, start.with_dot),
                (content, with_dot),
                "{source}"
            );
        }
        assert!(Start::relative(b"a/../b").is_err());
    }

    #[test]
    fn links_that_lead_out() {
        for (target, path, expected) in [
            ("/etc/passwd", "l", true),
            ("", "l", true),
            ("f", "l", false),
            ("../f", "l", true),
            ("../f", "d/l", false),
            ("a/../f", "d/l", true),
            ("../..", "d/l", true),
            ("../../f", "d/e/l", false),
        ] {
            assert_eq!(
                is_unsafe(target.as_bytes(), path.as_bytes()),
                expected,
                "{target} at {path}"
            );
        }
    }
}
