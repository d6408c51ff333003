//! The library as a program uses it: directories of this machine, and a stock daemon.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use driftless::{Cancel, Class, Error, Event, Outcome, Place, Transfer};
use testkit::{Aspects, REMOTE_SHELL, RsyncDaemon, Times, Tree, compare, require_rsync, script};

const SOURCE: &str = "
    f file 70000 mtime=1600000001
    f sub/deep/other 10 mtime=1600000002 mode=0600
    f left/out.o 10
    l link -> file
    d sub mtime=1600000003
";

/// Two trees that go with the test.
struct Bench {
    _work: tempfile::TempDir,
    from: Tree,
    to: Tree,
}

impl Bench {
    fn new(from: &str, to: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        Self {
            from: Tree::build(work.path().join("from"), from),
            to: Tree::build(work.path().join("to"), to),
            _work: work,
        }
    }

    /// What is in the source.
    fn source(&self) -> Place {
        Place::local(self.from.root().join(""))
    }

    fn check(&self) {
        let aspects = Aspects::exact()
            .times(Times::Seconds)
            .ignoring(|path| path.ends_with("out.o"));
        compare(self.from.root(), self.to.root(), &aspects).unwrap();
        assert!(!self.to.exists("left/out.o"));
    }

    fn daemon(&self, tree: &Tree) -> (RsyncDaemon, Place) {
        let daemon = RsyncDaemon::module("module", tree.root())
            .munge_symlinks(false)
            .start();
        let place = Place::daemon("127.0.0.1", daemon.port(), "module/");
        (daemon, place)
    }
}

/// Runs a transfer and notes what it tells, one word for each event and the name.
fn run(transfer: &Transfer) -> (Result<Outcome, Error>, Vec<String>) {
    let told = Mutex::new(Vec::new());
    let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let result = transfer.run(|event: Event<'_>| {
        let line = match event {
            Event::Itemized(item) => format!("item {}", name(item.entry.path)),
            Event::Deleted { path, .. } => format!("deleted {}", name(path)),
            Event::Progress(progress) if progress.finished => {
                format!("done {} {}", name(progress.path), progress.done)
            }
            Event::Listed(entry) => format!("listed {}", name(entry.path)),
            Event::Message(notice) if notice.class == Class::Transfer => {
                format!("failed {}", name(notice.text))
            }
            _ => return,
        };
        told.lock().unwrap().push(line);
    });
    (result, told.into_inner().unwrap())
}

fn mirror() -> Transfer {
    Transfer::archive().delete().exclude("*.o").progress()
}

/// A whole transfer: the tree, the events and the numbers.
fn brings_everything_over(bench: &Bench, transfer: &Transfer) {
    let (outcome, told) = run(transfer);
    let outcome = outcome.unwrap();
    bench.check();
    assert_eq!(outcome.exit_code(), 0, "{told:?}");
    assert_eq!(outcome.stats.transferred, 2, "{told:?}");
    for line in [
        "item file",
        "item sub/deep/other",
        "item link",
        "deleted stale",
        "done file 70000",
    ] {
        assert!(
            told.iter().any(|told| told == line),
            "no {line} in {told:?}"
        );
    }
    let (outcome, told) = run(transfer);
    assert_eq!(outcome.unwrap().stats.transferred, 0);
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn between_directories() {
    let bench = Bench::new(SOURCE, "f stale 5");
    brings_everything_over(&bench, &mirror().from(bench.source()).to(bench.to.root()));
}

#[test]
fn to_a_daemon() {
    let bench = Bench::new(SOURCE, "f stale 5");
    let (_daemon, module) = bench.daemon(&bench.to);
    brings_everything_over(&bench, &mirror().from(bench.source()).to(module));
}

#[test]
fn from_a_daemon() {
    let bench = Bench::new(SOURCE, "f stale 5");
    let (_daemon, module) = bench.daemon(&bench.from);
    brings_everything_over(
        &bench,
        &mirror().compress().from(module).to(bench.to.root()),
    );
}

#[test]
fn through_a_remote_shell() {
    let bench = Bench::new(SOURCE, "f stale 5");
    let shell = script(bench.from.root().with_file_name("shell"), REMOTE_SHELL);
    let transfer = mirror()
        .remote_shell(&shell)
        .option(format!("--rsync-path={}", require_rsync().display()))
        .from(bench.source())
        .to(Place::shell("host", bench.to.root()));
    brings_everything_over(&bench, &transfer);
}

#[test]
fn a_listing_and_a_password() {
    let bench = Bench::new("f file 10", "");
    let daemon = RsyncDaemon::module("module", bench.from.root())
        .auth_user("ann", "secret")
        .start();
    let module = Place::daemon("127.0.0.1", daemon.port(), "module/").user("ann");
    let (outcome, told) = run(&Transfer::archive().password("secret").from(module.clone()));
    assert_eq!(outcome.unwrap().exit_code(), 0);
    assert_eq!(told, ["listed .", "listed file"]);

    let (refused, told) = run(&Transfer::archive().password("guess").from(module));
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("auth failed"), "{error}");
    assert_eq!(error.exit_code(), 5);
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_missing_source_is_told_and_the_rest_arrives() {
    let bench = Bench::new("f file 10", "");
    let missing = bench.from.root().join("missing");
    let transfer = Transfer::archive().from(&missing).from(bench.source());
    let (outcome, told) = run(&transfer.to(bench.to.root()));
    assert_eq!(outcome.unwrap().exit_code(), 23);
    assert!(
        told.iter().any(|line| line.starts_with("failed ")),
        "{told:?}"
    );
    assert!(bench.to.exists("file"));
}

#[test]
fn what_makes_no_sense_touches_nothing() {
    let bench = Bench::new("f file 10", "");
    let transfer = Transfer::archive().from(bench.source()).to(bench.to.root());
    let (result, _) = run(&transfer.option("--no-such-option"));
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Refused { code: 1, .. }), "{error}");
    assert!(!bench.to.exists("file"));
}

/// At the permitted rate the transfer takes minutes: it is stopped at its first item.
fn is_stopped(transfer: Transfer, replica: &Path) {
    let cancel = Cancel::default();
    let slow = transfer.bandwidth_limit(50).cancel(&cancel);
    let result = slow.run(|event: Event<'_>| {
        if matches!(event, Event::Itemized(item) if item.entry.size > 0) {
            cancel.cancel();
        }
    });
    let error = result.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(error.exit_code(), 20);
    let left = std::fs::read_dir(replica).unwrap().count();
    assert_eq!(left, 0, "nothing half-written is left");
}

#[test]
fn a_stop_leaves_nothing_half_written() {
    let large = format!("f large {}", 20 << 20);
    let bench = Bench::new(&large, "");
    is_stopped(
        Transfer::new()
            .from(bench.from.root().join("large"))
            .to(bench.to.root().join("")),
        bench.to.root(),
    );
    let (_daemon, module) = bench.daemon(&bench.from);
    is_stopped(
        Transfer::new()
            .recursive()
            .timeout(Duration::from_secs(60))
            .from(module)
            .to(bench.to.root()),
        bench.to.root(),
    );
}
