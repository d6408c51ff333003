//! The engine as the server of the original, which reaches it by a "remote shell" made of two named pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_transfer::{Cancel, DeleteWhen, Event, Link, Options, RemoveSource, Server};
use testkit::require_rsync;
use wire::{ClientInfo, Severity, Side};

use super::bench::Scenario;
use super::local::{DESTINATION, SOURCE};

#[test]
fn clients_push_to_us() {
    for protocol in [32, 31, 30, 29] {
        all(protocol, &["from/", "host:to/"]);
    }
}

#[test]
fn clients_pull_from_us() {
    for protocol in [32, 31, 30, 29] {
        all(protocol, &["host:from/", "to/"]);
    }
}

/// A generator that needs nothing asks for nothing: the sender's window of 10,000 entries must move on all the same.
#[test]
fn a_tree_larger_than_the_window_of_which_nothing_is_asked_for() {
    let tree: String = (0..10_100)
        .map(|at| format!("f d{:03}/f{at:05}\n", at / 100))
        .collect();
    check(
        "nothing is asked for",
        &tree,
        "",
        "-r --existing",
        32,
        &["host:from/", "to/"],
        &|options: &mut Options| {
            options.recursive = true;
            options.existing_only = true;
        },
    );
}

fn all(protocol: u8, operands: &[&str]) {
    let archive = |options: &mut Options| *options = Options::archive(Side::Server);
    let check = |name: &str,
                 source: &str,
                 destination: &str,
                 words: &str,
                 options: &dyn Fn(&mut Options)| {
        check(
            name,
            source,
            destination,
            words,
            protocol,
            operands,
            options,
        );
    };
    check("archive", SOURCE, "", "-a", &archive);
    check(
        "archive over an older version",
        SOURCE,
        DESTINATION,
        "-a",
        &archive,
    );
    check(
        "checksum",
        SOURCE,
        DESTINATION,
        "-ac",
        &|options: &mut Options| {
            archive(options);
            options.checksum = true;
        },
    );
    check(
        "dry run",
        SOURCE,
        DESTINATION,
        "-an",
        &|options: &mut Options| {
            archive(options);
            options.dry_run = true;
        },
    );
    check(
        "delete",
        SOURCE,
        DESTINATION,
        "-a --delete",
        &|options: &mut Options| {
            archive(options);
            options.delete = Some(DeleteWhen::Auto);
        },
    );
    check(
        "delete after",
        SOURCE,
        DESTINATION,
        "-a --delete-after --exclude=*.o",
        &|options: &mut Options| {
            archive(options);
            options.delete = Some(DeleteWhen::After);
        },
    );
    check(
        "moved",
        SOURCE,
        DESTINATION,
        "-a --remove-source-files",
        &|options: &mut Options| {
            archive(options);
            options.remove_source = RemoveSource::All;
        },
    );
    let links = "f a 10 mtime=5\nh b a\nh d/c a\nf e 5 mtime=6\nh f e\np q\nh r q";
    check("links", links, "", "-aH", &|options: &mut Options| {
        archive(options);
        options.hard_links = true;
    });
    check(
        "deltas",
        "f a 300000 mtime=4\nf d/b\nf d/e/f/g 3",
        "f a 200000",
        "-a",
        &archive,
    );
}

fn check(
    name: &str,
    source: &str,
    destination: &str,
    words: &str,
    protocol: u8,
    operands: &[&str],
    options: &dyn Fn(&mut Options),
) {
    let words = format!("{words} --protocol={protocol}");
    let scenario = Scenario {
        source,
        prepare: &|_| {},
        destination,
        words: &words,
        options,
        operands,
    };
    scenario.run_remote(name, |options, sources, target, events| {
        serve(options, &words, operands, &sources[0], target, events)
    });
}

pub fn serve(
    options: Options,
    words: &str,
    operands: &[&str],
    source: &OsString,
    target: &Path,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> i32 {
    let dir = tempfile::tempdir().unwrap();
    let (up, down, arguments) = (
        dir.path().join("up"),
        dir.path().join("down"),
        dir.path().join("arguments"),
    );
    assert!(
        Command::new("mkfifo")
            .args([&up, &down])
            .status()
            .unwrap()
            .success()
    );
    // The shell of the client: it runs nothing, and joins the client to us.
    let shell = dir.path().join("shell.sh");
    let script = format!(
        "shift; echo \"$@\" > {a}.new; mv {a}.new {a}; exec 3<&0; cat <&3 > {u} & exec cat {d}\n",
        a = arguments.display(),
        u = up.display(),
        d = down.display()
    );
    File::create(&shell)
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let sends = operands[0].starts_with("host:");
    let mut command = Command::new(require_rsync());
    command
        .arg("-i")
        .args(words.split(' '))
        .arg(format!("--rsh=sh {}", shell.display()));
    match sends {
        true => command.arg("host:x/").arg(target),
        false => command.arg(source).arg("host:x/"),
    };
    let mut client = command.stdout(Stdio::piped()).spawn().unwrap();
    let input = File::open(&up).unwrap();
    let output = OpenOptions::new().write(true).open(&down).unwrap();
    let said = std::fs::read_to_string(&arguments).unwrap();
    let letters = said
        .split(' ')
        .find(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('e'));
    let info = letters
        .and_then(|letters| letters.split_once('e'))
        .map_or("", |(_, info)| info);
    let info = ClientInfo::parse(info.as_bytes());
    let link = Link::over_pipes(input.into(), output.into(), Cancel::default()).unwrap();
    let server = Server::over_shell(link, &options, &info, sends).unwrap();
    let speaker = server.speaker();
    let reports_deletions = server.protocol().reports_deletions();
    let tell = |event: Event<'_>| {
        // The client writes the line of a deletion itself, from the message that the engine sends.
        let is_told = matches!(event, Event::Deleted { .. }) && reports_deletions;
        if let Some(line) = super::bench::line(&event).filter(|_| !is_told) {
            speaker.say(Severity::Info, format!("{line}\n").as_bytes());
        }
    };
    let outcome = match sends {
        true => server.send(options, std::slice::from_ref(source), &tell),
        false => server.receive(options, target, &tell),
    };
    let outcome = outcome.unwrap();
    let mut text = String::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    for line in text.lines() {
        events(Event::Peer {
            severity: Severity::Info,
            text: line.as_bytes(),
        });
    }
    let code = client.wait().unwrap().code().unwrap_or(99);
    code.max(i32::from(outcome.exit_code()))
}
