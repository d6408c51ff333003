//! The directory that everything else is relative to.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::{Dir, DirEntry, regular};
use crate::error::{Context, Result};
use crate::meta::{Identity, Kind, Meta};
use crate::operator_file::open_trusted;
use crate::resolve::{self, Links, check_relative};

/// How a root is opened and what its names may lead through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Links followed on the way to a name, and by the calls that follow the last one too.
    pub links: Links,
    /// The root's own path may lead only through links that root or the effective user owns;
    /// another's is `ELOOP` (behaviour.md 9.1).
    pub trusted_path: bool,
    /// Keeps recently used directories open instead of finding them again for each name: for one
    /// transfer, which alone rearranges its directories. A root that lives longer must not, or it
    /// would look into directories that were moved elsewhere meanwhile.
    pub hold_dirs: bool,
    /// Looks at names without the time of their birth ([`Meta::btime`]), which makes each look about a seventh
    /// cheaper.
    pub without_births: bool,
    /// Opens files for reading with `O_NOATIME` (`--open-noatime`), which only the file's owner
    /// and root may: for others the open fails.
    pub noatime: bool,
    /// Devices are opened as if they were regular files, of the length that they have
    /// (`--copy-devices`, `--write-devices`).
    pub devices: bool,
    /// What only root may set is noted in extended attributes instead, and read from there
    /// (`--fake-super`, behaviour.md 7.11): stats are those of what a file stands for, links and
    /// nodes are made as regular files.
    pub fake_super: bool,
}

/// An open directory and the path it was opened by.
///
/// Every `rel` below is a relative path; one that is absolute or has a `..` in it is refused, and
/// one that would lead out of the root by a symbolic link is too. An empty `rel` or `.` is the
/// root itself. The root's own path is the operator's: it may be, or lead through, a link.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    top: Arc<Dir>,
    policy: Policy,
    recent: Recent,
    above: Option<Above>,
}

/// The directory that a root lies beneath and never leaves, and the way down from there.
#[derive(Debug)]
struct Above {
    top: Arc<Dir>,
    way: PathBuf,
}

