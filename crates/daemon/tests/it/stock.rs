//! A stock daemon for one connection, over its standard input and output.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory for a configuration and what it names. `@` in a text stands for its path.
pub(crate) struct Place(TempDir);

/// What a daemon has said to a client, and to its log without times.
pub(crate) struct Said {
    pub(crate) client: Vec<String>,
    pub(crate) log: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path().join(name);
        fs::create_dir_all(file.parent().expect("in the directory")).expect("made");
        fs::write(&file, self.here(text)).expect("written");
        file
    }

    /// The text with the path of the directory.
    pub(crate) fn here(&self, text: &str) -> String {
        text.replace('@', self.path().to_str().expect("UTF-8"))
    }

    /// Lets a stock daemon serve a client that says these lines, from an address.
    pub(crate) fn serve(&self, config: &str, address: &str, client: &[u8]) -> Said {
        self.serve_by(&testkit::require_rsync(), config, address, client)
    }

    /// The same by another program.
    pub(crate) fn serve_by(
        &self,
        program: &Path,
        config: &str,
        address: &str,
        client: &[u8],
    ) -> Said {
        let file = self.write("stock.conf", &format!("log file=@/log\n{config}"));
        let _ = fs::remove_file(self.path().join("log"));
        let mut daemon = Command::new(program)
            .args(["--server", "--daemon"])
            .arg(format!("--config={}", file.display()))
            .arg(".")
            .env("LC_ALL", "C")
            .env("REMOTE_HOST", address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the installed rsync runs");
        let mut input = daemon.stdin.take().expect("a pipe");
        // A daemon that refuses early reads nothing.
        let _ = input.write_all(client);
        drop(input);
        let output = daemon.wait_with_output().expect("it ends");
        let log = fs::read(self.path().join("log")).unwrap_or_default();
        let without_time = |line: String| match line.split_once("] ") {
            Some((_, text)) => text.to_owned(),
            None => line,
        };
        Said {
            client: lines(&output.stdout),
            log: lines(&log).into_iter().map(without_time).collect(),
            errors: lines(&output.stderr),
        }
    }
}

fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::to_owned).collect()
}
