//! What is refused at the start, with which words and exit codes.

use std::process::Command;

use testkit::Tree;

use crate::bench::{Bench, Mirror, driftless, for_each_destination};

/// Runs the mirror with these arguments to its end.
#[track_caller]
fn run(command: &mut Command) -> (i32, String) {
    Mirror::run(command).wait_exit()
}

#[track_caller]
fn check((code, said): (i32, String), expected_code: i32, expected: &[&str]) {
    assert_eq!(code, expected_code, "{said}");
    for text in expected {
        assert!(said.contains(text), "not told {text:?}:\n{said}");
    }
}

for_each_destination! {
    fn source_is_missing(bench: Bench) {
        bench.replica.write("precious", "stays");
        bench.source.remove("");
        let source = bench.source.root().display().to_string();
        check(bench.start().wait_exit(), 3, &[&source, "No such file or directory"]);
        assert!(bench.replica.exists("precious"));
    }

    fn source_is_no_directory(bench: Bench) {
        bench.replica.write("precious", "stays");
        bench.source.remove("");
        std::fs::write(bench.source.root(), "a file").unwrap();
        let source = bench.source.root().display().to_string();
        check(bench.start().wait_exit(), 3, &[&source, "Not a directory"]);
        assert!(bench.replica.exists("precious"));
    }

    fn source_is_empty_and_the_replica_is_not(bench: Bench) {
        bench.replica.write("precious", "stays");
        check(bench.start_with(&["--once"]).wait_exit(), 25, &["source is empty"]);
        assert!(bench.replica.exists("precious"));
        let mirror = bench.live_with(&["--allow-empty-source"]);
        bench.finish(mirror);
    }

    fn source_is_empty_where_the_ledger_knows_of_files(bench: Bench) {
        bench.source.write("precious", "stays");
        let mirror = bench.live();
        bench.finish(mirror);
        bench.source.remove("precious");
        check(bench.start_with(&["--once"]).wait_exit(), 25, &["source is empty"]);
        assert!(bench.replica.exists("precious"));
        let mirror = bench.live_with(&["--allow-empty-source"]);
        bench.finish(mirror);
    }

    fn both_are_empty(bench: Bench) {
        let mirror = bench.live();
        bench.source.write("first", "of all");
        bench.finish(mirror);
    }

    fn per_directory_rules(bench: Bench) {
        bench.source.write("file", "");
        check(bench.start_with(&["--filter", ": .rules"]).wait_exit(), 1, &["merge"]);
    }

    fn second_mirror_with_the_same_state(bench: Bench) {
        let first = bench.live();
        let state = bench.path("state").display().to_string();
        check(bench.start().wait_exit(), 11, &[&state, "in use"]);
        bench.source.write("file", "the first one goes on");
        bench.finish(first);
    }

    fn same_destination_twice(bench: Bench) {
        let mut command = bench.options();
        command.arg(bench.source.root()).arg(bench.destination()).arg(bench.destination());
        check(run(&mut command), 1, &["twice"]);
    }
}

#[test]
fn replica_in_its_source_and_the_reverse() {
    let bench = Bench::with_directory();
    bench.source.write("dir/file", "content");
    let check_places = |source: &str, replica: &str| {
        let mut command = bench.options();
        command.arg(bench.path(source)).arg(bench.path(replica));
        check(run(&mut command), 1, &["lie within each other"]);
    };
    check_places("source", "source");
    check_places("source", "source/dir");
    check_places("source", "source/not/yet/there");
    check_places("source/dir", "source");
    check_places("source", ".");
    check_places("source", "source/dir/../../source/new");
    std::os::unix::fs::symlink(bench.path("source"), bench.path("alias")).unwrap();
    check_places("alias", "source/new");
    check_places("source", "alias/new");
    assert_eq!(bench.source.read("dir/file"), b"content");
    assert!(!bench.source.exists("new") && !bench.source.exists("not"));
}

#[test]
fn replica_beside_its_source_with_a_name_that_begins_alike() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mut command = bench.options();
    command
        .arg("--once")
        .arg(bench.source.root())
        .arg(bench.path("source-replica"));
    check(run(&mut command), 0, &["first copy complete"]);
    assert_eq!(
        Tree::at(bench.path("source-replica")).read("file"),
        b"content"
    );
}

