//! The watcher as its consumers see it, with real threads and a real kernel.

// The tests change trees in temporary directories, which is what the crate itself must not do; a test may panic and print.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod live;
mod mounted;
mod original;
mod stress;
mod tools;
