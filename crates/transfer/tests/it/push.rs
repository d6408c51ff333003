//! Pushes to the original as a server, over pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::path::Path;

use driftless_transfer::{Client, DeleteWhen, Event, Options, RemoveSource};
use wire::{Protocol, Side};

use super::bench::Scenario;
use super::local::{DESTINATION, SOURCE};
use super::pull::{link, server};

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
        check(
            "delete",
            SOURCE,
            DESTINATION,
            "-a --delete",
            protocol,
            &|options| {
                archive(options);
                options.delete = Some(DeleteWhen::Auto);
            },
        );
        check(
            "moved",
            SOURCE,
            DESTINATION,
            "-a --remove-source-files",
            protocol,
            &|options| {
                archive(options);
                options.remove_source = RemoveSource::All;
            },
        );
        let links = "f a 10 mtime=5\nh b a\nh d/c a\nf e 5 mtime=6\nh f e\np q\nh r q";
        check("links", links, "", "-aH", protocol, &|options| {
            archive(options);
            options.hard_links = true;
        });
        check(
            "deltas",
            "f a 300000 mtime=4\nf d/b\nf d/e/f/g 3",
            "f a 200000",
            "-a",
            protocol,
            &archive,
        );
    }
}

fn check(
    name: &str,
    source: &str,
    destination: &str,
    words: &str,
    protocol: u8,
    options: &dyn Fn(&mut Options),
) {
    let words = format!("{words} --protocol={protocol}");
    let scenario = Scenario {
        source,
        prepare: &|_| {},
        destination,
        words: &words,
        options,
        operands: &["from/", "host:to/"],
    };
    scenario.run_remote(name, |options, sources, target, events| {
        push(options, sources, target, protocol, events)
    });
}

pub fn push(
    mut options: Options,
    sources: &[OsString],
    target: &Path,
    protocol: u8,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> i32 {
    options.newest = Protocol::new(protocol).unwrap();
    let info = options.client_info(true);
    let mut words = Vec::new();
    if options.delete.is_some() {
        words.push(if protocol < 30 {
            "--delete-before"
        } else {
            "--delete-during"
        });
    }
    let mut server = server(
        &options,
        &info.to_argument(),
        &words,
        &[target.into()],
        false,
    );
    let client = Client::over_shell(link(&mut server), &options, &info, true).unwrap();
    let outcome = client.send(options, sources, &|event: Event<'_>| events(event));
    let status = server.wait().unwrap();
    let code = match outcome {
        Ok(outcome) => i32::from(outcome.exit_code()),
        Err(error) => panic!("{error} (server: {status})"),
    };
    code.max(status.code().unwrap_or(99))
}
