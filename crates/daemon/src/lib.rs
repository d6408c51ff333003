//! The rsync daemon: `rsyncd.conf`, who may connect, and one process for each connection.
//!
//! In go a configuration file and connections. Out come sessions of crate `transfer`, each in a process of its own with
//! no more rights than its module needs, and lines in a log.
//!
//! - [`main`] is the program: the listener, or one connection.
//! - [`Config`] is a configuration file as values: [`Globals`] and one [`Module`] with its [`Settings`] for each section.
//!   [`parameters`] has one row for each parameter, from which the parser and the manual page follow.
//! - [`check`](mod@check) tells what is wrong with a configuration, [`access`] which hosts may connect, [`refuse`] which options a
//!   client may not use.
//!
//! What this crate must never know: how files are compared and written, and what a client's options mean; crates
//! `transfer` and `rsync` know.

pub mod access;
mod auth;
pub mod check;
mod config;
mod conversation;
mod converter;
mod entry;
mod hooks;
mod identity;
mod journal;
mod listener;
mod paths;
mod peer;
mod proxy;
pub mod refuse;
mod sandbox;
mod session;
mod slots;
mod start;
mod supervisor;
mod terminator;
mod worker;

pub use config::{
    Config, Facility, Failure, Fault, Globals, LogStyle, Module, Override, Place, Problem,
    Settings, Text, UnknownParameter, parameters,
};
pub use start::main;

/// A path of the command line or the configuration.
fn as_path(bytes: &[u8]) -> std::path::PathBuf {
    std::path::PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}
