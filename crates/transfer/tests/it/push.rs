//! Pushes to the original as a server, over pipes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::path::Path;

use driftless_transfer::{Client, Event, Options};
use wire::{Protocol, Side};

use super::bench::Scenario;
use super::cases::OF_BOTH_ENDS;
use super::pull::{exit_code, link, server};

#[test]
fn what_both_ends_do() {
    for protocol in [32, 31, 30, 29] {
        for case in OF_BOTH_ENDS {
            let scenario = Scenario {
                words: &format!("{} --protocol={protocol}", case.words),
                operands: &["from/", "host:to/"],
                ..*case
            };
            scenario.run(Side::Client, |options, sources, target, events| {
                push(options, sources, target, protocol, events)
            });
        }
    }
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
    exit_code(outcome, server)
}
