//! An older rsync for the other end of round trips: it is unpacked beside what is built, not installed.

#![allow(
    clippy::disallowed_methods,
    reason = "touches only the target folder, no transferred path"
)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace;

/// What Debian 12 has: it differs from newer ones in protocol, checksums and what its receiver takes.
const PACKAGE: &str = "rsync=3.2.7-1+deb12u6";

/// The program, which is unpacked if it is not there yet. `None` where no archive has it any more; the tests that want it
/// then say that they were skipped.
pub(crate) fn find_or_unpack() -> Option<PathBuf> {
    let dir = target().join("old-rsync");
    let program = dir.join("usr/bin/rsync");
    if !works(&program) {
        unpack(&dir)?;
    }
    works(&program).then_some(program)
}

fn unpack(dir: &Path) -> Option<()> {
    fs::create_dir_all(dir).ok()?;
    succeeds(
        Command::new("apt-get")
            .args(["download", PACKAGE])
            .current_dir(dir),
    )?;
    let package = dir.read_dir().ok()?.find_map(|entry| {
        let path = entry.ok()?.path();
        let is_package = path.extension().is_some_and(|end| end == "deb");
        is_package.then_some(path)
    })?;
    succeeds(Command::new("dpkg").arg("-x").arg(package).arg(dir))
}

fn works(program: &Path) -> bool {
    succeeds(Command::new(program).arg("--version")).is_some()
}

/// Runs a command that may fail, and whose words are then nobody's concern.
fn succeeds(command: &mut Command) -> Option<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok()?.success().then_some(())
}

/// Where cargo builds.
fn target() -> PathBuf {
    let set = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    workspace().join(set.unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_does_not_work() {
        assert!(works(Path::new("true")));
        assert!(!works(Path::new("/no/such/program")));
    }

    #[test]
    fn the_target_folder_is_absolute() {
        assert!(target().is_absolute());
    }
}
