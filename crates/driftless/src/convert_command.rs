//! `driftless convert`: a sersync or lsyncd configuration as our own.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use mirror::config::{Config, foreign_text};

use crate::mirror_command::failure;

const HELP: &str = "\
Prints a sersync or lsyncd configuration as TOML for driftless mirror --config.

Usage: driftless convert [-m PLUGIN] FILE

FILE is sersync's confxml.xml, or an lsyncd configuration of settings{} and sync{} tables. What
could not be carried over, or means something else here, is on standard error.

Options:
  -m PLUGIN   the plugin alone, as sersync -m
  -h, --help  print this
";

/// Runs the command with its arguments.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let (mut file, mut plugin) = (None, None);
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('m') => plugin = Some(parser.value()?.string()?),
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(());
            }
            Arg::Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let file = file.context("the file is missing")?;
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let (text, note) = foreign_text(&bytes);
    let converted = match is_xml(&file, &text) {
        true => Config::from_sersync(&text, &file, plugin.as_deref())?,
        false if plugin.is_some() => bail!("-m is for sersync's files"),
        false => Config::from_lsyncd(&text, &file)?,
    };
    for note in note.iter().chain(&converted.notes) {
        eprintln!("driftless: {note}");
    }
    print!(
        "{}",
        converted.config.to_toml().map_err(anyhow::Error::msg)?
    );
    Ok(())
}

fn is_xml(file: &Path, text: &str) -> bool {
    file.extension().is_some_and(|extension| extension == "xml")
        || text
            .trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t'])
            .starts_with('<')
}
