//! What an operator sees of a mirror, and tells it, while it runs.

use serde_json::Value;
use testkit::{Program, eventually};

use crate::bench::{Bench, SOON, driftless};

/// The only replica, as `status --json` has it.
#[track_caller]
fn replica(bench: &Bench) -> Value {
    let (done, said) = bench.command(&["status", "--json"]);
    assert!(done, "{said}");
    let status: Value = serde_json::from_str(&said).unwrap();
    status["replicas"][0].clone()
}

#[test]
fn a_pause_holds_changes_back_and_a_flush_waits_for_them() {
    let bench = Bench::with_directory();
    bench.source.write("first", "content");
    let mirror = bench.live();
    let (done, said) = bench.command(&["pause"]);
    assert!(done && said.contains("until driftless resume"), "{said}");
    bench.source.write("second", "content");
    eventually(SOON, || {
        let seen = replica(&bench);
        match seen["state"] == "paused" && seen["waiting"].as_u64() > Some(0) {
            true => Ok(()),
            false => Err(seen),
        }
    });
    let (done, said) = bench.command(&["flush"]);
    assert!(!done && said.contains("paused"), "{said}");
    assert!(!bench.replica.exists("second"));
    let (done, said) = bench.command(&["resume"]);
    assert!(done, "{said}");
    bench.source.write("third", "content");
    let (done, said) = bench.command(&["flush", "--timeout", "60"]);
    assert!(done, "{said}");
    assert!(bench.replica.exists("second") && bench.replica.exists("third"));
    let seen = replica(&bench);
    assert!(seen["totals"]["updates"].as_u64() >= Some(2), "{seen}");
    mirror.stop();
}

#[test]
fn a_flush_waits_for_what_the_watcher_is_still_busy_with() {
    let bench = Bench::with_directory();
    let mirror = bench.live();
    for number in 0..2000 {
        bench.source.directory(format!("many/{number}/below"));
    }
    bench.source.write("many/1999/below/last", "content");
    let (done, said) = bench.command(&["flush", "--timeout", "300"]);
    assert!(done, "{said}");
    bench.assert_identical(&mirror);
    bench.source.rename("many", "renamed");
    bench.source.write("renamed/1999/below/last", "another");
    let (done, said) = bench.command(&["flush", "--timeout", "300"]);
    assert!(done, "{said}");
    bench.assert_identical(&mirror);
    mirror.stop();
}

#[test]
fn a_failure_is_shown_with_its_path_until_it_is_over() {
    let bench = Bench::with_directory();
    bench.source.write("dir", "a file now");
    bench.source.write("other", "content");
    bench.replica.write("dir/kept.bak", "only here");
    let mut mirror = bench.start_with(&["--exclude", "*.bak"]);
    mirror.wait_for("behind");
    eventually(SOON, || {
        let seen = replica(&bench);
        match seen["failure"]["path"] == "dir" {
            true => Ok(()),
            false => Err(seen),
        }
    });
    let (_, text) = bench.command(&["status"]);
    assert!(
        text.contains("fails: ") && text.contains("s ago)"),
        "{text}"
    );
    bench.replica.remove("dir/kept.bak");
    let (done, said) = bench.command(&["rescan"]);
    assert!(done, "{said}");
    eventually(SOON, || {
        let seen = replica(&bench);
        match seen["failure"].is_null() && seen["state"] == "in-step" {
            true => Ok(()),
            false => Err(seen),
        }
    });
    assert!(replica(&bench)["totals"]["failures"].as_u64() >= Some(1));
    mirror.stop();
}

