//! A stock rsync daemon that a test can kill, stop and start again.

mod builder;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;

pub use self::builder::DaemonBuilder;
use crate::eventually;
use crate::port::ReservedPort;
use crate::process::{self, Group, Signal, listens_on_loopback};

/// How long a daemon may take to start or to end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A real rsync daemon with one module, on a port of 127.0.0.1 that is its own until it is dropped.
#[derive(Debug)]
pub struct RsyncDaemon {
    program: PathBuf,
    arguments: Vec<String>,
    module: String,
    user: Option<String>,
    /// Configuration, secrets, log and lock file.
    work: TempDir,
    port: ReservedPort,
    tls_port: Option<ReservedPort>,
    listener: Option<Child>,
    /// Kept after a kill, for workers that are slow to go.
    group: Option<Group>,
}

impl RsyncDaemon {
    /// Describes a daemon with the module `name` at `path`, writable by all, run by the current user.
    pub fn module(name: &str, path: &Path) -> DaemonBuilder {
        DaemonBuilder::new(name, path)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Its TCP port for TLS.
    ///
    /// # Panics
    ///
    /// When it was not told to speak TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.as_ref().expect("built with tls").number
    }

    /// The file with its certificate, in PEM.
    pub fn certificate_file(&self) -> PathBuf {
        self.work.path().join("certificate")
    }

    /// The module, or `path` below it, as a destination: `rsync://[USER@]127.0.0.1:PORT/MODULE[/PATH]`.
    pub fn url(&self, path: &str) -> String {
        let mut url = String::from("rsync://");
        if let Some(user) = &self.user {
            url.push_str(user);
            url.push('@');
        }
        write!(url, "127.0.0.1:{}/{}", self.port(), self.module)
            .expect("a string takes everything");
        if !path.is_empty() {
            url.push('/');
            url.push_str(path);
        }
        url
    }

    /// A file with the password of the first user, only readable by its owner.
    pub fn password_file(&self) -> PathBuf {
        self.work.path().join("password")
    }

    /// Everything it has logged so far, over all restarts.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// What it and its workers have said on standard error since it was started last.
    pub fn said(&self) -> String {
        let said = fs::read(self.work.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Ends it in order: SIGTERM to listener and workers. It can be restarted.
    pub fn stop(&mut self) {
        if let Some(group) = self.group {
            group.signal(Signal::TERM);
            // A stopped worker takes the signal only once it goes on.
            group.signal(Signal::CONT);
            self.wait_gone();
        }
    }

    /// Kills listener and workers at once (SIGKILL), as a power cut would. It can be restarted.
    pub fn kill(&mut self) {
        if let Some(group) = self.group {
            group.signal(Signal::KILL);
            self.wait_gone();
        }
    }

    /// Takes a parameter of the module away, from the next connection on: stock daemons read their configuration for each.
    pub fn unset(&self, parameter: &str) {
        let file = self.work.path().join("rsyncd.conf");
        let text = fs::read_to_string(&file).expect("the builder has written it");
        let is_other = |line: &&str| !line.trim_start().starts_with(parameter);
        let rest: Vec<&str> = text.lines().filter(is_other).collect();
        fs::write(&file, rest.join("\n") + "\n").expect("the work directory is writable");
    }

    /// Starts it again on the same port, after ending what still runs of it.
    ///
    /// # Panics
    ///
    /// When it does not come up, with what it said.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        if let Err(reason) = self.spawn() {
            panic!(
                "the rsync daemon does not come back: {reason}\n{}",
                self.log()
            );
        }
    }

    /// The processes that serve connections; a receiver with its generator is two.
    pub fn workers(&self) -> Vec<Pid> {
        self.group.map_or_else(Vec::new, |group| {
            let mut members = group.members();
            members.retain(|&pid| pid != group.leader());
            members
        })
    }

    /// Kills the processes that serve connections (SIGKILL); the listener stays. Returns how many.
    pub fn kill_workers(&self) -> usize {
        self.signal_workers(Signal::KILL)
    }

