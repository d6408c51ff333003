//! A source, a replica, and the mirror between them.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{
    Aspects, DaemonBuilder, Program, REMOTE_SHELL, RsyncDaemon, Signal, Tree, compare, eventually,
    script,
};

/// How long anything may take on a busy machine. Nothing waits this long unless it fails.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What a mirror says when a replica holds the whole tree for the first time since the start.
const IN_STEP: [&str; 2] = ["first copy complete", "in step"];

/// A source and one replica of it, below a temporary directory.
pub(crate) struct Bench {
    pub(crate) source: Tree,
    /// What the replica holds, seen from inside. A directory replica is made by the mirror.
    pub(crate) replica: Tree,
    daemon: Option<RsyncDaemon>,
    /// A stand-in for a remote shell, which leads to the replica's directory.
    shell: Option<PathBuf>,
    aspects: Aspects,
    directory: TempDir,
}

impl Bench {
    /// The replica is a directory.
    pub(crate) fn with_directory() -> Self {
        Self::new(None, Aspects::exact())
    }

    /// The replica is the module of a stock daemon that asks for a password.
    pub(crate) fn with_daemon() -> Self {
        Self::with_daemon_as(|daemon| daemon.munge_symlinks(false))
    }

    /// The replica is the module of our own daemon.
    pub(crate) fn with_own_daemon() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rsync = own_rsync(directory.path());
        let set_up = |daemon: DaemonBuilder| daemon.program(&rsync).munge_symlinks(false);
        Self::new_in(directory, Some(Box::new(set_up)), Aspects::exact())
    }

    /// The replica is the module of our own daemon, which is `localhost` over TLS.
    pub(crate) fn with_encrypted_daemon() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let directory = tempfile::tempdir().unwrap();
        let rsync = own_rsync(directory.path());
        let set_up = |daemon: DaemonBuilder| {
            let daemon = daemon.program(&rsync).munge_symlinks(false);
            daemon.tls(&certificate, &key)
        };
        Self::new_in(directory, Some(Box::new(set_up)), Aspects::exact())
    }

    /// The replica is a directory that a stand-in for a remote shell leads to, with a stock rsync there.
    pub(crate) fn with_shell() -> Self {
        let mut bench = Self::with_directory();
        bench.shell = Some(script(bench.path("shell"), REMOTE_SHELL));
        bench
    }

    /// The same, with links stored as a module without chroot stores them by default.
    pub(crate) fn with_munging_daemon() -> Self {
        let mut bench = Self::with_daemon_as(|daemon| daemon.munge_symlinks(true));
        bench.aspects = Aspects::exact().with_munged_links();
        bench
    }

    /// The same, with a module set up in another way.
    pub(crate) fn with_daemon_as(set_up: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Self {
        Self::new(Some(Box::new(set_up)), Aspects::exact())
    }

    fn new(
        daemon: Option<Box<dyn FnOnce(DaemonBuilder) -> DaemonBuilder + '_>>,
        aspects: Aspects,
    ) -> Self {
        Self::new_in(tempfile::tempdir().unwrap(), daemon, aspects)
    }

    fn new_in(
        directory: TempDir,
        daemon: Option<Box<dyn FnOnce(DaemonBuilder) -> DaemonBuilder + '_>>,
        aspects: Aspects,
    ) -> Self {
        let source = Tree::at(directory.path().join("source"));
        let replica = Tree::at(directory.path().join("replica"));
        let daemon = daemon.map(|set_up| {
            let module = RsyncDaemon::module("backup", replica.root());
            set_up(module.auth_user("rsync_backup", "secret")).start()
        });
        Self {
            source,
            replica,
            daemon,
            shell: None,
            aspects,
            directory,
        }
    }

    /// Compares only so far.
    pub(crate) fn comparing(self, aspects: Aspects) -> Self {
        Self { aspects, ..self }
    }

    /// Compares extended attributes too.
    pub(crate) fn with_xattrs(self) -> Self {
        Self {
            aspects: self.aspects.with_xattrs(),
            ..self
        }
    }

    /// Leaves paths out of every comparison.
    pub(crate) fn ignoring(self, ignored: impl Fn(&Path) -> bool + 'static) -> Self {
        Self {
            aspects: self.aspects.ignoring(ignored),
            ..self
        }
    }

    /// Whether the replica is with a daemon.
    pub(crate) fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// The daemon that holds the replica.
    pub(crate) fn daemon(&self) -> &RsyncDaemon {
        self.daemon.as_ref().expect("this bench has a daemon")
    }

    /// The same, to end and start it.
    pub(crate) fn daemon_mut(&mut self) -> &mut RsyncDaemon {
        self.daemon.as_mut().expect("this bench has a daemon")
    }

    /// A path of its own beside source and replica.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The destination as the command line names it.
    pub(crate) fn destination(&self) -> OsString {
        match (&self.daemon, &self.shell) {
            (Some(daemon), _) => daemon.url("").into(),
            (None, Some(_)) => format!("far:{}", self.replica.root().display()).into(),
            (None, None) => self.replica.root().into(),
        }
    }

    /// The options that lead from the source to the replica, with a state file and a line for each session.
    pub(crate) fn options(&self) -> Command {
        let mut command = driftless();
        command
            .arg("mirror")
            .arg("-v")
            .arg("--state")
            .arg(self.path("state"));
        if let Some(daemon) = &self.daemon {
            command.arg("--password-file").arg(daemon.password_file());
        }
        if let Some(shell) = &self.shell {
            command.arg("--rsh").arg(shell);
            command.arg("--rsync-path").arg(testkit::require_rsync());
        }
        command
    }

    /// Starts the mirror.
    pub(crate) fn start(&self) -> Mirror {
        self.start_with(&[])
    }

    /// Starts the mirror with more options.
    pub(crate) fn start_with(&self, options: &[&str]) -> Mirror {
        let mut command = self.options();
        command
            .args(options)
            .arg(self.source.root())
            .arg(self.destination());
        Mirror::run(&mut command)
    }

    /// Starts the mirror and waits until the replica holds the whole tree.
    pub(crate) fn live(&self) -> Mirror {
        self.live_with(&[])
    }

    /// The same with more options.
    pub(crate) fn live_with(&self, options: &[&str]) -> Mirror {
        let mut mirror = self.start_with(options);
        mirror.wait_in_step();
        mirror
    }

    /// Waits until the replica is identical, in content and metadata.
    #[track_caller]
    pub(crate) fn wait_identical(&self, mirror: &Mirror) {
        eventually(SOON, || self.difference(mirror));
    }

    /// Waits until the replica is identical, ends the mirror in order, and looks once more: a replica that was
    /// identical in passing would differ now.
    #[track_caller]
    pub(crate) fn finish(&self, mirror: Mirror) {
        self.wait_identical(&mirror);
        let ended = mirror.stop();
        self.assert_identical(&ended);
    }

    /// The replica is identical now.
    #[track_caller]
    pub(crate) fn assert_identical(&self, mirror: &Mirror) {
        if let Err(difference) = self.difference(mirror) {
            panic!("{difference}");
        }
    }

    /// Where source and replica differ now, and what the mirror said.
    pub(crate) fn difference(&self, mirror: &Mirror) -> Result<(), String> {
        compare(self.source.root(), self.replica.root(), &self.aspects)
            .map_err(|differences| format!("{differences}\nthe mirror said:\n{}", mirror.said()))
    }

    /// Gives the running mirror a command. Returns whether it was done, and what was said.
    pub(crate) fn command(&self, words: &[&str]) -> (bool, String) {
        let mut command = driftless();
        command.args(words).arg("--state").arg(self.path("state"));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// The name of the replica.
    pub(crate) fn replica_name(&self) -> String {
        match &self.daemon {
            Some(daemon) => daemon.url(""),
            None => self.destination().into_string().unwrap(),
        }
    }

    /// Releases the replica's brake.
    #[track_caller]
    pub(crate) fn approve(&self) {
        let (done, said) = self.command(&["approve", &self.replica_name()]);
        assert!(done, "{said}");
    }

    /// The replica's temporary files, of whoever writes there: `.NAME.XXXXXX`.
    pub(crate) fn temporary_files(&self) -> Vec<PathBuf> {
        let names = std::fs::read_dir(self.replica.root())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        names.filter(|path| is_temporary(path)).collect()
    }

    /// Waits until the replica is in the middle of writing `name`, and holds it there by stopping the daemon's
    /// workers.
    #[track_caller]
    pub(crate) fn stop_workers_in_the_middle_of(&self, name: &str) {
        // Again, a byte longer, if they were too quick: the size makes that unlikely, not impossible.
        for size in BIG..BIG + 20 {
            self.source.file(name, size);
            let is_complete = || {
                std::fs::metadata(self.replica.path(name))
                    .is_ok_and(|found| found.len() == size as u64)
            };
            eventually(SOON, || {
                match self.temporary_files().is_empty() && !is_complete() {
                    true => Err("nothing is being written"),
                    false => Ok(()),
                }
            });
            self.daemon().stop_workers();
            if !self.temporary_files().is_empty() && !is_complete() {
                return;
            }
            self.daemon().continue_workers();
            eventually(SOON, || {
                if is_complete() {
                    Ok(())
                } else {
                    Err("the content is not complete")
                }
            });
        }
        panic!("the workers were never caught in the middle of {name}");
    }
}

/// Large enough to be caught in transfer, in bytes.
pub(crate) const BIG: usize = 48 << 20;

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let suffix = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    name.first() == Some(&b'.')
        && name.iter().filter(|byte| **byte == b'.').count() >= 2
        && suffix.len() == 6
}

