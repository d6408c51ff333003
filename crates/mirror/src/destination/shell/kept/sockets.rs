//! Where the sockets are that lead to kept connections: a directory of one replica, in one of its user's.
//!
//! Whoever gets at such a socket acts as us at the far end, so both are closed to others. A mirror that was killed leaves
//! its directory; that nobody holds its lock shows so, and the next mirror of the same user ends what it held.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::process::{geteuid, getpid};

use super::master::Master;

/// The longest path of a directory for temporary files that leaves room for ours: a socket's address has 108 bytes, and
/// ssh puts 17 more behind the name while it makes one.
const BASE_MAX: usize = 40;

/// A directory for sockets; it goes when this is dropped.
pub(super) struct Sockets {
    directory: PathBuf,
    count: u32,
    _lock: OwnedFd,
}

impl Sockets {
    /// Makes a directory, after clearing away what killed mirrors have left.
    ///
    /// # Errors
    /// The kernel's; the user's directory is somebody else's.
    pub(super) fn claim() -> io::Result<Self> {
        Self::claim_in(&base(std::env::temp_dir()))
    }

    fn claim_in(base: &Path) -> io::Result<Self> {
        let user = geteuid();
        let shared = base.join(format!("driftless-{user}"));
        make(&shared)?;
        let opened = open_directory(&shared)?;
        let stat = fstat(&opened)?;
        if stat.st_uid != user.as_raw() || stat.st_mode & 0o077 != 0 {
            let text = format!("{} is open to others", shared.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        // Nobody clears away a directory between its making and its lock.
        flock(&opened, FlockOperation::LockExclusive)?;
        clear_away_abandoned(&shared)?;
        let mut directories =
            (0_u32..).map(|number| shared.join(format!("{}.{number}", getpid().as_raw_nonzero())));
        let directory = loop {
            let directory = directories.next().unwrap_or_default();
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| directory)?,
            }
        };
        let lock = open_directory(&directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            directory,
            count: 0,
            _lock: lock,
        })
    }

    /// A place for a socket where there has never been one: ssh takes one that is left over for a reason not to share.
    pub(super) fn next(&mut self) -> PathBuf {
        self.count += 1;
        self.directory.join(self.count.to_string())
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What is in it has been removed by whoever put it there.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

/// Where the user's directory is to be: where temporary files go, if its path can be in a socket's address and has nothing
/// in it that ssh would replace.
fn base(temporary: PathBuf) -> PathBuf {
    let bytes = temporary.as_os_str().as_bytes();
    let is_plain = !bytes.iter().any(|byte| b"%$".contains(byte));
    match is_plain && bytes.len() <= BASE_MAX && temporary.is_absolute() {
        true => temporary,
        false => PathBuf::from("/tmp"),
    }
}

/// Makes the user's directory, unless it is there.
fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Ends what dead mirrors held, and removes their directories.
#[expect(clippy::disallowed_methods, reason = "the directory is our own")]
fn clear_away_abandoned(shared: &Path) -> io::Result<()> {
    for directory in std::fs::read_dir(shared)? {
        let directory = directory?.path();
        let Ok(opened) = open_directory(&directory) else {
            continue;
        };
        if flock(&opened, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let files = || {
            std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
        };
        for note in files().map(|file| file.path()) {
            if note.extension().is_some_and(|extension| extension == "pid") {
                Master::end_noted(&note.with_extension(""));
            }
        }
        for file in files() {
            let _ = std::fs::remove_file(file.path());
        }
        let _ = std::fs::remove_dir(&directory);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own files")]

    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_dead_mirror_held_is_ended_and_that_of_a_living_one_stays() {
        let base = tempfile::tempdir().unwrap();
        let mut living = Sockets::claim_in(base.path()).unwrap();
        let mut dead = Sockets::claim_in(base.path()).unwrap();
        assert_ne!(living.directory, dead.directory);
        let socket = dead.next();
        // It has the socket among its words, as an ssh that holds a connection has.
        let mut held = Command::new("/bin/sh")
            .args(["-c", "read word", "sh"])
            .arg(&socket)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // Before it is what it was started as, it holds our descriptors and thus the locks.
        let line = format!("/proc/{}/cmdline", held.id());
        while !std::fs::read_to_string(&line)
            .unwrap()
            .contains("read word")
        {
            std::thread::yield_now();
        }
        std::fs::write(socket.with_extension("pid"), held.id().to_string()).unwrap();
        std::fs::write(&socket, "").unwrap();
        let stays = living.next();
        std::fs::write(&stays, "").unwrap();
        // As by SIGKILL: the lock goes, and nothing else.
        let directory = dead.directory.clone();
        dead.directory = PathBuf::new();
        drop(dead);
        drop(Sockets::claim_in(base.path()).unwrap());
        // Its input would end with the wait, and so would it.
        let input = held.stdin.take();
        assert_eq!(held.wait().unwrap().signal(), Some(15));
        drop(input);
        assert!(!directory.exists());
        assert!(stays.exists());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_not_used() {
        let base = tempfile::tempdir().unwrap();
        drop(Sockets::claim_in(base.path()).unwrap());
        let shared = base.path().join(format!("driftless-{}", geteuid()));
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o750)).unwrap();
        let refused = Sockets::claim_in(base.path()).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_path_that_ssh_would_not_take_is_avoided() {
        for (temporary, used) in [
            ("/var/tmp", "/var/tmp"),
            ("/tmp/%h", "/tmp"),
            ("relative", "/tmp"),
            (
                "/a/rather/long/path/for/temporary/files/of/one/user",
                "/tmp",
            ),
        ] {
            assert_eq!(base(PathBuf::from(temporary)), Path::new(used));
        }
    }
}
