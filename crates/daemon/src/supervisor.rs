//! A process that keeps its rights while another one, which has none, serves the client: it runs the hooks.
//!
//! The client is handed over to this program started anew: the connection as its standard input, what is known of the
//! client in its environment, and the way back as its standard error. The supervisor holds the client's place and
//! outlives the other process, also if that crashes.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};

use rsync::{Env, Exit, strerror};
use wire::Protocol;

use crate::converter::Program;
use crate::entry::Entry;
use crate::hooks::Hooks;
use crate::peer::Peer;
use crate::worker::{Admitted, Leave, Transport};

/// What the other process is told of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) transport: Transport,
    pub(crate) protocol: Protocol,
    pub(crate) module: Vec<u8>,
    pub(crate) admitted: Admitted,
    pub(crate) peer: Peer,
    /// The process that hooks know.
    pub(crate) pid: u32,
    /// What the client has said already.
    pub(crate) heard: Vec<u8>,
}

/// The variable that holds a [`Handover`].
const VARIABLE: &str = "DRIFTLESS_SESSION";

impl Handover {
    /// What was handed over to this process.
    pub(crate) fn taken(env: &Env) -> Option<Self> {
        let text = std::str::from_utf8(env.get(VARIABLE)?).ok()?;
        let fields: Vec<Vec<u8>> = text.split(':').map(from_hex).collect::<Option<_>>()?;
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
        let [
            transport,
            protocol,
            module,
            user,
            read_only,
            address,
            name,
            pid,
            heard,
        ] = &fields[..]
        else {
            return None;
        };
        Some(Self {
            transport: match &transport[..] {
                b"shell" => Transport::Shell,
                _ => Transport::Socket,
            },
            protocol: Protocol::new(u8::try_from(number(protocol)?).ok()?)?,
            module: module.clone(),
            admitted: Admitted {
                user: user.clone(),
                read_only: match &read_only[..] {
                    b"yes" => Some(true),
                    b"no" => Some(false),
                    _ => None,
                },
            },
            peer: Peer {
                address: std::str::from_utf8(address).ok()?.parse::<IpAddr>().ok()?,
                name: String::from_utf8(name.clone()).ok()?,
            },
            pid: number(pid)?,
            heard: heard.clone(),
        })
    }

