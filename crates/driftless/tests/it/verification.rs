//! Drift at the replica: found, mended and told (mirror.md 6.13); what is overwritten or deleted, kept; what a module
//! refuses, a difference that stands and no failure.

use testkit::eventually;

use crate::bench::{Bench, SOON, for_each_destination};

for_each_destination! {
    fn drift_is_found_mended_and_told(bench: Bench) {
        for number in 0..30 {
            bench.source.write(format!("dir{}/file{number}", number % 3), format!("content {number}"));
        }
        bench.source.write("dir/deep/file", "0123456789");
        let mut mirror = bench.live();
        bench.wait_identical(&mirror);
        // Behind the mirror's back: another content of the same size and time, a file gone, one too many.
        let mtime = bench.replica.mtime("dir/deep/file");
        bench.replica.write("dir/deep/file", "9876543210");
        bench.replica.touch("dir/deep/file", mtime);
        bench.replica.remove("dir1/file1");
        bench.replica.write("dir2/extra", "too much");
        let (done, said) = bench.command(&["verify"]);
        assert!(done, "{said}");
        mirror.wait_for("verified: 31 files");
        bench.wait_identical(&mirror);
        for path in ["dir/deep/file", "dir1/file1", "dir2/extra"] {
            mirror.wait_for(&format!("had drifted: {path}"));
        }
        let (_, status) = bench.command(&["status"]);
        assert!(status.contains("verified: 31 files compared, 3 mended"), "{status}");
        bench.finish(mirror);
    }

    fn a_single_run_verifies_before_it_ends(bench: Bench) {
        bench.source.write("file", "0123456789");
        let (code, said) = bench.start_with(&["--once"]).wait_exit();
        assert_eq!(code, 0, "{said}");
        let mtime = bench.replica.mtime("file");
        bench.replica.write("file", "9876543210");
        bench.replica.touch("file", mtime);
        let (code, said) = bench.start_with(&["--once", "--verify", "--verify-rate", "10M"]).wait_exit();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("verified: 1 files") && said.contains("had drifted: file"), "{said}");
        assert_eq!(bench.replica.read("file"), b"0123456789");
        let (_, said) = bench.start_with(&["--once", "--verify"]).wait_exit();
        assert!(said.contains("0 mended"), "{said}");
    }

    fn what_is_left_out_is_no_drift(bench: Bench) {
        let bench = bench.ignoring(|path| path.starts_with(".trash") || path.ends_with("x.keep"));
        bench.source.write("file", "first");
        let options = ["--trash", ".trash", "--exclude", "*.keep"];
        let mut mirror = bench.live_with(&options);
        bench.source.write("file", "second, which sends the first to the trash");
        bench.wait_identical(&mirror);
        bench.replica.write("x.keep", "nobody sent me");
        let (done, said) = bench.command(&["verify"]);
        assert!(done, "{said}");
        let said = mirror.wait_for("verified: 1 files");
        assert!(said.contains(", 0 mended"), "{}", mirror.said());
        assert!(bench.replica.exists("x.keep"));
        bench.finish(mirror);
    }

    fn what_is_protected_stays_where_the_source_has_it_no_more(bench: Bench) {
        let bench = bench.ignoring(|path| path.starts_with("gone") || path.starts_with("old") || path.ends_with("own"));
        let large = vec![b'x'; 600 << 10];
        bench.source.write("gone/deep/a.keep", "kept");
        bench.source.write("gone/deep/b", "content");
        bench.source.write("old/a.keep", &large);
        bench.source.write("old/b", &large);
        bench.source.write("old/c.secret", "sent by nobody");
        let rules = ["--filter", "H *.secret", "--filter", "P *.keep", "--filter", "P /own"];
        let mirror = bench.live_with(&rules);
        bench.wait_identical(&mirror);
        bench.replica.write("own", "only here");
        bench.replica.write("old/d.secret", "of no right");
        bench.source.remove("gone");
        bench.source.rename("old", "new");
        bench.source.remove("new/c.secret");
        let is_there = |name: &str| bench.replica.exists(name);
        eventually(SOON, || {
            let left = ["gone/deep/b", "old/b", "old/d.secret"];
            match left.into_iter().find(|name| is_there(name)) {
                Some(name) => Err(format!("{name} is still there")),
                None => Ok(()),
            }
        });
        bench.finish(mirror);
        assert!(is_there("gone/deep/a.keep") && is_there("old/a.keep") && is_there("own"));
        assert_eq!(bench.replica.read("new/a.keep"), large);
    }

    fn trash_keeps_what_is_overwritten_or_deleted(bench: Bench) {
        let bench = bench.ignoring(|path| path.starts_with(".trash"));
        bench.source.write("file", "first");
        bench.source.write("dir/deep/file", "deleted");
        let mirror = bench.live_with(&["--trash", ".trash"]);
        bench.source.write("file", "second, of another size");
        bench.source.remove("dir");
        bench.wait_identical(&mirror);
        let kept = |name: &str| {
            let days = std::fs::read_dir(bench.replica.path(".trash")).ok()?;
            days.flatten().find_map(|day| std::fs::read(day.path().join(name)).ok())
        };
        eventually(SOON, || {
            let (file, deep) = (kept("file"), kept("dir/deep/file"));
            match (file.as_deref(), deep.as_deref()) {
                (Some(b"first"), Some(b"deleted")) => Ok(()),
                found => Err(format!("the trash holds {found:?}\n{}", mirror.said())),
            }
        });
        bench.finish(mirror);
        // Nor does a look at everything take it away.
        let mirror = bench.live_with(&["--trash", ".trash", "--verify"]);
        bench.finish(mirror);
        assert_eq!(kept("file").as_deref(), Some(&b"first"[..]));
    }
}

