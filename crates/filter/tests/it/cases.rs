//! The table of cases: this crate against the data, and the original against the data.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use driftless_filter::{Cvs, MergeFile, Options, Rules, Scope, Side};

#[test]
fn this_crate_decides_as_the_table_says() {
    for case in cases() {
        let dir = case.set_up();
        let scope = case.scope(dir.path());
        let seen = match case.expected {
            Expected::Hides(_) => {
                let mut hidden = BTreeSet::new();
                hide(
                    dir.path(),
                    &scope.enter(b"", &mut files(dir.path())).expect(case.name),
                    "",
                    &mut hidden,
                );
                hidden
            }
            Expected::Leaves(_) => {
                let mut left = BTreeSet::new();
                delete(
                    dir.path(),
                    &scope.enter(b"", &mut files(dir.path())).expect(case.name),
                    "",
                    &mut left,
                );
                left
            }
        };
        assert_eq!(seen, *case.expected.paths(), "{}", case.name);
    }
}

#[test]
fn a_single_path_is_excluded_where_a_scan_would_not_reach_it() {
    for case in cases() {
        let Expected::Hides(hidden) = &case.expected else {
            continue;
        };
        let dir = case.set_up();
        let mut read = files(dir.path());
        let root = case
            .scope(dir.path())
            .enter(b"", &mut read)
            .expect(case.name);
        for (path, is_dir) in everything_in(&dir.path().join("src")) {
            let expected = hidden.iter().any(|top| Path::new(&path).starts_with(top));
            let seen = root
                .excluded_with_parents(path.as_bytes(), is_dir, &mut read)
                .expect(case.name);
            assert_eq!(seen, expected, "{}: {path}", case.name);
        }
    }
}

#[test]
fn the_original_decides_as_the_table_says() {
    for case in cases() {
        let dir = case.set_up();
        let src = dir.path().join("src");
        let mut rsync = Command::new(testkit::require_rsync());
        rsync
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .env_remove("CVSIGNORE");
        let arguments = case.arguments(dir.path());
        let seen = match &case.expected {
            Expected::Hides(_) => {
                let run = rsync
                    .args(["-rn", "--out-format=%n"])
                    .args(arguments)
                    .args(["src/", "other/"]);
                let output = run.output().expect("rsync runs");
                assert!(output.status.success(), "{}: {output:?}", case.name);
                let shown: BTreeSet<&str> = std::str::from_utf8(&output.stdout)
                    .expect("plain names")
                    .lines()
                    .collect();
                topmost(everything_in(&src).into_iter().filter(|(path, is_dir)| {
                    !shown.contains(
                        if *is_dir {
                            format!("{path}/")
                        } else {
                            path.clone()
                        }
                        .as_str(),
                    )
                }))
            }
            Expected::Leaves(_) => {
                let run = rsync
                    .args(["-r", "--delete", "--force"])
                    .args(arguments)
                    .args(["other/", "src/"]);
                let output = run.output().expect("rsync runs");
                assert!(output.status.success(), "{}: {output:?}", case.name);
                everything_in(&src)
                    .into_iter()
                    .map(|(path, _)| path)
                    .collect()
            }
        };
        assert_eq!(seen, *case.expected.paths(), "{}", case.name);
    }
}

/// What a sender's scan of `dir` leaves out.
fn hide(base: &Path, scope: &Scope, dir: &str, hidden: &mut BTreeSet<String>) {
    for (path, is_dir) in entries_of(base, dir) {
        if scope.check(path.as_bytes(), is_dir).is_excluded() {
            hidden.insert(path);
        } else if is_dir {
            hide(
                base,
                &scope
                    .enter(path.as_bytes(), &mut files(base))
                    .expect("good rules"),
                &path,
                hidden,
            );
        }
    }
}

/// What is left of `dir` after a receiver has deleted all it may.
fn delete(base: &Path, scope: &Scope, dir: &str, left: &mut BTreeSet<String>) {
    for (path, is_dir) in entries_of(base, dir) {
        if scope.check(path.as_bytes(), is_dir).is_excluded() {
            if is_dir {
                let below = everything_in(&base.join("src").join(&path));
                left.extend(below.into_iter().map(|(name, _)| format!("{path}/{name}")));
            }
            left.insert(path);
        } else if is_dir {
            let before = left.len();
            let inner = scope
                .while_emptying()
                .enter(path.as_bytes(), &mut files(base))
                .expect("good rules");
            delete(base, &inner, &path, left);
            if left.len() > before {
                left.insert(path);
            }
        }
    }
}

