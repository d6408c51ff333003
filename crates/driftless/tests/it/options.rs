//! What the options of `driftless mirror` do.

use std::path::Path;

use testkit::{Tree, eventually};

use crate::bench::{Bench, Mirror, SOON, driftless, for_each_destination};

/// The bench without a state file: the options name another one, or none.
fn start_without_state(bench: &Bench, state: &str) -> Mirror {
    let mut command = driftless();
    command.args(["mirror", "-v", "--state", state]);
    if bench.has_daemon() {
        command
            .arg("--password-file")
            .arg(bench.daemon().password_file());
    }
    command.arg(bench.source.root()).arg(bench.destination());
    let mut mirror = Mirror::run(&mut command);
    mirror.wait_in_step();
    mirror
}

for_each_destination! {
    fn once(bench: Bench) {
        bench.source.many("tree", 3, 30, 100);
        bench.source.symlink("link", "tree");
        bench.replica.write("too much", "");
        let (code, said) = bench.start_with(&["--once"]).wait_exit();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("first copy complete"), "{said}");
        bench.source.write("tree/d00000/f00000", "changed");
        let again = bench.start_with(&["--once"]);
        eventually(SOON, || if again.said().contains("in step") { Ok(()) } else { Err(again.said()) });
        bench.assert_identical(&again);
        assert_eq!(again.wait_exit().0, 0);
    }

    fn no_delete(bench: Bench) {
        bench.replica.write("only in the replica", "");
        let bench = bench.ignoring(|path| {
            ["only in the replica", "removed", "tree"].iter().any(|kept| path == Path::new(kept))
        });
        bench.source.write("removed", "");
        bench.source.write("tree/file", "");
        bench.source.write("stays", "");
        let mirror = bench.live_with(&["--no-delete"]);
        bench.source.remove("removed");
        bench.source.remove("tree");
        bench.source.write("stays", "changed");
        bench.wait_identical(&mirror);
        let ended = mirror.stop();
        assert!(!ended.said().contains("behind"), "{}", ended.said());
        // Nor does a new start delete.
        let mirror = bench.live_with(&["--no-delete"]);
        bench.finish(mirror);
        for kept in ["only in the replica", "removed", "tree/file"] {
            assert!(bench.replica.exists(kept), "{kept} is gone");
        }
    }

    fn filters(bench: Bench) {
        let is_left_out = |path: &Path| {
            path.extension().is_some_and(|extension| extension == "log")
                || path.starts_with("cache")
                || path.starts_with("anchored")
        };
        let bench = bench.ignoring(move |path| is_left_out(path) && path != Path::new("keep.log"));
        bench.source.write("keep.log", "included");
        bench.source.write("a.log", "excluded");
        bench.source.write("dir/b.log", "excluded");
        bench.source.write("cache/file", "excluded");
        bench.source.write("anchored", "excluded");
        bench.source.write("dir/anchored", "not this one");
        bench.source.write("plain", "");
        let rules = ["--include", "keep.log", "--exclude", "*.log", "--filter", "- cache/", "-f", "- /anchored"];
        let mirror = bench.live_with(&rules);
        bench.source.write("new.log", "excluded");
        bench.source.append("keep.log", " still");
        bench.source.write("cache/deep/er", "excluded");
        bench.source.rename("plain", "renamed");
        bench.source.write("dir/new/c.log", "excluded");
        bench.finish(mirror);
        for left_out in ["a.log", "dir/b.log", "cache", "anchored", "new.log", "dir/new/c.log"] {
            assert!(!bench.replica.exists(left_out), "{left_out} is there");
        }
        assert!(bench.replica.exists("dir/anchored") && bench.replica.exists("keep.log"));
    }

    fn rename_into_and_out_of_what_is_left_out(bench: Bench) {
        let bench = bench.ignoring(|path| path.extension().is_some_and(|extension| extension == "tmp"));
        bench.source.write("a.tmp", "to be seen");
        bench.source.write("b", "to be hidden");
        bench.source.write("d.tmp/file", "a directory to be seen");
        let mirror = bench.live_with(&["--exclude", "*.tmp"]);
        bench.source.rename("a.tmp", "a");
        bench.source.rename("b", "b.tmp");
        bench.source.rename("d.tmp", "d");
        bench.finish(mirror);
        assert!(bench.replica.exists("d/file") && !bench.replica.exists("b.tmp"));
    }

    fn left_out_file_changes_the_time_of_its_directory(bench: Bench) {
        let bench = bench.ignoring(|path| path.extension().is_some_and(|extension| extension == "tmp"));
        bench.source.write("dir/file", "content");
        bench.source.write("other/b.tmp", "content");
        let mirror = bench.live_with(&["--exclude", "*.tmp"]);
        bench.source.write("dir/a.tmp", "content");
        bench.source.remove("other/b.tmp");
        bench.finish(mirror);
    }

    fn filters_that_changed_since_the_last_start(bench: Bench) {
        bench.source.write("a.log", "content");
        bench.source.write("dir/b.log", "content");
        bench.source.write("file", "content");
        let mirror = bench.live_with(&["--exclude", "*.log"]);
        mirror.stop();
        assert!(!bench.replica.exists("a.log"));
        let mirror = bench.live();
        bench.finish(mirror);
        assert!(bench.replica.exists("dir/b.log"));
    }

    fn state_file_inside_the_source(bench: Bench) {
        let bench = bench.ignoring(|path| path.starts_with(".state") || path.to_string_lossy().contains("/db"));
        bench.source.write("file", "content");
        bench.source.directory("hidden");
        let mut command = bench.options();
        command.arg("--state").arg(bench.source.path("hidden/db")).arg(bench.source.root()).arg(bench.destination());
        let mut mirror = Mirror::run(&mut command);
        mirror.wait_in_step();
        bench.source.write("file", "changed");
        bench.source.write("hidden/other", "beside the state file");
        eventually(SOON, || match bench.replica.exists("hidden/other") {
            true => Ok(()),
            false => Err("not there"),
        });
        // Writing down what was done is no change of its own, so there comes an end to the sessions.
        eventually(SOON, || {
            let before = mirror.crossed();
            std::thread::sleep(std::time::Duration::from_secs(1));
            if mirror.crossed() == before { Ok(()) } else { Err(mirror.said()) }
        });
        let ended = mirror.stop();
        assert_eq!(bench.replica.read("file"), b"changed");
        for file in std::fs::read_dir(bench.replica.path("hidden")).unwrap() {
            let name = file.unwrap().file_name();
            assert_eq!(name, "other", "{}", ended.said());
        }
    }

    fn relative_places(bench: Bench) {
        bench.source.write("file", "content");
        let mut command = bench.options();
        command.current_dir(bench.path("")).arg("source");
        command.arg(if bench.destination() == *bench.replica.root() { "replica".into() } else { bench.destination() });
        let mut mirror = Mirror::run(&mut command);
        mirror.wait_in_step();
        bench.source.write("new", "content");
        bench.finish(mirror);
    }

    fn more_directories_than_watches(bench: Bench) {
        bench.source.many("tree", 5, 2, 10);
        let mut mirror = bench.start_with(&["--max-watches", "3"]);
        let said = mirror.wait_for("max_user_watches");
        assert!(said.contains('3') && said.contains('7'), "{said}");
        mirror.wait_in_step();
        for directory in 0..5 {
            bench.source.write(format!("tree/d{directory:05}/f00000"), format!("changed {directory}"));
            bench.source.remove(format!("tree/d{directory:05}/f00001"));
        }
        bench.source.write("tree/d00004/new/er/file", "");
        bench.finish(mirror);
    }

    fn settle_time(bench: Bench) {
        bench.source.write("file", "content");
        let mirror = bench.live_with(&["--settle", "0"]);
        bench.source.write("file", "changed");
        bench.wait_identical(&mirror);
        mirror.stop();
        let mirror = bench.live_with(&["--settle", "300"]);
        bench.source.write("file", "changed again");
        bench.finish(mirror);
    }
}

