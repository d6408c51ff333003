//! `name converter`: a program of the administrator's that knows the names of users and groups (behaviour.md 8.9).
//!
//! It runs as the daemon, outside chroot and sandbox, beside the process that keeps its rights. The worker, which has none,
//! asks that process, and it asks the program: a line for each question, a line for each answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use transfer::{Accounts, Error, Role};

use crate::journal::Journal;
use crate::supervisor::Superior;

/// The program, as the process knows it that has started it.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// What it has said beyond its last answer.
    heard: Vec<u8>,
}

/// The longest answer, in bytes. No name is that long.
const ANSWER_MAX: usize = 4096;
/// A program that says nothing for so long is of no use.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it has to end by itself when there is nothing left to ask.
const GRACE: Duration = Duration::from_secs(1);

impl Program {
    /// Starts it. It leads a group of its own, with which it is ended.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn()?;
        let missing = io::ErrorKind::BrokenPipe;
        Ok(Self {
            input: child.stdin.take(),
            output: child.stdout.take().ok_or(missing)?,
            child,
            heard: Vec::new(),
        })
    }

    /// Asks it one thing, as long as `asker` is there to hear it.
    ///
    /// # Errors
    /// It is gone, silent, or does not come to the end of a line; or the question is none.
    pub(crate) fn answer(&mut self, question: &[u8], asker: &UnixStream) -> io::Result<Vec<u8>> {
        if !is_question(question) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(&[question, b"\n"].concat())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(line.trim_ascii_end().to_vec());
            }
            if self.heard.len() > ANSWER_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut polled = [
                PollFd::new(&self.output, PollFlags::IN),
                // Nothing is awaited of it but its end, which is always told.
                PollFd::new(asker, PollFlags::empty()),
            ];
            let left = deadline.saturating_duration_since(Instant::now());
            if poll(&mut polled, Timespec::try_from(left).ok().as_ref())? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if !polled[1].revents().is_empty() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut some = [0; 512];
            match self.output.read(&mut some)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.heard.extend_from_slice(&some[..count]),
            }
        }
    }
}

impl Drop for Program {
    /// Tells it that there is nothing left to ask, and ends it if it does not end by itself.
    fn drop(&mut self) {
        self.input = None;
        let pid = Pid::from_child(&self.child);
        if let Ok(ended) = pidfd_open(pid, PidfdFlags::empty()) {
            let mut polled = [PollFd::new(&ended, PollFlags::IN)];
            let _ = poll(&mut polled, Timespec::try_from(GRACE).ok().as_ref());
        }
        // Nothing that it has started is left behind either.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Whether this may be asked. The worker serves a stranger: it is not believed to be reasonable.
fn is_question(text: &[u8]) -> bool {
    let is_known = [b"uid ", b"gid ", b"usr ", b"grp "]
        .iter()
        .any(|start| text.starts_with(*start));
    is_known && is_token(&text[4..])
}

/// Whether a name can be asked for: one with a line end would be two questions.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(u8::is_ascii_control)
}

/// The names of the program, as the worker asks for them.
#[derive(Debug)]
pub(crate) struct Converter {
    superior: Mutex<Superior>,
    journal: Journal,
    /// Who says that it is gone.
    role: Role,
}

impl Converter {
    pub(crate) fn new(superior: Superior, journal: Journal, sends: bool) -> Self {
        let role = match sends {
            true => Role::Sender,
            false => Role::ReceivingSide,
        };
        Self {
            superior: Mutex::new(superior),
            journal,
            role,
        }
    }

    fn ask(&self, what: &str, of: &[u8]) -> Result<Vec<u8>, Error> {
        let question = [what.as_bytes(), b" ", of].concat();
        let mut superior = self.superior.lock().unwrap_or_else(PoisonError::into_inner);
        superior.ask(&question).map_err(|_| Error::Fatal {
            code: 10,
            role: self.role,
            text: "Connection to name-converter failed.".to_owned(),
            cause: None,
        })
    }

