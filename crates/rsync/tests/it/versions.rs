//! Round trips with the rsyncs of two Debian releases: push and pull through a remote shell at either end, push and pull with
//! a daemon. The first copy brings whole files, the second one the differences.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Aspects, Original, RsyncDaemon, Times, Tree, compare, script, skip};

use crate::scenarios::example;

const SHELL: &str = "#!/bin/sh\nshift\nexec \"$@\"\n";

const SOURCE: &str = "
    f large 3000000 mtime=1600000001
    f medium 40000 mtime=1600000002
    f sub/empty mtime=1600000003 mode=0600
    f sub/deep/small 10 mtime=1600000004
    h hard medium
    l link -> sub/empty
    p pipe
";

const OPTIONS: &[&[&str]] = &[
    &["-aH", "--delete"],
    &["-aHz", "--delete", "--no-whole-file"],
    &["-aHc", "--delete", "--no-inc-recursive"],
];

#[test]
fn the_installed_rsync() {
    with(&Original::Rsync.require());
}

#[test]
fn rsync_of_debian_12() {
    match Original::OldRsync.find() {
        Some(program) => with(&program),
        None => skip("no rsync 3.2.7; DRIFTLESS_OLD_RSYNC can name one"),
    }
}

fn with(stock: &Path) {
    let ours = example();
    for options in OPTIONS {
        for (client, server) in [(ours.as_path(), stock), (stock, ours.as_path())] {
            over_shell(client, server, options, true);
            over_shell(client, server, options, false);
        }
        daemon(&ours, stock, options, true);
        daemon(&ours, stock, options, false);
    }
}

/// A source, a replica and a shell that stays on this machine.
struct Place {
    work: tempfile::TempDir,
    from: Tree,
    to: Tree,
}

impl Place {
    fn new() -> Self {
        let work = tempfile::tempdir().expect("a directory");
        script(work.path().join("shell"), SHELL);
        Self {
            from: Tree::build(work.path().join("from"), SOURCE),
            to: Tree::build(work.path().join("to"), "f stale/file 10\nf medium 39000"),
            work,
        }
    }

    /// The contents of a tree as an operand.
    fn contents(host: &str, tree: &Tree) -> OsString {
        format!("{host}{}/", tree.root().display()).into()
    }

    /// Runs the command, edits the source, runs it again, and compares after each run.
    fn check(&self, command: &mut Command) {
        self.bring_over(command);
        self.from.write("large", "changed".repeat(400_000));
        self.from.rename("medium", "sub/moved");
        self.from.remove("sub/deep");
        self.from.chmod("sub/empty", 0o644);
        self.bring_over(command);
    }

    fn bring_over(&self, command: &mut Command) {
        let output = command.output().expect("a client");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {said}");
        assert!(said.is_empty(), "{command:?}: {said}");
        // Times of directories and links that agree to the second are left alone.
        let aspects = Aspects::exact().times(Times::Seconds);
        if let Err(differences) = compare(self.from.root(), self.to.root(), &aspects) {
            panic!("{command:?}: {differences}");
        }
    }
}

fn over_shell(client: &Path, server: &Path, options: &[&str], pushes: bool) {
    let place = Place::new();
    let (from, to) = match pushes {
        true => ("", "host:"),
        false => ("host:", ""),
    };
    place.check(
        Command::new(client)
            .arg("-e")
            .arg(place.work.path().join("shell"))
            .arg(format!("--rsync-path={}", server.display()))
            .args(options)
            .arg(Place::contents(from, &place.from))
            .arg(Place::contents(to, &place.to)),
    );
}

fn daemon(ours: &Path, stock: &Path, options: &[&str], pushes: bool) {
    let place = Place::new();
    let module = if pushes { &place.to } else { &place.from };
    let daemon = RsyncDaemon::module("module", module.root())
        .program(stock)
        .munge_symlinks(false)
        .start();
    let url: OsString = daemon.url("").into();
    let operands = match pushes {
        true => [Place::contents("", &place.from), url],
        false => [
            PathBuf::from(url).join("").into(),
            Place::contents("", &place.to),
        ],
    };
    place.check(Command::new(ours).args(options).args(operands));
}