#[test]
fn replica_that_is_a_file() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    bench.replica.remove("");
    std::fs::write(bench.replica.root(), "a file").unwrap();
    let replica = bench.replica.root().display().to_string();
    check(bench.start().wait_exit(), 3, &[&replica, "Not a directory"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let bench = Bench::with_directory();
    let source = bench.source.root();
    let run_with = |arguments: &[&str]| run(driftless().arg("mirror").args(arguments).arg(source));
    check(run(driftless().arg("mirror")), 1, &["source is missing"]);
    check(run_with(&[]), 1, &["destination is missing"]);
    check(run_with(&["--no-such-option"]), 1, &["--no-such-option"]);
    check(run_with(&["--timeout", "soon"]), 1, &["--timeout", "soon"]);
    let to = |place: &str| {
        run(driftless()
            .args(["mirror", "--state", ":memory:"])
            .arg(source)
            .arg(place))
    };
    check(to(":path"), 1, &["names no destination"]);
    check(to("host::"), 1, &["module"]);
    check(to("rsync://127.0.0.1:99999/backup"), 1, &["port"]);
    check(to("127.0.0.1::backup/../elsewhere"), 1, &[".."]);
}

/// The program's end with a module of its own making.
fn refused_by(bench: &Bench, destination: &str, password: &str) -> (i32, String) {
    let source = bench.source.root();
    let mut command = driftless();
    command
        .args(["mirror", "--state", ":memory:"])
        .arg(source)
        .arg(destination)
        .env("RSYNC_PASSWORD", password);
    run(&mut command)
}

#[test]
fn a_wrong_password_ends_it() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let destination = bench.daemon().url("");
    check(
        refused_by(&bench, &destination, "guess"),
        5,
        &["auth failed on module backup"],
    );
    assert!(!bench.replica.exists("file"));
}

#[test]
fn a_missing_password_is_asked_for_by_its_options() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let mut command = driftless();
    command
        .args(["mirror", "--state", ":memory:"])
        .arg(bench.source.root())
        .arg(bench.daemon().url(""));
    check(
        run(&mut command),
        1,
        &["password", "--password-file", "RSYNC_PASSWORD"],
    );
}

#[test]
fn password_file_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::with_daemon();
    let file = bench.daemon().password_file();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    let file = file.display().to_string();
    check(bench.start().wait_exit(), 1, &[&file, "other-accessible"]);
}

#[test]
fn an_unknown_module_ends_it() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let destination = bench.daemon().url("").replace("/backup", "/nothing");
    check(
        refused_by(&bench, &destination, "secret"),
        5,
        &["Unknown module 'nothing'"],
    );
}

#[test]
fn read_only_module() {
    let bench = Bench::with_daemon_as(testkit::DaemonBuilder::read_only);
    bench.source.write("file", "content");
    let destination = bench.daemon().url("");
    let (code, said) = refused_by(&bench, &destination, "secret");
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("module is read only"), "{said}");
}

#[test]
fn nothing_listens_and_once_is_asked_for() {
    let mut bench = Bench::with_daemon();
    bench.source.write("file", "content");
    bench.daemon_mut().kill();
    check(
        bench.start_with(&["--once"]).wait_exit(),
        10,
        &["failed to connect to 127.0.0.1", "Connection refused"],
    );
}

/// A file system mounted on a directory, until it is dropped.
struct Mounted<'a>(&'a std::path::Path);

impl Mounted<'_> {
    /// `None` where mounting is not permitted.
    fn on(path: &std::path::Path) -> Option<Mounted<'_>> {
        use rustix::mount::{MountFlags, mount};
        mount(
            "driftless-test",
            path,
            "tmpfs",
            MountFlags::empty(),
            c"size=1m",
        )
        .ok()?;
        Some(Mounted(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazily, as the mirror holds it open.
        let unmounted = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
        assert!(
            unmounted.is_ok() || std::thread::panicking(),
            "cannot unmount: {unmounted:?}"
        );
    }
}

for_each_destination! {
    fn source_is_unmounted(bench: Bench) {
        let root = bench.source.root().to_owned();
        let Some(mounted) = Mounted::on(&root) else {
            return testkit::skip("mounting is not permitted");
        };
        bench.source.write("dir/precious", "content");
        let mut mirror = bench.live();
        bench.wait_identical(&mirror);
        drop(mounted);
        mirror.wait_for("unmounted");
        mirror.stop();
        assert!(bench.replica.exists("dir/precious"));
        // Nor does a start without it bring anything over.
        let mut mirror = bench.start();
        mirror.wait_for("waits for approval");
        mirror.stop();
        assert!(bench.replica.exists("dir/precious"));
    }
}
