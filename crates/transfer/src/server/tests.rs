//! Clients that mean harm, or have lost their minds, and ask us for files: each ends with rsync's code, and no file
//! changes hands that was not there to be had.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use wire::{Ndx, NdxWriter, Protocol, Side, put_rule, put_rules_end, put_shortint};

use super::*;
use crate::Cancel;
use crate::client::tests::{PATIENCE, Script, answer as request, check, frame, saying};

/// Sends a directory of one file to a client of protocol 31 that runs the script after its hello. Returns what ended the run, and what
/// the client heard.
fn sent_to(script: Script, set: impl FnOnce(&mut Options)) -> (Result<Outcome, Error>, Vec<u8>) {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("wanted"), "its content").unwrap();
    std::fs::write(work.path().join("outside"), "not to be had").unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || {
        // We may hang up at any time: that is what is tested.
        let hello = 31_i32.to_le_bytes();
        let _ = theirs.write_all(&hello).and_then(|()| script(&mut theirs));
        let _ = theirs.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        let _ = theirs.read_to_end(&mut heard);
        heard
    });
    let mut options = Options::new(Side::Server);
    options.recursive = true;
    options.newest = Protocol::new(31).unwrap();
    options.timeout = Some(Duration::from_secs(60));
    set(&mut options);
    let link = Link::over_socket(ours.into(), Cancel::default()).unwrap();
    let mut source = tree.into_os_string();
    source.push("/");
    let result = Server::over_shell(link, &options, &ClientInfo::default(), true)
        .and_then(|server| server.send(options, &[source], &|_: Event<'_>| {}));
    let heard = peer.join().unwrap();
    let secret = b"not to be had";
    assert!(!heard.windows(secret.len()).any(|window| window == secret));
    (result, heard)
}

fn error_of(script: Script) -> Error {
    sent_to(script, |_| {})
        .0
        .expect_err("the client misbehaves")
}

/// A client that has no filter rules, says this, and leaves.
fn asking(bytes: &[u8]) -> Script {
    let mut rules = Vec::new();
    put_rules_end(&mut rules);
    saying([&frame(&rules)[..], bytes].concat())
}

/// An index, and what follows it as it is.
fn index(ndx: Ndx, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    NdxWriter::new(Protocol::new(31).unwrap()).write(&mut out, ndx);
    out.extend_from_slice(rest);
    frame(&out)
}

/// Numbers in the tree: the root's, and the file's.
const ROOT: u32 = 0;
const WANTED: u32 = 1;

#[test]
fn numbers_that_cannot_be() {
    let none = [0, 0, 0, 0];
    let beyond = i32::MAX as u32 - 1;
    let cases: &[(&str, Vec<u8>, u8, &str)] = &[
        ("beyond the list", request(2, none, &[]), 2, "2"),
        ("far beyond", request(beyond, none, &[]), 2, "index"),
        ("a directory", request(ROOT, none, &[]), 2, "entry 0"),
        ("count", request(WANTED, [-1, 700, 2, 0], &[]), 2, "-1"),
        ("block", request(WANTED, [1, -700, 2, 0], &[]), 2, "-700"),
        ("no block", request(WANTED, [1, 0, 2, 0], &[]), 2, "zero"),
        (
            "large",
            request(WANTED, [1, 1 << 30, 2, 0], &[]),
            2,
            "1073741824",
        ),
        ("sums", request(WANTED, [1, 700, 99, 0], &[]), 2, "99"),
        ("short sums", request(WANTED, [1, 700, -2, 0], &[]), 2, "-2"),
        ("rest", request(WANTED, [1, 700, 2, 701], &[]), 2, "701"),
        (
            "less than no rest",
            request(WANTED, [1, 700, 2, -1], &[]),
            2,
            "-1",
        ),
        // So many sums are not made room for before they come.
        (
            "many",
            request(WANTED, [i32::MAX, 700, 16, 0], &[]),
            12,
            "closed",
        ),
        (
            "unfinished",
            request(WANTED, [3, 700, 2, 0], &[1]),
            12,
            "closed",
        ),
    ];
    for (name, bytes, code, text) in cases {
        check(name, &error_of(asking(bytes)), *code, text);
    }
}

#[test]
fn words_out_of_place() {
    let no_flags = index(Ndx::File(WANTED), &[0x00, 0x80]);
    let name_without_end = index(Ndx::File(WANTED), &[0x00, 0x90, 0xff, 0xff]);
    let done = index(Ndx::Done, &[]);
    let late = [done.clone(), done.clone(), request(WANTED, [0; 4], &[])].concat();
    let cases: &[(&str, Vec<u8>, u8, &str)] = &[
        ("a list of its own", index(Ndx::Dir(0), &[]), 2, "Dir"),
        ("an end of lists", index(Ndx::FlistEof, &[]), 2, "FlistEof"),
        ("no head", no_flags, 12, "closed"),
        ("a name without end", name_without_end, 12, "32767"),
        ("after the last phase", late, 2, "entry 1"),
        ("an end in the middle", done, 12, "closed"),
    ];
    for (name, bytes, code, text) in cases {
        check(name, &error_of(asking(bytes)), *code, text);
    }
}

fn impatient(options: &mut Options) {
    options.timeout = Some(PATIENCE);
}

/// What is asked for twice is sent twice: rsync's generator does that, too, when a file did not verify.
#[test]
fn a_request_that_comes_again() {
    let (mut twice, mut writer) = (Vec::new(), NdxWriter::new(Protocol::new(31).unwrap()));
    for _ in 0..2 {
        writer.write(&mut twice, Ndx::File(WANTED));
        put_shortint(&mut twice, 0x8000);
        twice.extend([0; 16]);
    }
    let (result, heard) = sent_to(asking(&frame(&twice)), |_| {});
    check("twice", &result.expect_err("it leaves"), 12, "closed");
    let content = b"its content";
    let times = heard
        .windows(content.len())
        .filter(|window| window == content);
    assert_eq!(times.count(), 2);
}

/// A list of names from the other end leads to nothing outside, whatever it says.
#[test]
fn names_that_lead_out() {
    for name in [
        "../outside",
        "/../outside",
        "wanted/../../outside",
        "./.././outside",
        "x/./../../outside",
        "../tree/../outside",
    ] {
        for relative in [true, false] {
            let mut rules = Vec::new();
            put_rules_end(&mut rules);
            let names = [name.as_bytes(), b"\0\0"].concat();
            let (result, _) = sent_to(saying([frame(&rules), frame(&names)].concat()), |options| {
                options.files_from = Some(FilesFrom::Peer);
                options.relative = relative;
            });
            // There is no such file inside, and then the client leaves.
            if let Err(error) = result {
                check(name, &error, 12, "closed");
            }
        }
    }
}

/// Later, our own signs of life count as such, as rsync's do: only a client that does not even take these is given up.
#[test]
fn silence_instead_of_rules() {
    let quiet: Script = Box::new(|stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let (result, _) = sent_to(quiet, impatient);
    check("silence", &result.expect_err("no progress"), 30, "");
}

#[test]
fn rules_without_end_are_refused() {
    let endless: Script = Box::new(|stream| {
        let mut rule = Vec::new();
        put_rule(&mut rule, &[b"- ", &[b'a'; 5000][..]].concat()).expect("a rule");
        loop {
            stream.write_all(&frame(&rule))?;
        }
    });
    let (result, _) = sent_to(endless, impatient);
    check("rules", &result.expect_err("too many"), 22, "rules");
}

#[test]
fn frames_that_no_peer_may_send() {
    for bytes in [
        [5, 0, 0, 200].to_vec(),
        [4, 0, 0, 7 + 42].to_vec(),
        [0xff, 0xff, 0xff, 7 + 1].to_vec(),
    ] {
        let error = error_of(asking(&bytes));
        assert!(matches!(error.exit_code(), 2 | 12), "{bytes:?}: {error}");
    }
}
