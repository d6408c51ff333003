//! The engine as the server of the original, which reaches it by a "remote shell" made of two named pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_transfer::{Cancel, DeleteWhen, Event, Link, Options, Server};
use testkit::require_rsync;
use wire::{ClientInfo, Severity, Side};

use super::bench::Scenario;
use super::cases::{DESTINATION, OF_BOTH_ENDS, SOURCE};

#[test]
fn clients_push_to_us() {
    for protocol in [32, 31, 30, 29] {
        for case in OF_BOTH_ENDS {
            check(case, protocol, &["from/", "host:to/"]);
        }
    }
}

#[test]
fn clients_pull_from_us() {
    for protocol in [32, 31, 30, 29] {
        for case in OF_BOTH_ENDS {
            check(case, protocol, &["host:from/", "to/"]);
        }
    }
}

/// Rules come from the client, and deletions after the last file.
#[test]
fn clients_delete_late() {
    let case = Scenario {
        name: "delete after",
        source: SOURCE,
        destination: DESTINATION,
        prepare: &|_| {},
        words: "-a --delete-after --exclude=*.o",
        set: &|options| options.delete = Some(DeleteWhen::After),
        operands: &[],
    };
    for protocol in [32, 31, 30, 29] {
        check(&case, protocol, &["from/", "host:to/"]);
        check(&case, protocol, &["host:from/", "to/"]);
    }
}

/// A generator that needs nothing asks for nothing: the sender's window of 10,000 entries must move on all the same.
#[test]
fn a_tree_larger_than_the_window_of_which_nothing_is_asked_for() {
    let tree: String = (0..10_100)
        .map(|at| format!("f d{:03}/f{at:05}\n", at / 100))
        .collect();
    let case = Scenario {
        name: "nothing is asked for",
        source: &tree,
        destination: "",
        prepare: &|_| {},
        words: "-r --existing",
        set: &|options| {
            options.recursive = true;
            options.existing_only = true;
        },
        operands: &[],
    };
    check(&case, 32, &["host:from/", "to/"]);
}

fn check(case: &Scenario<'_>, protocol: u8, operands: &[&str]) {
    let words = format!("{} --protocol={protocol}", case.words);
    let scenario = Scenario {
        words: &words,
        operands,
        ..*case
    };
    scenario.run(Side::Server, |options, sources, target, events| {
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
