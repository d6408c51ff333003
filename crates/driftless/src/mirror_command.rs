//! `driftless mirror`: arguments to settings, events to lines, signals to an orderly end.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use mirror::Mirror;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod arguments;
mod display;

use arguments::{Asked, parse};
use display::Display;

/// What `--help` prints; the manual page and the shell completions are made from it.
#[must_use]
pub fn help() -> &'static str {
    arguments::HELP
}

/// Runs the command with its arguments, without the program's and the command's name.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match parse(arguments) {
        Ok(Asked::Help) => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        Ok(Asked::Mirror(asked)) => match run(&asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("driftless: {error:#}");
                ExitCode::from(
                    error
                        .downcast_ref::<mirror::Error>()
                        .map_or(1, mirror::Error::exit_code),
                )
            }
        },
        Err(error) => {
            eprintln!("driftless: {error:#}\nTry driftless mirror --help.");
            ExitCode::from(1)
        }
    }
}

fn run(asked: &arguments::MirrorArguments) -> anyhow::Result<()> {
    let display = Arc::new(Display::new(asked.verbose));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let report = Arc::clone(&display);
    let mirror = Mirror::start(&asked.settings, Arc::new(move |event| report.show(event)))?;
    let (stopper, signal_handle) = (mirror.handle().stopper(), signals.handle());
    let taker = std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    let result = mirror.join();
    signal_handle.close();
    // A panic in there has been printed, and the mirror has ended anyway.
    let _ = taker.join();
    display.end();
    Ok(result?)
}
