//! Pulls from the original as a server, over pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use driftless_transfer::{Cancel, Client, Error, Event, Link, Options, Outcome, RemoveSource};
use testkit::require_rsync;
use wire::{Protocol, Side};

use super::bench::Scenario;
use super::cases::{OF_A_RECEIVER, OF_BOTH_ENDS};

#[test]
fn what_both_ends_do() {
    for protocol in [32, 31, 30, 29] {
        for case in OF_BOTH_ENDS {
            check(case, protocol);
        }
    }
}

#[test]
fn what_a_receiver_does() {
    for protocol in [32, 30, 29] {
        for case in OF_A_RECEIVER {
            check(case, protocol);
        }
    }
}

/// A pull is compared with a pull of the original through a shell that stays on this machine.
fn check(case: &Scenario<'_>, protocol: u8) {
    let scenario = Scenario {
        words: &format!("{} --protocol={protocol}", case.words),
        operands: &["host:from/", "to/"],
        ..*case
    };
    scenario.run(Side::Client, |options, sources, target, events| {
        pull(options, sources, target, protocol, events)
    });
}

pub fn pull(
    mut options: Options,
    sources: &[OsString],
    target: &Path,
    protocol: u8,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> i32 {
    options.newest = Protocol::new(protocol).unwrap();
    let info = options.client_info(false);
    let mut server = server(&options, &info.to_argument(), &["--sender"], sources, true);
    let asked = vec![b"from/".to_vec()];
    let client = Client::over_shell(link(&mut server), &options, &info, false).unwrap();
    let outcome = client.receive(options, &asked, Some(target), &|event: Event<'_>| {
        events(event);
    });
    exit_code(outcome, server)
}

/// The code of our end or that of the server, whichever is greater. A session that breaks is no case for a table.
pub fn exit_code(outcome: Result<Outcome, Error>, mut server: Child) -> i32 {
    let status = server.wait().unwrap();
    match outcome {
        Ok(outcome) => i32::from(outcome.exit_code()).max(status.code().unwrap_or(99)),
        Err(error) => panic!("{error} (server: {status})"),
    }
}

/// A link over the pipes of a program.
pub fn link(program: &mut Child) -> Link {
    let (output, input) = (
        program.stdout.take().unwrap(),
        program.stdin.take().unwrap(),
    );
    Link::over_pipes(output.into(), input.into(), Cancel::default()).unwrap()
}

/// The original, started as its client would.
pub fn server(
    options: &Options,
    info: &[u8],
    words: &[&str],
    operands: &[OsString],
    sends: bool,
) -> Child {
    let mut letters = String::from("-");
    for (is_on, letter) in [
        (options.dry_run, 'n'),
        (options.links, 'l'),
        (options.dirs && !options.recursive, 'd'),
        (options.hard_links, 'H'),
        (options.owner, 'o'),
        (options.group, 'g'),
        (options.devices, 'D'),
        (options.times, 't'),
        (options.perms, 'p'),
        (options.recursive, 'r'),
        (options.checksum, 'c'),
        (options.acls, 'A'),
        (options.xattrs > 0, 'X'),
    ] {
        letters.extend(is_on.then_some(letter));
    }
    letters.push('e');
    letters.push_str(std::str::from_utf8(info).unwrap());
    let mut command = Command::new(require_rsync());
    command
        .arg("--server")
        .args(words.iter().filter(|_| sends))
        .arg(&letters)
        .args(words.iter().filter(|_| !sends));
    if options.remove_source == RemoveSource::All {
        command.arg("--remove-source-files");
    }
    if options.inplace {
        command.arg("--inplace");
    }
    for (option, map) in [
        ("--usermap", &options.usermap),
        ("--groupmap", &options.groupmap),
    ] {
        if let (Some(map), false) = (map, sends) {
            command.arg(format!("{option}={}", String::from_utf8_lossy(map)));
        }
    }
    command.arg(".").args(operands);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
