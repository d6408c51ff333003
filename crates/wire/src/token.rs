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
    pub fn decode<'t>(&'t mut self, cursor: &mut Cursor<'t>) -> Result<Token<'t>, Stop> {
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
    Err(Malformed::BlockIndex { index: first.max(count).into(), count })
}

/// Size of the buffer through which a compressed stream is handed on.
const PIECE: usize = 64 << 10;
