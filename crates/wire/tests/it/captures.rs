//! Data streams of sending rsync 3.5.0 servers, one file in `../data/` for each: everything after the seed,
//! without frames. The lists are those of dry runs; the `data-` streams bring a `delta` file up to date.

use driftless_wire::{
    Acl, Compression, Cursor, Decoded, Entry, EntryDecoder, EntryEncoder, EntryFormat, IdListItem,
    IoErrors, Item, ItemFormat, Ndx, NdxReader, PlainEncoder, Protocol, SortOrder, SumHead, Token,
    TokenDecoder, TokenEncoder, check_blocks,
};
use md4::Md4;
use md5::{Digest, Md5};

fn protocol(number: u8) -> Protocol {
    Protocol::new(number).unwrap()
}

/// `-a`, as a 3.5.0 peer has it.
fn archive(number: u8) -> EntryFormat {
    let modern = number >= 30;
    EntryFormat {
        varint_flags: modern,
        safe_list_end: modern,
        id0_names: modern,
        owner: true,
        group: true,
        links: true,
        devices: true,
        specials: true,
        recursive: true,
        ..EntryFormat::minimal(protocol(number))
    }
}

/// `-aHAX` where the protocol has it, else `-aH`.
fn everything(number: u8) -> EntryFormat {
    EntryFormat {
        hard_links: true,
        acls: number >= 30,
        xattrs: number >= 30,
        ..archive(number)
    }
}

/// Reads lists with both codecs at once.
struct Lists {
    format: EntryFormat,
    decoder: EntryDecoder,
    encoder: EntryEncoder,
    entries: Vec<Entry>,
}

impl Lists {
    fn new(format: EntryFormat) -> Self {
        let (decoder, encoder) = (
            EntryDecoder::new(format.clone()),
            EntryEncoder::new(format.clone()),
        );
        Self {
            format,
            decoder,
            encoder,
            entries: Vec::new(),
        }
    }

    /// Reads one list to its end. Written again, it is the same bytes.
    fn read(&mut self, cursor: &mut Cursor<'_>) {
        loop {
            let before = cursor.rest();
            let decoded = self.decoder.decode(cursor).unwrap();
            let received = &before[..before.len() - cursor.rest().len()];
            let mut sent = Vec::new();
            match decoded {
                Decoded::End { io_errors } => {
                    assert_eq!(io_errors, IoErrors::empty());
                    self.encoder.end(io_errors, &mut sent);
                    assert_eq!(sent, received);
                    return;
                }
                Decoded::Entry(entry) => {
                    let stripped = entry
                        .acl
                        .as_ref()
                        .map(|acl| Acl::clone(acl).stripped(entry.mode).into());
                    let again = Entry {
                        acl: stripped,
                        ..entry.clone()
                    };
                    self.encoder.encode(&again, &mut sent);
                    // The inode numbers of the capture are not kept.
                    if self.format.protocol.links_by_index() || !self.format.hard_links {
                        assert_eq!(sent, received, "{}", entry.name.escape_ascii());
                    }
                    self.entries.push(entry);
                }
            }
        }
    }

    /// Reads what follows a list that is not incremental.
    fn read_tail(&self, cursor: &mut Cursor<'_>) -> Vec<IdListItem> {
        let (format, users, groups) = self.format.id_lists();
        let mut items = Vec::new();
        for _ in 0..usize::from(users) + usize::from(groups) {
            while !matches!(items.last(), Some(IdListItem::End { .. })) {
                items.push(format.decode(cursor).unwrap());
            }
            items.push(IdListItem::Name {
                id: 0,
                name: [].into(),
            });
        }
        if self.format.protocol.ends_list_with_errors() {
            assert_eq!(cursor.int(), Ok(0));
        }
        items
    }

    /// Reads all lists of an incremental session; the items between them are echoes of a dry run.
    fn read_incremental(&mut self, cursor: &mut Cursor<'_>) {
        let mut numbers = NdxReader::new(self.format.protocol);
        let items = ItemFormat {
            protocol: self.format.protocol,
            xattrs: self.format.xattrs,
            dry_run: true,
            xattr_optimization: false,
        };
        self.read(cursor);
        loop {
            match numbers.read(cursor).unwrap() {
                Ndx::Dir(_) => self.read(cursor),
                Ndx::File(_) => _ = items.decode(cursor).unwrap(),
                Ndx::FlistEof => return,
                other => panic!("{other:?} before the last list"),
            }
        }
    }

    fn find(&self, name: &str) -> &Entry {
        self.entries
            .iter()
            .find(|entry| entry.name == name.as_bytes())
            .unwrap()
    }