    fn name(&self, what: &str, id: u32) -> Result<Option<Vec<u8>>, Error> {
        let name = self.ask(what, id.to_string().as_bytes())?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    fn id(&self, what: &str, name: &[u8]) -> Result<Option<u32>, Error> {
        if !is_token(name) {
            let name = String::from_utf8_lossy(name);
            let line = format!("invalid name-converter token: {name}");
            self.journal.warn(&line);
            return Ok(None);
        }
        let id = self.ask(what, name)?;
        let is_number = !id.is_empty() && id.iter().all(u8::is_ascii_digit);
        let id = std::str::from_utf8(&id).ok().filter(|_| is_number);
        // The highest number means "leave as it is" to the kernel.
        Ok(id
            .and_then(|id| id.parse().ok())
            .filter(|&id| id != u32::MAX))
    }
}

impl Accounts for Converter {
    fn user_name(&self, uid: u32) -> Result<Option<Vec<u8>>, Error> {
        self.name("uid", uid)
    }

    fn group_name(&self, gid: u32) -> Result<Option<Vec<u8>>, Error> {
        self.name("gid", gid)
    }

    fn uid(&self, name: &[u8]) -> Result<Option<u32>, Error> {
        self.id("usr", name)
    }

    fn gid(&self, name: &[u8]) -> Result<Option<u32>, Error> {
        self.id("grp", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(script: &str) -> Program {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Program::start(command).expect("a shell is everywhere")
    }

    /// Asks for somebody who is there to hear it.
    fn ask(program: &mut Program, question: &str) -> io::Result<Vec<u8>> {
        let (asker, _other) = UnixStream::pair().expect("a pair");
        program.answer(question.as_bytes(), &asker)
    }

    #[test]
    fn a_line_for_a_line() {
        let mut echo = program("while read line; do echo \"[$line]\"; done");
        for question in ["uid 7", "gid 0", "usr joe", "grp a b"] {
            let answer = ask(&mut echo, question).expect("it answers");
            assert_eq!(answer, format!("[{question}]").as_bytes());
        }
        let mut silent = program("while read line; do echo; done");
        assert_eq!(ask(&mut silent, "uid 7").expect("it answers"), b"");
    }

    #[test]
    fn what_is_no_question_is_not_asked() {
        let mut echo = program("cat");
        for question in ["", "uid", "uid ", "pwd 7", "usr a\nusr b", "usr a\x01"] {
            let refused = ask(&mut echo, question).expect_err(question);
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(ask(&mut echo, "usr a").expect("it answers"), b"usr a");
    }

    #[test]
    fn programs_that_do_not_answer() {
        for script in ["exit 3", "read line; exit 0", "yes | tr -d '\\n'"] {
            assert!(ask(&mut program(script), "uid 7").is_err(), "{script}");
        }
    }

    #[test]
    fn nobody_waits_for_an_answer_that_nobody_hears() {
        let (asker, other) = UnixStream::pair().expect("a pair");
        drop(other);
        let gone = program("sleep 1000").answer(b"uid 7", &asker);
        assert_eq!(
            gone.expect_err("no answer").kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    /// One that ignores the end of its input does not outlive it, nor does what it has started.
    #[test]
    fn it_ends_with_who_has_started_it() {
        let mut stubborn = program("sleep 1000 & echo $!; while :; do sleep 1000; done");
        let answer = ask(&mut stubborn, "uid 7").expect("it says something");
        let pid: i32 = std::str::from_utf8(&answer)
            .ok()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        drop(stubborn);
        let pid = Pid::from_raw(pid).expect("a process");
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            // Whoever adopts it may not have noticed yet.
            Ok(stat) if !stat.contains(") Z ") => Err(stat),
            _ => Ok(()),
        };
        testkit::eventually(Duration::from_secs(60), gone);
    }
}
