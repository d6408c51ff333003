//! Tests that need what this machine does not permit.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

/// Names on one line what could not be tested here; the test then returns.
///
/// The line goes past the runner's capture to the real standard error. `cargo xtask test` names a
/// file in `DRIFTLESS_SKIPPED` instead, and prints what was gathered there below the runner's result.
pub fn skip(reason: &str) {
    let test = thread::current();
    let line = format!(
        "skipped: {}: {reason}\n",
        test.name().unwrap_or("(unnamed)")
    );
    let written = match std::env::var_os("DRIFTLESS_SKIPPED") {
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes())),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
    if let Err(error) = written {
        panic!("cannot say {line:?}: {error}");
    }
}

/// Whether the test runs as root, as changing owners and most mounts require.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
