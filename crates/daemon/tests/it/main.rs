//! The daemon beside the installed rsync.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect files of their own"
)]

mod bench;
mod checked;
mod clients;
mod configurations;
mod converted;
mod encrypted;
mod hostile;
mod listening;
mod mutated;
mod same_configuration;
mod serving;
mod settings;
mod stock;
mod trouble;
