//! What the ledger is for: after a new start only what changed meanwhile crosses over.

use std::time::{Duration, UNIX_EPOCH};

use crate::bench::{Bench, Crossed, Mirror, for_each_destination};

/// A tree whose changes are long over, so that nothing in it is compared a second time.
fn grow(bench: &Bench) {
    for directory in 0..10 {
        for file in 0..20 {
            bench.source.file(format!("d{directory}/f{file}"), 1000);
        }
    }
    bench.source.symlink("link", "d0/f0");
    bench.source.hard_link("hard", "d0/f1");
}

/// A mirror that brought everything over and was ended, with no look left to take.
fn settle(bench: &Bench) {
    // A file's ctime must be older than a clock tick before a version of it is beyond doubt, so the second start
    // may compare the last ones once more; the third has nothing to do.
    for _ in 0..2 {
        let mirror = bench.live();
        bench.finish(mirror);
    }
}

/// A mirror with a directory as another replica.
fn with_a_second_replica(bench: &Bench) -> Mirror {
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .arg(bench.destination())
        .arg(bench.path("second"));
    Mirror::run(&mut command)
}

for_each_destination! {
    fn nothing_changed(bench: Bench) {
        grow(&bench);
        settle(&bench);
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        assert_eq!(mirror.stop().crossed(), Crossed::default());
    }

    fn only_changes_cross(bench: Bench) {
        grow(&bench);
        settle(&bench);
        bench.source.write("d1/f1", "short");
        bench.source.write("d2/new", "new file");
        bench.source.remove("d3/f3");
        bench.source.remove("d4");
        bench.source.chmod("d5/f5", 0o600);
        bench.source.touch("d6/f6", UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let mirror = bench.live();
        bench.wait_identical(&mirror);
        let crossed = mirror.stop().crossed();
        // Two files' content and no other; two names gone; four files and at most the directories they are in.
        assert_eq!((crossed.bytes, crossed.removed), (13, 2), "{crossed:?}");
        assert!((4..=12).contains(&crossed.updated), "{crossed:?}");
    }

    fn replica_that_was_filled_by_somebody_else(bench: Bench) {
        grow(&bench);
        settle(&bench);
        // Without a ledger everything is compared, but what is there already is not sent again.
        std::fs::remove_file(bench.path("state")).unwrap();
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        assert_eq!(mirror.stop().crossed().bytes, 0);
    }

    fn damaged_state_file_is_put_aside(bench: Bench) {
        grow(&bench);
        settle(&bench);
        for suffix in ["", "-wal", "-shm"] {
            let path = bench.path(&format!("state{suffix}"));
            if suffix.is_empty() || path.exists() {
                std::fs::write(path, testkit::content(1, 20_000)).unwrap();
            }
        }
        bench.source.remove("d7");
        bench.source.write("d8/f8", "changed");
        let mut mirror = bench.live();
        mirror.wait_for("moved");
        bench.finish(mirror);
    }

    fn deletions_of_what_no_mirror_saw(bench: Bench) {
        grow(&bench);
        settle(&bench);
        // In directories that are listed whole for the first time, what is too much goes.
        let state = bench.path("state");
        std::fs::remove_file(state).unwrap();
        bench.source.remove("d1/f1");
        bench.source.remove("d2");
        bench.replica.write("d3/from somewhere else", "");
        let mirror = bench.live();
        bench.finish(mirror);
    }

    fn source_is_replaced_by_a_copy(bench: Bench) {
        grow(&bench);
        settle(&bench);
        // Other inodes, other ctimes, the same content and times: nothing but a comparison.
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(bench.source.root())
            .arg(bench.path("copy"))
            .status()
            .unwrap();
        assert!(copied.success());
        bench.source.remove("");
        std::fs::rename(bench.path("copy"), bench.source.root()).unwrap();
        let mut mirror = bench.start();
        mirror.wait_for("another directory");
        bench.approve();
        mirror.wait_in_step();
        bench.wait_identical(&mirror);
        assert_eq!(mirror.stop().crossed().bytes, 0);
    }
}

#[test]
fn replicas_have_ledgers_of_their_own() {
    let bench = Bench::with_daemon();
    grow(&bench);
    settle(&bench);
    let mut mirror = with_a_second_replica(&bench);
    mirror.wait_for("second: first copy complete");
    testkit::compare(
        bench.source.root(),
        &bench.path("second"),
        &testkit::Aspects::exact(),
    )
    .unwrap();
    bench.finish(mirror);
}

#[test]
fn each_replica_tells_what_was_brought_over_to_it() {
    let bench = Bench::with_daemon();
    bench.source.write("a", "12345");
    bench.source.write("b", "1234567");
    let mut mirror = with_a_second_replica(&bench);
    for replica in ["backup", "second"] {
        mirror.wait_for(&format!(
            "{replica}: first copy complete (2 files, 12 B brought over)"
        ));
    }
    bench.finish(mirror);
}