fn memory(bench: &Bench) {
    bench.source.write("file", "content");
    let mirror = start_without_state(bench, ":memory:");
    bench.source.write("file", "changed");
    bench.source.write("new", "content");
    bench.finish(mirror);
    bench.source.remove("new");
    let mirror = start_without_state(bench, ":memory:");
    bench.finish(mirror);
    assert!(!Tree::at(bench.path("")).exists(":memory:"));
}

#[test]
fn state_in_memory_with_a_directory() {
    memory(&Bench::with_directory());
}

#[test]
fn state_in_memory_with_a_daemon() {
    memory(&Bench::with_daemon());
}

#[test]
fn password_from_the_environment() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let mut command = driftless();
    command
        .args(["mirror", "--once", "--state", ":memory:"])
        .env("RSYNC_PASSWORD", "secret");
    command.arg(bench.source.root()).arg(bench.daemon().url(""));
    let ended = Mirror::run(&mut command);
    assert_eq!(ended.wait_exit().0, 0);
    assert_eq!(bench.replica.read("file"), b"content");
}

#[test]
fn what_is_sent_in_a_second() {
    let bench = Bench::with_daemon();
    bench.source.file("file", 512 << 10);
    let began = std::time::Instant::now();
    let (code, said) = bench
        .start_with(&["--once", "--bandwidth", "256k"])
        .wait_exit();
    assert_eq!(code, 0, "{said}");
    // It takes two seconds, less what the last piece would take.
    assert!(began.elapsed().as_millis() > 1500, "{said}");
    assert_eq!(bench.replica.read("file"), bench.source.read("file"));
}

#[test]
fn two_replicas_of_two_kinds() {
    let bench = Bench::with_daemon();
    bench.source.many("tree", 2, 20, 100);
    let second = bench.path("second");
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .arg(bench.destination())
        .arg(&second);
    let mut mirror = Mirror::run(&mut command);
    mirror
        .program
        .wait_for_nth_line(2, "first copy complete", SOON);
    bench.source.rename("tree/d00000", "renamed");
    bench.source.write("new", "content");
    eventually(SOON, || {
        testkit::compare(bench.source.root(), &second, &testkit::Aspects::exact())
    });
    bench.finish(mirror);
}