/// The program, without what the tester's own environment would tell it.
pub(crate) fn driftless() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftless"));
    command
        .env_remove("RSYNC_PASSWORD")
        .env_remove("STATE_DIRECTORY")
        .env_remove("NOTIFY_SOCKET");
    command
}

/// The program by the name of rsync, in this directory.
pub(crate) fn own_rsync(directory: &Path) -> PathBuf {
    let rsync = directory.join("rsync");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_driftless"), &rsync).unwrap();
    rsync
}

/// A name from bytes, for names that are no UTF-8.
pub(crate) fn name(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// A running `driftless mirror`.
pub(crate) struct Mirror {
    pub(crate) program: Program,
}

/// What crossed over, as the lines of `-v` have it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossed {
    /// Paths brought up to date.
    pub(crate) updated: usize,
    /// Names removed.
    pub(crate) removed: usize,
    /// Bytes of file content. Exact below 1 KiB in a session, rounded as printed above.
    pub(crate) bytes: u64,
}

impl Mirror {
    /// Starts a command line that a test has put together itself.
    #[track_caller]
    pub(crate) fn run(command: &mut Command) -> Self {
        Self {
            program: Program::start(command),
        }
    }

    /// Everything it has said.
    pub(crate) fn said(&self) -> String {
        self.program
            .lines()
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    /// Waits until it says that a replica holds the whole tree.
    #[track_caller]
    pub(crate) fn wait_in_step(&mut self) {
        eventually(SOON, || {
            let has_ended = self.program.exit_code().is_some();
            if has_ended {
                // With that all its last words are here too.
                self.program.wait_exit(SOON);
            }
            let said = self.said();
            let is_in_step = IN_STEP.iter().any(|text| said.contains(text));
            assert!(
                is_in_step || !has_ended,
                "it ended before it was in step:\n{said}"
            );
            if is_in_step {
                Ok(())
            } else {
                Err(format!("it is not in step; it said:\n{said}"))
            }
        });
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.program.wait_for_line(text, SOON)
    }

    /// Ends it by SIGTERM. It must leave with 0.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Self {
        self.program.signal(Signal::TERM);
        let code = self.program.wait_exit(SOON);
        assert_eq!(code, 0, "{}", self.said());
        assert!(!self.said().contains("panicked"), "{}", self.said());
        self
    }

