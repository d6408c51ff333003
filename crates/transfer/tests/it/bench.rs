//! Two sandboxes with the same trees: the original works in one, the engine in the other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsString;
use std::process::Command;
use std::sync::Mutex;

use driftless_transfer::{Direction, Event, Itemized, Options, Skip};
use tempfile::TempDir;
use testkit::{Aspects, REMOTE_SHELL, Tree, compare, require_rsync, script};
use wire::{ItemFlags, Side};

/// What a run said and came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub lines: Vec<String>,
    pub code: i32,
}

/// One scenario: `from/` is brought to `to/`.
#[derive(Clone, Copy)]
pub struct Scenario<'a> {
    pub name: &'a str,
    pub source: &'a str,
    pub destination: &'a str,
    /// What a tree's description has no words for; gets the directory that holds `from/` and `to/`.
    pub prepare: &'a dyn Fn(&std::path::Path),
    /// Options of the original.
    pub words: &'a str,
    /// The same for the engine, but for `-a`.
    pub set: &'a dyn Fn(&mut Options),
    /// Operands; the last one is the destination. A remote shell reaches `host:`, which is this machine.
    pub operands: &'a [&'a str],
}

impl Scenario<'_> {
    /// Lets both work, the engine as that `side`, and compares what they say and what they leave.
    pub fn run(
        &self,
        side: Side,
        engine: impl Fn(Options, &[OsString], &std::path::Path, &(dyn Fn(Event<'_>) + Sync)) -> i32,
    ) {
        let theirs = self.sandbox();
        let ours = twin(&theirs);
        let expected = self.original(&theirs);
        let said = Mutex::new(Vec::new());
        let mut options = match self.words.starts_with("-a") {
            true => Options::archive(side),
            false => Options::new(side),
        };
        (self.set)(&mut options);
        options.umask = 0o022;
        let (target, sources) = self.operands.split_last().expect("a destination");
        let whole = |operand: &str| {
            let mut path = ours.path().as_os_str().to_owned();
            path.push("/");
            path.push(operand.trim_start_matches("host:"));
            path
        };
        let sources: Vec<OsString> = sources.iter().map(|operand| whole(operand)).collect();
        let code = engine(
            options,
            &sources,
            whole(target).as_ref(),
            &|event: Event<'_>| {
                said.lock().unwrap().extend(
                    line(&event)
                        .iter()
                        .flat_map(|lines| lines.lines())
                        .map(str::to_owned),
                );
            },
        );
        let mut said = Said {
            lines: said.into_inner().unwrap(),
            code,
        };
        let mut expected = expected;
        // Deletions and skips come from another process: their place among the others depends on timing.
        for said in [&mut said, &mut expected] {
            said.lines
                .sort_by_key(|line| OF_THE_GENERATOR.iter().any(|start| line.starts_with(start)));
        }
        if !self.keeps_times() {
            // The letter for a time that is set to that of the run.
            said.lines
                .iter_mut()
                .filter(|line| line.as_bytes()[4] == b't')
                .for_each(|line| line.replace_range(4..5, "T"));
        }
        assert_eq!(said, expected, "{}: {}", self.name, self.words);
        for dir in ["from", "to"] {
            let compared = compare(
                &theirs.path().join(dir),
                &ours.path().join(dir),
                &Aspects::exact().with_xattrs(),
            );
            let lines = compared
                .err()
                .map_or(Vec::new(), |differences| differences.lines().to_vec());
            let differences: Vec<_> = lines.iter().filter(|line| !is_of_this_run(line)).collect();
            assert!(
                differences.is_empty(),
                "{}: {}: {dir}\n{differences:#?}",
                self.name,
                self.words
            );
        }
    }

    fn keeps_times(&self) -> bool {
        self.words
            .split(' ')
            .next()
            .is_some_and(|word| word.contains('a') || word.contains('t'))
    }

    fn sandbox(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        Tree::build(dir.path().join("from"), self.source);
        Tree::build(dir.path().join("to"), self.destination);
        (self.prepare)(dir.path());
        // Times of the present second would count as equal to those that the run itself leaves.
        let undated = [
            "(", "-type", "d", "-o", "-type", "l", "-o", "-type", "p", ")",
        ];
        let mut find = Command::new("find");
        find.arg(dir.path())
            .args(undated)
            .args(["-exec", "touch", "-h", "-d", "@5000", "{}", "+"]);
        assert!(find.status().unwrap().success());
        dir
    }

    fn original(&self, sandbox: &TempDir) -> Said {
        let mut command = Command::new(require_rsync());
        command
            .arg("-i")
            .args(self.words.split(' '))
            .args(self.operands)
            .current_dir(sandbox.path());
        // A remote shell that drops the host and starts in the same directory.
        let shell = sandbox
            .path()
            .parent()
            .unwrap()
            .join(format!("driftless-shell-{}", std::process::id()));
        if self.operands.iter().any(|operand| operand.contains(':')) {
            SHELL.call_once(|| drop(script(&shell, REMOTE_SHELL)));
            command.env("RSYNC_RSH", &shell);
            command.arg(format!("--rsync-path={}", require_rsync().display()));
        }
        let output = command.output().unwrap();
        let lines = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        Said {
            lines,
            code: output.status.code().unwrap(),
        }
    }
}

static SHELL: std::sync::Once = std::sync::Once::new();

/// Lines whose place among the others depends on timing: another process says them, or what they wait for.
const OF_THE_GENERATOR: &[&str] = &["*deleting", "skipping ", "cannot delete", "hf"];

/// A difference of two times that nobody kept.
fn is_of_this_run(difference: &str) -> bool {
    let numbers: Vec<f64> = difference
        .split([' ', ','])
        .filter_map(|word| word.parse().ok())
        .collect();
    difference.contains(": mtime ")
        && numbers.len() == 2
        && numbers.iter().all(|&time| time > 1_000_000_000.0)
}

/// A copy of a sandbox, to the last nanosecond.
fn twin(sandbox: &TempDir) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(sandbox.path().join("."))
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(copied.success());
    dir
}

