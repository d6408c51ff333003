//! Integers and short strings, and their writers (wire-session.md section 5).
//!
//! Reading is a method on [`Cursor`], writing a `put_` function over the output bytes. The two
//! variable-length forms share one idea: the number of leading one-bits of the first byte tells how many
//! bytes follow beyond the minimum, and the bits after the first zero are the value's top byte.

use crate::{Cursor, Malformed, Protocol, Stop};

/// The longest string that fits the two length bytes of [`put_vstring`].
pub const VSTRING_MAX: usize = 0x7fff;

impl<'a> Cursor<'a> {
    /// An unsigned 16-bit little-endian integer.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn shortint(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_le_bytes)
    }

    /// A signed 32-bit little-endian integer.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn int(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_le_bytes)
    }

    /// The 64-bit integer of protocols below 30: an int, or `ff ff ff ff` and eight bytes. An int other
    /// than -1 is sign-extended.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn longint(&mut self) -> Result<i64, Stop> {
        let mut ahead = self.clone();
        let value = match ahead.int()? {
            -1 => ahead.array().map(i64::from_le_bytes)?,
            int => i64::from(int),
        };
        *self = ahead;
        Ok(value)
    }

    /// A 32-bit integer of one to five bytes.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], or [`Malformed::IntegerOverflow`] if the first byte announces more than five.
    pub fn varint(&mut self) -> Result<i32, Stop> {
        let mut ahead = self.clone();
        let first = ahead.byte()?;
        let extra = extra_bytes(first);
        if extra > 4 {
            return Err(Malformed::IntegerOverflow.into());
        }
        // Five bytes hold 35 bits; the upper three are ignored, as rsync does.
        let mut le = [0; 5];
        le[..extra].copy_from_slice(ahead.take(extra)?);
        le[extra] = top_byte(first, extra);
        *self = ahead;
        Ok(i32::from_le_bytes([le[0], le[1], le[2], le[3]]))
    }

    /// A 64-bit integer of `min` to nine bytes. `min` is fixed for each field, 3 to 8: 3 for sizes and
    /// statistics, 4 for times. (Below 3 the form cannot hold every value.)
    ///
    /// # Errors
    /// [`Stop::Incomplete`], or [`Malformed::IntegerOverflow`] if the first byte announces more than nine.
    pub fn varlong(&mut self, min: usize) -> Result<i64, Stop> {
        debug_assert!((3..=8).contains(&min));
        let mut ahead = self.clone();
        let first = ahead.byte()?;
        let extra = extra_bytes(first);
        if min + extra > 9 {
            return Err(Malformed::IntegerOverflow.into());
        }
        // Nine bytes carry eight of value: the ninth is the first byte with nothing left in it.
        let low = min - 1 + extra;
        let mut le = [0; 9];
        le[..low].copy_from_slice(ahead.take(low)?);
        le[low] = top_byte(first, extra);
        *self = ahead;
        let [a, b, c, d, e, f, g, h, _] = le;
        Ok(i64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// [`Cursor::varint`], or [`Cursor::int`] where the protocol has no variable-length integers.
    ///
    /// # Errors
    /// As theirs.
    pub fn varint30(&mut self, protocol: Protocol) -> Result<i32, Stop> {
        if protocol.has_variable_integers() {
            self.varint()
        } else {
            self.int()
        }
    }

    /// [`Cursor::varlong`], or [`Cursor::longint`] where the protocol has no variable-length integers.
    ///
    /// # Errors
    /// As theirs.
    pub fn varlong30(&mut self, protocol: Protocol, min: usize) -> Result<i64, Stop> {
        if protocol.has_variable_integers() {
            self.varlong(min)
        } else {
            self.longint()
        }
    }

    /// A string with one or two length bytes, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], or [`Malformed::StringTooLong`] as soon as the length is known.
    pub fn vstring(&mut self, limit: usize) -> Result<&'a [u8], Stop> {
        let mut ahead = self.clone();
        let first = ahead.byte()?;
        let length = match first & 0x80 {
            0 => usize::from(first),
            _ => usize::from(first & 0x7f) << 8 | usize::from(ahead.byte()?),
        };
        if length > limit {
            return Err(Malformed::StringTooLong { length, limit }.into());
        }
        let string = ahead.take(length)?;
        *self = ahead;
        Ok(string)
    }
}

