//! Senders that mean harm, or have lost their minds: each gets an error with rsync's code, and nothing is harmed.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use wire::{
    Code, CompatFlags, Entry, EntryEncoder, EntryFormat, IoErrors, Ndx, NdxWriter, Protocol, Side,
    put_int, put_shortint,
};

use super::*;
use crate::Cancel;
use crate::event::Event;

mod attacks;

/// A sender that says nothing more is given up after so long.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// What a sender does after the handshake.
pub(crate) type Script = Box<dyn FnOnce(&mut UnixStream) -> io::Result<()> + Send>;

/// Receives from a sender of protocol 31 that runs the script, in a directory beside one that must stay as it is.
/// Returns what ended the run.
fn received_from(script: Script, options: Options) -> Error {
    received(script, options, 0)
}

/// The same from a sender that sends lists by directory.
fn received_by_directory(script: Script, options: Options) -> Error {
    received(script, options, CompatFlags::INC_RECURSE.bits() as u8)
}

fn received(script: Script, options: Options, flags: u8) -> Error {
    received_and_left(script, options, flags, |_| {})
}

/// The same, with a look at what is left at the destination.
fn received_and_left(
    script: Script,
    options: Options,
    flags: u8,
    look: impl FnOnce(&Path),
) -> Error {
    let work = tempfile::tempdir().unwrap();
    let (inside, outside) = (work.path().join("inside"), work.path().join("outside"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || {
        // We may hang up at any time: that is what is tested.
        let _ = greet(&mut theirs, flags).and_then(|()| script(&mut theirs));
        let _ = theirs.shutdown(std::net::Shutdown::Write);
        let _ = theirs.read_to_end(&mut Vec::new());
    });
    let link = Link::over_socket(ours.into(), Cancel::default()).unwrap();
    let info = match flags {
        0 => ClientInfo::default(),
        _ => options.client_info(false),
    };
    let result = Client::over_shell(link, &options, &info, false).and_then(|client| {
        let asked = [b"from/wanted".to_vec(), b"from/link".to_vec()];
        client.receive(options, &asked, Some(&inside), &|_: Event<'_>| {})
    });
    peer.join().unwrap();
    let names = |dir: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert!(names(&outside).is_empty(), "it wrote outside");
    // As a directory it may well have been made.
    assert!(!inside.join("wanted").is_file(), "it wrote half a file");
    assert_eq!(
        names(work.path()).len(),
        2,
        "it wrote beside the destination"
    );
    look(&inside);
    result.expect_err("the sender misbehaves")
}

fn options() -> Options {
    let mut options = Options::new(Side::Client);
    options.recursive = true;
    options.dirs = true;
    options.links = true;
    options.newest = Protocol::new(31).unwrap();
    options.timeout = Some(Duration::from_secs(60));
    options
}

/// A server's half of the handshake, without negotiation.
fn greet(stream: &mut UnixStream, flags: u8) -> io::Result<()> {
    let mut hello = Vec::new();
    put_int(&mut hello, 31);
    hello.push(flags);
    put_int(&mut hello, 1);
    stream.write_all(&hello)
}

pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    [&Code::Data.header(payload.len())[..], payload].concat()
}

fn encoder() -> EntryEncoder {
    encoder_of(false)
}

fn encoder_of(incremental: bool) -> EntryEncoder {
    let minimal = EntryFormat::minimal(Protocol::new(31).unwrap());
    EntryEncoder::new(EntryFormat {
        links: true,
        recursive: true,
        incremental,
        ..minimal
    })
}

fn file(name: &str) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        mode: 0o100_644,
        size: 10,
        mtime: 1_600_000_000,
        ..Entry::default()
    }
}

fn dir(name: &str) -> Entry {
    Entry {
        mode: 0o040_755,
        ..file(name)
    }
}

fn link(name: &str, target: &str) -> Entry {
    Entry {
        mode: 0o120_777,
        target: target.as_bytes().to_vec(),
        ..file(name)
    }
}

/// A list of these entries and its end.
fn list(entries: &[Entry]) -> Vec<u8> {
    let (mut encoder, mut out) = (encoder(), Vec::new());
    for entry in entries {
        encoder.encode(entry, &mut out);
    }
    encoder.end(IoErrors::empty(), &mut out);
    frame(&out)
}

