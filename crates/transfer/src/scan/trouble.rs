//! What cannot be scanned, in rsync's words, and whether it counts as an I/O error (behaviour.md 5.5).

use std::sync::atomic::Ordering;

use tree::Kind;
use wire::IoErrors;

use super::start::Start;
use super::{Found, Pending, Scanner, path_of, rel};
use crate::Error;
use crate::event::{Class, Role};
use crate::flist::Entry;
use crate::options::MissingArgs;
use crate::report::{quoted, sentence};

impl Scanner<'_> {
    pub(super) fn missing_argument(
        &self,
        base: u16,
        path: &[u8],
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
                self.bad_argument(base, path, &std::io::Error::from_raw_os_error(ENOENT));
            }
        }
        Ok(())
    }

    pub(super) fn bad_argument(&self, base: u16, path: &[u8], cause: &std::io::Error) {
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        let text = sentence(&[b"link_stat ", &shown, b" failed"]);
        self.report.failed(Role::Sender, text, cause);
    }

    pub(super) fn no_referent(&self, base: u16, path: &[u8]) {
        self.general_error();
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        let text = sentence(&[b"symlink has no referent: ", &shown]);
        self.report.say(Class::Transfer, Role::Sender, text);
    }

    /// Says that a link leads where we do not follow it. If that is out of a daemon's module, the words are those that
    /// rsync has for what is there (behaviour.md 9.3), but it is not listed: they tell its kind and nothing else.
    pub(super) fn astray(&self, base: u16, path: &[u8], error: &tree::Error) {
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        let text = match self.beyond(base, path) {
            Some(None) => return self.no_referent(base, path),
            Some(Some(Kind::File)) => sentence(&[b"send_files failed to open ", &shown]),
            Some(Some(Kind::Dir)) => sentence(&[b"opendir ", &shown, b" failed"]),
            Some(Some(_)) | None => sentence(&[b"readlink_stat(", &shown, b") failed"]),
        };
        self.general_error();
        self.report.failed(Role::Sender, text, error.cause());
    }

    /// What a link leads to that leads out of a daemon's module; the inner `None` if that is nothing.
    pub(super) fn beyond(&self, base: u16, path: &[u8]) -> Option<Option<Kind>> {
        let root = &self.bases[usize::from(base)].root;
        let is_confined = self.options.confines_targets();
        is_confined.then(|| root.kind_beyond(rel(path)).ok())?
    }

    pub(super) fn vanished(&self, base: u16, path: &[u8], what: &[u8]) {
        self.report.io_error(IoErrors::VANISHED);
        let shown = quoted(&self.bases[usize::from(base)].shown, path);
        self.report
            .say(Class::Warning, Role::Sender, sentence(&[what, &shown]));
    }

    pub(super) fn unreadable(&self, verb: &str, pending: &Pending, cause: &std::io::Error) {
        let path = path_of(&pending.path);
        if cause.kind() == std::io::ErrorKind::NotFound {
            return self.vanished(pending.base, path, b"directory has vanished: ");
        }
        self.general_error();
        let shown = quoted(&self.bases[usize::from(pending.base)].shown, path);
        let text = match verb {
            "readdir" => sentence(&[b"readdir(", &shown, b")"]),
            _ => sentence(&[b"opendir ", &shown, b" failed"]),
        };
        self.report.failed(Role::Sender, text, cause);
    }

    pub(super) fn unreadable_entry(&self, base: u16, path: &[u8], cause: &std::io::Error) {
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

    pub(super) fn general_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if !self.defers_errors {
            self.report.io_error(IoErrors::GENERAL);
        }
    }
}

pub(super) const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();