/// Writes what [`Cursor::shortint`] reads.
pub fn put_shortint(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes what [`Cursor::int`] reads.
pub fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes what [`Cursor::longint`] reads.
pub fn put_longint(out: &mut Vec<u8>, value: i64) {
    match u32::try_from(value) {
        Ok(small) if small <= 0x7fff_ffff => out.extend_from_slice(&small.to_le_bytes()),
        _ => {
            out.extend_from_slice(&[0xff; 4]);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Writes what [`Cursor::varint`] reads, in the fewest bytes.
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_variable(out, &value.to_le_bytes(), 1);
}

/// Writes what [`Cursor::varlong`] reads with the same `min`, in the fewest bytes.
pub fn put_varlong(out: &mut Vec<u8>, value: i64, min: usize) {
    debug_assert!((3..=8).contains(&min));
    put_variable(out, &value.to_le_bytes(), min);
}

/// Writes what [`Cursor::varint30`] reads.
pub fn put_varint30(out: &mut Vec<u8>, protocol: Protocol, value: i32) {
    if protocol.has_variable_integers() {
        put_varint(out, value);
    } else {
        put_int(out, value);
    }
}

/// Writes what [`Cursor::varlong30`] reads with the same `min`.
pub fn put_varlong30(out: &mut Vec<u8>, protocol: Protocol, value: i64, min: usize) {
    if protocol.has_variable_integers() {
        put_varlong(out, value, min);
    } else {
        put_longint(out, value);
    }
}

/// Writes what [`Cursor::vstring`] reads. Longer strings than [`VSTRING_MAX`] have no encoding: the caller
/// bounds them first, and one that did not gets a prefix of its string sent, never a torn stream.
pub fn put_vstring(out: &mut Vec<u8>, string: &[u8]) {
    debug_assert!(string.len() <= VSTRING_MAX);
    let string = &string[..string.len().min(VSTRING_MAX)];
    let [high, low] = (string.len() as u16).to_be_bytes();
    match string.len() {
        0..=0x7f => out.push(low),
        _ => out.extend_from_slice(&[0x80 | high, low]),
    }
    out.extend_from_slice(string);
}

/// How many bytes beyond the minimum the first byte of a variable-length integer announces, 0 to 6.
fn extra_bytes(first: u8) -> usize {
    // fc..ff all mean six: the two bits below are value bits of a class that has no zero bit to end it.
    first.leading_ones().min(6) as usize
}

/// The bits of the first byte that belong to the value.
fn top_byte(first: u8, extra: usize) -> u8 {
    first & (0xff_u8 >> extra)
}

/// Writes a value of at most eight little-endian bytes in the form whose shortest encoding has `min` bytes.
fn put_variable(out: &mut Vec<u8>, le: &[u8], min: usize) {
    let significant = le
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let count = significant.max(min);
    let extra = count - min;
    let top = le[count - 1];
    let ones = |bits: usize| !(0xff_u16 >> bits) as u8;
    if top >= 1 << (7 - extra) {
        // The top byte does not fit below the one-bits: spend one more, and send it in full.
        out.push(ones(extra + 1));
        out.extend_from_slice(&le[..count]);
    } else {
        out.push(ones(extra) | top);
        out.extend_from_slice(&le[..count - 1]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tables of wire-session.md 5.2 and wire-files.md 1.2.
    const VARINTS: &[(i32, &[u8])] = &[
        (0, &[0x00]),
        (1, &[0x01]),
        (127, &[0x7f]),
        (128, &[0x80, 0x80]),
        (255, &[0x80, 0xff]),
        (300, &[0x81, 0x2c]),
        (511, &[0x81, 0xff]),
        (12_345, &[0xb0, 0x39]),
        (16_383, &[0xbf, 0xff]),
        (16_384, &[0xc0, 0x00, 0x40]),
        (54_321, &[0xc0, 0x31, 0xd4]),
        (65_535, &[0xc0, 0xff, 0xff]),
        (2_097_151, &[0xdf, 0xff, 0xff]),
        (2_097_152, &[0xe0, 0x00, 0x00, 0x20]),
        (268_435_455, &[0xef, 0xff, 0xff, 0xff]),
        (268_435_456, &[0xf0, 0x00, 0x00, 0x00, 0x10]),
        (525_600_308, &[0xf0, 0x34, 0x06, 0x54, 0x1f]),
        (i32::MAX, &[0xf0, 0xff, 0xff, 0xff, 0x7f]),
        (-1, &[0xf0, 0xff, 0xff, 0xff, 0xff]),
        (i32::MIN, &[0xf0, 0x00, 0x00, 0x00, 0x80]),
    ];

    /// The tables of wire-session.md 5.3 and wire-files.md 1.2: minimum, value, bytes.
    const VARLONGS: &[(usize, i64, &[u8])] = &[
        (3, 0, &[0x00, 0x00, 0x00]),
        (3, 1, &[0x00, 0x01, 0x00]),
        (3, 12, &[0x00, 0x0c, 0x00]),
        (3, 4096, &[0x00, 0x00, 0x10]),
        (3, 5000, &[0x00, 0x88, 0x13]),
        (3, 0xffff, &[0x00, 0xff, 0xff]),
        (3, 0x7f_ffff, &[0x7f, 0xff, 0xff]),
        (3, 0x80_0000, &[0x80, 0x00, 0x00, 0x80]),
        (3, 0x3fff_ffff, &[0xbf, 0xff, 0xff, 0xff]),
        (3, 0x4000_0000, &[0xc0, 0x00, 0x00, 0x00, 0x40]),
        (3, 5_368_709_120, &[0xc1, 0x00, 0x00, 0x00, 0x40]),
        (3, 1 << 40, &[0xe1, 0x00, 0x00, 0x00, 0x00, 0x00]),
        (
            3,
            (1 << 48) - 1,
            &[0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        (
            3,
            1 << 62,
            &[0xfc, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40],
        ),
        (4, 0, &[0x00, 0x00, 0x00, 0x00]),
        (4, 0x7fff_ffff, &[0x7f, 0xff, 0xff, 0xff]),
        (4, 0x8000_0000, &[0x80, 0x00, 0x00, 0x00, 0x80]),
        (4, 1_795_349_873, &[0x6b, 0x71, 0xdd, 0x02]),
        (4, 1 << 40, &[0xc1, 0x00, 0x00, 0x00, 0x00, 0x00]),
        (
            4,
            (1 << 48) - 1,
            &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        (
            4,
            -315_619_200,
            &[0xf8, 0x80, 0x08, 0x30, 0xed, 0xff, 0xff, 0xff, 0xff],
        ),
    ];

    fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    #[test]
    fn varints_are_written_and_read_as_recorded() {
        for &(value, bytes) in VARINTS {
            assert_eq!(
                written(|out| put_varint(out, value)),
                bytes,
                "writing {value}"
            );
            assert_eq!(
                Cursor::new(bytes).varint(),
                Ok(value),
                "reading {bytes:02x?}"
            );
        }
    }

    #[test]
    fn varlongs_are_written_and_read_as_recorded() {
        for &(min, value, bytes) in VARLONGS {
            assert_eq!(
                written(|out| put_varlong(out, value, min)),
                bytes,
                "writing {value}"
            );
            assert_eq!(
                Cursor::new(bytes).varlong(min),
                Ok(value),
                "reading {bytes:02x?}"
            );
        }
    }

    #[test]
    fn an_overflowing_class_is_malformed_before_its_bytes_arrive() {
        let overflow = Stop::Malformed(Malformed::IntegerOverflow);
        assert_eq!(Cursor::new(&[0xf8]).varint(), Err(overflow.clone()));
        assert_eq!(Cursor::new(&[0xff]).varint(), Err(overflow.clone()));
        assert_eq!(Cursor::new(&[0xfc]).varlong(4), Err(overflow));
        assert_eq!(Cursor::new(&[0xfc]).varlong(3), Err(Stop::Incomplete));
    }

    #[test]
    fn a_fifth_varint_byte_has_ignored_bits() {
        assert_eq!(Cursor::new(&[0xf7, 1, 0, 0, 0]).varint(), Ok(1));
    }

    #[test]
    fn longint_has_a_short_and_a_long_form() {
        assert_eq!(
            written(|out| put_longint(out, 0x7fff_ffff)),
            [0xff, 0xff, 0xff, 0x7f]
        );
        assert_eq!(
            written(|out| put_longint(out, 0x8000_0000)),
            [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80, 0, 0, 0, 0]
        );
        assert_eq!(Cursor::new(&[0xfe, 0xff, 0xff, 0xff]).longint(), Ok(-2));
    }

    #[test]
    fn a_strings_length_takes_one_byte_or_two() {
        assert_eq!(written(|out| put_vstring(out, &[7; 127]))[..2], [127, 7]);
        assert_eq!(
            written(|out| put_vstring(out, &[7; 128]))[..3],
            [0x80, 0x80, 7]
        );
        assert_eq!(
            written(|out| put_vstring(out, &[7; 0x1234]))[..3],
            [0x92, 0x34, 7]
        );
        assert_eq!(
            Cursor::new(&[0x81, 0x00]).vstring(255),
            Err(Malformed::StringTooLong {
                length: 256,
                limit: 255
            }
            .into())
        );
    }

    proptest! {
        #[test]
        fn integers_round_trip(int: i32, long: i64, min in 3_usize..=8) {
            let bytes = written(|out| {
                put_int(out, int);
                put_varint(out, int);
                put_longint(out, long);
                put_varlong(out, long, min);
            });
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.int(), Ok(int));
            prop_assert_eq!(cursor.varint(), Ok(int));
            prop_assert_eq!(cursor.longint(), Ok(long));
            prop_assert_eq!(cursor.varlong(min), Ok(long));
            prop_assert!(cursor.rest().is_empty());
        }

        #[test]
        fn a_reader_that_stops_has_consumed_nothing(string in proptest::collection::vec(any::<u8>(), 0..300), long: i64) {
            let string = written(|out| put_vstring(out, &string));
            let long = written(|out| put_varlong(out, long, 3));
            for cut in 0..string.len() {
                let mut cursor = Cursor::new(&string[..cut]);
                prop_assert_eq!(cursor.vstring(VSTRING_MAX), Err(Stop::Incomplete));
                prop_assert_eq!(cursor.position(), 0);
            }
            for cut in 0..long.len() {
                let mut cursor = Cursor::new(&long[..cut]);
                prop_assert_eq!(cursor.varlong(3), Err(Stop::Incomplete));
                prop_assert_eq!(cursor.position(), 0);
            }
        }
    }
}
