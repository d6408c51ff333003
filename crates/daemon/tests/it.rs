//! The daemon beside the installed rsync.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect files of their own"
)]

#[path = "it/bench.rs"]
mod bench;
#[path = "it/checked.rs"]
mod checked;
#[path = "it/clients.rs"]
mod clients;
#[path = "it/configurations.rs"]
mod configurations;
#[path = "it/converted.rs"]
mod converted;
#[path = "it/encrypted.rs"]
mod encrypted;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/listening.rs"]
mod listening;
#[path = "it/mutated.rs"]
mod mutated;
#[path = "it/same_configuration.rs"]
mod same_configuration;
#[path = "it/serving.rs"]
mod serving;
#[path = "it/settings.rs"]
mod settings;
#[path = "it/stock.rs"]
mod stock;
#[path = "it/trouble.rs"]
mod trouble;