struct Case {
    name: &'static str,
    /// Paths relative to `src`, and contents.
    in_tree: Vec<(&'static str, String)>,
    /// Names in the working directory, and contents.
    beside: Vec<(&'static str, String)>,
    arguments: Vec<&'static str>,
    expected: Expected,
}

enum Expected {
    Hides(BTreeSet<String>),
    Leaves(BTreeSet<String>),
}

impl Expected {
    fn paths(&self) -> &BTreeSet<String> {
        match self {
            Expected::Hides(paths) | Expected::Leaves(paths) => paths,
        }
    }
}

fn cases() -> Vec<Case> {
    let text = include_str!("../data/cases.txt");
    let cases: Vec<Case> = text.split("\n\ncase ").skip(1).map(Case::parse).collect();
    assert!(cases.len() > 150, "the table was not understood");
    cases
}

impl Case {
    fn parse(text: &'static str) -> Self {
        let mut lines = text.lines();
        let name = lines.next().expect("a case has a name");
        let mut case = Case {
            name,
            in_tree: vec![],
            beside: vec![],
            arguments: vec![],
            expected: Expected::Hides(BTreeSet::new()),
        };
        for line in lines {
            let file = || {
                let (name, content) = line[1..].split_once(' ').expect("a file has a content");
                (
                    name,
                    content
                        .replace("\\n", "\n")
                        .replace("\\r", "\r")
                        .replace("\\0", "\0")
                        .replace("\\t", "\t"),
                )
            };
            let paths = || {
                line.split(' ')
                    .skip(1)
                    .map(|path| path.replace("%20", " "))
                    .collect()
            };
            match line {
                _ if line.starts_with('@') => case.in_tree.push(file()),
                _ if line.starts_with('=') => case.beside.push(file()),
                _ if line.starts_with("--") => case.arguments.push(line),
                _ if line.starts_with("hides") => case.expected = Expected::Hides(paths()),
                _ if line.starts_with("leaves") => case.expected = Expected::Leaves(paths()),
                _ => panic!("{name}: what is {line:?}?"),
            }
        }
        case
    }

    /// Makes `src`, an empty `other` and the files of the case.
    fn set_up(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let src = dir.path().join("src");
        fs::create_dir_all(dir.path().join("other")).expect("mkdir");
        fs::create_dir_all(&src).expect("mkdir");
        for line in include_str!("../data/tree.txt")
            .lines()
            .filter(|line| !line.starts_with("# "))
        {
            let path = src.join(line.replace("%20", " "));
            if line.ends_with('/') {
                fs::create_dir_all(path)
            } else {
                fs::write(path, "")
            }
            .expect("a tree");
        }
        for (name, content) in &self.in_tree {
            fs::write(src.join(name), content).expect("a file");
        }
        for (name, content) in &self.beside {
            fs::write(dir.path().join(name), content).expect("a file");
        }
        dir
    }

    fn arguments(&self, dir: &Path) -> Vec<String> {
        let src = dir.join("src");
        self.arguments
            .iter()
            .map(|argument| argument.replace("ROOT", src.to_str().expect("plain path")))
            .collect()
    }

    /// The arguments as this crate takes them.
    fn scope(&self, dir: &Path) -> Scope {
        let given = |option: &str| self.arguments.contains(&option);
        let mut rules = Rules::new(Options {
            delete_excluded: given("--delete-excluded"),
            from0: given("--from0"),
            cvs_file: fs::read(dir.join(".cvsignore")).unwrap_or_default(),
            ..Options::default()
        });
        for argument in self.arguments(dir) {
            let (option, value) = argument.split_once('=').unwrap_or((&argument, ""));
            let from = || fs::read(dir.join(value)).expect("the file of the case");
            match option {
                "--exclude" => rules.exclude(value.as_bytes()),
                "--include" => rules.include(value.as_bytes()),
                "--filter" => rules.filter(value.as_bytes(), &mut files(dir)),
                "--exclude-from" => rules.exclude_from(&from(), value),
                "--include-from" => rules.include_from(&from(), value),
                "--cvs-exclude" | "--delete-excluded" | "--from0" => Ok(()),
                _ => panic!("{}: what is {argument}?", self.name),
            }
            .expect(self.name);
        }
        if given("--cvs-exclude") {
            rules.cvs_exclude(Cvs::AsOthers).expect(self.name);
        }
        let side = match self.expected {
            Expected::Hides(_) => Side::Sender,
            Expected::Leaves(_) => Side::Receiver,
        };
        Scope::new(
            Arc::new(rules),
            side,
            dir.join("src").as_os_str().as_bytes(),
        )
    }
}

/// Reads merge files as rsync does: what cannot be read is not there.
fn files(dir: &Path) -> impl FnMut(MergeFile<'_>) -> std::io::Result<Option<Vec<u8>>> {
    let dir = dir.to_owned();
    move |file| {
        let path = match file {
            MergeFile::Named(name) => dir.join(OsStr::from_bytes(name)),
            MergeFile::InTree(path) => dir.join("src").join(OsStr::from_bytes(path)),
            MergeFile::Above(path) => OsStr::from_bytes(path).into(),
        };
        Ok(fs::read(path).ok())
    }
}

/// The content of one directory of `src`, as paths from there.
fn entries_of(base: &Path, dir: &str) -> Vec<(String, bool)> {
    let read = fs::read_dir(base.join("src").join(dir)).expect("a directory");
    read.map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("plain names");
        let path = if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        };
        (path, entry.file_type().expect("a type").is_dir())
    })
    .collect()
}

fn everything_in(dir: &Path) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("plain names");
        let is_dir = entry.file_type().expect("a type").is_dir();
        if is_dir {
            all.extend(
                everything_in(&entry.path())
                    .into_iter()
                    .map(|(path, is_dir)| (format!("{name}/{path}"), is_dir)),
            );
        }
        all.push((name, is_dir));
    }
    all
}

fn topmost(paths: impl Iterator<Item = (String, bool)>) -> BTreeSet<String> {
    let all: BTreeSet<String> = paths.map(|(path, _)| path).collect();
    let is_top = |path: &&String| {
        !Path::new(path)
            .ancestors()
            .skip(1)
            .any(|a| all.contains(a.to_str().expect("plain")))
    };
    all.iter().filter(is_top).cloned().collect()
}
