//! The process that waits for connections and gives each one a process of its own.
//!
//! It has one thread, so a fork of it is a whole process, which leaves the loop of the listener with its connection and
//! closes all else on the way. It reads the configuration itself and finds the connection as standard input, as if inetd
//! had started it: nothing that it does can touch the listener. Forks share what the start of a program costs, in time and
//! in memory. A listener that has read the key of a certificate forks nobody, lest traces of the key are in a worker's
//! memory: its processes start anew.

mod pid_file;
pub(crate) mod signals;
mod socket;

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use fork::{Fork, fork};
use rsync::{Exit, strerror};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitOptions;

use crate::config::Config;
use crate::journal::Journal;
use crate::sandbox;
use crate::start::{Setup, complain};
use crate::terminator;
use crate::worker::{self, Transport};
use pid_file::PidFile;
use signals::{Signal, Signals};
use socket::{Door, Wanted};

/// Set for a process that a daemon has started to take its place in the background.
const DETACHED: &str = "DRIFTLESS_DETACHED";

/// Listens until it is told to stop; the exit code. So does each process for a connection that comes out of it.
pub(crate) fn run(setup: &mut Setup) -> u8 {
    let is_child = setup.env.remove(DETACHED);
    let config = match setup.globals() {
        Ok(config) => config,
        Err(failure) => {
            let mut lines = failure.log_lines("client");
            lines.push(format!(
                "Failed to parse config file: {}",
                setup.config_file().display()
            ));
            return complain(&lines.join("\n"), 1);
        }
    };
    if let Err(text) = terminator::server(setup, &config.globals) {
        return complain(&format!("rsync: {text}"), Exit::Unsupported.code());
    }
    let detaches = setup.given.detach != Some(false);
    if detaches && !is_child {
        return detach(setup);
    }
    if is_child {
        // It leads nothing yet, so this cannot fail; if it did, it would only keep the terminal.
        let _ = rustix::process::setsid();
    }
    let journal = setup.journal(&config);
    for problem in &config.problems {
        for line in problem.fault.log_lines("Receiver") {
            journal.warn(&line);
        }
    }
    let pid_file = match config.globals.pid_file.path(&setup.env) {
        None => None,
        Some(path) => match PidFile::write(&path) {
            Ok(file) => Some(file),
            Err(text) => {
                journal.warn(&text);
                return complain(&text, Exit::FileIo.code());
            }
        },
    };
    let end = listen(setup, config, journal, is_child);
    drop(pid_file);
    match end {
        End::Stopped(code) => code,
        End::Forked(connection) => serve(setup, &connection),
    }
}

/// How listening ends.
enum End {
    /// With an exit code.
    Stopped(u8),
    /// In a new process, which has this connection to serve.
    Forked(OwnedFd),
}

/// Serves a client in a process that has come out of the listener.
fn serve(setup: &Setup, connection: &OwnedFd) -> u8 {
    signals::let_through();
    if rustix::stdio::dup2_stdin(connection).is_err() {
        return Exit::Ipc.code();
    }
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    worker::serve(setup, Transport::Socket)
}

/// Starts this program again in the background. Its parent waits until it listens, or has given up.
fn detach(setup: &Setup) -> u8 {
    let mut command = setup.anew();
    command
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    match command.spawn() {
        Ok(mut child) => {
            if let Some(mut ready) = child.stdout.take() {
                let _ = ready.read(&mut [0]);
            }
            0
        }
        Err(cause) => complain(
            &format!("rsync: fork failed: {}", strerror(&cause)),
            Exit::Ipc.code(),
        ),
    }
}

fn listen(setup: &Setup, config: Config, journal: Journal, is_child: bool) -> End {
    let wanted = Wanted::new(setup, &config.globals);
    let doors = match wanted.inherited() {
        inherited if !inherited.is_empty() => inherited,
        _ => match wanted.open(&journal) {
            Ok(doors) => doors,
            Err(text) => {
                journal.warn(&text);
                return End::Stopped(complain(&text, Exit::SocketIo.code()));
            }
        },
    };
    if config.globals.proxy_protocol && config.globals.proxy_protocol_hosts.is_empty() {
        journal.warn(
            "\"proxy protocol = true\" but \"proxy protocol hosts\" is unset: all connections will be rejected as \
             untrusted proxy peers.  Set \"proxy protocol hosts\" to your trusted proxy's address.",
        );
    }
    if config.defaults.sandbox && !sandbox::is_available() {
        journal.note("this kernel has no Landlock of version 2 or later: modules are served without a sandbox");
    }
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(cause) => {
            let text = format!("rsync: {}", strerror(&cause));
            return End::Stopped(complain(&text, Exit::Ipc.code()));
        }
    };
    journal.note(&format!(
        "rsyncd version {} starting, listening on port {}",
        rsync::VERSION,
        wanted.port()
    ));
    if let Some(port) = wanted.tls_port() {
        journal.note(&format!("listening for TLS on port {port}"));
    }
    if is_child {
        leave_terminal();
    }
    Listener {
        setup,
        config,
        journal,
        wanted,
        doors,
        signals,
    }
    .serve()
}

