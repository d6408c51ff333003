//! A small file system of its own, for tests of full disks and of mount points.

use std::ffi::CString;
use std::path::Path;
use std::thread;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// A tmpfs mounted on a temporary directory, unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs {
    mount_point: TempDir,
}

impl Tmpfs {
    /// Mounts a tmpfs that holds `size` bytes (the kernel rounds up to whole pages).
    ///
    /// `None` where mounting is not permitted, as for most users and in most containers: the
    /// test then says [`skip`](crate::skip()) and returns.
    ///
    /// # Panics
    ///
    /// When the mount fails for any other reason.
    pub fn mount(size: u64) -> Option<Self> {
        let mount_point = tempfile::tempdir().expect("a temporary directory can be made");
        let options = CString::new(format!("size={size},mode=0755")).expect("has no NUL");
        match mount(
            "driftless-test",
            mount_point.path(),
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            options.as_c_str(),
        ) {
            Ok(()) => Some(Self { mount_point }),
            Err(Errno::PERM | Errno::ACCESS | Errno::NODEV) => None,
            Err(error) => panic!("cannot mount a tmpfs of {size} bytes: {error}"),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount_point.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a file that a killed program still holds open must not keep the directory busy.
        let unmounted = unmount(self.path(), UnmountFlags::DETACH);
        // A second panic while one unwinds would abort all tests.
        assert!(
            unmounted.is_ok() || thread::panicking(),
            "cannot unmount {}: {unmounted:?}",
            self.path().display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn is_full_at_its_size_and_gone_after_drop() {
        let Some(tmpfs) = Tmpfs::mount(64 * 1024) else {
            crate::skip("mounting is not permitted");
            return;
        };
        let path = tmpfs.path().to_owned();
        let error = std::fs::write(path.join("big"), vec![1; 256 * 1024]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        drop(tmpfs);
        assert!(!path.exists());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()), "{mounts}");
    }
}
