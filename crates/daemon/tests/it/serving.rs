//! Stock clients get from our daemon what they would get from rsync's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use testkit::{Aspects, RsyncDaemon, compare, eventually, is_root, skip};

use super::bench::{Raw, daemon, errors, fill, rsync, text, trees};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn push_pull_and_list() {
    let (module, other) = trees();
    fill(other.path());
    let daemon = daemon(module.path()).set("comment", "for tests").start();
    let source = format!("{}/", text(other.path()));
    for protocol in [
        "--protocol=29",
        "--protocol=30",
        "--protocol=31",
        "--protocol=32",
    ] {
        let pushed = rsync(&["-a", "--delete", protocol, &source, &daemon.url("")]);
        assert!(pushed.status.success(), "{protocol}: {}", errors(&pushed));
        // Times of less than a second are not for every protocol, and not for stock clients with what has no content.
        let aspects = || Aspects::exact().without_times();
        compare(other.path(), module.path(), &aspects()).expect("the same");
        let back = tempfile::tempdir().expect("a directory");
        let target = format!("{}/", text(back.path()));
        let pulled = rsync(&["-a", protocol, &daemon.url("/"), &target]);
        assert!(pulled.status.success(), "{protocol}: {}", errors(&pulled));
        compare(other.path(), back.path(), &aspects()).expect("the same");
        fs::remove_file(module.path().join("a")).expect("it was there");
    }
    let root = daemon.url("");
    let listed = rsync(&[root.strip_suffix('m').expect("the module")]);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "m              \tfor tests\n"
    );
    let log = daemon.log();
    for line in [
        "module-list request from localhost (127.0.0.1)",
        "rsync allowed access on module m from localhost (127.0.0.1)",
        "rsync to m/ from localhost (127.0.0.1)",
        "building file list",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

#[test]
fn only_who_knows_the_password_comes_in() {
    let (module, other) = trees();
    fill(module.path());
    let daemon = daemon(module.path()).auth_user("joe", "secret").start();
    let password = format!("--password-file={}", text(&daemon.password_file()));
    let target = format!("{}/", text(other.path()));
    let pulled = rsync(&["-a", &password, &daemon.url("/"), &target]);
    assert!(pulled.status.success(), "{}", errors(&pulled));
    compare(
        module.path(),
        other.path(),
        &Aspects::exact().without_times(),
    )
    .expect("the same");

    let wrong = daemon.password_file().with_file_name("wrong");
    fs::write(&wrong, "guess\n").expect("a file");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&wrong, mode).expect("ours");
    let password = format!("--password-file={}", text(&wrong));
    let refused = rsync(&["-a", &password, &daemon.url("/"), &target]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(errors(&refused).starts_with("@ERROR: auth failed on module m\n"));
    assert!(daemon.log().contains("for joe: password mismatch"));
}

#[test]
fn rights_are_given_up_and_the_root_is_the_module() {
    if !is_root() {
        return skip("only root can change root and user");
    }
    let (module, other) = trees();
    fill(other.path());
    nix::unistd::chown(module.path(), Some(1.into()), Some(1.into())).expect("we are root");
    std::os::unix::fs::symlink("/etc", module.path().join("etc")).expect("a link");
    let daemon = daemon(module.path())
        .set("use chroot", "yes")
        .set("uid", "1")
        .set("gid", "1")
        .start();
    let source = format!("{}/", text(other.path()));
    let pushed = rsync(&["-rlt", &source, &daemon.url("in/")]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    compare(
        other.path(),
        &module.path().join("in"),
        &Aspects::exact().without_owner().without_times(),
    )
    .expect("the same");
    let made = fs::metadata(module.path().join("in/a")).expect("it was pushed");
    assert_eq!((made.uid(), made.gid()), (1, 1));
    let outside = rsync(&["-a", &daemon.url("etc/hostname"), text(other.path())]);
    assert_eq!(outside.status.code(), Some(23), "{}", errors(&outside));
}

#[test]
fn a_read_only_module_is_only_read() {
    let (module, other) = trees();
    fill(other.path());
    let daemon = daemon(module.path()).read_only().start();
    let source = format!("{}/", text(other.path()));
    let refused = rsync(&["-a", &source, &daemon.url("")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(errors(&refused).contains("ERROR: module is read only\n"));
    assert_eq!(fs::read_dir(module.path()).expect("a directory").count(), 0);
}

/// The process that has started another one.
fn parent(pid: rustix::process::Pid) -> rustix::process::Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let parent = after_name
        .split_whitespace()
        .nth(1)
        .expect("state, then parent");
    rustix::process::Pid::from_raw(parent.parse().expect("a number")).expect("not the first")
}

#[test]
fn hooks_run_before_and_after_even_if_the_worker_is_killed() {
    let (module, other) = trees();
    let work = tempfile::tempdir().expect("a directory");
    fill(other.path());
    let (before, after) = (work.path().join("before"), work.path().join("after"));
    let daemon = daemon(module.path())
        .set(
            "pre-xfer exec",
            &format!("echo $RSYNC_MODULE_NAME $RSYNC_REQUEST > {}", text(&before)),
        )
        .set(
            "post-xfer exec",
            &format!(
                "echo $RSYNC_EXIT_STATUS $RSYNC_RAW_STATUS >> {}",
                text(&after)
            ),
        )
        .start();
    let source = format!("{}/", text(other.path()));
    let pushed = rsync(&["-a", &source, &daemon.url("")]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    assert_eq!(fs::read_to_string(&before).expect("the hook ran"), "m m/\n");
    let told = |expected: &str| {
        eventually(SOON, || match fs::read_to_string(&after) {
            Ok(text) if text == expected => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    told("0 0\n");

    let mut raw = Raw::greeted(&daemon);
    raw.say(b"m\n");
    assert_eq!(raw.line(), "@RSYNCD: OK\n");
    // The one that serves was started by the one that keeps its rights.
    let workers = daemon.workers();
    let serving = *workers
        .iter()
        .find(|&&worker| workers.contains(&parent(worker)))
        .expect("a worker of a worker");
    rustix::process::kill_process(serving, rustix::process::Signal::KILL).expect("it lives");
    told("0 0\n-1 9\n");
}

#[test]
fn a_killed_worker_gives_its_place_back() {
    let (module, _) = trees();
    let lock = tempfile::tempdir().expect("a directory");
    let daemon = daemon(module.path())
        .max_connections(2)
        .set("lock file", text(&lock.path().join("lock")))
        .start();
    let enter = || entered(&daemon);
    let (first, second) = (enter(), enter());
    assert_eq!(
        (first.1.as_str(), second.1.as_str()),
        ("@RSYNCD: OK\n", "@RSYNCD: OK\n")
    );
    let full = "@ERROR: max connections (2) reached -- try again later\n";
    assert_eq!(enter().1, full);
    assert!(daemon.kill_workers() >= 2);
    eventually(SOON, || match enter().1.as_str() {
        "@RSYNCD: OK\n" => Ok(()),
        other => Err(other.to_owned()),
    });
}

#[test]
fn the_configuration_is_read_for_each_connection() {
    let (module, other) = trees();
    fill(module.path());
    let more = tempfile::tempdir().expect("a directory");
    let included = more.path().join("more.conf");
    fs::write(&included, "").expect("a file");
    let daemon = daemon(module.path())
        .more(&format!("&include {}\n", text(&included)))
        .start();
    let url = daemon.url("");
    let url = format!("{}new/", url.strip_suffix('m').expect("the module"));
    let target = format!("{}/", text(other.path()));
    let unknown = rsync(&["-a", &url, &target]);
    assert!(errors(&unknown).starts_with("@ERROR: Unknown module 'new'\n"));
    fs::write(
        &included,
        format!(
            "[new]\npath = {}\nuse chroot = no\nuid = 0\ngid = 0\n",
            text(module.path())
        ),
    )
    .expect("a file");
    if !is_root() {
        return skip("only root can become root");
    }
    let known = rsync(&["-a", &url, &target]);
    assert!(known.status.success(), "{}", errors(&known));
}

#[test]
fn the_daemon_as_a_whole_gives_up_rights() {
    if !is_root() {
        return skip("only root can change root and user");
    }
    let (top, other) = trees();
    let module = top.path().join("data/m");
    fs::create_dir_all(&module).expect("a directory");
    fill(&module);
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(top.path(), mode).expect("ours");
    let daemon = daemon(Path::new("/data/m"))
        .global("daemon chroot", text(top.path()))
        .global("daemon uid", "1")
        .global("daemon gid", "1")
        .set("uid", "")
        .set("gid", "")
        .start();
    let mut raw = Raw::greeted(&daemon);
    raw.say(b"m\n");
    assert_eq!(raw.line(), "@RSYNCD: OK\n");
    let serving = daemon.workers();
    let [serving] = serving[..] else {
        panic!("one connection, but {serving:?}");
    };
    let status = fs::read_to_string(format!("/proc/{serving}/status")).expect("it lives");
    for line in ["Uid:\t1\t1\t1\t1\n", "Gid:\t1\t1\t1\t1\n", "Groups:\t1 \n"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let root = fs::read_link(format!("/proc/{serving}/root")).expect("we are root");
    assert_eq!(root, top.path());
    let target = format!("{}/", text(other.path()));
    let pulled = rsync(&["-rlt", &daemon.url("/"), &target]);
    assert!(pulled.status.success(), "{}", errors(&pulled));
    let aspects = Aspects::exact().without_owner().without_times();
    compare(&module, other.path(), &aspects).expect("the same");
}

#[test]
fn nobody_is_served_with_more_rights_than_meant() {
    if !is_root() {
        return skip("only root can change root and user");
    }
    let (module, _) = trees();
    for (parameter, value, told) in [
        (
            "daemon chroot",
            "/nonexistent",
            "rsync: [Receiver] daemon chroot(\"/nonexistent\") failed: No such file or directory (2)",
        ),
        ("daemon uid", "nobodyhere", "Invalid daemon uid: nobodyhere"),
        ("daemon gid", "1 4", "Invalid daemon gid: 1 4"),
    ] {
        let daemon = daemon(module.path()).global(parameter, value).start();
        assert_eq!(Raw::connect(&daemon).line(), "", "{parameter}");
        assert!(daemon.log().contains(told), "{}", daemon.log());
    }
    let hooked = daemon(module.path())
        .global("daemon chroot", "/")
        .set("post-xfer exec", "true")
        .start();
    let mut raw = Raw::greeted(&hooked);
    raw.say(b"m\n");
    assert_eq!(raw.line(), "@ERROR: fork failed\n");
    assert!(hooked.log().contains("the module is not served"));
}

#[test]
fn a_worker_dumps_no_core_and_opens_few_files() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).set("sandbox", "no").start();
    let mut raw = Raw::greeted(&daemon);
    raw.say(b"m\n");
    assert_eq!(raw.line(), "@RSYNCD: OK\n");
    let worker = daemon.workers()[0];
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).expect("it lives");
    let limit = |name: &str| -> Vec<u64> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let numbers = line.expect(name).split_whitespace().take(2);
        numbers.map(|word| word.parse().expect("bounded")).collect()
    };
    assert_eq!(limit("Max core file size"), [0, 0]);
    assert!(limit("Max open files").iter().all(|&files| files <= 4096));
    let status = fs::read_to_string(format!("/proc/{worker}/status")).expect("it lives");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
}

#[test]
fn the_module_tells_its_timeout() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).timeout(77).start();
    for (more, seconds) in [("", 77), ("--timeout=500\0", 77), ("--timeout=30\0", 30)] {
        let mut raw = Raw::greeted(&daemon);
        raw.say(b"m\n");
        assert_eq!(raw.line(), "@RSYNCD: OK\n");
        raw.say(format!("--server\0--sender\0-r\0{more}.\0m/\0\0").as_bytes());
        // Compatibility flags, the seed, and then this before all else.
        let said = raw.bytes(1 + 4 + 8);
        assert_eq!(said[5..], [4, 0, 0, 40, seconds, 0, 0, 0]);
    }
}

#[test]
fn the_command_line_says_where_temporary_files_go() {
    let (module, other) = trees();
    fill(other.path());
    let elsewhere = tempfile::tempdir().expect("a directory");
    let daemon = daemon(module.path())
        .argument(&format!("--temp-dir={}", text(elsewhere.path())))
        .start();
    let source = format!("{}/", text(other.path()));
    let pushed = rsync(&["-a", &source, &daemon.url("")]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    compare(
        other.path(),
        module.path(),
        &Aspects::exact().without_times(),
    )
    .expect("the same");
    drop(elsewhere);
    fs::write(other.path().join("new"), "text").expect("a file");
    let without = rsync(&["-a", &source, &daemon.url("")]);
    assert!(daemon.log().contains("is not used"), "{}", daemon.log());
    assert!(without.status.success(), "{}", errors(&without));
}

#[test]
fn every_place_is_served_and_no_more() {
    const PLACES: usize = 12;
    let (module, _) = trees();
    fill(module.path());
    let lock = tempfile::tempdir().expect("a directory");
    let daemon = daemon(module.path())
        .max_connections(12)
        .set("lock file", text(&lock.path().join("lock")))
        .start();
    let enter = || entered(&daemon);
    let taken: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..PLACES).map(|_| scope.spawn(enter)).collect();
        let ended = clients.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|client| client.expect("no panic")).collect()
    });
    for (_, line) in &taken {
        assert_eq!(line, "@RSYNCD: OK\n");
    }
    let one_more = rsync(&["-r", &daemon.url("/")]);
    let full = "@ERROR: max connections (12) reached -- try again later\n";
    assert!(errors(&one_more).starts_with(full), "{}", errors(&one_more));
    assert!(daemon.log().contains("max connections (12) reached\n"));
    drop(taken);
    eventually(SOON, || {
        let listed = rsync(&["-r", &daemon.url("/")]);
        match listed.status.success() {
            true => Ok(()),
            false => Err(errors(&listed)),
        }
    });
}

