//! The watcher as its consumers see it, with real threads and a real kernel.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests change trees of their own, may panic, and say what they skip"
)]

mod live;
mod mounted;
mod original;
mod stress;
mod tools;
