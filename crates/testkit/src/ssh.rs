//! A private sshd that a test can kill and start again.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;

use crate::original::Original;
use crate::port::ReservedPort;
use crate::process::{self, Group, Signal, listens_on_loopback};
use crate::{eventually, is_root};

/// How long the server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A real OpenSSH server on a port of 127.0.0.1, which lets only the user who runs the test in, by a key made for it.
///
/// Nothing of the machine's own configuration or known hosts is read or written.
#[derive(Debug)]
pub struct SshServer {
    /// Keys, configuration and log.
    work: TempDir,
    port: ReservedPort,
    listener: Option<Child>,
}

impl SshServer {
    /// Makes keys, starts the server and waits until it listens.
    ///
    /// # Panics
    ///
    /// When sshd is not installed or does not start, with what it said.
    #[track_caller]
    pub fn start() -> Self {
        let work = tempfile::tempdir().expect("a temporary directory can be made");
        let mut server = Self {
            work,
            port: ReservedPort::find(),
            listener: None,
        };
        make_key(&server.path("host_key"));
        make_key(&server.path("user_key"));
        let public = |name: &str| fs::read_to_string(server.path(name)).expect("a key was made");
        let known = format!(
            "[127.0.0.1]:{} {}",
            server.port.number,
            public("host_key.pub")
        );
        server.write("known_hosts", &known);
        server.write("authorized_keys", &public("user_key.pub"));
        server.write(
            "config",
            &format!(
                "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel INFO\nMaxStartups 200\n\
                 # The directory above the keys is for everybody's temporary files.\nStrictModes no\n\
                 # The user's shell reads no file of the user's, who may start anything there.\nSetEnv HOME={}\n",
                server.port.number,
                server.path("host_key").display(),
                server.path("authorized_keys").display(),
                server.work.path().display(),
            ),
        );
        server.spawn();
        server
    }

    /// The command that leads to it, to be followed by [`Self::HOST`] and what is to be run there.
    pub fn command(&self) -> Vec<String> {
        let mut words: Vec<String> = ["ssh", "-F", "none", "-i"].map(String::from).into();
        words.push(self.path("user_key").display().to_string());
        words.extend(["-p".to_owned(), self.port.number.to_string()]);
        let known = format!("UserKnownHostsFile={}", self.path("known_hosts").display());
        for option in [
            known.as_str(),
            "GlobalKnownHostsFile=none",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
        ] {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        words
    }

    /// Where it is to be found.
    pub const HOST: &'static str = "127.0.0.1";

    /// Kills the listener and everything it has let in (SIGKILL). It can be started again.
    pub fn kill(&mut self) {
        let Some(mut listener) = self.listener.take() else {
            return;
        };
        let leader = Group::of(listener.id()).leader();
        let sessions = process::descendants(leader);
        process::signal(leader, Signal::KILL);
        sessions.into_iter().for_each(kill);
        // It is an own child, which nobody else waits for.
        let _ = listener.wait();
    }

    /// Kills everything it has let in (SIGKILL); the listener stays. Returns how many processes that were.
    pub fn kill_sessions(&self) -> usize {
        let Some(listener) = &self.listener else {
            return 0;
        };
        let sessions = process::descendants(Group::of(listener.id()).leader());
        let count = sessions.len();
        sessions.into_iter().for_each(kill);
        count
    }

    /// How often it has let somebody in.
    pub fn logins(&self) -> usize {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.matches("Accepted publickey").count()
    }

    /// Whether somebody is in.
    pub fn is_in_use(&self) -> bool {
        self.listener.as_ref().is_some_and(|listener| {
            !process::descendants(Group::of(listener.id()).leader()).is_empty()
        })
    }

    /// Starts it again on the same port, after ending what still runs of it.
    ///
    /// # Panics
    ///
    /// When it does not come up, with what it said.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    #[track_caller]
    fn spawn(&mut self) {
        if is_root() {
            // Where the package's service makes it at each boot (sshd(8), FILES).
            let made = DirBuilder::new()
                .mode(0o755)
                .recursive(true)
                .create("/run/sshd");
            made.expect("root can make a directory in /run");
        }
        let log = self.path("log");
        let said = File::options().create(true).append(true).open(&log);
        let child = Command::new(Original::Sshd.require())
            .args(["-D", "-e", "-f"])
            .arg(self.path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.expect("the work directory is writable"))
            .process_group(0)
            .spawn()
            .expect("sshd can be started");
        let leader = Group::of(child.id()).leader();
        let child = self.listener.insert(child);
        eventually(PATIENCE, || match child.try_wait() {
            Ok(None) if listens_on_loopback(leader, self.port.number) => Ok(()),
            state => Err(format!(
                "sshd does not listen ({state:?}): {}",
                fs::read_to_string(&log).unwrap_or_default()
            )),
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the work directory is writable");
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill(pid: Pid) {
    process::signal(pid, Signal::KILL);
}

/// Makes a key pair: `path` and `path.pub`.
fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "driftless-test",
            "-f",
        ])
        .arg(path)
        .stdin(Stdio::null())
        .status();
    assert!(
        made.expect("ssh-keygen comes with ssh").success(),
        "no key at {}",
        path.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(server: &SshServer, command: &str) -> std::process::Output {
        let words = server.command();
        let mut ssh = Command::new(&words[0]);
        ssh.args(&words[1..]).arg(SshServer::HOST).arg(command);
        ssh.stdin(Stdio::null()).output().unwrap()
    }

    #[test]
    fn lets_us_in_is_gone_when_killed_and_comes_back() {
        let mut server = SshServer::start();
        let output = run(&server, "echo here");
        assert_eq!(output.stdout, b"here\n", "{output:?}");
        assert_eq!(server.logins(), 1);
        server.kill();
        assert!(!run(&server, "true").status.success());
        server.restart();
        assert_eq!(run(&server, "echo again").stdout, b"again\n");
    }

    #[test]
    fn killed_sessions_leave_the_listener() {
        let server = SshServer::start();
        let words = server.command();
        let mut sleeper = Command::new(&words[0])
            .args(&words[1..])
            .args([SshServer::HOST, "sleep 600"])
            .spawn()
            .unwrap();
        let listener = Group::of(server.listener.as_ref().unwrap().id());
        eventually(PATIENCE, || {
            let mut below = process::descendants(listener.leader()).into_iter();
            let sleeps = below.any(|pid| process::name(pid) == "sleep");
            if sleeps {
                Ok(())
            } else {
                Err("no session yet")
            }
        });
        assert!(server.kill_sessions() > 0);
        assert!(!sleeper.wait().unwrap().success());
        assert_eq!(run(&server, "echo here").stdout, b"here\n");
    }
}
