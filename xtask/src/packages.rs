//! Programs that the tests run, and the Debian packages they come in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A program as it is found in `PATH`, and its package.
const NEEDED: &[(&str, &str)] = &[
    ("rsync", "rsync"),
    ("inotifywait", "inotify-tools"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
];

/// Programs that a few tests want, which say that they were skipped where one is missing.
const WANTED: &[(&str, &str)] = &[
    ("openssl", "openssl"),
    ("stunnel", "stunnel4"),
    ("gnutls-cli", "gnutls-bin"),
    ("setpriv", "util-linux"),
];

/// Installs what some tests want, as far as that is possible.
pub(crate) fn install_wanted() {
    let missing = missing(WANTED, is_installed);
    if missing.is_empty() || find("apt-get").is_none() {
        return;
    }
    let packages = missing.join(" ");
    println!("installing {packages}, which some tests want");
    let install = || apt_get(&["install", "-y", "--no-install-recommends"], &missing);
    let is_installed = install().unwrap_or(false)
        || apt_get(&["update"], &[]).unwrap_or(false) && install().unwrap_or(false);
    if !is_installed {
        println!("{packages} could not be installed: the tests that want them are skipped");
    }
}

/// Installs what is missing. Nothing is asked of the system where nothing is.
pub(crate) fn install_missing() -> Result<()> {
    let missing = missing(NEEDED, is_installed);
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    println!("installing {packages}, which the tests need");
    ensure!(
        find("apt-get").is_some(),
        "the tests need {packages}; this is not Debian, please install them by hand"
    );
    // A fresh image has no package lists, an older one has stale ones: both are noticed by the failure.
    if apt_get(&["install", "-y", "--no-install-recommends"], &missing)? {
        return Ok(());
    }
    let installed = apt_get(&["update"], &[])?
        && apt_get(&["install", "-y", "--no-install-recommends"], &missing)?;
    ensure!(
        installed,
        "apt-get could not install {packages}; its message is above"
    );
    Ok(())
}

fn missing<'a>(needed: &[(&str, &'a str)], is_installed: impl Fn(&str) -> bool) -> Vec<&'a str> {
    needed
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|&(_, package)| package)
        .collect()
}

fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

fn find(program: &str) -> Option<PathBuf> {
    // Debian keeps some programs where only root looks.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs apt-get as root, and says whether it succeeded.
fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<bool> {
    let mut command = if is_root()? {
        Command::new("apt-get")
    } else if find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        // -n: rather fail with a message than wait for a password nobody types.
        sudo.args(["-n", "apt-get"]);
        sudo
    } else {
        bail!(
            "the tests need {}; run this as root: apt-get install {0}",
            packages.join(" ")
        );
    };
    command
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let status = command.status().context("cannot start apt-get")?;
    Ok(status.success())
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = Path::new("/proc/self")
        .metadata()
        .context("cannot look at /proc/self")?;
    Ok(own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_packages_of_missing_programs_are_named() {
        let needed = &[("here", "package-a"), ("gone", "package-b")];
        assert_eq!(missing(needed, |program| program == "here"), ["package-b"]);
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-here"));
    }
}
