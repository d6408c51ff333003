//! Sessions that no client would hold: those of a real one with bytes changed, lost, doubled and cut off.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use testkit::{Random, RsyncDaemon};

use super::bench::{daemon, errors, rsync, text};

/// No session takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many are tried with each recording; `DRIFTLESS_MUTATIONS` says another number.
const ROUNDS: u64 = 120;
/// How many are tried at the same time.
const AT_ONCE: usize = 4;

/// What a stock client says in a session with our daemon.
fn recorded(daemon: &RsyncDaemon, arguments: &dyn Fn(&str) -> Vec<String>) -> Vec<u8> {
    let front = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = front.local_addr().expect("bound").port();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let behind = daemon.port();
    let carrier = thread::spawn(move || {
        let (mut client, _) = front.accept().expect("a client");
        let mut back = TcpStream::connect(("127.0.0.1", behind)).expect("it listens");
        let (mut client_too, mut back_too) = (
            client.try_clone().expect("a socket"),
            back.try_clone().expect("a socket"),
        );
        let answers = thread::spawn(move || {
            let _ = std::io::copy(&mut back_too, &mut client_too);
            let _ = client_too.shutdown(Shutdown::Write);
        });
        let mut some = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut some) {
            heard
                .lock()
                .expect("no panic")
                .extend_from_slice(&some[..count]);
            if back.write_all(&some[..count]).is_err() {
                break;
            }
        }
        let _ = back.shutdown(Shutdown::Write);
        let _ = answers.join();
    });
    let words = arguments(&format!("rsync://127.0.0.1:{port}/m/"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = rsync(&words);
    assert!(done.status.success(), "{}", errors(&done));
    carrier.join().expect("no panic");
    let said = said.lock().expect("no panic").clone();
    assert!(said.starts_with(b"@RSYNCD: "));
    said
}

/// Changes a few things about a session. What comes before `from` stays, so that the changes reach what comes later.
fn mutate(session: &[u8], from: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = session.to_vec();
    for _ in 0..=random.below(4) {
        let span = bytes.len().saturating_sub(from);
        if span < 2 {
            break;
        }
        let at = from + random.below(span);
        let length = 1 + random.below(16.min(bytes.len() - at));
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes[at..at + length].fill(0xff),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let piece = bytes[at..at + length].to_vec();
                let again = piece.repeat(1 + random.below(40));
                bytes.splice(at..at, again);
            }
            5 => bytes.truncate(at),
            _ => {
                let other = from + random.below(span);
                bytes.swap(at, other);
            }
        }
    }
    bytes
}

/// Holds a session, and hears it to its end. What it is told does not matter.
fn hold(daemon: &RsyncDaemon, session: &[u8]) {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port())).expect("the listener lives");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
    thread::scope(|scope| {
        let (mut writer, mut reader) = (&stream, &stream);
        scope.spawn(move || {
            let _ = writer.write_all(session);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut answers = Vec::new();
        match reader.read_to_end(&mut answers) {
            // The daemon has hung up before it has read everything.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the daemon does not end: {error}"),
            Ok(_) => {}
        }
    });
}

#[test]
fn no_session_makes_the_daemon_panic_or_hang_or_write_elsewhere() {
    let tree = tempfile::tempdir().expect("a directory");
    let (module, outside) = (tree.path().join("module"), tree.path().join("outside"));
    let source = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(module.join("d")).expect("a directory");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("f"), "untouched").expect("a file");
    std::os::unix::fs::symlink("../outside", module.join("out")).expect("a link");
    fs::create_dir(source.path().join("d")).expect("a directory");
    for (name, content) in [("a", "one\n"), ("d/b", "two\n"), ("d/c", "three\n")] {
        fs::write(source.path().join(name), content.repeat(300)).expect("a file");
    }
    // What waits for bytes that never come is given up soon.
    let daemon = daemon(&module).timeout(5).global("timeout", "5").start();
    let here = format!("{}/", text(source.path()));
    let target = tempfile::tempdir().expect("a directory");
    let there = format!("{}/", text(target.path()));
    let options = ["-aH", "--delete", "--no-whole-file"].map(str::to_owned);
    let pushed = recorded(&daemon, &|url| {
        [&options[..], &[here.clone(), url.to_owned()]].concat()
    });
    let pulled = recorded(&daemon, &|url| {
        [&["-aHz".to_owned()], &[url.to_owned(), there.clone()][..]].concat()
    });
    let after_module = |session: &[u8]| {
        let mut lines = session
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n');
        lines.nth(1).map_or(0, |(at, _)| at + 1)
    };
    let rounds = std::env::var("DRIFTLESS_MUTATIONS").ok();
    let rounds = rounds.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= rounds {
                        return;
                    }
                    let mut random = Random::new(round);
                    for session in [&pushed, &pulled] {
                        // One in four is broken from its first line on.
                        let from = match round % 4 {
                            0 => 0,
                            _ => after_module(session),
                        };
                        hold(&daemon, &mutate(session, from, &mut random));
                    }
                }
            });
        }
    });
    let said = daemon.said();
    assert!(!said.contains("panicked"), "{said}");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    let names = |dir: &std::path::Path| -> Vec<_> {
        let entries = fs::read_dir(dir).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(tree.path()), ["module", "outside"]);
    assert_eq!(names(&outside), ["f"]);
    assert_eq!(fs::read(outside.join("f")).expect("a file"), b"untouched");
    // Others are served as if nothing had been.
    let fresh = tempfile::tempdir().expect("a directory");
    let again = rsync(&["-r", &daemon.url("d/"), text(fresh.path())]);
    assert!(
        matches!(again.status.code(), Some(0 | 23)),
        "{}",
        errors(&again)
    );
}
