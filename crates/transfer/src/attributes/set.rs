//! Making attributes so, and what came of it (behaviour.md 7.7 to 7.10).

use std::io;
use std::path::Path;

use tree::{AclKind, Meta, Root, TempFile, Which};

use super::{Attributes, Before, acl, xattrs_of};
use crate::event::{Class, Role};
use crate::flist::Entry;
use crate::report::{Reporter, sentence};

/// What came of setting attributes. Of owner, times and permissions the first failure is the last that is tried.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) changed: bool,
    /// Extended attributes were.
    new_xattrs: bool,
    pub(crate) failures: Vec<Failure>,
}

/// Which modification times are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// All that differ.
    Exact,
    /// Those that differ by more than the window.
    Window,
}

/// An attribute that could not be set.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Owner, permissions or times.
    Meta(tree::Error),
    /// An extended attribute, and the call that failed.
    Xattr {
        call: &'static str,
        name: Vec<u8>,
        error: tree::Error,
    },
    /// The sender has not told this attribute's value.
    MissingValue(Vec<u8>),
    /// An access control list.
    Acl(AclKind, tree::Error),
    /// The file's attributes cannot be reached.
    Unreachable(tree::Error),
}

impl Attributes<'_> {
    /// Sets what differs. `is_exact` sets times that differ within the window, too.
    pub(crate) fn set(
        &self,
        root: &Root,
        path: &Path,
        entry: &Entry,
        now: &Meta,
        is_exact: bool,
    ) -> Applied {
        let (mut wanted, mut which) = self.of_new(entry, Before::Same(now));
        if now.atime.sec == entry.atime() {
            which.remove(Which::ATIME);
        }
        wanted.kind = now.kind;
        let within = if is_exact {
            Times::Exact
        } else {
            Times::Window
        };
        self.set_either(root, path, entry, (&wanted, which), now, within)
    }

    /// Sets the modification time alone, if that is possible.
    pub(crate) fn set_time(&self, root: &Root, path: &Path, entry: &Entry, now: &Meta) {
        let (mut wanted, which) = self.of_new(entry, Before::Same(now));
        wanted.kind = now.kind;
        let _ = root.set_meta(path, &wanted, which & Which::MTIME, now);
    }

    /// Sets what was decided on.
    pub(crate) fn set_all(
        &self,
        root: &Root,
        path: &Path,
        entry: &Entry,
        wanted: &Meta,
        which: Which,
        now: &Meta,
    ) -> Applied {
        self.set_either(root, path, entry, (wanted, which), now, Times::Exact)
    }

    /// Sets extended attributes whose values have come after the rest.
    pub(crate) fn set_late(&self, root: &Root, path: &Path, entry: &Entry, now: &Meta) -> Applied {
        let mut applied = Applied::default();
        let Some(rules) = &self.xattrs else {
            return applied;
        };
        match xattrs_of(root, path, now.kind) {
            Ok(xattrs) => rules.apply(entry, &xattrs, &self.long_values, true, &mut applied),
            Err(error) => applied.failures.push(Failure::Unreachable(error)),
        }
        if applied.new_xattrs && self.keeps_time(entry) {
            let wanted = self.wanted(entry, now.mode);
            if let Err(error) = root.set_meta(path, &wanted, Which::MTIME, now) {
                applied.failures.push(Failure::Meta(error));
            }
        }
        applied
    }

    /// Sets access control lists and extended attributes of a file that has no name yet. `is_last` is whether all
    /// values have come by now.
    pub(crate) fn set_on_temp(
        &self,
        temp: &mut TempFile,
        entry: &Entry,
        mode: u32,
        is_last: bool,
    ) -> Applied {
        let mut applied = Applied::default();
        if self.keeps_lists() {
            match temp.xattrs() {
                Ok(xattrs) => self.apply_lists(&xattrs, entry, mode, is_last, &mut applied),
                Err(error) => applied.failures.push(Failure::Unreachable(error)),
            }
        }
        applied
    }

    fn set_either(
        &self,
        root: &Root,
        path: &Path,
        entry: &Entry,
        (wanted, mut which): (&Meta, Which),
        now: &Meta,
        times: Times,
    ) -> Applied {
        let mut applied = Applied::default();
        let mut now = *now;
        if self.keeps_lists() {
            self.set_lists(root, path, entry, wanted.mode, &mut now, &mut applied);
        }
        // New extended attributes count as new content.
        if times == Times::Window && !applied.new_xattrs && self.same_time(entry, now.mtime) {
            which.remove(Which::MTIME);
        }
        match root.set_meta(path, wanted, which, &now) {
            Ok(changed) => applied.changed |= changed,
            Err(error) => applied.failures.push(Failure::Meta(error)),
        }
        applied
    }

    fn set_lists(
        &self,
        root: &Root,
        path: &Path,
        entry: &Entry,
        mode: u32,
        now: &mut Meta,
        applied: &mut Applied,
    ) {
        // An ordinary user needs the right to write, if only for this.
        let is_protected = !self.is_privileged
            && now.mode & 0o200 == 0
            && !now.is_symlink()
            && !now.kind.is_device();
        if is_protected && self.xattrs.is_some() {
            let writable = Meta {
                mode: now.mode | 0o200,
                ..*now
            };
            if root.set_meta(path, &writable, Which::MODE, now).is_ok() {
                *now = writable;
            }
        }
        match xattrs_of(root, path, now.kind) {
            Ok(xattrs) => self.apply_lists(&xattrs, entry, mode, false, applied),
            Err(error) => applied.failures.push(Failure::Unreachable(error)),
        }
        // A list changes the permissions with it.
        if applied.changed
            && self.acls
            && let Ok(Some(changed)) = root.lstat(path)
        {
            now.mode = changed.mode;
        }
    }

    fn apply_lists(
        &self,
        xattrs: &tree::Xattrs,
        entry: &Entry,
        mode: u32,
        is_last: bool,
        applied: &mut Applied,
    ) {
        if let Some(rules) = &self.xattrs {
            rules.apply(entry, xattrs, &self.long_values, is_last, applied);
        }
        if self.acls && !entry.is_symlink() {
            acl::apply(entry, mode, xattrs, applied);
        }
    }
}

