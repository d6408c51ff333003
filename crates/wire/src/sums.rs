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
    /// The shape of a basis of `length` bytes. `block_length` is the user's choice, else it follows from
    /// the length (10.5). `checksum_length` is that of the transfer checksum in bytes. `full_strong` asks
    /// for the longest strong sums, as a redo needs (10.6).
    ///
    /// A basis that is empty, or that has more blocks than can be counted, is none.
    #[must_use]
    pub fn of_length(
        length: u64,
        block_length: Option<u32>,
        protocol: Protocol,
        checksum_length: usize,
        full_strong: bool,
    ) -> Self {
        let block_length = block_length
            .filter(|&it| it > 0)
            .unwrap_or_else(|| default_block_length(length, protocol));
        let block = u64::from(block_length);
        match u32::try_from(length.div_ceil(block)) {
            Ok(count @ 1..=MAX_COUNT) => Self {
                count,
                block_length,
                strong_length: strong_length(length, block_length, checksum_length, full_strong),
                remainder: (length % block) as u32,
            },
            _ => Self::default(),
        }
    }

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

/// About the square root of the length, so that sums and mismatching data grow alike (10.5).
fn default_block_length(length: u64, protocol: Protocol) -> u32 {
    const SMALLEST: u32 = 700;
    if length <= 490_000 {
        return SMALLEST;
    }
    // Below, 8 divides the length: rounding down in steps of 8 keeps block offsets aligned.
    let root = length.isqrt() & !7;
    u32::try_from(root)
        .unwrap_or(u32::MAX)
        .clamp(SMALLEST, protocol.max_block_length())
}

/// Enough bits that a false match is unlikely among all pairs of blocks and offsets (10.6).
fn strong_length(length: u64, block_length: u32, checksum_length: usize, full: bool) -> u32 {
    /// Bits of certainty beyond those that the sizes demand.
    const BIAS: i64 = 10;
    const SHORTEST: i64 = 2;
    let longest = checksum_length.min(16) as u32;
    if full {
        return longest;
    }
    let bits = BIAS + 2 * i64::from(length.max(1).ilog2()) - i64::from(block_length.max(1).ilog2());
    // The weak sum contributes 32 bits; the division rounds towards zero.
    let bytes = (bits.max(0) + 1 - 32 + 7) / 8;
    (bytes.max(SHORTEST) as u32).min(longest)
}

const WEAK_LENGTH: usize = size_of::<u32>();
const MAX_COUNT: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latest(length: u64) -> SumHead {
        SumHead::of_length(length, None, Protocol::LATEST, 16, false)
    }

    /// The loop of 10.5, literally.
    fn block_length_by_definition(length: u64, max: u64) -> u64 {
        if length <= 490_000 {
            return 700;
        }
        let (mut c, mut rest) = (1_u64, length);
        loop {
            rest /= 4;
            if rest == 0 {
                break;
            }
            c *= 2;
        }
        if c >= max {
            return max;
        }
        let mut block = 0;
        loop {
            block |= c;
            if length < block * block {
                block &= !c;
            }
            c /= 2;
            if c < 8 {
                break block.max(700);
            }
        }
    }

    #[test]
    fn the_head_of_the_specification() {
        let head = latest(100_000);
        assert_eq!(
            head,
            SumHead {
                count: 143,
                block_length: 700,
                strong_length: 2,
                remainder: 600
            }
        );
        let mut out = Vec::new();
        head.encode(&mut out);
        assert_eq!(out, b"\x8f\0\0\0\xbc\x02\0\0\x02\0\0\0\x58\x02\0\0");
        assert_eq!(
            SumHead::decode(&mut Cursor::new(&out), Protocol::LATEST, 16),
            Ok(head)
        );
        assert_eq!(head.described_length(), 100_000);
        assert_eq!(head.block(142), Some((99_400, 600)));
        assert_eq!(head.block(143), None);
    }

    #[test]
    fn strong_sums_grow_with_the_file() {
        assert_eq!(latest(480_000).strong_length, 2);
        let head = latest(100 << 30);
        assert_eq!((head.block_length, head.strong_length), (131_072, 5));
        assert_eq!(
            SumHead::of_length(1000, None, Protocol::LATEST, 20, true).strong_length,
            16
        );
        assert_eq!(
            SumHead::of_length(1000, None, Protocol::LATEST, 8, true).strong_length,
            8
        );
        assert_eq!(latest(0), SumHead::default());
        assert_eq!(
            SumHead::of_length(u64::MAX, Some(1), Protocol::LATEST, 16, false),
            SumHead::default()
        );
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
        let head = latest(100_000);
        let mut out = Vec::new();
        head.encode_block(0x1e66_0466, &[7; 16], &mut out);
        assert_eq!(out, b"\x66\x04\x66\x1e\x07\x07");
        assert_eq!(
            head.decode_block(&mut Cursor::new(&out[..5])),
            Err(Stop::Incomplete)
        );
        let expected = BlockSum {
            weak: 0x1e66_0466,
            strong: &[7, 7],
        };
        assert_eq!(head.decode_block(&mut Cursor::new(&out)), Ok(expected));
    }

    proptest! {
        #[test]
        fn block_lengths_are_as_defined(length in prop_oneof![0..20_000_000_u64, 0..1_u64 << 45]) {
            prop_assert_eq!(u64::from(default_block_length(length, Protocol::LATEST)), block_length_by_definition(length, 1 << 17));
            prop_assert_eq!(u64::from(default_block_length(length, Protocol::OLDEST)), block_length_by_definition(length, 1 << 29));
        }

        #[test]
        fn blocks_cover_the_file(length in 1..10_000_000_u64) {
            let head = latest(length);
            prop_assert_eq!(head.described_length(), length);
            let (offset, last) = head.block(head.count - 1).unwrap();
            prop_assert_eq!(offset + u64::from(last), length);
        }
    }
}
