//! `driftless SUBCOMMAND`, or by the name it is called as: picks the face that was asked for and maps its result to an
//! exit code.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the user's terminal")]

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
driftless keeps replicas of a directory tree identical to their source.

Usage: driftless COMMAND [ARGUMENT...]

Commands:
  mirror SRC DEST...   mirror a directory in real time to local paths and rsync daemons
  inotifywait          wait for file system events, as inotify-tools does
  inotifywatch         count file system events, as inotify-tools does

A link to driftless that is named inotifywait or inotifywatch is that command.
driftless COMMAND --help says more; driftless --version prints the version.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let name = Path::new(&called_as).file_name().unwrap_or_default().to_owned();
    if let Some(code) = watch_tool(&name, arguments.by_ref()) {
        return code;
    }
    match arguments.next() {
        None => {
            eprint!("{USAGE}");
            ExitCode::from(1)
        }
        Some(command) => run(&command, arguments),
    }
}

fn run(command: &OsStr, mut arguments: std::env::ArgsOs) -> ExitCode {
    if let Some(code) = watch_tool(command, arguments.by_ref()) {
        return code;
    }
    match command.to_str() {
        Some("mirror") => driftless::mirror_command::main(arguments.collect()),
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("--version" | "-V") => {
            println!("driftless {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("driftless: no command {command:?}; driftless --help lists them");
            ExitCode::from(1)
        }
    }
}

/// Runs one of the inotify tools, if that is what `name` means.
fn watch_tool(name: &OsStr, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let arguments = std::iter::once(name.to_owned()).chain(arguments);
    let code = match name.to_str()? {
        "inotifywait" | "fsnotifywait" => watch::inotifywait::run(arguments, watch::Io::standard()),
        "inotifywatch" | "fsnotifywatch" => watch::inotifywatch::run(arguments, watch::Io::standard()),
        _ => return None,
    };
    Some(ExitCode::from(code))
}
