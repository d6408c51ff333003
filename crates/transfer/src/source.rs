//! Files of the source: opened as they were listed, compared, and removed once the destination has them.

use std::fs::File;
use std::io::{self, Read};

use tree::{Kind, Meta};

use crate::destination::Destination;
use crate::event::{Class, Event, Role};
use crate::flist::Entry;
use crate::options::Options;
use crate::report::{Reporter, sentence};
use crate::scan::{Base, rel};

/// Opens a file of the source as it was listed: what a link leads to, if links are followed.
pub(crate) fn open_source(
    base: &Base,
    entry: &Entry,
    options: &Options,
) -> Result<(File, Meta), tree::Error> {
    match options.copy_links || options.copy_unsafe_links {
        true => base.root.open_target(rel(entry.path())),
        false => base.root.open_regular(rel(entry.path())),
    }
}

/// Removes a file of the source that the destination has, unless it has changed since it was listed
/// (behaviour.md 2.13).
pub(crate) fn remove_source(
    base: &Base,
    entry: &Entry,
    destination: &Destination,
    report: &Reporter<'_>,
) {
    let path = entry.path();
    let role = Role::Sender;
    let now = match base.root.lstat(rel(path)) {
        Ok(Some(now)) => now,
        Ok(None) => {
            report.say(
                Class::Info,
                role,
                sentence(&[b"sender file already removed: ", path]),
            );
            return;
        }
        Err(error) => {
            report.failed(
                role,
                sentence(&[b"sender failed to re-lstat ", path]),
                error.cause(),
            );
            return;
        }
    };
    let own = destination
        .root()
        .and_then(|root| root.lstat(rel(destination.place(path))).ok().flatten());
    if own.is_some_and(|own| own.identity() == now.identity()) && now.nlink < 2 {
        let text = sentence(&[b"ERROR: Skipping sender remove of destination file: ", path]);
        return report.say(Class::Transfer, role, text);
    }
    let has_changed = now.mtime.sec != entry.mtime
        || now.mtime.nsec != entry.mtime_nsec
        || now.kind == Kind::File && now.size != entry.size;
    if has_changed {
        let text = sentence(&[b"ERROR: Skipping sender remove for changed file: ", path]);
        return report.say(Class::Transfer, role, text);
    }
    match base.root.remove_file(rel(path)) {
        Ok(()) => report.event(Event::RemovedSource { path }),
        Err(error) => report.failed(
            role,
            sentence(&[b"sender failed to remove ", path]),
            error.cause(),
        ),
    }
}

/// Whether two files have the same content.
pub(crate) fn same_content(mut left: File, mut right: File) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let count = left.read(&mut ours)?;
        if count == 0 {
            return Ok(right.read(&mut theirs)? == 0);
        }
        match right.read_exact(&mut theirs[..count]) {
            Ok(()) if ours[..count] == theirs[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// What is compared at a time, in bytes.
const BUFFER: usize = 256 << 10;
