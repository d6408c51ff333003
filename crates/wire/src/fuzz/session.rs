//! Decoders of the handshake, of messages, and of what a daemon and its client say in lines.

use super::{Target, assert_needs_all, assert_round_trip};
use crate::{
    Algorithm, ArgumentReader, AuthReply, BatchHead, Checksum, ChecksumChoice, ClientInfo,
    CompatFlags, Compression, Cursor, DaemonLine, DeleteStatistics, Demux, Digest, Greeting,
    Incoming, ModuleRequest, NdxReader, NdxWriter, Offer, Protocol, REPLY_LINE_MAX, RuleReader,
    Side, Statistics, VSTRING_MAX, daemon_unquote, put_int, put_longint, put_rule, put_varint,
    put_varlong, put_vstring, shell_value,
};

/// All entries for the session level, by name.
pub const SESSION_TARGETS: &[Target] = &[
    ("integers", fuzz_integers),
    ("ndx", fuzz_ndx),
    ("demux", fuzz_demux),
    ("greeting", fuzz_greeting),
    ("compat", fuzz_compat),
    ("negotiation", fuzz_negotiation),
    ("daemon_lines", fuzz_daemon_lines),
    ("arguments", fuzz_arguments),
    ("rules", fuzz_rules),
    ("statistics", fuzz_statistics),
    ("batch", fuzz_batch),
    ("quoting", fuzz_quoting),
];

/// Integers and short strings: each value has an encoding that reads back.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method's path is not general over the cursor's lifetime"
)]
pub fn fuzz_integers(data: &[u8]) {
    if let Some(value) = assert_needs_all(data, |cursor| cursor.int()) {
        assert_round_trip(&value, |&v, out| put_int(out, v), |cursor| cursor.int());
    }
    if let Some(value) = assert_needs_all(data, |cursor| cursor.longint()) {
        assert_round_trip(
            &value,
            |&v, out| put_longint(out, v),
            |cursor| cursor.longint(),
        );
    }
    if let Some(value) = assert_needs_all(data, |cursor| cursor.varint()) {
        assert_round_trip(
            &value,
            |&v, out| put_varint(out, v),
            |cursor| cursor.varint(),
        );
    }
    for min in 3..=8 {
        if let Some(value) = assert_needs_all(data, |cursor| cursor.varlong(min)) {
            assert_round_trip(
                &value,
                |&v, out| put_varlong(out, v, min),
                |cursor| cursor.varlong(min),
            );
        }
    }
    let string = |cursor: &mut Cursor<'_>| cursor.vstring(VSTRING_MAX).map(<[u8]>::to_vec);
    if let Some(value) = assert_needs_all(data, string) {
        assert_round_trip(&value, |v, out| put_vstring(out, v), string);
    }
}

/// Indexes: whatever was read, a writer says so that a fresh reader hears the same.
pub fn fuzz_ndx(data: &[u8]) {
    for protocol in every_protocol() {
        let mut reader = NdxReader::new(protocol);
        let mut cursor = Cursor::new(data);
        let mut read = Vec::new();
        while let Ok(ndx) = reader.read(&mut cursor) {
            read.push(ndx);
        }
        let mut written = Vec::new();
        let mut writer = NdxWriter::new(protocol);
        read.iter().for_each(|&ndx| writer.write(&mut written, ndx));
        let mut reader = NdxReader::new(protocol);
        let mut cursor = Cursor::new(&written);
        for ndx in read {
            assert_eq!(reader.read(&mut cursor), Ok(ndx));
        }
        assert!(cursor.rest().is_empty());
    }
}

/// Frames: a message written again is the message read, and the input's division does not matter.
pub fn fuzz_demux(data: &[u8]) {
    let mut demux = Demux::new();
    let mut cursor = Cursor::new(data);
    let mut stream = Vec::new();
    let outcome = loop {
        match demux.next(&mut cursor) {
            Ok(Some(Incoming::Data(piece))) => {
                assert!(!piece.is_empty());
                stream.extend_from_slice(piece);
            }
            Ok(Some(Incoming::Message(message))) => {
                let mut bytes = Vec::new();
                message.encode(Protocol::LATEST, &mut bytes);
                let again = Demux::new().next(&mut Cursor::new(&bytes));
                assert_eq!(again, Ok(Some(Incoming::Message(message))));
            }
            Ok(None) => break Ok(()),
            Err(malformed) => break Err(malformed),
        }
    };
    if outcome.is_ok() {
        assert!(cursor.rest().len() < Demux::PENDING_MAX);
    }
    assert_eq!(demux_bytewise(data), (stream, outcome));
}