impl Root {
    /// Opens an existing directory. Errors name the path as it was given.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Policy::default())
    }

    /// Opens an existing directory under a policy of its own.
    pub fn open_with(path: &Path, policy: Policy) -> Result<Self> {
        let opened = if policy.trusted_path {
            open_trusted(path, DIRECTORY)
        } else {
            open_path(path)
        };
        Ok(Self::new(path, opened.at("open", path)?, policy))
    }

    /// Opens a directory, which is made if its parent exists, as rsync does with a destination.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_with(path, Policy::default())
    }

    /// Opens or makes a directory under a policy of its own.
    pub fn create_with(path: &Path, policy: Policy) -> Result<Self> {
        match Self::open_with(path, policy) {
            Err(error) if error.vanished() => {}
            opened => return opened,
        }
        match retry_on_intr(|| rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o777))) {
            Ok(()) | Err(Errno::EXIST) => Self::open_with(path, policy),
            Err(error) => Err(error).at("mkdir", path),
        }
    }

    /// The same directory for one transfer, see [`Policy::hold_dirs`].
    #[must_use]
    pub fn holding_dirs(&self) -> Self {
        let policy = Policy {
            hold_dirs: true,
            ..self.policy
        };
        Self {
            path: self.path.clone(),
            top: Arc::clone(&self.top),
            policy,
            recent: Recent::default(),
            above: self.above.as_ref().map(|above| Above {
                top: Arc::clone(&above.top),
                way: above.way.clone(),
            }),
        }
    }

    /// Opens a directory beneath this root as a root of its own. Links on the way to it, and to its names as far as
    /// `policy` permits links at all, may lead anywhere beneath this root; one that leads out is `ELOOP`.
    pub fn beneath(&self, rel: &Path, policy: Policy) -> Result<Self> {
        check_relative(rel).at("open", rel)?;
        let fd = resolve::open_beneath(self.top.fd(), rel, DIRECTORY, Links::Beneath);
        let fd = fd.map_err(as_loop).at("open", rel)?;
        let above = Above {
            top: Arc::clone(&self.top),
            way: rel.to_owned(),
        };
        Ok(Self {
            above: Some(above),
            ..Self::new(&self.path.join(rel), fd, policy)
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the directory that is open.
    pub fn identity(&self) -> Result<Identity> {
        Meta::of(self.top.fd())
            .map(|meta| meta.identity())
            .at("stat", &self.path)
    }

    /// Whether the directory is the one that `bound` leads to, or beneath it.
    pub fn is_within(&self, bound: &Path) -> bool {
        let bound = open_path(bound).and_then(|fd| Meta::of(&fd));
        bound
            .is_ok_and(|bound| resolve::is_within(self.top.fd(), bound.identity()).unwrap_or(false))
    }

    /// Device and inode of what the path leads to now; `None` if nothing, or no directory. A
    /// difference to [`identity`](Self::identity) means that the root was unmounted or replaced.
    pub fn current_identity(&self) -> Result<Option<Identity>> {
        match open_path(&self.path) {
            Ok(fd) => Meta::of(&fd)
                .map(|meta| Some(meta.identity()))
                .at("stat", &self.path),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).at("stat", &self.path),
        }
    }

    /// An open directory beneath the root.
    pub fn dir(&self, rel: &Path) -> Result<Arc<Dir>> {
        check_relative(rel).at("open", rel)?;
        self.resolved_dir(rel)
    }

    /// The stat of `rel`, a link itself and not its target; `None` if there is no such path.
    pub fn lstat(&self, rel: &Path) -> Result<Option<Meta>> {
        match self.at(rel) {
            Ok((dir, name)) => dir.lstat(name),
            Err(error) if error.vanished() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The stat of what `rel` leads to, through links as far as [`Policy::links`]
    /// allows; `None` if it leads nowhere.
    pub fn stat(&self, rel: &Path) -> Result<Option<Meta>> {
        check_relative(rel).at("stat", rel)?;
        let found = self.resolve(rel, OFlags::PATH).and_then(|fd| {
            let real = Meta::of(fd)?;
            self.target_stands_for(rel, real)
        });
        match found {
            Ok(meta) => Ok(Some(meta)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).at("stat", rel),
        }
    }

    /// What kind of thing a link leads to, wherever that is, for messages about links that are not followed; `None` if
    /// it leads nowhere. Only the link's own name is resolved beneath this root.
    pub fn kind_beyond(&self, link: &Path) -> Result<Option<Kind>> {
        let (dir, name) = self.at(link)?;
        match rustix::fs::statat(dir.fd(), name, AtFlags::empty()) {
            Ok(stat) => Ok(Kind::from_mode(stat.st_mode)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).at("stat", link),
        }
    }

    /// The target of a symbolic link, as it is stored.
    pub fn read_link(&self, rel: &Path) -> Result<Vec<u8>> {
        let (dir, name) = self.at(rel)?;
        dir.read_link(name)
    }

    /// The target of a link as this root would make it: under [`Policy::fake_super`] only that of a
    /// file that stands for a link.
    pub fn read_made_link(&self, rel: &Path) -> Result<Vec<u8>> {
        let (dir, name) = self.at(rel)?;
        match self.fakes() {
            true => dir.read_stand_in(name).at("readlink", rel),
            false => dir.read_link(name),
        }
    }

    /// Opens a regular file for reading; see [`Dir::open_regular`].
    pub fn open_file(&self, rel: &Path) -> Result<File> {
        self.open_regular(rel).map(|(file, _)| file)
    }

    /// Opens a regular file for reading, with the stat taken before its first byte is read.
    pub fn open_regular(&self, rel: &Path) -> Result<(File, Meta)> {
        let (dir, name) = self.at(rel)?;
        dir.open_regular(name)
    }

    /// Like [`open_regular`](Self::open_regular), but a link at `rel` is followed as far as
    /// [`Policy::links`] allows (`-L`, `--copy-unsafe-links`).
    pub fn open_target(&self, rel: &Path) -> Result<(File, Meta)> {
        check_relative(rel).at("open", rel)?;
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::NOATIME, self.policy.noatime);
        self.resolve(rel, flags)
            .and_then(|fd| regular(fd, self.policy))
            .at("open", rel)
    }

    /// Like [`lstat`](Self::lstat), with the length of a device where
    /// [devices count as files](Policy::devices).
    pub fn lstat_content(&self, rel: &Path) -> Result<Option<Meta>> {
        match self.lstat(rel)? {
            Some(meta) if meta.kind.is_device() && self.policy.devices => {
                let size = self.open_regular(rel).map_or(0, |(_, opened)| opened.size);
                Ok(Some(Meta { size, ..meta }))
            }
            meta => Ok(meta),
        }
    }

    pub(crate) fn follows_nothing(&self) -> bool {
        self.policy.links == Links::Refuse
    }

    /// What links and nodes are made by.
    pub(crate) fn fakes(&self) -> bool {
        self.policy.fake_super
    }

    /// Opens what `rel` leads to for its attributes alone: it need not be a regular file.
    pub(crate) fn open_target_any(&self, rel: &Path) -> Result<OwnedFd, Errno> {
        check_relative(rel)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.resolve(rel, flags)
    }

    /// Opens a regular file for writing in place; see [`Dir::open_in_place`].
    pub fn open_in_place(&self, rel: &Path, create: bool) -> Result<(File, Meta)> {
        let (dir, name) = self.at(rel)?;
        dir.open_in_place(name, create)
    }

    /// The names in a directory, in no order; see also [`Dir::list`].
    pub fn read_dir(&self, rel: &Path) -> Result<Vec<DirEntry>> {
        self.dir(rel)?.read_dir()
    }

    /// The open parent of `rel` and its last name; the root itself is `.` in itself.
    pub(crate) fn at<'p>(&self, rel: &'p Path) -> Result<(Arc<Dir>, &'p OsStr)> {
        if let Some(found) = self.at_once(rel) {
            return Ok(found);
        }
        check_relative(rel).at("open", rel)?;
        match (rel.parent(), rel.file_name()) {
            (Some(parent), Some(name)) => Ok((self.resolved_dir(parent)?, name)),
            _ => Ok((Arc::clone(&self.top), OsStr::new("."))),
        }
    }

    /// The way of nearly every call: a name in a directory that was used just before, whose path needs no second check.
    fn at_once<'p>(&self, rel: &'p Path) -> Option<(Arc<Dir>, &'p OsStr)> {
        let bytes = rel.as_os_str().as_bytes();
        let slash = bytes.iter().rposition(|&byte| byte == b'/')?;
        let (parent, name) = (&bytes[..slash], &bytes[slash + 1..]);
        if !self.policy.hold_dirs || matches!(name, b"" | b"." | b"..") {
            return None;
        }
        let dir = self.recent.find(OsStr::from_bytes(parent))?;
        Some((dir, OsStr::from_bytes(name)))
    }

    /// Forgets directories at and beneath `rel`, which was renamed, removed or changed its rules.
    pub(crate) fn forget(&self, rel: &Path) {
        self.recent.forget(rel);
    }

    fn new(path: &Path, fd: OwnedFd, policy: Policy) -> Self {
        Self {
            path: path.to_owned(),
            top: Arc::new(Dir::new(fd, PathBuf::new(), policy)),
            policy,
            recent: Recent::default(),
            above: None,
        }
    }

    /// Opens what `rel` leads to, through the links that the policy permits.
    fn resolve(&self, rel: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        match &self.above {
            Some(above) if self.policy.links != Links::Refuse => {
                let way = above.way.join(rel);
                resolve::open_beneath(above.top.fd(), &way, flags, Links::Beneath).map_err(as_loop)
            }
            _ => resolve::open_beneath(self.top.fd(), rel, flags, self.policy.links),
        }
    }

    fn resolved_dir(&self, rel: &Path) -> Result<Arc<Dir>> {
        let rel = rel.strip_prefix(".").unwrap_or(rel);
        if rel.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.top));
        }
        if self.policy.hold_dirs
            && let Some(dir) = self.recent.find(rel.as_os_str())
        {
            return Ok(dir);
        }
        let fd = self.resolve(rel, DIRECTORY).at("open", rel)?;
        let dir = Arc::new(Dir::new(fd, rel.to_owned(), self.policy));
        if self.policy.hold_dirs {
            self.recent.add(Arc::clone(&dir));
        }
        Ok(dir)
    }
}

