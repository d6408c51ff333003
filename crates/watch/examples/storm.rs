//! Makes events at a steady rate: `storm DIRECTORY EVENTS_PER_SECOND SECONDS`; prints how many it made.
//!
//! Each round opens a file, writes a byte and closes it: OPEN, MODIFY and `CLOSE_WRITE`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is there to change a tree, and to print"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const EVENTS_PER_ROUND: u32 = 3;
/// Names in turn, so that the kernel finds no equal events to join.
const NAMES: u64 = 1000;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, rate, seconds] = arguments.as_slice() else {
        eprintln!("usage: storm DIRECTORY EVENTS_PER_SECOND SECONDS");
        return Ok(());
    };
    let number = |text: &String| text.parse::<f64>().map_err(std::io::Error::other);
    let (rate, seconds) = (number(rate)?, number(seconds)?);
    let paths: Vec<_> = (0..NAMES)
        .map(|name| Path::new(directory).join(format!("d{}/f{name}", name % 16)))
        .collect();
    for path in &paths {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        File::create(path)?;
    }
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let mut events = 0_u64;
    for path in paths.iter().cycle() {
        let elapsed = began.elapsed().as_secs_f64();
        if Instant::now() >= end {
            break;
        }
        let ahead = events as f64 / rate - elapsed;
        if ahead > 0.001 {
            std::thread::sleep(Duration::from_secs_f64(ahead));
        }
        File::options().append(true).open(path)?.write_all(b"x")?;
        events += u64::from(EVENTS_PER_ROUND);
    }
    println!("{events} events in {:?}", began.elapsed());
    Ok(())
}
