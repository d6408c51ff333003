//! The whole of the daemon from two values: the arguments and the environment.
//!
//! `cargo run -p driftless-daemon --example rsync-daemon -- --daemon --no-detach --config=FILE --port=8730`

use std::process::ExitCode;

use rsync::{Env, Invocation};

fn main() -> ExitCode {
    let env = Env::new(std::env::vars_os());
    ExitCode::from(
        match rsync::command_line(std::env::args_os().skip(1), &env) {
            Err(code) => code,
            Ok(Invocation::Daemon(given)) => daemon::main(*given, env),
            Ok(Invocation::Transfer(given)) => rsync::run(*given, &env),
        },
    )
}