#[test]
fn names_that_the_module_refuses_are_standing_differences() {
    let bench = Bench::with_daemon_as(|daemon| daemon.exclude("*.secret"));
    let bench = bench.ignoring(|path| {
        let is_refused = |path: &std::path::Path| path.extension().is_some_and(|e| e == "secret");
        path.ancestors().any(is_refused)
    });
    bench.source.write("a", "content");
    bench.source.write("b.secret", "content");
    bench.source.write("dir/c.secret/inner", "content");
    bench.source.write("dir/d", "content");
    let mut mirror = bench.live();
    mirror.wait_for("b.secret stays different: ERROR: daemon refused to receive file");
    mirror.wait_for("dir/c.secret stays different");
    // The rest goes on, also in the same batch and the same directory.
    bench.source.write("dir/e.secret", "content");
    bench.source.write("dir/f", "content");
    bench.source.remove("dir/d");
    mirror.wait_for("dir/e.secret stays different");
    bench.wait_identical(&mirror);
    let (done, said) = bench.command(&["flush"]);
    assert!(done, "{said}");
    let (_, status) = bench.command(&["status"]);
    assert!(
        status.contains("in-step") && status.contains("stays different: b.secret"),
        "{status}"
    );
    let ended = mirror.stop();
    assert!(!ended.said().contains("behind"), "{}", ended.said());
}

#[test]
fn a_module_that_refuses_deletions_says_so_in_the_status() {
    let bench = Bench::with_daemon_as(|daemon| daemon.refuse_options("delete"));
    bench.source.write("file", "content");
    bench.source.write("gone", "content");
    let mut mirror = bench.live();
    bench.source.remove("gone");
    mirror.wait_for("does not delete");
    bench.source.write("file", "goes on");
    eventually(SOON, || match bench.replica.read("file") == b"goes on" {
        true => Ok(()),
        false => Err(mirror.said()),
    });
    let (_, status) = bench.command(&["status"]);
    assert!(status.contains("deletes nothing:"), "{status}");
    mirror.stop();
    assert!(bench.replica.exists("gone"));
}
