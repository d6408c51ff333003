//! How a basis is divided into blocks (wire-files 10.4 to 10.6).

/// Blocks of equal length, but for the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blocks {
    count: u32,
    block_len: u32,
    remainder: u32,
    strong_len: u8,
}

/// A division that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBlocks {
    /// More blocks than a signed 32-bit number counts.
    #[error("{0} blocks are too many")]
    Count(u64),
    /// Blocks of no length, or longer than the limit.
    #[error("a block length of {0} is out of range")]
    BlockLen(u32),
    /// The last block is longer than a block.
    #[error("a last block of {0} bytes is longer than a block")]
    Remainder(u32),
    /// More bytes than a sum has.
    #[error("a sum length of {0} is out of range")]
    StrongLen(u32),
}

impl Blocks {
    /// The longest block from protocol 30 on.
    pub const MAX_LEN: u32 = 1 << 17;

    /// Blocks as a peer describes them: `count` blocks of `block_len` bytes, the last one of `remainder` if that is not 0.
    ///
    /// # Errors
    /// [`BadBlocks`] if a number is out of the bounds that `max_len` and the length of a whole sum, `digest_len`, set.
    pub fn new(
        count: u32,
        block_len: u32,
        strong_len: u32,
        remainder: u32,
        max_len: u32,
        digest_len: usize,
    ) -> Result<Self, BadBlocks> {
        if count > i32::MAX as u32 {
            return Err(BadBlocks::Count(count.into()));
        }
        if block_len > max_len || (block_len == 0 && count > 0) {
            return Err(BadBlocks::BlockLen(block_len));
        }
        if remainder > block_len {
            return Err(BadBlocks::Remainder(remainder));
        }
        match u8::try_from(strong_len) {
            Ok(short) if usize::from(short) <= digest_len => Ok(Blocks {
                count,
                block_len,
                remainder,
                strong_len: short,
            }),
            _ => Err(BadBlocks::StrongLen(strong_len)),
        }
    }

    /// Divides a basis of `len` bytes; see [`block_len`] and [`strong_len`].
    ///
    /// # Errors
    /// [`BadBlocks::Count`] if there would be too many, [`BadBlocks::BlockLen`] for a `block_len` of 0.
    pub fn divide(len: u64, block_len: u32, strong_len: u8) -> Result<Self, BadBlocks> {
        if block_len == 0 {
            return Err(BadBlocks::BlockLen(0));
        }
        let count = len.div_ceil(block_len.into());
        let too_many = BadBlocks::Count(count);
        let count = i32::try_from(count).map_err(|_| too_many)?.unsigned_abs();
        // The rest of a division by a u32 is one.
        let remainder = (len % u64::from(block_len)) as u32;
        Ok(Blocks {
            count,
            block_len,
            remainder,
            strong_len,
        })
    }

    /// How many blocks there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes in every block but the last.
    pub fn block_len(&self) -> u32 {
        self.block_len
    }

    /// Bytes in the last block, 0 if it is a whole one.
    pub fn remainder(&self) -> u32 {
        self.remainder
    }

    /// Bytes of each strong sum that are sent and compared.
    pub fn strong_len(&self) -> u8 {
        self.strong_len
    }

    /// Bytes that the blocks describe together.
    pub fn described_len(&self) -> u64 {
        let whole = u64::from(self.count) * u64::from(self.block_len);
        if self.remainder == 0 || self.count == 0 {
            whole
        } else {
            whole - u64::from(self.block_len - self.remainder)
        }
    }

    /// Where a block starts in the basis, in bytes, and how long it is. The index must be below [`Blocks::count`].
    pub fn range(&self, index: u32) -> (u64, u32) {
        let is_short = self.remainder != 0 && index + 1 == self.count;
        let len = if is_short {
            self.remainder
        } else {
            self.block_len
        };
        (u64::from(index) * u64::from(self.block_len), len)
    }
}

/// The block length for a basis of `len` bytes: 700, or for larger files about the square root, in steps of 8, up to
/// `max_len` (wire-files 10.5).
pub fn block_len(len: u64, max_len: u32) -> u32 {
    const SMALLEST: u64 = 700;
    if len <= SMALLEST * SMALLEST {
        return 700;
    }
    let bit = 1_u64 << (len.ilog2() / 2);
    if bit >= u64::from(max_len) {
        return max_len;
    }
    let root = len.isqrt() & !7;
    u32::try_from(root)
        .unwrap_or(max_len)
        .clamp(700, max_len.max(700))
}