    /// Stops them (SIGSTOP): nothing closes, nothing answers. Returns how many.
    pub fn stop_workers(&self) -> usize {
        self.signal_workers(Signal::STOP)
    }

    /// Lets stopped ones go on (SIGCONT). Returns how many.
    pub fn continue_workers(&self) -> usize {
        self.signal_workers(Signal::CONT)
    }

    fn signal_workers(&self, signal: Signal) -> usize {
        let workers = self.workers();
        for &worker in &workers {
            process::signal(worker, signal);
        }
        workers.len()
    }

    fn log_file(&self) -> PathBuf {
        self.work.path().join("log")
    }

    /// Starts the listener and waits until it listens.
    fn spawn(&mut self) -> Result<(), String> {
        let said = self.work.path().join("stderr");
        let capture = |path| File::create(path).expect("the work directory is writable");
        let child = Command::new(&self.program)
            .arg("--daemon")
            .arg("--no-detach")
            .arg(format!(
                "--config={}",
                self.work.path().join("rsyncd.conf").display()
            ))
            .arg(format!("--port={}", self.port.number))
            .arg("--address=127.0.0.1")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(capture(&said))
            // Its own temporary names and messages, not those of the user who runs the test.
            .env("LC_ALL", "C")
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        let group = Group::of(child.id());
        self.group = Some(group);
        let child = self.listener.insert(child);
        let ended = eventually(PATIENCE, || {
            if listens_on_loopback(group.leader(), self.port.number) {
                return Ok(None);
            }
            match child.try_wait() {
                Ok(None) => Err("the rsync daemon does not listen"),
                Ok(Some(status)) => Ok(Some(status)),
                Err(_) => Err("the rsync daemon cannot be waited for"),
            }
        });
        ended.map_or(Ok(()), |status| {
            Err(format!(
                "{status}: {}",
                fs::read_to_string(said).unwrap_or_default()
            ))
        })
    }

    /// Reaps the listener and waits until no worker is left, so that the next thing a test looks at
    /// is not still being written.
    fn wait_gone(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        if let Some(listener) = &mut self.listener {
            eventually(PATIENCE, || match listener.try_wait() {
                Ok(Some(_)) => Ok(()),
                _ => Err("the rsync daemon does not end"),
            });
        }
        self.listener = None;
        eventually(PATIENCE, || match group.members().as_slice() {
            [] => Ok(()),
            left => Err(format!("workers of the rsync daemon do not end: {left:?}")),
        });
    }
}

