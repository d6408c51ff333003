//! The manual pages and shell completions: generated from the tables and help texts that the programs themselves use,
//! and committed, so that a package needs no generator.

#![allow(
    clippy::disallowed_methods,
    reason = "reads and writes files of the workspace only"
)]

mod completions;
mod driftless_pages;
mod help_text;
mod roff;
mod rsync_page;
mod rsyncd_conf_page;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A generated file.
struct Paper {
    /// Its path in the workspace.
    path: &'static str,
    text: String,
}

/// Writes all papers; with `--check` only tells which of them are not current.
pub(crate) fn run(arguments: &[OsString]) -> Result<u8> {
    let is_check = match arguments {
        [] => false,
        [only] if only == "--check" => true,
        _ => bail!("usage: cargo xtask papers [--check]"),
    };
    let mut stale = 0;
    for (path, text) in stale_papers()? {
        stale += 1;
        println!(
            "{}{}",
            if is_check {
                "not current: "
            } else {
                "written: "
            },
            path.display()
        );
        if !is_check {
            write(&path, &text)?;
        }
    }
    if is_check && stale > 0 {
        bail!("run `cargo xtask papers` and commit what it writes");
    }
    Ok(0)
}

/// The papers whose files are missing or differ.
fn stale_papers() -> Result<Vec<(PathBuf, String)>> {
    let mut stale = Vec::new();
    for Paper { path, text } in all()? {
        let path = workspace().join(path);
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push((path, text));
        }
    }
    Ok(stale)
}

fn all() -> Result<Vec<Paper>> {
    let wait = help_file("inotifywait")?;
    let watch = help_file("inotifywatch")?;
    let mirror = driftless::mirror_command::help();
    let paper = |path, text| Paper { path, text };
    let commands = completions::commands(mirror, &wait, &watch);
    Ok(vec![
        paper("papers/man/driftless.1", driftless_pages::driftless()),
        paper("papers/man/driftless-rsync.1", rsync_page::page()),
        paper(
            "papers/man/driftless-rsyncd.conf.5",
            rsyncd_conf_page::page(),
        ),
        paper(
            "papers/man/driftless-mirror.1",
            driftless_pages::mirror(mirror),
        ),
        paper(
            "papers/man/driftless-inotifywait.1",
            driftless_pages::inotifywait(&wait),
        ),
        paper(
            "papers/man/driftless-inotifywatch.1",
            driftless_pages::inotifywatch(&watch),
        ),
        paper(
            "papers/completions/driftless.bash",
            completions::bash(&commands),
        ),
        paper("papers/completions/_driftless", completions::zsh(&commands)),
        paper(
            "papers/completions/driftless.fish",
            completions::fish(&commands),
        ),
    ])
}

/// The help text of a tool, as the tool prints it.
fn help_file(tool: &str) -> Result<String> {
    let path = workspace().join(format!("crates/watch/src/{tool}/help.txt"));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.replace("{name}", tool).replace("{backends}", ""))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("every paper has a directory")?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_committed_is_current() {
        let stale: Vec<PathBuf> = stale_papers()
            .expect("generated")
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert!(stale.is_empty(), "run `cargo xtask papers`: {stale:?}");
    }

    /// Runs a checker over the committed files with this ending, if it is installed; what it complains of.
    fn complaints(program: &str, arguments: &[&str], folder: &str, ending: &str) -> Vec<String> {
        let files = fs::read_dir(workspace().join(folder)).expect(folder);
        let paths = files.map(|file| file.expect("an entry").path());
        let mut found = Vec::new();
        for path in paths.filter(|path| path.to_string_lossy().ends_with(ending)) {
            let checked = Command::new(program)
                .args(arguments)
                .arg(&path)
                .stdin(Stdio::null())
                .output();
            match checked {
                // Not every machine has every shell; the one that makes releases does.
                Err(_) => return Vec::new(),
                Ok(checked) => {
                    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
                    if !checked.status.success() || !text.is_empty() {
                        found.push(format!("{}: {text}", path.display()));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn manual_pages_are_well_formed() {
        let groff = ["-man", "-Tutf8", "-ww", "-z"];
        for section in [".1", ".5"] {
            let found = complaints("groff", &groff, "papers/man", section);
            assert_eq!(found, [""; 0]);
        }
    }

    #[test]
    fn the_shells_can_read_the_completions() {
        let folder = "papers/completions";
        assert_eq!(complaints("bash", &["-n"], folder, ".bash"), [""; 0]);
        assert_eq!(complaints("zsh", &["-n"], folder, "_driftless"), [""; 0]);
        assert_eq!(
            complaints("fish", &["--no-execute"], folder, ".fish"),
            [""; 0]
        );
    }
}
