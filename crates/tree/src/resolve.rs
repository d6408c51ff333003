//! Opening a path beneath a directory, and an operator's path through links he can trust.
//!
//! The kernel does the first where it can (`openat2`); the walk by hand below does the same where
//! kernel or container refuse that call, where a path is longer than `PATH_MAX`, and where the
//! owner of each link decides (behaviour.md 9.1), which no kernel flag expresses.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::meta::{Identity, Meta};

/// Which symbolic links are followed on the way to a name, and by calls that follow the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// None: a link on the way is an error.
    #[default]
    Refuse,
    /// Those that stay beneath the root (`-K`, behaviour.md 9.2).
    Beneath,
    /// All: only for what a local user asked for himself (`-L`, `-k`, `--insecure-links`).
    Anywhere,
}

/// Opens `path`, which is relative, beneath `root`. An empty path is the root itself.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let (resolve, follow) = match links {
        Links::Anywhere => {
            return retry_on_intr(|| rustix::fs::openat(root, path, flags, Mode::empty()));
        }
        Links::Refuse => (ResolveFlags::NO_SYMLINKS, Follow::Never),
        Links::Beneath => (ResolveFlags::empty(), Follow::Beneath),
    };
    if let Some(answer) = ask_kernel(root, path, flags, resolve) {
        return answer;
    }
    Walk::new(root, path, follow).open(flags)
}

/// Opens a file that an operator names for reading, such as a configuration or a list of secrets: a symbolic link on the
/// way, or in its place, is followed only if root or the effective user owns it; another's is `ELOOP` (behaviour.md 9.1).
pub fn open_trusted_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(File::from(Walk::of_file(path)?.open(flags)?))
}

/// Opens a file under the rule of [`open_trusted_file`] if it is in `bound` or beneath it, wherever the path leads through;
/// another is `ELOOP` too (behaviour.md 9.4).
pub fn open_confined_file(path: &Path, bound: &Path) -> io::Result<File> {
    let mut walk = Walk::of_file(path)?;
    walk.bound = Some(Bound::of(bound)?);
    Ok(File::from(walk.open(OFlags::RDONLY | OFlags::CLOEXEC)?))
}

/// Makes or empties a file that an operator names to be written, under the rule of [`open_trusted_file`]. A new one has these
/// permissions.
pub fn create_trusted_file(path: &Path, permissions: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut walk = Walk::of_file(path)?;
    walk.mode = Mode::from_raw_mode(permissions);
    Ok(File::from(walk.open(flags)?))
}

/// Opens a file that an operator names to be appended to, such as a log, under the rule of [`open_trusted_file`]. It is made
/// if it is not there, with these permissions.
pub fn append_trusted_file(path: &Path, permissions: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut walk = Walk::of_file(path)?;
    walk.mode = Mode::from_raw_mode(permissions);
    Ok(File::from(walk.open(flags)?))
}

/// Opens an operator's path: a link is followed only if root or we ourselves own it.
pub(crate) fn open_trusted(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    Walk::new(CWD, path, Follow::TrustedOwner).open(flags | OFlags::CLOEXEC)
}

/// Refuses what cannot name something beneath a root: absolute paths and `..`.
pub(crate) fn check_relative(path: &Path) -> Result<(), Errno> {
    let beneath = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    if path.components().all(beneath) {
        Ok(())
    } else {
        Err(Errno::XDEV)
    }
}

/// Refuses what is not a single name in a directory.
pub(crate) fn check_name(name: &OsStr) -> Result<(), Errno> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b".." || bytes.contains(&b'/') {
        Err(Errno::XDEV)
    } else {
        Ok(())
    }
}

/// `None` where the answer has to be found by hand.
fn ask_kernel(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Option<Result<OwnedFd, Errno>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    // EAGAIN: something beneath was renamed meanwhile and the kernel could not be sure. A busy
    // tree calms down within a few tries; a hostile one must not hold us here.
    const TRIES: u32 = 64;

    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS) => {
                MISSING.store(true, Ordering::Relaxed);
                return None;
            }
            // EPERM is what a container's seccomp profile says, or a genuine refusal that the
            // walk will meet again; ENAMETOOLONG may be the path's fault or one name's.
            Err(Errno::PERM | Errno::NAMETOOLONG) => return None,
            answer => return Some(answer),
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    Never,
    Beneath,
    TrustedOwner,
}

