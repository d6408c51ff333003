//! The command lines as programs: link this by the name inotifywait or inotifywatch and call it.

use std::process::ExitCode;

use driftless_watch::{Io, inotifywait, inotifywatch};

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let status = if name.to_string_lossy().ends_with("watch") {
        inotifywatch::run(std::env::args_os(), Io::standard())
    } else {
        inotifywait::run(std::env::args_os(), Io::standard())
    };
    ExitCode::from(status)
}
