//! The rsync command line: what rsync 3.5.0 understands and prints, over the engine of crate `transfer`.
//!
//! In go the arguments and the environment of a process. Out come a run of the engine, rsync's text on standard output
//! and standard error, and rsync's exit code.
//!
//! - [`table`] holds one row for every option; the parser, the help and the words for a server follow from it.
//! - [`command_line`] reads arguments into `Given`, what was said; `Meant` is what that means, or the fault in rsync's words.
//! - `server_args` writes the words that start the other side; `remote_shell` starts it.
//! - `output` turns the engine's events into rsync's lines; [`Exit`] knows codes and the final line.
//! - [`main`] joins all of it for the user of a process, [`embedded`] for a program that wants events and typed errors.
//!
//! What this crate must never know: how files are compared, sent and written, and what is in `rsyncd.conf`.

mod alias;
mod batch;
mod client;
mod copy_as;
mod daemon_options;
mod embedded;
mod engine;
mod env;
mod exit;
mod flags;
mod given;
mod help;
mod hint;
mod host;
mod interrupt;
mod meant;
mod name_list;
mod named_file;
mod options;
mod output;
mod parse;
mod password;
mod remote_shell;
mod rules;
mod run;
mod served;
mod server;
mod server_args;
mod size;
mod stop;
mod stop_time;
pub mod table;
mod wildcards;

pub use alias::Aliases;
pub use daemon_options::{DaemonGiven, DaemonOption};
pub use embedded::{Error, embedded};
pub use env::Env;
pub use exit::{Exit, Place, RSYNC_VERSION as VERSION};
pub use given::Given;
pub use output::{Log, Visitor, log_line, log_text};
pub use parse::{Invocation, Refuses};
pub use run::{command_line, main, run};
pub use served::{Bounds, Order, Refusal, Request, last_line};
pub use stop::Stop;