/// Resolution by hand, one component at a time, each opened without following a link.
struct Walk<'a> {
    start: BorrowedFd<'a>,
    follow: Follow,
    /// What is still to be resolved.
    pending: VecDeque<OsString>,
    /// The true names from `start` to `at`. Leaving a directory by `..` starts again at the top
    /// with these, for the `..` of a directory that was moved away meanwhile leads outside.
    names: Vec<OsString>,
    /// The directory reached; `None` is `start`.
    at: Option<OwnedFd>,
    links_left: u32,
    /// Of a file that is made.
    mode: Mode,
    /// Where the last component has to be.
    bound: Option<Bound>,
}

impl<'a> Walk<'a> {
    fn new(start: BorrowedFd<'a>, path: &Path, follow: Follow) -> Self {
        let mut walk = Self {
            start,
            follow,
            pending: VecDeque::new(),
            names: Vec::new(),
            at: None,
            links_left: 40,
            mode: Mode::empty(),
            bound: None,
        };
        walk.push(path.as_os_str());
        walk
    }

    /// The way to an operator's file, which is not the directory that we are in.
    fn of_file(path: &Path) -> Result<Self, Errno> {
        match path.as_os_str().is_empty() {
            true => Err(Errno::INVAL),
            false => Ok(Self::new(CWD, path, Follow::TrustedOwner)),
        }
    }

    fn open(mut self, flags: OFlags) -> Result<OwnedFd, Errno> {
        while let Some(name) = self.pending.pop_front() {
            match name.as_bytes() {
                b"/" if self.follow == Follow::TrustedOwner => {
                    let slash = OsStr::new("/");
                    self.at = Some(open_at(CWD, slash, OFlags::PATH | OFlags::DIRECTORY)?);
                }
                b"/" => return Err(Errno::XDEV),
                b".." if self.follow == Follow::TrustedOwner => self.enter(&name)?,
                b".." => self.leave()?,
                _ if self.pending.is_empty() => {
                    if let Some(last) = self.open_last(&name, flags)? {
                        return Ok(last);
                    }
                }
                _ => self.step(name)?,
            }
        }
        open_at(self.here(), OsStr::new("."), flags)
    }

