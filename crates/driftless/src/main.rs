//! `driftless SUBCOMMAND`: picks the face that was asked for and maps its result to an exit code.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the user's terminal")]

use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "\
driftless keeps replicas of a directory tree identical to their source.

Usage: driftless COMMAND [ARGUMENT...]

Commands:
  mirror SRC DEST...   mirror a directory in real time to local paths and rsync daemons

driftless COMMAND --help says more; driftless --version prints the version.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("mirror") => driftless::mirror_command::main(arguments.collect()),
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("--version" | "-V") => {
            println!("driftless {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        None => {
            eprint!("{USAGE}");
            ExitCode::from(1)
        }
        Some(other) => {
            let other: OsString = other.into();
            eprintln!("driftless: no command {other:?}; driftless --help lists them");
            ExitCode::from(1)
        }
    }
}
