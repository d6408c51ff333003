//! The units of `packaging/`, as systemd reads them.

#![allow(
    clippy::disallowed_methods,
    reason = "touches only units of its own making, no transferred path"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::workspace;

/// A unit, and the exposure that it must not exceed, in tenths (`systemd-analyze security`): that of a program that serves
/// the files of all users, and no more.
const UNITS: &[(&str, u8)] = &[
    ("driftless-mirror.service", 35),
    ("driftless-rsyncd.service", 43),
];

/// The unit with a program that is there, for the one that it names need not be installed.
fn unit(name: &str, dir: &tempfile::TempDir) -> PathBuf {
    let file = workspace().join("packaging").join(name);
    let text = fs::read_to_string(file).expect("the unit is there");
    assert!(text.contains("/usr/bin/driftless "), "{name}");
    let copy = dir.path().join(name);
    fs::write(&copy, text.replace("/usr/bin/driftless ", "/bin/true ")).expect("written");
    copy
}

fn has_systemd_analyze() -> bool {
    let version = Command::new("systemd-analyze")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

#[test]
fn systemd_understands_every_line() {
    if !has_systemd_analyze() {
        eprintln!("skipped: no systemd-analyze");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (name, _) in UNITS {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(unit(name, &dir))
            .output()
            .expect("it starts");
        // What it says of the units of this machine is not ours.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert_eq!(ours, Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn no_unit_is_more_exposed_than_it_has_to_be() {
    if !has_systemd_analyze() {
        eprintln!("skipped: no systemd-analyze");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (name, threshold) in UNITS {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={threshold}"))
            .arg(unit(name, &dir))
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = said.lines().last().unwrap_or_default();
        let is_known = last.contains("Overall exposure level");
        if !is_known {
            eprintln!("skipped: this systemd-analyze looks only at running systems");
            return;
        }
        assert!(output.status.success(), "{name}: {last}");
    }
}

/// What a documented feature needs is not hardened away.
#[test]
fn the_daemon_keeps_what_its_features_need() {
    let file = workspace().join("packaging/driftless-rsyncd.service");
    let text = fs::read_to_string(file).expect("the unit is there");
    for needed in [
        "CAP_SYS_CHROOT",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_MKNOD",
        "landlock_restrict_self",
    ] {
        assert!(text.contains(needed), "{needed}");
    }
    // Hooks may use sudo; modules may be in homes and in /tmp.
    for forbidden in [
        "NoNewPrivileges=",
        "ProtectHome=",
        "PrivateTmp=",
        "PrivateDevices=",
        "RestrictSUIDSGID=",
    ] {
        assert!(
            !text.lines().any(|line| line.starts_with(forbidden)),
            "{forbidden}"
        );
    }
}
