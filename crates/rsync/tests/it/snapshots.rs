//! What the program prints, as it stands in `tests/snapshots`: for who changes an output format to see how it looks, and
//! for who has no rsync at hand. That the lines are rsync's own the scenarios tell.
//!
//! A snapshot's first line is the command line, the rest what it prints, standard error after a line `stderr:`. They are
//! written anew with `UPDATE_SNAPSHOTS=1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::Tree;

use crate::scenarios::example;

const FROM: &str = "f a 10\nf b/c 2000\nf b/d 0 mode=0600\nd e\nl l -> a\nf stale 3";
const TO: &str = "f a 3 mtime=900000000\nf gone 1\nf x/y 1\nf stale 3";

#[test]
fn every_snapshot_is_what_is_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let is_update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut differing = String::new();
    let entries = fs::read_dir(&folder).expect("the snapshots");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("one").path()).collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let line = text.lines().next().expect("a command line").to_owned();
        let printed = format!("{line}\n{}", printed(&line));
        if is_update {
            fs::write(&file, printed).expect("written");
        } else if printed != text {
            differing += &format!("{}\nexpected:\n{text}\nfound:\n{printed}\n", file.display());
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

/// What the program prints for a snapshot's command line over trees of its own.
fn printed(line: &str) -> String {
    let arguments = line.strip_prefix("$ rsync ").expect("a command line");
    let place = tempfile::tempdir().expect("a directory");
    Tree::build(place.path().join("from"), FROM).age();
    Tree::build(place.path().join("to"), TO).age();
    let ran = Command::new("sh")
        .args(["-c", &format!("exec \"$RSYNC\" {arguments}")])
        .current_dir(place.path())
        .env("RSYNC", example())
        .env("HOME", place.path())
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let text = |bytes: &[u8]| -> String {
        let text = String::from_utf8_lossy(bytes).replace(&*place.path().to_string_lossy(), "@");
        text.replace('\r', "\\r")
            .replace(env!("CARGO_PKG_VERSION"), "VERSION")
            .lines()
            .map(|line| steady(line) + "\n")
            .collect()
    };
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    match err.is_empty() {
        true => out,
        false => format!("{out}stderr:\n{err}"),
    }
}

/// A line without what the clock, the file system and the place in the program decide.
fn steady(line: &str) -> String {
    if line.starts_with("rsync error") {
        return line.split(" at ").next().unwrap_or_default().to_owned();
    }
    if line.starts_with('d') && line.contains("/09 ") {
        return line
            .split_whitespace()
            .enumerate()
            .map(|(at, word)| if at == 1 { "SIZE" } else { word })
            .collect::<Vec<_>>()
            .join(" ");
    }
    if let Some((start, _)) = line.split_once(" time: ") {
        return format!("{start} time: SECONDS");
    }
    if let Some((start, _)) = line.split_once(" bytes/sec") {
        let end = start.rfind("  ").unwrap_or(start.len());
        return format!("{}  RATE bytes/sec", &start[..end]);
    }
    let words = line.split(' ').map(|word| match word {
        word if word.ends_with("B/s") => "RATE",
        word if word.matches(':').count() == 2 && word.len() == 7 => "TIME",
        word => word,
    });
    // A rate is set to the right.
    let mut line = words.collect::<Vec<_>>().join(" ");
    while line.contains("  RATE") {
        line = line.replace("  RATE", " RATE");
    }
    line
}
