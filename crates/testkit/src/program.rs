//! The binary under test, run as a user would run it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::eventually;
use crate::process::{self, Group, Signal};

/// A running program whose output can be read while it runs; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    group: Group,
    transcript: Arc<Transcript>,
    readers: Vec<JoinHandle<()>>,
    exit: Option<ExitStatus>,
}

/// One line of a program's output, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the program wrote it.
    pub stream: Stream,
    /// What it says; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much memory a process holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident set size: all its pages in memory.
    pub rss: u64,
    /// Proportional set size: a page shared by n processes counts as 1/n.
    pub pss: u64,
}

/// An example program of the crate under test, which cargo builds with its tests.
///
/// # Panics
///
/// When it has not been built.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let target = test.parent().and_then(Path::parent);
    let program = target
        .expect("a test lies in target/PROFILE/deps")
        .join("examples")
        .join(name);
    assert!(
        program.is_file(),
        "build {program:?} with cargo build --examples"
    );
    program
}

impl Program {
    /// Starts `command` with nothing to read and both outputs captured, in a process group of its own.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let transcript = Arc::new(Transcript::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(follow(stdout, Stream::Stdout, &transcript));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(follow(stderr, Stream::Stderr, &transcript));
        }
        Self {
            group: Group::of(child.id()),
            child,
            transcript,
            readers,
            exit: None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far, in the order they arrived; the order between the two streams is approximate.
    pub fn lines(&self) -> Vec<Line> {
        self.transcript.lock().clone()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.transcript.text(|line| line.stream == Stream::Stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.transcript.text(|line| line.stream == Stream::Stderr)
    }

    /// Waits until a line on either stream contains `text`, and returns the first that does.
    ///
    /// # Panics
    ///
    /// When `deadline` passes or the program ends without one, with all it said.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        self.wait_for_nth_line(1, text, deadline)
    }

    /// Waits for the `nth` line (the first is 1) that contains `text`: for what is said repeatedly.
    ///
    /// # Panics
    ///
    /// When `deadline` passes or the program ends without one, with all it said.
    #[track_caller]
    pub fn wait_for_nth_line(&mut self, nth: usize, text: &str, deadline: Duration) -> String {
        let end = Instant::now() + deadline;
        loop {
            // Asked before the lines are looked at: what it wrote last may arrive after its end.
            let ended = self.readers.iter().all(JoinHandle::is_finished);
            if let Some(line) = self.transcript.nth_with(nth, text) {
                return line;
            }
            assert!(
                !ended && Instant::now() < end,
                "no {nth}. line with {text:?} {}; it said:\n{}",
                if ended {
                    "before it ended".to_owned()
                } else {
                    format!("within {deadline:?}")
                },
                self.transcript.text(|_| true)
            );
            self.transcript.wait_for_more(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the program, and only to it. One that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll_exit().is_none() {
            process::signal(self.group.leader(), signal);
        }
    }

    /// Kills all processes called `name` that it has started, itself or by others (SIGKILL). Returns how many.
    pub fn kill_helpers(&self, name: &str) -> usize {
        let mut helpers = process::descendants(self.group.leader());
        helpers.retain(|&pid| process::name(pid) == name);
        for &helper in &helpers {
            process::signal(helper, Signal::KILL);
        }
        helpers.len()
    }

    /// The exit code, or `None` while it runs; 128 + n if signal n ended it, as a shell says it.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.poll_exit().map(|status| {
            status
                .code()
                .unwrap_or_else(|| 128 + status.signal().expect("ended by a signal"))
        })
    }

    /// Waits until it has ended and all its output is read; returns the code as [`Self::exit_code`] does.
    ///
    /// # Panics
    ///
    /// When it still runs after `deadline`, with all it said.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> i32 {
        let code = eventually(deadline, || {
            self.exit_code().ok_or_else(|| {
                format!(
                    "the program still runs; it said:\n{}",
                    self.transcript.text(|_| true)
                )
            })
        });
        // What it started must not keep its pipes open.
        self.group.signal(Signal::KILL);
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        code
    }

    /// Processor time used so far by all its threads, in steps of a clock tick (10 ms).
    ///
    /// # Panics
    ///
    /// When the program has ended.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        process::stat(self.group.leader())
            .expect("the program runs")
            .cpu_time
    }

    /// Memory it holds now.
    ///
    /// # Panics
    ///
    /// When the program has ended.
    #[track_caller]
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let rollup =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        let bytes =
            |key| rollup_bytes(&rollup, key).unwrap_or_else(|| panic!("no {key} in {path}"));
        Memory {
            rss: bytes("Rss:"),
            pss: bytes("Pss:"),
        }
    }

    fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self
                .child
                .try_wait()
                .expect("an own child can be waited for");
        }
        self.exit
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.readers.is_empty() {
            // `wait_exit` has ended the group, and its number may be somebody else's by now.
            return;
        }
        self.group.signal(Signal::KILL);
        // An error means that it has been waited for already.
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// The lines of both streams, and a bell that rings for each.
#[derive(Debug, Default)]
struct Transcript {
    lines: Mutex<Vec<Line>>,
    more: Condvar,
}

