//! What a run said and left behind, without what differs from run to run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

/// The runs of one scenario.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// How each run ended; `None` by a signal.
    pub codes: Vec<Option<i32>>,
    /// Lines of standard output.
    pub out: Vec<String>,
    /// Lines of standard error, sorted.
    pub err: Vec<String>,
    /// Lines of a daemon's log, sorted: several processes write there at once.
    pub log: Vec<String>,
    /// What is there afterwards, as of [`tree_lines`].
    pub tree: Vec<String>,
}

impl Said {
    /// Adds another run.
    pub fn add(&mut self, step: &Self) {
        self.codes.extend(&step.codes);
        self.out.extend(step.out.iter().cloned());
        self.err.extend(step.err.iter().cloned());
    }

    /// Where `found` differs, in lines.
    pub fn difference(&self, found: &Self) -> String {
        let mut text = String::new();
        if self.codes != found.codes {
            text += &format!("  exit codes {:?}, ours {:?}\n", self.codes, found.codes);
        }
        for (what, theirs, ours) in [
            ("standard output", &self.out, &found.out),
            ("standard error", &self.err, &found.err),
            ("log", &self.log, &found.log),
            ("tree", &self.tree, &found.tree),
        ] {
            if theirs != ours {
                text += &format!("  {what}:\n");
                let missing = theirs.iter().filter(|line| !ours.contains(line));
                missing.for_each(|line| text += &format!("    - {line}\n"));
                let extra = ours.iter().filter(|line| !theirs.contains(line));
                extra.for_each(|line| text += &format!("    + {line}\n"));
                if text.ends_with(":\n") {
                    text += &format!("    another order: {ours:?}\n");
                }
            }
        }
        text
    }
}

