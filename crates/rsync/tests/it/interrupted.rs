//! Runs that end before their end: what is left behind, and what is said.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Program, Tmpfs, eventually, script, skip};

use crate::fault_place::SHELL;
use crate::scenarios::example;

/// Longer than any machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of the file that is being copied.
const SIZE: usize = 8 << 20;

/// Slow enough that no machine copies the file before it is interrupted.
const SLOWLY: &str = "--bwlimit=64";

/// A directory with a source of one large file, and a destination with an old version of it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["from", "to"] {
            fs::create_dir(dir.path().join(name)).expect(name);
        }
        // No run of zeros, so that nothing can be left out.
        let content: Vec<u8> = (1..=251u8).cycle().take(SIZE).collect();
        fs::write(dir.path().join("from/big"), content).expect("the source");
        fs::write(dir.path().join("to/big"), "old").expect("the old version");
        script(dir.path().join("shell"), SHELL);
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(example());
        command
            .args(words)
            .current_dir(self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RSYNC_RSH")
            .stdin(Stdio::null());
        command
    }

    fn start(&self, words: &[&str]) -> Program {
        let mut command = self.command(&["-a", SLOWLY]);
        Program::start(command.args(words))
    }

    /// Waits until some file at the destination has content of the new version.
    fn await_data(&self) {
        let to = self.path("to");
        eventually(DEADLINE, || {
            let sizes: Vec<u64> = names_in(&to)
                .iter()
                .filter_map(|name| fs::metadata(to.join(name)).ok())
                .filter(fs::Metadata::is_file)
                .map(|data| data.len())
                .collect();
            match sizes.iter().any(|&size| size > "old".len() as u64) {
                true => Ok(()),
                false => Err(format!("sizes {sizes:?}")),
            }
        });
    }

    fn is_old(&self) -> bool {
        fs::read(self.path("to/big")).is_ok_and(|content| content == b"old")
    }

    /// Checks that `name` is the beginning of the source, and not all of it.
    fn assert_is_beginning(&self, name: &str) {
        let kept = fs::read(self.path(name)).expect(name);
        let whole = fs::read(self.path("from/big")).expect("the source");
        assert!(
            !kept.is_empty() && kept.len() < whole.len(),
            "{}",
            kept.len()
        );
        assert!(whole.starts_with(&kept), "{name} is something else");
    }
}

/// Everything below a directory, sorted.
fn names_in(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(dir).expect("below it");
            names.push(name.to_string_lossy().into_owned());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            }
        }
    }
    names.sort();
    names
}

const INTERRUPTED: &str = "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20)";

/// Interrupts a run once data has come, and checks how it ends.
fn interrupt(place: &Place, signal: Signal, words: &[&str]) {
    let told = end(place, &[signal], words, 20);
    assert!(told.contains(INTERRUPTED), "{told}");
}

/// Sends a run signals once data has come. Returns its errors when it has ended with this code.
fn end(place: &Place, signals: &[Signal], words: &[&str], code: i32) -> String {
    let mut program = place.start(words);
    place.await_data();
    for &signal in signals {
        program.signal(signal);
    }
    assert_eq!(program.wait_exit(DEADLINE), code, "{}", program.stderr());
    program.stderr()
}

#[test]
fn nothing_is_left_of_an_interrupted_file() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let place = Place::new();
        interrupt(&place, signal, &["from/", "to/"]);
        assert!(place.is_old());
        assert_eq!(names_in(&place.path("to")), ["big"]);
    }
}

#[test]
fn a_wish_that_comes_twice_is_one() {
    // As `timeout` does, which signals the program and then its group.
    let place = Place::new();
    let signals = [Signal::TERM, Signal::TERM, Signal::USR1];
    end(&place, &signals, &["from/", "to/"], 20);
    assert_eq!(names_in(&place.path("to")), ["big"]);
}

#[test]
fn an_end_by_rsync_itself_is_code_19_and_leaves_nothing() {
    let place = Place::new();
    let told = end(&place, &[Signal::USR1], &["from/", "to/"], 19);
    assert!(
        told.contains("rsync error: received SIGUSR1 (code 19)"),
        "{told}"
    );
    assert_eq!(names_in(&place.path("to")), ["big"]);
}

/// The shell of a peer that has stopped in its tracks does not end by itself.
#[test]
fn a_silent_peer_is_code_30_in_time() {
    let place = Place::new();
    let server = format!("--rsync-path={}", example().display());
    let words = ["--timeout=2", "-e", "./shell", &server, "from/", "h:to/"];
    let mut program = place.start(&words);
    place.await_data();
    let peer = fs::read_to_string(place.path("server")).expect("the server's number");
    let peer = peer.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(peer.expect("a number"), Signal::STOP).expect("the server is there");
    assert_eq!(program.wait_exit(DEADLINE), 30, "{}", program.stderr());
}

