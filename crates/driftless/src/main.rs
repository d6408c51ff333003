//! `driftless SUBCOMMAND`, or by the name it is called as: picks the face that was asked for and maps its result to an
//! exit code.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
driftless keeps replicas of a directory tree identical to their source.

Usage: driftless COMMAND [ARGUMENT...]

Commands:
  mirror SRC DEST...   mirror a directory in real time, to local paths, rsync daemons and over ssh
  status [NAME]        how running mirrors are
  approve NAME         release a replica that waits for approval
  pause, resume, rescan, verify, flush [NAME]
                       other commands to running mirrors
  sersync              mirror what a sersync configuration says, with sersync's options
  convert FILE         print a sersync or lsyncd configuration as TOML
  rsync                copy files as rsync does, and serve them (rsync --daemon)
  inotifywait          wait for file system events, as inotify-tools does
  inotifywatch         count file system events, as inotify-tools does

A link to driftless that is named rsync, sersync, inotifywait or inotifywatch is that command.
driftless COMMAND --help says more; driftless --version prints the version.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let name = Path::new(&called_as)
        .file_name()
        .unwrap_or_default()
        .to_owned();
    if let Some(code) = drop_in(&name, arguments.by_ref()) {
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
    if let Some(code) = drop_in(command, arguments.by_ref()) {
        return code;
    }
    match command.to_str() {
        Some("mirror") => driftless::mirror_command::main(arguments.collect()),
        Some("convert") => driftless::convert_command::main(arguments.collect()),
        Some(
            command @ ("status" | "approve" | "pause" | "resume" | "rescan" | "verify" | "flush"),
        ) => driftless::control_command::main(command, arguments.collect()),
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

/// Runs rsync: a transfer, or a daemon.
fn rsync_or_daemon(arguments: impl Iterator<Item = OsString>) -> u8 {
    let env = rsync::Env::new(std::env::vars_os());
    match rsync::command_line(arguments, &env) {
        Err(code) => code,
        Ok(rsync::Invocation::Transfer(given)) => rsync::run(*given, &env),
        Ok(rsync::Invocation::Daemon(given)) => daemon::main(*given, env),
    }
}

/// Runs the program that driftless stands in for, if `name` is that of one.
fn drop_in(name: &OsStr, arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let with_name = |arguments| std::iter::once(name.to_owned()).chain(arguments);
    let code = match name.to_str()? {
        "sersync" | "sersync2" => {
            return Some(driftless::sersync_command::main(arguments.collect()));
        }
        "rsync" => rsync_or_daemon(arguments),
        "inotifywait" | "fsnotifywait" => {
            watch::inotifywait::run(with_name(arguments), watch::Io::standard())
        }
        "inotifywatch" | "fsnotifywatch" => {
            watch::inotifywatch::run(with_name(arguments), watch::Io::standard())
        }
        _ => return None,
    };
    Some(ExitCode::from(code))
}
