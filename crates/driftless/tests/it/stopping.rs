//! SIGTERM and SIGINT end the mirror with 0 and leave nothing half-written.

use std::path::PathBuf;

use testkit::{Signal, eventually};

use crate::bench::{BIG, Bench, Mirror, SOON, for_each_destination};

/// Ends the mirror while it writes a large file; the replica has no temporary file when everything has ended.
fn check(bench: &Bench, signal: Signal) {
    bench.source.write("small", "content");
    bench.source.file("large", BIG);
    let mut mirror = bench.start();
    eventually(SOON, || {
        match bench.temporary_files().is_empty() && !bench.replica.exists("large") {
            true => Err("the large file is not being written"),
            false => Ok(()),
        }
    });
    mirror.program.signal(signal);
    let (code, said) = mirror.wait_exit();
    assert_eq!(code, 0, "{said}");
    if bench.has_daemon() {
        // The workers clean up on their own, when they see that nobody is there any more.
        eventually(SOON, || match bench.daemon().workers().as_slice() {
            [] => Ok(()),
            left => Err(format!("workers that do not end: {left:?}")),
        });
    }
    assert_eq!(bench.temporary_files(), Vec::<PathBuf>::new());
    if bench.replica.exists("large") {
        assert_eq!(bench.replica.read("large"), bench.source.read("large"));
    }
    let mirror = bench.live();
    bench.finish(mirror);
}

#[test]
fn sigterm_with_a_directory() {
    check(&Bench::with_directory(), Signal::TERM);
}

#[test]
fn sigterm_with_a_daemon() {
    check(&Bench::with_daemon(), Signal::TERM);
}

#[test]
fn sigint_with_a_daemon() {
    check(&Bench::with_daemon(), Signal::INT);
}

for_each_destination! {
    fn while_idle(bench: Bench) {
        bench.source.write("file", "content");
        let mirror = bench.live();
        bench.finish(mirror);
    }

    fn while_many_files_are_on_their_way(bench: Bench) {
        bench.source.many("tree", 20, 50, 100);
        let mut mirror = bench.start();
        eventually(SOON, || match bench.replica.exists("tree/d00001") {
            true => Ok(()),
            false => Err("nothing has arrived"),
        });
        mirror.program.signal(Signal::TERM);
        let (code, said) = mirror.wait_exit();
        assert_eq!(code, 0, "{said}");
        let mirror = bench.live();
        bench.finish(mirror);
    }
}

#[test]
fn while_the_daemon_is_away() {
    let mut bench = Bench::with_daemon();
    bench.source.write("file", "content");
    bench.daemon_mut().kill();
    let mut mirror = bench.start();
    mirror.wait_for("Connection refused");
    mirror.stop();
}

#[test]
fn while_a_worker_hangs() {
    let bench = Bench::with_daemon();
    bench.source.write("small", "content");
    let mirror: Mirror = bench.live();
    bench.stop_workers_in_the_middle_of("large");
    mirror.stop();
    bench.daemon().continue_workers();
    let mirror = bench.live();
    bench.finish(mirror);
}
