//! Daemons that mean harm, or have lost their minds: each gets an error, and nothing hangs or panics.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tree::{Root, Which};
use wire::{Code, Message, Ndx, NdxWriter, Protocol, put_int, put_shortint};

use super::*;
use crate::{Cancel, Credentials, DaemonAddress, Item, Terms};

/// Long enough for a busy machine; a peer that stalls is given up after [`PATIENCE`].
const LIMIT: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_millis(300);

/// A daemon that runs `script` on the first connection.
struct Daemon {
    port: u16,
    thread: JoinHandle<()>,
}

impl Daemon {
    fn new(script: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may hang up on us at any time: that is what is tested.
            let _ = script(&mut stream);
        });
        Self { port, thread }
    }

    /// A daemon that behaves until the session begins, and then sends these frames and waits to be left.
    fn sending(frames: Vec<u8>) -> Self {
        Self::new(move |stream| {
            greet(stream)?;
            stream.write_all(&frames)?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        })
    }

    /// Pushes a directory with one file to this daemon.
    fn push(self) -> Result<Applied, Error> {
        let began = Instant::now();
        let directory = tempfile::tempdir().unwrap();
        let source = Root::open(directory.path()).unwrap();
        let meta = source.lstat(Path::new(".")).unwrap().unwrap();
        let file = source.temp_file(Path::new("file")).unwrap();
        file.commit_unseen(&meta, Which::empty()).unwrap();
        let item = |path: &str| {
            let meta = source.lstat(Path::new(path)).unwrap().unwrap();
            Item {
                path: path.into(),
                meta,
                target: None,
            }
        };
        let batch = Batch {
            items: vec![item(""), item("file")],
            ..Batch::default()
        };
        let address: DaemonAddress = format!("rsync://127.0.0.1:{}/module", self.port)
            .parse()
            .unwrap();
        let terms = Terms {
            patience: Some(PATIENCE),
            newest: Protocol::LATEST,
            cancel: Cancel::default(),
        };
        let result =
            Connection::open(&address, &Credentials::default(), &terms).and_then(|connection| {
                connection
                    .push(&source, &batch, &PushOptions::default(), &mut |_| {})
                    .result
            });
        self.thread.join().unwrap();
        assert!(began.elapsed() < LIMIT);
        result
    }
}

/// A daemon's half of everything before the first frame, as protocol 31 without negotiation.
fn greet(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"@RSYNCD: 31.0\n")?;
    read_until(stream, b"module\n")?;
    stream.write_all(b"@RSYNCD: OK\n")?;
    read_until(stream, b"\0\0")?;
    let mut preamble = vec![0];
    put_int(&mut preamble, 1);
    stream.write_all(&preamble)
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> std::io::Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        seen.extend_from_slice(&byte);
    }
    Ok(())
}

fn data(fill: impl FnOnce(&mut NdxWriter, &mut Vec<u8>)) -> Vec<u8> {
    let mut payload = Vec::new();
    fill(
        &mut NdxWriter::new(Protocol::new(31).unwrap()),
        &mut payload,
    );
    let mut frame = Code::Data.header(payload.len()).to_vec();
    frame.append(&mut payload);
    frame
}

/// A request for the content of an entry, with this sum head.
fn request(index: u32, head: [i32; 4]) -> Vec<u8> {
    data(|ndx, out| {
        ndx.write(out, Ndx::File(index));
        put_shortint(out, 0x8000);
        head.into_iter().for_each(|field| put_int(out, field));
    })
}

fn message(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(Protocol::new(31).unwrap(), &mut frame);
    frame
}

fn error_of(daemon: Daemon) -> Error {
    daemon.push().expect_err("the daemon misbehaves")
}

#[test]
fn no_daemon_at_all() {
    let error = error_of(Daemon::new(|stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")
    }));
    assert!(matches!(error, Error::Greeting(_)), "{error}");
    let error = error_of(Daemon::new(|stream| stream.write_all(&[0xff; 100_000])));
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}

#[test]
fn an_endless_message_of_the_day() {
    let error = error_of(Daemon::new(|stream| {
        stream.write_all(b"@RSYNCD: 31.0\n")?;
        loop {
            stream.write_all(b"and another line\n")?;
        }
    }));
    assert!(matches!(error, Error::Greeting(_)), "{error}");
}

