//! When a mirror must not delete, and waits for its operator (mirror.md 6.6; sersync deletes: 1.7.9).

use testkit::eventually;

use crate::bench::{Bench, SOON, for_each_destination};

/// More than may be deleted unasked.
const MANY: usize = 1200;

/// Makes `MANY` files in a directory of their own, and some beside it.
fn fill(bench: &Bench) {
    for number in 0..MANY {
        bench
            .source
            .write(format!("many/{}/f{number}", number % 10), "content");
    }
    bench.source.write("few/file", "content");
}

/// How many of the many files the replica has.
fn count(bench: &Bench) -> usize {
    (0..MANY)
        .filter(|number| {
            bench
                .replica
                .exists(format!("many/{}/f{number}", number % 10))
        })
        .count()
}

for_each_destination! {
    fn most_of_the_files_vanish_while_no_mirror_runs(bench: Bench) {
        fill(&bench);
        let mirror = bench.live();
        bench.finish(mirror);
        bench.source.remove("many");
        let mut mirror = bench.start();
        mirror.wait_for("1200 of 1201 files would be deleted");
        // What is no deletion goes on.
        bench.source.write("few/new", "content");
        eventually(SOON, || match bench.replica.exists("few/new") {
            true => Ok(()),
            false => Err(format!("not brought over:\n{}", mirror.said())),
        });
        assert_eq!(count(&bench), MANY);
        let (_, status) = bench.command(&["status"]);
        assert!(status.contains("braked") && status.contains("1200 of 1201"), "{status}");
        let (done, said) = bench.command(&["flush", "--timeout", "5"]);
        assert!(!done && said.contains("approved"), "{said}");
        // Another single deletion does not slip through.
        bench.source.remove("few/file");
        bench.source.write("few/newer", "content");
        eventually(SOON, || match bench.replica.exists("few/newer") {
            true => Ok(()),
            false => Err(format!("not brought over:\n{}", mirror.said())),
        });
        assert!(bench.replica.exists("few/file"));
        bench.approve();
        bench.finish(mirror);
    }

    fn a_directory_that_is_renamed_takes_its_files_along(bench: Bench) {
        fill(&bench);
        let mirror = bench.live();
        bench.wait_identical(&mirror);
        bench.source.rename("many", "renamed");
        bench.finish(mirror);
    }

    fn so_does_one_of_empty_files_and_links(bench: Bench) {
        for number in 0..MANY {
            let path = format!("many/{}/f{number}", number % 10);
            match number % 3 {
                0 => bench.source.symlink(path, "target"),
                1 => {
                    bench.source.write(&path, "content");
                    bench.source.hard_link(format!("{path}.link"), &path);
                }
                _ => bench.source.write(path, ""),
            }
        }
        let mirror = bench.live();
        bench.wait_identical(&mirror);
        bench.source.rename("many", "renamed");
        bench.finish(mirror);
    }

    fn names_of_files_that_keep_another_one_are_not_asked_about(bench: Bench) {
        fill(&bench);
        for number in 0..MANY {
            let file = format!("many/{}/f{number}", number % 10);
            bench.source.hard_link(format!("kept/f{number}"), file);
        }
        let mirror = bench.live();
        bench.finish(mirror);
        bench.source.remove("many");
        let mirror = bench.start_with(&["--max-delete-share", "1"]);
        bench.finish(mirror);
    }

    fn removals_that_are_seen_one_by_one_are_not_asked_about(bench: Bench) {
        fill(&bench);
        let mirror = bench.live();
        bench.source.remove("many");
        bench.finish(mirror);
    }

    fn files_that_come_back_release_the_brake(bench: Bench) {
        fill(&bench);
        let mirror = bench.live();
        bench.finish(mirror);
        std::fs::rename(bench.source.path("many"), bench.path("aside")).unwrap();
        let mut mirror = bench.start();
        mirror.wait_for("waits for approval");
        std::fs::rename(bench.path("aside"), bench.source.path("many")).unwrap();
        let (done, said) = bench.command(&["rescan"]);
        assert!(done, "{said}");
        mirror.wait_for("deletes again");
        bench.source.remove("few/file");
        bench.finish(mirror);
        assert_eq!(count(&bench), MANY);
    }

    fn replica_that_holds_something_else(bench: Bench) {
        // A destination typed wrong: nothing that is there may go unasked.
        for number in 0..MANY {
            bench.replica.write(format!("precious/f{number}"), "stays");
        }
        bench.source.write("file", "content");
        let mut mirror = bench.start();
        mirror.wait_for("waits for approval");
        eventually(SOON, || match bench.replica.exists("file") {
            true => Ok(()),
            false => Err(format!("not brought over:\n{}", mirror.said())),
        });
        assert!(bench.replica.exists("precious/f0") && bench.replica.exists("precious/f1199"));
        bench.approve();
        bench.finish(mirror);
    }

    fn a_single_run_does_not_wait(bench: Bench) {
        fill(&bench);
        let mirror = bench.live();
        bench.finish(mirror);
        bench.source.remove("many");
        let (code, said) = bench.start_with(&["--once"]).wait_exit();
        assert_eq!(code, 25, "{said}");
        assert!(said.contains("1200 of 1201"), "{said}");
        assert_eq!(count(&bench), MANY);
        let mirror = bench.live_with(&["--max-delete-share", "100"]);
        bench.finish(mirror);
    }

    fn empty_source_at_a_start(bench: Bench) {
        bench.replica.write("precious", "stays");
        let mut mirror = bench.start();
        mirror.wait_for("source is empty");
        assert!(bench.replica.exists("precious"));
        bench.approve();
        bench.finish(mirror);
    }

    fn source_that_was_made_anew(bench: Bench) {
        bench.source.write("dir/precious", "content");
        let mirror = bench.live();
        bench.finish(mirror);
        std::fs::rename(bench.source.root(), bench.path("aside")).unwrap();
        bench.source.write("other", "content");
        let mut mirror = bench.start();
        mirror.wait_for("another directory");
        assert!(bench.replica.exists("dir/precious") && !bench.replica.exists("other"));
        bench.approve();
        bench.finish(mirror);
        // It is the known one from then on.
        let mirror = bench.live();
        bench.finish(mirror);
    }

    fn source_that_is_replaced_while_it_is_mirrored(bench: Bench) {
        bench.source.write("dir/precious", "content");
        let mut mirror = bench.live();
        std::fs::rename(bench.source.root(), bench.path("aside")).unwrap();
        bench.source.write("other", "content");
        mirror.wait_for("moved or replaced");
        assert!(bench.replica.exists("dir/precious") && !bench.replica.exists("other"));
        bench.approve();
        bench.wait_identical(&mirror);
        // The new one is watched.
        bench.source.write("dir/new", "content");
        bench.finish(mirror);
    }
}

#[test]
fn a_replica_that_is_paused_gets_nothing_until_it_is_resumed() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mirror = bench.live();
    let (done, said) = bench.command(&["pause"]);
    assert!(done, "{said}");
    bench.source.write("new", "content");
    let (done, said) = bench.command(&["flush", "--timeout", "30"]);
    assert!(!done && said.contains("paused"), "{said}");
    assert!(!bench.replica.exists("new"));
    let (_, status) = bench.command(&["status"]);
    assert!(status.contains("paused"), "{status}");
    let (done, said) = bench.command(&["resume"]);
    assert!(done, "{said}");
    let (done, said) = bench.command(&["flush"]);
    assert!(done, "{said}");
    assert!(bench.replica.exists("new"));
    let (done, said) = bench.command(&["approve", "nobody"]);
    assert!(!done && said.contains("no replica nobody"), "{said}");
    bench.finish(mirror);
}
