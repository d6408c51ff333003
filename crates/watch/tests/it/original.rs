//! Our command lines against inotify-tools, over the table in `cases.txt`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::live::may_use_fanotify;

const CASES: &str = include_str!("cases.txt");

/// Waits for what must come; generous, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// Output that has not grown for so long is complete.
const QUIET: Duration = Duration::from_millis(120);

#[derive(Debug, Default)]
struct Case {
    name: String,
    prepare: String,
    run: String,
    act: String,
    end: String,
    differs: Option<String>,
}

#[derive(PartialEq, Eq)]
struct Outcome {
    stdout: String,
    stderr: String,
    status: i32,
}

fn cases() -> Vec<Case> {
    let text: Vec<&str> = CASES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let text = text.join("\n");
    let paragraphs = text
        .split("\n\n")
        .map(str::trim)
        .filter(|text| !text.is_empty());
    paragraphs
        .map(|paragraph| {
            let mut lines = paragraph.lines();
            let mut case = Case {
                name: lines.next().unwrap().to_owned(),
                end: "TERM".to_owned(),
                ..Case::default()
            };
            for line in lines {
                let (key, value) = line.trim().split_once(": ").expect(line);
                let field = match key {
                    "in" => &mut case.prepare,
                    "run" => &mut case.run,
                    "do" => &mut case.act,
                    "end" => &mut case.end,
                    "differs" => case.differs.insert(String::new()),
                    _ => panic!("unknown line: {line}"),
                };
                value.clone_into(field);
            }
            case
        })
        .collect()
}

#[test]
fn same_as_the_original() {
    if !Path::new("/usr/bin/inotifywait").exists() {
        eprintln!("skipped: inotify-tools is not installed");
        return;
    }
    let version = Command::new("inotifywait").arg("--help").output().unwrap();
    if !version.stdout.starts_with(b"inotifywait 3.22.6") {
        eprintln!("skipped: the installed inotify-tools is not 3.22.6, which the table is about");
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let ours = our_programs(base.path());
    let mut cases = cases();
    assert!(cases.len() >= 80);
    if !may_use_fanotify() {
        cases.retain(|case| !case.run.starts_with("fsnotify"));
    }
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else {
                        return;
                    };
                    let place = base.path().join(number.to_string());
                    failures
                        .lock()
                        .unwrap()
                        .extend(compare(case, &place, &ours));
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// A directory with our programs under the names of the original.
pub(crate) fn our_programs(base: &Path) -> PathBuf {
    // Examples are built with the tests and lie beside them.
    let tests = std::env::current_exe().unwrap();
    let program = tests
        .parent()
        .unwrap()
        .with_file_name("examples")
        .join("inotify-tools");
    assert!(
        program.exists(),
        "build {program:?} with cargo build --examples"
    );
    let directory = base.join("bin");
    fs::create_dir(&directory).unwrap();
    for name in [
        "inotifywait",
        "inotifywatch",
        "fsnotifywait",
        "fsnotifywatch",
    ] {
        std::os::unix::fs::symlink(&program, directory.join(name)).unwrap();
    }
    directory
}

fn compare(case: &Case, place: &Path, ours: &Path) -> Option<String> {
    let original = perform(case, place, None);
    let own = perform(case, place, Some(ours));
    if (original == own) == case.differs.is_none() {
        return None;
    }
    Some(format!(
        "== {} ==\n{}\n-- original --\n{original}-- ours --\n{own}",
        case.name, case.run
    ))
}

/// Runs a case in a fresh directory that has the same path for both programs.
fn perform(case: &Case, place: &Path, programs: Option<&Path>) -> Outcome {
    let work = place.join("work");
    fs::create_dir_all(work.join("d")).unwrap();
    shell(&case.prepare, &work);
    let (stdout, stderr) = (place.join("stdout"), place.join("stderr"));
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(programs) = programs {
        let mut first = programs.as_os_str().to_owned();
        first.push(":");
        first.push(path);
        path = first;
    }
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {}", case.run)])
        .current_dir(&work)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    if established(&mut child, &stderr) {
        shell(&case.act, &work);
        settle(&mut child, &stdout, case.end == "itself");
    }
    let signal = match case.end.as_str() {
        "TERM" => Some(Signal::TERM),
        "INT" => Some(Signal::INT),
        "HUP" => Some(Signal::HUP),
        "itself" => None,
        other => panic!("unknown end {other}"),
    };
    if let Some(signal) = signal {
        // It may have ended already.
        let _ = kill_process(Pid::from_child(&child), signal);
    }
    let status = child.wait().unwrap();
    let outcome = Outcome {
        stdout: read(&stdout),
        stderr: read(&stderr),
        status: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
    };
    fs::remove_dir_all(place).unwrap();
    outcome
}

fn shell(commands: &str, directory: &Path) {
    let mut shell = Command::new("sh");
    shell.args(["-c", commands]).current_dir(directory);
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().unwrap();
}

/// Waits until all is watched; false when the program has ended before.
fn established(child: &mut Child, stderr: &Path) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut watches = (0, Instant::now());
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let text = read(stderr);
        if text.contains("Watches established.") || text.contains("Finished establishing") {
            return true;
        }
        // With -q there is no such line, but the kernel knows.
        let now = count_watches(child.id());
        if now != watches.0 {
            watches = (now, Instant::now());
        } else if now > 0 && watches.1.elapsed() > QUIET {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not established: {}", read(stderr));
}

fn count_watches(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .into_iter()
        .flatten()
        .flatten();
    let texts = entries.map(|entry| read(&entry.path()));
    texts
        .map(|text| {
            text.lines()
                .filter(|line| {
                    let marks = ["inotify wd:", "fanotify ino:", "fanotify sdev:"];
                    marks.iter().any(|mark| line.starts_with(mark))
                })
                .count()
        })
        .sum()
}

/// Waits until the output is complete, or the program has ended.
fn settle(child: &mut Child, stdout: &Path, ends_itself: bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut length = (0, Instant::now());
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        let now = fs::metadata(stdout).unwrap().len();
        if now != length.0 {
            length = (now, Instant::now());
        } else if !ends_itself && length.1.elapsed() > QUIET {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if ends_itself && child.try_wait().unwrap().is_none() {
        child.kill().unwrap();
    }
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        // Files in /proc may vanish while they are read.
        let _ = file.read_to_end(&mut bytes);
    }
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    without_chance(&text)
}

/// sed gives its temporary file a random name; and some lines may be there once or twice.
fn without_chance(text: &str) -> String {
    let word = |word: &str| {
        let random = word.strip_prefix("sed").filter(|rest| rest.len() == 6);
        random.map_or_else(|| word.to_owned(), |_| "sedRANDOM".to_owned())
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = text.split('\n').map(line).collect();
    // What fsnotifywait prints for its own authors, and adds to names that are gone by then (watch.md 8, 4.1).
    lines.retain(|line| !line.starts_with("[fid="));
    for line in &mut lines {
        *line = line.replace(" (deleted)", "");
    }
    // The kernel joins equal events, but only those that nobody has read yet.
    lines.dedup_by(|a, b| {
        a == b
            && ["ATTRIB", "ACCESS", "MODIFY"]
                .iter()
                .any(|name| a.contains(name))
    });
    lines.join("\n")
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{}[stderr] {}[status {}]",
            self.stdout, self.stderr, self.status
        )
    }
}
