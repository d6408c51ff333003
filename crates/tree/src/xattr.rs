//! Extended attributes, of every type of file and without /proc.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::meta::{Kind, Meta};
use crate::root::Root;
use crate::syscall::listxattrat_length;

/// The extended attributes of one file. Names have their full prefix (`user.x`).
#[derive(Debug)]
pub struct Xattrs {
    of: Of,
    path: PathBuf,
    /// Access control lists are noted in attributes of our own.
    fake_super: bool,
}

/// How the file is held on to.
#[derive(Debug)]
enum Of {
    /// Open: every call is about this very inode.
    File(OwnedFd),
    /// A link, a device, or what we may not open: a name in an open directory, not followed.
    Name(Arc<Dir>, OsString),
}

impl Root {
    /// The extended attributes of `rel`; a symbolic link's own. `now` is its present type.
    pub fn xattrs(&self, rel: &Path, now: Kind) -> Result<Xattrs> {
        let (dir, name) = self.at(rel)?;
        let of = match now {
            Kind::File | Kind::Dir => open_or_name(dir, name),
            // Whatever else it stands for, it is most likely a regular file.
            _ if self.fakes() => match Meta::read(dir.fd(), name) {
                Ok(meta) if matches!(meta.kind, Kind::File | Kind::Dir) => open_or_name(dir, name),
                Ok(_) => Ok(Of::Name(dir, name.to_owned())),
                Err(cause) => Err(cause),
            },
            // Opening these would wait, or do something.
            _ => Ok(Of::Name(dir, name.to_owned())),
        };
        let path = rel.to_owned();
        match of {
            Ok(of) => Ok(Xattrs {
                of,
                path,
                fake_super: self.fakes(),
            }),
            Err(cause) => Err(Error::new("open", path, cause)),
        }
    }

    /// Whether one call tells that `rel` has no extended attributes that we may see. Most files have none, and to open each
    /// of them for that is most of what looking takes. False if it has some, if it cannot be looked at, and where only
    /// [`xattrs`](Self::xattrs) can tell: before Linux 6.13, or if `rel` may stand for what a link there leads to.
    pub fn surely_lacks_xattrs(&self, rel: &Path) -> bool {
        let listed = |(dir, name): (Arc<Dir>, &OsStr)| listxattrat_length(dir.fd(), name);
        self.follows_nothing() && self.at(rel).is_ok_and(|at| listed(at) == Ok(0))
    }

    /// Like [`xattrs`](Self::xattrs), of what a link at `rel` leads to, as far as
    /// [`Policy::links`](crate::Policy::links) allows.
    pub fn xattrs_of_target(&self, rel: &Path) -> Result<Xattrs> {
        let path = rel.to_owned();
        match self.open_target_any(rel) {
            Ok(fd) => Ok(Xattrs {
                of: Of::File(fd),
                path,
                fake_super: self.fakes(),
            }),
            Err(cause) => Err(Error::new("open", path, cause)),
        }
    }
}

