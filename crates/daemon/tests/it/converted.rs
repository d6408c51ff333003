//! `name converter`: names come from a program of the administrator's.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{RsyncDaemon, eventually, is_root, script, skip};

use super::bench::{daemon, errors, rsync, text, trees};

const SOON: Duration = Duration::from_secs(60);

/// What the user and the group `daemon`, whose number is 1 everywhere, are called here.
const USER: u32 = 4242;
const GROUP: u32 = 4343;

/// A converter that notes what it knows and is asked, and knows nobody but `daemon`.
fn converter() -> (TempDir, String) {
    let work = tempfile::tempdir().expect("a directory");
    let text = format!(
        "#!/bin/sh\nexec 2>>{0}/errors\nenv | grep ^RSYNC_ > {0}/env\nid -u > {0}/user\necho $$ > {0}/pid\n\
         while read -r line; do\n  echo \"$line\" >> {0}/asked\n  case $line in\n\
         'usr daemon') echo {USER} ;;\n    'grp daemon') echo {GROUP} ;;\n    'uid {USER}') echo daemon ;;\n\
         'gid {GROUP}') echo daemon ;;\n    *) echo ;;\n  esac\ndone\necho ended > {0}/ended\n",
        text(work.path())
    );
    let command = format!(
        "{} one two",
        script(work.path().join("converter"), text).display()
    );
    (work, command)
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn owner(file: &Path) -> (u32, u32) {
    let meta = fs::symlink_metadata(file).expect("it is there");
    (meta.uid(), meta.gid())
}

#[test]
fn names_are_those_of_the_program_in_a_chroot_too() {
    if !is_root() {
        return skip("only root can give files away");
    }
    for use_chroot in ["yes", "no"] {
        let (module, other) = trees();
        let (work, command) = converter();
        let file = other.path().join("f");
        fs::write(&file, "text").expect("a file");
        chown(&file, Some(1), Some(1)).expect("we are root");
        let daemon = daemon(module.path())
            .set("use chroot", use_chroot)
            .set("name converter", &command)
            .start();
        let pushed = rsync(&["-a", text(&file), &daemon.url("")]);
        assert!(pushed.status.success(), "{}", errors(&pushed));
        assert_eq!(owner(&module.path().join("f")), (USER, GROUP));
        assert!(lines(&work.path().join("asked")).contains(&"usr daemon".to_owned()));
        let env = lines(&work.path().join("env"));
        for known in [
            "RSYNC_MODULE_NAME=m",
            "RSYNC_REQUEST=m/",
            "RSYNC_ARG0=rsyncd",
            "RSYNC_ARG1=--server",
        ] {
            assert!(env.iter().any(|line| line == known), "{known}: {env:?}");
        }
        // It keeps the rights of the daemon, and ends with its input.
        assert_eq!(lines(&work.path().join("user")), ["0"]);
        let ended = work.path().join("ended");
        eventually(SOON, || match ended.exists() {
            true => Ok(()),
            false => Err("it still waits"),
        });

        let back = tempfile::tempdir().expect("a directory");
        let target = format!("{}/", text(back.path()));
        let pulled = rsync(&["-a", &daemon.url("f"), &target]);
        assert!(pulled.status.success(), "{}", errors(&pulled));
        assert_eq!(
            owner(&back.path().join("f")),
            (1, 1),
            "use chroot = {use_chroot}"
        );
    }
}

#[test]
fn maps_of_clients_name_those_of_the_program() {
    if !is_root() {
        return skip("only root can give files away");
    }
    let (module, other) = trees();
    let (_work, command) = converter();
    let file = other.path().join("f");
    fs::write(&file, "text").expect("a file");
    let daemon = daemon(module.path())
        .set("name converter", &command)
        .start();
    let map = ["-a", "--usermap=*:daemon", "--groupmap=*:nosuch"];
    let pushed = rsync(&[&map[..], &[text(&file), &daemon.url("")]].concat());
    assert!(pushed.status.success(), "{}", errors(&pushed));
    assert_eq!(owner(&module.path().join("f")), (USER, 0));
    let unknown = "Unknown --groupmap name on receiver: nosuch";
    assert!(errors(&pushed).contains(unknown), "{}", errors(&pushed));
    // A name that would be two questions is not asked for.
    let split = ["-a", "--usermap=*:a\nusr daemon"];
    let _ = rsync(&[&split[..], &[text(&file), &daemon.url("")]].concat());
    let log = daemon.log();
    assert!(
        log.contains("invalid name-converter token: a\\#012usr daemon"),
        "{log}"
    );
}

#[test]
fn numbers_are_kept_where_nobody_is_to_be_asked() {
    if !is_root() {
        return skip("only root can give files away");
    }
    let (module, other) = trees();
    let (work, command) = converter();
    let file = other.path().join("f");
    fs::write(&file, "text").expect("a file");
    chown(&file, Some(1), Some(1)).expect("we are root");
    let daemon = daemon(module.path())
        .set("name converter", &command)
        .set("numeric ids", "yes")
        .start();
    let pushed = rsync(&["-a", text(&file), &daemon.url("")]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    assert_eq!(owner(&module.path().join("f")), (1, 1));
    assert!(lines(&work.path().join("asked")).is_empty());
}

#[test]
fn without_the_program_there_is_no_transfer() {
    if !is_root() {
        return skip("only root looks names up to give files away");
    }
    let (module, other) = trees();
    let file = other.path().join("f");
    fs::write(&file, "text").expect("a file");
    chown(&file, Some(1), Some(1)).expect("we are root");
    for command in ["/nonexistent/converter", "exit 3", "read line"] {
        let daemon = daemon(module.path()).set("name converter", command).start();
        for direction in [
            [text(&file), &daemon.url("")],
            [&daemon.url("/"), text(other.path())],
        ] {
            let failed = rsync(&["-a", direction[0], direction[1]]);
            // It is the daemon's error; a client of its kind finds the connection closed.
            assert_eq!(failed.status.code(), Some(12), "{}", errors(&failed));
        }
        eventually(SOON, || {
            let log = daemon.log();
            match log.matches("Connection to name-converter failed.").count() == 2
                && log.matches("error in socket IO (code 10)").count() == 2
            {
                true => Ok(()),
                false => Err(log),
            }
        });
        assert_eq!(fs::read_dir(module.path()).expect("a directory").count(), 0);
    }
}

/// Whoever kills the worker does not leave the program behind.
#[test]
fn it_goes_with_the_worker() {
    if !is_root() {
        return skip("only root looks names up to give files away");
    }
    let (module, other) = trees();
    let work = tempfile::tempdir().expect("a directory");
    let pid_file = work.path().join("pid");
    // It never answers, nor does it end by itself.
    let command = format!(
        "echo $$ > {}; trap '' TERM HUP; while :; do sleep 1000; done",
        text(&pid_file)
    );
    let file = other.path().join("f");
    fs::write(&file, "text").expect("a file");
    let daemon = daemon(module.path())
        .set("name converter", &command)
        .start();
    std::thread::scope(|scope| {
        let client =
            scope.spawn(|| rsync(&["-a", "--usermap=*:joe", text(&file), &daemon.url("")]));
        let pid: u32 = eventually(SOON, || {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            text.trim().parse().map_err(|_| "it does not start")
        });
        end_worker(&daemon);
        eventually(SOON, || {
            match fs::read_to_string(format!("/proc/{pid}/stat")) {
                // Whoever adopts it may not have noticed yet.
                Ok(stat) if !stat.contains(") Z ") => Err(stat),
                _ => Ok(()),
            }
        });
        assert!(!client.join().expect("no panic").status.success());
    });
}

/// Kills the process that serves the client; the one above it keeps its rights and lives on.
fn end_worker(daemon: &RsyncDaemon) {
    let workers = daemon.workers();
    let parent = |pid: rustix::process::Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_whitespace().nth(1).map(str::to_owned)
    };
    let serving = workers.iter().find(|&&worker| {
        parent(worker).is_some_and(|above| workers.iter().any(|pid| pid.to_string() == above))
    });
    let serving = *serving.expect("a worker of a worker");
    rustix::process::kill_process(serving, rustix::process::Signal::KILL).expect("it lives");
}
