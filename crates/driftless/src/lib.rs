//! The library behind the `driftless` binary, and the door for programs that embed it.
//!
//! `driftless` is one binary with several faces; each is a module here that takes its arguments and returns its exit
//! code, so that `main` is the only place that ends the process.

mod configuration;
pub mod control_command;
pub mod convert_command;
pub mod mirror_command;
mod notify;
pub mod sersync_command;
mod state;