#[test]
fn a_mirror_that_does_not_run_is_said_in_words() {
    let bench = Bench::with_directory();
    let (done, said) = bench.command(&["status"]);
    let socket = format!("{}.sock", bench.path("state").display());
    assert!(
        !done && said.contains(&format!("no mirror is running at {socket}: ")),
        "{said}"
    );
    assert!(said.contains("start it with driftless mirror"), "{said}");
    // Here nothing has ever run, and there one was killed: its socket is still there.
    bench.source.write("file", "content");
    let states = bench.path("states");
    std::fs::create_dir(&states).unwrap();
    let ask = || {
        let mut command = driftless();
        command.arg("status").env("STATE_DIRECTORY", &states);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(ask().contains("no mirror is running here"));
    let mut mirror =
        bench.start_with(&["--state", states.join("mirror-x.sqlite").to_str().unwrap()]);
    mirror.wait_in_step();
    mirror.kill();
    assert!(states.join("mirror-x.sqlite.sock").exists());
    assert!(ask().contains("no mirror is running here"));
}

#[test]
fn logs_may_be_json() {
    let bench = Bench::with_directory();
    bench.source.write("dir", "a file now");
    bench.source.write("file\n\"", "content");
    bench.replica.write("dir/kept.bak", "only here");
    let mut mirror = bench.start_with(&["--exclude", "*.bak", "--log", "json"]);
    mirror.wait_for("\"behind\"");
    bench.replica.remove("dir/kept.bak");
    let (done, said) = bench.command(&["rescan"]);
    assert!(done, "{said}");
    mirror.wait_for("\"in-step\"");
    let ended = mirror.stop();
    let records: Vec<Value> = ended
        .program
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |event: &str| records.iter().find(|record| record["event"] == event);
    let behind = of("behind").unwrap();
    assert_eq!(behind["level"], "warning");
    assert_eq!(behind["replica"], bench.replica_name());
    assert!(behind["waiting"].as_u64() >= Some(1) && behind["reason"].is_string());
    assert!(of("session").unwrap()["updates"].is_number());
    assert_eq!(of("in-step").unwrap()["first_copy"], true);
    assert_eq!(ended.program.stderr(), "");
    // The reason for the end is there too.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mirror = bench.start_with(&["--log", "json", "--status", &address]);
    let (code, said) = mirror.wait_exit();
    assert_eq!(code, 11);
    let records = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let failed = |record: &Value| record["event"] == "failed" && record["level"] == "error";
    assert!(records.into_iter().any(|record| failed(&record)), "{said}");
}

#[test]
fn a_watched_status_goes_on_when_the_mirror_ends() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mirror = bench.live();
    let mut command = driftless();
    command.args(["status", "--watch", "--json", "--state"]);
    let mut watching = Program::start(command.arg(bench.path("state")));
    watching.wait_for_nth_line(2, "\"in-step\"", SOON);
    mirror.stop();
    let line = watching.wait_for_line("no mirror is running", SOON);
    assert!(serde_json::from_str::<Value>(&line).unwrap()["error"].is_string());
}

#[test]
fn a_mirror_that_hangs_keeps_nobody_waiting() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mut mirror = bench.live();
    mirror.program.signal(testkit::Signal::STOP);
    let (done, said) = bench.command(&["status"]);
    mirror.program.signal(testkit::Signal::CONT);
    assert!(!done && said.contains("no answer within 10 s"), "{said}");
    bench.finish(mirror);
}

#[test]
fn every_command_says_what_it_has_done_or_why_not() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mirror = bench.live();
    for (command, expected) in [
        ("pause", "paused"),
        ("resume", "resumed"),
        ("rescan", "the whole tree is compared"),
        ("verify", "the replica itself is compared"),
        ("flush", "has been brought over"),
        ("status", "waiting, lag "),
    ] {
        let (done, said) = bench.command(&[command, &bench.replica_name()]);
        assert!(done && said.contains(expected), "{command}: {said}");
        let (done, said) = bench.command(&[command, "nobody"]);
        assert!(
            !done && said.contains("there is no replica nobody here"),
            "{command}: {said}"
        );
    }
    let (done, said) = bench.command(&["approve"]);
    assert!(
        !done && said.contains("the replica's name is missing"),
        "{said}"
    );
    let (done, said) = bench.command(&["approve", &bench.replica_name()]);
    assert!(done && said.contains("approved"), "{said}");
    let (done, said) = bench.command(&["flush", "--watch"]);
    assert!(!done && said.contains("--watch"), "{said}");
    bench.finish(mirror);
}
