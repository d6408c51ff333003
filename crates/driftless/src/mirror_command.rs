//! `driftless mirror`: arguments to settings, events to lines, signals to an orderly end.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::path::PathBuf;
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

/// Runs the command with its arguments, without the program's and the command's name.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match parse(arguments) {
        Ok(Asked::Help) => {
            print!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Mirror(asked)) => match run(*asked) {
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

fn run(asked: arguments::MirrorArguments) -> anyhow::Result<()> {
    let display = Arc::new(Display::new(asked.verbose));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let report = Arc::clone(&display);
    let mirror = Mirror::start(asked.settings, Arc::new(move |event| report.show(event)))?;
    let (stopper, signal_handle) = (mirror.stopper(), signals.handle());
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

/// Where a mirror of these places keeps its ledger, unless it is told: one file for each set of places.
fn default_state(source: &std::path::Path, replicas: &[mirror::Place]) -> anyhow::Result<PathBuf> {
    let directory =
        state_directory().context("no place for the state file; name one with --state FILE")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .create(&directory)
        .with_context(|| {
            format!(
                "cannot make {}; name a state file with --state FILE",
                directory.display()
            )
        })?;
    let mut identity = source
        .canonicalize()
        .unwrap_or_else(|_| source.to_owned())
        .into_os_string()
        .into_encoded_bytes();
    for replica in replicas {
        identity.push(0);
        let place = match replica {
            mirror::Place::Directory(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .into_os_string(),
            mirror::Place::Daemon(address) => address.to_string().into(),
        };
        identity.extend_from_slice(place.as_encoded_bytes());
    }
    Ok(directory.join(format!(
        "mirror-{:016x}.sqlite",
        xxhash_rust::xxh3::xxh3_64(&identity)
    )))
}

/// systemd's `StateDirectory=`, root's `/var/lib`, or the user's own by the XDG base directory specification.
fn state_directory() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("STATE_DIRECTORY") {
        return Some(directory.into());
    }
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/driftless".into());
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("driftless"))
}
