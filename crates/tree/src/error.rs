//! What can go wrong: one verb, one path, one cause.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The result of everything that names a path.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file operation that failed: what was tried, on which path, and the system's reason.
///
/// The path is the one the caller gave: the operator's own for [`Root::open`](crate::Root::open),
/// relative to the root for everything beneath it. It is printed quoted and escaped, so a name
/// cannot forge a second log line.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {path:?}: {cause}")]
pub struct Error {
    verb: &'static str,
    path: PathBuf,
    #[source]
    cause: io::Error,
}

impl Error {
    /// An error of `verb` on `path`.
    pub fn new(verb: &'static str, path: impl Into<PathBuf>, cause: impl Into<io::Error>) -> Self {
        Self {
            verb,
            path: path.into(),
            cause: cause.into(),
        }
    }

    /// What was tried, in the words of the system call: `open`, `rename`, `chown` ...
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The path it was tried on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The system's reason.
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// Gives up the context and keeps the system's reason.
    pub fn into_cause(self) -> io::Error {
        self.cause
    }

    /// The file system or the quota is full.
    pub fn is_no_space(&self) -> bool {
        self.is(&[Errno::NOSPC, Errno::DQUOT])
    }

    /// The operation was refused for lack of rights, or because the file system is read-only.
    pub fn is_permission(&self) -> bool {
        self.is(&[Errno::ACCESS, Errno::PERM, Errno::ROFS])
    }

    /// The path, or a directory on the way to it, is no longer there.
    pub fn vanished(&self) -> bool {
        self.is(&[Errno::NOENT, Errno::NOTDIR, Errno::STALE])
    }

    /// What was known to be a file, or in directories, is so no longer: it vanished, or a link took its place or that of a
    /// directory above.
    pub fn is_overtaken(&self) -> bool {
        self.vanished() || self.is_confined()
    }

    /// A symbolic link stood where none is followed, or a path would have left the root.
    pub fn is_confined(&self) -> bool {
        self.is(&[Errno::LOOP, Errno::XDEV])
    }

    /// A directory stands where something else was to be put: remove it first.
    pub fn is_directory_in_the_way(&self) -> bool {
        self.is(&[Errno::ISDIR])
    }

    /// An attribute could not be set; everything else that was asked for is done.
    pub fn is_attribute(&self) -> bool {
        matches!(self.verb, "chown" | "chgrp" | "chmod" | "utimes")
    }

    /// The name is taken.
    pub fn is_existing(&self) -> bool {
        self.is(&[Errno::EXIST])
    }

    /// The directory still has entries.
    pub fn is_not_empty(&self) -> bool {
        self.is(&[Errno::NOTEMPTY]) || (self.verb == "rmdir" && self.is_existing())
    }

    /// A name is longer than the file system permits.
    pub fn is_name_too_long(&self) -> bool {
        self.is(&[Errno::NAMETOOLONG])
    }

    /// The file system has no such feature.
    pub fn is_unsupported(&self) -> bool {
        self.is(&[Errno::OPNOTSUPP, Errno::NOSYS])
    }

    fn is(&self, any: &[Errno]) -> bool {
        let errno = self.cause.raw_os_error();
        any.iter().any(|e| Some(e.raw_os_error()) == errno)
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind, and the whole text as the message.
    fn from(error: Error) -> Self {
        Self::new(error.cause.kind(), error)
    }
}

/// Adds verb and path to a system call's result.
pub(crate) trait Context<T> {
    /// Names `path` itself.
    fn at(self, verb: &'static str, path: &Path) -> Result<T>;
    /// Names `name` in `dir`.
    fn within(self, verb: &'static str, dir: &Path, name: &OsStr) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T> {
        self.map_err(|cause| Error::new(verb, path, cause))
    }

    fn within(self, verb: &'static str, dir: &Path, name: &OsStr) -> Result<T> {
        self.map_err(|cause| Error::new(verb, join(dir, name), cause))
    }
}

/// `dir/name`, with `.` standing for the directory itself.
pub(crate) fn join(dir: &Path, name: &OsStr) -> PathBuf {
    if name == "." {
        dir.to_owned()
    } else {
        dir.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_verb_path_and_cause_on_one_line() {
        let error = Error::new("open", "a/b\nc", Errno::ACCESS);
        assert_eq!(
            error.to_string(),
            r#"open "a/b\nc": Permission denied (os error 13)"#
        );
        assert!(error.is_permission());
        assert!(!error.vanished());
    }

    #[test]
    fn a_full_quota_is_a_full_disk() {
        assert!(Error::new("write", "x", Errno::DQUOT).is_no_space());
        assert!(Error::new("write", "x", Errno::NOSPC).is_no_space());
    }
}