    /// Ends it by SIGKILL, as a crash would.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.program.signal(Signal::KILL);
        assert_eq!(self.program.wait_exit(SOON), 128 + 9);
    }

    /// Waits for the end that it finds itself. Returns the exit code and all it said.
    #[track_caller]
    pub(crate) fn wait_exit(mut self) -> (i32, String) {
        let code = self.program.wait_exit(SOON);
        assert!(!self.said().contains("panicked"), "{}", self.said());
        (code, self.said())
    }

    /// The sum of its sessions so far.
    #[track_caller]
    pub(crate) fn crossed(&self) -> Crossed {
        let mut sum = Crossed::default();
        for line in self.program.lines() {
            if let Some(session) = Crossed::from_line(&line.text) {
                sum.updated += session.updated;
                sum.removed += session.removed;
                sum.bytes += session.bytes;
            }
        }
        sum
    }
}

impl Crossed {
    /// `...: 3 updated, 1 removed, 12 B sent`, as `-v` says it of each session.
    fn from_line(line: &str) -> Option<Self> {
        let [.., updated, removed, sent] = line.split(", ").collect::<Vec<_>>()[..] else {
            return None;
        };
        let updated = updated.strip_suffix(" updated")?.rsplit(' ').next()?;
        let (bytes, unit) = sent.strip_suffix(" sent")?.split_once(' ')?;
        let unit = match unit {
            "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            _ => panic!("a unit that this test does not know: {line}"),
        };
        Some(Self {
            updated: updated.parse().ok()?,
            removed: removed.strip_suffix(" removed")?.parse().ok()?,
            bytes: (bytes.parse::<f64>().ok()? * unit) as u64,
        })
    }
}

/// Makes a test of one scenario for each of some kinds of destination, each named after how the bench gets one.
macro_rules! for_destinations {
    ($kinds:tt $(#[$attribute:meta])* fn $name:ident($bench:ident: Bench) $body:block) => {
        $(#[$attribute])*
        mod $name {
            use super::*;

            fn scenario($bench: Bench) $body

            crate::bench::for_destinations! { @tests $kinds }
        }
    };
    (@tests [$($kind:ident: $with:ident),+]) => {
        $(#[test]
        fn $kind() {
            scenario(Bench::$with());
        })+
    };
}
pub(crate) use for_destinations;

/// Makes two tests of each scenario: with a directory and with a daemon as replica.
macro_rules! for_each_destination {
    ($($(#[$attribute:meta])* fn $name:ident($bench:ident: Bench) $body:block)+) => {
        $(crate::bench::for_destinations! {
            [directory: with_directory, daemon: with_daemon]
            $(#[$attribute])* fn $name($bench: Bench) $body
        })+
    };
}
pub(crate) use for_each_destination;

/// Makes tests of each scenario with every kind of destination that there is: a directory, a stock daemon, our own, and a
/// stock rsync behind a remote shell.
macro_rules! for_each_kind_of_destination {
    ($($(#[$attribute:meta])* fn $name:ident($bench:ident: Bench) $body:block)+) => {
        $(crate::bench::for_destinations! {
            [directory: with_directory, daemon: with_daemon, own_daemon: with_own_daemon, shell: with_shell]
            $(#[$attribute])* fn $name($bench: Bench) $body
        })+
    };
}
pub(crate) use for_each_kind_of_destination;