/// What `-i` prints for an event.
pub fn line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Peer {
            severity: wire::Severity::Info,
            text: said,
        } => Some(text(said).trim_end().to_owned()),
        Event::Itemized(item) if !item.unchanged => Some(itemized(item)),
        Event::Deleted { path, is_dir } => {
            let slash = if *is_dir { "/" } else { "" };
            Some(format!("*deleting   {}{slash}", text(path)))
        }
        Event::Skipped {
            path,
            why: Skip::NonRegular,
            ..
        } => Some(format!("skipping non-regular file \"{}\"", text(path))),
        Event::Skipped {
            path,
            why: Skip::NotEmpty,
            ..
        } => Some(format!("cannot delete non-empty directory: {}", text(path))),
        Event::Skipped {
            path,
            why: Skip::Directory,
            ..
        } => Some(format!("skipping directory {}", text(path))),
        Event::CreatedDestination { path, .. } => Some(format!(
            "created directory to/{}",
            path.file_name()?.to_string_lossy()
        )),
        _ => None,
    }
}

fn itemized(item: &Itemized<'_>) -> String {
    let flags = item.flags;
    let mut letters = String::new();
    letters.push(match item.direction {
        _ if flags.contains(ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS) => 'h',
        _ if flags.contains(ItemFlags::LOCAL_CHANGE) => 'c',
        _ if !flags.contains(ItemFlags::TRANSFER) => '.',
        Direction::Sent => '<',
        Direction::Received => '>',
    });
    let kind = item.entry.mode & 0o170_000;
    letters.push(match kind {
        0o100_000 => 'f',
        0o040_000 => 'd',
        0o120_000 => 'L',
        0o020_000 | 0o060_000 => 'D',
        _ => 'S',
    });
    let attributes: String = if flags.contains(ItemFlags::IS_NEW) {
        "+".repeat(9)
    } else {
        let bits = [
            (ItemFlags::REPORT_CHANGE, 'c'),
            (ItemFlags::REPORT_SIZE, 's'),
            (ItemFlags::REPORT_TIME, 't'),
            (ItemFlags::REPORT_PERMS, 'p'),
            (ItemFlags::REPORT_OWNER, 'o'),
            (ItemFlags::REPORT_GROUP, 'g'),
            (ItemFlags::REPORT_ATIME, 'u'),
            (ItemFlags::REPORT_ACL, 'a'),
            (ItemFlags::REPORT_XATTR, 'x'),
        ];
        let shown =
            |(bit, letter): (ItemFlags, char)| if flags.contains(bit) { letter } else { '.' };
        let all: String = bits.into_iter().map(shown).collect();
        let is_local = letters.starts_with(['.', 'h', 'c']);
        if is_local && all.bytes().all(|byte| byte == b'.') {
            " ".repeat(9)
        } else {
            all
        }
    };
    letters.push_str(&attributes);
    let slash = if kind == 0o040_000 && !item.entry.path.ends_with(b"/") {
        "/"
    } else {
        ""
    };
    let mut line = format!("{letters} {}{slash}", text(item.entry.path));
    if let Some(link) = item.link {
        line.push_str(&format!(" => {}", text(link)));
    } else if let Some(target) = item.entry.target {
        line.push_str(&format!(" -> {}", text(target)));
    }
    line
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
