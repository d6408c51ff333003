//! Daemons and disks that fail for a while: the mirror says so, tries again, and ends up identical without help.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{
    Aspects, DaemonBuilder, RsyncDaemon, Signal, Tmpfs, Tree, compare, content, eventually, skip,
};

use crate::bench::{BIG, Bench, Mirror, SOON, for_each_destination};

/// How many files the replica has below `directory`.
fn arrived(tree: &Tree, directory: &str) -> usize {
    std::fs::read_dir(tree.path(directory)).map_or(0, Iterator::count)
}

/// Writes small files into a new directory.
fn burst(source: &Tree, name: &str, files: usize) {
    for number in 0..files {
        source.write(format!("{name}/{number}"), content(number as u64, 200));
    }
}

#[test]
fn daemon_is_killed_in_the_middle_of_a_burst() {
    let mut bench = Bench::with_daemon();
    bench.source.many("old", 5, 100, 100);
    let mut mirror = bench.live();
    let source = bench.source.clone();
    let writer = thread::spawn(move || {
        burst(&source, "burst", 1_500);
        source.remove("old/d00000");
        source.rename("old/d00001", "renamed");
    });
    eventually(SOON, || match arrived(&bench.replica, "burst") {
        0..50 => Err("the burst has not begun to arrive"),
        _ => Ok(()),
    });
    bench.daemon_mut().kill();
    let said = mirror.wait_for("behind");
    assert!(said.contains("127.0.0.1"), "{said}");
    writer.join().unwrap();
    // The reason changes when nobody answers any more, and is told.
    mirror.wait_for("Connection refused");
    bench
        .source
        .write("meanwhile", "written while nobody listened");
    bench.daemon_mut().restart();
    mirror.wait_for("caught up");
    bench.finish(mirror);
}

#[test]
fn daemon_is_not_there_at_first() {
    let mut bench = Bench::with_daemon();
    bench.source.write("file", "content");
    bench.daemon_mut().kill();
    let mut mirror = bench.start();
    mirror.wait_for("Connection refused");
    bench.daemon_mut().restart();
    mirror.wait_in_step();
    bench.source.write("file", "changed");
    bench.finish(mirror);
}

#[test]
fn outage_without_changes_is_nothing_to_talk_about() {
    let mut bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let mirror = bench.live();
    bench.wait_identical(&mirror);
    bench.daemon_mut().restart();
    bench.source.write("file", "changed");
    bench.wait_identical(&mirror);
    let ended = mirror.stop();
    assert!(!ended.said().contains("behind"), "{}", ended.said());
}

#[test]
fn worker_is_killed_in_the_middle_of_a_file() {
    let bench = Bench::with_daemon();
    bench.source.write("small", "content");
    let mut mirror = bench.live();
    bench.stop_workers_in_the_middle_of("big");
    assert!(bench.daemon().kill_workers() > 0);
    mirror.wait_for("behind");
    mirror.wait_for("caught up");
    bench.wait_identical(&mirror);
    assert_eq!(bench.temporary_files(), Vec::<std::path::PathBuf>::new());
    bench.finish(mirror);
}

#[test]
fn worker_is_killed_in_the_middle_of_the_first_copy() {
    let bench = Bench::with_daemon();
    bench.source.many("small", 2, 50, 100);
    // Called before the start, the mirror finds the file there.
    bench.source.file("big", BIG);
    let mut mirror = bench.start();
    eventually(SOON, || match bench.temporary_files().as_slice() {
        [] => Err("nothing is being written"),
        _ => Ok(()),
    });
    bench.daemon().kill_workers();
    mirror.wait_in_step();
    bench.finish(mirror);
}

#[test]
fn stopped_worker_is_given_up() {
    let bench = Bench::with_daemon();
    bench.source.write("small", "content");
    let mut mirror = bench.live_with(&["--timeout", "1"]);
    bench.stop_workers_in_the_middle_of("big");
    let said = mirror.wait_for("behind");
    assert!(said.contains("no progress"), "{said}");
    mirror.wait_for("caught up");
    bench.wait_identical(&mirror);
    // The stopped one wakes up to a file that is not its own any more.
    bench.daemon().continue_workers();
    eventually(SOON, || match bench.daemon().workers().as_slice() {
        [] => Ok(()),
        left => Err(format!("workers that do not end: {left:?}")),
    });
    bench.source.write("small", "changed");
    bench.finish(mirror);
}

