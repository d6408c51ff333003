//! Token streams: a file as literal data and references to blocks of its basis (wire-files.md
//! section 13), plain or compressed by one of four methods.
//!
//! A stream is coded between the sum head and the file's checksum. Whether and how it is compressed is a
//! constant of the session; one encoder (or decoder) serves all files of its direction in turn.

mod lz4;
mod plain;
mod record;
mod zlib;
mod zstd;

pub use lz4::{Lz4Decoder, Lz4Encoder};
pub use plain::{PlainDecoder, PlainEncoder};
pub use zlib::{ZlibDecoder, ZlibEncoder};
pub use zstd::{ZstdDecoder, ZstdEncoder};

use crate::{Compression, Cursor, Malformed, Protocol, Stop};

/// Most literal bytes that a plain token announces; rsync sends no more, and takes any number.
pub const PLAIN_LITERAL_MAX: usize = 32768;

/// An element of a file's token stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'t> {
    /// The next bytes of the file, at least one.
    Literal(&'t [u8]),
    /// Consecutive blocks of the basis. Neither number has been compared with the basis:
    /// [`check_blocks`] does.
    Blocks {
        /// Index of the first block.
        first: u32,
        /// How many, at least 1.
        count: u32,
    },
    /// The file is complete; its checksum follows.
    End,
}

/// The sender's half.
#[derive(Debug)]
pub enum TokenEncoder {
    /// No compression.
    Plain(PlainEncoder),
    /// zlib and zlibx.
    Zlib(ZlibEncoder),
    /// Zstandard.
    Zstd(ZstdEncoder),
    /// LZ4.
    Lz4(Lz4Encoder),
}

/// The receiver's half.
#[derive(Debug)]
pub enum TokenDecoder {
    /// No compression.
    Plain(PlainDecoder),
    /// zlib and zlibx.
    Zlib(ZlibDecoder),
    /// Zstandard.
    Zstd(ZstdDecoder),
    /// LZ4.
    Lz4(Lz4Decoder),
}

impl TokenEncoder {
    /// An encoder for the first file of a session. `level` is the method's own scale; out of range it is
    /// clipped (13.6). A zlib level of 0 stores; where the *session's* level is 0, both sides must take
    /// [`Compression::None`] instead.
    #[must_use]
    pub fn new(compression: Compression, level: Option<i32>, protocol: Protocol) -> Self {
        match compression {
            Compression::None => Self::Plain(PlainEncoder),
            Compression::Zlib => Self::Zlib(ZlibEncoder::new(level, Some(protocol))),
            Compression::Zlibx => Self::Zlib(ZlibEncoder::new(level, None)),
            Compression::Zstd => Self::Zstd(ZstdEncoder::new(level)),
            Compression::Lz4 => Self::Lz4(Lz4Encoder::default()),
        }
    }

    /// Lets up to so many threads compress long literal data, if the method can.
    #[must_use]
    pub fn with_threads(mut self, threads: u32) -> Self {
        if let Self::Zstd(encoder) = &mut self {
            encoder.set_threads(threads);
        }
        self
    }

    /// Tells that literal data of this length is about to come, all of it before the next block or the end of the file.
    pub fn expect(&mut self, length: u64, out: &mut Vec<u8>) {
        if let Self::Zstd(encoder) = self {
            encoder.expect(length, out);
        }
    }

    /// Appends literal data of any length. A compressing encoder may hold some of it back until the next
    /// block or the end of the file.
    pub fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::Plain(encoder) => encoder.literal(data, out),
            Self::Zlib(encoder) => encoder.literal(data, out),
            Self::Zstd(encoder) => encoder.literal(data, out),
            Self::Lz4(encoder) => encoder.literal(data, out),
        }
    }

    /// Whether [`TokenEncoder::matched`] reads the block's data, or may be given none.
    #[must_use]
    pub fn wants_matched_data(&self) -> bool {
        matches!(self, Self::Zlib(encoder) if encoder.wants_matched_data())
    }

    /// Appends the reference to a block, whose content is `data`.
    pub fn matched(&mut self, block: u32, data: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain(encoder) => encoder.matched(block, out),
            Self::Zlib(encoder) => encoder.matched(block, data, out),
            Self::Zstd(encoder) => encoder.matched(block, out),
            Self::Lz4(encoder) => encoder.matched(block, out),
        }
    }

    /// Ends the file. The encoder is then ready for the next one.
    pub fn end_file(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(encoder) => encoder.end_file(out),
            Self::Zlib(encoder) => encoder.end_file(out),
            Self::Zstd(encoder) => encoder.end_file(out),
            Self::Lz4(encoder) => encoder.end_file(out),
        }
    }
}

