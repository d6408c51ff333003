//! One source, one mirror, and a replica of each kind, with everything that can be done to them.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::{
    Aspects, Random, RsyncDaemon, Signal, SshServer, Tmpfs, Tree, compare, content, require_rsync,
};

use super::writers::{AREAS, KEPT};
use crate::bench::{Mirror, driftless};

/// How long a peer may make no progress, in seconds.
pub(super) const TIMEOUT: u64 = 3;

/// Room for the replica whose disk is filled, in bytes.
const DISK: u64 = 192 << 20;

/// Everything that takes part.
pub(super) struct Stage {
    pub(super) source: Tree,
    directory: TempDir,
    /// Where two of the replicas are, if it may be mounted.
    disk: Option<Tmpfs>,
    stock: RsyncDaemon,
    own: RsyncDaemon,
    ssh: SshServer,
    mirror: Option<Mirror>,
    /// All that mirrors said which are no more.
    said_before: String,
    needs_verification: bool,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The stock daemon and its workers are killed.
    StockKilled,
    /// Its workers alone.
    StockWorkersKilled,
    /// They hang for longer than a peer may.
    StockWorkersStopped,
    /// The same of our own daemon.
    OwnKilled,
    /// The same of our own daemon.
    OwnWorkersKilled,
    /// The same of our own daemon.
    OwnWorkersStopped,
    /// The ssh that the mirror has started is killed.
    SshKilled,
    /// What it has started at the far end.
    FarEndKilled,
    /// There is no ssh server for a while.
    SshServerKilled,
    /// Two replicas have no room left.
    DiskFull,
    /// More happens than the kernel keeps events of.
    QueueOverflow,
    /// The mirror is killed.
    MirrorKilled,
    /// Somebody changes what a replica holds.
    Tampered,
}

impl Fault {
    pub(super) const ALL: [Self; 13] = [
        Self::StockKilled,
        Self::StockWorkersKilled,
        Self::StockWorkersStopped,
        Self::OwnKilled,
        Self::OwnWorkersKilled,
        Self::OwnWorkersStopped,
        Self::SshKilled,
        Self::FarEndKilled,
        Self::SshServerKilled,
        Self::DiskFull,
        Self::QueueOverflow,
        Self::MirrorKilled,
        Self::Tampered,
    ];

    /// Whether it makes a difference only when it lasts longer than [`TIMEOUT`].
    pub(super) fn is_a_hang(self) -> bool {
        matches!(self, Self::StockWorkersStopped | Self::OwnWorkersStopped)
    }
}