#[test]
fn daemon_that_never_answers_is_given_up() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    // The kernel accepts the connection for a listener that never looks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = bench.options();
    command.args(["--timeout", "1"]).arg(bench.source.root());
    command.arg(format!(
        "rsync://127.0.0.1:{}/backup",
        silent.local_addr().unwrap().port()
    ));
    let mut mirror = Mirror::run(&mut command);
    let said = mirror.wait_for("behind");
    assert!(said.contains("no progress"), "{said}");
    mirror.stop();
}

#[test]
fn dead_destination_does_not_stop_the_other() {
    let mut bench = Bench::with_daemon();
    bench.source.write("file", "content");
    bench.daemon_mut().kill();
    let directory = bench.path("directory");
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .arg(bench.destination())
        .arg(&directory);
    let mut mirror = Mirror::run(&mut command);
    mirror.wait_in_step();
    mirror.wait_for("Connection refused");
    bench.source.write("another", "content");
    bench.source.remove("file");
    eventually(SOON, || {
        compare(bench.source.root(), &directory, &Aspects::exact())
    });
    bench.daemon_mut().restart();
    bench.finish(mirror);
}

#[test]
fn hopeless_destination_does_not_stop_the_other() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let hopeless = bench.daemon().url("").replace("/backup", "/nothing");
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .arg(hopeless)
        .arg(bench.destination());
    let mut mirror = Mirror::run(&mut command);
    mirror.wait_in_step();
    mirror.wait_for("Unknown module 'nothing'");
    bench.source.write("file", "changed");
    bench.finish(mirror);
}

#[test]
fn mirror_that_has_been_live_outlives_a_refusal() {
    let bench = Bench::with_daemon_as(|daemon| daemon.max_connections(1));
    bench.source.write("file", "content");
    let mut mirror = bench.live();
    bench.wait_identical(&mirror);
    let port = bench.daemon().port();
    // Takes the only place, for as long as it is held.
    let greedy = eventually(SOON, || {
        use std::io::{BufRead, BufReader, Write};
        let stream =
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        stream
            .get_mut()
            .write_all(format!("{line}backup\n").as_bytes())
            .map_err(|error| error.to_string())?;
        line.clear();
        stream
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        if line.contains("AUTHREQD") {
            Ok(stream)
        } else {
            Err(line)
        }
    });
    bench.source.write("file", "changed");
    let said = mirror.wait_for("behind");
    assert!(said.contains("max connections"), "{said}");
    drop(greedy);
    mirror.wait_for("caught up");
    bench.finish(mirror);
}

/// A disk that is nearly full of something else, which the test then takes away.
fn full_disk(bench: &Bench, replica: &Tree, tmpfs: &Tmpfs, destination: std::ffi::OsString) {
    let filler = tmpfs.path().join("filler");
    std::fs::write(&filler, content(1, 6 << 20)).unwrap();
    bench.source.write("a small file", "fits");
    bench.source.file("large", 4 << 20);
    let mut command = bench.options();
    command.arg(bench.source.root()).arg(destination);
    let mut mirror = Mirror::run(&mut command);
    let said = mirror.wait_for("behind");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(!replica.exists("large"));
    std::fs::remove_file(filler).unwrap();
    mirror.wait_in_step();
    bench.source.write("another", "now there is room");
    eventually(SOON, || {
        compare(bench.source.root(), replica.root(), &Aspects::exact())
    });
    let ended = mirror.stop();
    compare(bench.source.root(), replica.root(), &Aspects::exact()).unwrap_or_else(|differences| {
        panic!("{differences}\nthe mirror said:\n{}", ended.said());
    });
}

#[test]
fn full_disk_of_a_directory() {
    let Some(tmpfs) = Tmpfs::mount(8 << 20) else {
        return skip("mounting is not permitted");
    };
    let bench = Bench::with_directory();
    let replica = Tree::at(tmpfs.path().join("replica"));
    full_disk(&bench, &replica, &tmpfs, replica.root().into());
}