/// How many bytes of each strong sum tell the blocks of a basis of `len` bytes apart. `digest_len` is the length of a
/// whole sum; a second try (`redo`) takes all of it, up to 16 bytes (wire-files 10.6).
pub fn strong_len(len: u64, block_len: u32, digest_len: usize, redo: bool) -> u8 {
    let longest = digest_len.min(16) as u8;
    if redo {
        return longest;
    }
    let bits = (10 + 2 * len.max(1).ilog2() as i32 - block_len.max(1).ilog2() as i32).max(0);
    let bytes = (bits + 1 - 32 + 7) / 8;
    u8::try_from(bytes.max(2)).unwrap_or(longest).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn lengths_follow_the_size_of_the_basis() {
        assert_eq!(block_len(0, Blocks::MAX_LEN), 700);
        assert_eq!(block_len(490_000, Blocks::MAX_LEN), 700);
        assert_eq!(block_len(490_001, Blocks::MAX_LEN), 700);
        assert_eq!(block_len(1 << 20, Blocks::MAX_LEN), 1024);
        assert_eq!(block_len(1_000_000_000, Blocks::MAX_LEN), 31_616);
        assert_eq!(block_len(100 << 30, Blocks::MAX_LEN), 1 << 17);
        assert_eq!(strong_len(100_000, 700, 16, false), 2);
        assert_eq!(strong_len(480_000, 700, 16, false), 2);
        assert_eq!(strong_len(100 << 30, 1 << 17, 16, false), 5);
        assert_eq!(strong_len(100, 700, 8, true), 8);
        assert_eq!(strong_len(100, 700, 20, true), 16);
        assert_eq!(strong_len(1, 700, 1, false), 1);
    }

    #[test]
    fn a_basis_divides_into_blocks_and_a_rest() {
        let blocks = Blocks::divide(100_000, 700, 2).expect("few blocks");
        assert_eq!(
            (blocks.count(), blocks.remainder(), blocks.described_len()),
            (143, 600, 100_000)
        );
        assert_eq!(blocks.range(142), (99_400, 600));
        assert_eq!(blocks.range(141), (98_700, 700));
        assert_eq!(
            Blocks::divide(1400, 700, 2)
                .expect("few blocks")
                .described_len(),
            1400
        );
        assert_eq!(
            Blocks::divide(u64::MAX, 700, 2),
            Err(BadBlocks::Count(u64::MAX / 700 + 1))
        );
    }

    #[test]
    fn what_a_peer_describes_is_bounded() {
        let described =
            |count, len, strong, rest| Blocks::new(count, len, strong, rest, Blocks::MAX_LEN, 16);
        assert!(described(143, 700, 2, 600).is_ok());
        assert!(described(0, 0, 0, 0).is_ok());
        assert_eq!(described(1, 0, 2, 0), Err(BadBlocks::BlockLen(0)));
        assert_eq!(
            described(1, (1 << 17) + 1, 2, 0),
            Err(BadBlocks::BlockLen((1 << 17) + 1))
        );
        assert_eq!(described(1, 700, 17, 0), Err(BadBlocks::StrongLen(17)));
        assert_eq!(described(1, 700, 256, 0), Err(BadBlocks::StrongLen(256)));
        assert_eq!(described(1, 700, 16, 701), Err(BadBlocks::Remainder(701)));
        assert_eq!(
            described(1 << 31, 700, 16, 0),
            Err(BadBlocks::Count(1 << 31))
        );
    }

    proptest! {
        #[test]
        fn block_lengths_are_as_defined(len in prop_oneof![0..20_000_000_u64, 0..1_u64 << 45]) {
            for longest in [Blocks::MAX_LEN, 1 << 29] {
                let defined = block_length_by_definition(len, longest.into());
                prop_assert_eq!(u64::from(block_len(len, longest)), defined);
            }
        }

        #[test]
        fn blocks_cover_the_basis(len in 1..10_000_000_u64) {
            let blocks = Blocks::divide(len, block_len(len, Blocks::MAX_LEN), 2).expect("few blocks");
            prop_assert_eq!(blocks.described_len(), len);
            let (offset, last) = blocks.range(blocks.count() - 1);
            prop_assert_eq!(offset + u64::from(last), len);
        }
    }
}