impl Transcript {
    /// A reader that panicked has left complete lines behind, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: Line) {
        self.lock().push(line);
        self.more.notify_all();
    }

    fn wait_for_more(&self, longest: Duration) {
        // Woken early or late, the caller looks again.
        drop(self.more.wait_timeout(self.lock(), longest));
    }

    fn nth_with(&self, nth: usize, text: &str) -> Option<String> {
        let lines = self.lock();
        let mut matching = lines.iter().filter(|line| line.text.contains(text));
        matching
            .nth(nth.saturating_sub(1))
            .map(|line| line.text.clone())
    }

    fn text(&self, wanted: impl Fn(&Line) -> bool) -> String {
        self.lock()
            .iter()
            .filter(|line| wanted(line))
            .fold(String::new(), |mut text, line| {
                writeln!(text, "{}", line.text).expect("a string takes everything");
                text
            })
    }
}

fn follow(
    source: impl Read + Send + 'static,
    stream: Stream,
    transcript: &Arc<Transcript>,
) -> JoinHandle<()> {
    let transcript = Arc::clone(transcript);
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        // A broken pipe ends the output as its end does.
        while matches!(source.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            transcript.add(Line {
                stream,
                text: String::from_utf8_lossy(line).into_owned(),
            });
            bytes.clear();
        }
    })
}

/// The value of `key` in the text of `/proc/PID/smaps_rollup`, which counts in KiB.
fn rollup_bytes(rollup: &str, key: &str) -> Option<u64> {
    let rest = rollup.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const SOON: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Program {
        Program::start(Command::new("sh").arg("-c").arg(script))
    }

    #[test]
    fn lines_of_both_streams_are_read_while_it_runs() {
        let mut program = shell("echo out; echo err >&2; echo out again; exec sleep 600");
        assert_eq!(program.wait_for_line("er", SOON), "err");
        assert_eq!(program.wait_for_nth_line(2, "out", SOON), "out again");
        assert_eq!(program.exit_code(), None);
        assert_eq!(program.stdout(), "out\nout again\n");
        assert_eq!(program.stderr(), "err\n");
    }

    #[test]
    fn exit_codes_are_as_the_shell_says_them() {
        assert_eq!(shell("printf 'no line end'; exit 7").wait_exit(SOON), 7);
        let mut killed = shell("exec sleep 600");
        killed.signal(Signal::KILL);
        assert_eq!(killed.wait_exit(SOON), 128 + 9);
    }

    #[test]
    fn waiting_for_a_line_ends_with_the_program() {
        let mut program = shell("echo something else");
        let failure =
            catch_unwind(AssertUnwindSafe(|| program.wait_for_line("nothing", SOON))).unwrap_err();
        let message = failure.downcast_ref::<String>().unwrap();
        assert!(message.contains("before it ended"), "{message}");
        assert!(message.contains("something else"), "{message}");
    }

    #[test]
    fn drop_ends_it_and_what_it_started() {
        let mut program = shell("sleep 600 & echo ready; wait");
        program.wait_for_line("ready", SOON);
        let group = program.group;
        assert_eq!(group.members().len(), 2);
        drop(program);
        eventually(SOON, || match group.members().as_slice() {
            [] => Ok(()),
            left => Err(format!("still there: {left:?}")),
        });
    }

    #[test]
    fn processor_time_and_memory_are_read() {
        let program = shell("while :; do :; done");
        eventually(SOON, || match program.cpu_time() {
            Duration::ZERO => Err("no processor time used"),
            _ => Ok(()),
        });
        let memory = program.memory();
        assert!(memory.pss > 0 && memory.pss <= memory.rss, "{memory:?}");
    }
}