impl TokenDecoder {
    /// A decoder for the first file of a session.
    #[must_use]
    pub fn new(compression: Compression, protocol: Protocol) -> Self {
        match compression {
            Compression::None => Self::Plain(PlainDecoder::default()),
            Compression::Zlib => Self::Zlib(ZlibDecoder::new(Some(protocol))),
            Compression::Zlibx => Self::Zlib(ZlibDecoder::new(None)),
            Compression::Zstd => Self::Zstd(ZstdDecoder::default()),
            Compression::Lz4 => Self::Lz4(Lz4Decoder::default()),
        }
    }

    /// Decodes the next token. Literal data comes in pieces of at most 64 KiB when it was compressed,
    /// and of whatever the cursor holds when it was not. After [`Token::End`] the decoder is ready for the
    /// next file.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn decode<'t, 'c: 't>(&'t mut self, cursor: &mut Cursor<'c>) -> Result<Token<'t>, Stop> {
        match self {
            Self::Plain(decoder) => decoder.decode(cursor),
            Self::Zlib(decoder) => decoder.decode(cursor),
            Self::Zstd(decoder) => decoder.decode(cursor),
            Self::Lz4(decoder) => decoder.decode(cursor),
        }
    }

    /// Whether [`TokenDecoder::see_matched`] must be called for each block.
    #[must_use]
    pub fn wants_matched_data(&self) -> bool {
        matches!(self, Self::Zlib(decoder) if decoder.wants_matched_data())
    }

    /// Tells the content of one block of a [`Token::Blocks`], in order, before the next token is decoded.
    /// Literal data that follows may refer to it; also in a file whose output is discarded.
    ///
    /// # Errors
    /// [`Malformed::Compressed`] if the peer's stream cannot take it.
    pub fn see_matched(&mut self, data: &[u8]) -> Result<(), Malformed> {
        match self {
            Self::Zlib(decoder) => decoder.see_matched(data),
            Self::Plain(_) | Self::Zstd(_) | Self::Lz4(_) => Ok(()),
        }
    }
}

/// Checks a [`Token::Blocks`] against the number of blocks of the basis.
///
/// # Errors
/// [`Malformed::BlockIndex`] with the first index that does not exist.
pub fn check_blocks(first: u32, run: u32, count: u32) -> Result<(), Malformed> {
    let end = u64::from(first) + u64::from(run);
    if end <= u64::from(count) {
        return Ok(());
    }
    Err(Malformed::BlockIndex {
        index: first.max(count).into(),
        count,
    })
}

