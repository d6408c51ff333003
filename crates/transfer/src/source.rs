//! Files of the source: opened as they were listed, compared, and removed once the destination has them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

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
    let looked = base.root.lstat(rel(path));
    // A link that was followed is judged by what it leads to.
    let looked = looked.and_then(|now| match now {
        Some(now) if now.is_symlink() && !entry.is_symlink() => base.root.stat(rel(path)),
        now => Ok(now),
    });
    let now = match looked {
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

/// Whether two files, which should have `size` bytes, have the same content. Long ones are compared by two threads, half
/// by half.
pub(crate) fn same_content(left: &File, right: &File, size: u64) -> io::Result<bool> {
    if size < PARALLEL {
        return same_range(left, right, size, 0..u64::MAX);
    }
    let middle = size / 2;
    std::thread::scope(|scope| {
        let compare_second = || same_range(left, right, size, middle..u64::MAX);
        let second = std::thread::Builder::new().spawn_scoped(scope, compare_second);
        let first = same_range(left, right, size, 0..middle);
        let lost = |_| Err(io::Error::other("a comparing thread failed"));
        let second = match second {
            Ok(second) => second.join().unwrap_or_else(lost),
            // The system has no more threads.
            Err(_) => compare_second(),
        };
        Ok(first? && second?)
    })
}

/// Whether two files, which should have `size` bytes, have the same bytes in a range, as far as there are any.
fn same_range(left: &File, right: &File, size: u64, range: Range<u64>) -> io::Result<bool> {
    let room = usize::try_from(size).map_or(BUFFER, |size| size.clamp(1, BUFFER));
    let (mut ours, mut theirs) = (vec![0; room], vec![0; room]);
    let mut offset = range.start;
    while offset < range.end {
        let left_over = range.end - offset;
        let want = usize::try_from(left_over).map_or(room, |left| left.min(room));
        let count = read_at(left, &mut ours[..want], offset)?;
        if count == 0 {
            return Ok(read_at(right, &mut theirs[..1], offset)? == 0);
        }
        match right.read_exact_at(&mut theirs[..count], offset) {
            Ok(()) if ours[..count] == theirs[..count] => offset += count as u64,
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// What is compared at a time, in bytes: of both files together no more than a processor holds near itself.
const BUFFER: usize = 128 << 10;

/// Files from this length on, in bytes, are worth a second thread.
const PARALLEL: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        for size in [0, 1, 1000, 300_000, 1 << 20, 3_000_001] {
            let content: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
            let same = |other: &[u8]| {
                same_content(&file(&content), &file(other), u64::from(size)).unwrap()
            };
            assert!(same(&content), "{size}");
            assert!(!same(&[&content[..], b"x"].concat()), "{size}: longer");
            let size = size as usize;
            for at in [0, size / 2, size.saturating_sub(1)] {
                let mut other = content.clone();
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 1;
                    assert!(!same(&other), "{size}: at {at}");
                    assert!(!same(&content[..at]), "{size}: ends at {at}");
                }
            }
        }
    }
}
