//! Our daemon with stock clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{DaemonBuilder, RsyncDaemon, Tree, require_rsync};

/// No answer takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// Our program.
pub(crate) fn program() -> PathBuf {
    testkit::example("rsync-daemon")
}

/// A daemon of ours, with the module `m` over `tree`.
pub(crate) fn daemon(tree: &Path) -> DaemonBuilder {
    RsyncDaemon::module("m", tree)
        .program(&program())
        .munge_symlinks(false)
}

/// A tree to serve and one to receive in.
pub(crate) fn trees() -> (TempDir, TempDir) {
    let tree = || tempfile::tempdir().expect("a directory");
    (tree(), tree())
}

/// Makes a small tree: an empty file and others, two levels of directories, a link.
pub(crate) fn fill(dir: &Path) {
    let tree = Tree::at(dir);
    tree.write("a", "one\n");
    tree.write("d/b", vec![7; 200_000]);
    tree.write("d/e/c", "");
    tree.symlink("l", "a");
}

/// Runs stock rsync.
pub(crate) fn rsync(arguments: &[&str]) -> Output {
    Command::new(require_rsync())
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .expect("rsync starts")
}

/// Standard error as text.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A client that says what it likes.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) fn connect(daemon: &RsyncDaemon) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", daemon.port())).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Self(BufReader::new(stream))
    }

    /// The greeting is exchanged.
    pub(crate) fn greeted(daemon: &RsyncDaemon) -> Self {
        let mut raw = Self::connect(daemon);
        assert!(raw.line().starts_with("@RSYNCD: 32.0 "));
        raw.say(b"@RSYNCD: 31.0\n");
        raw
    }

    /// Says it, unless the daemon has gone already.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).is_ok()
    }

    /// The next line; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) => String::from_utf8_lossy(&line).into_owned(),
            // What we have sent in vain comes back as this.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("the daemon says nothing: {error}"),
        }
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("the daemon says more");
        bytes
    }

    /// Whatever is said up to the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
                panic!("the daemon does not end: {error}")
            }
            _ => rest,
        }
    }
}