/// Size of the buffer through which a compressed stream is handed on.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METHODS: [Compression; 5] = [
        Compression::None,
        Compression::Zlib,
        Compression::Zlibx,
        Compression::Zstd,
        Compression::Lz4,
    ];

    /// What a sender does to one file.
    #[derive(Debug, Clone)]
    enum Op {
        Literal(Vec<u8>),
        Match(u32),
    }

    /// The basis that all tests share: blocks of `length` bytes that compress, and differ.
    fn block(index: u32, length: usize) -> Vec<u8> {
        (0..length as u32)
            .map(|at| (at / 7 * (index + 3) + index) as u8)
            .collect()
    }

    fn encode(encoder: &mut TokenEncoder, ops: &[Op], block_length: usize, out: &mut Vec<u8>) {
        for op in ops {
            match op {
                Op::Literal(data) => encoder.literal(data, out),
                Op::Match(index) if encoder.wants_matched_data() => {
                    encoder.matched(*index, &block(*index, block_length), out);
                }
                Op::Match(index) => encoder.matched(*index, &[], out),
            }
        }
        encoder.end_file(out);
    }

    /// Decodes a file from a buffer that grows by `step` bytes whenever the decoder wants more.
    fn decode(
        decoder: &mut TokenDecoder,
        encoded: &[u8],
        step: usize,
        block_length: usize,
    ) -> (Vec<u8>, usize) {
        let (mut file, mut at, mut end) = (Vec::new(), 0, step.min(encoded.len()));
        loop {
            let mut cursor = Cursor::new(&encoded[at..end]);
            let mut blocks = 0..0;
            match decoder.decode(&mut cursor) {
                Ok(Token::Literal(data)) => {
                    assert!(!data.is_empty() && data.len() <= PIECE.max(step));
                    file.extend_from_slice(data);
                }
                Ok(Token::Blocks { first, count }) => blocks = first..first + count,
                Ok(Token::End) => return (file, at + cursor.position()),
                Err(Stop::Incomplete) => {
                    assert!(end < encoded.len(), "the stream has no end");
                    end = (end + step).min(encoded.len());
                }
                Err(Stop::Malformed(malformed)) => panic!("{malformed}"),
            }
            at += cursor.position();
            for index in blocks {
                let data = block(index, block_length);
                decoder.see_matched(&data).unwrap();
                file.extend_from_slice(&data);
            }
        }
    }

    fn file_of(ops: &[Op], block_length: usize) -> Vec<u8> {
        let data = |op: &Op| match op {
            Op::Literal(data) => data.clone(),
            Op::Match(index) => block(*index, block_length),
        };
        ops.iter().flat_map(data).collect()
    }

    fn check(
        files: &[Vec<Op>],
        compression: Compression,
        level: Option<i32>,
        protocol: u8,
        block: usize,
        step: usize,
    ) {
        let protocol = Protocol::new(protocol).unwrap();
        let mut encoder = TokenEncoder::new(compression, level, protocol);
        let mut encoded = Vec::new();
        for ops in files {
            encode(&mut encoder, ops, block, &mut encoded);
        }
        let mut decoder = TokenDecoder::new(compression, protocol);
        let mut at = 0;
        for ops in files {
            let (file, length) = decode(&mut decoder, &encoded[at..], step, block);
            assert!(
                file == file_of(ops, block),
                "{compression:?} level {level:?} protocol {protocol}"
            );
            at += length;
        }
        assert_eq!(at, encoded.len());
    }

    fn literal() -> impl Strategy<Value = Vec<u8>> {
        let noise = proptest::collection::vec(any::<u8>(), 1..300);
        // Data that the basis holds too, so that zlib refers to matched blocks.
        let known = (0..8_u32, 1..3000_usize).prop_map(|(index, length)| block(index, length));
        let long = (any::<u8>(), 30_000..100_000_usize).prop_map(|(byte, length)| {
            let mut word = u32::from(byte) + 1;
            let mut next = || {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (word >> 24) as u8
            };
            (0..length).map(|_| next()).collect()
        });
        prop_oneof![4 => noise, 4 => known, 1 => long]
    }

    fn file() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            literal().prop_map(Op::Literal),
            (0..8_u32).prop_map(Op::Match)
        ];
        proptest::collection::vec(op, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn files_round_trip(
            files in proptest::collection::vec(file(), 1..4),
            method in proptest::sample::select(METHODS.as_slice()),
            level in proptest::option::of(-5..25_i32),
            protocol in 27..=32_u8,
            block in proptest::sample::select(vec![1_usize, 2, 700, 5000, 40_000, 70_000, 140_000]),
            step in proptest::sample::select(vec![1_usize, 13, 4096, 1 << 20]),
        ) {
            check(&files, method, level, protocol, block, step);
        }

        #[test]
        fn damaged_files_are_decoded_or_refused(
            file in file(),
            method in proptest::sample::select(METHODS.as_slice()),
            at: proptest::sample::Index,
            byte: u8,
        ) {
            let mut encoded = Vec::new();
            encode(&mut TokenEncoder::new(method, None, Protocol::LATEST), &file, 700, &mut encoded);
            let at = at.index(encoded.len());
            encoded[at] = byte;
            crate::fuzz::fuzz_tokens(method, &encoded);
        }
    }

    #[test]
    fn plain_streams_are_ints_and_data() {
        let mut out = Vec::new();
        encode(
            &mut TokenEncoder::new(Compression::None, None, Protocol::LATEST),
            &[Op::Literal(b"abc".to_vec()), Op::Match(0), Op::Match(6)],
            1,
            &mut out,
        );
        assert_eq!(
            out,
            b"\x03\0\0\0abc\xff\xff\xff\xff\xf9\xff\xff\xff\0\0\0\0"
        );
        let mut direct = Vec::new();
        PlainEncoder.literal_header(3, &mut direct);
        assert_eq!(direct, &out[..4]);
        let mut decoder = TokenDecoder::new(Compression::None, Protocol::LATEST);
        let impossible = i32::MIN.to_le_bytes();
        assert_eq!(
            decoder.decode(&mut Cursor::new(&impossible)),
            Err(Malformed::Token.into())
        );
    }

    /// A few bytes that stand for megabytes come out in bounded pieces.
    #[test]
    fn a_bomb_is_harmless() {
        let zeros = vec![0; 40 << 20];
        for method in [Compression::Zlib, Compression::Zstd, Compression::Lz4] {
            let mut encoded = Vec::new();
            encode(
                &mut TokenEncoder::new(method, None, Protocol::LATEST),
                &[Op::Literal(zeros.clone())],
                1,
                &mut encoded,
            );
            assert!(encoded.len() < 1 << 18);
            let mut decoder = TokenDecoder::new(method, Protocol::LATEST);
            let (file, _) = decode(&mut decoder, &encoded, 1 << 20, 1);
            assert!(file == zeros);
        }
    }

    /// Long files have frames of their own; whatever comes before and behind them goes on as ever.
    #[test]
    fn threads_make_the_same_stream() {
        let long: Vec<u8> = (0..18_u32 << 20)
            .map(|at| (at.wrapping_mul(at >> 7) >> 13) as u8 & 0x1f)
            .collect();
        let files = [&block(3, 5000), &long, &block(4, 5000), &long];
        let mut encoder =
            TokenEncoder::new(Compression::Zstd, None, Protocol::LATEST).with_threads(2);
        let mut encoded = Vec::new();
        for file in files {
            encoder.expect(file.len() as u64, &mut encoded);
            for piece in file.chunks(100_000) {
                encoder.literal(piece, &mut encoded);
            }
            encoder.end_file(&mut encoded);
        }
        assert!(encoded.len() < long.len());
        let mut decoder = TokenDecoder::new(Compression::Zstd, Protocol::LATEST);
        let mut at = 0;
        for file in files {
            let (decoded, length) = decode(&mut decoder, &encoded[at..], 1 << 20, 1);
            assert!(decoded == *file);
            at += length;
        }
        assert_eq!(at, encoded.len());
    }

    /// The threads stand ready for a file of which nothing is sent but matches.
    #[test]
    fn threads_without_literal_data_leave_no_trace() {
        let encoder = TokenEncoder::new(Compression::Zstd, None, Protocol::LATEST);
        let mut encoder = encoder.with_threads(2);
        let mut decoder = TokenDecoder::new(Compression::Zstd, Protocol::LATEST);
        for op in [Op::Match(7), Op::Literal(block(3, 5000)), Op::Match(1)] {
            let mut encoded = Vec::new();
            encoder.expect(1 << 30, &mut encoded);
            encode(&mut encoder, std::slice::from_ref(&op), 700, &mut encoded);
            let (file, length) = decode(&mut decoder, &encoded, 1 << 20, 700);
            assert_eq!(length, encoded.len());
            match op {
                Op::Literal(data) => assert!(file == data),
                Op::Match(index) => {
                    assert!(file == block(index, 700));
                    let mut plain = Vec::new();
                    let mut alone = TokenEncoder::new(Compression::Zstd, None, Protocol::LATEST);
                    encode(&mut alone, &[Op::Match(index)], 700, &mut plain);
                    assert_eq!(encoded, plain);
                }
            }
        }
    }

    #[test]
    fn damaged_data_is_refused() {
        for (method, bytes) in [
            (Compression::Zlib, b"\x40\x01\x07".as_slice()),
            // A section that stops in the middle of a stored block.
            (Compression::Zlib, b"\x40\x05\x00\x08\x00\xf7\xff\x00"),
            // A final block: no sender ends its stream.
            (Compression::Zlibx, b"\x40\x02\x03\x00\x00"),
            (Compression::Zstd, b"\x40\x05nozstd"),
            // Decompresses to nothing.
            (Compression::Lz4, b"\x40\x01\x00"),
        ] {
            let mut decoder = TokenDecoder::new(method, Protocol::LATEST);
            let mut cursor = Cursor::new(bytes);
            let refusal = loop {
                match decoder.decode(&mut cursor) {
                    Ok(Token::Literal(_)) => {}
                    other => break other.map(|_| ()),
                }
            };
            assert!(
                matches!(refusal, Err(Stop::Malformed(Malformed::Compressed { .. }))),
                "{method:?} {refusal:?}"
            );
        }
    }

    #[test]
    fn blocks_beyond_the_basis_are_refused() {
        assert_eq!(check_blocks(0, 5, 5), Ok(()));
        assert_eq!(
            check_blocks(3, 3, 5),
            Err(Malformed::BlockIndex { index: 5, count: 5 })
        );
        assert_eq!(
            check_blocks(9, 1, 5),
            Err(Malformed::BlockIndex { index: 9, count: 5 })
        );
    }
}
