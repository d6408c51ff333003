//! Drift at the replica: found, mended and told (mirror.md 6.13); what is overwritten or deleted, kept.

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
