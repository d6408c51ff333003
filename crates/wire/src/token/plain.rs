//! Token streams without compression (wire-files.md 13.1).

use super::{PLAIN_LITERAL_MAX, Token};
use crate::{Cursor, Malformed, Stop, put_int};

/// Encodes without compression. Has no state.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainEncoder;

impl PlainEncoder {
    /// Announces `length` literal bytes, 1 to [`PLAIN_LITERAL_MAX`], which the caller appends: so file data
    /// can be read straight into the output buffer.
    pub fn literal_header(self, length: usize, out: &mut Vec<u8>) {
        debug_assert!((1..=PLAIN_LITERAL_MAX).contains(&length));
        put_int(out, length as i32);
    }

    pub(super) fn literal(self, data: &[u8], out: &mut Vec<u8>) {
        for piece in data.chunks(PLAIN_LITERAL_MAX) {
            self.literal_header(piece.len(), out);
            out.extend_from_slice(piece);
        }
    }

    pub(super) fn matched(self, block: u32, out: &mut Vec<u8>) {
        // -1 is block 0: the complement.
        put_int(out, !(block as i32));
    }

    pub(super) fn end_file(self, out: &mut Vec<u8>) {
        put_int(out, 0);
    }
}

/// Decodes without compression.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainDecoder {
    /// Literal bytes that were announced and have not arrived.
    pending: usize,
}

impl PlainDecoder {
    pub(super) fn decode<'t>(&mut self, cursor: &mut Cursor<'t>) -> Result<Token<'t>, Stop> {
        if self.pending == 0 {
            let value = cursor.int()?;
            match u32::try_from(value) {
                Ok(0) => return Ok(Token::End),
                Ok(length) => self.pending = length as usize,
                Err(_) => {
                    let first = !value as u32;
                    // Block numbers end one below the largest int.
                    if first == i32::MAX as u32 {
                        return Err(Malformed::Token.into());
                    }
                    return Ok(Token::Blocks { first, count: 1 });
                }
            }
        }
        // Whatever is there is handed on: an announced length reserves nothing.
        let piece = self.pending.min(cursor.rest().len());
        if piece == 0 {
            return Err(Stop::Incomplete);
        }
        self.pending -= piece;
        cursor.take(piece).map(Token::Literal)
    }
}