impl Xattrs {
    /// The extended attributes of an open file; `path` is for messages.
    pub fn of_file(file: &File, path: &Path) -> Result<Self> {
        match file.as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(Self {
                of: Of::File(fd),
                path: path.to_owned(),
                fake_super: false,
            }),
            Err(cause) => Err(Error::new("dup", path, cause)),
        }
    }

    /// The same with access control lists as they are kept under [`Policy::fake_super`].
    ///
    /// [`Policy::fake_super`]: crate::Policy::fake_super
    pub(crate) fn faking(self, fake_super: bool) -> Self {
        Self { fake_super, ..self }
    }

    pub(crate) fn fakes(&self) -> bool {
        self.fake_super
    }

    /// The permission bits of what the file stands for.
    pub(crate) fn mode(&self) -> Result<u32> {
        if let Some(noted) = self.fake_stat()? {
            return Ok(noted.mode);
        }
        let read = match &self.of {
            Of::File(fd) => Meta::of(fd),
            Of::Name(dir, name) => Meta::read(dir.fd(), name),
        };
        read.map(|meta| meta.mode)
            .map_err(|cause| self.error("stat", cause))
    }

    /// All names that we may see, sorted by their bytes. A file system without extended attributes
    /// has none (behaviour.md 7.19).
    pub fn list(&self) -> Result<Vec<OsString>> {
        let listed = self.call(
            |fd| read_whole(|names| rustix::fs::flistxattr(fd, spare_capacity(names))),
            |path| read_whole(|names| rustix::fs::llistxattr(path, spare_capacity(names))),
        );
        let names = match listed {
            Ok(names) => names,
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(cause) => return Err(self.error("listxattr", cause)),
        };
        let mut names: Vec<OsString> = names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| OsStr::from_bytes(name).to_owned())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The value of one attribute; `None` if there is no such attribute.
    pub fn value(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        let value = self.call(
            |fd| read_whole(|value| rustix::fs::fgetxattr(fd, name, spare_capacity(value))),
            |path| read_whole(|value| rustix::fs::lgetxattr(path, name, spare_capacity(value))),
        );
        match value {
            Ok(mut value) => {
                value.shrink_to_fit();
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(cause) => Err(self.error("getxattr", cause)),
        }
    }

    /// Sets one attribute, new or not.
    pub fn set(&self, name: &OsStr, value: &[u8]) -> Result<()> {
        let flags = XattrFlags::empty();
        self.call(
            |fd| rustix::fs::fsetxattr(fd, name, value, flags),
            |path| rustix::fs::lsetxattr(path, name, value, flags),
        )
        .map_err(|cause| self.error("setxattr", cause))
    }

    /// Removes one attribute; that it is not there is no error.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        let removed = self.call(
            |fd| rustix::fs::fremovexattr(fd, name),
            |path| rustix::fs::lremovexattr(path, name),
        );
        match removed {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(cause) => Err(self.error("removexattr", cause)),
        }
    }

    fn call<T: Send>(
        &self,
        on_fd: impl Fn(&OwnedFd) -> Result<T, Errno>,
        on_path: impl Fn(&Path) -> Result<T, Errno> + Send + Sync,
    ) -> Result<T, Errno> {
        match &self.of {
            Of::File(fd) => retry_on_intr(|| on_fd(fd)),
            Of::Name(dir, name) => in_directory(dir, name, |path| retry_on_intr(|| on_path(path))),
        }
    }

    pub(crate) fn error(&self, verb: &'static str, cause: impl Into<std::io::Error>) -> Error {
        Error::new(verb, self.path.clone(), cause)
    }
}

/// What nearly all values, and nearly all lists of names, have room in. The kernel makes a buffer as long as ours for each
/// call, and a long one takes longer than everything else that the call does.
const USUAL: usize = 1024;

/// What the kernel allows for a value, and for all names together (`XATTR_SIZE_MAX`).
const LONGEST: usize = 64 * 1024;

fn read_whole(read: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(USUAL);
    match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.reserve_exact(LONGEST);
            read(&mut buffer)
        }
        read => read,
    }?;
    Ok(buffer)
}

fn open_or_name(dir: Arc<Dir>, name: &OsStr) -> Result<Of, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(dir.fd(), name, flags, Mode::empty())) {
        Ok(fd) => Ok(Of::File(fd)),
        Err(Errno::ACCESS) => Ok(Of::Name(dir, name.to_owned())),
        Err(cause) => Err(cause),
    }
}

/// Calls `call` with a path that leads to `name` in `dir` whatever happens to the path of `dir`.
///
/// The calls for links take a path only, and paths start at the working directory, which all
/// threads share. So a thread is made that has one of its own.
pub(crate) fn in_directory<T: Send>(
    dir: &Dir,
    name: &OsStr,
    call: impl Fn(&Path) -> Result<T, Errno> + Send + Sync,
) -> Result<T, Errno> {
    let apart = || {
        own_working_directory()?;
        rustix::process::fchdir(dir.fd())
    };
    let made = std::thread::scope(|scope| {
        let run = || apart().map(|()| call(Path::new(name)));
        let thread = std::thread::Builder::new()
            .spawn_scoped(scope, run)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        thread.join().unwrap_or(Err(Errno::IO))
    });
    match made {
        Ok(outcome) => outcome,
        // A container's seccomp profile may refuse this; containers do have /proc.
        Err(Errno::PERM | Errno::NOSYS | Errno::ACCESS) => {
            let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.fd().as_raw_fd()));
            path.push(name);
            call(&path)
        }
        Err(cause) => Err(cause),
    }
}

#[expect(unsafe_code, reason = "only some of unshare's flags are harmless")]
fn own_working_directory() -> Result<(), Errno> {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: this flag gives the calling thread a working directory, root and umask of its own,
    // and leaves memory and descriptors as they are; the thread ends right after its one call.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}
