//! The numbers that are exchanged at the end of a session (wire-session.md 8.3 and 8.4).

use crate::{Cursor, Malformed, Protocol, Stop, put_varint, put_varlong30};

/// What a server that sends files tells about the session, from its own point of view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes read from the connection, frame headers included.
    pub read: u64,
    /// Bytes written to the connection, frame headers included.
    pub written: u64,
    /// Total size of the files in the list, in bytes.
    pub total_size: u64,
    /// Time to build the file list, in milliseconds; 0 below protocol 29.
    pub list_build_ms: u64,
    /// Time to transfer the file list, in milliseconds; 0 below protocol 29.
    pub list_transfer_ms: u64,
}

impl Statistics {
    /// Reads the block. They are only printed, so a negative number is taken as 0.
    ///
    /// # Errors
    /// [`Stop`], as [`Cursor::varlong30`].
    pub fn decode(cursor: &mut Cursor<'_>, protocol: Protocol) -> Result<Self, Stop> {
        let mut ahead = cursor.clone();
        let mut next = || {
            ahead
                .varlong30(protocol, MIN)
                .map(|value| u64::try_from(value).unwrap_or(0))
        };
        let (read, written, total_size) = (next()?, next()?, next()?);
        let (list_build_ms, list_transfer_ms) = if protocol.has_list_times() {
            (next()?, next()?)
        } else {
            (0, 0)
        };
        *cursor = ahead;
        Ok(Self {
            read,
            written,
            total_size,
            list_build_ms,
            list_transfer_ms,
        })
    }

    /// Appends the block.
    pub fn encode(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let sizes = [self.read, self.written, self.total_size];
        let times = [self.list_build_ms, self.list_transfer_ms];
        let times = if protocol.has_list_times() {
            &times[..]
        } else {
            &[]
        };
        for &value in sizes.iter().chain(times) {
            put_varlong30(out, protocol, i64::try_from(value).unwrap_or(i64::MAX), MIN);
        }
    }
}

/// How many items of each kind the receiving side deleted. It follows
/// [`Ndx::DelStats`](crate::Ndx::DelStats). Each is at most [`DeleteStatistics::MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DeleteStatistics {
    pub files: u32,
    pub directories: u32,
    pub symlinks: u32,
    pub devices: u32,
    pub specials: u32,
}

impl DeleteStatistics {
    /// The largest number that rsync 3.5.0 accepts.
    pub const MAX: u32 = 1 << 28;

    /// Reads the block.
    ///
    /// # Errors
    /// [`Stop`], with [`Malformed::OutOfRange`] for negative and too large numbers.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let mut ahead = cursor.clone();
        let mut next = |what| {
            let value = ahead.varint()?;
            let count = u32::try_from(value)
                .ok()
                .filter(|&count| count <= Self::MAX);
            count.ok_or(Stop::from(Malformed::OutOfRange {
                what,
                value: i64::from(value),
            }))
        };
        let statistics = Self {
            files: next("deleted files")?,
            directories: next("deleted directories")?,
            symlinks: next("deleted symlinks")?,
            devices: next("deleted devices")?,
            specials: next("deleted specials")?,
        };
        *cursor = ahead;
        Ok(statistics)
    }

    /// Appends the block; larger numbers are sent as the largest one.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for count in [
            self.files,
            self.directories,
            self.symlinks,
            self.devices,
            self.specials,
        ] {
            put_varint(out, count.min(Self::MAX) as i32);
        }
    }
}

/// The fewest bytes of each number.
const MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: u8, bytes: &[u8], expected: Statistics) {
        let protocol = Protocol::new(number).expect("supported");
        let mut cursor = Cursor::new(bytes);
        assert_eq!(Statistics::decode(&mut cursor, protocol), Ok(expected));
        assert!(cursor.rest().is_empty());
        let mut out = Vec::new();
        expected.encode(protocol, &mut out);
        assert_eq!(out, bytes);
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(
            Statistics::decode(&mut Cursor::new(cut), protocol),
            Err(Stop::Incomplete)
        );
    }

    #[test]
    fn statistics_are_as_captured() {
        let newest = [0, 0x4d, 0, 0, 0xfd, 0, 0, 0x0e, 0, 0, 1, 0, 0, 0, 0];
        let statistics = Statistics {
            read: 77,
            written: 253,
            total_size: 14,
            list_build_ms: 1,
            list_transfer_ms: 0,
        };
        check(32, &newest, statistics);
        let old = [
            0x10, 0, 0, 0, 0x7b, 0, 0, 0, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        check(
            29,
            &old,
            Statistics {
                read: 16,
                written: 123,
                ..statistics
            },
        );
        check(
            28,
            &old[..12],
            Statistics {
                read: 16,
                written: 123,
                list_build_ms: 0,
                ..statistics
            },
        );
    }

    #[test]
    fn captured_delete_statistics() {
        let bytes = [1, 1, 0, 0, 0];
        let statistics = DeleteStatistics {
            files: 1,
            directories: 1,
            ..DeleteStatistics::default()
        };
        assert_eq!(
            DeleteStatistics::decode(&mut Cursor::new(&bytes)),
            Ok(statistics)
        );
        let mut out = Vec::new();
        statistics.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn absurd_delete_statistics_are_refused() {
        let mut bytes = vec![0, 0];
        put_varint(&mut bytes, (1 << 28) + 1);
        let error = DeleteStatistics::decode(&mut Cursor::new(&bytes)).expect_err("too many");
        assert_eq!(
            error,
            Malformed::OutOfRange {
                what: "deleted symlinks",
                value: (1 << 28) + 1
            }
            .into()
        );
    }
}
