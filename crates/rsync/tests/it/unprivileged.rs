//! What an ordinary user may not set: what is said of it, what stays as it is, and the exit code are the installed rsync's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use testkit::said::{Said, normal, tree_lines};
use testkit::{Original, Tree, skip};

use crate::scenarios::example;

/// Nobody's number, and nobody's group's.
const USER: u32 = 65_534;

const SOURCE: &str = "
    f a 3 mtime=1600000001
    f d/b 4 mtime=1600000002
    d d mtime=1600000003.5
";

/// A directory that belongs to somebody else, who lets everybody write in it.
const DESTINATION: &str = "
    d d mtime=1500000003 mode=0777
    d same mtime=1600000003
";

#[test]
fn what_belongs_to_others_stays_as_it_is() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can leave something to another user");
    }
    for words in [
        &["-rlt"][..],
        &["-rltp"],
        &["-a"],
        &["-a", "--protocol=30"],
        &["-a", "--super", "--chown=1:1"],
        &["-a", "--super", "--chown=1:1", "--inplace"],
        &["-a", "--super", "--chown=1:1", "--no-whole-file"],
    ] {
        let expected = run(&Original::Rsync.require(), words);
        let found = run(&example(), words);
        assert!(
            found == expected,
            "{words:?}:\n{}",
            expected.difference(&found)
        );
    }
}

fn run(program: &Path, words: &[&str]) -> Said {
    let place = tempfile::tempdir().expect("a directory");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path(), open).expect("open to all");
    // The program may be where only root can go.
    let rsync = place.path().join("rsync");
    fs::copy(program, &rsync).expect("a copy of the program");
    let from = Tree::build(place.path().join("from"), SOURCE);
    let to = Tree::build(place.path().join("to"), DESTINATION);
    for path in [from.path("a"), from.path("d/b"), from.path("d")] {
        chown(path, Some(USER), Some(USER)).expect("we are root");
    }
    for path in [from.root(), to.root()] {
        chown(path, Some(USER), Some(USER)).expect("we are root");
    }
    chown(to.path("d"), Some(1), Some(USER)).expect("we are root");
    let started = SystemTime::now() - std::time::Duration::from_secs(1);
    let ran = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&rsync)
        .args(words)
        .args(["from/", "to/"])
        .current_dir(place.path())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("setpriv");
    let mut said = normal(&ran, &[(&place.path().display().to_string(), "@")]);
    for line in &mut said.err {
        *line = without_suffix(line);
    }
    said.tree = tree_lines(&place.path().join("to"), started);
    said
}

/// A line without the made-up end of a temporary name.
fn without_suffix(line: &str) -> String {
    let Some((before, after)) = line.split_once("\" failed") else {
        return line.to_owned();
    };
    match before.rsplit_once('.') {
        Some((name, suffix)) if suffix.len() == 6 && name.contains("/.") => {
            format!("{name}.SUFFIX\" failed{after}")
        }
        _ => line.to_owned(),
    }
}
