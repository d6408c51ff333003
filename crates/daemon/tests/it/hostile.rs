//! Clients that mean harm. The listener and other clients do not notice.

use std::fs;
use std::time::Duration;

use testkit::{RsyncDaemon, eventually};

use super::bench::{Raw, daemon, errors, rsync, text, trees};

const SOON: Duration = Duration::from_secs(60);

/// The daemon still serves.
fn serves(daemon: &RsyncDaemon) {
    let root = daemon.url("");
    let listed = rsync(&[root.strip_suffix('m').expect("the module")]);
    assert!(listed.status.success(), "{}", errors(&listed));
    assert!(listed.stdout.starts_with(b"m "));
}

#[test]
fn greetings_that_are_none() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).start();
    for (said, answer) in [
        (
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            "@ERROR: protocol startup error\n",
        ),
        (
            b"@RSYNCD: 32.0\n",
            "@ERROR: your client omitted the digest name list: @RSYNCD: 32.0\n",
        ),
        (
            b"@RSYNCD: 30\n",
            "@ERROR: your client omitted the subprotocol value: @RSYNCD: 30\n",
        ),
        (b"\0\0\0\n", ""),
        (&[b'x'; 5000], ""),
    ] {
        let mut raw = Raw::connect(&daemon);
        assert!(raw.line().starts_with("@RSYNCD: "));
        raw.say(said);
        assert_eq!(raw.line(), answer, "{}", String::from_utf8_lossy(said));
        assert_eq!(raw.rest(), b"");
    }
    serves(&daemon);
}

#[test]
fn requests_that_are_none() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).start();
    for (said, answer) in [
        (&b"#evil\n"[..], "@ERROR: Unknown command '#evil'\n"),
        (
            b"#early_input=99999999\n",
            "@ERROR: invalid early_input length\n",
        ),
        (b"../m\n", "@ERROR: Unknown module '../m'\n"),
        (b"M\n", "@ERROR: Unknown module 'M'\n"),
        (&[b'm'; 5000], ""),
    ] {
        let mut raw = Raw::greeted(&daemon);
        raw.say(said);
        assert_eq!(raw.line(), answer, "{}", String::from_utf8_lossy(said));
    }
    serves(&daemon);
}

#[test]
fn arguments_without_end() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).start();
    for word in [&b"--server\0"[..], &[b'x'; 1 << 16]] {
        let mut raw = Raw::greeted(&daemon);
        raw.say(b"m\n");
        assert_eq!(raw.line(), "@RSYNCD: OK\n");
        // It hangs up long before this is said.
        let many = word.repeat((64 << 20) / word.len());
        let is_gone = !raw.say(&many) || raw.rest().is_empty();
        assert!(is_gone);
    }
    eventually(SOON, || match daemon.log().contains("too many") {
        true => Ok(()),
        false => Err(daemon.log()),
    });
    serves(&daemon);
}

#[test]
fn who_says_nothing_is_left() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).timeout(1).start();
    let mut silent = Raw::greeted(&daemon);
    silent.say(b"m\n");
    assert_eq!(silent.line(), "@RSYNCD: OK\n");
    assert_eq!(silent.rest(), b"");
    assert!(daemon.log().contains("daemon handshake timeout -- exiting"));
    serves(&daemon);
}

#[test]
fn no_path_leads_out() {
    let (tree, other) = trees();
    let module = tree.path().join("module");
    fs::create_dir_all(module.join("d")).expect("a directory");
    fs::create_dir(tree.path().join("secret")).expect("a directory");
    fs::write(tree.path().join("secret/f"), "not for you").expect("a file");
    fs::write(module.join("d/own"), "for you").expect("a file");
    std::os::unix::fs::symlink("../secret", module.join("out")).expect("a link");
    std::os::unix::fs::symlink("../secret/f", module.join("file")).expect("a link");
    let daemon = daemon(&module).set("munge symlinks", "no").start();
    let target = format!("{}/", text(other.path()));
    for path in [
        "../secret/f",
        "d/../../secret/f",
        "out/",
        "out/f",
        "d/./../out/f",
    ] {
        let pulled = rsync(&["-a", &daemon.url(path), &target]);
        assert_eq!(
            pulled.status.code(),
            Some(23),
            "{path}: {}",
            errors(&pulled)
        );
    }
    for option in ["-aL", "-ak", "-a --copy-unsafe-links"] {
        let words: Vec<&str> = option.split(' ').chain([]).collect();
        let url = daemon.url("/");
        let _ = rsync(&[&words[..], &[&url, &target]].concat());
    }
    assert_not_leaked(other.path());
    serves(&daemon);
}

