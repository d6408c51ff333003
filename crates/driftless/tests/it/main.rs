//! The mirror as a user runs it: the program, a real tree, and a directory or a stock rsync daemon as replica.

#![allow(
    clippy::disallowed_methods,
    reason = "works on trees it made itself, apart from the code under test"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too, but clippy knows only marked functions"
)]

mod bench;
mod brakes;
mod browser;
mod bursts;
mod changes;
mod checklist;
mod configuration;
mod embedding;
mod encrypted;
mod failing_daemons;
mod fire;
mod kinds;
mod ledger;
mod mounts;
mod options;
mod protocols;
mod random_edits;
mod refusals;
mod refused_options;
mod seeing;
mod sersync;
mod service_manager;
mod shell;
mod side_by_side;
mod status_page;
mod status_page_in_a_browser;
mod stopping;
mod traps;
mod verification;
