//! Every kind of change reaches the replica while the mirror runs.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::chown;
use std::time::{Duration, UNIX_EPOCH};

use testkit::{Tree, content, is_root, skip};

use crate::bench::{Bench, Mirror, SOON, for_each_destination, name};

/// Something of each kind, to be changed.
fn grow(tree: &Tree) {
    tree.add(
        r"
        f file 3000 mtime=1700000000.123456789
        f empty
        f dir/inner 500 mode=0600
        f dir/deep/er/file 10
        d void mode=0750
        l link -> file
        l dangling -> nowhere/at/all
        h hard file
        p pipe
        ",
    );
}

/// The first copy of that, and then `change`.
fn check(bench: &Bench, change: impl FnOnce(&Tree)) {
    grow(&bench.source);
    let mirror = bench.live();
    bench.assert_identical(&mirror);
    change(&bench.source);
    bench.finish(mirror);
}

/// Each write to a file that is open reaches the replica.
fn check_writes(bench: &Bench, mirror: Mirror, mut open: File) {
    for text in ["seen", " and seen again"] {
        open.write_all(text.as_bytes()).unwrap();
        bench.wait_identical(&mirror);
    }
    drop(open);
    bench.finish(mirror);
}

for_each_destination! {
    fn create(bench: Bench) {
        check(&bench, |tree| {
            tree.write("new", "content");
            tree.write("a/new/directory/with", "a file");
            tree.directory("another");
            tree.fifo("dir/new pipe");
            tree.write("without content", "");
        });
    }

    fn modify(bench: Bench) {
        check(&bench, |tree| {
            tree.write("file", content(1, 3001));
            tree.write("empty", "no more");
            tree.write("dir/inner", "");
        });
    }

    fn append(bench: Bench) {
        check(&bench, |tree| {
            tree.append("file", "and more");
            tree.append("dir/inner", content(2, 700_000));
        });
    }

    fn truncate(bench: Bench) {
        check(&bench, |tree| {
            tree.truncate("file", 100);
            tree.truncate("dir/inner", 0);
            tree.truncate("empty", 100_000);
        });
    }

    fn chmod(bench: Bench) {
        check(&bench, |tree| {
            tree.chmod("file", 0o4711);
            tree.chmod("dir", 0o2770);
            tree.chmod("void", 0o1777);
            tree.chmod("pipe", 0o600);
            tree.chmod("", 0o711);
        });
    }

    fn chown_as_root(bench: Bench) {
        if !is_root() {
            return skip("changing owners needs root");
        }
        check(&bench, |tree| {
            chown(tree.path("file"), Some(4711), Some(4712)).unwrap();
            chown(tree.path("dir"), Some(1), Some(2)).unwrap();
            std::os::unix::fs::lchown(tree.path("link"), Some(4711), None).unwrap();
        });
    }

    fn touch(bench: Bench) {
        check(&bench, |tree| {
            tree.touch("file", UNIX_EPOCH + Duration::new(1_600_000_000, 999_999_999));
            tree.touch("empty", UNIX_EPOCH);
            tree.touch("dir", UNIX_EPOCH + Duration::from_secs(1_500_000_000));
            tree.touch("link", UNIX_EPOCH + Duration::from_secs(1_400_000_000));
            // After 2038 and after 2106.
            tree.touch("dir/inner", UNIX_EPOCH + Duration::from_secs(5_000_000_000));
        });
    }

    fn rename_file(bench: Bench) {
        check(&bench, |tree| {
            tree.rename("dir/inner", "outer");
            tree.rename("file", "dir/file");
            tree.rename("dir/deep/er/file", "empty");
            tree.rename("link", "dir/link");
        });
    }

    fn rename_directory(bench: Bench) {
        check(&bench, |tree| {
            tree.rename("dir/deep", "shallow");
            tree.rename("dir", "void/dir");
            tree.write("void/dir/deep", "a file where a directory was");
        });
    }

    fn exchange_of_names(bench: Bench) {
        check(&bench, |tree| {
            tree.rename("file", "other");
            tree.rename("empty", "file");
            tree.rename("other", "empty");
        });
    }

    fn moved_out_and_in(bench: Bench) {
        check(&bench, |tree| {
            let outside = Tree::at(bench.path("outside"));
            tree.rename("dir", outside.path("dir"));
            outside.add("f new/one 10");
            outside.add("f new/er/two 10");
            tree.rename(outside.path("new"), tree.path("void/new"));
        });
    }

    fn hard_link(bench: Bench) {
        check(&bench, |tree| {
            tree.hard_link("dir/third", "file");
            tree.hard_link("void/second", "dir/inner");
        });
    }

    fn hard_linked_file_changes_under_all_its_names(bench: Bench) {
        check(&bench, |tree| tree.append("hard", "seen under the other name too"));
    }

    fn hard_linked_file_changes_under_a_name_that_goes(bench: Bench) {
        check(&bench, |tree| {
            // The only event of the change names what is another file, or nothing, when somebody looks.
            tree.append("hard", "seen under the other name too");
            tree.write("new", "another file");
            tree.rename("new", "hard");
        });
    }

    fn hard_linked_file_changes_under_a_name_that_is_removed(bench: Bench) {
        check(&bench, |tree| {
            tree.touch("hard", UNIX_EPOCH);
            tree.remove("hard");
        });
    }

    fn hard_linked_file_is_written_to_when_the_name_it_was_opened_by_is_gone(bench: Bench) {
        let mirror = bench.live();
        let mut open = File::create(bench.source.path("opened")).unwrap();
        open.write_all(b"before").unwrap();
        bench.source.hard_link("elsewhere/left", "opened");
        bench.wait_identical(&mirror);
        bench.source.remove("opened");
        bench.wait_identical(&mirror);
        open.write_all(b"after").unwrap();
        bench.wait_identical(&mirror);
        bench.source.write("opened", "another file");
        bench.wait_identical(&mirror);
        open.write_all(b"and at last").unwrap();
        drop(open);
        bench.finish(mirror);
    }

    fn hard_linked_file_is_written_to_by_a_name_that_went_before_the_mirror_started(bench: Bench) {
        let open = File::create(bench.source.path("opened")).unwrap();
        bench.source.hard_link("elsewhere/left", "opened");
        bench.source.remove("opened");
        let mirror = bench.live();
        check_writes(&bench, mirror, open);
    }

    fn hard_linked_file_is_written_to_by_a_name_whose_directory_is_gone(bench: Bench) {
        bench.source.directory("temporary");
        let mirror = bench.live();
        let open = File::create(bench.source.path("temporary/opened")).unwrap();
        bench.source.hard_link("left", "temporary/opened");
        bench.wait_identical(&mirror);
        bench.source.remove("temporary");
        bench.wait_identical(&mirror);
        check_writes(&bench, mirror, open);
    }

    fn name_that_comes_and_goes(bench: Bench) {
        check(&bench, |tree| {
            tree.write("dir/brief", "");
            tree.remove("dir/brief");
            tree.directory("void/brief");
            tree.remove("void/brief");
        });
    }

    fn hard_link_parts(bench: Bench) {
        check(&bench, |tree| {
            tree.remove("hard");
            tree.write("hard", "a file of its own now");
            tree.append("file", "this is not in the other");
        });
    }

    fn hard_link_parts_from_what_looks_the_same(bench: Bench) {
        let tree = &bench.source;
        tree.symlink("one", "nowhere");
        tree.hard_link("two", "one");
        tree.write("left", "same size");
        tree.hard_link("right", "left");
        let mirror = bench.live();
        tree.remove("two");
        tree.symlink("two", "nowhere");
        tree.write("new", "SAME SIZE");
        tree.touch("new", tree.mtime("left"));
        tree.chmod("new", 0o600);
        tree.rename("new", "right");
        bench.finish(mirror);
    }

    fn symlink(bench: Bench) {
        check(&bench, |tree| {
            tree.symlink("dir/up", "../file");
            tree.symlink("loop", "loop");
            tree.remove("link");
            tree.symlink("link", "dir/inner");
        });
    }

    fn kinds_turn_into_each_other(bench: Bench) {
        check(&bench, |tree| {
            for path in ["file", "dir", "void", "link", "pipe"] {
                tree.remove(path);
            }
            tree.write("file/is/a", "directory");
            tree.write("dir", "is a file");
            tree.symlink("void", "is a link");
            tree.directory("link");
            tree.write("pipe", "is a file");
        });
    }

    fn directory_becomes_a_link(bench: Bench) {
        check(&bench, |tree| {
            // What the directory had is not to be found through the link.
            tree.write("void/inner", "another file of that name");
            tree.rename("dir/deep", "deep");
            tree.append("dir/inner", "changed just before");
            tree.remove("dir");
            tree.symlink("dir", "void");
            tree.write("file", "goes on");
        });
    }

    fn file_in_the_place_of_a_directory_stays(bench: Bench) {
        for round in 0..5 {
            bench.source.file(format!("file{round}"), 100);
            bench.source.hard_link(format!("dir{round}/also"), format!("file{round}"));
        }
        // Both changes of a directory are to be seen as one.
        let mirror = bench.live_with(&["--settle", "100"]);
        for round in 0..5 {
            bench.source.remove(format!("dir{round}"));
            bench.source.write(format!("dir{round}"), "is a file");
            bench.wait_identical(&mirror);
            // It was below the directory too: nothing that is known of its former name matters any more.
            bench.source.remove(format!("file{round}"));
            bench.wait_identical(&mirror);
        }
        bench.finish(mirror);
    }

    fn delete(bench: Bench) {
        check(&bench, |tree| {
            for path in ["file", "dir/deep", "dangling", "pipe", "void"] {
                tree.remove(path);
            }
        });
    }

    fn delete_everything(bench: Bench) {
        check(&bench, |tree| {
            for path in ["file", "empty", "dir", "void", "link", "dangling", "hard", "pipe"] {
                tree.remove(path);
            }
        });
    }

    fn delete_and_make_again(bench: Bench) {
        check(&bench, |tree| {
            for round in 0..20 {
                tree.remove("dir");
                tree.write("dir/inner", format!("round {round}"));
                tree.write("dir/deep/er/file", format!("deep round {round}"));
            }
        });
    }

    fn directory_appears_full(bench: Bench) {
        check(&bench, |tree| {
            for number in 0..20 {
                tree.write(format!("new{number}/a/b/c/d/file"), format!("{number}"));
            }
        });
    }

    fn awkward_names(bench: Bench) {
        let names: Vec<_> = [
            &b"with space"[..], b" lead", b"trail ", b"line\nend", b"\n", b"tab\t", b"\r", "\u{e4}\u{f6}\u{4e2d}\u{6587}".as_bytes(),
            b"\xff\xfe not utf-8", b"*", b"?", b"[x]", b"***", b"-e", b"--delete", b"-", b"back\\slash", b"\\#012", b"quote'\"",
            b"#comment", b"; x", b"!", b"+ x", b"- x", b"$(x)", b"a:b", b"host::module", b"...", b".hidden", b"~", b"{a,b}",
        ]
        .into_iter()
        .map(name)
        .collect();
        let longest = "n".repeat(255);
        bench.source.write("plain", "");
        bench.source.file(&longest, 10);
        for name in &names {
            bench.source.write(name, "before");
        }
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        for (number, name) in names.iter().enumerate() {
            bench.source.append(name, " and after");
            bench.source.write(std::path::Path::new("directory").join(name), "new");
            bench.source.symlink(std::path::Path::new("links").join(name), name);
            if number % 2 == 0 {
                bench.source.remove(name);
            }
        }
        bench.source.rename(&longest, "directory/shorter");
        bench.finish(mirror);
    }

    fn long_paths(bench: Bench) {
        let deep = format!("{}file", "directory/".repeat(120));
        check(&bench, |tree| {
            tree.write(&deep, "down here");
            tree.rename("dir", "directory/directory/dir");
        });
    }

    fn special_files_as_root(bench: Bench) {
        if !is_root() {
            return skip("making device files needs root");
        }
        check(&bench, |tree| {
            use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
            let make = |path: &str, kind, device| {
                let path = CString::new(tree.path(path).into_os_string().into_encoded_bytes()).unwrap();
                mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device).unwrap();
            };
            make("null", FileType::CharacterDevice, makedev(1, 3));
            make("disk", FileType::BlockDevice, makedev(259, 70_000));
            make("dir/socket", FileType::Socket, 0);
        });
    }
}

/// Links of every kind, which a module without chroot would sanitise or munge.
fn links(tree: &Tree) {
    tree.symlink("dir/up", "../file");
    tree.symlink("out", "../../..");
    tree.symlink("absolute", "/etc/hostname");
    tree.symlink("munged already", "/rsyncd-munged/target");
    tree.remove("link");
    tree.symlink("link", "dir/inner");
    tree.remove("dangling");
}

#[test]
fn links_that_lead_out_of_a_directory() {
    check(&Bench::with_directory(), links);
}

#[test]
fn links_of_a_munging_module() {
    check(&Bench::with_munging_daemon(), links);
}

#[test]
fn a_path_below_the_module() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    bench.replica.write("elsewhere/stays", "");
    bench.replica.directory("below/the");
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .arg(bench.daemon().url("below/the"));
    let mut mirror = Mirror::run(&mut command);
    mirror.wait_in_step();
    bench.source.write("new", "content");
    let below = bench.replica.path("below/the");
    testkit::eventually(SOON, || {
        testkit::compare(bench.source.root(), &below, &testkit::Aspects::exact())
    });
    mirror.stop();
    assert!(bench.replica.exists("elsewhere/stays"));
}