/// Nothing that was received has the secret in it.
fn assert_not_leaked(dir: &std::path::Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        if meta.is_dir() {
            assert_not_leaked(&path);
        } else if meta.is_file() {
            let text = fs::read_to_string(&path).expect("text");
            assert_ne!(text, "not for you", "{path:?}");
        }
    }
}

#[test]
fn nothing_is_written_outside() {
    let (tree, other) = trees();
    let module = tree.path().join("module");
    let outside = tree.path().join("outside");
    fs::create_dir_all(&module).expect("a directory");
    fs::create_dir_all(&outside).expect("a directory");
    fs::write(outside.join("f"), "old").expect("a file");
    fs::write(module.join("f"), "old").expect("a file");
    fs::write(other.path().join("f"), "new content").expect("a file");
    std::os::unix::fs::symlink("../outside", module.join("out")).expect("a link");
    let daemon = daemon(&module).start();
    let source = format!("{}/f", text(other.path()));
    let dir = text(&outside);
    for words in [
        vec!["out/"],
        vec!["out/f"],
        vec!["../outside/"],
        vec!["--backup-dir=/out", "-b", ""],
        vec!["--backup-dir=../outside", "-b", ""],
        vec!["--temp-dir=/out", ""],
        vec!["--partial-dir=/out", ""],
        vec!["--temp-dir", dir, ""],
        vec!["--link-dest=../outside", "new/"],
        vec!["--copy-dest=/out", "new/"],
    ] {
        let (path, options) = words.split_last().expect("a path");
        let url = daemon.url(path);
        // What comes of it is not the point.
        let _ = rsync(&[&["-aI"], options, &[&*source, &*url]].concat());
        let left: Vec<_> = fs::read_dir(&outside)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left, ["f"], "{words:?}");
        let content = fs::read_to_string(outside.join("f")).expect("a file");
        assert_eq!(content, "old", "{words:?}");
    }
    serves(&daemon);
}

#[test]
fn options_that_read_files_are_refused() {
    let (module, other) = trees();
    fs::write(other.path().join("f"), "x").expect("a file");
    let daemon = daemon(module.path()).start();
    let source = format!("{}/", text(other.path()));
    for option in [
        "--log-file=/tmp/x",
        "--exclude-from=/etc/passwd",
        "--filter=merge_/etc/passwd",
    ] {
        let refused = rsync(&["-a", &format!("-M{option}"), &source, &daemon.url("")]);
        assert_eq!(
            refused.status.code(),
            Some(4),
            "{option}: {}",
            errors(&refused)
        );
        let name = option.split('=').next().expect("a name");
        let told = format!("The server is configured to refuse {name}");
        assert!(errors(&refused).contains(&told), "{}", errors(&refused));
    }
}

