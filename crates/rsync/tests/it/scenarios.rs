//! Scenarios: command lines that the installed rsync and ours get over equal trees. What they print, how they end and what
//! they leave behind must be the same.
//!
//! The files in `tests/scenarios` are tables as of [`testkit::scenario`]. Their only setting is `via: WAY...`, which says how the
//! commands run: `local` (the default); `push` and `pull`, through a remote shell that drops the host, with ours at each end
//! in turn; `dpush` and `dpull`, with the installed daemon.
//!
//! In command lines `{from}` and `{to}` are the directories of these names, seen from the client; `{url}` is
//! `rsync://127.0.0.1:PORT/` and `{port}` its port. The daemon's modules are in `rsyncd.conf`. Bytes on the wire, rates, times
//! of now and places in the program are put aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::said::{Said, normal, tree_lines};
use testkit::scenario::{self, Group};
use testkit::{Original, RsyncDaemon, Tree, script};

macro_rules! tables {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("../scenarios/", stringify!($name), ".txt")));
        })*
    };
}

tables! { words archive output selection deletion writing daemons handbook batches }

const DAEMON: &str = include_str!("../scenarios/rsyncd.conf");

/// Stands for a remote shell: drops a user and the host, and runs the rest here.
const SHELL: &str = "#!/bin/sh\n[ \"$1\" = -l ] && shift 2\nshift\nexec sh -c \"$*\"\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Local,
    Push,
    Pull,
    DaemonPush,
    DaemonPull,
}

impl Way {
    fn parse(word: &str) -> Self {
        match word {
            "local" => Self::Local,
            "push" => Self::Push,
            "pull" => Self::Pull,
            "dpush" => Self::DaemonPush,
            "dpull" => Self::DaemonPull,
            _ => panic!("no way: {word}"),
        }
    }

    /// Who is ours, besides nobody: the client, and at the other end of a remote shell the server.
    pub(crate) fn roles(self) -> &'static [(&'static str, bool, bool)] {
        match self {
            Self::Push | Self::Pull => &[
                ("ours is the client", true, false),
                ("ours is the server", false, true),
            ],
            Self::Local | Self::DaemonPush | Self::DaemonPull => &[("ours", true, false)],
        }
    }
}

/// A place with the daemon and the shell that all scenarios of a table share.
pub(crate) struct Bench {
    base: tempfile::TempDir,
    daemon: RsyncDaemon,
    pub(crate) theirs: PathBuf,
    pub(crate) ours: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let base = tempfile::tempdir().expect("a directory");
        script(base.path().join("shell"), SHELL);
        let top = Tree::at(base.path());
        top.write("secrets", "rsync_backup:syh\n");
        top.chmod("secrets", 0o600);
        build_share(base.path());
        let conf = DAEMON.replace("{base}", &base.path().display().to_string());
        let daemon = RsyncDaemon::module("w", base.path()).more(&conf).start();
        Self {
            base,
            daemon,
            theirs: Original::Rsync.require(),
            ours: example(),
        }
    }

    /// Runs a scenario in a place of its own, by two programs.
    pub(crate) fn run(
        &self,
        group: &Group,
        way: Way,
        line: &str,
        client: &Path,
        server: &Path,
    ) -> Said {
        let work = self.base.path().join("work");
        group.make(&work).age();
        let started = std::time::SystemTime::now() - std::time::Duration::from_secs(1);
        let mut said = Said::default();
        for step in line.split(" && ") {
            let ran = group.run(client, &self.arguments(way, step, server), &work);
            let names = [
                (&*work.display().to_string(), "@"),
                (&*server.display().to_string(), "SERVER"),
                (&*self.port(), "PORT"),
            ];
            said.add(&normal(&ran, &names));
        }
        said.tree = tree_lines(&work, started);
        fs::remove_dir_all(&work).expect("removed");
        said
    }

    fn arguments(&self, way: Way, step: &str, server: &Path) -> String {
        let (shell, url) = (
            self.base.path().join("shell"),
            format!("rsync://127.0.0.1:{}/", self.port()),
        );
        let (from, to) = match way {
            Way::Local => ("from".to_owned(), "to".to_owned()),
            Way::Push => ("from".to_owned(), "host:to".to_owned()),
            Way::Pull => ("host:from".to_owned(), "to".to_owned()),
            Way::DaemonPush => ("from".to_owned(), format!("{url}w/work/to")),
            Way::DaemonPull => (format!("{url}w/work/from"), "to".to_owned()),
        };
        let over = match way {
            Way::Push | Way::Pull => {
                format!("-e {} --rsync-path={} ", shell.display(), server.display())
            }
            _ => String::new(),
        };
        let step = step
            .replace("{from}", &from)
            .replace("{to}", &to)
            .replace("{url}", &url)
            .replace(
                "{shell}",
                &format!("-e {} --rsync-path={}", shell.display(), server.display()),
            )
            .replace("{port}", &self.port());
        over + &step
    }

    fn port(&self) -> String {
        self.daemon.port().to_string()
    }
}