/// A run's output with `names` replaced, and without numbers that are of that run only.
pub fn normal(ran: &Output, names: &[(&str, &str)]) -> Said {
    let text = |bytes: &[u8]| {
        let mut text = String::from_utf8_lossy(bytes).replace('\r', "\n");
        for (name, stands_for) in names {
            text = text.replace(name, stands_for);
        }
        text
    };
    let lines = text(&ran.stdout);
    let mut out: Vec<String> = lines.lines().filter_map(without_numbers).collect();
    // rsync's generator speaks for itself, at a time of its own; a stable sort keeps the order of its lines.
    out.sort_by_key(|line| !is_of_generator(line));
    let lines = text(&ran.stderr);
    let mut err: Vec<String> = lines
        .lines()
        .filter_map(without_numbers)
        .map(|line| without_place(&without_random(&line)))
        .collect();
    // Several processes write there at once.
    err.sort();
    err.dedup();
    Said {
        codes: vec![ran.status.code()],
        out,
        err,
        ..Said::default()
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

/// What travelled, and how fast, is a matter of the run. `None` is a state of progress that came by chance.
fn without_numbers(line: &str) -> Option<String> {
    if line.contains("B/s") && line.contains('%') {
        let is_kept = line.contains("xfr#");
        let words = line.split_whitespace().map(|word| {
            let is_time =
                word.split(':').count() == 3 && word.starts_with(|c: char| c.is_ascii_digit());
            if word.ends_with("B/s") {
                "RATE"
            } else if is_time {
                "TIME"
            } else if word.starts_with("to-chk") || word.starts_with("ir-chk") {
                // How much of the list is known by then is a matter of timing.
                "CHK"
            } else {
                word
            }
        });
        return is_kept.then(|| words.collect::<Vec<_>>().join(" "));
    }
    // A daemon that closes with unread input resets the connection; who comes to notice it is a matter of timing.
    let timing = [
        "read error: Connection reset by peer (104)",
        "write error: Connection reset by peer (104)",
        "write error: Broken pipe (32)",
    ];
    if timing.iter().any(|end| line.ends_with(end)) {
        return None;
    }
    if line.starts_with("sent ") {
        return Some("sent".to_owned());
    }
    for start in ["Total bytes", "File list", "total size is"] {
        if line.starts_with(start) {
            let line = line.split("speedup").next().unwrap_or_default();
            let line = line.split(": ").next().unwrap_or_default();
            return Some(line.to_owned());
        }
    }
    if let Some((before, after)) = line.split_once(" bytes received so far") {
        let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
        return Some(format!("{before}N bytes received so far{after}"));
    }
    Some(line.to_owned())
}

/// A log without the times and process numbers before its lines, and without sums.
fn without_times(log: &[u8]) -> Vec<u8> {
    let log = String::from_utf8_lossy(log);
    let lines = log.lines().filter_map(|line| {
        let (_, text) = line.split_once("] ")?;
        Some(without_numbers(text)? + "\n")
    });
    lines.collect::<String>().into_bytes()
}

/// What no run takes; later times are not of now.
const HOUR: Duration = Duration::from_secs(3600);

/// The lines of a daemon's log with `names` replaced and without times, process numbers and what is of that run only.
pub fn log_lines(log: &str, names: &[(&str, &str)]) -> Vec<String> {
    let mut lines: Vec<String> = log
        .lines()
        .map(|line| {
            let line = line.split_once("] ").map_or(line, |(_, text)| text);
            let replaced =
                |line: String, (name, stands_for): &(&str, &str)| line.replace(name, stands_for);
            let line = names.iter().fold(line.to_owned(), replaced);
            match line.split_once("  total size ") {
                Some((_, size)) if line.starts_with("sent ") => format!("sent  total size {size}"),
                _ => without_place(&without_random(&line)),
            }
        })
        .collect();
    lines.sort();
    lines
}

/// A temporary file's name ends in six characters that nobody has chosen: `.NAME.a1B2c3`.
fn without_random(line: &str) -> String {
    let is_temporary = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or_default();
        let random = name.rsplit('.').next().unwrap_or_default();
        name.starts_with('.')
            && name.matches('.').count() > 1
            && random.len() == 6
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let parts = line.split('"').map(|part| match is_temporary(part) {
        true => format!("{}RANDOM", &part[..part.len() - 6]),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// All names below `root`, a line each: kind, mode, owner, links, size or target, time, content, extended attributes and
/// with them access control lists. Times since `started` are now.
pub fn tree_lines(root: &Path, started: SystemTime) -> Vec<String> {
    let mut lines = Vec::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let meta = fs::symlink_metadata(&path).expect("there");
        if meta.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
        let mtime = meta.modified().expect("a time");
        let time = if (started..started + HOUR).contains(&mtime) {
            "now".to_owned()
        } else {
            format!("{}.{}", meta.mtime(), meta.mtime_nsec())
        };
        let content = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).expect("a link").display())
        } else if meta.is_file() {
            let mut bytes = fs::read(&path).expect("readable");
            if path.ends_with("log") {
                bytes = without_times(&bytes);
            }
            let sum = bytes.iter().fold(0_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
            });
            format!("{} bytes {sum:x}", bytes.len())
        } else {
            String::new()
        };
        let links = if meta.is_dir() { 1 } else { meta.nlink() };
        let name = path.strip_prefix(root).expect("beneath").display();
        let xattrs = xattrs(&path);
        lines.push(format!(
            "{name} {:o} {}:{} x{links} {time} {content}{xattrs}",
            meta.mode(),
            meta.uid(),
            meta.gid()
        ));
    }
    lines.sort();
    lines
}

fn xattrs(path: &Path) -> String {
    // The kernel's limit for a list of names and for a value (xattr(7)).
    let mut buffer = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut buffer[..]).unwrap_or(0);
    let list = buffer[..length].to_vec();
    let mut names: Vec<&[u8]> = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && *name != b"security.selinux")
        .collect();
    names.sort_unstable();
    let shown = names.into_iter().map(|name| {
        let length = rustix::fs::lgetxattr(path, name, &mut buffer[..]).unwrap_or(0);
        format!(
            " {}={}",
            name.escape_ascii(),
            buffer[..length].escape_ascii()
        )
    });
    shown.collect()
}
