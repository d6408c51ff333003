//! The records that all compressed token streams consist of (wire-files.md 13.2), and how a stream
//! decompressor is driven through them.

use super::Token;
use crate::{Cursor, Malformed, Stop, put_int, put_shortint};

/// Most compressed bytes of a literal record.
pub(super) const LITERAL_MAX: usize = 0x3fff;

/// The largest block index that can be sent.
const INDEX_MAX: u32 = 0x7fff_fffe;
/// Most blocks of one run: its length less one travels in two bytes.
const RUN_MAX: u32 = 0x1_0000;

const END: u8 = 0x00;
const LONG: u8 = 0x20;
const LITERAL: u8 = 0x40;
const RELATIVE: u8 = 0x80;
const KIND: u8 = 0xc0;
const VALUE: u8 = 0x3f;
/// Largest distance of a relative token.
const RELATIVE_MAX: u32 = 0x3f;

/// Writes records; gathers consecutive blocks into runs.
#[derive(Debug, Default)]
pub(super) struct RecordWriter {
    /// The last block that was written.
    base: u32,
    /// Blocks that are not written yet: the first and how many.
    run: Option<(u32, u32)>,
}

impl RecordWriter {
    /// Writes compressed data as literal records. What was referred to before it goes first.
    pub(super) fn literal(&mut self, compressed: &[u8], out: &mut Vec<u8>) {
        self.flush_run(out);
        for piece in compressed.chunks(LITERAL_MAX) {
            let [high, low] = (piece.len() as u16).to_be_bytes();
            out.extend_from_slice(&[LITERAL | high, low]);
            out.extend_from_slice(piece);
        }
    }

    /// Refers to a block. All literal data before it must have been written.
    pub(super) fn block(&mut self, index: u32, out: &mut Vec<u8>) {
        match &mut self.run {
            Some((first, count)) if *first + *count == index && *count < RUN_MAX => *count += 1,
            _ => {
                self.flush_run(out);
                self.run = Some((index, 1));
            }
        }
    }

    pub(super) fn end_file(&mut self, out: &mut Vec<u8>) {
        self.flush_run(out);
        self.base = 0;
        out.push(END);
    }

    fn flush_run(&mut self, out: &mut Vec<u8>) {
        let Some((first, count)) = self.run.take() else {
            return;
        };
        let more = count - 1;
        let is_run = u8::from(more > 0);
        match first.checked_sub(self.base) {
            Some(distance @ 0..=RELATIVE_MAX) => out.push(RELATIVE | is_run << 6 | distance as u8),
            _ => {
                out.push(LONG | is_run);
                put_int(out, first as i32);
            }
        }
        if more > 0 {
            put_shortint(out, more as u16);
        }
        self.base = first + more;
    }
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    End,
    /// Compressed bytes follow, 1 to [`LITERAL_MAX`].
    Literal(usize),
    Blocks {
        first: u32,
        count: u32,
    },
}

/// Reads the heads of records.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    base: u32,
}

impl RecordReader {
    /// Reads a record's head; the state changes only with success.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Record, Stop> {
        let mut ahead = cursor.clone();
        let head = ahead.byte()?;
        let value = u32::from(head & VALUE);
        let record = match head & KIND {
            _ if head == END => {
                self.base = 0;
                Record::End
            }
            LITERAL => match value << 8 | u32::from(ahead.byte()?) {
                0 => return Err(Malformed::Token.into()),
                length => Record::Literal(length as usize),
            },
            kind => {
                let (first, is_run) = match kind {
                    0 => (
                        u32::try_from(ahead.int()?).map_err(|_| Malformed::Token)?,
                        head & 1 != 0,
                    ),
                    _ => (self.base.saturating_add(value), kind == KIND),
                };
                let more = if is_run {
                    u32::from(ahead.shortint()?)
                } else {
                    0
                };
                let last = first.saturating_add(more);
                if last > INDEX_MAX || (is_run && more == 0) {
                    return Err(Malformed::Token.into());
                }
                self.base = last;
                Record::Blocks {
                    first,
                    count: more + 1,
                }
            }
        };
        *cursor = ahead;
        Ok(record)
    }
}

/// A decompressor of literal records whose data forms one stream.
pub(super) trait Inflate {
    /// Decompresses what it can: answers how much input it took and how much output it gave.
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Malformed>;

    /// All literal data up to a block or the end of the file has been seen, and its output taken.
    fn end_literals(&mut self) -> Result<(), Malformed>;

    /// The file is complete.
    fn end_file(&mut self);
}

/// Drives an [`Inflate`] through the records of a token stream.
#[derive(Debug)]
pub(super) struct StreamDecoder<I> {
    pub(super) inflate: I,
    records: RecordReader,
    /// Bytes of the current literal record that have not been decompressed.
    compressed_left: usize,
    /// The last call filled the output buffer: there may be more without any input.
    output_left: bool,
    /// Literal records have been seen since the last block.
    in_literals: bool,
    output: Box<[u8]>,
}

