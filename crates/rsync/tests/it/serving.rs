//! Our server for the installed client, beside the installed server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{Original, script};

use crate::scenarios::example;

/// Stands for a remote shell: forgets the host and runs the rest here.
const SHELL: &str = "#!/bin/sh\nshift\nexec \"$@\"\n";

/// A directory with what is served, and the shell that leads to it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["m1/sub", "m2/sub", "to1", "to2"] {
            fs::create_dir_all(dir.path().join(name)).expect(name);
        }
        for name in ["m1/sub/f1", "m2/sub/f2", "m2/sub/g", "{a,b}"] {
            fs::write(dir.path().join(name), name).expect(name);
        }
        script(dir.path().join("shell"), SHELL);
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The installed client, which starts `server`.
    fn run(&self, server: &Path, words: &[&str]) -> Output {
        Command::new(Original::Rsync.require())
            .arg("-e")
            .arg(self.path("shell"))
            .arg(format!("--rsync-path={}", server.display()))
            .args(words)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RSYNC_RSH")
            .output()
            .expect("rsync")
    }
}

#[test]
fn secluded_sources_are_expanded() {
    let place = Place::new();
    let names = |server: &Path, word: &str| -> Vec<String> {
        let output = place.run(server, &["-s", "--list-only", word]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    for (word, expected) in [
        ("h:m*/sub/f?", &["f1", "f2"][..]),
        ("h:m[2]/s*/*", &["f2", "g"]),
        ("h:{a,b}", &["{a,b}"]),
        ("h:none*", &[]),
    ] {
        assert_eq!(names(&Original::Rsync.require(), word), expected, "{word}");
        assert_eq!(names(&example(), word), expected, "{word}");
    }
}

#[test]
fn a_secluded_destination_is_the_first_match() {
    let place = Place::new();
    let output = place.run(&example(), &["-s", "m1/sub/f1", "h:to*"]);
    assert!(output.status.success(), "{output:?}");
    let is_there = ["to1/f1", "to2/f1"].map(|name| place.path(name).exists());
    assert!(is_there[0] != is_there[1], "{is_there:?}");
}

/// So a real shell does it, and clients before 3.2.4 (now `--old-args`) leave the quoting to the user.
#[test]
fn a_destination_that_the_shell_has_split_is_its_first_word() {
    let place = Place::new();
    fs::write(place.path("shell"), "#!/bin/sh\nshift\nexec sh -c \"$*\"\n").expect("the shell");
    for (server, to) in [(Original::Rsync.require(), "to1"), (example(), "to2")] {
        let destination = format!("h:{to}/new other words");
        let output = place.run(&server, &["--old-args", "-r", "m1/", &destination]);
        assert!(output.status.success(), "{output:?}");
        let new = place.path(to).join("new");
        assert!(new.join("sub/f1").is_file(), "{server:?}");
    }
}

#[test]
fn a_server_writes_a_log_file() {
    let place = Place::new();
    let log = place.path("log");
    let option = format!("-M--log-file={}", log.display());
    let output = place.run(&example(), &["-r", &option, "m1", "h:to1"]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(log).expect("a log");
    assert!(text.contains("] receiving file list\n"), "{text}");
    assert!(text.contains("] >f+++++++++ m1/"), "{text}");
}
