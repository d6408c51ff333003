//! What cannot be scanned, in rsync's words, and whether it counts as an I/O error (behaviour.md 5.5).

use std::sync::atomic::Ordering;

use wire::IoErrors;

use super::start::Start;
use super::{Found, Pending, Scanner, path_of};
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
                let shown = quoted(&self.bases[usize::from(base)].shown, path);
                let text = sentence(&[b"link_stat ", &shown, b" failed"]);
                self.report.failed(
                    Role::Sender,
                    text,
                    &std::io::Error::from_raw_os_error(ENOENT),
                );
            }
        }
        Ok(())
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