/// What one step of the decoder came to; [`StreamDecoder::decode`] lends the output.
enum Step {
    Output(usize),
    Blocks { first: u32, count: u32 },
    End,
}

impl<I: Inflate> StreamDecoder<I> {
    pub(super) fn new(inflate: I) -> Self {
        Self {
            inflate,
            records: RecordReader::default(),
            compressed_left: 0,
            output_left: false,
            in_literals: false,
            output: vec![0; super::PIECE].into(),
        }
    }

    pub(super) fn decode<'t, 'c: 't>(
        &'t mut self,
        cursor: &mut Cursor<'c>,
    ) -> Result<Token<'t>, Stop> {
        Ok(match self.step(cursor)? {
            Step::Output(length) => Token::Literal(&self.output[..length]),
            Step::Blocks { first, count } => Token::Blocks { first, count },
            Step::End => Token::End,
        })
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) -> Result<Step, Stop> {
        loop {
            if self.compressed_left > 0 || self.output_left {
                if let Some(length) = self.decompress(cursor)? {
                    return Ok(Step::Output(length));
                }
                continue;
            }
            let mut ahead = cursor.clone();
            // The stream ends a section at the first record that is not literal, which may come late; the
            // reader's state is untouched if it is not there yet.
            let record = self.records.read(&mut ahead)?;
            *cursor = ahead;
            if let Record::Literal(length) = record {
                self.compressed_left = length;
                self.in_literals = true;
                continue;
            }
            if std::mem::take(&mut self.in_literals) {
                self.inflate.end_literals()?;
            }
            return Ok(match record {
                Record::Blocks { first, count } => Step::Blocks { first, count },
                _ => {
                    self.inflate.end_file();
                    Step::End
                }
            });
        }
    }

    /// Feeds what the cursor has of the current record. Answers the length of the output, if any.
    fn decompress(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<usize>, Stop> {
        let available = cursor.rest().len().min(self.compressed_left);
        if available == 0 && !self.output_left {
            return Err(Stop::Incomplete);
        }
        let (taken, given) = self
            .inflate
            .inflate(&cursor.rest()[..available], &mut self.output)?;
        cursor.take(taken)?;
        self.compressed_left -= taken;
        if available > 0 && taken == 0 && given == 0 {
            return Err(Malformed::Token.into());
        }
        self.output_left = given == self.output.len();
        Ok((given > 0).then_some(given))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(blocks: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let mut writer = RecordWriter::default();
        let mut out = Vec::new();
        for block in blocks {
            writer.block(block, &mut out);
        }
        writer.end_file(&mut out);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Record>, Stop> {
        let mut reader = RecordReader::default();
        let mut cursor = Cursor::new(bytes);
        let mut records = Vec::new();
        while records.last() != Some(&Record::End) {
            records.push(reader.read(&mut cursor)?);
        }
        Ok(records)
    }

    #[test]
    fn runs_of_the_specification() {
        assert_eq!(written(0..66_000), b"\xc0\xff\xff\xc1\xcf\x01\x00");
        assert_eq!(
            read(b"\xc0\xff\xff\xc1\xcf\x01\x00").unwrap(),
            [
                Record::Blocks {
                    first: 0,
                    count: 65_536
                },
                Record::Blocks {
                    first: 65_536,
                    count: 464
                },
                Record::End
            ]
        );
        assert_eq!(written(0..28), b"\xc0\x1b\x00\x00");
    }

    #[test]
    fn distances_beyond_63_are_absolute() {
        assert_eq!(
            written([63, 63, 127, 5]),
            b"\xbf\x80\x20\x7f\0\0\0\x20\x05\0\0\0\x00"
        );
        assert_eq!(written([100, 101]), b"\x21\x64\0\0\0\x01\0\x00");
    }

    #[test]
    fn impossible_records_are_refused() {
        for bytes in [
            b"\xc0\0\0".as_slice(),
            b"\x40\0",
            b"\x20\xff\xff\xff\xff",
            b"\x20\xff\xff\xff\x7f",
            b"\x21\xfe\xff\xff\x7f\x01\0",
        ] {
            assert_eq!(
                read(bytes),
                Err(Stop::Malformed(Malformed::Token)),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn blocks_round_trip(blocks in proptest::collection::vec(prop_oneof![0..200_u32, 0..=INDEX_MAX], 0..40)) {
            let records = read(&written(blocks.iter().copied())).unwrap();
            let read_back = records.into_iter().flat_map(|record| match record {
                Record::Blocks { first, count } => first..first + count,
                Record::Literal(_) | Record::End => 0..0,
            });
            prop_assert_eq!(read_back.collect::<Vec<_>>(), blocks);
        }
    }
}
