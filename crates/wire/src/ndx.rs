//! File indexes: the stream of numbers that joins requests and answers (wire-session.md 5.5).
//!
//! From protocol 30 on an index is sent as the distance to the one before it. Each direction of a
//! connection has one [`NdxWriter`] at its start and one [`NdxReader`] at its end, for its whole life.

use crate::{Cursor, Malformed, Protocol, Stop, put_int};

/// One value of the index stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ndx {
    /// An entry of the file lists. At most `i32::MAX`.
    File(u32),
    /// The end of a file list or of a phase.
    Done,
    /// No further file list will follow.
    FlistEof,
    /// The delete statistics follow.
    DelStats,
    /// The file list of this directory (by number) follows. At most [`Ndx::DIR_MAX`].
    Dir(u32),
}

impl Ndx {
    /// The largest directory number that has an encoding.
    pub const DIR_MAX: u32 = i32::MAX as u32 - DIR_BASE as u32;

    /// The number that stands for this value. Indexes beyond the encodable range (no list is that long)
    /// are taken as the largest one.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        match self {
            Self::File(index) => i32::try_from(index).unwrap_or(i32::MAX),
            Self::Done => DONE,
            Self::FlistEof => FLIST_EOF,
            Self::DelStats => DEL_STATS,
            Self::Dir(number) => -DIR_BASE - number.min(Self::DIR_MAX) as i32,
        }
    }

    /// The value that a number stands for.
    ///
    /// # Errors
    /// [`Malformed::FileIndex`] for the numbers without a meaning.
    pub fn from_wire(value: i32) -> Result<Self, Malformed> {
        match value {
            0.. => Ok(Self::File(value.unsigned_abs())),
            DONE => Ok(Self::Done),
            FLIST_EOF => Ok(Self::FlistEof),
            DEL_STATS => Ok(Self::DelStats),
            _ if value <= -DIR_BASE && value > i32::MIN => {
                Ok(Self::Dir((-DIR_BASE - value).unsigned_abs()))
            }
            _ => Err(Malformed::FileIndex(i64::from(value))),
        }
    }
}

/// Reads one direction's index stream.
#[derive(Debug, Clone)]
pub struct NdxReader {
    protocol: Protocol,
    bases: Bases,
}

impl NdxReader {
    /// The reader for a connection's start.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            bases: Bases::START,
        }
    }

    /// The next index.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] (the reader is unchanged), or [`Malformed::FileIndex`].
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Ndx, Stop> {
        let mut ahead = cursor.clone();
        if !self.protocol.has_variable_integers() {
            let ndx = Ndx::from_wire(ahead.int()?)?;
            *cursor = ahead;
            return Ok(ndx);
        }
        let mut bases = self.bases;
        let ndx = match ahead.byte()? {
            0 => Ndx::Done,
            NEGATIVE => {
                let first = ahead.byte()?;
                let magnitude = read_magnitude(&mut ahead, first, &mut bases.negative)?;
                Ndx::from_wire(-magnitude)?
            }
            first => Ndx::from_wire(read_magnitude(&mut ahead, first, &mut bases.positive)?)?,
        };
        self.bases = bases;
        *cursor = ahead;
        Ok(ndx)
    }
}

/// Writes one direction's index stream.
#[derive(Debug, Clone)]
pub struct NdxWriter {
    protocol: Protocol,
    bases: Bases,
}

impl NdxWriter {
    /// The writer for a connection's start.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            bases: Bases::START,
        }
    }

    /// Appends `ndx` to `out`.
    pub fn write(&mut self, out: &mut Vec<u8>, ndx: Ndx) {
        let value = ndx.to_wire();
        if !self.protocol.has_variable_integers() {
            put_int(out, value);
        } else if value == DONE {
            out.push(0);
        } else if value >= 0 {
            write_magnitude(out, value, &mut self.bases.positive);
        } else {
            out.push(NEGATIVE);
            write_magnitude(out, -value, &mut self.bases.negative);
        }
    }
}

/// The last magnitude of each sign.
#[derive(Debug, Clone, Copy)]
struct Bases {
    positive: i32,
    negative: i32,
}

impl Bases {
    const START: Self = Self {
        positive: -1,
        negative: 1,
    };
}

fn read_magnitude(cursor: &mut Cursor<'_>, first: u8, base: &mut i32) -> Result<i32, Stop> {
    let magnitude = match first {
        LONG_FORM => match cursor.array()? {
            [high, low] if high & ABSOLUTE == 0 => {
                i64::from(*base) + i64::from(u16::from_be_bytes([high, low]))
            }
            [top, a] => {
                let [b, c] = cursor.array()?;
                i64::from(u32::from_le_bytes([a, b, c, top & !ABSOLUTE]))
            }
        },
        distance => i64::from(*base) + i64::from(distance),
    };
    // The base starts at -1, so a distance of 0 can lead below 0 too.
    *base = i32::try_from(magnitude)
        .ok()
        .filter(|&m| m >= 0)
        .ok_or(Malformed::FileIndex(magnitude))?;
    Ok(*base)
}

fn write_magnitude(out: &mut Vec<u8>, magnitude: i32, base: &mut i32) {
    let distance = i64::from(magnitude) - i64::from(*base);
    *base = magnitude;
    match distance {
        1..=253 => out.push(distance as u8),
        0 | 254..=0x7fff => {
            out.push(LONG_FORM);
            out.extend_from_slice(&(distance as u16).to_be_bytes());
        }
        _ => {
            let [a, b, c, top] = magnitude.to_le_bytes();
            out.extend_from_slice(&[LONG_FORM, ABSOLUTE | top, a, b, c]);
        }
    }
}

