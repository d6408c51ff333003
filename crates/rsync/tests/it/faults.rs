//! Transfers to which something happens: the source changes under them, a signal comes, an end dies or falls silent, the
//! disk is full. A seed makes up what, when, and to whom; ours is one end or both, the other one is stock.
//!
//! What must hold, whenever it happens: the run ends, with a code that rsync has for it; what is at the destination under a
//! final name is a version that existed; an orderly end leaves no temporary file; and the next run makes the trees equal.
//! `DRIFTLESS_FAULT_CASES=FIRST..END` takes other seeds than those of each run of the tests, and tells how each case went.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Aspects, Original, Program, Random, RsyncDaemon, compare, skip};

use crate::fault_place::{Place, files, is_temporary};
use crate::random::asked;
use crate::scenarios::example;

/// What each run of the tests takes: every fault at either end.
const SEEDS: std::ops::Range<u64> = 0..12;

/// Longer than any machine needs.
const DEADLINE: Duration = Duration::from_secs(120);

/// Seconds after which an end gives a silent one up.
const PATIENCE: &str = "--timeout=3";

/// Slow enough that most faults come before the end; nothing is asserted that depends on it.
const PACE: &str = "--bwlimit=3000";

#[test]
fn faults_at_any_time() {
    let (seeds, is_told) = match asked("DRIFTLESS_FAULT_CASES") {
        Some(seeds) => (seeds, true),
        None => (SEEDS, false),
    };
    let mut failed = String::new();
    for seed in seeds {
        let Some(case) = Case::of(seed) else {
            continue;
        };
        let (code, wrong) = case.carry_out();
        if is_told {
            println!("seed {seed}: {case:?}: code {code:?} {wrong:?}");
        }
        for wrong in wrong {
            failed += &format!("seed {seed}: {case:?}, code {code:?}: {wrong}\n");
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Local,
    Push,
    Pull,
    DaemonPush,
    DaemonPull,
}

/// Which end is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Client,
    Server,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The source changes all the time.
    Edits,
    /// The client is asked to stop.
    Client(Signal),
    /// The other end is.
    Server(Signal),
    /// The other end falls silent.
    Silence,
    /// The client does, and the server is left alone.
    ClientSilence,
    /// The destination is too small.
    FullDisk,
}

#[derive(Debug)]
struct Case {
    seed: u64,
    way: Way,
    ours: Ours,
    stock: PathBuf,
    options: Vec<&'static str>,
    fault: Fault,
    /// Milliseconds after the first data.
    after: u64,
}

const FAULTS: &[Fault] = &[
    Fault::Edits,
    Fault::Client(Signal::INT),
    Fault::Edits,
    Fault::Server(Signal::KILL),
    Fault::Silence,
    Fault::Server(Signal::TERM),
    Fault::Client(Signal::KILL),
    Fault::FullDisk,
    Fault::Client(Signal::TERM),
    Fault::ClientSilence,
    Fault::Client(Signal::HUP),
    Fault::Server(Signal::HUP),
];

const WRITING: &[&str] = &[
    "--whole-file",
    "--no-whole-file",
    "--no-whole-file",
    "--partial",
    "--partial-dir=.part",
    "--delay-updates",
    "--inplace",
    "--inplace --no-whole-file",
    "--sparse",
    "--backup",
    "--temp-dir=../tmp",
];

const MORE: &[&str] = &[
    "",
    "",
    "--compress --no-whole-file",
    "--delete",
    "--delete-after",
    "--no-inc-recursive",
    "--hard-links",
    "--remove-source-files --whole-file",
    "--checksum",
];

const PROTOCOLS: &[&str] = &[
    "",
    "",
    "",
    "--protocol=31",
    "--protocol=30",
    "--protocol=29",
];

impl Case {
    /// What this seed makes up; nothing if it needs an rsync that is not here.
    fn of(seed: u64) -> Option<Self> {
        let mut random = Random::new(seed);
        let mut one = |choices: &[&'static str]| choices[random.below(choices.len())];
        let mut options: Vec<&str> = [WRITING, MORE, PROTOCOLS]
            .iter()
            .flat_map(|choices| one(choices).split_whitespace())
            .collect();
        let fault = FAULTS[usize::try_from(seed).ok()? % FAULTS.len()];
        let ways = [
            (Way::Local, Ours::Both),
            (Way::Push, Ours::Client),
            (Way::Push, Ours::Server),
            (Way::Push, Ours::Both),
            (Way::Pull, Ours::Client),
            (Way::Pull, Ours::Server),
            (Way::Pull, Ours::Both),
            (Way::DaemonPush, Ours::Client),
            (Way::DaemonPull, Ours::Client),
        ];
        let (way, ours) = loop {
            let (way, ours) = ways[random.below(ways.len())];
            let has_server = way != Way::Local;
            // Nobody but a shell's server is at hand to be left alone.
            let is_possible = match fault {
                Fault::Edits | Fault::Client(_) => true,
                Fault::FullDisk => !matches!(way, Way::DaemonPush | Way::DaemonPull),
                Fault::Server(Signal::KILL) => has_server,
                // As long as a socket has room, rsync's receivers take their own signs of life for progress.
                Fault::Silence => has_server && ours != Ours::Server,
                Fault::Server(_) | Fault::ClientSilence => {
                    matches!(way, Way::Push | Way::Pull)
                }
            };
            if is_possible {
                break (way, ours);
            }
        };
        if matches!(fault, Fault::Silence | Fault::ClientSilence) {
            options.push(PATIENCE);
        }
        match fault {
            // An edited file that is gone may have been removed by either.
            Fault::Edits => options.retain(|&option| option != "--remove-source-files"),
            // Beside the small disk there is room.
            Fault::FullDisk => options.retain(|&option| option != "--temp-dir=../tmp"),
            _ => {}
        }
        let stock = match random.below(2) {
            0 => Original::Rsync.require(),
            _ => Original::OldRsync.find()?,
        };
        if way == Way::DaemonPush {
            // It would have to be within the module's own directory.
            options.retain(|&option| option != "--temp-dir=../tmp");
        }
        Some(Self {
            seed,
            way,
            ours,
            stock,
            options,
            fault,
            after: random.below(700) as u64,
        })
    }

    /// Runs the case, and the run that makes up for it. Returns the exit code, and what is wrong.
    fn carry_out(&self) -> (Option<i32>, Vec<String>) {
        let Some(mut place) = Place::new(self.seed, self.fault == Fault::FullDisk) else {
            skip("mounting is not permitted");
            return (None, Vec::new());
        };
        let daemon = matches!(self.way, Way::DaemonPush | Way::DaemonPull).then(|| {
            RsyncDaemon::module("m", place.dir.path())
                .program(&self.stock)
                .munge_symlinks(false)
                .start()
        });
        let mut command = self.command(&place, daemon.as_ref());
        command.arg(PACE).args(&self.options);
        let mut run = Run {
            program: Program::start(command.args(self.operands(&place, daemon.as_ref()))),
            daemon,
            server_note: place.dir.path().join("server"),
        };
        self.strike(&mut run, &mut place);
        let is_server_ours = self.ours != Ours::Client;
        let mut wrong = Vec::new();
        if self.fault == Fault::ClientSilence {
            if is_server_ours && !run.server_ends() {
                wrong.push("the server waits for ever".to_owned());
            }
            run.program.signal(Signal::KILL);
        }
        let Some(code) = run.client_ends() else {
            let told = run.program.stderr();
            return (None, vec![format!("the client does not end: {told}")]);
        };
        if self.fault == Fault::Silence {
            run.signal_server(Signal::KILL);
        }
        if !run.server_ends() {
            wrong.push("the server does not end after the client".to_owned());
        }
        if !self.codes().contains(&code) {
            wrong.push(format!("it said: {}", run.program.stderr()));
        }
        let daemon = run.daemon.take();
        drop(run);
        wrong.extend(self.left_behind(&place));
        if self.fault != Fault::FullDisk && !self.removes_sources() {
            wrong.extend(self.next_run(&place, daemon.as_ref()));
        }
        (Some(code), wrong)
    }

    /// The program and how it reaches the other end.
    fn command(&self, place: &Place, daemon: Option<&RsyncDaemon>) -> Command {
        let ours = example();
        let (client, server) = match self.ours {
            Ours::Client => (&ours, &self.stock),
            Ours::Server => (&self.stock, &ours),
            Ours::Both => (&ours, &ours),
        };
        let mut command = Command::new(client);
        command
            .arg("-a")
            .current_dir(place.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RSYNC_RSH")
            .stdin(Stdio::null());
        if daemon.is_none() && self.way != Way::Local {
            let path = format!("--rsync-path={}", server.display());
            command.args(["-e", "./shell", &path]);
        }
        command
    }

    fn operands(&self, place: &Place, daemon: Option<&RsyncDaemon>) -> [String; 2] {
        let (from, to) = ("from/".to_owned(), format!("{}/", place.to.display()));
        let url = |path| daemon.map_or_else(String::new, |daemon| daemon.url(path));
        match self.way {
            Way::Local => [from, to],
            Way::Push => [from, format!("host:{to}")],
            Way::Pull => [format!("host:{from}"), to],
            Way::DaemonPush => [from, url("to/")],
            Way::DaemonPull => [url("from/"), to],
        }
    }

    /// Lets it happen.
    fn strike(&self, run: &mut Run, place: &mut Place) {
        let mut random = Random::new(self.seed ^ 0xfa17);
        let start = Instant::now();
        // Any moment will do, also one after the end.
        let is_now = |run: &mut Run| {
            thread::sleep(Duration::from_millis(2));
            run.program.exit_code().is_some() || start.elapsed().as_millis() >= self.after.into()
        };
        match self.fault {
            Fault::FullDisk => {}
            Fault::Edits => {
                while run.program.exit_code().is_none() && start.elapsed() < DEADLINE {
                    place.edit(&mut random);
                    thread::sleep(Duration::from_millis(random.below(12) as u64));
                }
            }
            fault => {
                while !is_now(run) {}
                match fault {
                    Fault::Client(signal) => run.program.signal(signal),
                    Fault::Server(signal) => run.signal_server(signal),
                    Fault::Silence => run.signal_server(Signal::STOP),
                    _ => run.program.signal(Signal::STOP),
                }
            }
        }
    }

    /// The exit codes that the client may have; a fault that comes too late does no harm, and a signal that comes before
    /// the program heeds any ends it.
    fn codes(&self) -> &'static [i32] {
        match self.fault {
            Fault::Edits => &[0, 23, 24],
            Fault::Client(Signal::KILL) | Fault::ClientSilence => &[137, 0],
            Fault::Client(Signal::HUP) => &[20, 129, 0],
            Fault::Client(Signal::INT) => &[20, 130, 0],
            Fault::Client(_) => &[20, 143, 0],
            Fault::Server(Signal::KILL) => &[12, 10, 0],
            Fault::Server(_) => &[20, 12, 10, 0],
            Fault::Silence => &[30, 0],
            // Whoever still writes may find the other end gone before he hears why, which older ones cannot say at all.
            Fault::FullDisk => &[11, 12, 10],
        }
    }

    fn removes_sources(&self) -> bool {
        self.options.contains(&"--remove-source-files")
    }

    /// Whether the receiving end is ours, and has not been killed.
    fn receives_in_order(&self) -> bool {
        let (is_ours, kills) = match self.way {
            Way::Local => (true, &[Fault::Client(Signal::KILL)][..]),
            Way::Push | Way::DaemonPush => (
                self.ours != Ours::Client,
                &[Fault::Server(Signal::KILL), Fault::Silence][..],
            ),
            Way::Pull | Way::DaemonPull => (
                self.ours != Ours::Server,
                &[Fault::Client(Signal::KILL), Fault::ClientSilence][..],
            ),
        };
        is_ours && !kills.contains(&self.fault)
    }

    /// What is at the destination and should not be, or is missing.
    fn left_behind(&self, place: &Place) -> Vec<String> {
        let mut wrong = Vec::new();
        let may_be_partial = |option: &&str| matches!(*option, "--inplace" | "--partial");
        let are_whole = self.receives_in_order() && !self.options.iter().any(may_be_partial);
        for root in [&place.to, &place.dir.path().join("tmp")] {
            for (path, bytes) in files(root) {
                if self.receives_in_order() && is_temporary(&path) {
                    wrong.push(format!("{path} is left"));
                }
                let is_aside = path.contains(".part/") || path.contains(".~tmp~/");
                let versions = place.versions.get(path.trim_end_matches('~'));
                let mut versions = versions.into_iter().flatten();
                // A reader of a file that grows or shrinks has the beginning of one of its versions.
                let has_been = versions.any(|version| version.starts_with(&bytes));
                if are_whole && !is_aside && !is_temporary(&path) && !has_been {
                    wrong.push(format!("{path} of {} bytes has never been", bytes.len()));
                }
            }
        }
        if self.removes_sources() {
            for (path, versions) in &place.versions {
                let is_gone = !place.dir.path().join("from").join(path).exists();
                let arrived = fs::read(place.to.join(path)).ok();
                if is_gone && arrived.as_ref() != versions.last() {
                    wrong.push(format!("{path} is gone and has not arrived"));
                }
            }
        }
        wrong
    }

    /// A run without faults makes the trees equal.
    fn next_run(&self, place: &Place, daemon: Option<&RsyncDaemon>) -> Option<String> {
        let mut command = self.command(place, daemon);
        command.args(["--checksum", "--delete", "--force"]);
        let mut program = Program::start(command.args(self.operands(place, daemon)));
        let code = program.wait_exit(DEADLINE);
        if code != 0 {
            return Some(format!(
                "the next run ends with {code}: {}",
                program.stderr()
            ));
        }
        let from = place.dir.path().join("from");
        let differences = compare(&from, &place.to, &Aspects::content()).err()?;
        Some(format!("after the next run: {differences}"))
    }
}

/// A run under way.
struct Run {
    program: Program,
    daemon: Option<RsyncDaemon>,
    /// Where the shell notes the server's number.
    server_note: PathBuf,
}

impl Run {
    /// The processes at the other end that live.
    fn servers(&self) -> Vec<Pid> {
        if let Some(daemon) = &self.daemon {
            return daemon.workers();
        }
        let noted = fs::read_to_string(&self.server_note).ok();
        let noted = noted.and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        noted.into_iter().filter(|&pid| lives(pid)).collect()
    }

    fn signal_server(&self, signal: Signal) {
        for pid in self.servers() {
            // One that has just ended is fine.
            let _ = kill_process(pid, signal);
        }
    }

    fn client_ends(&mut self) -> Option<i32> {
        self.program.exit_code().or_else(|| {
            waited(|| self.program.exit_code().is_some());
            self.program.exit_code()
        })
    }

    fn server_ends(&self) -> bool {
        waited(|| self.servers().is_empty())
    }
}

/// Whether it comes about in time.
fn waited(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > DEADLINE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Whether a process has not ended yet; its parent may not have noticed.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}
