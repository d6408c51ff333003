//! Token streams compressed by zlib and zlibx (wire-files.md 13.3): one raw deflate stream for each file.
//!
//! The methods differ in one point: under zlib the data of matched blocks is part of the history to which
//! both sides' literal data may refer.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::Token;
use super::record::{Inflate, LITERAL_MAX, RecordWriter, StreamDecoder};
use crate::{Cursor, Malformed, Protocol, Stop};

/// What a sync flush ends with, and what the sender leaves out.
const SYNC_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;
/// Longest stored block of deflate.
const STORED_MAX: usize = 0xffff;

/// Encodes with zlib or zlibx.
#[derive(Debug)]
pub struct ZlibEncoder {
    deflate: Compress,
    history: Option<MatchedHistory>,
    records: RecordWriter,
    /// Compressed data that is not written yet: what makes no full record, or may be a flush's tail.
    held: Vec<u8>,
    /// Literal data has been compressed since the last flush.
    in_literals: bool,
}

/// Decodes zlib and zlibx.
#[derive(Debug)]
pub struct ZlibDecoder {
    stream: StreamDecoder<RawInflate>,
    history: Option<MatchedHistory>,
}

/// How matched data enters the history, in which both sides must agree.
#[derive(Debug, Clone, Copy)]
struct MatchedHistory {
    /// Below protocol 31 every piece of a block starts at the block's start again.
    exact: bool,
}

impl ZlibEncoder {
    /// `matched` is the protocol if matched data is part of the history (zlib), else `None` (zlibx).
    pub(super) fn new(level: Option<i32>, matched: Option<Protocol>) -> Self {
        let level = level
            .filter(|&level| level != -1)
            .map_or(6, |level| level.clamp(0, 9) as u32);
        // At its ends zlib-rs's scale departs from zlib's: its lowest level gives away a third, and its highest one gives more
        // than the one before. These two take less than zlib's, of bytes and of time.
        let own = match level {
            1 => 2,
            9 => 8,
            level => level,
        };
        Self {
            deflate: Compress::new(flate2::Compression::new(own), false),
            // Stored blocks refer to nothing.
            history: matched.filter(|_| level > 0).map(MatchedHistory::new),
            records: RecordWriter::default(),
            held: Vec::new(),
            in_literals: false,
        }
    }

    pub(super) fn wants_matched_data(&self) -> bool {
        self.history.is_some()
    }

    pub(super) fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.in_literals = true;
        self.compress(data, FlushCompress::None, out);
    }

    pub(super) fn matched(&mut self, block: u32, data: &[u8], out: &mut Vec<u8>) {
        self.flush(out);
        self.records.block(block, out);
        if let Some(history) = self.history {
            history.for_each_piece(data, |piece| {
                // A raw stream accepts a dictionary after any flush, and appends it to its history.
                self.deflate
                    .set_dictionary(piece)
                    .expect("the stream is raw, flushed and has no input left");
            });
        }
    }

    pub(super) fn end_file(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        self.records.end_file(out);
        self.deflate.reset();
    }

    /// Brings all literal data to the receiver.
    fn flush(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.in_literals) {
            return;
        }
        self.compress(&[], FlushCompress::Sync, out);
        debug_assert!(self.held.ends_with(&SYNC_TAIL));
        self.held
            .truncate(self.held.len().saturating_sub(SYNC_TAIL.len()));
        self.records.literal(&self.held, out);
        self.held.clear();
    }

    fn compress(&mut self, mut data: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            self.held.reserve(LITERAL_MAX);
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(data, &mut self.held, flush);
            status.expect("the stream is never finished, and its parameters are constant");
            data = &data[(self.deflate.total_in() - before) as usize..];
            let drained = self.held.len() < self.held.capacity();
            while self.held.len() >= LITERAL_MAX + SYNC_TAIL.len() {
                self.records.literal(&self.held[..LITERAL_MAX], out);
                self.held.drain(..LITERAL_MAX);
            }
            if data.is_empty() && drained {
                return;
            }
        }
    }
}

impl ZlibDecoder {
    /// As [`ZlibEncoder::new`].
    pub(super) fn new(matched: Option<Protocol>) -> Self {
        Self {
            stream: StreamDecoder::new(RawInflate(Decompress::new(false))),
            history: matched.map(MatchedHistory::new),
        }
    }

    pub(super) fn wants_matched_data(&self) -> bool {
        self.history.is_some()
    }

    pub(super) fn decode<'t, 'c: 't>(
        &'t mut self,
        cursor: &mut Cursor<'c>,
    ) -> Result<Token<'t>, Stop> {
        self.stream.decode(cursor)
    }

    pub(super) fn see_matched(&mut self, data: &[u8]) -> Result<(), Malformed> {
        let Some(history) = self.history else {
            return Ok(());
        };
        let inflate = &mut self.stream.inflate;
        let mut outcome = Ok(());
        history.for_each_piece(data, |piece| {
            if outcome.is_ok() {
                outcome = inflate.insert(piece);
            }
        });
        outcome
    }
}

impl MatchedHistory {
    fn new(protocol: Protocol) -> Self {
        Self {
            exact: protocol.has_exact_zlib_history(),
        }
    }

    /// Calls `insert` with what enters the history for a block, in pieces that fit a stored block.
    fn for_each_piece(self, data: &[u8], mut insert: impl FnMut(&[u8])) {
        if self.exact {
            // Nothing before the window can be referred to.
            let tail = &data[data.len().saturating_sub(WINDOW)..];
            if !tail.is_empty() {
                insert(tail);
            }
            return;
        }
        for piece in data.chunks(STORED_MAX) {
            insert(&data[..piece.len()]);
        }
    }
}

#[derive(Debug)]
struct RawInflate(Decompress);

const CORRUPT: Malformed = Malformed::Compressed { method: "zlib" };

impl RawInflate {
    /// Makes `piece` part of the history, as a stored block whose output is dropped.
    fn insert(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let [low, high] = (piece.len() as u16).to_le_bytes();
        self.swallow(&[0x00, low, high, !low, !high], 0)?;
        self.swallow(piece, piece.len())
    }

    /// Feeds input that must be accepted whole and give exactly this much output.
    fn swallow(&mut self, mut input: &[u8], output_length: usize) -> Result<(), Malformed> {
        let mut output = [0; 4096];
        let mut given = 0;
        loop {
            let (taken, more) = self.inflate(input, &mut output)?;
            input = &input[taken..];
            given += more;
            if more < output.len() && (input.is_empty() || taken == 0) {
                break;
            }
        }
        if input.is_empty() && given == output_length {
            Ok(())
        } else {
            Err(CORRUPT)
        }
    }
}

impl Inflate for RawInflate {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Malformed> {
        let Self(stream) = self;
        let (taken, given) = (stream.total_in(), stream.total_out());
        match stream.decompress(input, output, FlushDecompress::None) {
            Ok(Status::Ok | Status::BufError) => {}
            // A sender never finishes its stream.
            Ok(Status::StreamEnd) | Err(_) => return Err(CORRUPT),
        }
        Ok((
            (stream.total_in() - taken) as usize,
            (stream.total_out() - given) as usize,
        ))
    }

    fn end_literals(&mut self) -> Result<(), Malformed> {
        self.swallow(&SYNC_TAIL, 0)
    }

    fn end_file(&mut self) {
        self.0.reset(false);
    }
}