#[test]
fn a_refusal_is_told_in_the_daemons_words() {
    let error = error_of(Daemon::new(|stream| {
        stream.write_all(b"@RSYNCD: 31.0\n@ERROR: Unknown module 'module'\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }));
    assert_eq!(error.to_string(), "@ERROR: Unknown module 'module'");
    assert_eq!(error.exit_code(), 5);
}

#[test]
fn silence_is_given_up() {
    let error = error_of(Daemon::sending(Vec::new()));
    assert!(matches!(error, Error::Stalled(_)), "{error}");
}

#[test]
fn keepalives_are_no_progress() {
    let error = error_of(Daemon::new(|stream| {
        greet(stream)?;
        loop {
            stream.write_all(&wire::KEEPALIVE)?;
            std::thread::sleep(PATIENCE / 10);
        }
    }));
    assert!(matches!(error, Error::Stalled(_)), "{error}");
}

#[test]
fn requests_for_what_is_not_there() {
    for index in [2, 1000, i32::MAX as u32] {
        let error = error_of(Daemon::sending(request(index, [0; 4])));
        assert!(matches!(error, Error::Forbidden(_)), "{index}: {error}");
    }
}

#[test]
fn a_request_for_the_content_of_a_directory() {
    let error = error_of(Daemon::sending(request(0, [0; 4])));
    assert!(matches!(error, Error::Forbidden(_)), "{error}");
}

#[test]
fn sums_that_cannot_be() {
    for head in [
        [-1, 700, 2, 0],
        [1, 0, 2, 0],
        [1, -5, 2, 0],
        [1, 1 << 30, 2, 0],
        [1, 700, 400, 0],
        [1, 700, 2, 701],
    ] {
        let error = error_of(Daemon::sending(request(1, head)));
        assert!(
            matches!(error, Error::Malformed(_) | Error::Forbidden(_)),
            "{head:?}: {error}"
        );
    }
}

#[test]
fn a_basis_of_two_thousand_million_blocks_that_never_come() {
    let error = error_of(Daemon::sending(request(1, [i32::MAX, 700, 2, 0])));
    assert!(matches!(error, Error::Stalled(_)), "{error}");
}

#[test]
fn frames_that_no_peer_may_send() {
    for frame in [
        [5, 0, 0, 200],
        [1, 0, 0, 7 + 42],
        [0xff, 0xff, 0, 7 + 3],
        [8, 0, 0, 7 + 100],
    ] {
        let error = error_of(Daemon::sending(frame.to_vec()));
        assert!(matches!(error, Error::Malformed(_)), "{frame:?}: {error}");
    }
}

#[test]
fn indexes_that_have_no_meaning_here() {
    for ndx in [Ndx::FlistEof, Ndx::Dir(3)] {
        let error = error_of(Daemon::sending(data(|writer, out| writer.write(out, ndx))));
        assert!(matches!(error, Error::Forbidden(_)), "{ndx:?}: {error}");
    }
}

#[test]
fn last_words_and_an_exit_code() {
    let mut frames = message(&Message::Text(
        wire::Severity::Error,
        b"ERROR: module is read only\n".to_vec(),
    ));
    frames.extend(message(&Message::ErrorExit(Some(1))));
    let error = error_of(Daemon::sending(frames));
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("ERROR: module is read only", 1)
    );
}

#[test]
fn last_words_before_a_plain_close() {
    let words = message(&Message::Text(
        wire::Severity::Error,
        b"the disk is on fire\n".to_vec(),
    ));
    let error = error_of(Daemon::new(move |stream| {
        greet(stream)?;
        stream.write_all(&words)
    }));
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
}

#[test]
fn acknowledgements_and_removals_that_nobody_asked_for() {
    let mut frames = Vec::new();
    for index in 0..50_000 {
        frames.extend(message(&Message::Success(index)));
        frames.extend(message(&Message::Deleted {
            path: format!("{index}").into_bytes(),
            is_dir: false,
        }));
    }
    frames.extend(data(|ndx, out| {
        (0..5).for_each(|_| ndx.write(out, Ndx::Done));
    }));
    let applied = Daemon::sending(frames).push().expect("rude, but complete");
    assert!(applied.removed.is_empty() && applied.acknowledged.is_none());
}