    /// Facts of the tree that all captures of it share.
    fn check_tree(&self) {
        assert_eq!(self.find("bfile").hard_link, self.find("bfile_h").hard_link);
        assert_eq!(
            self.find("dir/hard2").hard_link,
            self.find("bfile").hard_link
        );
        assert_eq!(self.find("bfile").size, 5000);
        assert_eq!(
            (self.find("cdev").rdev.major, self.find("cdev").rdev.minor),
            (5, 300)
        );
        assert_eq!(
            (self.find("cdev2").rdev.major, self.find("cdev2").rdev.minor),
            (5, 1)
        );
        assert_eq!(
            (self.find("bdev").rdev.major, self.find("bdev").rdev.minor),
            (8, 1)
        );
        assert_eq!(self.find("link1").target, b"a.txt");
        assert_eq!(self.find("dir/longlink").target.len(), 213);
        assert_eq!(
            (self.find("dir/sub/f1").uid, self.find("dir/sub/f1").gid),
            (12345, 54321)
        );
        assert_eq!(
            (self.find("dir/sub/f2").uid, self.find("dir/sub/f2").gid),
            (3_000_000_000, 3_000_000_001)
        );
        assert!(self.find(".").is_dir() && self.find(".").top_dir);
        assert!(self.entries.iter().all(|entry| !entry.no_content));
        let long = "n".repeat(200);
        assert_eq!(self.find(&format!("{long}/{long}x")).size, 2);
        let expected = if self.entries.iter().any(|entry| entry.name == b"huge") {
            31
        } else {
            30
        };
        assert_eq!(self.entries.len(), expected);
        if self.format.protocol.has_wide_times() {
            assert_eq!(self.find("old").mtime, -315_619_200);
        }
        if self.format.acls {
            let acl = self.find("a.txt").acl.as_ref().unwrap();
            let granted: Vec<(u32, u8)> = acl
                .named
                .iter()
                .map(|named| (named.id, named.access))
                .collect();
            assert_eq!(granted, [(1, 7), (12345, 4), (2, 4)]);
            assert_eq!(self.find("dir").default_acl.as_ref().unwrap().mask, Some(7));
            let xattrs = self.find("a.txt").xattrs.as_ref().unwrap();
            assert_eq!(xattrs.attributes.len(), 2);
            assert_eq!(self.find("dir/sub/f1").xattrs.as_ref(), Some(xattrs));
        }
        if self.format.checksum_length > 0 {
            assert_eq!(
                self.find("a.txt").checksum.len(),
                self.format.checksum_length
            );
        }
    }
}

#[test]
fn incremental_lists_are_understood() {
    for (number, capture) in [
        (32, include_bytes!("../data/list-32-inc.bin").as_slice()),
        (30, include_bytes!("../data/list-30-inc.bin")),
    ] {
        let mut lists = Lists::new(EntryFormat {
            incremental: true,
            ..everything(number)
        });
        lists.read_incremental(&mut Cursor::new(capture));
        lists.check_tree();
        assert_eq!(lists.find("huge").size, 5 << 30);
    }
}

#[test]
fn single_lists_are_understood() {
    let sums = |format| EntryFormat {
        checksum_length: 16,
        ..format
    };
    for (format, capture) in [
        (
            sums(everything(32)),
            include_bytes!("../data/list-32.bin").as_slice(),
        ),
        (
            EntryFormat {
                atimes: true,
                ..everything(31)
            },
            include_bytes!("../data/list-31.bin"),
        ),
        (sums(everything(29)), include_bytes!("../data/list-29.bin")),
        (everything(28), include_bytes!("../data/list-28.bin")),
        (sums(everything(27)), include_bytes!("../data/list-27.bin")),
    ] {
        let mut lists = Lists::new(format);
        let mut cursor = Cursor::new(capture);
        lists.read(&mut cursor);
        lists.check_tree();
        let names = lists.read_tail(&mut cursor);
        let daemon = IdListItem::Name {
            id: 1,
            name: b"daemon".as_slice().into(),
        };
        assert!(names.contains(&daemon), "{names:?}");
    }
}

#[test]
fn a_list_with_implied_directories() {
    let format = EntryFormat {
        relative: true,
        incremental: false,
        numeric_ids: true,
        recursive: false,
        ..archive(32)
    };
    let mut lists = Lists::new(EntryFormat {
        incremental: true,
        ..format
    });
    lists.read_incremental(&mut Cursor::new(include_bytes!(
        "../data/list-32-relative.bin"
    )));
    for name in ["src", "src/dir"] {
        let entry = lists.find(name);
        assert!(entry.is_dir() && entry.top_dir && entry.no_content);
    }
    assert!(!lists.find("src/dir/sub").no_content);
}

/// The basis of `delta`.
fn basis() -> Vec<u8> {
    let mut word = 7_u32;
    let mut next = || {
        word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (word >> 24) as u8 & 0x3f
    };
    (0..400_000).map(|_| next()).collect()
}

/// What one answer made of its basis.
struct Answer {
    data: Vec<u8>,
    blocks: u32,
    /// The same tokens from our plain encoder.
    encoded: Vec<u8>,
}

