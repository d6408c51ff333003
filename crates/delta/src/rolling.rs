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
        let (mut plain, mut weighted) = (0_i32, 0_i32);
        let (rows, rest) = window.as_chunks::<COLUMNS>();
        for rows in rows.chunks(ROWS) {
            // Columns do not depend on each other, so that the processor adds them side by side; 16 rows of at most 128
            // stay within 16 bits.
            let mut sums = [0_i16; COLUMNS];
            let mut sums_of_sums = [0_i16; COLUMNS];
            for row in rows {
                for ((sum, sum_of_sums), &byte) in sums.iter_mut().zip(&mut sums_of_sums).zip(row) {
                    *sum += i16::from(byte.cast_signed());
                    *sum_of_sums += *sum;
                }
            }
            // A byte weighs as much as there are bytes from it to the end: rows, but for its place in its own.
            let len = (rows.len() * COLUMNS) as i32;
            weighted = weighted.wrapping_add(len.wrapping_mul(plain));
            for (column, (sum, sum_of_sums)) in (0..).zip(sums.into_iter().zip(sums_of_sums)) {
                let (sum, sum_of_sums) = (i32::from(sum), i32::from(sum_of_sums));
                plain = plain.wrapping_add(sum);
                weighted = weighted.wrapping_add(COLUMNS as i32 * sum_of_sums - column * sum);
            }
        }
        for &byte in rest {
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

/// Bytes that are summed side by side, and how often before they are brought together.
const COLUMNS: usize = 16;
const ROWS: usize = 16;

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
        // The largest numbers that the narrow sums meet.
        for (byte, value) in [(0x80, -128_i32), (0x7f, 127)] {
            let (plain, weighted) = (600 * value, 600 * 601 / 2 * value);
            let expected = (plain & 0xffff).cast_unsigned() | weighted.cast_unsigned() << 16;
            assert_eq!(weak_sum(&[byte; 600]), expected);
        }
    }

    proptest! {
        #[test]
        fn the_sum_is_as_defined(data in prop::collection::vec(any::<u8>(), 0..700)) {
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
