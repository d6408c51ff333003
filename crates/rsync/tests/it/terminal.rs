//! Progress on a terminal and in a pipe, beside the installed rsync.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use testkit::Original;

use crate::scenarios::example;

/// What was seen of a transfer of one file that takes more than a second.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// The lines that are no progress.
    lines: Vec<String>,
    /// The file's progress stands in one line, each state over the one before.
    redraws: bool,
    /// The last state, without rate and time.
    end: String,
}

impl Shown {
    fn of(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let is_progress = |line: &&str| line.contains('%');
        let progress: Vec<&str> = text.lines().filter(is_progress).collect();
        let [states] = progress[..] else {
            panic!("progress of one file in several lines: {text:?}")
        };
        let states: Vec<&str> = states.split('\r').collect();
        let words = states.last().expect("a state").split_whitespace();
        let is_steady = |word: &&str| !word.ends_with("B/s") && word.split(':').count() != 3;
        Self {
            lines: text
                .lines()
                .filter(|line| !is_progress(line) && !line.starts_with("sent "))
                .map(|line| line.split("speedup").next().unwrap_or_default().to_owned())
                .collect(),
            redraws: states.len() > 2 && states[0].is_empty(),
            end: words.filter(is_steady).collect::<Vec<_>>().join(" "),
        }
    }
}

/// What a program prints into `out` while it copies 3 MB at 2 MB a second.
fn run(program: &Path, options: &[&str], out: impl Into<Stdio>, mut seen: impl Read) -> Shown {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("to")).expect("made");
    fs::write(dir.path().join("large"), vec![7; 3_000_000]).expect("written");
    let mut command = Command::new(program);
    command
        .args(["-v", "--bwlimit=2m"])
        .args(options)
        .args(["large", "to/"])
        .current_dir(dir.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("started");
    // It holds the other end of what is read here.
    drop(command);
    let mut text = Vec::new();
    // A terminal that nobody holds any more ends with an error.
    let _ = seen.read_to_end(&mut text);
    assert!(child.wait().expect("its status").success());
    Shown::of(&String::from_utf8_lossy(&text))
}

/// Our end of a terminal, and the end of a program.
fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the other end");
    (File::from(ours), theirs)
}

#[test]
fn progress_redraws_in_place() {
    for options in [&["--progress"][..], &["-P"], &["--info=progress2"]] {
        let on_terminal = |program: &Path| {
            let (ours, theirs) = terminal();
            run(program, options, theirs, ours)
        };
        let in_pipe = |program: &Path| {
            let (ours, theirs) = std::io::pipe().expect("a pipe");
            run(program, options, theirs, ours)
        };
        let rsync = Original::Rsync.require();
        let shown = on_terminal(&example());
        assert!(shown.redraws, "{options:?}: {shown:?}");
        assert_eq!(shown, on_terminal(&rsync), "{options:?}");
        assert_eq!(in_pipe(&example()), in_pipe(&rsync), "{options:?}");
    }
}
