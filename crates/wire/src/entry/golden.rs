//! The examples of the specification, in both directions.

use super::*;
use crate::{Cursor, IoErrors, Malformed, Named, NamedAccess, Stop, Xattr, XattrValue};

/// Both ends of a connection.
struct Session {
    encoder: EntryEncoder,
    decoder: EntryDecoder,
}

impl Session {
    fn new(format: &EntryFormat) -> Self {
        Self {
            encoder: EntryEncoder::new(format.clone()),
            decoder: EntryDecoder::new(format.clone()),
        }
    }

    /// Checks that `entry` is coded as `hex`, and answers what the decoder makes of that.
    fn code(&mut self, entry: &Entry, hex: &str) -> Entry {
        let mut out = Vec::new();
        self.encoder.encode(entry, &mut out);
        assert_eq!(
            show(&out),
            show(&bytes(hex)),
            "{}",
            entry.name.escape_ascii()
        );
        self.decode(&out)
    }

    /// The same for an entry whose decoded form is the entry itself.
    fn round_trip(&mut self, entry: &Entry, hex: &str) {
        assert_eq!(self.code(entry, hex), *entry);
    }

    /// Codes an entry that only prepares the state.
    fn prepare(&mut self, entry: &Entry) -> Entry {
        let mut out = Vec::new();
        self.encoder.encode(entry, &mut out);
        self.decode(&out)
    }