/// The standard streams lead nowhere from now on; whoever waits for us sees the end of one.
fn leave_terminal() {
    let Ok(null) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    else {
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}

struct Listener<'a> {
    setup: &'a Setup,
    config: Config,
    journal: Journal,
    wanted: Wanted,
    doors: Vec<Door>,
    signals: Signals,
}

impl Listener<'_> {
    fn serve(mut self) -> End {
        loop {
            let ready = self.wait();
            if let Some(code) = self.heed_signals() {
                return End::Stopped(code);
            }
            for at in ready {
                if let Some(door) = self.doors.get(at)
                    && let Some(connection) = self.accept(door)
                {
                    return End::Forked(connection);
                }
            }
        }
    }

    /// Waits for connections or a signal. Returns which sockets have connections.
    fn wait(&self) -> Vec<usize> {
        let mut polled: Vec<PollFd<'_>> = self
            .doors
            .iter()
            .map(|door| door.socket.as_fd())
            .chain([self.signals.as_fd()])
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        if poll(&mut polled, None).is_err() {
            return Vec::new();
        }
        let is_ready = |(at, fd): (usize, &PollFd<'_>)| (!fd.revents().is_empty()).then_some(at);
        polled[..self.doors.len()]
            .iter()
            .enumerate()
            .filter_map(is_ready)
            .collect()
    }

    /// Gives a connection its process. That process is told so, by the connection.
    fn accept(&self, door: &Door) -> Option<OwnedFd> {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let connection = match rustix::net::accept_with(&door.socket, flags) {
            Ok(connection) => connection,
            // The client has gone again, or somebody else serves it.
            Err(errno) if is_passing(errno) => return None,
            Err(errno) => {
                let cause = strerror(&errno.into());
                self.journal.warn(&format!("accept() failed: {cause}"));
                self.pause();
                return None;
            }
        };
        self.wanted.set_options(&connection, &self.journal);
        // The child is not waited for here but when its signal comes.
        let started = if self.wanted.tls_port().is_some() {
            self.start_anew(connection, door.is_tls)
        } else {
            match fork() {
                Ok(Fork::Child) => return Some(connection),
                Ok(Fork::Parent(_)) => Ok(()),
                Err(cause) => Err(cause),
            }
        };
        if let Err(cause) = started {
            let cause = strerror(&cause);
            self.journal
                .warn(&format!("could not create child server process: {cause}"));
            self.pause();
        }
        None
    }

    fn start_anew(&self, connection: OwnedFd, is_tls: bool) -> io::Result<()> {
        let mut command = self.setup.anew();
        command.stdin(Stdio::from(connection)).env_remove(DETACHED);
        if is_tls {
            command.env(terminator::VARIABLE, "1");
        }
        command.spawn().map(drop)
    }

    /// What is missing now may be there again soon. Signals are not kept waiting.
    fn pause(&self) {
        let mut polled = [PollFd::new(&self.signals, PollFlags::IN)];
        let pause = Timespec::try_from(Duration::from_secs(1)).ok();
        let _ = poll(&mut polled, pause.as_ref());
    }

    /// Does what signals ask for; the exit code, if they ask for the end.
    fn heed_signals(&mut self) -> Option<u8> {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::Child => {
                    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
                }
                Signal::Reload => self.reload(),
                Signal::Interrupt => {
                    let exit = Exit::Interrupted;
                    self.journal.warn(&rsync::last_line(exit, "Receiver"));
                    return Some(exit.code());
                }
                Signal::Stop => {
                    self.journal
                        .note("sent 0 bytes  received 0 bytes  total size 0");
                    return Some(0);
                }
            }
        }
        None
    }

    /// Takes up a changed configuration. Processes read it anew in any case: this concerns log and sockets.
    fn reload(&mut self) {
        let config = match self.setup.globals() {
            Ok(config) => config,
            Err(failure) => {
                for line in failure.log_lines("Receiver") {
                    self.journal.warn(&line);
                }
                return self
                    .journal
                    .warn("the configuration before it stays in force");
            }
        };
        self.journal = self.setup.journal(&config);
        if let Err(text) = terminator::server(self.setup, &config.globals) {
            self.journal.warn(&text);
        }
        let wanted = Wanted::new(self.setup, &config.globals);
        if wanted != self.wanted {
            match wanted.open(&self.journal) {
                Ok(doors) => {
                    self.doors = doors;
                    self.wanted = wanted;
                }
                Err(text) => self.journal.warn(&text),
            }
        }
        self.config = config;
        self.journal.note(&format!(
            "configuration read again, listening on port {}",
            self.wanted.port()
        ));
    }
}

/// What an accept may answer although nothing is wrong with us.
fn is_passing(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(
        errno,
        Errno::AGAIN | Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::NETDOWN
    )
}
