//! What our command lines do better than the original, and what its table of cases cannot show.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::original::our_programs;

/// A command line that is set up, with its lines of output.
struct Running {
    child: Child,
    lines: crossbeam_channel::Receiver<String>,
}

impl Running {
    fn start(program: &str, arguments: &[&str], directory: &Path) -> Running {
        let programs = our_programs(directory);
        let mut child = Command::new(programs.join(program))
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("established.") && !line.contains("collecting") {
            line.clear();
            assert_ne!(
                stderr.read_line(&mut line).unwrap(),
                0,
                "ended before it was set up"
            );
        }
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = crossbeam_channel::unbounded();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
            // Kept open until here, so that a warning does not end the program.
            drop(stderr.read_to_string(&mut String::new()));
        });
        Running { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The original sees 107 of 200 of these directories (watch.md 6).
#[test]
fn directories_filled_at_once_are_all_told() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("d")).unwrap();
    let arguments = [
        "-m",
        "-r",
        "-e",
        "create,close_write",
        "--format",
        "%e %w%f",
        "d",
    ];
    let running = Running::start("inotifywait", &arguments, base.path());
    let mut expected = BTreeSet::new();
    for number in 0..200 {
        let directory = format!("d/n{number}/s/t");
        fs::create_dir_all(base.path().join(&directory)).unwrap();
        fs::write(base.path().join(&directory).join("f"), "x").unwrap();
        for (path, kind) in [("", ""), ("/s", ""), ("/s/t", "")] {
            expected.insert(format!("CREATE,ISDIR d/n{number}{path}{kind}"));
        }
        expected.insert(format!("CREATE {directory}/f"));
        expected.insert(format!("CLOSE_WRITE,CLOSE {directory}/f"));
    }
    let mut created = BTreeSet::new();
    while !expected.is_empty() {
        let line = running.line();
        expected.remove(&line);
        if line.starts_with("CREATE") {
            assert!(created.insert(line.clone()), "told twice: {line}");
        }
    }
}

#[test]
fn both_halves_of_a_move_have_one_cookie() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir_all(base.path().join("d/a")).unwrap();
    let arguments = ["-m", "-e", "move", "--format", "%c", "d"];
    let running = Running::start("inotifywait", &arguments, base.path());
    fs::rename(base.path().join("d/a"), base.path().join("d/b")).unwrap();
    let cookie = running.line();
    assert_ne!(cookie, "0");
    assert_eq!(running.line(), cookie);
}

#[test]
fn a_directory_that_leaves_is_watched_no_more() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir_all(base.path().join("d/s/t")).unwrap();
    let arguments = ["-m", "-r", "-e", "create", "d"];
    let running = Running::start("inotifywait", &arguments, base.path());
    fs::rename(base.path().join("d/s"), base.path().join("s")).unwrap();
    let watches = || {
        let info = fs::read_dir(format!("/proc/{}/fdinfo", running.child.id())).unwrap();
        let texts = info.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        texts
            .map(|text| text.matches("inotify wd:").count())
            .sum::<usize>()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while watches() != 1 {
        assert!(Instant::now() < deadline, "still {} watches", watches());
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::write(base.path().join("s/t/unseen"), "").unwrap();
    fs::write(base.path().join("d/seen"), "").unwrap();
    assert_eq!(running.line(), "d/ CREATE seen");
}

#[test]
fn a_table_on_request_and_one_at_the_end() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("d")).unwrap();
    let running = Running::start("inotifywatch", &["-e", "create", "d"], base.path());
    fs::write(base.path().join("d/a"), "").unwrap();
    // The event may be a little later than the signal; then there is no table yet but an empty line.
    let table = loop {
        running.signal(Signal::USR1);
        let line = running.line();
        if !line.is_empty() {
            break [line, running.line(), running.line()];
        }
    };
    assert_eq!(table, ["total  create  filename", "1      1       d/", ""]);
    running.signal(Signal::INT);
    assert_eq!(running.line(), "total  create  filename");
}

#[test]
fn a_daemon_resolves_relative_paths() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("d")).unwrap();
    let out = base.path().join("out");
    File::create(&out).unwrap();
    let programs = our_programs(base.path());
    let status = Command::new(programs.join("inotifywait"))
        .args(["-d", "-o", "out", "-e", "create", "--format", "%w%f", "d"])
        .current_dir(base.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    // It says nowhere when it is set up, so files are made until one is told.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    let told = loop {
        assert!(Instant::now() < deadline);
        number += 1;
        fs::write(base.path().join(format!("d/{number}")), "").unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let text = fs::read_to_string(&out).unwrap();
        if !text.is_empty() {
            break text;
        }
    };
    stop_daemon(&programs.join("inotifywait"));
    let directory = format!("{}/d/", base.path().display());
    assert!(told.starts_with(&directory), "{told}");
}

/// Ends the process that was started by this very path.
fn stop_daemon(program: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(program.as_os_str().as_encoded_bytes()) {
            kill_process(pid, Signal::TERM).unwrap();
            return;
        }
    }
    panic!("there is no daemon");
}