#[test]
fn partial_keeps_what_has_come() {
    let place = Place::new();
    interrupt(&place, Signal::INT, &["--partial", "from/", "to/"]);
    place.assert_is_beginning("to/big");
    assert_eq!(names_in(&place.path("to")), ["big"]);
    // The next run must not take it for complete.
    let kept = fs::metadata(place.path("to/big")).expect("the file");
    assert_eq!(kept.mtime(), 0);
}

#[test]
fn a_partial_directory_keeps_it_aside_and_the_next_run_uses_it() {
    let place = Place::new();
    interrupt(
        &place,
        Signal::TERM,
        &["--partial-dir=.part", "from/", "to/"],
    );
    assert!(place.is_old());
    place.assert_is_beginning("to/.part/big");
    let output = place
        .command(&[
            "-a",
            "--no-whole-file",
            "--stats",
            "--partial-dir=.part",
            "from/",
            "to/",
        ])
        .output()
        .expect("rsync");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names_in(&place.path("to")), ["big"]);
    assert_eq!(
        fs::read(place.path("to/big")).expect("the file"),
        fs::read(place.path("from/big")).expect("the source")
    );
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!told.contains("Matched data: 0 bytes"), "{told}");
}

#[test]
fn a_pull_that_is_interrupted_leaves_nothing() {
    let place = Place::new();
    let server = format!("--rsync-path={}", example().display());
    interrupt(
        &place,
        Signal::INT,
        &["-e", "./shell", &server, "h:from/", "to/"],
    );
    assert!(place.is_old());
    assert_eq!(names_in(&place.path("to")), ["big"]);
}

#[test]
fn a_push_that_is_interrupted_leaves_nothing_at_the_server() {
    let place = Place::new();
    let server = format!("--rsync-path={}", example().display());
    interrupt(
        &place,
        Signal::INT,
        &["-e", "./shell", &server, "from/", "h:to/"],
    );
    // The server ends when it notices.
    eventually(DEADLINE, || match names_in(&place.path("to")) {
        names if names == ["big"] => Ok(()),
        names => Err(format!("{names:?}")),
    });
    assert!(place.is_old());
}

#[test]
fn a_push_of_a_new_file_does_not_go_on_to_its_end() {
    let place = Place::new();
    fs::remove_file(place.path("to/big")).expect("no old version");
    let server = format!("--rsync-path={}", example().display());
    interrupt(
        &place,
        Signal::INT,
        &["-e", "./shell", &server, "from/", "h:to/"],
    );
    eventually(DEADLINE, || match names_in(&place.path("to")) {
        names if names.is_empty() => Ok(()),
        names => Err(format!("{names:?}")),
    });
}

#[test]
fn a_peer_that_dies_is_code_12_and_leaves_nothing() {
    let place = Place::new();
    let server = format!("--rsync-path={}", example().display());
    let mut program = place.start(&["-e", "./shell", &server, "h:from/", "to/"]);
    place.await_data();
    let peer = fs::read_to_string(place.path("server")).expect("the server's number");
    let peer = peer.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(peer.expect("a number"), Signal::KILL).expect("the server is there");
    assert_eq!(program.wait_exit(DEADLINE), 12, "{}", program.stderr());
    let told = program.stderr();
    assert!(
        told.contains("rsync: connection unexpectedly closed ("),
        "{told}"
    );
    assert!(
        told.contains("rsync error: error in rsync protocol data stream (code 12)"),
        "{told}"
    );
    assert!(place.is_old());
    assert_eq!(names_in(&place.path("to")), ["big"]);
}

#[test]
fn a_full_disk_is_code_11_and_leaves_what_was_asked_for() {
    // Half of what is needed.
    let Some(small) = Tmpfs::mount(SIZE as u64 / 2) else {
        return skip("mounting is not permitted");
    };
    let place = Place::new();
    let to = format!("{}/", small.path().display());
    for (words, kept) in [
        (&[][..], &[][..]),
        (&["--no-whole-file"], &[]),
        (&["--partial"], &["big"]),
        (&["--no-whole-file", "--partial"], &["big"]),
        (&["--partial-dir=.part"], &[".part", ".part/big"]),
    ] {
        let output = place
            .command(&["-a"])
            .args(words)
            .args(["from/", &to])
            .output()
            .expect("rsync");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(11), "{words:?}: {told}");
        let line =
            format!("rsync: [receiver] write failed on \"{to}big\": No space left on device (28)");
        assert!(told.contains(&line), "{words:?}: {told}");
        assert!(
            told.contains("rsync error: error in file IO (code 11)"),
            "{told}"
        );
        assert_eq!(names_in(small.path()), kept, "{words:?}");
        for name in kept {
            let path = small.path().join(name);
            let data = fs::metadata(&path).expect("it is there");
            assert!(
                data.is_dir() || data.len() > 0,
                "{words:?}: {name} is empty"
            );
            let removed = match data.is_dir() {
                true => Ok(()),
                false => fs::remove_file(&path),
            };
            removed.expect("room for the next one");
        }
        // The directory of partial files is not asked for by the next case.
        let _ = fs::remove_dir(small.path().join(".part"));
    }
}