impl Stage {
    /// Builds everything but the mirror. All of it is removed in the end, unless `kept_in` names a place to keep it.
    pub(super) fn new(kept_in: Option<&Path>) -> Self {
        let mut builder = tempfile::Builder::new();
        let directory = match kept_in {
            Some(dir) => builder.disable_cleanup(true).tempdir_in(dir).unwrap(),
            None => builder.tempdir().unwrap(),
        };
        let path = |name: &str| directory.path().join(name);
        let disk = Tmpfs::mount(DISK);
        if disk.is_none() {
            testkit::skip("mounting is not permitted: no disk is full");
        }
        let small = disk
            .as_ref()
            .map_or(directory.path(), Tmpfs::path)
            .to_owned();
        let rsync = path("rsync");
        symlink(env!("CARGO_BIN_EXE_driftless"), &rsync).unwrap();
        let [local, stock, own, far] = [
            small.join("local"),
            small.join("stock"),
            path("own"),
            path("far"),
        ]
        .map(|replica| Tree::at(replica).root().to_owned());
        drop((local, far));
        let daemon = |name, root: &Path| {
            RsyncDaemon::module(name, root)
                .auth_user("rsync_backup", "secret")
                .munge_symlinks(true)
        };
        let stage = Self {
            source: Tree::at(path("source")),
            stock: daemon("stock", &stock).start(),
            own: daemon("own", &own).program(&rsync).start(),
            ssh: SshServer::start(),
            mirror: None,
            said_before: String::new(),
            needs_verification: false,
            disk,
            directory,
        };
        fs::write(stage.path("mirror.toml"), stage.configuration()).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the replicas are, and what must agree there.
    pub(super) fn replicas(&self) -> [(PathBuf, Aspects); 4] {
        let small = self
            .disk
            .as_ref()
            .map_or(self.directory.path(), Tmpfs::path);
        [
            (small.join("local"), Aspects::exact()),
            (small.join("stock"), Aspects::exact().with_munged_links()),
            (self.path("own"), Aspects::exact().with_munged_links()),
            (self.path("far"), Aspects::exact()),
        ]
    }

    fn configuration(&self) -> String {
        let [(local, _), _, _, (far, _)] = self.replicas();
        let mut text = format!(
            "[[tree]]\nsource = {:?}\nstate = {:?}\n\
             # Writers that remove whole directories are what this is about.\nmax-delete-share = 100\n",
            self.source.root(),
            self.path("state")
        );
        let mut replica = |to: &str, more: &str| {
            write!(
                text,
                "[[tree.replica]]\nto = {to:?}\ntimeout = {TIMEOUT}\n{more}"
            )
            .unwrap();
        };
        replica(local.to_str().unwrap(), "");
        for daemon in [&self.stock, &self.own] {
            let more = format!("password-file = {:?}\n", daemon.password_file());
            replica(&daemon.url(""), &more);
        }
        let to = format!("{}:{}", SshServer::HOST, far.display());
        let (shell, rsync) = (self.ssh.command(), require_rsync());
        replica(&to, &format!("shell = {shell:?}\nrsync = {rsync:?}\n"));
        text
    }

    /// Starts the mirror, if it does not run.
    pub(super) fn start_mirror(&mut self) {
        if self.mirror.is_none() {
            let mut command = driftless();
            command
                .args(["mirror", "-v", "--config"])
                .arg(self.path("mirror.toml"));
            self.mirror = Some(Mirror::run(&mut command));
        }
    }

    fn kill_mirror(&mut self) {
        if let Some(mirror) = self.mirror.take() {
            self.said_before.push_str(&mirror.said());
            self.said_before.push_str("--- killed ---\n");
            mirror.kill();
        }
    }

    /// Ends the mirror in order.
    pub(super) fn stop_mirror(&mut self) {
        if let Some(mirror) = self.mirror.take() {
            let ended = mirror.stop();
            self.said_before.push_str(&ended.said());
        }
    }

    /// Begins a fault. Those that are over at once leave nothing for [`Self::end`] to do.
    pub(super) fn begin(&mut self, fault: Fault, random: &mut Random) {
        match fault {
            Fault::StockKilled => self.stock.kill(),
            Fault::StockWorkersKilled => drop(self.stock.kill_workers()),
            Fault::StockWorkersStopped => drop(self.stock.stop_workers()),
            Fault::OwnKilled => self.own.kill(),
            Fault::OwnWorkersKilled => drop(self.own.kill_workers()),
            Fault::OwnWorkersStopped => drop(self.own.stop_workers()),
            Fault::SshKilled => {
                if let Some(mirror) = &self.mirror {
                    mirror.program.kill_helpers("ssh");
                }
            }
            Fault::FarEndKilled => drop(self.ssh.kill_sessions()),
            Fault::SshServerKilled => self.ssh.kill(),
            Fault::DiskFull => {
                if let Some(disk) = &self.disk {
                    // As much as goes in.
                    let _ = fs::write(disk.path().join("filler"), vec![1; DISK as usize]);
                }
            }
            Fault::QueueOverflow => self.overflow(),
            Fault::MirrorKilled => self.kill_mirror(),
            Fault::Tampered => self.tamper(random),
        }
    }

    /// Takes a fault's cause away. What it has done is for the mirror to mend.
    pub(super) fn end(&mut self, fault: Fault) {
        match fault {
            Fault::StockKilled => self.stock.restart(),
            Fault::StockWorkersStopped => drop(self.stock.continue_workers()),
            Fault::OwnKilled => self.own.restart(),
            Fault::OwnWorkersStopped => drop(self.own.continue_workers()),
            Fault::SshServerKilled => self.ssh.restart(),
            Fault::DiskFull => {
                if let Some(disk) = &self.disk {
                    let _ = fs::remove_file(disk.path().join("filler"));
                }
            }
            Fault::MirrorKilled => self.start_mirror(),
            _ => {}
        }
    }

    /// Changes modes while the mirror is stopped, more often than the kernel's queue has room for.
    fn overflow(&mut self) {
        let Some(mirror) = &mut self.mirror else {
            return;
        };
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // Where the queue is too long to be filled, it is left at a burst.
        let changes = limit.trim().parse::<u32>().unwrap().min(50_000);
        mirror.program.signal(Signal::STOP);
        for number in 0..10 {
            self.source.write(format!("storm/{number}"), "");
        }
        for change in 0..changes + changes / 4 {
            // Two equal events in a row count as one.
            let path = format!("storm/{}", change % 10);
            self.source.chmod(path, 0o600 + change / 10 % 2 * 0o40);
        }
        mirror.program.signal(Signal::CONT);
    }

    /// Spoils something below an area of a replica, behind the mirror's back.
    fn tamper(&mut self, random: &mut Random) {
        let replicas = self.replicas();
        let root = &replicas[random.below(replicas.len())].0;
        let area = root.join(random.choose(&AREAS).unwrap());
        let found = fs::read_dir(&area).map(|entries| {
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| {
                !path
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(KEPT)
            });
            paths.sort();
            paths
        });
        let Some(victim) = random.choose(&found.unwrap_or_default()).cloned() else {
            return;
        };
        self.needs_verification = true;
        // The mirror may be at work on the same path: then there is nothing left to spoil.
        let _ = match (random.below(3), fs::symlink_metadata(&victim)) {
            (0, Ok(before)) if before.is_file() => {
                let size = before.len() as usize;
                fs::write(&victim, content(random.bits(), size)).and_then(|()| {
                    let open = fs::File::options().write(true).open(&victim)?;
                    open.set_modified(before.modified()?)
                })
            }
            (1, _) => fs::write(area.join("stranger"), "nobody sent me"),
            (_, Ok(found)) if found.is_dir() => fs::remove_dir_all(&victim),
            _ => fs::remove_file(&victim),
        };
    }

    /// Has the replicas compared, if somebody has tampered with them since the last time.
    pub(super) fn verify_if_tampered(&mut self) -> Result<(), String> {
        if !self.needs_verification {
            return Ok(());
        }
        let mut command = driftless();
        command.arg("verify").arg("--state").arg(self.path("state"));
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        self.needs_verification = false;
        Ok(())
    }

    /// Where replicas differ from the source now.
    pub(super) fn differences(&self) -> Result<(), String> {
        for (replica, aspects) in self.replicas() {
            compare(self.source.root(), &replica, &aspects)
                .map_err(|differences| format!("in {}:\n{differences}", replica.display()))?;
        }
        Ok(())
    }

    /// The last of what mirrors have said.
    pub(super) fn said(&self) -> String {
        const LAST: usize = 300;
        let now = self.mirror.as_ref().map(Mirror::said).unwrap_or_default();
        let all = format!("{}{now}", self.said_before);
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len().saturating_sub(LAST)..].join("\n")
    }
}
