//! Pushes a directory into a daemon's module and shows how far it has come: `push_with_progress DIRECTORY HOST PORT MODULE`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

use std::process::ExitCode;
use std::time::Duration;

use driftless::{Class, Error, Event, Outcome, Place, Transfer};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, host, port, module] = &arguments[..] else {
        eprintln!("usage: push_with_progress DIRECTORY HOST PORT MODULE");
        return ExitCode::from(1);
    };
    let Ok(port) = port.parse() else {
        eprintln!("{port} is no port");
        return ExitCode::from(1);
    };
    match push(directory, Place::daemon(host, port, module)) {
        Ok(outcome) => {
            let stats = outcome.stats;
            println!("{} files, {} bytes sent", stats.transferred, stats.sent);
            ExitCode::from(outcome.exit_code())
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn push(directory: &str, module: Place) -> Result<Outcome, Error> {
    Transfer::archive()
        .compress()
        .timeout(Duration::from_secs(60))
        .progress()
        .from(format!("{directory}/"))
        .to(module)
        .run(|event: Event<'_>| match event {
            Event::Progress(progress) if progress.size > 0 => {
                let name = String::from_utf8_lossy(progress.path);
                println!("{:3} % {name}", progress.done * 100 / progress.size);
            }
            Event::Message(notice) if notice.class != Class::Info => {
                eprintln!("{}", String::from_utf8_lossy(notice.text));
            }
            _ => {}
        })
}