/// Greetings: an accepted one, written again, is accepted as the same.
pub fn fuzz_greeting(data: &[u8]) {
    for line in [
        data.to_vec(),
        [b"@RSYNCD: ", data].concat(),
        [b"@RSYNCD: 3", data].concat(),
    ] {
        if let Ok(greeting) = Greeting::parse(&line) {
            let written = greeting.to_line();
            assert_eq!(Greeting::parse(&written[..written.len() - 1]), Ok(greeting));
        }
    }
}

/// Capabilities: the argument survives, and the answer never exceeds the offer.
pub fn fuzz_compat(data: &[u8]) {
    let client = ClientInfo::parse(data);
    assert_eq!(ClientInfo::parse(&client.to_argument()), client);
    for offered in [
        CompatFlags::all(),
        CompatFlags::empty(),
        CompatFlags::INC_RECURSE,
    ] {
        let answer = client.answer(offered);
        assert!(offered.contains(answer));
        assert_eq!(client.accept(answer), Ok(()));
    }
    let plain = ClientInfo::default();
    if let Some(flags) = assert_needs_all(data, CompatFlags::decode) {
        assert_round_trip(
            &flags,
            |flags, out| flags.encode(&plain, out),
            CompatFlags::decode,
        );
    }
}

/// Negotiation: both ends of any two lists arrive at the same name.
pub fn fuzz_negotiation(data: &[u8]) {
    fn check<A: Algorithm + std::fmt::Debug>(data: &[u8]) {
        let (client, server) = data.split_at(data.len() / 2);
        let client = Offer::<A>::from_environment(client, Side::Client);
        let server = Offer::<A>::from_environment(server, Side::Server);
        let (client_text, server_text) = (client.to_text(), server.to_text());
        assert!(client_text.len() <= Offer::<A>::LENGTH_MAX);
        assert_eq!(
            client.choose(Side::Client, server_text.as_bytes()),
            server.choose(Side::Server, client_text.as_bytes())
        );
        let everything = Offer::<A>::all(Side::Server);
        if let Ok(chosen) = everything.choose(Side::Server, data) {
            assert_eq!(A::from_name(chosen.name().as_bytes()), Some(chosen));
        }
    }
    // Names are too rare in random bytes, so each byte also stands for one.
    let names: Vec<&str> = data
        .iter()
        .map(|&byte| match byte % 16 {
            index @ 0..7 => Checksum::NAMED[usize::from(index)].name(),
            index @ 7..12 => Compression::NAMED[usize::from(index) - 7].name(),
            12 => "&",
            _ => "other",
        })
        .collect();
    for list in [data, names.join(" ").as_bytes()] {
        check::<Checksum>(list);
        check::<Compression>(list);
        let digest = Digest::choose(Some(list), Protocol::LATEST);
        assert_ne!(digest, Some(Digest::OldMd4), "no list can name it");
        if let Ok(choice) = ChecksumChoice::parse(list) {
            assert!(list.contains(&b',') || choice.transfer == choice.file);
        }
    }
}

/// Lines: what was taken apart can be put together again.
pub fn fuzz_daemon_lines(data: &[u8]) {
    let Some(line) = assert_needs_all(data, |cursor| cursor.line(REPLY_LINE_MAX)) else {
        return;
    };
    let line_with_end = [line.as_slice(), b"\n"].concat();
    let mut out = Vec::new();
    assert_eq!(DaemonLine::parse(&line).encode(&mut out), Ok(()));
    assert_eq!(out, line_with_end);
    if let Ok(request) = ModuleRequest::parse(&line) {
        let mut out = Vec::new();
        assert_eq!(request.encode(&mut out), Ok(()));
        assert_eq!(ModuleRequest::parse(&out[..out.len() - 1]), Ok(request));
    }
    if let Some(reply) = AuthReply::parse(&line) {
        let mut out = Vec::new();
        assert_eq!(reply.encode(&mut out), Ok(()));
        assert_eq!(out, line_with_end);
    }
}