impl Drop for RsyncDaemon {
    fn drop(&mut self) {
        if !thread::panicking() {
            return self.kill();
        }
        // Without waiting, which may panic: a second panic while one unwinds aborts all tests.
        if let Some(group) = self.group {
            group.signal(Signal::KILL);
        }
        if let Some(listener) = &mut self.listener {
            let _ = listener.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::builder::write_private;
    use super::*;
    use crate::require_rsync;
    use std::io::{BufRead, BufReader};
    use std::net::TcpStream;

    fn start() -> (TempDir, RsyncDaemon) {
        let directory = tempfile::tempdir().unwrap();
        let daemon = RsyncDaemon::module("backup", directory.path()).start();
        (directory, daemon)
    }

    /// A connection that a worker has greeted, and the greeting.
    fn connect(daemon: &RsyncDaemon) -> (BufReader<TcpStream>, String) {
        let stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).unwrap();
        (stream, greeting)
    }

    #[test]
    fn serves_a_push_with_a_password() {
        let directory = tempfile::tempdir().unwrap();
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("file"), "content").unwrap();
        let daemon = RsyncDaemon::module("backup", directory.path())
            .auth_user("rsync_backup", "secret")
            .start();
        let push = |password: Option<PathBuf>| {
            let mut command = Command::new(require_rsync());
            command
                .arg("-a")
                .env_remove("RSYNC_PASSWORD")
                .stdin(Stdio::null());
            command.args(password.map(|file| format!("--password-file={}", file.display())));
            command
                .arg(format!("{}/", source.path().display()))
                .arg(daemon.url("sub/"));
            command.output().unwrap()
        };
        let wrong = daemon.work.path().join("wrong");
        write_private(&wrong, "guess\n");
        assert!(!push(Some(wrong)).status.success());
        let output = push(Some(daemon.password_file()));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            fs::read(directory.path().join("sub/file")).unwrap(),
            b"content"
        );
        assert!(
            daemon.log().contains("rsync to backup/sub"),
            "{}",
            daemon.log()
        );
    }

    #[test]
    fn starting_leaves_no_connection_behind() {
        let (_directory, daemon) = start();
        assert!(daemon.workers().is_empty());
        assert!(!daemon.log().contains("connect from"), "{}", daemon.log());
    }

    #[test]
    fn killed_with_its_workers_and_back_on_the_same_port() {
        let (_directory, mut daemon) = start();
        let port = daemon.port();
        let (mut stream, greeting) = connect(&daemon);
        assert!(greeting.starts_with("@RSYNCD: "), "{greeting:?}");
        assert_eq!(daemon.workers().len(), 1);
        daemon.kill();
        assert!(daemon.workers().is_empty());
        let mut rest = String::new();
        assert_eq!(stream.read_line(&mut rest).unwrap_or(0), 0, "{rest:?}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        daemon.restart();
        assert_eq!(daemon.port(), port);
        assert_eq!(connect(&daemon).1, greeting);
    }

    #[test]
    fn killed_workers_leave_the_listener() {
        let (_directory, daemon) = start();
        let _first = connect(&daemon);
        assert_eq!(daemon.kill_workers(), 1);
        eventually(PATIENCE, || match daemon.workers().len() {
            0 => Ok(()),
            left => Err(format!("{left} workers left")),
        });
        assert!(connect(&daemon).1.starts_with("@RSYNCD: "));
    }

    #[test]
    fn stopped_workers_are_silent_until_they_go_on_and_do_not_block_the_end() {
        let (_directory, mut daemon) = start();
        let (mut stream, greeting) = connect(&daemon);
        assert_eq!(daemon.stop_workers(), 1);
        // The greeting back and an empty line ask for the list of modules.
        std::io::Write::write_all(stream.get_mut(), format!("{greeting}\n").as_bytes()).unwrap();
        let short = Duration::from_millis(100);
        stream.get_mut().set_read_timeout(Some(short)).unwrap();
        let mut line = String::new();
        assert!(
            stream.read_line(&mut line).is_err(),
            "a stopped worker said {line:?}"
        );
        assert_eq!(daemon.continue_workers(), 1);
        stream.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("backup"), "{line:?}");

        let _second = connect(&daemon);
        assert!(daemon.stop_workers() > 0);
        daemon.stop();
        assert!(TcpStream::connect(("127.0.0.1", daemon.port())).is_err());
    }

    #[test]
    fn drop_leaves_no_process() {
        let (_directory, daemon) = start();
        let _stream = connect(&daemon);
        let group = daemon.group.unwrap();
        assert_eq!(group.members().len(), 2);
        drop(daemon);
        eventually(PATIENCE, || match group.members().as_slice() {
            [] => Ok(()),
            left => Err(format!("still there: {left:?}")),
        });
    }

    #[test]
    fn parameters_reach_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let daemon = RsyncDaemon::module("backup", directory.path())
            .read_only()
            .start();
        let output = Command::new(require_rsync())
            .args(["-a", "/etc/hostname", &daemon.url("")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("module is read only"), "{said}");
    }

    #[test]
    #[should_panic(expected = "does not start")]
    fn a_daemon_that_does_not_start_says_so() {
        let directory = tempfile::tempdir().unwrap();
        RsyncDaemon::module("backup", directory.path())
            .program(Path::new("/bin/false"))
            .start();
    }
}
