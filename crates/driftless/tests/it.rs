//! The mirror as a user runs it: the program, a real tree, and a directory or a stock rsync daemon as replica.

#![allow(
    clippy::disallowed_methods,
    reason = "works on trees it made itself, apart from the code under test"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too, but clippy knows only marked functions"
)]

#[path = "it/bench.rs"]
mod bench;
#[path = "it/brakes.rs"]
mod brakes;
#[path = "it/browser.rs"]
mod browser;
#[path = "it/bursts.rs"]
mod bursts;
#[path = "it/changes.rs"]
mod changes;
#[path = "it/checklist.rs"]
mod checklist;
#[path = "it/configuration.rs"]
mod configuration;
#[path = "it/embedding.rs"]
mod embedding;
#[path = "it/encrypted.rs"]
mod encrypted;
#[path = "it/failing_daemons.rs"]
mod failing_daemons;
#[path = "it/fire.rs"]
mod fire;
#[path = "it/kinds.rs"]
mod kinds;
#[path = "it/ledger.rs"]
mod ledger;
#[path = "it/options.rs"]
mod options;
#[path = "it/protocols.rs"]
mod protocols;
#[path = "it/random_edits.rs"]
mod random_edits;
#[path = "it/refusals.rs"]
mod refusals;
#[path = "it/refused_options.rs"]
mod refused_options;
#[path = "it/seeing.rs"]
mod seeing;
#[path = "it/sersync.rs"]
mod sersync;
#[path = "it/service_manager.rs"]
mod service_manager;
#[path = "it/shell.rs"]
mod shell;
#[path = "it/status_page.rs"]
mod status_page;
#[path = "it/status_page_in_a_browser.rs"]
mod status_page_in_a_browser;
#[path = "it/stopping.rs"]
mod stopping;
#[path = "it/traps.rs"]
mod traps;
#[path = "it/verification.rs"]
mod verification;
