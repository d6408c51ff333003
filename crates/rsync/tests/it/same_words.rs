//! Command lines that both programs get, in equal places: the same output, words on standard error and exit code.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use testkit::Original;

/// One command line a line, as for a shell; `#` starts a comment. See the head of the file.
const LINES: &str = include_str!("../data/same_words.txt");

#[derive(PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

#[test]
fn both_programs_say_the_same() {
    let rsync = Original::Rsync.require();
    let mut differing = String::new();
    for line in LINES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let theirs = run(&rsync, line);
        let ours = run(&example(), line);
        if ours != theirs {
            differing += &format!(
                "$ rsync {line}\n{}{}",
                shown("rsync", &theirs),
                shown("ours", &ours)
            );
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn both_programs_have_the_same_help() {
    let rsync = Original::Rsync.require();
    for line in ["--help", "--daemon --help"] {
        let options = |program: &Path| -> Vec<String> {
            let text = run(program, line).out;
            let is_option = |line: &&str| {
                line.starts_with("  ") || line.starts_with('-') || line.starts_with("Usage")
            };
            text.lines()
                .skip_while(|line| !line.starts_with("Usage"))
                .filter(is_option)
                .map(str::to_owned)
                .collect()
        };
        let theirs = options(&rsync);
        assert!(theirs.len() > 10, "{line}: {theirs:?}");
        assert_eq!(options(&example()), theirs);
    }
}

/// The example, which cargo builds before it runs tests.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let target = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps");
    target.join("examples/rsync")
}

fn run(program: &Path, line: &str) -> Said {
    let dir = tempfile::tempdir().expect("a directory");
    tree(dir.path());
    let output = Command::new("sh")
        .args(["-c", &format!("exec \"$RSYNC\" {line}")])
        .current_dir(dir.path())
        .env("RSYNC", program)
        .env("HOME", dir.path())
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    let place = dir.path().to_string_lossy().into_owned();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place, "@");
    let mut err: Vec<String> = text(&output.stderr)
        .lines()
        .map(without_numbers)
        .map(|line| without_place(&line))
        .collect();
    err.dedup();
    let mut out: Vec<String> = text(&output.stdout).lines().map(without_numbers).collect();
    // rsync's generator speaks for itself, at a time of its own; a stable sort keeps the order of its lines.
    out.sort_by_key(|line| !is_of_generator(line));
    let out = out.join("\n");
    Said {
        code: output.status.code(),
        out,
        err: err.join("\n"),
    }
}

/// `from` with one of each kind, older than now, and an empty `to`.
fn tree(dir: &Path) {
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for name in ["from/d", "to", "other"] {
        fs::create_dir_all(dir.join(name)).expect(name);
    }
    for (name, length) in [
        ("from/a", 6),
        ("from/big", 40_000),
        ("from/d/x y", 1),
        ("other/a", 6),
        ("other/gone", 3),
    ] {
        fs::write(dir.join(name), vec![b'x'; length]).expect(name);
    }
    symlink("a", dir.join("from/l")).expect("a link");
    let ago = Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: ago,
        last_modification: ago,
    };
    utimensat(CWD, dir.join("from/l"), &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
    fs::write(dir.join("list"), "a\n# not a name\nd\n").expect("a list");
    for name in [
        "from/a",
        "from/big",
        "from/d/x y",
        "from/d",
        "from",
        "other/gone",
    ] {
        let file = fs::File::open(dir.join(name)).expect(name);
        file.set_modified(old).expect(name);
    }
}

fn is_of_generator(line: &str) -> bool {
    ["deleting ", "*deleting ", "skipping ", "not creating "]
        .iter()
        .any(|start| line.starts_with(start))
        || [" is uptodate", " exists", " is newer", "-size"]
            .iter()
            .any(|end| line.ends_with(end))
}

/// Where in its source a program decided is its own affair.
fn without_place(line: &str) -> String {
    match (
        line.find(" at "),
        line.starts_with("rsync error") || line.starts_with("rsync warning"),
    ) {
        (Some(at), true) => line[..at].to_owned(),
        _ => line.to_owned(),
    }
}

/// What travelled, and how fast, is a matter of the run.
fn without_numbers(line: &str) -> String {
    if line.starts_with("sent ") {
        return "sent".to_owned();
    }
    for start in ["Total bytes", "File list", "total size is"] {
        if line.starts_with(start) {
            return line
                .split("speedup")
                .next()
                .unwrap_or_default()
                .split(": ")
                .next()
                .unwrap_or_default()
                .to_owned();
        }
    }
    line.to_owned()
}

fn shown(who: &str, said: &Said) -> String {
    let indented = |text: &str| {
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    format!(
        "  {who}: code {:?}\n{}  on standard error:\n{}",
        said.code,
        indented(&said.out),
        indented(&said.err)
    )
}
