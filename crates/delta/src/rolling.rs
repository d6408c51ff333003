//! The weak sum, which moves along a file byte by byte (wire-files 11.1).

/// The weak sum of a window that can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RollingSum {
    /// Both wrap; only the low 16 bits are part of the sum.
    plain: u32,
    weighted: u32,
    len: u32,
}

impl RollingSum {
    /// The sum of a whole window, of less than 4 GiB.
    pub fn new(window: &[u8]) -> Self {
        // Within a chunk nothing depends on the byte before, so that the loop is vectorised; 64 bytes of at most 128
        // times at most 64 are far from overflow.
        const CHUNK: usize = 64;
        let (mut plain, mut weighted) = (0_i32, 0_i32);
        let mut chunks = window.chunks_exact(CHUNK);
        for chunk in &mut chunks {
            let (mut chunk_plain, mut chunk_weighted) = (0_i32, 0_i32);
            for (weight, &byte) in (1..=CHUNK as i32).rev().zip(chunk) {
                let value = i32::from(byte.cast_signed());
                chunk_plain += value;
                chunk_weighted += weight * value;
            }
            weighted = weighted
                .wrapping_add((CHUNK as i32).wrapping_mul(plain))
                .wrapping_add(chunk_weighted);
            plain = plain.wrapping_add(chunk_plain);
        }
        for &byte in chunks.remainder() {
            plain = plain.wrapping_add(byte.cast_signed().into());
            weighted = weighted.wrapping_add(plain);
        }
        RollingSum {
            plain: plain.cast_unsigned(),
            weighted: weighted.cast_unsigned(),
            len: window.len() as u32,
        }
    }

    /// Moves the window by one: `leaving` was its first byte, `entering` is its new last one.
    #[inline]
    pub fn roll(&mut self, leaving: u8, entering: u8) {
        let (leaving, entering) = (signed(leaving), signed(entering));
        self.plain = self.plain.wrapping_add(entering.wrapping_sub(leaving));
        // In this order only one addition waits for the byte before.
        let change = self.plain.wrapping_sub(self.len.wrapping_mul(leaving));
        self.weighted = self.weighted.wrapping_add(change);
    }

    /// The sum as it is sent.
    #[inline]
    pub fn value(self) -> u32 {
        (self.plain & 0xffff) | (self.weighted << 16)
    }
}

/// The weak sum of one block.
pub fn weak_sum(block: &[u8]) -> u32 {
    RollingSum::new(block).value()
}

/// Bytes count as signed numbers, modulo 2^32.
#[inline]
fn signed(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sums_are_those_of_rsync() {
        assert_eq!(weak_sum(b"hello world\n"), 0x1e66_0466);
        assert_eq!(weak_sum(&[0x80, 0xff, 0x01]), 0xfe7f_ff80);
        assert_eq!(weak_sum(b""), 0);
    }

    proptest! {
        #[test]
        fn the_sum_is_as_defined(data in prop::collection::vec(any::<u8>(), 0..400)) {
            let (mut plain, mut weighted) = (0_i64, 0_i64);
            for (at, &byte) in data.iter().enumerate() {
                plain += i64::from(byte.cast_signed());
                weighted += (data.len() - at) as i64 * i64::from(byte.cast_signed());
            }
            let expected = (plain & 0xffff) | ((weighted & 0xffff) << 16);
            prop_assert_eq!(i64::from(weak_sum(&data)), expected);
        }

        #[test]
        fn rolling_gives_the_sum_of_the_new_window(data in prop::collection::vec(any::<u8>(), 2..300), len in 1_usize..200) {
            let len = len.min(data.len() - 1);
            let mut sum = RollingSum::new(&data[..len]);
            for at in 0..data.len() - len {
                prop_assert_eq!(sum.value(), weak_sum(&data[at..at + len]));
                sum.roll(data[at], data[at + len]);
            }
        }
    }
}
