//! `cargo xtask test`.

#![allow(
    clippy::disallowed_methods,
    reason = "touches only its own note, no transferred path"
)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use anyhow::Result;

use crate::{cargo, closing, old_rsync, packages};

/// Runs all tests, then those in the documentation. With arguments only the tests they select, by
/// the rules of the runner: cargo-nextest where it is installed, `cargo test` elsewhere.
///
/// Whatever the runners printed, their closing lines and what was skipped come last.
pub(crate) fn run(arguments: &[OsString]) -> Result<u8> {
    packages::install_missing()?;
    packages::install_wanted();
    let skipped = SkipNote::new();
    let mut runner = cargo();
    if has_nextest() {
        runner.args(["nextest", "run"]);
    } else {
        runner.arg("test");
    }
    if !names_packages(arguments) {
        runner.arg("--workspace");
    }
    runner
        .args(arguments)
        .env("DRIFTLESS_SKIPPED", skipped.path());
    // A developer may have named another one.
    if std::env::var_os("DRIFTLESS_OLD_RSYNC").is_none() {
        runner.envs(old_rsync::find_or_unpack().map(|program| ("DRIFTLESS_OLD_RSYNC", program)));
    }
    let (mut code, mut lines) = closing::run(&mut runner)?;
    if code == 0 && arguments.is_empty() {
        let (doc_code, doc_lines) =
            closing::run(cargo().args(["test", "--quiet", "--doc", "--workspace"]))?;
        code = doc_code;
        lines.extend(
            doc_lines
                .into_iter()
                .map(|line| format!("documentation: {line}")),
        );
    }
    println!();
    for line in lines.iter().chain(&skipped.lines()) {
        println!("{line}");
    }
    Ok(code)
}

fn has_nextest() -> bool {
    let version = cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// Whether the arguments choose packages themselves.
fn names_packages(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| {
            let argument = argument.as_encoded_bytes();
            argument.starts_with(b"-p") || argument.starts_with(b"--package")
        })
}

/// The file in which tests name what they skipped; see `testkit::skip`.
struct SkipNote {
    path: PathBuf,
}

impl SkipNote {
    fn new() -> Self {
        let name = format!("driftless-skipped-{}", process::id());
        Self {
            path: std::env::temp_dir().join(name),
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// What was skipped, in the order of the tests' names.
    fn lines(&self) -> Vec<String> {
        let note = fs::read_to_string(&self.path).unwrap_or_default();
        let mut lines: Vec<String> = note.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for SkipNote {
    fn drop(&mut self) {
        // Missing if nothing was skipped.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_before_the_tests_own_arguments() {
        let names = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            names_packages(&arguments)
        };
        assert!(names(&["-p", "driftless-wire"]));
        assert!(names(&["--package=driftless-wire"]));
        assert!(!names(&["burst", "--no-fail-fast"]));
        assert!(!names(&["--", "-p"]));
    }

    #[test]
    fn the_note_lists_what_was_skipped_and_goes() {
        let note = SkipNote::new();
        let path = note.path().to_owned();
        assert!(note.lines().is_empty());
        fs::write(&path, "skipped: b: no root\nskipped: a: no mount\n").unwrap();
        assert_eq!(
            note.lines(),
            ["skipped: a: no mount", "skipped: b: no root"]
        );
        drop(note);
        assert!(!path.exists());
    }
}