/// What the kernel says of a link that leads out, in the words that rsync has for it.
fn as_loop(errno: Errno) -> Errno {
    match errno {
        Errno::XDEV => Errno::LOOP,
        errno => errno,
    }
}

/// Enough to reach for names in it: a directory without read permission must open too.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()))
}

// Roots and directories are shared between threads.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Root>();
    shared::<Dir>();
};

/// The directories used last, newest first.
#[derive(Debug, Default)]
struct Recent(Mutex<Vec<Arc<Dir>>>);

impl Recent {
    /// A transfer works in few directories at once, and each one held is a file descriptor.
    const KEPT: usize = 32;

    fn find(&self, rel: &OsStr) -> Option<Arc<Dir>> {
        let mut dirs = self.lock();
        let place = dirs.iter().position(|dir| dir.rel().as_os_str() == rel)?;
        dirs[..=place].rotate_right(1);
        dirs.first().map(Arc::clone)
    }

    fn add(&self, dir: Arc<Dir>) {
        let mut dirs = self.lock();
        dirs.truncate(Self::KEPT - 1);
        dirs.insert(0, dir);
    }

    fn forget(&self, rel: &Path) {
        let rel = rel.strip_prefix(".").unwrap_or(rel);
        self.lock().retain(|dir| !dir.rel().starts_with(rel));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Dir>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
