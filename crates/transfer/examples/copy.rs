//! Copies a tree as `rsync -a` does, and prints what happens.
//!
//! `cargo run --example copy -- SOURCE... DESTINATION`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::ffi::OsString;
use std::path::Path;

use driftless_transfer::{Event, Options, local_copy};
use wire::Side;

fn main() -> Result<(), driftless_transfer::Error> {
    let mut sources: Vec<OsString> = std::env::args_os().skip(1).collect();
    let destination = sources.pop().unwrap_or_default();
    let options = Options::archive(Side::Client);
    let outcome = local_copy(
        options,
        &sources,
        Some(Path::new(&destination)),
        &|event: Event<'_>| match event {
            Event::Itemized(item) => println!("{}", String::from_utf8_lossy(item.entry.path)),
            Event::Message(notice) => println!("{}", String::from_utf8_lossy(notice.text)),
            _ => {}
        },
    )?;
    println!(
        "{} files, {} bytes",
        outcome.stats.transferred, outcome.stats.transferred_size
    );
    Ok(())
}
