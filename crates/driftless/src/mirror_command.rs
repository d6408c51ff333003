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
use crossbeam_channel::{Receiver, select, unbounded};
use mirror::{Changes, Mirror, Service, Settings};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod arguments;
mod display;

use arguments::{Asked, MirrorArguments, parse};
use display::Display;

use crate::configuration::ConfigFile;

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
        Ok(Asked::Mirror(mut asked)) => match run(&mut asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        },
        Err(error) => {
            eprintln!("driftless: {error:#}\nTry driftless mirror --help.");
            ExitCode::from(1)
        }
    }
}

/// Says what went wrong. Returns the exit code for it.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("driftless: {error:#}");
    let code = error.downcast_ref().map_or(1, mirror::Error::exit_code);
    ExitCode::from(code)
}

fn run(asked: &mut MirrorArguments) -> anyhow::Result<()> {
    if asked.check {
        for settings in &asked.settings {
            Mirror::check(settings)?;
        }
        println!("driftless: the configuration is in order");
        return Ok(());
    }
    let settings = std::mem::take(&mut asked.settings);
    serve(settings, asked.file.as_ref(), asked.verbose)
}

/// Runs mirrors until they end or a signal ends them. What comes from a file is read again on SIGHUP.
pub(crate) fn serve(
    settings: Vec<Settings>,
    file: Option<&ConfigFile>,
    verbose: bool,
) -> anyhow::Result<()> {
    let display = Arc::new(Display::new(verbose));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let report = Arc::clone(&display);
    let mut service = Service::start(settings, Arc::new(move |event| report.show(event)))?;
    let signal_handle = signals.handle();
    let (tell, told) = unbounded();
    let taker = std::thread::spawn(move || {
        for signal in signals.forever() {
            // Nobody listens any more when everything has ended.
            let _ = tell.send(signal);
        }
    });
    let result = wait(&mut service, &told, file, &display);
    service.stop();
    signal_handle.close();
    // A panic in there has been printed, and the mirrors have ended anyway.
    let _ = taker.join();
    display.end();
    result
}

/// Waits for the end, and reloads until then.
fn wait(
    service: &mut Service,
    signals: &Receiver<i32>,
    file: Option<&ConfigFile>,
    display: &Display,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    let ended = service.ended();
    loop {
        select! {
            recv(signals) -> signal => match (signal, file) {
                (Ok(SIGHUP), Some(file)) => reload(service, file, display),
                _ => return result,
            },
            recv(ended) -> ended => {
                let Ok(ended) = ended else { return result };
                let is_last = service.bury(&ended);
                if let Err(error) = ended.result {
                    if !is_last {
                        display.complain(&format!("{}: {error}", ended.name));
                    }
                    result = result.and(Err(error.into()));
                }
                if is_last {
                    return result;
                }
            }
        }
    }
}

fn reload(service: &mut Service, file: &ConfigFile, display: &Display) {
    let reloaded = file
        .read()
        .and_then(|said| Ok(service.reload(said.settings)?));
    match reloaded {
        Ok(Changes {
            kept,
            started,
            stopped,
        }) => display.say(&format!(
            "read {} again: {} kept, {} started, {} stopped",
            file.path.display(),
            kept.len(),
            started.len(),
            stopped.len()
        )),
        Err(error) => display.complain(&format!("not reloaded: {error:#}")),
    }
}