/// Argument lists: the words that were read can be sent again, and arrive the same.
pub fn fuzz_arguments(data: &[u8]) {
    for protocol in every_protocol() {
        let mut cursor = Cursor::new(data);
        if let Ok(Some(words)) = ArgumentReader::daemon(protocol).read(&mut cursor) {
            let mut out = Vec::new();
            assert_eq!(crate::put_arguments(&mut out, protocol, &words), Ok(()));
            let again = ArgumentReader::daemon(protocol).read(&mut Cursor::new(&out));
            assert_eq!(again, Ok(Some(words)));
        }
    }
    let mut cursor = Cursor::new(data);
    if let Ok(Some(words)) = ArgumentReader::shell_secluded().read(&mut cursor) {
        let mut out = Vec::new();
        assert_eq!(crate::put_secluded(&mut out, &words), Ok(()));
        let again = ArgumentReader::shell_secluded().read(&mut Cursor::new(&out));
        assert_eq!(again, Ok(Some(words)));
    }
}

/// Filter lists: each rule has exactly one encoding.
pub fn fuzz_rules(data: &[u8]) {
    let mut reader = RuleReader::new();
    let mut cursor = Cursor::new(data);
    let mut written = Vec::new();
    while let Ok(Some(rule)) = reader.read(&mut cursor) {
        assert_eq!(put_rule(&mut written, rule), Ok(()));
        assert_eq!(written, data[..cursor.position()]);
    }
}

/// Statistics of both kinds.
pub fn fuzz_statistics(data: &[u8]) {
    for protocol in every_protocol() {
        let decode = |cursor: &mut Cursor<'_>| Statistics::decode(cursor, protocol);
        if let Some(statistics) = assert_needs_all(data, decode) {
            assert_round_trip(&statistics, |s, out| s.encode(protocol, out), decode);
        }
    }
    if let Some(statistics) = assert_needs_all(data, DeleteStatistics::decode) {
        assert_round_trip(
            &statistics,
            DeleteStatistics::encode,
            DeleteStatistics::decode,
        );
    }
}

/// The head of a batch file.
pub fn fuzz_batch(data: &[u8]) {
    // The protocol number is rarely right by chance.
    for protocol in every_protocol() {
        let mut data = data.to_vec();
        if let Some(number) = data.get_mut(4..8) {
            number.copy_from_slice(&[protocol.number(), 0, 0, 0]);
        }
        if let Some(head) = assert_needs_all(&data, BatchHead::decode) {
            assert_round_trip(&head, BatchHead::encode, BatchHead::decode);
        }
    }
}

/// Quoting: a daemon takes off exactly what the client put on.
pub fn fuzz_quoting(data: &[u8]) {
    assert_eq!(daemon_unquote(&shell_value(data)), data);
    assert!(daemon_unquote(data).len() <= data.len());
}

fn every_protocol() -> impl Iterator<Item = Protocol> {
    (Protocol::OLDEST.number()..=Protocol::LATEST.number()).filter_map(Protocol::new)
}

/// The data stream and the outcome when every byte arrives alone.
fn demux_bytewise(data: &[u8]) -> (Vec<u8>, Result<(), crate::Malformed>) {
    let mut demux = Demux::new();
    let (mut pending, mut stream) = (Vec::new(), Vec::new());
    for &byte in data {
        pending.push(byte);
        let mut cursor = Cursor::new(&pending);
        loop {
            match demux.next(&mut cursor) {
                Ok(Some(Incoming::Data(piece))) => stream.extend_from_slice(piece),
                Ok(Some(Incoming::Message(_))) => {}
                Ok(None) => break,
                Err(malformed) => return (stream, Err(malformed)),
            }
        }
        let consumed = cursor.position();
        pending.drain(..consumed);
    }
    (stream, Ok(()))
}
