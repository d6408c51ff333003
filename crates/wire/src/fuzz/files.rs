//! Decoders of file lists and file data.

use std::sync::Arc;

use super::{Target, assert_needs_all, assert_round_trip};
use crate::{
    Acl, Compression, Cursor, Decoded, Entry, EntryDecoder, EntryEncoder, EntryFormat, HardLink,
    IdListFormat, ItemFormat, NamedAccess, Protocol, Rdev, Stop, SumHead, Token, TokenDecoder,
    decode_xattr_answer, decode_xattr_request, encode_xattr_request,
};

/// All entries of this file.
pub const FILE_TARGETS: &[Target] = &[
    ("entries", fuzz_entries),
    ("id_list", fuzz_id_list),
    ("item", fuzz_item),
    ("sums", fuzz_sums),
    ("xattr_request", fuzz_xattr_request),
    ("xattr_answer", fuzz_xattr_answer),
    ("tokens_plain", |data| fuzz_tokens(Compression::None, data)),
    ("tokens_zlib", |data| fuzz_tokens(Compression::Zlib, data)),
    ("tokens_zlibx", |data| fuzz_tokens(Compression::Zlibx, data)),
    ("tokens_zstd", |data| fuzz_tokens(Compression::Zstd, data)),
    ("tokens_lz4", |data| fuzz_tokens(Compression::Lz4, data)),
];

/// File lists of a format that the first bytes choose. What was decoded survives another connection of
/// that format.
pub fn fuzz_entries(data: &[u8]) {
    let Some((&[a, b, c], list)) = data.split_first_chunk() else {
        return;
    };
    let format = entry_format(u32::from_le_bytes([a, b, c, 0]));
    let mut decoder = EntryDecoder::new(format.clone());
    let mut encoder = EntryEncoder::new(format.clone());
    let mut again = EntryDecoder::new(format.clone());
    let mut cursor = Cursor::new(list);
    loop {
        let before = cursor.position();
        let Ok(mut decoded) = decoder.decode(&mut cursor) else {
            assert_eq!(
                cursor.position(),
                before,
                "bytes were consumed without a value"
            );
            return;
        };
        let mut out = Vec::new();
        match &mut decoded {
            Decoded::Entry(entry) => {
                assert_clean(entry, &format);
                encoder.encode(entry, &mut out);
                forget_the_unsent(entry, &format);
            }
            Decoded::End { io_errors } => encoder.end(*io_errors, &mut out),
        }
        let mut second = again
            .decode(&mut Cursor::new(&out))
            .expect("our own encoding is right");
        if let Decoded::Entry(entry) = &mut second {
            forget_the_unsent(entry, &format);
        }
        assert_eq!(second, decoded);
    }
}

fn entry_format(bits: u32) -> EntryFormat {
    let bit = |at: u32| bits >> at & 1 != 0;
    let protocol = Protocol::new(27 + (bits & 7).min(5) as u8).expect("27 to 32");
    let modern = protocol.has_variable_integers();
    EntryFormat {
        protocol,
        varint_flags: modern && bit(3),
        incremental: modern && bit(4),
        safe_list_end: protocol.has_safe_list_end() || (modern && bit(5)),
        id0_names: bit(6),
        owner: bit(7),
        group: bit(8),
        numeric_ids: bit(9),
        links: bit(10),
        devices: bit(11),
        specials: bit(12),
        hard_links: bit(13),
        checksum_length: if bit(14) { 16 } else { 0 },
        acls: modern && bit(15),
        xattrs: modern && bit(16),
        atimes: bit(17),
        crtimes: modern && bit(3) && bit(18),
        relative: bit(19),
        recursive: bit(20),
        missing_args: bit(21),
    }
}

fn assert_clean(entry: &Entry, format: &EntryFormat) {
    let name = entry.name.as_slice();
    assert!(!name.is_empty() && !name.contains(&0) && name.len() < crate::MAX_PATH);
    assert!(format.relative || name[0] != b'/');
    assert!(
        name.split(|&byte| byte == b'/')
            .all(|component| component != b"..")
    );
    assert!(entry.size >= 0 && entry.mtime_nsec < 1_000_000_000);
    assert!(entry.file_type().is_some() || (entry.mode == 0 && format.missing_args));
}

/// Removes what an encoder sends once, or not at all, though a hostile peer may.
fn forget_the_unsent(entry: &mut Entry, format: &EntryFormat) {
    entry.user_name = None;
    entry.group_name = None;
    for acl in [&mut entry.acl, &mut entry.default_acl]
        .into_iter()
        .flatten()
    {
        let nameless = |named: &NamedAccess| NamedAccess {
            name: None,
            ..named.clone()
        };
        *acl = Arc::new(Acl {
            named: acl.named.iter().map(nameless).collect(),
            ..Acl::clone(acl)
        });
    }
    if let Some(item) = &mut entry.xattrs {
        item.number = 0;
    }
    if entry.file_type().is_some_and(crate::FileType::is_special) {
        entry.rdev = Rdev::default();
    }
    // Inferred from how much of the name was shared, in which a hostile peer need not be thrifty.
    if !format.protocol.marks_directory_content() {
        entry.no_content = false;
    }
    assert!(
        !matches!(entry.hard_link, Some(HardLink::Inode { .. })),
        "decoders yield groups"
    );
}

/// Trailing id lists.
pub fn fuzz_id_list(data: &[u8]) {
    for protocol in [Protocol::OLDEST, Protocol::LATEST] {
        for id0_names in [false, true] {
            let format = IdListFormat {
                protocol,
                id0_names,
            };
            assert_needs_all(data, |cursor| format.decode(cursor));
        }
    }
}