/// Lists by directory: each with what comes before it.
fn lists(said: &[(Option<Ndx>, &[Entry])]) -> Vec<u8> {
    let (mut encoder, mut out) = (encoder_of(true), Vec::new());
    let mut writer = NdxWriter::new(Protocol::new(31).unwrap());
    for (before, entries) in said {
        if let Some(ndx) = before {
            writer.write(&mut out, *ndx);
        }
        for entry in *entries {
            encoder.encode(entry, &mut out);
        }
        encoder.end(IoErrors::empty(), &mut out);
    }
    frame(&out)
}

/// A sender that says this, and leaves.
pub(crate) fn saying(bytes: Vec<u8>) -> Script {
    Box::new(move |stream| stream.write_all(&bytes))
}

/// A sender that says the first part, waits until the content of so many new files is asked for, says the second part, and
/// leaves.
fn answering(list: Vec<u8>, files: usize, answer: Vec<u8>) -> Script {
    Box::new(move |stream| {
        stream.write_all(&list)?;
        // New, with content, and nothing to describe it by: these bytes stand nowhere else.
        let mut heard = Vec::new();
        for _ in 0..files {
            heard.clear();
            while !heard.ends_with(&[0x00, 0xa0, 0, 0, 0, 0]) {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                heard.push(byte[0]);
            }
        }
        stream.write_all(&answer)
    })
}

/// An answer for an entry: its number, that there is content, the head of the sums, and what follows.
pub(crate) fn answer(index: u32, head: [i32; 4], rest: &[i32]) -> Vec<u8> {
    let mut out = Vec::new();
    NdxWriter::new(Protocol::new(31).unwrap()).write(&mut out, Ndx::File(index));
    put_shortint(&mut out, 0x8000);
    head.iter()
        .chain(rest)
        .for_each(|&number| put_int(&mut out, number));
    frame(&out)
}

pub(crate) fn check(name: &str, error: &Error, code: u8, text: &str) {
    let told = error.to_string();
    assert_eq!(error.exit_code(), code, "{name}: {told}");
    assert!(told.contains(text), "{name}: {told}");
}

#[test]
fn names_that_lead_out_or_were_not_asked_for() {
    let cases: &[(&str, &[Entry], u8, &str)] = &[
        ("up", &[file("../outside/evil")], 4, "../outside/evil"),
        ("up within", &[file("wanted/../../evil")], 4, "evil"),
        (
            "absolute",
            &[file("/tmp/driftless-evil")],
            4,
            "/tmp/driftless-evil",
        ),
        (
            "not asked for",
            &[file("other")],
            4,
            "rejecting unrequested file-list name: other",
        ),
        (
            "beneath a symbolic link",
            &[link("link", "../outside"), file("link/evil")],
            2,
            "invalid path from sender: link/evil",
        ),
        (
            "a link and a directory of one name",
            &[link("link", "../outside"), file("wanted/deep/evil")],
            2,
            "invalid path from sender: wanted/deep/evil",
        ),
    ];
    for (name, entries, code, text) in cases {
        let error = received_from(saying(list(entries)), options());
        check(name, &error, *code, text);
    }
}

#[test]
fn numbers_that_cannot_be() {
    let wanted = || list(&[file("wanted")]);
    let none = [0, 0, 0, 0];
    let cases: &[(&str, Vec<u8>, u8, &str)] = &[
        ("index beyond the list", answer(7, none, &[]), 2, "7"),
        ("count of blocks", answer(0, [-1, 700, 2, 0], &[]), 2, "-1"),
        (
            "length of blocks",
            answer(0, [1, -700, 2, 0], &[]),
            2,
            "-700",
        ),
        ("length of sums", answer(0, [1, 700, 99, 0], &[]), 2, "99"),
        ("rest", answer(0, [1, 700, 2, 701], &[]), 2, "701"),
        ("block of no basis", answer(0, none, &[-1]), 2, "block"),
        // Literals are written as they come: nothing is held for what does not.
        ("literal", answer(0, none, &[i32::MAX]), 12, "closed"),
        ("least number", answer(0, none, &[i32::MIN]), 2, "token"),
    ];
    for (name, bytes, code, text) in cases {
        let error = received_from(answering(wanted(), 1, bytes.clone()), options());
        check(name, &error, *code, text);
    }
}

