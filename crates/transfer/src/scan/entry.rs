//! From a stat to the entry that is sent.

use std::time::SystemTime;

use tree::{Kind, Meta, Time};
use wire::{HardLink, Rdev};

use super::{Scanner, rel};
use crate::attributes::{acl, xattrs_of};
use crate::event::{Class, Event, Role};
use crate::flist::Entry;
use crate::report::{quoted, sentence};
use crate::symlink::{MUNGED, is_unsafe};

impl Scanner<'_> {
    /// The entry of a path, and the stat it came of: of what a link leads to, if that is what is to be sent.
    pub(super) fn entry(
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

    pub(super) fn entry_of(
        &self,
        base: u16,
        path: &[u8],
        meta: &Meta,
        mut target: Vec<u8>,
    ) -> Entry {
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
        if !self.options.acls && base.root.surely_lacks_xattrs(rel(entry.path())) {
            return;
        }
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
}
