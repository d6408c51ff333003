//! Shell scripts in the place of programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Stands for a remote shell: forgets the host, and has a shell run the rest here, as the far end's would.
pub const REMOTE_SHELL: &str = "#!/bin/sh\nshift\nexec sh -c \"$*\"\n";

/// Makes a program of `text`, which names its interpreter. Returns where it is.
///
/// # Panics
///
/// When it cannot be written.
#[track_caller]
pub fn script(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
    let path = path.as_ref();
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    path.to_owned()
}
