//! Filesystems that are mounted below the source, and that come and go.

use std::path::Path;
use std::process::Command;

use testkit::eventually;

use crate::bench::{Bench, SOON};

/// Runs the test proper in a mount namespace of its own, where that is permitted.
#[expect(clippy::print_stderr, reason = "says that it is skipped")]
fn in_a_namespace_of_its_own(test: &str) {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        unshare
    };
    let may = unshare().arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespaces here");
        return;
    }
    let inner = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", test])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new(arguments[0])
        .args(&arguments[1..])
        .arg(at)
        .status()
        .unwrap();
    assert!(status.success(), "{arguments:?}");
}

/// A bench with a filesystem in its source that holds some files, kept at `kept` so that it can be mounted again.
fn with_a_mount(bench: &Bench) {
    let kept = bench.path("kept");
    std::fs::create_dir(&kept).unwrap();
    mount(&["mount", "-t", "tmpfs", "none"], &kept);
    bench.source.write("beside", "content");
    bench.source.directory("disk");
    mount_again(bench);
    bench.source.write("disk/dir/file", "content");
    bench.source.write("disk/another", "content");
}

fn mount_again(bench: &Bench) {
    let kept = bench.path("kept");
    mount(
        &["mount", "--bind", kept.to_str().unwrap()],
        &bench.source.path("disk"),
    );
}

#[test]
fn what_is_unmounted_is_kept_until_it_is_back() {
    in_a_namespace_of_its_own("mounts::unmounted_while_mirrored");
}

#[test]
#[ignore = "needs a mount namespace; what_is_unmounted_is_kept_until_it_is_back runs it in one"]
fn unmounted_while_mirrored() {
    let bench = Bench::with_daemon();
    with_a_mount(&bench);
    let mut mirror = bench.live();
    bench.wait_identical(&mirror);
    mount(&["umount"], &bench.source.path("disk"));
    mirror.wait_for("the file system that was mounted at disk is not");
    // Everything else goes on, deletions too; so does what is put where the file system was, as soon as it is back.
    bench.source.remove("beside");
    bench.source.write("new", "content");
    bench.source.write("disk/below", "content");
    eventually(SOON, || {
        match bench.replica.exists("new") && !bench.replica.exists("beside") {
            true => Ok(()),
            false => Err(mirror.said()),
        }
    });
    let (done, said) = bench.command(&["rescan"]);
    assert!(done, "{said}");
    bench.source.write("newer", "content");
    eventually(SOON, || match bench.replica.exists("newer") {
        true => Ok(()),
        false => Err(mirror.said()),
    });
    assert_eq!(bench.replica.read("disk/dir/file"), b"content");
    assert!(!bench.replica.exists("disk/below"));
    let (_, status) = bench.command(&["status"]);
    assert!(
        status.contains("braked") && status.contains("mounted at disk"),
        "{status}"
    );
    mount_again(&bench);
    mirror.wait_for("deletes again");
    bench.source.remove("disk/another");
    bench.finish(mirror);
    // Nor is it deleted by one that finds it unmounted at its start, unless that is approved.
    mount(&["umount"], &bench.source.path("disk"));
    let (code, said) = bench.start_with(&["--once"]).wait_exit();
    assert_eq!(code, 25, "{said}");
    let mut mirror = bench.start_with(&["--verify"]);
    mirror.wait_for("the file system that was mounted at disk is not");
    assert_eq!(bench.replica.read("disk/dir/file"), b"content");
    bench.approve();
    bench.finish(mirror);
    assert!(!bench.replica.exists("disk/dir"));
    let mirror = bench.live();
    bench.finish(mirror);
}

#[test]
fn what_is_mounted_is_brought_over() {
    in_a_namespace_of_its_own("mounts::mounted_while_mirrored");
}

#[test]
#[ignore = "needs a mount namespace; what_is_mounted_is_brought_over runs it in one"]
fn mounted_while_mirrored() {
    let bench = Bench::with_directory();
    bench.source.write("disk/hidden", "content");
    let mirror = bench.live();
    bench.wait_identical(&mirror);
    mount(
        &["mount", "-t", "tmpfs", "none"],
        &bench.source.path("disk"),
    );
    bench.source.write("disk/dir/file", "content");
    bench.wait_identical(&mirror);
    assert!(!bench.replica.exists("disk/hidden"));
    bench.source.write("disk/dir/file", "another");
    bench.finish(mirror);
}

#[test]
fn a_replica_that_the_source_shows_is_refused() {
    in_a_namespace_of_its_own("mounts::seen_through_a_mount");
}

#[test]
#[ignore = "needs a mount namespace; a_replica_that_the_source_shows_is_refused runs it in one"]
fn seen_through_a_mount() {
    let bench = Bench::with_directory();
    bench.source.write("dir/file", "content");
    let bound = bench.path("bound");
    std::fs::create_dir(&bound).unwrap();
    for (shown, replica) in [("source", "bound/replica"), ("source/dir", "bound")] {
        let shown = bench.path(shown);
        mount(&["mount", "--bind", shown.to_str().unwrap()], &bound);
        let mut command = bench.options();
        command.arg(bench.source.root()).arg(bench.path(replica));
        let (code, said) = crate::bench::Mirror::run(&mut command).wait_exit();
        assert!(
            code == 1 && said.contains("lie within each other"),
            "{code}: {said}"
        );
        assert!(!bench.source.exists("replica"));
        mount(&["umount"], &bound);
    }
}
