//! The kernel keeps a worker to its module: Landlock, on top of chroot, user and path resolution (landlock(7)).
//!
//! It comes last, when log and sockets are open and hooks are started elsewhere. It holds for the calling thread and those
//! that it starts later, and there is no way back.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a confined thread can still reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// Directories where it may do everything.
    pub write: &'a [&'a Path],
    /// Files and directories that it may read.
    pub read: &'a [&'a Path],
}

/// What lookups of users, groups and times read. None of it need exist.
pub(crate) const SYSTEM_FILES: &[&str] = &[
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
    // Open files are opened again by these names. What they lead to is judged for itself.
    "/proc/self/fd",
];

/// Confines this thread, and takes from it all rights that a program could give it (`no_new_privs`). Paths that do not
/// exist are no reason to fail: they cannot be reached.
///
/// # Errors
/// The kernel has no Landlock, or one of before version 2 of its interface, which would make every rename and link between
/// directories fail. Nothing has changed then.
pub(crate) fn confine(reach: Reach<'_>) -> Result<(), RulesetError> {
    let all = AccessFs::from_all(NEEDED);
    let read = AccessFs::from_read(NEEDED) & !AccessFs::Execute;
    let mut rules = rules()?;
    for (paths, access) in [(reach.write, all), (reach.read, read)] {
        for path in paths {
            let Ok(fd) = PathFd::new(path) else {
                continue;
            };
            // Some rights mean something in directories only.
            let access = if path.is_dir() {
                access
            } else {
                access & AccessFs::from_file(NEEDED)
            };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    rules.restrict_self()?;
    Ok(())
}

/// What no worker needs: a core dump, which would hold what a client has sent; very many open files; more rights by a
/// program that it starts. A kernel that refuses that leaves things as they are.
pub(crate) fn bound() {
    const FILES_MAX: u64 = 4096;
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, no_core);
    let files = getrlimit(Resource::Nofile).current;
    let files = Some(files.map_or(FILES_MAX, |files| files.min(FILES_MAX)));
    let few = Rlimit {
        current: files,
        maximum: files,
    };
    let _ = setrlimit(Resource::Nofile, few);
    let _ = rustix::thread::set_no_new_privs(true);
}

/// Whether the kernel can [`confine`]. Nothing changes.
#[must_use]
pub(crate) fn is_available() -> bool {
    rules().is_ok()
}

fn rules() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(NEEDED))?
        .create()
}

/// The first version that permits renames and links between directories.
const NEEDED: ABI = ABI::V2;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make trees of their own")]

    use std::fs;
    use std::io::ErrorKind;
    use std::thread;

    use super::*;

    /// Runs something in a thread that is confined to `module`; `None` if this kernel cannot.
    fn confined<T: Send>(module: &Path, run: impl FnOnce() -> T + Send) -> Option<T> {
        let system: Vec<&Path> = SYSTEM_FILES.iter().map(Path::new).collect();
        let result = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                confine(Reach {
                    write: &[module],
                    read: &system,
                })
                .map(|()| run())
            });
            worker.join().expect("no panic")
        });
        if let Err(error) = &result {
            testkit::skip(&format!("the kernel has no Landlock: {error}"));
        }
        result.ok()
    }

    #[test]
    fn everything_within_the_module_works() {
        let top = tempfile::tempdir().expect("a directory");
        let module = top.path().join("module");
        fs::create_dir_all(module.join("a")).expect("made");
        fs::create_dir(module.join("b")).expect("made");
        confined(&module, || {
            fs::write(module.join("a/x"), "text").expect("written");
            fs::rename(module.join("a/x"), module.join("b/y")).expect("moved between directories");
            fs::hard_link(module.join("b/y"), module.join("a/z"))
                .expect("linked between directories");
            fs::set_permissions(
                module.join("a/z"),
                std::os::unix::fs::PermissionsExt::from_mode(0o600),
            )
            .expect("changed");
            fs::remove_file(module.join("a/z")).expect("removed");
            assert_eq!(fs::read(module.join("b/y")).expect("read"), b"text");
            std::os::unix::fs::symlink("/", module.join("link")).expect("made");
        });
    }

    #[test]
    fn nothing_outside_can_be_reached() {
        let top = tempfile::tempdir().expect("a directory");
        let (module, outside) = (top.path().join("module"), top.path().join("outside"));
        fs::create_dir(&module).expect("made");
        fs::write(&outside, "secret").expect("written");
        std::os::unix::fs::symlink(&outside, module.join("link")).expect("made");
        let denied = |result: std::io::Result<()>| {
            assert_eq!(
                result.map_err(|error| error.kind()),
                Err(ErrorKind::PermissionDenied)
            );
        };
        confined(&module, || {
            denied(fs::read(&outside).map(drop));
            denied(fs::read(module.join("link")).map(drop));
            denied(fs::read_dir(top.path()).map(drop));
            denied(fs::write(top.path().join("new"), ""));
            denied(fs::remove_file(&outside));
            denied(fs::write("/etc/passwd.new", ""));
            fs::read("/etc/passwd").expect("names of users are looked up");
        });
        assert_eq!(fs::read(&outside).expect("still there"), b"secret");
    }
}
