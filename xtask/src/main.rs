//! The project's own chores: `cargo xtask VERB`.
//!
//! What CI does is written in `.ci/run`; what takes more than a line of shell is a verb here.

#![allow(
    clippy::print_stdout,
    reason = "a chore talks to the person who started it"
)]

mod closing;
mod old_rsync;
mod packages;
mod papers;
mod test;
#[cfg(test)]
mod units;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let verb = arguments.next();
    let rest: Vec<OsString> = arguments.collect();
    let Some(verb) = verb.and_then(|name| VERBS.iter().find(|verb| name == verb.name)) else {
        print!("{}", help());
        return ExitCode::from(EXIT_USAGE);
    };
    match (verb.run)(&rest) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            println!("xtask {}: {error:#}", verb.name);
            ExitCode::FAILURE
        }
    }
}

/// A chore. `run` takes the arguments after its name and returns the exit code.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&[OsString]) -> Result<u8>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "test",
        arguments: "[ARGUMENTS]",
        help: "install what the tests need, then run them all, or those that ARGUMENTS select",
        run: test::run,
    },
    Verb {
        name: "papers",
        arguments: "[--check]",
        help: "write the manual pages and shell completions, or check that they are current",
        run: papers::run,
    },
    Verb {
        name: "check",
        arguments: "",
        help: "what CI runs: formatting, lints, tests",
        run: check,
    },
];

const EXIT_USAGE: u8 = 2;

fn help() -> String {
    let mut text = String::from("usage: cargo xtask VERB\n\n");
    for verb in VERBS {
        let call = format!("{} {}", verb.name, verb.arguments);
        text.push_str(&format!("  {call:<20}{}\n", verb.help));
    }
    text
}

fn check(_arguments: &[OsString]) -> Result<u8> {
    run(Command::new(workspace().join(".ci/run")).current_dir(workspace()))
}

/// The cargo that started this program.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The root of the workspace, wherever the chore was started.
fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Runs a command to its end and returns its exit code; 1 if a signal ended it.
fn run(command: &mut Command) -> Result<u8> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(exit_code(status))
}

fn exit_code(status: std::process::ExitStatus) -> u8 {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_verb_once() {
        let help = help();
        for verb in VERBS {
            assert_eq!(
                VERBS.iter().filter(|other| other.name == verb.name).count(),
                1
            );
            assert!(help.contains(&format!("  {} ", verb.name)), "{help}");
        }
    }

    #[test]
    fn the_workspace_is_where_its_manifest_is() {
        assert!(workspace().join(".ci/run").is_file());
    }
}
