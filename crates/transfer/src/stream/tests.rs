//! A peer on the other end of a socket, which says what a test wants.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use wire::Protocol;

use super::*;
use crate::Cancel;

/// A multiplexed stream, and the peer's end of it.
fn pair(patience: Option<Duration>) -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let input = OwnedFd::from(ours.try_clone().unwrap());
    let link = Link::over_pipes(input, ours.into(), Cancel::default()).unwrap();
    let mut stream = Stream::new(link, patience);
    stream.start_demultiplexing();
    stream.start_multiplexing().unwrap();
    (stream, theirs)
}

#[test]
fn who_waits_for_long_shows_that_it_lives() {
    let (mut stream, mut peer) = pair(Some(Duration::from_secs(10)));
    stream.listen();
    let answering = thread::spawn(move || {
        // Says nothing before it has seen a sign of life.
        let mut sign = [0; 4];
        peer.read_exact(&mut sign).unwrap();
        assert_eq!(sign, wire::KEEPALIVE);
        peer.write_all(b"\x01\0\0\x07x").unwrap();
        peer
    });
    let value = stream.read_hearing(&mut |_| Ok(()), false, |cursor| Ok(cursor.array::<1>()?[0]));
    assert_eq!(value.unwrap(), b'x');
    answering.join().unwrap();
}

#[test]
fn own_signs_of_life_are_not_the_peers() {
    let (mut stream, _peer) = pair(Some(Duration::from_millis(300)));
    stream.listen();
    let value = stream.read_hearing(&mut |_| Ok(()), false, |cursor| Ok(cursor.array::<1>()?[0]));
    assert!(matches!(value, Err(Error::Stalled(_))), "{value:?}");
}

#[test]
fn a_daemon_may_ask_a_client_for_less_patience() {
    let announcement = |seconds: u8| [4, 0, 0, 0x28, seconds, 0, 0, 0, 1, 0, 0, 7, b'x'];
    for (own, heeds, asked, expected) in [
        (None, true, 77, Some(77)),
        (Some(5), true, 77, Some(5)),
        (Some(500), true, 77, Some(77)),
        (Some(500), true, 0, Some(500)),
        (None, false, 77, None),
    ] {
        let (mut stream, mut peer) = pair(own.map(Duration::from_secs));
        if heeds {
            stream.heed_timeouts();
        }
        peer.write_all(&announcement(asked)).unwrap();
        stream.read(|cursor| Ok(cursor.array::<1>()?[0])).unwrap();
        assert_eq!(stream.patience(), expected.map(Duration::from_secs));
    }
}

#[test]
fn a_peer_hears_why_we_leave_if_it_can() {
    let fatal = |code| Error::fatal(code, crate::Role::Sender, "no", None);
    let exit = Error::PeerExit {
        code: 3,
        words: Vec::new(),
    };
    let told = |code| [4, 0, 0, 0x5d, code, 0, 0, 0].to_vec();
    for (error, protocol, expected) in [
        (fatal(11), 32, told(11)),
        (fatal(11), 30, vec![]),
        (fatal(12), 32, vec![]),
        (Error::Stalled(None), 32, vec![]),
        (Error::Cancelled, 31, told(20)),
        (exit, 31, vec![0, 0, 0, 0x5d]),
    ] {
        let (mut stream, mut peer) = pair(None);
        stream.say_farewell(Protocol::new(protocol).unwrap(), &error);
        drop(stream);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, expected, "{error:?}");
    }
}

#[test]
fn a_farewell_that_finds_nobody_leaves_the_reason() {
    let fatal = Error::fatal(11, crate::Role::Sender, "no", None);
    let (mut stream, peer) = pair(None);
    drop(peer);
    let unheard = stream.say_farewell(Protocol::new(32).unwrap(), &fatal);
    assert!(matches!(unheard, Some(Error::Socket(_))), "{unheard:?}");
}
