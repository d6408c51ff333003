//! Token streams compressed by LZ4 (wire-files.md 13.5): each literal record is a block of its own.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use super::Token;
use super::record::{LITERAL_MAX, Record, RecordReader, RecordWriter};
use crate::{Cursor, Malformed, Stop};

/// Most bytes that rsync lets one record decompress to.
const OUTPUT_MAX: usize = 32912;

/// Encodes with LZ4.
#[derive(Debug)]
pub struct Lz4Encoder {
    records: RecordWriter,
    block: Box<[u8]>,
}

/// Decodes LZ4.
#[derive(Debug)]
pub struct Lz4Decoder {
    records: RecordReader,
    output: Box<[u8]>,
}

impl Default for Lz4Encoder {
    fn default() -> Self {
        let block = vec![0; get_maximum_output_size(LITERAL_MAX)].into();
        Self {
            records: RecordWriter::default(),
            block,
        }
    }
}

impl Lz4Encoder {
    pub(super) fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        for piece in data.chunks(LITERAL_MAX) {
            self.piece(piece, out);
        }
    }

    fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let length = compress_into(piece, &mut self.block).expect("the block holds the worst case");
        if length <= LITERAL_MAX {
            self.records.literal(&self.block[..length], out);
            return;
        }
        // Incompressible data has outgrown its record; halves fit.
        let (first, second) = piece.split_at(piece.len() / 2);
        self.piece(first, out);
        self.piece(second, out);
    }

    pub(super) fn matched(&mut self, block: u32, out: &mut Vec<u8>) {
        self.records.block(block, out);
    }

    pub(super) fn end_file(&mut self, out: &mut Vec<u8>) {
        self.records.end_file(out);
    }
}

impl Default for Lz4Decoder {
    fn default() -> Self {
        Self {
            records: RecordReader::default(),
            output: vec![0; OUTPUT_MAX].into(),
        }
    }
}

impl Lz4Decoder {
    pub(super) fn decode<'t, 'c: 't>(
        &'t mut self,
        cursor: &mut Cursor<'c>,
    ) -> Result<Token<'t>, Stop> {
        let mut ahead = cursor.clone();
        let token = match self.records.read(&mut ahead)? {
            Record::Literal(length) => {
                let block = ahead.take(length)?;
                match decompress_into(block, &mut self.output) {
                    Ok(length @ 1..) => Token::Literal(&self.output[..length]),
                    Ok(0) | Err(_) => return Err(Malformed::Compressed { method: "lz4" }.into()),
                }
            }
            Record::Blocks { first, count } => Token::Blocks { first, count },
            Record::End => Token::End,
        };
        *cursor = ahead;
        Ok(token)
    }
}
