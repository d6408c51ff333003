//! Prints the changes below a directory: `changes DIRECTORY [inotify|fanotify|poll]`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use driftless_watch::{Settings, Source, Watcher};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, source) = match arguments.as_slice() {
        [directory] => (directory, Source::Auto),
        [directory, name] => match name.as_str() {
            "inotify" => (directory, Source::Inotify),
            "fanotify" => (directory, Source::Fanotify),
            "poll" => (directory, Source::Poll),
            _ => return usage(),
        },
        _ => return usage(),
    };
    let settings = Settings {
        source,
        ..Settings::default()
    };
    let began = Instant::now();
    let (watcher, changes) = match Watcher::start(Path::new(directory), settings) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!(
        "{:?}: {} directories after {:?}",
        watcher.source(),
        watcher.directories(),
        began.elapsed()
    );
    for change in changes.iter().flatten() {
        println!("{change:?}");
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: changes DIRECTORY [inotify|fanotify|poll]");
    ExitCode::FAILURE
}
