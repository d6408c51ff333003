//! The rsync command line: what rsync 3.5.0 understands and prints, over the engine of crate `transfer`.
//!
//! In go the arguments and the environment of a process. Out come a run of the engine, rsync's text on standard output
//! and standard error, and rsync's exit code.
//!
//! - [`table`] holds one row for every option; the parser, the help and the words for a server follow from it.
//! - [`command_line`] reads arguments into `Given`, what was said; `Meant` is what that means, or the fault in rsync's words.
//! - `server_args` writes the words that start the other side; `remote_shell` starts it.
//! - `output` turns the engine's events into rsync's lines; [`Exit`] knows codes and the final line.
//! - [`main`] joins all of it for the user of a process, [`embedded()`] for a program that wants events and typed errors.
//!
//! What this crate must never know: how files are compared, sent and written, and what is in `rsyncd.conf`.

// From arguments to what they say.
mod alias;
mod daemon_options;
mod flags;
mod given;
mod help;
mod hint;
mod options;
mod parse;
mod size;
mod stop;
mod stop_time;
pub mod table;

// From what they say to what they mean.
mod engine;
mod env;
mod host;
mod meant;
mod name_list;
mod named_file;
mod password;
mod rules;
mod wildcards;

// Carrying it out: for a user, for a client, for a daemon, for a program.
mod batch;
mod client;
mod copy_as;
mod embedded;
mod interrupt;
mod remote_shell;
mod run;
mod served;
mod server;
mod server_args;

// What is told.
mod exit;
mod output;

pub use alias::Aliases;
pub use daemon_options::{DaemonGiven, DaemonOption};
pub use embedded::{Error, embedded};
pub use env::Env;
pub use exit::{Exit, Place, RSYNC_VERSION as VERSION};
pub use given::Given;
pub use output::{Log, Visitor, log_line, log_text, strerror};
pub use parse::{Invocation, Refuses};
pub use run::{command_line, main, run};
pub use served::{Bounds, Order, Refusal, Request, last_line};
pub use stop::Stop;
