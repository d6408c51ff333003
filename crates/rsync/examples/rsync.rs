//! The whole of rsync from two values: the arguments and the environment.
//!
//! `cargo run -p driftless-rsync --example rsync -- -av from/ to/`

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rsync::main(
        std::env::args_os().skip(1),
        std::env::vars_os(),
    ))
}
