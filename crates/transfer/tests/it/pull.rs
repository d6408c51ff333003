//! Pulls from the original as a server, over pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use driftless_transfer::{
    AlternateUse, Alternates, Backup, Cancel, Client, DeleteWhen, Event, Link, Options,
    RemoveSource,
};
use testkit::require_rsync;
use wire::{Protocol, Side};

use super::bench::Scenario;
use super::local::{DESTINATION, SOURCE};

#[test]
fn the_basics() {
    let archive = |options: &mut Options| *options = Options::archive(Side::Client);
    for protocol in [32, 31, 30, 29] {
        check("archive", SOURCE, "", "-a", protocol, &archive);
        check(
            "archive over an older version",
            SOURCE,
            DESTINATION,
            "-a",
            protocol,
            &archive,
        );
        check(
            "checksum",
            SOURCE,
            DESTINATION,
            "-ac",
            protocol,
            &|options| {
                archive(options);
                options.checksum = true;
            },
        );
        check(
            "in place",
            SOURCE,
            DESTINATION,
            "-a --inplace",
            protocol,
            &|options| {
                archive(options);
                options.inplace = true;
            },
        );
        check(
            "dry run",
            SOURCE,
            DESTINATION,
            "-an",
            protocol,
            &|options| {
                archive(options);
                options.dry_run = true;
            },
        );
        check("dirs", SOURCE, DESTINATION, "-d", protocol, &|options| {
            options.dirs = true;
        });
    }
}

#[test]
fn deletion() {
    for (words, when) in [
        ("-a --delete", DeleteWhen::Auto),
        ("-a --delete-before", DeleteWhen::Before),
        ("-a --delete-during", DeleteWhen::During),
        ("-a --delete-delay", DeleteWhen::Delay),
        ("-a --delete-after", DeleteWhen::After),
    ] {
        for protocol in [32, 30, 29] {
            check(words, SOURCE, DESTINATION, words, protocol, &|options| {
                *options = Options::archive(Side::Client);
                options.delete = Some(when);
            });
        }
    }
}

#[test]
fn further_options() {
    let links = "f a 10 mtime=5\nh b a\nh d/c a\nf e 5 mtime=6\nh f e\np q\nh r q";
    for protocol in [32, 30, 29] {
        check("links", links, "", "-aH", protocol, &|options| {
            *options = Options::archive(Side::Client);
            options.hard_links = true;
        });
        check(
            "some links",
            links,
            "f b 10 mtime=5\nf e 1 mtime=4",
            "-aH",
            protocol,
            &|options| {
                *options = Options::archive(Side::Client);
                options.hard_links = true;
            },
        );
        check(
            "backups",
            SOURCE,
            DESTINATION,
            "-ab",
            protocol,
            &|options| {
                *options = Options::archive(Side::Client);
                options.backup = Some(Backup {
                    dir: None,
                    suffix: b"~".to_vec(),
                });
            },
        );
        check(
            "delayed",
            SOURCE,
            DESTINATION,
            "-a --delay-updates",
            protocol,
            &|options| {
                *options = Options::archive(Side::Client);
                options.delay_updates = true;
                options.partial = true;
                options.partial_dir = Some(".~tmp~".into());
            },
        );
        check(
            "moved",
            SOURCE,
            DESTINATION,
            "-a --remove-source-files",
            protocol,
            &|options| {
                *options = Options::archive(Side::Client);
                options.remove_source = RemoveSource::All;
            },
        );
        check(
            "sparse",
            "f a 300000 mtime=4\nf b",
            "f a 200000",
            "-aS",
            protocol,
            &|options| {
                *options = Options::archive(Side::Client);
                options.sparse = true;
            },
        );
    }
    let source =
        "f same 10 mtime=5\nf mode 10 mtime=5 mode=0600\nf d/other 20 mtime=6\nl link -> x";
    let destination = "f old/same 10 mtime=5\nf old/mode 10 mtime=5 mode=0644\nf old/d/other 1 mtime=6\nl old/link -> x";
    check(
        "link-dest",
        source,
        destination,
        "-aO --omit-link-times --link-dest=old",
        32,
        &|options| {
            *options = Options::archive(Side::Client);
            options.omit_dir_times = true;
            options.omit_link_times = true;
            options.alternates = Some(Alternates {
                use_as: AlternateUse::Link,
                dirs: vec!["old".into()],
            });
        },
    );
}

/// A pull is compared with a pull of the original through a shell that stays on this machine.
fn check(
    name: &str,
    source: &str,
    destination: &str,
    words: &str,
    protocol: u8,
    options: &dyn Fn(&mut Options),
) {
    let words = format!("{words} --protocol={protocol}");
    let operands = ["host:from/", "to/"];
    let scenario = Scenario {
        source,
        prepare: &|_| {},
        destination,
        words: &words,
        options,
        operands: &operands,
    };
    scenario.run_remote(name, |options, sources, target, events| {
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
    let status = server.wait().unwrap();
    let code = match outcome {
        Ok(outcome) => i32::from(outcome.exit_code()),
        Err(error) => panic!("{error} (server: {status})"),
    };
    code.max(status.code().unwrap_or(99))
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