/// A client that has asked for the module, and what it was told.
fn entered(daemon: &RsyncDaemon) -> (Raw, String) {
    let mut raw = Raw::greeted(daemon);
    raw.say(b"m\n");
    let line = raw.line();
    (raw, line)
}

/// Two hundred clients wait at the same time. Each costs little, one more is turned away, and the places of killed workers are
/// free again.
#[test]
fn two_hundred_wait_and_none_is_heavy() {
    const PLACES: usize = 200;
    const PRIVATE_MAX: u64 = 2048;
    let (module, _) = trees();
    let lock = tempfile::tempdir().expect("a directory");
    let daemon = daemon(module.path())
        .max_connections(200)
        .set("lock file", text(&lock.path().join("lock")))
        .start();
    let enter = || {
        let mut raw = Raw::greeted(&daemon);
        raw.say(b"m\n");
        let line = raw.line();
        (raw, line)
    };
    let waiting: Vec<_> = (0..PLACES).map(|_| enter()).collect();
    assert!(waiting.iter().all(|(_, line)| line == "@RSYNCD: OK\n"));
    let full = "@ERROR: max connections (200) reached -- try again later\n";
    assert_eq!(enter().1, full);
    let private = |pid: rustix::process::Pid| -> Option<u64> {
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let of = memory.lines().filter(|line| line.starts_with("Private_"));
        of.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum()
    };
    let workers = daemon.workers();
    assert!(workers.len() >= PLACES, "{}", workers.len());
    let heaviest = workers.iter().filter_map(|&worker| private(worker)).max();
    assert!(
        heaviest.is_some_and(|kib| kib < PRIVATE_MAX),
        "{heaviest:?}"
    );
    assert!(daemon.kill_workers() >= PLACES);
    eventually(SOON, || match enter().1.as_str() {
        "@RSYNCD: OK\n" => Ok(()),
        other => Err(other.to_owned()),
    });
}

/// Names from a file are found below the module's root as well as in it. rsync 3.5.0's own daemon finds them in the root only
/// (below it, it says that the files have vanished), so it is no oracle here.
#[test]
fn names_from_a_file_are_found_below_the_root_too() {
    let (module, other) = trees();
    fill(&module.path().join("from"));
    let list = other.path().join("list");
    fs::write(&list, "a\nd\n").expect("a file");
    let daemon = daemon(module.path()).start();
    let names = format!("--files-from={}", text(&list));
    let target = other.path().join("to");
    let pulled = rsync(&["-ar", &names, &daemon.url("from/"), text(&target)]);
    assert!(pulled.status.success(), "{}", errors(&pulled));
    assert_eq!(fs::read(target.join("a")).expect("pulled"), b"one\n");
    assert_eq!(
        fs::read(target.join("d/b")).expect("pulled"),
        vec![7; 200_000]
    );
    assert!(target.join("d/e/c").exists());
}
