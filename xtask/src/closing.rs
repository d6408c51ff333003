//! The lines with which a test runner closes, kept to be shown last.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

use crate::exit_code;

/// Runs a test runner to its end, shows all it says as it says it, and returns its exit code and
/// its closing lines.
pub(crate) fn run(command: &mut Command) -> Result<(u8, Vec<String>)> {
    if io::stderr().is_terminal() {
        // The runner sees a pipe and would take the colours out.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // cargo-nextest closes on standard error, libtest on standard output.
    let closing = thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map(|source| show(source, io::stderr())));
        let mut closing = stdout
            .map(|source| show(source, io::stdout()))
            .unwrap_or_default();
        closing.extend(errors.join().ok().flatten().unwrap_or_default());
        closing
    });
    let status = child.wait().context("cannot wait for the test runner")?;
    Ok((exit_code(status), closing))
}

/// Copies line by line, and keeps the closing ones.
fn show(source: impl Read, mut target: impl Write) -> Vec<String> {
    let mut source = BufReader::new(source);
    let mut closing = Closing::default();
    let mut line = Vec::new();
    while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
        // When nobody reads any more (`| head`), the tests still run to their end.
        let _ = target.write_all(&line);
        closing.add(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    closing.lines
}

/// Which lines close a run: each `test result:` of libtest, and all from the `Summary` of
/// cargo-nextest on, which lists the failures.
#[derive(Default)]
struct Closing {
    lines: Vec<String>,
    in_summary: bool,
}

impl Closing {
    fn add(&mut self, line: &str) {
        let plain = without_colours(line);
        self.in_summary |= plain.trim_start().starts_with("Summary [");
        if self.in_summary || plain.starts_with("test result:") {
            self.lines.push(line.to_owned());
        }
    }
}

/// The text without its terminal colours (`ESC [ ... m`).
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(output: &str) -> Vec<String> {
        show(output.as_bytes(), io::sink())
    }

    #[test]
    fn of_cargo_nextest_all_from_the_summary_on() {
        let output =
            "    PASS [0.1s] a\n\x1b[32m     Summary\x1b[0m [   1.0s] 2 tests run\n    FAIL b\n";
        let expected = [
            "\x1b[32m     Summary\x1b[0m [   1.0s] 2 tests run",
            "    FAIL b",
        ];
        assert_eq!(closing(output), expected);
    }

    #[test]
    fn of_libtest_every_result() {
        let output = "test a ... ok\ntest result: ok. 1 passed\n\nrunning 0 tests\ntest result: ok. 0 passed";
        assert_eq!(
            closing(output),
            ["test result: ok. 1 passed", "test result: ok. 0 passed"]
        );
    }

    #[test]
    fn the_exit_code_is_the_runners() {
        let mut command = Command::new("sh");
        // Silent: what it printed would be shown among the results of these tests.
        command.args(["-c", "exit 101"]);
        assert_eq!(run(&mut command).unwrap(), (101, Vec::new()));
    }
}