#[test]
fn who_speaks_too_slowly_is_left_and_others_are_not() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).global("timeout", "2").start();
    // One that has only connected, and one that never comes to the end of its first line.
    let mut silent = Raw::connect(&daemon);
    let mut slow = Raw::connect(&daemon);
    assert!(silent.line().starts_with("@RSYNCD: "));
    assert!(slow.line().starts_with("@RSYNCD: "));
    serves(&daemon);
    let deadline = std::time::Instant::now() + SOON;
    while slow.say(b"@") {
        assert!(std::time::Instant::now() < deadline, "it listens for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(silent.rest(), b"");
    eventually(SOON, || {
        let log = daemon.log();
        match log.matches("daemon handshake timeout -- exiting").count() {
            2 => Ok(()),
            _ => Err(log),
        }
    });
    eventually(SOON, || match daemon.workers() {
        gone if gone.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    serves(&daemon);
}

#[test]
fn names_of_a_file_stay_in_the_module() {
    let (tree, other) = trees();
    let module = tree.path().join("module");
    fs::create_dir(&module).expect("a directory");
    fs::write(tree.path().join("secret"), "not for you").expect("a file");
    fs::write(module.join("own"), "for you").expect("a file");
    fs::write(module.join("list"), "../secret\nown\n").expect("a file");
    std::os::unix::fs::symlink("../secret", module.join("link")).expect("a link");
    let daemon = daemon(&module).start();
    let list = other.path().join("list");
    fs::write(&list, "../secret\n../../secret\n/../secret\nown\n").expect("a file");
    let target = tempfile::tempdir().expect("a directory");
    let received = format!("{}/", text(target.path()));
    for names in [
        format!("--files-from={}", text(&list)),
        "--files-from=:list".to_owned(),
    ] {
        let _ = rsync(&["-a", &names, &daemon.url("/"), &received]);
        assert_eq!(
            fs::read(target.path().join("own")).expect("received"),
            b"for you"
        );
        fs::remove_file(target.path().join("own")).expect("it was there");
        assert_eq!(fs::read_dir(target.path()).expect("a directory").count(), 0);
    }
    for (names, told) in [
        ("--files-from=:link", "Too many levels of symbolic links"),
        ("--files-from=:../secret", "No such file or directory"),
    ] {
        let refused = rsync(&["-a", names, &daemon.url("/"), &received]);
        assert!(!refused.status.success(), "{names}");
        let line = format!("failed to open files-from file {}: {told}", &names[14..]);
        assert!(errors(&refused).contains(&line), "{}", errors(&refused));
        assert!(daemon.log().contains(&line), "{}", daemon.log());
    }
    serves(&daemon);
}

#[test]
fn options_that_are_refused_or_unknown_are_told_and_logged() {
    let (module, other) = trees();
    fs::write(other.path().join("f"), "x").expect("a file");
    let daemon = daemon(module.path())
        .refuse_options("delete checksum")
        .start();
    let source = format!("{}/", text(other.path()));
    for (option, told) in [
        (
            "--delete",
            "rsync: The server is configured to refuse --delete",
        ),
        (
            "-c",
            "rsync: The server is configured to refuse --checksum (-c)",
        ),
        (
            "-M--bogus",
            "rsync: on remote machine: --bogus: unknown option",
        ),
    ] {
        let refused = rsync(&["-r", option, &source, &daemon.url("")]);
        assert_eq!(
            refused.status.code(),
            Some(4),
            "{option}: {}",
            errors(&refused)
        );
        assert!(errors(&refused).contains(told), "{}", errors(&refused));
        assert!(daemon.log().contains(told), "{}", daemon.log());
        let _ = rsync(&["-r", option, &daemon.url("/"), &source]);
    }
    assert_eq!(fs::read_dir(module.path()).expect("a directory").count(), 0);
    let log = daemon.log();
    assert!(
        log.matches("requested action not supported (code 4)")
            .count()
            >= 3,
        "{log}"
    );
    serves(&daemon);
}

/// Somebody on the daemon's machine swaps a directory for a link to the outside while files are pushed, pulled and deleted.
#[test]
fn a_race_leads_nobody_out() {
    const ROUNDS: usize = 12;
    let (tree, other) = trees();
    let (module, outside) = (tree.path().join("module"), tree.path().join("outside"));
    fs::create_dir_all(module.join("d")).expect("a directory");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("f0"), "not for you").expect("a file");
    let before = fs::metadata(outside.join("f0")).expect("a file");
    fs::create_dir(other.path().join("d")).expect("a directory");
    for number in 0..40 {
        let file = other.path().join(format!("d/f{number}"));
        fs::write(file, format!("{number}").repeat(3000)).expect("a file");
    }
    // The kernel's sandbox would keep the worker inside anyway: this is about paths.
    let daemon = daemon(&module).set("sandbox", "no").start();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, aside) = (module.join("d"), module.join("aside"));
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                // Any of these may fail: the daemon makes and removes names, too.
                let _ = fs::rename(&dir, &aside);
                let _ = std::os::unix::fs::symlink("../outside", &dir);
                std::thread::yield_now();
                let _ = fs::remove_file(&dir);
                let _ = fs::rename(&aside, &dir);
                std::thread::yield_now();
            }
        });
        let source = format!("{}/", text(other.path()));
        for round in 0..ROUNDS {
            let options = match round % 3 {
                0 => ["-aI", "--delete", "--whole-file"],
                1 => ["-aI", "--inplace", "--no-whole-file"],
                _ => ["-aIb", "--backup-dir=d/old", "--delay-updates"],
            };
            // What of it succeeds is not the point.
            let _ = rsync(&[&options[..], &[&source, &daemon.url("")]].concat());
            let target = tempfile::tempdir().expect("a directory");
            let _ = rsync(&["-rL", &daemon.url("/"), text(target.path())]);
            assert_not_leaked(target.path());
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let names: Vec<_> = fs::read_dir(&outside)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["f0"]);
    let after = fs::metadata(outside.join("f0")).expect("still there");
    assert_eq!(
        fs::read(outside.join("f0")).expect("a file"),
        b"not for you"
    );
    assert_eq!(
        after.modified().expect("a time"),
        before.modified().expect("a time")
    );
    assert_eq!(after.permissions(), before.permissions());
    serves(&daemon);
}