/// What the daemon's read-only modules hold.
fn build_share(base: &Path) {
    let spec = "f hosts 158\nf a/1 3\nf b/1 3\nf b/2 3\nf c 3";
    Tree::build(base.join("share"), spec).age();
}

fn run(table: &str, text: &str) {
    let bench = Bench::new();
    scenario::assert_equal(table, text, &["via"], |group, line| {
        let via = group.setting("via").last().unwrap_or("local");
        via.split(' ')
            .map(|way| difference(&bench, group, Way::parse(way), line))
            .collect()
    });
}

/// What differs in a scenario, for a person; empty if nothing does.
fn difference(bench: &Bench, group: &Group, way: Way, line: &str) -> String {
    let expected = bench.run(group, way, line, &bench.theirs, &bench.theirs);
    let mut differing = String::new();
    for (role, is_client, is_server) in way.roles() {
        let program = |is_ours: &bool| if *is_ours { &bench.ours } else { &bench.theirs };
        let found = bench.run(group, way, line, program(is_client), program(is_server));
        // Two processes share standard error and the clock: what the installed program itself says another time is no fault.
        if found != expected && found != bench.run(group, way, line, &bench.theirs, &bench.theirs) {
            differing += &format!(
                "[{}] {way:?}, {role}\n$ rsync {line}\n{}",
                group.title,
                expected.difference(&found)
            );
        }
    }
    differing
}

#[test]
fn both_programs_have_the_same_help() {
    let options = |program: &Path, line: &str| -> Vec<String> {
        let ran = Command::new(program)
            .args(line.split(' '))
            .output()
            .expect("rsync");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let is_option = |line: &&str| {
            line.starts_with("  ") || line.starts_with('-') || line.starts_with("Usage")
        };
        text.lines()
            .skip_while(|line| !line.starts_with("Usage"))
            .filter(is_option)
            .map(str::to_owned)
            .collect()
    };
    for line in ["--help", "--daemon --help"] {
        let theirs = options(&Original::Rsync.require(), line);
        assert!(theirs.len() > 10, "{line}: {theirs:?}");
        let mut ours = options(&example(), line);
        // Options of our own stand among them.
        ours.retain(|line| !line.starts_with("--check-config ") && !line.starts_with("--tls-"));
        assert_eq!(ours, theirs);
    }
}

#[test]
fn rules_too_long_to_be_any_are_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    Tree::at(dir.path().join("from")).write("file", "content");
    fs::write(
        dir.path().join("rules"),
        format!("- {}\n", "x".repeat(5000)),
    )
    .unwrap();
    let ran = |program: &Path, to: &str| {
        let pattern = format!("--exclude={}", "y".repeat(5000));
        let ran = Command::new(program)
            .args(["-a", "--filter=merge rules", &pattern, "from/", to])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(dir.path().join(to).join("file").exists());
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let theirs = ran(&Original::Rsync.require(), "theirs/");
    assert_eq!(theirs.1.matches("over-long").count(), 2, "{}", theirs.1);
    assert_eq!(ran(&example(), "ours/"), theirs);
}

/// Our program.
pub(crate) fn example() -> PathBuf {
    testkit::example("rsync")
}
