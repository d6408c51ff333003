//! `max connections`: places for clients, counted by locks (behaviour.md 8.4, 11).
//!
//! Place number `k` is a lock on the four bytes at `4 * k` of the lock file. The kernel keeps it for as long as its process
//! lives and gives it back however the process ends. Daemons of rsync use the same bytes, so that both can share a file.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use thiserror::Error;

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _locked: Option<File>,
}

/// There is no place.
#[derive(Debug, Error)]
pub(crate) enum NoSlot {
    /// All are taken; a negative number means that there are none. The text is rsync's for the log; the client is also asked
    /// to try again later.
    #[error("max connections ({0}) reached")]
    Full(i32),
    /// The lock file is of no use.
    #[error("failed to open lock file {file}: {cause}")]
    LockFile {
        /// Its name.
        file: String,
        /// Why.
        cause: io::Error,
    },
}

impl NoSlot {
    /// What the client is told.
    #[must_use]
    pub(crate) fn client_text(&self) -> String {
        match self {
            Self::Full(max) => format!("max connections ({max}) reached -- try again later"),
            Self::LockFile { .. } => "failed to open lock file".to_owned(),
        }
    }
}

impl Slot {
    /// Takes one of `max` places, of which there is no end if it is 0.
    ///
    /// # Errors
    /// [`NoSlot`].
    pub(crate) fn take(lock_file: &Path, max: i32) -> Result<Self, NoSlot> {
        if max == 0 {
            return Ok(Self { _locked: None });
        }
        let trouble = |cause: io::Error| NoSlot::LockFile {
            file: lock_file.display().to_string(),
            cause,
        };
        // Whoever could open it could take all places.
        let file = tree::append_trusted_file(lock_file, 0o600).map_err(trouble)?;
        for place in 0..max {
            match lock(&file, place) {
                Ok(()) => {
                    return Ok(Self {
                        _locked: Some(file),
                    });
                }
                Err(Errno::EACCES | Errno::EAGAIN) => {}
                Err(errno) => return Err(trouble(errno.into())),
            }
        }
        Err(NoSlot::Full(max))
    }
}

/// Locks a place for this open file, or fails if it is taken.
fn lock(file: &File, place: i32) -> nix::Result<()> {
    const LENGTH: i64 = 4;
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LENGTH * i64::from(place),
        l_len: LENGTH,
        l_pid: 0,
    };
    // Bound to the open file: closing another file of this process does not release it, as it would an older kind of lock.
    fcntl(file, FcntlArg::F_OFD_SETLK(&range)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("lock");
        let first = Slot::take(&file, 2).expect("a place");
        let second = Slot::take(&file, 2).expect("another place");
        let third = Slot::take(&file, 2).expect_err("no more places");
        assert_eq!(third.to_string(), "max connections (2) reached");
        assert_eq!(
            third.client_text(),
            "max connections (2) reached -- try again later"
        );
        // A module with more places shares those of the file.
        let wider = Slot::take(&file, 3).expect("the third place");
        drop(first);
        let again = Slot::take(&file, 2).expect("the first place");
        drop((second, wider, again));
    }

    #[test]
    fn none_and_no_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("lock");
        let places: Vec<Slot> = (0..50)
            .map(|_| Slot::take(&file, 0).expect("always"))
            .collect();
        assert!(!file.exists());
        let closed = Slot::take(&file, -1).expect_err("closed");
        assert_eq!(
            closed.client_text(),
            "max connections (-1) reached -- try again later"
        );
        drop(places);
    }

    #[test]
    fn a_lock_file_that_cannot_be_opened() {
        let failed = Slot::take(Path::new("/nonexistent/lock"), 1).expect_err("no directory");
        assert!(matches!(failed, NoSlot::LockFile { .. }), "{failed}");
        assert_eq!(failed.client_text(), "failed to open lock file");
    }
}
