//! Large batches, which several sessions bring over at the same time.

use std::path::Path;

use testkit::{Original, skip};

use crate::bench::{Bench, for_each_kind_of_destination};

/// Makes more than one session is worth, in four subtrees of one directory, with something beside them.
fn fill(bench: &Bench, name: &str) {
    bench.source.many(format!("{name}/in"), 4, 400, 100);
    bench.source.write(format!("{name}/beside"), "content");
    bench.source.symlink(format!("{name}/link"), "in");
}

for_each_kind_of_destination! {
    fn all_parts_arrive(bench: Bench) {
        fill(&bench, "tree");
        bench.replica.write("tree/in/d00001/too much", "");
        bench.replica.write("tree/too much/in it", "");
        bench.replica.write("tree/in/d00002", "a file where a directory is to be");
        let mirror = bench.live();
        bench.wait_identical(&mirror);
        fill(&bench, "other");
        for directory in 0..4 {
            let directory = format!("tree/in/d{directory:05}");
            bench.source.many(format!("{directory}/new"), 1, 300, 10);
            bench.source.remove(format!("{directory}/f00000"));
            bench.source.write(format!("{directory}/f00001"), "changed");
        }
        bench.finish(mirror);
    }
}

#[test]
fn each_part_takes_a_session() {
    let connections = |sessions: &str| {
        let bench = Bench::with_daemon();
        fill(&bench, "tree");
        let (code, said) = bench
            .start_with(&["--once", "--sessions", sessions])
            .wait_exit();
        assert_eq!(code, 0, "{said}");
        bench.daemon().log().matches("connect from").count()
    };
    // The directories above go first, and then the four parts.
    assert_eq!(connections("4"), connections("1") + 4);
}

#[test]
fn a_peer_without_slots_gets_the_parts_in_turn() {
    let bench = Bench::with_daemon_as(|daemon| daemon.munge_symlinks(false).max_connections(1));
    fill(&bench, "tree");
    let mirror = bench.live();
    fill(&bench, "other");
    bench.finish(mirror);
}

#[test]
fn what_one_part_leaves_out_is_told_and_the_rest_arrives() {
    let bench = Bench::with_daemon_as(|daemon| daemon.munge_symlinks(false).exclude("f00007"));
    let refused = Path::new("tree/in/d00002/f00007");
    let bench = bench.ignoring(move |path| path == refused);
    for directory in 0..4 {
        let directory = format!("tree/in/d{directory:05}");
        for file in (0..400).filter(|file| *file != 7) {
            bench
                .source
                .write(format!("{directory}/f{file:05}"), "content");
        }
    }
    bench.source.write(refused, "content");
    let mut mirror = bench.live();
    bench.wait_identical(&mirror);
    mirror.wait_for("tree/in/d00002/f00007 stays different");
    assert!(!bench.replica.exists(refused));
    bench.finish(mirror);
}

/// The 3.2.7 of some distributions refuses the names that its sender lists as missing, in the middle of a session.
#[test]
fn what_an_older_daemon_refuses_of_one_part_is_brought_over_otherwise() {
    let Some(old) = Original::OldRsync.find() else {
        return skip("there is no older rsync");
    };
    let bench = Bench::with_daemon_as(|daemon| daemon.program(&old).munge_symlinks(false));
    fill(&bench, "tree");
    let mirror = bench.live();
    for directory in 0..4 {
        let directory = format!("tree/in/d{directory:05}");
        bench.source.many(format!("{directory}/new"), 1, 400, 10);
        bench.source.remove(format!("{directory}/f00000"));
    }
    bench.finish(mirror);
}
