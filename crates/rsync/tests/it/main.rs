//! The example program beside the installed rsync.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]

mod fault_place;
mod faults;
mod interrupted;
mod random;
mod random_case;
mod remote;
mod scenarios;
mod server_words;
mod serving;
mod snapshots;
mod terminal;
mod unprivileged;
mod versions;