impl Applied {
    /// Owner, times or permissions could not be set.
    pub(crate) fn failed(error: tree::Error) -> Self {
        Self {
            failures: vec![Failure::Meta(error)],
            ..Self::default()
        }
    }

    pub(super) fn note_xattr(&mut self) {
        self.changed = true;
        self.new_xattrs = true;
    }

    /// Reports what could not be set; `shown` is the name in quotes. Returns whether anything was changed.
    pub(crate) fn reported(self, report: &Reporter<'_>, role: Role, shown: &[u8]) -> bool {
        for failure in &self.failures {
            match failure.cause() {
                Some(cause) => report.failed(role, failure.text(shown), cause),
                None => report.say(Class::Transfer, role, failure.text(shown)),
            }
        }
        self.changed
    }
}

impl Failure {
    fn text(&self, shown: &[u8]) -> Vec<u8> {
        match self {
            Self::Meta(error) => failure_text(error, shown),
            Self::Xattr { call, name, .. } => {
                let call = format!("rsync_xal_set: l{call}(");
                sentence(&[call.as_bytes(), shown, b",\"", name, b"\") failed"])
            }
            Self::MissingValue(name) => {
                sentence(&[b"Missing abbreviated xattr value, ", name, b", for ", shown])
            }
            Self::Acl(kind, _) => {
                let name: &[u8] = match kind {
                    AclKind::Access => b"ACL_TYPE_ACCESS",
                    AclKind::Default => b"ACL_TYPE_DEFAULT",
                };
                let path = shown.trim_ascii_start();
                sentence(&[b"set_acl: sys_acl_set_file(", path, b", ", name, b")"])
            }
            Self::Unreachable(error) => {
                sentence(&[error.verb().as_bytes(), b" ", shown, b" failed"])
            }
        }
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Meta(error)
            | Self::Xattr { error, .. }
            | Self::Acl(_, error)
            | Self::Unreachable(error) => Some(error.cause()),
            Self::MissingValue(_) => None,
        }
    }
}

/// rsync's words for an attribute that could not be set; `shown` is the name in quotes.
fn failure_text(error: &tree::Error, shown: &[u8]) -> Vec<u8> {
    match error.verb() {
        "chown" => [b"chown ", shown, b" failed"].concat(),
        "chgrp" => [b"chgrp ", shown, b" failed"].concat(),
        "chmod" => [b"failed to set permissions on ", shown].concat(),
        "utimes" => [b"failed to set times on ", shown].concat(),
        verb => [verb.as_bytes(), b" ", shown, b" failed"].concat(),
    }
}
