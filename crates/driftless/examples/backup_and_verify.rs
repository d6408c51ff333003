//! Backs a directory up, keeps what is replaced or removed, and then compares every byte: `backup_and_verify FROM TO`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's output"
)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Error, Event, Transfer};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        eprintln!("usage: backup_and_verify FROM TO");
        return ExitCode::from(1);
    };
    match back_up(from, to).and_then(|()| differences(from, to)) {
        Ok(0) => {
            println!("the backup is complete");
            ExitCode::SUCCESS
        }
        Ok(number) => {
            eprintln!("{number} differences: did the source change meanwhile?");
            ExitCode::from(23)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn back_up(from: &str, to: &str) -> Result<(), Error> {
    let outcome = Transfer::archive()
        .hard_links()
        .delete()
        .backup_dir(Path::new("..").join("replaced"))
        .from(format!("{from}/"))
        .to(to)
        .run(|event: Event<'_>| match event {
            Event::Itemized(item) => println!("+ {}", String::from_utf8_lossy(item.entry.path)),
            Event::Deleted { path, .. } => println!("- {}", String::from_utf8_lossy(path)),
            Event::Message(notice) => eprintln!("{}", String::from_utf8_lossy(notice.text)),
            _ => {}
        })?;
    println!("{} files copied", outcome.stats.transferred);
    Ok(())
}

/// What another transfer would change if it went by content.
fn differences(from: &str, to: &str) -> Result<u64, Error> {
    let found = AtomicU64::new(0);
    Transfer::archive()
        .hard_links()
        .delete()
        .checksum()
        .dry_run()
        .from(format!("{from}/"))
        .to(to)
        .run(|event: Event<'_>| {
            if matches!(event, Event::Itemized(_) | Event::Deleted { .. }) {
                found.fetch_add(1, Ordering::Relaxed);
            }
        })?;
    Ok(found.into_inner())
}