    fn to_text(&self) -> String {
        let transport = match self.transport {
            Transport::Shell => "shell",
            Transport::Socket => "socket",
        };
        let read_only = match self.admitted.read_only {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let fields: [&[u8]; 9] = [
            transport.as_bytes(),
            &self.protocol.number().to_string().into_bytes(),
            &self.module,
            &self.admitted.user,
            read_only.as_bytes(),
            &self.peer.address.to_string().into_bytes(),
            self.peer.name.as_bytes(),
            &self.pid.to_string().into_bytes(),
            &self.heard,
        ];
        fields.map(to_hex).join(":")
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Hands the client over, and runs the hooks at their time. Returns the exit code of the process that has served it.
pub(crate) fn run(entry: Entry<'_>, hooks: &Hooks) -> Result<u8, Leave> {
    let Entry {
        mut worker,
        module,
        protocol,
        admitted,
        ..
    } = entry;
    let fork_failed = |cause: &io::Error| format!("fork failed: {}", strerror(cause));
    let (mut ours, theirs) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(cause) => return Err(worker.refuse("fork failed", Some(&fork_failed(&cause)))),
    };
    let handover = Handover {
        transport: worker.transport,
        protocol,
        module: module.name.clone(),
        admitted,
        peer: worker.peer.clone(),
        pid: std::process::id(),
        heard: worker.talk.heard().to_vec(),
    };
    let mut command = worker.setup.anew();
    command
        .env(VARIABLE, handover.to_text())
        .stdin(Stdio::inherit())
        .stderr(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    if worker.transport == Transport::Shell {
        command.stdout(Stdio::inherit());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => return Err(worker.refuse("fork failed", Some(&fork_failed(&cause)))),
    };
    // The command holds the other end of the way back, whose end tells that the child is gone.
    drop(command);
    let (env, _slot) = worker.let_go();
    if let Ok((request, arguments)) = read_request(&mut ours) {
        let told = hooks.run_before(&env, &request, &arguments);
        let text = told.as_deref().unwrap_or_default();
        // A child that is gone does not want to know.
        let _ = write_field(&mut ours, &[u8::from(told.is_some())]);
        let _ = write_field(&mut ours, text);
        if told.is_none()
            && let Some(program) = hooks.start_converter(&env, &request, &arguments)
        {
            answer_questions(program, &mut ours);
        }
    }
    drop(ours);
    match child.wait() {
        Ok(status) => {
            hooks.run_after(&env, status);
            Ok(exit_code(status))
        }
        Err(_) => Ok(Exit::WaitChild.code()),
    }
}

/// Has the name converter answer until the child is gone, or the program is. The child finds out by the end of the way back.
fn answer_questions(mut program: Program, ours: &mut UnixStream) {
    while let Ok(question) = read_field(ours, &mut BUDGET.clone())
        && let Ok(answer) = program.answer(&question, ours)
        && write_field(ours, &answer).is_ok()
    {}
    let _ = ours.shutdown(std::net::Shutdown::Both);
}

pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    const CRASHED: u8 = 15;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(CRASHED)
}

/// The process that runs hooks for us.
#[derive(Debug)]
pub(crate) struct Superior(UnixStream);

impl Superior {
    /// Finds the way back to it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn reach() -> io::Result<Self> {
        let stderr = rustix::stdio::stderr();
        let way = rustix::io::dup(stderr.as_fd())?;
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(Self(UnixStream::from(way)))
    }

    /// Asks whether the client may have what it wants; if not, what it is told.
    ///
    /// # Errors
    /// Those of a connection to a process that is gone.
    pub(crate) fn permits(
        &mut self,
        request: &[u8],
        arguments: &[Vec<u8>],
    ) -> io::Result<Option<Vec<u8>>> {
        let count = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        write_field(&mut self.0, request)?;
        write_field(&mut self.0, &count.to_be_bytes())?;
        for argument in arguments {
            write_field(&mut self.0, argument)?;
        }
        let refuses = read_field(&mut self.0, &mut BUDGET.clone())?;
        let text = read_field(&mut self.0, &mut BUDGET.clone())?;
        Ok((refuses == [1]).then_some(text))
    }

    /// Asks the name converter, once the client may have what it wants.
    ///
    /// # Errors
    /// There is none, or it is gone.
    pub(crate) fn ask(&mut self, question: &[u8]) -> io::Result<Vec<u8>> {
        write_field(&mut self.0, question)?;
        read_field(&mut self.0, &mut BUDGET.clone())
    }
}

/// What one message may hold, in bytes: a client sends no more arguments than that.
const BUDGET: usize = 8 << 20;
/// What an argument costs beside its bytes.
const FIELD: usize = 32;

fn read_request(stream: &mut UnixStream) -> io::Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut budget = BUDGET;
    let request = read_field(stream, &mut budget)?;
    let count = read_field(stream, &mut budget)?;
    let count = <[u8; 4]>::try_from(&count[..]).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut arguments = Vec::new();
    for _ in 0..u32::from_be_bytes(count) {
        arguments.push(read_field(stream, &mut budget)?);
    }
    Ok((request, arguments))
}

/// Reads one field. The other process serves a stranger: it is not believed to be reasonable.
fn read_field(stream: &mut impl Read, budget: &mut usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    *budget = budget
        .checked_sub(length.saturating_add(FIELD))
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut field = vec![0; length];
    stream.read_exact(&mut field)?;
    Ok(field)
}

fn write_field(stream: &mut impl Write, field: &[u8]) -> io::Result<()> {
    let length = u32::try_from(field.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives() {
        let handover = Handover {
            transport: Transport::Socket,
            protocol: Protocol::LATEST,
            module: b"my mod:\xff".to_vec(),
            admitted: Admitted {
                user: b"joe".to_vec(),
                read_only: Some(false),
            },
            peer: Peer {
                address: IpAddr::from([192, 0, 2, 1]),
                name: "host.example".to_owned(),
            },
            pid: 42,
            heard: vec![0, 1, 2],
        };
        let env = Env::from([(VARIABLE, &*handover.to_text())]);
        assert_eq!(Handover::taken(&env), Some(handover));
        for nonsense in ["", "zz", "::::::::", "1:2"] {
            assert_eq!(Handover::taken(&Env::from([(VARIABLE, nonsense)])), None);
        }
    }

    #[test]
    fn requests_and_answers() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let asked = std::thread::spawn(move || {
            Superior(theirs).permits(b"m/a", &[b"rsyncd".to_vec(), b"--server".to_vec()])
        });
        let (request, arguments) = read_request(&mut ours).expect("a request");
        assert_eq!(request, b"m/a");
        assert_eq!(arguments, [b"rsyncd".to_vec(), b"--server".to_vec()]);
        write_field(&mut ours, &[1]).expect("heard");
        write_field(&mut ours, b"no").expect("heard");
        let answer = asked.join().expect("no panic").expect("an answer");
        assert_eq!(answer, Some(b"no".to_vec()));
    }

    #[test]
    fn an_unreasonable_request_is_refused_before_it_costs_anything() {
        let mut endless = io::Cursor::new([0xff; 64]);
        assert!(read_field(&mut endless, &mut BUDGET.clone()).is_err());
    }
}