    /// Goes down into `name`, or queues the target if it is a link that may be followed.
    fn step(&mut self, name: OsString) -> Result<(), Errno> {
        match self.enter(&name) {
            Ok(()) => {
                if self.follow == Follow::Beneath {
                    self.names.push(name);
                }
                Ok(())
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                if self.expand(&name)? {
                    Ok(())
                } else {
                    Err(Errno::NOTDIR)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the last component, or queues its target and returns `None`.
    fn open_last(&mut self, name: &OsStr, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let follows = self.follow != Follow::Never && !flags.contains(OFlags::NOFOLLOW);
        if self.follow == Follow::TrustedOwner && is_proc(self.here()) {
            // The kernel's own links, such as `/dev/stderr` leads to: what they say is no path.
            if let Some(bound) = self.bound {
                bound.check_pin(self.here(), name)?;
            }
            return open_at(self.here(), name, flags).map(Some);
        }
        if follows {
            match self.expand(name) {
                Ok(true) => return Ok(None),
                Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {}
                Err(error) => return Err(error),
                Ok(false) => {}
            }
        }
        if let Some(bound) = self.bound {
            bound.check(self.here())?;
        }
        match make_at(self.here(), name, flags | OFlags::NOFOLLOW, self.mode) {
            // O_DIRECTORY hides that it was a link; the kernel's own resolution tells.
            Err(Errno::NOTDIR) if self.expand(name)? => Err(Errno::LOOP),
            opened => opened.map(Some),
        }
    }

    /// Queues the target of `name` if that is a link: `Ok(false)` if it is not.
    fn expand(&mut self, name: &OsStr) -> Result<bool, Errno> {
        let link = open_at(self.here(), name, OFlags::PATH | OFlags::NOFOLLOW)?;
        let meta = Meta::of(&link)?;
        if !meta.is_symlink() {
            return Ok(false);
        }
        let trusted = match self.follow {
            Follow::Never => false,
            Follow::Beneath => true,
            Follow::TrustedOwner => {
                meta.uid == 0 || meta.uid == rustix::process::geteuid().as_raw()
            }
        };
        if !trusted || self.links_left == 0 {
            return Err(Errno::LOOP);
        }
        self.links_left -= 1;
        let target = retry_on_intr(|| rustix::fs::readlinkat(&link, "", Vec::new()))?;
        self.push(&OsString::from_vec(target.into_bytes()));
        Ok(true)
    }

    fn enter(&mut self, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        self.at = Some(open_at(self.here(), name, flags)?);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Errno> {
        if self.names.pop().is_none() {
            return Err(Errno::XDEV);
        }
        while self.pending.front().is_some_and(|next| next == "..") {
            self.pending.pop_front();
            if self.names.pop().is_none() {
                return Err(Errno::XDEV);
            }
        }
        for name in self.names.drain(..).rev() {
            self.pending.push_front(name);
        }
        self.at = None;
        Ok(())
    }

    /// Puts the components of `path` in front of what is pending; a leading slash is one.
    fn push(&mut self, path: &OsStr) {
        let bytes = path.as_bytes();
        for name in bytes.rsplit(|b| *b == b'/') {
            if !name.is_empty() && name != b"." {
                self.pending.push_front(OsStr::from_bytes(name).to_owned());
            }
        }
        if bytes.first() == Some(&b'/') {
            self.pending.push_front(OsString::from("/"));
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.at.as_ref().map_or(self.start, |fd| fd.as_fd())
    }
}

/// A directory that a file has to be in, at any depth.
#[derive(Clone, Copy)]
struct Bound(Identity);

impl Bound {
    fn of(path: &Path) -> Result<Self, Errno> {
        // What does not exist holds nothing.
        let dir = open_at(CWD, path.as_os_str(), OFlags::PATH | OFlags::DIRECTORY);
        let dir = dir.map_err(|_| Errno::LOOP)?;
        Ok(Self(Meta::of(&dir)?.identity()))
    }

    fn check(self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        if is_within(dir, self.0)? {
            Ok(())
        } else {
            Err(Errno::LOOP)
        }
    }

    /// The same for what is open already, which only `/proc` knows a path of.
    fn check_pin(self, proc: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let target = retry_on_intr(|| rustix::fs::readlinkat(proc, name, Vec::new()));
        let target = PathBuf::from(OsString::from_vec(target?.into_bytes()));
        let parent = target.parent().filter(|_| target.is_absolute());
        let parent = parent.ok_or(Errno::LOOP)?.as_os_str();
        let dir =
            open_at(CWD, parent, OFlags::PATH | OFlags::DIRECTORY).map_err(|_| Errno::LOOP)?;
        self.check(dir.as_fd())
    }
}

/// Whether a directory is `bound` or beneath it, as the directories above it say.
pub(crate) fn is_within(dir: BorrowedFd<'_>, bound: Identity) -> Result<bool, Errno> {
    let up = |dir: BorrowedFd<'_>, name: &str| {
        open_at(dir, OsStr::new(name), OFlags::PATH | OFlags::DIRECTORY)
    };
    let mut at = up(dir, ".")?;
    let mut identity = Meta::of(&at)?.identity();
    while identity != bound {
        let above = up(at.as_fd(), "..")?;
        let next = Meta::of(&above)?.identity();
        if next == identity {
            return Ok(false);
        }
        (at, identity) = (above, next);
    }
    Ok(true)
}

fn open_at(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    make_at(dir, name, flags, Mode::empty())
}

fn make_at(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, mode))
}

fn is_proc(dir: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    // The tests build trees with std, apart from the code they test.
    #![allow(clippy::disallowed_methods)]

    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

    /// Both ways to resolve: what the kernel says and what the walk by hand says.
    fn both(root: &Path, path: &str, follow: Follow) -> Result<(), Errno> {
        let fd = open_at(CWD, root.as_os_str(), DIR).unwrap();
        let by_hand = Walk::new(fd.as_fd(), Path::new(path), follow).open(DIR);
        let links = if follow == Follow::Never {
            Links::Refuse
        } else {
            Links::Beneath
        };
        let by_kernel = open_beneath(fd.as_fd(), Path::new(path), DIR, links);
        let ids = |r: Result<OwnedFd, Errno>| r.map(|fd| Meta::of(fd).unwrap().identity());
        let (by_hand, by_kernel) = (ids(by_hand), ids(by_kernel));
        assert_eq!(by_hand, by_kernel, "{path}");
        by_kernel.map(|_| ())
    }

    #[test]
    fn kernel_and_hand_agree_on_what_stays_beneath() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(top.path().join("outside")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        symlink("a/b", root.join("in")).unwrap();
        symlink("../../a", root.join("a/b/up")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("/", root.join("abs")).unwrap();
        symlink("loop", root.join("loop")).unwrap();

        assert_eq!(both(&root, "a/b/c", Follow::Never), Ok(()));
        assert_eq!(both(&root, "in/c", Follow::Never), Err(Errno::LOOP));
        assert_eq!(both(&root, "in", Follow::Never), Err(Errno::LOOP));
        assert_eq!(both(&root, "file/x", Follow::Never), Err(Errno::NOTDIR));
        assert_eq!(both(&root, "none/x", Follow::Never), Err(Errno::NOENT));

        assert_eq!(both(&root, "in/c", Follow::Beneath), Ok(()));
        assert_eq!(both(&root, "in/up/b/up/b/c", Follow::Beneath), Ok(()));
        assert_eq!(both(&root, "in", Follow::Beneath), Ok(()));
        assert_eq!(both(&root, "out", Follow::Beneath), Err(Errno::XDEV));
        assert_eq!(both(&root, "abs/etc", Follow::Beneath), Err(Errno::XDEV));
        assert_eq!(both(&root, "loop/x", Follow::Beneath), Err(Errno::LOOP));
    }

    #[test]
    fn a_path_longer_than_path_max_is_opened_by_hand() {
        let top = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let mut at = open_at(CWD, top.path().as_os_str(), DIR).unwrap();
        let mut path = PathBuf::new();
        for _ in 0..40 {
            rustix::fs::mkdirat(&at, &*name, Mode::RWXU).unwrap();
            at = open_at(at.as_fd(), OsStr::new(&name), DIR).unwrap();
            path.push(&name);
        }
        let root = open_at(CWD, top.path().as_os_str(), DIR).unwrap();
        let deep = open_beneath(root.as_fd(), &path, DIR, Links::Refuse).unwrap();
        assert_eq!(
            Meta::of(deep).unwrap().identity(),
            Meta::of(at).unwrap().identity()
        );
    }

    #[test]
    fn only_links_of_trusted_owners_are_followed() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give a link to somebody else");
            return;
        }
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("real")).unwrap();
        let (ours, theirs) = (top.path().join("ours"), top.path().join("theirs"));
        symlink("real", &ours).unwrap();
        symlink(top.path().join("real"), &theirs).unwrap();
        std::os::unix::fs::lchown(&theirs, Some(12_345), None).unwrap();

        assert!(open_trusted(&ours, DIR).is_ok());
        assert!(open_trusted(&ours.join("../ours/."), DIR).is_ok());
        assert_eq!(open_trusted(&theirs, DIR).unwrap_err(), Errno::LOOP);
        assert_eq!(
            open_trusted(&theirs.join("x"), DIR).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn a_confined_file_is_where_it_has_to_be() {
        let top = tempfile::tempdir().unwrap();
        let (inside, outside) = (top.path().join("inside"), top.path().join("outside"));
        fs::create_dir_all(inside.join("d")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [inside.join("d/f"), outside.join("f")] {
            fs::write(file, "x").unwrap();
        }
        symlink(outside.join("f"), inside.join("out")).unwrap();
        symlink("d/f", inside.join("in")).unwrap();
        symlink(&inside, outside.join("back")).unwrap();

        let opened = |path: &Path| {
            let refused = open_confined_file(path, &inside).err();
            refused.map(|cause| cause.raw_os_error())
        };
        let refused = Some(Some(Errno::LOOP.raw_os_error()));
        assert_eq!(opened(&inside.join("d/f")), None);
        assert_eq!(opened(&inside.join("in")), None);
        assert_eq!(opened(&outside.join("back/d/../in")), None);
        assert_eq!(opened(&inside.join("out")), refused);
        assert_eq!(opened(&inside.join("../outside/f")), refused);
        assert_eq!(opened(&outside.join("f")), refused);

        // What is open already is judged by its own place.
        for (path, expected) in [(inside.join("d/f"), None), (outside.join("f"), refused)] {
            use std::os::fd::AsRawFd as _;
            let pin = File::open(path).unwrap();
            let name = format!("/proc/self/fd/{}", pin.as_raw_fd());
            assert_eq!(opened(Path::new(&name)), expected);
        }
        let nowhere = open_confined_file(&inside.join("in"), &inside.join("none"));
        assert_eq!(nowhere.unwrap_err().raw_os_error(), refused.flatten());
    }

    #[test]
    fn a_file_of_no_name_is_none() {
        let none = Path::new("");
        let is_refused = |opened: io::Result<File>| {
            opened.unwrap_err().raw_os_error() == Some(Errno::INVAL.raw_os_error())
        };
        assert!(is_refused(open_trusted_file(none)));
        assert!(is_refused(create_trusted_file(none, 0o600)));
        assert!(is_refused(append_trusted_file(none, 0o600)));
    }

    #[test]
    fn by_hand_a_flipping_component_never_leads_outside() {
        let top = tempfile::tempdir().unwrap();
        let (root, outside) = (top.path().join("root"), top.path().join("outside"));
        fs::create_dir_all(root.join("swap/in")).unwrap();
        fs::create_dir_all(outside.join("in")).unwrap();
        symlink("../outside", root.join("link")).unwrap();
        let fd = open_at(CWD, root.as_os_str(), DIR).unwrap();
        let forbidden = fs::metadata(outside.join("in")).unwrap();
        let forbidden = std::os::unix::fs::MetadataExt::ino(&forbidden);
        let done = AtomicBool::new(false);
        let (mut opened, mut refused, mut escaped) = (0, 0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let _ = rustix::fs::renameat_with(&fd, "swap", &fd, "link", flags);
                }
            });
            while opened < 2_000 || refused < 2_000 {
                for follow in [Follow::Never, Follow::Beneath] {
                    let walk = Walk::new(fd.as_fd(), Path::new("swap/in"), follow);
                    match walk.open(DIR).and_then(Meta::of) {
                        Ok(found) if found.ino == forbidden => escaped += 1,
                        Ok(_) => opened += 1,
                        Err(_) => refused += 1,
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(escaped, 0);
    }

    #[test]
    fn names_that_leave_are_refused() {
        for path in ["..", "a/../b", "/", "/a"] {
            assert_eq!(check_relative(Path::new(path)), Err(Errno::XDEV), "{path}");
        }
        for path in ["", ".", "a", "a/b", "..a/b.."] {
            assert_eq!(check_relative(Path::new(path)), Ok(()), "{path}");
        }
        assert!(check_name(OsStr::new("a/b")).is_err());
        assert!(check_name(OsStr::new("..")).is_err());
        assert!(check_name(OsStr::new("...")).is_ok());
    }

    #[test]
    fn files_that_an_operator_names_are_made() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("log");
        let link = top.path().join("link");
        symlink(&file, &link).unwrap();
        for text in ["a", "b"] {
            append_trusted_file(&link, 0o600)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        }
        assert_eq!(fs::read(&file).unwrap(), b"ab");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let mut read = String::new();
        open_trusted_file(&link)
            .unwrap()
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!(read, "ab");
        assert!(append_trusted_file(&top.path().join("none/log"), 0o600).is_err());
        assert!(append_trusted_file(top.path(), 0o600).is_err());
        append_trusted_file(Path::new("/dev/stderr"), 0o600).unwrap();
    }
}
