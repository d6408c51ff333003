//! The mirror as a service of systemd: what it tells its manager, and the unit that starts it.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use testkit::{Signal, skip};

use crate::bench::{Bench, Mirror, SOON, driftless};

/// The next message that begins like this; what comes before it, of the kinds in `between` only, is passed over.
#[track_caller]
fn wait_for(manager: &UnixDatagram, start: &str, between: &[&str]) -> String {
    let mut heard = [0; 4096];
    loop {
        let count = manager.recv(&mut heard).unwrap();
        let text = std::str::from_utf8(&heard[..count]).unwrap();
        if text.starts_with(start) {
            return text.to_owned();
        }
        assert!(
            between.iter().any(|kind| text.starts_with(kind)),
            "{text} instead of {start}"
        );
    }
}

#[test]
fn the_manager_hears_of_start_reload_life_and_end() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let socket = bench.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let config = bench.path("mirror.toml");
    let text = format!(
        "[[tree]]\nsource = {:?}\nstate = {:?}\n[[tree.replica]]\nto = {:?}\n",
        bench.source.root().display().to_string(),
        bench.path("state").display().to_string(),
        bench.replica.root().display().to_string()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = driftless();
    command
        .args(["mirror", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "300000")
        .env_remove("WATCHDOG_PID");
    let mut mirror = Mirror::run(&mut command);
    wait_for(&manager, "READY=1", &[]);
    mirror.wait_in_step();
    let in_step = "WATCHDOG=1\nSTATUS=1 of 1 replicas in step";
    wait_for(&manager, in_step, &["WATCHDOG=1"]);
    mirror.program.signal(Signal::HUP);
    let reloading = wait_for(&manager, "RELOADING=1\n", &["WATCHDOG=1"]);
    let (_, micros) = reloading.split_once("MONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    wait_for(&manager, "READY=1", &[]);
    wait_for(&manager, in_step, &[]);
    mirror.stop();
    wait_for(&manager, "STOPPING=1", &["WATCHDOG=1"]);
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let bench = Bench::with_directory();
    let socket = bench.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut command = driftless();
    command
        .arg("mirror")
        .arg("--state")
        .arg(bench.path("state"))
        .arg(bench.path("no such source"))
        .arg(bench.replica.root())
        .env("NOTIFY_SOCKET", &socket);
    let (code, said) = Mirror::run(&mut command).wait_exit();
    assert_eq!(code, 3, "{said}");
    assert!(manager.recv(&mut [0; 100]).is_err(), "nothing was told");
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging");
    let unit = std::fs::read_to_string(format!("{packaging}/driftless-mirror.service")).unwrap();
    assert!(unit.contains("Type=notify\n") && unit.contains("WatchdogSec="));
    // With a program that is there, for one that is missing is a mistake too.
    let bench = Bench::with_directory();
    let copy = bench.path("driftless-mirror.service");
    std::fs::write(
        &copy,
        unit.replace("/usr/bin/driftless", env!("CARGO_BIN_EXE_driftless")),
    )
    .unwrap();
    let mut command = Command::new("systemd-analyze");
    let Ok(output) = command.args(["verify", "--man=no"]).arg(&copy).output() else {
        return skip("systemd-analyze is not installed");
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_it: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("driftless-mirror.service"))
        .collect();
    assert!(about_it.is_empty(), "{said}");
}