#[test]
fn an_endless_list() {
    let endless: Script = Box::new(|stream| {
        let mut encoder = encoder();
        for number in 0_u64.. {
            let mut out = Vec::new();
            encoder.encode(&file(&format!("wanted/{number}")), &mut out);
            stream.write_all(&frame(&out))?;
        }
        Ok(())
    });
    let mut options = options();
    options.max_alloc = Some(1 << 17);
    // So long it is listened to on the way out.
    options.timeout = Some(PATIENCE);
    let error = received_from(endless, options);
    check("endless", &error, 22, "exceeded --max-alloc=131072 setting");
}

#[test]
fn lists_of_directories_that_cannot_be() {
    let tree = [dir("wanted"), file("link")];
    let of = |number| Some(Ndx::Dir(number));
    let cases: &[(&str, Option<Ndx>, &[Entry], &str)] = &[
        (
            "no such directory",
            of(7),
            &[],
            "refusing invalid dir_ndx 7",
        ),
        ("far", of(1 << 30), &[], "refusing invalid dir_ndx"),
        (
            "elsewhere",
            of(0),
            &[file("evil")],
            "invalid path from sender: evil",
        ),
        ("up", of(0), &[file("wanted/../evil")], "unsafe pathname"),
        ("deeper", of(0), &[file("wanted/a/b")], "invalid path"),
        ("beside", of(0), &[file("wantedness/b")], "invalid path"),
        ("the root again", of(0), &[dir(".")], "invalid path"),
    ];
    for (name, ndx, entries, text) in cases {
        let said = lists(&[(None, &tree), (*ndx, entries)]);
        let error = received_by_directory(saying(said), options());
        assert!(matches!(error.exit_code(), 2 | 4), "{name}: {error}");
        check(name, &error, error.exit_code(), text);
    }
    let inside = [file("wanted/a")];
    let twice = lists(&[(None, &tree), (of(0), &inside), (of(0), &inside)]);
    let error = received_by_directory(saying(twice), options());
    check("twice", &error, 2, "duplicate flist for dir 0");
    let negative = [lists(&[(None, &tree)]), frame(&[0xff, 50])].concat();
    let error = received_by_directory(saying(negative), options());
    check("no number of a directory", &error, 2, "-51");
}

#[test]
fn endless_lists_of_directories() {
    let endless: Script = Box::new(|stream| {
        let mut encoder = encoder_of(true);
        let mut writer = NdxWriter::new(Protocol::new(31).unwrap());
        let (mut out, mut name) = (Vec::new(), String::from("wanted"));
        encoder.encode(&dir(&name), &mut out);
        encoder.end(IoErrors::empty(), &mut out);
        // As deep as a path may be.
        for number in 0..2000 {
            stream.write_all(&frame(&out))?;
            out.clear();
            writer.write(&mut out, Ndx::Dir(number));
            for at in 1..100 {
                encoder.encode(&file(&format!("{name}/{at}")), &mut out);
            }
            name.push_str("/d");
            encoder.encode(&dir(&name), &mut out);
            encoder.end(IoErrors::empty(), &mut out);
        }
        Ok(())
    });
    let mut options = options();
    options.max_alloc = Some(1 << 17);
    options.dry_run = true;
    options.timeout = Some(PATIENCE);
    let error = received_by_directory(endless, options);
    check("endless", &error, 22, "exceeded --max-alloc=131072 setting");
}

#[test]
fn silence_and_an_early_end() {
    for bytes in [Vec::new(), list(&[file("wanted")])] {
        let mut impatient = options();
        impatient.timeout = Some(PATIENCE);
        let said = bytes.clone();
        let silent: Script = Box::new(move |stream| {
            stream.write_all(&said)?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        });
        let error = received_from(silent, impatient);
        check("silence", &error, 30, "no progress");
        let error = received_from(saying(bytes), options());
        check("the end", &error, 12, "connection unexpectedly closed");
    }
}
