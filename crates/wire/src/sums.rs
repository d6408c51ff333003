//! Block sums: what a generator tells about its basis (wire-files.md 10.4 to 10.6).

use crate::{Cursor, Malformed, Protocol, Stop, put_int};

/// Shape of a basis file cut into blocks. All zero means that there is no basis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SumHead {
    /// Number of blocks, at most `i32::MAX`.
    pub count: u32,
    /// Length of a block in bytes.
    pub block_length: u32,
    /// Bytes of each block's strong sum that travel.
    pub strong_length: u32,
    /// Length of the last block in bytes; 0 if it is a whole one.
    pub remainder: u32,
}

/// The sums of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSum<'a> {
    /// The rolling sum.
    pub weak: u32,
    /// The first [`SumHead::strong_length`] bytes of the strong sum.
    pub strong: &'a [u8],
}

impl SumHead {
    /// The length in bytes of the basis that the head describes.
    #[must_use]
    pub fn described_length(&self) -> u64 {
        let missing = if self.remainder == 0 {
            0
        } else {
            self.block_length.saturating_sub(self.remainder)
        };
        (u64::from(self.count) * u64::from(self.block_length)).saturating_sub(missing.into())
    }

    /// The offset and length in bytes of a block, if there is one of this index.
    #[must_use]
    pub fn block(&self, index: u32) -> Option<(u64, u32)> {
        let last = self.count.checked_sub(1)?;
        let length = if index == last && self.remainder != 0 {
            self.remainder
        } else {
            self.block_length
        };
        (index <= last).then(|| (u64::from(index) * u64::from(self.block_length), length))
    }

    /// How many bytes each block's sums take on the wire.
    #[must_use]
    pub fn block_sum_size(&self) -> usize {
        WEAK_LENGTH + self.strong_length as usize
    }

    /// Writes the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for field in [
            self.count,
            self.block_length,
            self.strong_length,
            self.remainder,
        ] {
            put_int(out, field as i32);
        }
    }

    /// Reads a head. `checksum_length` is that of the transfer checksum in bytes.
    ///
    /// The number of blocks has no better bound than that of its type: read their sums as they arrive,
    /// rather than reserve room for all of them.
    ///
    /// # Errors
    /// [`Stop`] for fields out of bounds (10.4).
    pub fn decode(
        cursor: &mut Cursor<'_>,
        protocol: Protocol,
        checksum_length: usize,
    ) -> Result<Self, Stop> {
        let mut ahead = cursor.clone();
        let mut field = |max: u32, malformed: fn(i32) -> Malformed| -> Result<u32, Stop> {
            let value = ahead.int()?;
            u32::try_from(value)
                .ok()
                .filter(|&it| it <= max)
                .ok_or_else(|| malformed(value).into())
        };
        let count = field(MAX_COUNT, Malformed::BlockCount)?;
        let block_length = field(protocol.max_block_length(), Malformed::BlockLength)?;
        let strong_length = field(checksum_length as u32, Malformed::StrongLength)?;
        if count > 0 && block_length == 0 {
            return Err(Malformed::ZeroBlockLength.into());
        }
        let remainder = field(block_length, Malformed::RemainderLength)?;
        *cursor = ahead;
        let remainder = if count == 0 { 0 } else { remainder };
        Ok(Self {
            count,
            block_length,
            strong_length,
            remainder,
        })
    }

    /// Reads the sums of the next block. Meaningful [`SumHead::count`] times, and never in append mode,
    /// where the head travels without sums.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], and [`Malformed::StrongLength`] if blocks would be told apart by weak sums alone.
    pub fn decode_block<'a>(&self, cursor: &mut Cursor<'a>) -> Result<BlockSum<'a>, Stop> {
        if self.strong_length == 0 {
            return Err(Malformed::StrongLength(0).into());
        }
        let bytes = cursor.take(self.block_sum_size())?;
        let (weak, strong) = bytes
            .split_first_chunk::<WEAK_LENGTH>()
            .ok_or(Stop::Incomplete)?;
        Ok(BlockSum {
            weak: u32::from_le_bytes(*weak),
            strong,
        })
    }

    /// Writes the sums of a block. `strong` may be the whole strong sum, which must not be shorter
    /// than [`SumHead::strong_length`].
    pub fn encode_block(&self, weak: u32, strong: &[u8], out: &mut Vec<u8>) {
        debug_assert!(strong.len() >= self.strong_length as usize);
        let end = out.len() + self.block_sum_size();
        out.extend_from_slice(&weak.to_le_bytes());
        out.extend_from_slice(&strong[..strong.len().min(self.strong_length as usize)]);
        out.resize(end, 0);
    }
}

const WEAK_LENGTH: usize = size_of::<u32>();
const MAX_COUNT: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    /// That of a basis of 100,000 bytes.
    const HEAD: SumHead = SumHead {
        count: 143,
        block_length: 700,
        strong_length: 2,
        remainder: 600,
    };

    #[test]
    fn the_head_of_the_specification() {
        let mut out = Vec::new();
        HEAD.encode(&mut out);
        assert_eq!(out, b"\x8f\0\0\0\xbc\x02\0\0\x02\0\0\0\x58\x02\0\0");
        assert_eq!(
            SumHead::decode(&mut Cursor::new(&out), Protocol::LATEST, 16),
            Ok(HEAD)
        );
        assert_eq!(HEAD.described_length(), 100_000);
        assert_eq!(HEAD.block(142), Some((99_400, 600)));
        assert_eq!(HEAD.block(143), None);
    }

    #[test]
    fn fields_out_of_bounds_are_refused() {
        let decode = |fields: [i32; 4], protocol| {
            let bytes: Vec<u8> = fields.into_iter().flat_map(i32::to_le_bytes).collect();
            let protocol = Protocol::new(protocol).unwrap();
            match SumHead::decode(&mut Cursor::new(&bytes), protocol, 16) {
                Err(Stop::Malformed(malformed)) => Some(malformed),
                Ok(_) => None,
                Err(Stop::Incomplete) => panic!("all fields are there"),
            }
        };
        assert_eq!(decode([-1, 700, 2, 0], 32), Some(Malformed::BlockCount(-1)));
        assert_eq!(
            decode([1, 131_073, 2, 0], 30),
            Some(Malformed::BlockLength(131_073))
        );
        assert_eq!(decode([1, 131_073, 2, 0], 29), None);
        assert_eq!(decode([1, 0, 2, 0], 32), Some(Malformed::ZeroBlockLength));
        assert_eq!(
            decode([1, 700, 17, 0], 32),
            Some(Malformed::StrongLength(17))
        );
        assert_eq!(
            decode([1, 700, 2, 701], 32),
            Some(Malformed::RemainderLength(701))
        );
    }

    #[test]
    fn block_sums_are_cut_to_length() {
        let mut out = Vec::new();
        HEAD.encode_block(0x1e66_0466, &[7; 16], &mut out);
        assert_eq!(out, b"\x66\x04\x66\x1e\x07\x07");
        assert_eq!(
            HEAD.decode_block(&mut Cursor::new(&out[..5])),
            Err(Stop::Incomplete)
        );
        let expected = BlockSum {
            weak: 0x1e66_0466,
            strong: &[7, 7],
        };
        assert_eq!(HEAD.decode_block(&mut Cursor::new(&out)), Ok(expected));
    }
}
