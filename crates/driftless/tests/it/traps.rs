//! Where `rsync` in a loop goes wrong.

use std::path::Path;
use std::time::Duration;

use testkit::Tree;

use crate::bench::{Bench, Crossed, SOON, for_each_destination, name};

for_each_destination! {
    fn same_size_rewrite_within_one_second(bench: Bench) {
        bench.source.write("file", "aaaaaaaa");
        let mirror = bench.live();
        // Many in a row, and the last one within the second of the one before it almost certainly.
        for round in 0..8 {
            bench.source.write("file", format!("{round:08}"));
            bench.wait_identical(&mirror);
        }
        bench.finish(mirror);
    }

    fn same_size_rewrite_with_the_same_mtime(bench: Bench) {
        bench.source.write("file", "aaaaaaaa");
        let mirror = bench.live();
        let mtime = bench.source.mtime("file");
        bench.source.write("file", "bbbbbbbb");
        bench.source.touch("file", mtime);
        bench.finish(mirror);
    }

    fn same_size_rewrite_with_the_same_mtime_while_no_mirror_runs(bench: Bench) {
        bench.source.write("file", "aaaaaaaa");
        let mirror = bench.live();
        bench.finish(mirror);
        let mtime = bench.source.mtime("file");
        bench.source.write("file", "bbbbbbbb");
        bench.source.touch("file", mtime);
        let mirror = bench.live();
        bench.finish(mirror);
    }

    fn mtime_set_back(bench: Bench) {
        bench.source.write("file", "aaaaaaaa");
        let first = bench.source.mtime("file");
        let mirror = bench.live();
        bench.source.write("file", "bbbbbbbb");
        bench.source.touch("file", first + Duration::from_secs(100));
        bench.wait_identical(&mirror);
        bench.source.write("file", "cccccccc");
        bench.source.touch("file", first);
        bench.finish(mirror);
    }

    fn file_replaced_by_an_older_one_of_the_same_size(bench: Bench) {
        bench.source.write("old", "aaaaaaaa");
        bench.source.write("file", "bbbbbbbb");
        let mtime = bench.source.mtime("file");
        bench.source.touch("old", mtime);
        let mirror = bench.live();
        bench.source.rename("old", "file");
        bench.finish(mirror);
    }

    fn chmod_sends_no_data(bench: Bench) {
        bench.source.file("file", 1000);
        bench.source.file("dir/file", 1000);
        let mirror = bench.live();
        let before = mirror.crossed().bytes;
        bench.source.chmod("file", 0o600);
        bench.source.chmod("dir/file", 0o6711);
        bench.source.chmod("dir", 0o700);
        bench.wait_identical(&mirror);
        let ended = mirror.stop();
        assert_eq!(ended.crossed().bytes, before, "{}", ended.said());
        bench.assert_identical(&ended);
    }

    fn touch_of_one_among_many_sends_no_other(bench: Bench) {
        bench.source.many("tree", 2, 50, 1000);
        let mirror = bench.live();
        let before = mirror.crossed();
        bench.source.write("tree/d00001/f00001", "new");
        bench.wait_identical(&mirror);
        let ended = mirror.stop();
        assert!(ended.crossed().bytes - before.bytes <= 2 * 3, "{}", ended.said());
    }

    fn deleted_names_that_look_like_something_else(bench: Bench) {
        let names: Vec<_> = [
            &b"*"[..], b"**", b"?", b"[x]", b"[!x]", b"-e", b"--delete", b"-", b"line\nend", b"\n", b"+ x", b"- *", b"!", b"#", b";",
            b"\\*", b"a\\", b".*", b"...", b"/x"[1..].as_ref(), b" ", b"\xff", b"{a,b}", b"~", b"host::module",
        ]
        .into_iter()
        .map(name)
        .collect();
        let others = ["a", "b", "x", "e", "line", "end", "delete", ".hidden", "a b", "-x", "xx"];
        for directory in ["", "dir", "*dir*"] {
            for name in &names {
                bench.source.write(Path::new(directory).join(name), "goes");
            }
            for other in others {
                bench.source.write(Path::new(directory).join(format!("stays {other}")), "stays");
                bench.source.write(Path::new(directory).join(other), "stays");
            }
        }
        // Names of both lists are deleted below; what stays is what the source has then.
        let mirror = bench.live();
        for directory in ["", "dir", "*dir*"] {
            for name in &names {
                bench.source.remove(Path::new(directory).join(name));
                bench.wait_identical(&mirror);
            }
        }
        for name in &names {
            bench.source.write(Path::new("trees").join(name).join("below/file"), "goes");
        }
        bench.wait_identical(&mirror);
        for name in &names {
            bench.source.remove(Path::new("trees").join(name));
        }
        bench.wait_identical(&mirror);
        bench.source.remove("*dir*");
        bench.finish(mirror);
    }

    fn excluded_files_stay_below_a_deleted_directory(bench: Bench) {
        bench.replica.write("dir/deep/kept.bak", "only the replica has this");
        bench.replica.write("dir/other.bak", "and this");
        bench.replica.write("top.bak", "and this");
        let bench = bench.ignoring(|path| {
            path.starts_with("dir") || path.extension().is_some_and(|extension| extension == "bak")
        });
        bench.source.write("dir/deep/file", "content");
        bench.source.write("dir/file", "content");
        bench.source.write("other", "content");
        let mirror = bench.live_with(&["--exclude", "*.bak"]);
        bench.source.remove("dir");
        bench.source.write("other", "changed");
        bench.wait_identical(&mirror);
        testkit::eventually(SOON, || {
            match ["dir/file", "dir/deep/file"].iter().find(|path| bench.replica.exists(path)) {
                None => Ok(()),
                Some(left) => Err(format!("{left} is still there; the mirror said:\n{}", mirror.said())),
            }
        });
        let ended = mirror.stop();
        for kept in ["dir/deep/kept.bak", "dir/other.bak", "top.bak"] {
            assert!(bench.replica.exists(kept), "{kept} is gone; the mirror said:\n{}", ended.said());
        }
        assert!(!ended.said().contains("behind"), "{}", ended.said());
    }

    fn link_in_the_replica_is_not_followed(bench: Bench) {
        let outside = Tree::build(bench.path("outside"), "f file 10");
        bench.replica.symlink("dir", outside.root());
        bench.replica.symlink("file", outside.path("file"));
        bench.source.write("dir/file", "content");
        bench.source.write("file", "content");
        let mirror = bench.live();
        bench.source.write("dir/new", "content");
        bench.source.remove("dir/file");
        bench.finish(mirror);
        assert_eq!(outside.read("file").len(), 10);
        assert!(!outside.exists("new"));
    }

    fn excluded_files_stay_in_a_directory_that_becomes_a_file(bench: Bench) {
        // There is no place for both: the replica keeps what it has and the mirror says what it could not do.
        bench.replica.write("dir/kept.bak", "only the replica has this");
        let bench = bench.ignoring(|path| path.starts_with("dir"));
        bench.source.write("dir/file", "content");
        let mut mirror = bench.live_with(&["--exclude", "*.bak"]);
        bench.source.remove("dir");
        bench.source.write("dir", "is a file now");
        mirror.wait_for("behind");
        bench.source.write("other", "goes on");
        bench.wait_identical(&mirror);
        mirror.stop();
        assert!(bench.replica.exists("dir/kept.bak"));
    }
}

#[test]
fn munged_link_is_not_sent_again() {
    links_are_sent_once(&Bench::with_munging_daemon());
}

#[test]
fn sanitised_link_is_not_sent_again() {
    // Without its leading slash: the difference that is known and told.
    links_are_sent_once(&Bench::with_daemon().ignoring(|path| path == Path::new("dir/link")));
}

fn links_are_sent_once(bench: &Bench) {
    bench.source.symlink("link", "target");
    bench.source.symlink("dir/link", "/absolute");
    bench.source.write("dir/file", "content");
    let mut mirror = bench.live();
    mirror.wait_for("munge symlinks");
    bench.finish(mirror);
    // A first start looks twice at what is very young.
    let mirror = bench.live();
    bench.finish(mirror);
    let mirror = bench.live();
    assert_eq!(mirror.crossed(), Crossed::default(), "{}", mirror.said());
    // Nor when the directory it is in is looked at.
    bench.source.write("dir/file", "changed!");
    bench.wait_identical(&mirror);
    let ended = mirror.stop();
    let crossed = ended.crossed();
    assert!(
        crossed.updated <= 3,
        "the file, once more because it was young, and its directory:\n{}",
        ended.said()
    );
}
