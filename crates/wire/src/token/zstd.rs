//! Token streams compressed by Zstandard (wire-files.md 13.4): one frame for all files of the session, but for very
//! long files. These are worth several threads, which cost something with every flush, and so they have frames of
//! their own: zstd can only change its threads between frames, and every receiver takes frames one after the other.

use std::fmt;

use zstd::stream::raw::{CParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::Token;
use super::record::{Inflate, LITERAL_MAX, RecordWriter, StreamDecoder};
use crate::{Cursor, Malformed, Stop};

/// Encodes with Zstandard.
pub struct ZstdEncoder {
    stream: Encoder<'static>,
    records: RecordWriter,
    /// Compressed data that makes no full record yet.
    held: Vec<u8>,
    /// Literal data has been compressed since the last flush.
    in_literals: bool,
    /// The frame has begun.
    in_frame: bool,
    /// How many threads may compress long data, and how much each of them does at a time, in bytes.
    threads: u32,
    job: u32,
    /// They do.
    is_parallel: bool,
}

/// Decodes Zstandard.
#[derive(Debug, Default)]
pub struct ZstdDecoder(StreamDecoder<Unzstd>);

impl ZstdEncoder {
    pub(super) fn new(level: Option<i32>) -> Self {
        let range = ::zstd::compression_level_range();
        let level = level.unwrap_or(0).clamp(*range.start(), *range.end());
        Self {
            stream: Encoder::new(level).expect("a context needs nothing but memory"),
            records: RecordWriter::default(),
            held: Vec::with_capacity(LITERAL_MAX),
            in_literals: false,
            in_frame: false,
            threads: 1,
            job: if level < WIDE { JOB } else { 4 * JOB },
            is_parallel: false,
        }
    }

    pub(super) fn set_threads(&mut self, threads: u32) {
        self.threads = threads.min(THREADS_MAX);
    }

    /// Literal data of this length is about to come.
    pub(super) fn expect(&mut self, length: u64, out: &mut Vec<u8>) {
        if self.threads > 1 && length >= JOBS * u64::from(self.job) && !self.is_parallel {
            self.flush(out);
            self.end_frame(out);
            self.is_parallel = self.hire();
            if !self.is_parallel {
                // Asking once is enough: what there is too little of now will be short later.
                self.threads = 1;
                self.work_alone();
            }
        }
    }

    /// Starts the threads, before any data depends on them: a library may have none, and the system no more of them.
    fn hire(&mut self) -> bool {
        let parameters = [
            CParameter::NbWorkers(self.threads),
            CParameter::JobSize(self.job),
            CParameter::OverlapSizeLog(OVERLAP),
        ];
        let are_known = parameters
            .into_iter()
            .all(|parameter| self.stream.set_parameter(parameter).is_ok());
        // The library makes its threads when the first data come. One byte of a frame that is given up shows whether it can.
        let mut nothing = [0; 0];
        let is_hired = are_known && self.stream.run_on_buffers(&[0], &mut nothing).is_ok();
        is_hired && self.stream.reinit().is_ok()
    }

    fn work_alone(&mut self) {
        let alone = self.stream.reinit();
        let alone = alone.and_then(|()| self.stream.set_parameter(CParameter::NbWorkers(0)));
        alone.expect("no frame is under way");
    }

    pub(super) fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        (self.in_literals, self.in_frame) = (true, true);
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() {
            self.advance(out, |stream, held| stream.run(&mut input, held));
        }
    }

    pub(super) fn matched(&mut self, block: u32, out: &mut Vec<u8>) {
        self.flush(out);
        self.records.block(block, out);
    }

    pub(super) fn end_file(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        if std::mem::take(&mut self.is_parallel) {
            self.end_frame(out);
            self.work_alone();
        }
        self.records.end_file(out);
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.in_frame) {
            return;
        }
        while self.advance(out, |stream, held| stream.finish(held, true)) > 0 {}
        self.records.literal(&self.held, out);
        self.held.clear();
    }

    /// Brings all literal data to the receiver.
    fn flush(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.in_literals) {
            return;
        }
        while self.advance(out, Operation::flush) > 0 {}
        self.records.literal(&self.held, out);
        self.held.clear();
    }

    /// Lets the stream write behind what is held, and passes full records on.
    fn advance(
        &mut self,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut Encoder<'static>, &mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<usize>,
    ) -> usize {
        let Self {
            stream,
            records,
            held,
            ..
        } = self;
        let at = held.len();
        // The buffer's capacity is the limit of what the stream writes, so that records stay bounded.
        let mut buffer = OutBuffer::around_pos(held, at);
        let left = step(stream, &mut buffer)
            .expect("compression of memory into memory needs nothing but memory");
        if held.len() >= LITERAL_MAX {
            records.literal(held, out);
            held.clear();
        }
        left
    }
}

/// So many jobs are worth threads of their own.
const JOBS: u64 = 4;

/// What a thread compresses at a time, in bytes: twice what it may refer to and has to look through before it begins. That
/// is more from the level `WIDE` on.
const JOB: u32 = 4 << 20;
const WIDE: i32 = 9;

/// How much of what was before a job it may refer to: all of zstd's window, in the words of the library.
const OVERLAP: u32 = 9;

/// Each thread has buffers of several megabytes.
const THREADS_MAX: u32 = 8;

impl fmt::Debug for ZstdEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdEncoder")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl ZstdDecoder {
    pub(super) fn decode<'t, 'c: 't>(
        &'t mut self,
        cursor: &mut Cursor<'c>,
    ) -> Result<Token<'t>, Stop> {
        self.0.decode(cursor)
    }
}

struct Unzstd(Decoder<'static>);

const CORRUPT: Malformed = Malformed::Compressed { method: "zstd" };

impl Default for StreamDecoder<Unzstd> {
    fn default() -> Self {
        Self::new(Unzstd(
            Decoder::new().expect("a context needs nothing but memory"),
        ))
    }
}

impl fmt::Debug for Unzstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unzstd").finish_non_exhaustive()
    }
}

impl Inflate for Unzstd {
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Malformed> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        self.0.run(&mut input, &mut output).map_err(|_| CORRUPT)?;
        Ok((input.pos(), output.pos()))
    }

    fn end_literals(&mut self) -> Result<(), Malformed> {
        Ok(())
    }

    // The frame goes on with the next file.
    fn end_file(&mut self) {}
}