/// Items of requests and answers.
pub fn fuzz_item(data: &[u8]) {
    let format = ItemFormat {
        protocol: Protocol::LATEST,
        xattrs: true,
        dry_run: false,
        xattr_optimization: false,
    };
    if let Some(item) = assert_needs_all(data, |cursor| format.decode(cursor)) {
        assert_round_trip(
            &item,
            |item, out| format.encode(item, out),
            |cursor| format.decode(cursor),
        );
    }
}

/// Sum heads, and the sums of their blocks.
pub fn fuzz_sums(data: &[u8]) {
    for protocol in [Protocol::OLDEST, Protocol::LATEST] {
        let decode = |cursor: &mut Cursor<'_>| SumHead::decode(cursor, protocol, 16);
        let Some(head) = assert_needs_all(data, decode) else {
            continue;
        };
        assert_round_trip(&head, SumHead::encode, decode);
        assert!(
            head.remainder <= head.block_length && head.block_length <= protocol.max_block_length()
        );
        if let Some(last) = head.count.checked_sub(1) {
            let (offset, length) = head.block(last).expect("the last block exists");
            assert_eq!(offset + u64::from(length), head.described_length());
        }
        let mut cursor = Cursor::new(data);
        while let Ok(sum) = head.decode_block(&mut cursor) {
            assert_eq!(sum.strong.len(), head.strong_length as usize);
        }
    }
}

/// Requests for attribute values.
pub fn fuzz_xattr_request(data: &[u8]) {
    if let Some(numbers) = assert_needs_all(data, decode_xattr_request) {
        assert_round_trip(
            &numbers,
            |numbers, out| encode_xattr_request(numbers, out),
            decode_xattr_request,
        );
    }
}

/// Answers with attribute values.
pub fn fuzz_xattr_answer(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let mut previous = 0;
    while let Ok(Some((number, _))) = decode_xattr_answer(&mut cursor, previous) {
        assert!(number > 0 && number != previous);
        previous = number;
    }
}

/// Token streams of any number of files.
pub fn fuzz_tokens(compression: Compression, data: &[u8]) {
    let mut decoder = TokenDecoder::new(compression, Protocol::LATEST);
    let mut cursor = Cursor::new(data);
    loop {
        let before = cursor.position();
        let left = cursor.rest().len();
        match decoder.decode(&mut cursor) {
            Ok(Token::Literal(piece)) => {
                assert!(!piece.is_empty() && piece.len() <= left.max(64 << 10));
            }
            Ok(Token::Blocks { count, .. }) => {
                assert!(count > 0);
                if decoder.see_matched(&[b'm'; 700]).is_err() {
                    return;
                }
            }
            Ok(Token::End) => assert!(cursor.position() > before),
            Err(Stop::Incomplete | Stop::Malformed(_)) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::IoErrors;

    /// Bytes like those of a file list: small numbers, flags, a few name characters.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => any::<u8>(),
            4 => 0..4_u8,
            2 => proptest::sample::select(b"ab/.\x10\x18\x20\x41\x81\xa1\xed\x80".as_slice()),
        ];
        proptest::collection::vec(byte, 0..120)
    }

    /// A format, and entries built of plausible fields.
    fn list() -> impl Strategy<Value = Vec<u8>> {
        let name = proptest::sample::select(vec!["a", "a/b", "ab", "b/c/d", ".", "x//y", "./z"]);
        let mode = proptest::sample::select(vec![
            0o100_644_u32,
            0o40755,
            0o120_777,
            0o20600,
            0o10600,
            0o140_600,
        ]);
        let entry = (
            name,
            mode,
            0..3_i64,
            0..3_u32,
            0..3_u64,
            proptest::option::of(0..3_u64),
        );
        (
            any::<u32>(),
            proptest::collection::vec(proptest::option::weighted(0.9, entry), 1..20),
        )
            .prop_map(|(bits, entries)| {
                let format = entry_format(bits);
                let mut encoder = EntryEncoder::new(format);
                let mut data = bits.to_le_bytes()[..3].to_vec();
                for entry in entries {
                    let Some((name, mode, time, id, size, inode)) = entry else {
                        encoder.end(IoErrors::empty(), &mut data);
                        continue;
                    };
                    let entry = Entry {
                        name: name.into(),
                        mode: if name == "." { 0o40755 } else { mode },
                        size: size as i64,
                        mtime: time * 1_000_000_000,
                        mtime_nsec: id,
                        atime: time,
                        uid: id,
                        gid: id * 1_500_000_000,
                        user_name: Some(b"user".as_slice().into()),
                        rdev: Rdev {
                            major: id,
                            minor: id * 200,
                        },
                        target: name.into(),
                        hard_link: inode.map(|inode| HardLink::Inode {
                            device: size,
                            inode,
                        }),
                        top_dir: id == 1,
                        no_content: time == 1,
                        ..Entry::default()
                    };
                    encoder.encode(&entry, &mut data);
                }
                data
            })
    }

    proptest! {
        #[test]
        fn file_decoders_survive_any_bytes(data in bytes()) {
            for (_, target) in FILE_TARGETS {
                target(&data);
            }
        }

        #[test]
        fn lists_survive_damage(mut data in list(), at: proptest::sample::Index, byte: u8, damage: bool) {
            if damage && data.len() > 3 {
                let at = 3 + at.index(data.len() - 3);
                data[at] = byte;
            }
            fuzz_entries(&data);
        }
    }
}
