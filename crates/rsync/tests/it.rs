//! The example program beside the installed rsync.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]

#[path = "it/fault_place.rs"]
mod fault_place;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/interrupted.rs"]
mod interrupted;
#[path = "it/random.rs"]
mod random;
#[path = "it/random_case.rs"]
mod random_case;
#[path = "it/remote.rs"]
mod remote;
#[path = "it/scenarios.rs"]
mod scenarios;
#[path = "it/server_words.rs"]
mod server_words;
#[path = "it/serving.rs"]
mod serving;
#[path = "it/snapshots.rs"]
mod snapshots;
#[path = "it/terminal.rs"]
mod terminal;
#[path = "it/unprivileged.rs"]
mod unprivileged;
#[path = "it/versions.rs"]
mod versions;
