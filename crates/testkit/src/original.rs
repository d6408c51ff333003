//! The original programs, used as peers and oracles.

use std::env;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// A program that tests run against, as a black box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// Stock `rsync`; `DRIFTLESS_STOCK_RSYNC` names another one than the first in `PATH`.
    Rsync,
    /// An older `rsync`, such as 3.2.7: `DRIFTLESS_OLD_RSYNC` names it. `cargo xtask test` unpacks one where it can; it is
    /// not in every archive, so tests look for it with [`Original::find`] and say if they skip it.
    OldRsync,
    /// `inotifywait` of inotify-tools; `DRIFTLESS_STOCK_INOTIFYWAIT` names another one.
    Inotifywait,
    /// `sshd` of openssh-server; started as a server of a test's own.
    Sshd,
    /// `chromedriver` of chromium-driver, which drives the Chromium that comes with it.
    Chromedriver,
    /// `setfacl` of acl.
    Setfacl,
    /// `setfattr` of attr.
    Setfattr,
}

impl Original {
    /// Stock rsync, if it is installed.
    pub fn rsync() -> Option<PathBuf> {
        Self::Rsync.find()
    }

    /// inotifywait, if it is installed.
    pub fn inotifywait() -> Option<PathBuf> {
        Self::Inotifywait.find()
    }

    /// Where the program is, if it is installed.
    pub fn find(self) -> Option<PathBuf> {
        let (program, variable, _) = self.facts();
        if let Some(chosen) = variable.and_then(env::var_os) {
            return Some(chosen.into());
        }
        if self == Self::OldRsync {
            return None;
        }
        // Debian keeps servers where only root looks.
        env::split_paths(&env::var_os("PATH")?)
            .chain(["/usr/sbin".into()])
            .map(|directory| directory.join(program))
            .find(|candidate| is_executable(candidate))
    }

    /// Where the program is.
    ///
    /// # Panics
    ///
    /// When it is not installed, saying how to install it. A test against an original that is
    /// skipped where the original is missing would be green on a machine where nothing was tested.
    #[track_caller]
    pub fn require(self) -> PathBuf {
        self.find().unwrap_or_else(|| {
            let (program, _, package) = self.facts();
            panic!(
                "this test needs {program}: run `cargo xtask test`, which installs it, \
                 or `apt-get install {package}`"
            )
        })
    }

    /// Its name, the variable that names another one, and the Debian package it is in.
    fn facts(self) -> (&'static str, Option<&'static str>, &'static str) {
        match self {
            Self::Rsync => ("rsync", Some("DRIFTLESS_STOCK_RSYNC"), "rsync"),
            Self::OldRsync => ("rsync", Some("DRIFTLESS_OLD_RSYNC"), "rsync"),
            Self::Inotifywait => (
                "inotifywait",
                Some("DRIFTLESS_STOCK_INOTIFYWAIT"),
                "inotify-tools",
            ),
            Self::Sshd => ("sshd", None, "openssh-server"),
            Self::Chromedriver => ("chromedriver", None, "chromium-driver"),
            Self::Setfacl => ("setfacl", None, "acl"),
            Self::Setfattr => ("setfattr", None, "attr"),
        }
    }
}

/// Where stock rsync is.
///
/// # Panics
///
/// When it is not installed, saying how to install it.
#[track_caller]
pub fn require_rsync() -> PathBuf {
    Original::Rsync.require()
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_a_program() {
        for original in [
            Original::Rsync,
            Original::Inotifywait,
            Original::Sshd,
            Original::Chromedriver,
            Original::Setfacl,
            Original::Setfattr,
        ] {
            assert!(is_executable(&original.require()), "{original:?}");
        }
    }
}
