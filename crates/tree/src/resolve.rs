//! Opening a path beneath a directory.
//!
//! The kernel does it where it can (`openat2`). [`ByHand`] does the same where kernel or container refuse that call and where
//! a path is longer than `PATH_MAX`; and it alone can let the owner of each link decide (behaviour.md 9.1), which no
//! kernel flag expresses.

mod by_hand;

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

pub(crate) use self::by_hand::{Bound, ByHand, Follow, is_within};

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
    ByHand::new(root, path, follow).open(flags)
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "trees are built apart from the code under test"
    )]

    use std::fs;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use rustix::fs::CWD;

    use super::by_hand::open_at;
    use super::*;
    use crate::meta::Meta;

    const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

    /// Both ways to resolve: what the kernel says and what the walk by hand says.
    fn both(root: &Path, path: &str, follow: Follow) -> Result<(), Errno> {
        let fd = open_at(CWD, root.as_os_str(), DIR).unwrap();
        let by_hand = ByHand::new(fd.as_fd(), Path::new(path), follow).open(DIR);
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
                    let walk = ByHand::new(fd.as_fd(), Path::new("swap/in"), follow);
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
}