fn read_answer(
    decoder: &mut TokenDecoder,
    head: &SumHead,
    basis: &[u8],
    cursor: &mut Cursor<'_>,
) -> Answer {
    let mut answer = Answer {
        data: Vec::new(),
        blocks: 0,
        encoded: Vec::new(),
    };
    let mut encoder = TokenEncoder::Plain(PlainEncoder);
    let mut literal = Vec::new();
    loop {
        let blocks = match decoder.decode(cursor).unwrap() {
            Token::Literal(data) => {
                literal.extend_from_slice(data);
                continue;
            }
            Token::Blocks { first, count } => {
                check_blocks(first, count, head.count).unwrap();
                first..first + count
            }
            Token::End => 0..0,
        };
        let at_end = blocks.is_empty();
        encoder.literal(&literal, &mut answer.encoded);
        answer.data.append(&mut literal);
        for index in blocks {
            let (offset, length) = head.block(index).unwrap();
            let data = &basis[offset as usize..][..length as usize];
            decoder.see_matched(data).unwrap();
            encoder.matched(index, data, &mut answer.encoded);
            answer.data.extend_from_slice(data);
            answer.blocks += 1;
        }
        if at_end {
            encoder.end_file(&mut answer.encoded);
            return answer;
        }
    }
}

fn check_data(capture: &[u8], number: u8, seed: u32, compression: Compression) {
    let format = EntryFormat {
        owner: false,
        group: false,
        links: false,
        devices: false,
        specials: false,
        ..archive(number)
    };
    let mut cursor = Cursor::new(capture);
    let mut lists = Lists::new(format);
    lists.read(&mut cursor);
    lists.read_tail(&mut cursor);
    let order = SortOrder::of(protocol(number));
    lists
        .entries
        .sort_by(|a, b| order.compare(&a.name, a.is_dir(), &b.name, b.is_dir()));

    let items = ItemFormat {
        protocol: protocol(number),
        xattrs: false,
        dry_run: false,
        xattr_optimization: false,
    };
    let mut numbers = NdxReader::new(protocol(number));
    let mut decoder = TokenDecoder::new(compression, protocol(number));
    let basis = basis();
    let mut transferred = Vec::new();
    while let Ndx::File(index) = numbers.read(&mut cursor).unwrap() {
        let Item { flags, .. } = items.decode(&mut cursor).unwrap();
        if !items.has_data(flags) {
            continue;
        }
        let entry = &lists.entries[index as usize];
        let head = SumHead::decode(&mut cursor, protocol(number), 16).unwrap();
        let before = cursor.rest();
        let answer = read_answer(&mut decoder, &head, &basis, &mut cursor);
        if compression == Compression::None {
            assert_eq!(answer.encoded, before[..before.len() - cursor.rest().len()]);
        }
        let sum: [u8; 16] = match number {
            30.. => Md5::digest(&answer.data).into(),
            _ => Md4::new()
                .chain_update(seed.to_le_bytes())
                .chain_update(&answer.data)
                .finalize()
                .into(),
        };
        assert_eq!(cursor.array(), Ok(sum), "{}", entry.name.escape_ascii());
        assert_eq!(answer.data.len() as i64, entry.size);
        assert_eq!(answer.blocks > 0, head.count > 0);
        transferred.push(entry.name.clone());
    }
    assert_eq!(transferred, [b"delta".as_slice(), b"empty", b"new"]);
}

#[test]
fn plain_data_is_understood() {
    check_data(
        include_bytes!("../data/data-32-plain.bin"),
        32,
        0,
        Compression::None,
    );
    check_data(
        include_bytes!("../data/data-29-plain.bin"),
        29,
        0x6b08_e26b,
        Compression::None,
    );
}

#[test]
fn zlib_data_is_understood() {
    check_data(
        include_bytes!("../data/data-32-zlib.bin"),
        32,
        0,
        Compression::Zlib,
    );
    check_data(
        include_bytes!("../data/data-29-zlib.bin"),
        29,
        0x6b0f_46ae,
        Compression::Zlib,
    );
    check_data(
        include_bytes!("../data/data-32-zlibx.bin"),
        32,
        0,
        Compression::Zlibx,
    );
}

/// Blocks of 128 KiB below protocol 31: the pieces of their history repeat the block's start.
#[test]
fn zlib_data_with_the_old_history() {
    check_data(
        include_bytes!("../data/data-30-zlib-big.bin"),
        30,
        0,
        Compression::Zlib,
    );
}

/// The same bytes show that the repetition matters: with the history of later protocols, the data is another.
#[test]
#[should_panic(expected = "delta")]
fn zlib_data_with_the_wrong_history() {
    check_data(
        include_bytes!("../data/data-30-zlib-big.bin"),
        31,
        0,
        Compression::Zlib,
    );
}

#[test]
fn zstd_and_lz4_data_is_understood() {
    check_data(
        include_bytes!("../data/data-32-zstd.bin"),
        32,
        0,
        Compression::Zstd,
    );
    check_data(
        include_bytes!("../data/data-32-lz4.bin"),
        32,
        0,
        Compression::Lz4,
    );
}
