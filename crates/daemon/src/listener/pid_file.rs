//! The file that tells which process the daemon is (behaviour.md 8.1). It stays locked while the daemon lives.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rsync::strerror;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// A pid file that is ours. It goes with the value, unless that is a copy in a process that has come out of this one.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    pid: u32,
    _locked: std::fs::File,
}

/// A file of this size is none that a daemon has written, in bytes.
const SIZE_MAX: i64 = 16;

impl PidFile {
    /// Writes the file, or tells in rsync's words why not: also if another daemon has it.
    pub(super) fn write(path: &Path) -> Result<Self, String> {
        let failed = |verb: &str, errno: Errno| {
            let cause = strerror(&io::Error::from(errno));
            format!("failed to {verb} pid file {}: {cause}", path.display())
        };
        // Nobody may lead us elsewhere by a link.
        match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                rustix::fs::unlink(path).map_err(|errno| failed("unlink", errno))?;
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("lstat", errno)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o664));
        let fd = opened.map_err(|errno| failed("open", errno))?;
        rustix::fs::fcntl_lock(&fd, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| failed("lock", errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("fstat opened", errno))?;
        if stat.st_size > SIZE_MAX {
            return Err(failed("find small", Errno::FBIG));
        }
        rustix::fs::ftruncate(&fd, 0).map_err(|errno| failed("truncate", errno))?;
        let mut file = std::fs::File::from(fd);
        let pid = std::process::id();
        writeln!(file, "{pid}").map_err(|cause| {
            format!(
                "failed to write pid file {}: {}",
                path.display(),
                strerror(&cause)
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            pid,
            _locked: file,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // If it is gone already, somebody else has tidied up.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make files of their own")]

    use super::*;

    #[test]
    fn it_tells_the_process_and_goes_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pid");
        std::fs::write(&path, "123\n").expect("an old one");
        let file = PidFile::write(&path).expect("nobody has it");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_pid_file_is_left_alone_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "more than a number").expect("a file");
        let refused = PidFile::write(&precious).expect_err("not a pid file");
        assert!(
            refused.starts_with("failed to find small pid file "),
            "{refused}"
        );
        let link = dir.path().join("pid");
        std::os::unix::fs::symlink(&precious, &link).expect("a link");
        let file = PidFile::write(&link).expect("the link is replaced");
        assert_eq!(
            std::fs::read_to_string(&precious).expect("untouched"),
            "more than a number"
        );
        drop(file);
        let nowhere = dir.path().join("none/pid");
        let refused = PidFile::write(&nowhere).expect_err("no directory");
        assert!(
            refused.ends_with("No such file or directory (2)"),
            "{refused}"
        );
    }
}