const DONE: i32 = -1;
const FLIST_EOF: i32 = -2;
const DEL_STATS: i32 = -3;
/// Directory d is sent as `-DIR_BASE - d`.
const DIR_BASE: i32 = 101;

const NEGATIVE: u8 = 0xff;
const LONG_FORM: u8 = 0xfe;
/// In the second byte of the long form: a magnitude follows, not a distance.
const ABSOLUTE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sequence of wire-session.md 5.5, one writer in this order.
    const VECTORS: &[(i32, &[u8])] = &[
        (0, &[0x01]),
        (1, &[0x01]),
        (2, &[0x01]),
        (5, &[0x03]),
        (5, &[0xfe, 0x00, 0x00]),
        (258, &[0xfd]),
        (259, &[0x01]),
        (513, &[0xfe, 0x00, 0xfe]),
        (600, &[0x57]),
        (100, &[0xfe, 0x80, 0x64, 0x00, 0x00]),
        (40_000, &[0xfe, 0x80, 0x40, 0x9c, 0x00]),
        (40_001, &[0x01]),
        (-1, &[0x00]),
        (-2, &[0xff, 0x01]),
        (-101, &[0xff, 0x63]),
        (-102, &[0xff, 0x01]),
        (-103, &[0xff, 0x01]),
        (-3, &[0xff, 0xfe, 0x80, 0x03, 0x00, 0x00]),
        (-2, &[0xff, 0xfe, 0x80, 0x02, 0x00, 0x00]),
        (16_777_216, &[0xfe, 0x81, 0x00, 0x00, 0x00]),
    ];

    fn write_all(protocol: Protocol, values: &[i32]) -> Vec<u8> {
        let mut writer = NdxWriter::new(protocol);
        let mut out = Vec::new();
        for &value in values {
            writer.write(&mut out, Ndx::from_wire(value).expect("a meaningful value"));
        }
        out
    }

    #[test]
    fn indexes_are_written_and_read_as_recorded() {
        let mut writer = NdxWriter::new(Protocol::LATEST);
        let mut reader = NdxReader::new(Protocol::LATEST);
        for &(value, bytes) in VECTORS {
            let ndx = Ndx::from_wire(value).expect("a meaningful value");
            let mut out = Vec::new();
            writer.write(&mut out, ndx);
            assert_eq!(out, bytes, "writing {value}");
            assert_eq!(
                reader.read(&mut Cursor::new(bytes)),
                Ok(ndx),
                "reading {bytes:02x?}"
            );
        }
    }

    #[test]
    fn a_fresh_writer_begins_at_minus_one() {
        assert_eq!(
            write_all(Protocol::LATEST, &[-102, -2]),
            [0xff, 0x65, 0xff, 0xfe, 0x80, 2, 0, 0]
        );
        assert_eq!(write_all(Protocol::LATEST, &[-3]), [0xff, 0x02]);
        assert_eq!(
            write_all(Protocol::LATEST, &[-101, -102]),
            [0xff, 0x64, 0xff, 0x01]
        );
    }

    #[test]
    fn older_protocols_send_ints() {
        let protocol = Protocol::new(29).expect("supported");
        assert_eq!(
            write_all(protocol, &[-1, 3]),
            [0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0]
        );
        assert_eq!(
            NdxReader::new(protocol).read(&mut Cursor::new(&[3, 0, 0, 0])),
            Ok(Ndx::File(3))
        );
    }

    #[test]
    fn meaningless_numbers_are_malformed() {
        for value in [-4, -100, i32::MIN] {
            assert_eq!(
                Ndx::from_wire(value),
                Err(Malformed::FileIndex(i64::from(value)))
            );
        }
        // The largest index, then one more.
        let mut reader = NdxReader::new(Protocol::LATEST);
        let mut cursor = Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(
            reader.read(&mut cursor),
            Ok(Ndx::File(i32::MAX.unsigned_abs()))
        );
        assert_eq!(
            reader.read(&mut cursor),
            Err(Malformed::FileIndex(1 << 31).into())
        );
        // A distance of 0 from the start's -1.
        let mut fresh = NdxReader::new(Protocol::LATEST);
        assert_eq!(
            fresh.read(&mut Cursor::new(&[0xfe, 0, 0])),
            Err(Malformed::FileIndex(-1).into())
        );
    }

    fn any_ndx() -> impl Strategy<Value = Ndx> {
        prop_oneof![
            Just(Ndx::Done),
            Just(Ndx::FlistEof),
            Just(Ndx::DelStats),
            (0..=i32::MAX.unsigned_abs()).prop_map(Ndx::File),
            (0..2000_u32).prop_map(Ndx::File),
            (0..=Ndx::DIR_MAX).prop_map(Ndx::Dir),
        ]
    }

    proptest! {
        #[test]
        fn round_trip(values in proptest::collection::vec(any_ndx(), 0..50), number in 27..=32_u8, cut: prop::sample::Index) {
            let protocol = Protocol::new(number).expect("supported");
            let mut writer = NdxWriter::new(protocol);
            let mut out = Vec::new();
            for &ndx in &values {
                writer.write(&mut out, ndx);
            }
            // Reading in two halves: an index that is cut in two is read again from its start.
            let mut reader = NdxReader::new(protocol);
            let mut read = Vec::new();
            let mut first_half = Cursor::new(&out[..cut.index(out.len() + 1)]);
            while let Ok(ndx) = reader.read(&mut first_half) {
                read.push(ndx);
            }
            let mut rest = Cursor::new(&out[first_half.position()..]);
            while let Ok(ndx) = reader.read(&mut rest) {
                read.push(ndx);
            }
            prop_assert_eq!(read, values);
        }
    }
}