#[test]
fn full_disk_of_a_daemon() {
    let Some(tmpfs) = Tmpfs::mount(8 << 20) else {
        return skip("mounting is not permitted");
    };
    let bench = Bench::with_directory();
    let replica = Tree::at(tmpfs.path().join("replica"));
    let daemon = RsyncDaemon::module("small", replica.root())
        .munge_symlinks(false)
        .start();
    full_disk(&bench, &replica, &tmpfs, daemon.url("").into());
}

#[test]
fn full_disk_of_the_state_file() {
    let Some(tmpfs) = Tmpfs::mount(2 << 20) else {
        return skip("mounting is not permitted");
    };
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let state = tmpfs.path().join("state");
    let mut mirror = bench.live_with(&["--state", state.to_str().unwrap()]);
    let filler = tmpfs.path().join("filler");
    // As much as goes in.
    let _ = std::fs::write(&filler, vec![1; 2 << 20]);
    bench.source.many("burst", 10, 100, 10);
    mirror.wait_for("state file: ");
    bench.source.rename("burst", "renamed");
    std::fs::remove_file(filler).unwrap();
    bench.wait_identical(&mirror);
    mirror.wait_for("caught up");
    bench.finish(mirror);
}

#[test]
fn full_disk_with_once_ends_with_the_words_of_the_daemon() {
    let Some(tmpfs) = Tmpfs::mount(1 << 20) else {
        return skip("mounting is not permitted");
    };
    let bench = Bench::with_directory();
    bench.source.file("large", 4 << 20);
    let daemon = RsyncDaemon::module("small", tmpfs.path()).start();
    let mut command = bench.options();
    command
        .arg("--once")
        .arg(bench.source.root())
        .arg(daemon.url(""));
    let (code, said) = Mirror::run(&mut command).wait_exit();
    assert_eq!(code, 11, "{said}");
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn what_a_full_disk_leaves_in_doubt_stays_so_until_it_is_compared() {
    let Some(tmpfs) = Tmpfs::mount(1 << 20) else {
        return skip("mounting is not permitted");
    };
    let bench = Bench::with_directory();
    bench.source.write("a", "first version");
    bench.source.file("too-large", 4 << 20);
    let replica = Tree::at(tmpfs.path().join("replica"));
    let once = || {
        let mut command = bench.options();
        command.arg("--once");
        command.arg(bench.source.root()).arg(replica.root());
        Mirror::run(&mut command).wait_exit()
    };
    // The first run brings a file over that no row tells of; the second one fails before that can be compared.
    for _ in 0..2 {
        let (code, said) = once();
        assert!(code != 0 && said.contains("No space left"), "{said}");
    }
    assert_eq!(replica.read("a"), b"first version");
    let mtime = bench.source.mtime("a");
    bench.source.write("a", "other version");
    bench.source.touch("a", mtime);
    bench.source.remove("too-large");
    let (code, said) = once();
    assert_eq!(code, 0, "{said}");
    assert_eq!(replica.read("a"), b"other version", "{said}");
}

#[test]
fn name_that_the_module_refuses_is_told_and_stops_nothing_else() {
    let bench = Bench::with_daemon_as(|daemon: DaemonBuilder| daemon.exclude("*.secret")).ignoring(
        |path| {
            path.extension()
                .is_some_and(|extension| extension == "secret")
        },
    );
    bench.source.write("file", "content");
    let mut mirror = bench.live();
    bench.source.write("refused.secret", "content");
    mirror.wait_for("refused.secret stays different");
    bench.source.write("other", "content");
    bench.source.remove("file");
    bench.finish(mirror);
    assert!(!bench.replica.exists("refused.secret"));
}

/// How many sessions a mirror has in a while in which nothing changes.
fn sessions_without_cause(mirror: &Mirror) -> usize {
    let count = || {
        mirror
            .program
            .lines()
            .iter()
            .filter(|line| line.text.contains(" updated, "))
            .count()
    };
    let before = count();
    thread::sleep(Duration::from_secs(2));
    count() - before
}

#[test]
fn name_that_the_module_refuses_is_not_tried_again_without_cause() {
    let bench = Bench::with_daemon_as(|daemon: DaemonBuilder| daemon.exclude("*.secret"));
    bench.source.write("refused.secret", "content");
    let mut mirror = bench.start();
    mirror.wait_for("refused.secret stays different");
    mirror.wait_in_step();
    // What is very young is looked at twice.
    assert!(sessions_without_cause(&mirror) <= 2, "{}", mirror.said());
    mirror.stop();
}

#[test]
fn path_that_a_directory_has_no_place_for_is_tried_again_with_growing_pauses() {
    let bench = Bench::with_directory();
    bench.source.write("dir", "a file");
    bench.replica.write("dir/kept.bak", "in its way");
    let mut mirror = bench.start_with(&["--exclude", "*.bak"]);
    mirror.wait_for("behind");
    assert!(sessions_without_cause(&mirror) <= 12, "{}", mirror.said());
    bench.replica.remove("dir");
    mirror.wait_in_step();
    bench.finish(mirror);
}

#[test]
fn name_that_the_module_refuses_makes_once_incomplete() {
    let bench = Bench::with_daemon_as(|daemon: DaemonBuilder| daemon.exclude("*.secret"));
    bench.source.write("refused.secret", "content");
    bench.source.write("dir/other", "content");
    let (code, said) = bench.start_with(&["--once"]).wait_exit();
    assert_eq!(code, 23, "{said}");
    assert!(said.contains("refused.secret"), "{said}");
    assert!(bench.replica.exists("dir/other"));
}

#[test]
fn daemon_that_closes_idle_connections_is_no_outage() {
    let bench = Bench::with_daemon_as(|daemon| daemon.munge_symlinks(false).timeout(1));
    bench.source.write("file", "content");
    let mirror = bench.live();
    let begin = Instant::now();
    let mut round = 0;
    // Longer than the daemon waits, with changes and pauses of many lengths.
    while begin.elapsed() < Duration::from_secs(4) {
        round += 1;
        bench.source.write("file", format!("round {round}"));
        bench.wait_identical(&mirror);
        thread::sleep(Duration::from_millis(100) * round);
    }
    let ended = mirror.stop();
    assert!(!ended.said().contains("behind"), "{}", ended.said());
}

#[test]
fn module_that_refuses_deletions() {
    let bench = Bench::with_daemon_as(|daemon| daemon.refuse_options("delete"));
    let bench = bench.ignoring(|path| path.starts_with("kept"));
    bench.source.write("kept", "content");
    bench.source.write("file", "content");
    let mut mirror = bench.live();
    mirror.wait_for("does not delete");
    bench.source.remove("kept");
    bench.source.write("file", "changed");
    bench.finish(mirror);
    assert!(bench.replica.exists("kept"));
}

for_each_destination! {
    fn directory_made_beside_an_error_goes_again(bench: Bench) {
        bench.source.write("old/file", "content");
        let mut mirror = bench.start_with(&["--exclude", "*.bak"]);
        mirror.wait_in_step();
        // Both in one session.
        mirror.program.signal(Signal::STOP);
        bench.replica.write("blocked/kept.bak", "in its way");
        bench.source.write("blocked", "a file");
        bench.source.directory("old/made/deep");
        mirror.program.signal(Signal::CONT);
        mirror.wait_for("behind");
        eventually(SOON, || match bench.replica.exists("old/made/deep") {
            true => Ok(()),
            false => Err(mirror.said()),
        });
        bench.source.remove("old/made");
        eventually(SOON, || match bench.replica.exists("old/made") {
            true => Err(mirror.said()),
            false => Ok(()),
        });
        bench.replica.remove("blocked");
        mirror.wait_in_step();
        bench.finish(mirror);
    }

    fn mirror_is_killed_in_the_middle_of_a_burst(bench: Bench) {
        bench.source.many("old", 5, 100, 100);
        let mut mirror = bench.live();
        for round in 0..3 {
            thread::scope(|scope| {
                let source = &bench.source;
                let writer = scope.spawn(move || {
                    burst(source, &format!("burst{round}"), 600);
                    source.remove(format!("old/d{round:05}"));
                });
                eventually(SOON, || match arrived(&bench.replica, &format!("burst{round}")) {
                    0..20 => Err("the burst has not begun to arrive"),
                    _ => Ok(()),
                });
                mirror.kill();
                writer.join().unwrap();
            });
            mirror = bench.live();
            bench.wait_identical(&mirror);
        }
        bench.finish(mirror);
    }

    fn mirror_is_killed_in_the_middle_of_a_file(bench: Bench) {
        bench.source.write("other", "content");
        let mirror = bench.live();
        bench.source.file("big", BIG);
        eventually(SOON, || match bench.temporary_files().is_empty() && !bench.replica.exists("big") {
            true => Err("nothing is being written"),
            false => Ok(()),
        });
        mirror.kill();
        let mirror = bench.live();
        bench.finish(mirror);
    }

    fn source_is_taken_away_and_comes_back(bench: Bench) {
        bench.source.write("dir/file", "content");
        let mut mirror = bench.live();
        let aside = bench.path("aside");
        std::fs::rename(bench.source.root(), &aside).unwrap();
        std::fs::create_dir(bench.source.root()).unwrap();
        mirror.wait_for("behind");
        std::fs::remove_dir(bench.source.root()).unwrap();
        // Nothing was deleted on the strength of the empty directory.
        assert!(bench.replica.exists("dir/file"));
        std::fs::rename(&aside, bench.source.root()).unwrap();
        mirror.wait_for("caught up");
        bench.source.write("dir/file", "changed after that");
        bench.finish(mirror);
    }
}

for_each_destination! {
    fn kernel_drops_events(bench: Bench) {
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        if limit > 100_000 {
            return skip("the queue for events is too long to be filled");
        }
        bench.source.many("old", 2, 10, 10);
        let mut mirror = bench.live();
        mirror.program.signal(Signal::STOP);
        // A file's mode changes in one event, unless it is that of the event before.
        // The reader may have had its hands on some of them when it was stopped.
        for change in 0..limit + limit / 4 {
            let path = format!("old/d{:05}/f{:05}", change % 2, change % 10);
            bench.source.chmod(path, if change / 10 % 2 == 0 { 0o600 } else { 0o640 });
        }
        bench.source.remove("old/d00000/f00003");
        bench.source.write("new/dir/file", "this event found no place");
        mirror.program.signal(Signal::CONT);
        mirror.wait_for("overflow");
        bench.finish(mirror);
    }
}

/// How long an idle mirror is watched.
const IDLE: Duration = Duration::from_secs(2);

for_each_destination! {
    fn idle_mirror_uses_no_processor_time(bench: Bench) {
        bench.source.many("tree", 20, 50, 10);
        let mirror = bench.live();
        bench.source.write("last", "change");
        bench.wait_identical(&mirror);
        // Whatever it still had to do is done when a whole period passes without work.
        eventually(SOON, || {
            let before = mirror.program.cpu_time();
            thread::sleep(IDLE);
            let used = mirror.program.cpu_time() - before;
            if used <= Duration::from_millis(10) { Ok(()) } else { Err(format!("it used {used:?} in {IDLE:?}")) }
        });
        bench.finish(mirror);
    }
}

#[test]
fn a_mirror_at_rest_gives_back_the_memory_of_its_first_copy() {
    let bench = Bench::with_daemon();
    bench.source.many("tree", 120, 100, 10);
    let mirror = bench.live();
    bench.wait_identical(&mirror);
    eventually(SOON, || match mirror.program.memory().pss >> 20 {
        // The code is a part of it, and larger than that of a release.
        0..14 => Ok(()),
        held => Err(format!("it holds {held} MiB")),
    });
    bench.finish(mirror);
}

#[test]
fn a_name_longer_than_a_daemon_takes_is_told_once() {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    // No path names it: it is made from directory to directory.
    let directory = OFlags::DIRECTORY | OFlags::RDONLY;
    let at = rustix::fs::CWD;
    let mut within = openat(at, bench.source.root(), directory, Mode::empty()).unwrap();
    for name in std::iter::repeat_n("d".repeat(255), 15).chain(["e".repeat(200)]) {
        mkdirat(&within, &name, Mode::RWXU).unwrap();
        within = openat(&within, &name, directory, Mode::empty()).unwrap();
    }
    openat(
        &within,
        "f".repeat(100),
        OFlags::CREATE | OFlags::WRONLY,
        Mode::RWXU,
    )
    .unwrap();
    let mut mirror = bench.live();
    mirror.wait_for("stays different: the name is longer than 4095 bytes");
    bench.source.write("file", "changed");
    eventually(SOON, || match bench.replica.read("file") == b"changed" {
        true => Ok(()),
        false => Err(mirror.said()),
    });
    assert!(!mirror.said().contains("behind"), "{}", mirror.said());
}
