//! Files that an operator names, such as a configuration, a list of secrets or a log: whoever else may write to a directory on
//! the way must not lead us elsewhere by a link (behaviour.md 9.1).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::resolve::{Bound, ByHand, Follow};

/// Opens a file that an operator names for reading, such as a configuration or a list of secrets: a symbolic link on the
/// way, or in its place, is followed only if root or the effective user owns it; another's is `ELOOP` (behaviour.md 9.1).
pub fn open_trusted_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(File::from(ByHand::of_file(path)?.open(flags)?))
}

/// Opens a file under the rule of [`open_trusted_file`] if it is in `bound` or beneath it, wherever the path leads through;
/// another is `ELOOP` too (behaviour.md 9.4).
pub fn open_confined_file(path: &Path, bound: &Path) -> io::Result<File> {
    let mut walk = ByHand::of_file(path)?;
    walk.bound = Some(Bound::of(bound)?);
    Ok(File::from(walk.open(OFlags::RDONLY | OFlags::CLOEXEC)?))
}

/// Makes or empties a file that an operator names to be written, under the rule of [`open_trusted_file`]. A new one has these
/// permissions.
pub fn create_trusted_file(path: &Path, permissions: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut walk = ByHand::of_file(path)?;
    walk.mode = Mode::from_raw_mode(permissions);
    Ok(File::from(walk.open(flags)?))
}

/// Opens a file that an operator names to be appended to, such as a log, under the rule of [`open_trusted_file`]. It is made
/// if it is not there, with these permissions.
pub fn append_trusted_file(path: &Path, permissions: u32) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut walk = ByHand::of_file(path)?;
    walk.mode = Mode::from_raw_mode(permissions);
    Ok(File::from(walk.open(flags)?))
}

/// Opens an operator's path: a link is followed only if root or we ourselves own it.
pub(crate) fn open_trusted(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    ByHand::new(CWD, path, Follow::TrustedOwner).open(flags | OFlags::CLOEXEC)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "trees are built apart from the code under test"
    )]

    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

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