    fn decode(&mut self, encoded: &[u8]) -> Entry {
        for cut in 0..encoded.len() {
            let mut cursor = Cursor::new(&encoded[..cut]);
            assert_eq!(
                self.decoder.decode(&mut cursor),
                Err(Stop::Incomplete),
                "cut at {cut}"
            );
            assert_eq!(cursor.position(), 0);
        }
        let mut cursor = Cursor::new(encoded);
        let decoded = self.decoder.decode(&mut cursor);
        assert_eq!(cursor.rest(), b"");
        match decoded {
            Ok(Decoded::Entry(entry)) => entry,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, io_errors: IoErrors, hex: &str) {
        let mut out = Vec::new();
        self.encoder.end(io_errors, &mut out);
        assert_eq!(show(&out), show(&bytes(hex)));
        let decoded = self.decoder.decode(&mut Cursor::new(&out));
        assert_eq!(decoded, Ok(Decoded::End { io_errors }));
        assert_eq!(self.encoder.list_start(), self.decoder.list_start());
    }
}

/// Bytes of a text of hexadecimal numbers and "quoted" strings; spaces separate.
fn bytes(text: &str) -> Vec<u8> {
    let parts = text.split('"').enumerate();
    let part = |(at, part): (usize, &str)| match at % 2 {
        1 => part.as_bytes().to_vec(),
        _ => {
            let digits: Vec<u8> = part
                .bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            let number =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            digits.chunks(2).map(number).collect()
        }
    };
    parts.flat_map(part).collect()
}

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

fn protocol(number: u8) -> Protocol {
    Protocol::new(number).unwrap()
}

/// `-a`, with varint flags as far as the protocol has them, and without names.
fn archive(number: u8) -> EntryFormat {
    EntryFormat {
        varint_flags: number >= 31,
        owner: true,
        group: true,
        numeric_ids: true,
        links: true,
        devices: true,
        specials: true,
        recursive: true,
        ..EntryFormat::minimal(protocol(number))
    }
}

fn name(text: &str) -> Option<IdName> {
    Some(text.as_bytes().into())
}

/// "." with times that no other example shares.
fn root() -> Entry {
    Entry {
        name: b".".to_vec(),
        mode: 0o40755,
        size: 4096,
        mtime: 1_795_349_874,
        top_dir: true,
        ..Entry::default()
    }
}

const MTIME: i64 = 1_795_349_873;

/// 3.12: `-aHAXc` with names, incremental.
#[test]
fn a_full_session_of_protocol_32() {
    let format = EntryFormat {
        incremental: true,
        numeric_ids: false,
        hard_links: true,
        checksum_length: 16,
        acls: true,
        xattrs: true,
        ..archive(32)
    };
    let mut session = Session::new(&format);
    let no_xattrs = XattrItem {
        number: 0,
        attributes: Arc::from([]),
    };
    let first = Entry {
        mtime_nsec: 125_600_285,
        user_name: name("root"),
        group_name: name("root"),
        acl: Some(Arc::default()),
        default_acl: Some(Arc::default()),
        xattrs: Some(no_xattrs.clone()),
        ..root()
    };
    session.round_trip(
        &first,
        "ac 01  01 \".\"  00 00 10  6b 72 dd 02  e7 1d 82 7c  ed 41 00 00
         00 04 \"root\"  00 04 \"root\"  00 00  00 00  00 00",
    );

    let user = |id, access| NamedAccess {
        kind: Named::User,
        id,
        access,
        name: None,
    };
    let group = NamedAccess {
        kind: Named::Group,
        id: 2,
        access: 4,
        name: name("bin"),
    };
    let acl = Acl {
        group_obj: Some(4),
        named: vec![user(1, 7), user(12345, 4), group],
        ..Acl::default()
    };
    let digest = bytes("9f0ae0380ed27dbf6b852843d2eece1f")
        .try_into()
        .unwrap();
    let attributes = [
        Xattr {
            name: b"user.long".to_vec(),
            value: XattrValue::Abbreviated { length: 40, digest },
        },
        Xattr {
            name: b"user.short".to_vec(),
            value: XattrValue::Whole(b"short value".to_vec()),
        },
    ];
    let file = Entry {
        name: b"a.txt".to_vec(),
        mode: 0o100_674,
        size: 12,
        mtime: 981_173_106,
        mtime_nsec: 123_456_789,
        uid: 12345,
        gid: 54321,
        checksum: bytes("254448a533e7b23613cd0071d8c9faee"),
        acl: Some(Arc::new(acl.clone())),
        xattrs: Some(XattrItem {
            number: 1,
            attributes: attributes.into(),
        }),
        ..Entry::default()
    };
    let decoded = session.code(
        &file,
        "a0 00  05 \"a.txt\"  00 0c 00  3a 72 83 7b  e7 15 cd 5b  bc 81 00 00  b0 39  c0 31 d4
         254448a533e7b23613cd0071d8c9faee
         00 12 04 03  01 1e  b0 39 12  02 11 03 \"bin\"
         00 02  0a 28 \"user.long\" 00 9f0ae0380ed27dbf6b852843d2eece1f  0b 0b \"user.short\" 00 \"short value\"",
    );
    // The mask was left out, being the mode's group bits.
    let completed = Acl {
        mask: Some(7),
        ..acl
    };
    assert_eq!(
        decoded,
        Entry {
            acl: Some(Arc::new(completed)),
            ..file.clone()
        }
    );

    // 3.9: the first name of a file and, in the same list, the second. Both numbers of their items are known.
    let linked = Entry {
        name: b"bfile_h".to_vec(),
        mode: 0o100_644,
        size: 5000,
        mtime: MTIME,
        mtime_nsec: 498_187_953,
        uid: 12345,
        gid: 54321,
        hard_link: Some(HardLink::Inode {
            device: 7,
            inode: 42,
        }),
        checksum: vec![0xab; 16],
        acl: first.acl.clone(),
        xattrs: first.xattrs.clone(),
        ..Entry::default()
    };
    let full = session.code(
        &linked,
        "b2 18 07 \"bfile_h\" 00 88 13 6b 71 dd 02 f0 b1 be b1 1d a4 81 00 00 abababababababababababababababab 01 01",
    );
    assert_eq!(full.hard_link, Some(HardLink::Group(3)));
    let second = Entry {
        name: b"bfile".to_vec(),
        ..linked.clone()
    };
    let abbreviated = session.code(&second, "a2 ba 05 00 03 01 01");
    assert_eq!(
        abbreviated,
        Entry {
            name: b"bfile".to_vec(),
            ..full.clone()
        }
    );

    // In a later list all of it is sent again.
    session.end(IoErrors::empty(), "00 00");
    let third = Entry {
        name: b"dir/hard2".to_vec(),
        ..linked
    };
    let full_again = session.code(
        &third,
        "a2 9a 09 \"dir/hard2\" 03 00 88 13 f0 b1 be b1 1d abababababababababababababababab 01 01",
    );
    assert_eq!(
        full_again,
        Entry {
            name: b"dir/hard2".to_vec(),
            ..full
        }
    );
    session.end(IoErrors::VANISHED, "00 02");
}

/// 3.8: a symlink with several names, and a known xattr item.
#[test]
fn a_symlink_with_several_names_and_a_known_attribute_item() {
    let format = EntryFormat {
        hard_links: true,
        xattrs: true,
        acls: true,
        incremental: true,
        ..archive(32)
    };
    let mut session = Session::new(&format);
    session.prepare(&Entry {
        mtime: MTIME,
        ..root()
    });
    let link = Entry {
        name: b"link1".to_vec(),
        mode: 0o120_777,
        size: 5,
        mtime: MTIME,
        mtime_nsec: 501_600_309,
        target: b"a.txt".to_vec(),
        hard_link: Some(HardLink::Inode {
            device: 1,
            inode: 2,
        }),
        xattrs: Some(XattrItem {
            number: 0,
            attributes: Arc::from([]),
        }),
        ..Entry::default()
    };
    let decoded = session.code(
        &link,
        "b2 98 05 6c696e6b31 00 05 00 f0 35 d0 e5 1d ff a1 00 00 05 612e747874 01",
    );
    assert_eq!(
        decoded,
        Entry {
            hard_link: Some(HardLink::Group(2)),
            ..link
        }
    );
}

/// 3.7: devices and special files in each era.
#[test]
fn devices_and_special_files_in_each_era() {
    let device = Entry {
        name: b"cdev".to_vec(),
        mode: 0o20644,
        mtime: MTIME,
        rdev: Rdev {
            major: 5,
            minor: 300,
        },
        ..Entry::default()
    };
    let fifo = Entry {
        name: b"fifo".to_vec(),
        mode: 0o10644,
        mtime: MTIME,
        ..Entry::default()
    };

    let mut session = Session::new(&archive(32));
    session.prepare(&root());
    let with_nsec = Entry {
        mtime_nsec: 525_600_308,
        ..device.clone()
    };
    session.round_trip(
        &with_nsec,
        "a0 18  04 63646576  00 00 00  6b 71 dd 02  f0 34 06 54 1f  a4 21 00 00  05  81 2c",
    );
    session.round_trip(&fifo, "80 98  04 \"fifo\"  00 00 00  a4 11 00 00");

    let mut session = Session::new(&archive(29));
    session.prepare(&root());
    session.round_trip(
        &device,
        "18  04 63646576  00000000  71 dd 02 6b  a4 21 00 00  05 00 00 00  2c 01 00 00",
    );
    let received = session.code(&fifo, "9c 09  04 6669666f  00000000  a4 11 00 00  00");
    assert_eq!(received.rdev, Rdev { major: 5, minor: 0 });

    let mut session = Session::new(&archive(30));
    session.prepare(&root());
    session.round_trip(
        &device,
        "18  04 \"cdev\"  00 00 00  6b 71 dd 02  a4 21 00 00  05  81 2c",
    );
    session.code(&fifo, "9c 01  04 \"fifo\"  00 00 00  a4 11 00 00  00");

    let mut session = Session::new(&archive(27));
    session.prepare(&root());
    session.round_trip(
        &device,
        "18  04 \"cdev\"  00000000  71 dd 02 6b  a4 21 00 00  2c 05 10 00",
    );
    session.code(&fifo, "9c  04 \"fifo\"  00000000  a4 11 00 00");
    let again = Entry {
        name: b"x".to_vec(),
        ..device
    };
    session.round_trip(&again, "9c  01 \"x\"  00000000  a4 21 00 00");
}

/// 3.10: device and inode; the device was sent before.
#[test]
fn hard_links_by_inode() {
    let format = EntryFormat {
        hard_links: true,
        checksum_length: 16,
        ..archive(29)
    };
    let mut session = Session::new(&format);
    session.prepare(&root());
    let linked = Entry {
        name: b"b".to_vec(),
        mode: 0o100_644,
        size: 5000,
        mtime: MTIME,
        uid: 1,
        gid: 1,
        hard_link: Some(HardLink::Inode {
            device: 0x801,
            inode: 7,
        }),
        checksum: vec![0xcd; 16],
        ..Entry::default()
    };
    let one = session.prepare(&linked);
    assert_eq!(one.hard_link, Some(HardLink::Group(0)));
    session.prepare(&root());
    let other = Entry {
        name: b"bfile_h".to_vec(),
        uid: 0,
        gid: 0,
        hard_link: Some(HardLink::Inode {
            device: 0x801,
            inode: 0x0099_e464,
        }),
        ..linked.clone()
    };
    let decoded = session.code(
        &other,
        "1c 06 07 \"bfile_h\" 88130000 71dd026b a4810000 64e49900 cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
    );
    assert_eq!(decoded.hard_link, Some(HardLink::Group(1)));
    let again = Entry {
        name: b"c".to_vec(),
        ..linked
    };
    assert_eq!(session.prepare(&again).hard_link, Some(HardLink::Group(0)));
}

/// Protocol 27: every regular file has an inode, and every entry a checksum.
#[test]
fn protocol_27_sends_fields_unasked() {
    let format = EntryFormat {
        hard_links: true,
        checksum_length: 2,
        ..archive(27)
    };
    let mut session = Session::new(&format);
    session.round_trip(
        &root(),
        "01  01 \".\"  00100000  72dd026b  ed410000  00000000 00000000  0000",
    );
    let file = Entry {
        name: b"f".to_vec(),
        checksum: vec![1, 2],
        mode: 0o100_644,
        ..Entry::default()
    };
    let received = session.code(
        &file,
        "18  01 \"f\"  00000000  00000000  a4810000  ffffffff ffffffffffffff7f 01000000  0102",
    );
    assert_eq!(received.hard_link, Some(HardLink::Group(0)));
}

/// 4.6: a missing argument, under `--delete-missing-args`.
#[test]
fn a_missing_argument() {
    let format = EntryFormat {
        numeric_ids: false,
        incremental: true,
        missing_args: true,
        ..archive(32)
    };
    let missing = Entry {
        name: b"nosuch".to_vec(),
        user_name: name("root"),
        group_name: name("root"),
        ..Entry::default()
    };
    let hex = "8c 82 06 \"nosuch\" 00 00 00 00 04 \"root\" 00 04 \"root\"";
    Session::new(&format).round_trip(&missing, hex);
    let strict = EntryFormat {
        missing_args: false,
        ..format
    };
    let refused = EntryDecoder::new(strict).decode(&mut Cursor::new(&bytes(hex)));
    assert_eq!(
        refused,
        Err(Malformed::FileMode {
            mode: 0,
            name: b"nosuch".to_vec()
        }
        .into())
    );
}

/// 2.1: the end of a list, and who may report errors there.
#[test]
fn ends_of_lists() {
    Session::new(&archive(32)).end(IoErrors::GENERAL, "00 01");
    let two_bytes = EntryFormat {
        varint_flags: false,
        ..archive(32)
    };
    Session::new(&two_bytes).end(IoErrors::empty(), "00");
    Session::new(&two_bytes).end(IoErrors::GENERAL, "04 10 01");
    let mut out = Vec::new();
    EntryEncoder::new(archive(29)).end(IoErrors::GENERAL, &mut out);
    assert_eq!(out, b"\0");
    let refused = EntryDecoder::new(archive(30)).decode(&mut Cursor::new(b"\x04\x10\x01"));
    assert_eq!(refused, Err(Malformed::ListEnd { flags: 0x1004 }.into()));
}

/// 3.1: a flag word of 0 would end the list.
#[test]
fn flag_words_are_never_zero() {
    let plain = |number| EntryFormat {
        varint_flags: number >= 31,
        ..EntryFormat::minimal(protocol(number))
    };
    let mut entry = Entry {
        name: b"f".to_vec(),
        mode: 0o100_644,
        mtime: 1,
        ..Entry::default()
    };
    // With --owner and --group the first entry repeats nothing.
    let explicit = |number| EntryFormat {
        owner: true,
        group: true,
        ..plain(number)
    };
    Session::new(&explicit(32)).round_trip(
        &entry,
        "04  01 \"f\"  00 00 00  00 01 00 00  a4 81 00 00  00 00",
    );
    Session::new(&explicit(30)).round_trip(
        &entry,
        "01  01 \"f\"  00 00 00  00 01 00 00  a4 81 00 00  00 00",
    );
    Session::new(&explicit(27)).round_trip(
        &entry,
        "01  01 \"f\"  00000000  01000000  a4810000  00000000 00000000",
    );
    entry.mode = 0o40755;
    Session::new(&explicit(30)).round_trip(
        &entry,
        "04 00  01 \"f\"  00 00 00  00 01 00 00  ed 41 00 00  00 00",
    );
    let at_27 = Session::new(&explicit(27)).code(
        &entry,
        "40  01000000 \"f\"  00000000  01000000  ed410000  00000000 00000000",
    );
    assert!(at_27.no_content, "outside every top directory");
}

/// Names longer than a byte's worth, and names that are a prefix of the previous one.
#[test]
fn long_names_and_prefixes() {
    let format = EntryFormat {
        varint_flags: true,
        ..EntryFormat::minimal(protocol(32))
    };
    let mut session = Session::new(&format);
    let entry = |name: &str| Entry {
        name: name.into(),
        mode: 0o100_644,
        ..Entry::default()
    };
    let long = "n".repeat(600);
    let tail = "6e".repeat(600);
    session.round_trip(
        &entry(&long),
        &format!("80 d8  82 58 {tail}  00 00 00  a4 81 00 00"),
    );
    let tail = "6e".repeat(345);
    session.round_trip(
        &entry(&format!("{long}x")),
        &format!("80 fa  ff  81 5a {tail} 78  00 00 00"),
    );
    session.round_trip(&entry("nnn"), "80 ba  03  00  00 00 00");
}

/// 3.2: protocols below 30 do not say which directories have content.
#[test]
fn content_is_inferred_below_protocol_30() {
    let dir = |name: &str, top_dir| Entry {
        name: name.into(),
        mode: 0o40755,
        top_dir,
        ..Entry::default()
    };
    let format = EntryFormat {
        relative: true,
        ..archive(29)
    };
    let mut session = Session::new(&format);
    let implied = Entry {
        no_content: true,
        ..dir("a", true)
    };
    let decoded = session.prepare(&implied);
    assert!(
        decoded.no_content && !decoded.top_dir,
        "implied directories are sent as plain ones"
    );
    assert!(!session.prepare(&dir("a/top", true)).no_content);
    assert!(!session.prepare(&dir("a/top/sub", false)).no_content);
    assert!(
        session.prepare(&dir("a/topping", false)).no_content,
        "the hierarchy was left"
    );
    assert!(session.prepare(&dir("a/top/late", false)).no_content);
    assert!(!session.prepare(&dir(".", true)).no_content);
    assert!(!session.prepare(&dir("x", false)).no_content);
}

/// An abbreviated entry repeats its first name's fields even if the file has changed in between.
#[test]
fn a_changed_hard_link_does_not_split_the_state() {
    let format = EntryFormat {
        hard_links: true,
        ..archive(32)
    };
    let mut session = Session::new(&format);
    let linked = |name: &str, mode, mtime, size| Entry {
        name: name.into(),
        mode,
        mtime,
        size,
        hard_link: Some(HardLink::Inode {
            device: 1,
            inode: 1,
        }),
        ..Entry::default()
    };
    let first = session.prepare(&linked("a", 0o100_644, 10, 100));
    let second = session.prepare(&linked("b", 0o100_600, 20, 200));
    assert_eq!(
        second,
        Entry {
            name: b"b".to_vec(),
            ..first
        }
    );
    let follows = Entry {
        name: b"c".to_vec(),
        mode: 0o100_600,
        mtime: 20,
        ..Entry::default()
    };
    assert_eq!(session.prepare(&follows), follows);
}

#[test]
fn hostile_entries_are_refused() {
    let format = EntryFormat {
        hard_links: true,
        ..archive(32)
    };
    let refused = |hex: &str| {
        let mut decoder = EntryDecoder::new(format.clone());
        match decoder.decode(&mut Cursor::new(&bytes(hex))) {
            Err(Stop::Malformed(malformed)) => (malformed.exit_code(), malformed.to_string()),
            other => panic!("{hex}: {other:?}"),
        }
    };
    // Flags 0x1a: mode, uid and gid as before.
    let tail = "00 00 00  00 00 00 00  a4 81 00 00";
    assert_eq!(refused(&format!("18 02 \"..\" {tail}")).0, 4);
    assert_eq!(refused(&format!("18 02 \"/a\" {tail}")).0, 4);
    assert_eq!(refused(&format!("18 00 {tail}")).0, 4);
    assert_eq!(
        refused(&format!("18 01 \".\" {tail}")).1,
        "ERROR: rejecting non-directory transfer-root entry: ."
    );
    assert_eq!(
        refused("38 01 01").1,
        "overflow: xflags=0x38 l1=1 l2=1 lastname="
    );
    assert_eq!(refused("58 90 00").0, 22);
    assert_eq!(refused("58 f0 ff ff ff ff").0, 22);
    assert_eq!(
        refused("18 01 \"a\" fc ff ff ff ff ff ff ff ff").1,
        "Offset underflow: file-length is negative"
    );
    assert_eq!(
        refused("18 01 \"a\" 00 00 00 00 00 00 00 00 00 00 00").1,
        "invalid file mode 00 for a"
    );
    assert_eq!(refused("18 01 \"a\" 00 00 00 00 00 00 00 a4 81 01 00").0, 2);
    assert_eq!(
        refused("a0 18 01 \"a\" 00 00 00 00 00 00 00 f0 00 ca 9a 3b").1,
        "wire value modtime nsec out of range: 1000000000"
    );
    assert_eq!(
        refused("18 01 \"a\" 00 00 00 00 00 00 00 ff a1 00 00 90 00").1,
        "overflow: linkname_len=4096"
    );
    assert_eq!(
        refused("82 18 01 \"a\" 00").1,
        "hard-link reference out of range: 0 (0)"
    );
}

/// A reference must be to the first name of a file, in this list or an earlier one.
#[test]
fn hard_link_references_are_checked() {
    let format = EntryFormat {
        hard_links: true,
        ..archive(32)
    };
    let mut session = Session::new(&format);
    session.prepare(&Entry {
        name: b"f".to_vec(),
        mode: 0o100_644,
        ..Entry::default()
    });
    let reference = bytes("82 18 01 \"a\" 00");
    let refused = session.decoder.decode(&mut Cursor::new(&reference));
    assert_eq!(refused, Err(Malformed::LinkUndeclared { number: 0 }.into()));
    session.end(IoErrors::empty(), "00 00");
    let refused = session.decoder.decode(&mut Cursor::new(&reference));
    assert_eq!(
        refused,
        Err(Malformed::LinkPrecedesList {
            number: 0,
            list_start: 2
        }
        .into())
    );
}
