//! The head of a batch file; what follows it is the data stream of a sender (wire-session.md 10.1).

use bitflags::bitflags;

use crate::{CompatFlags, Cursor, Malformed, Protocol, Stop, put_int, put_varint};

bitflags! {
    /// The options that shape the data stream, which a reader of the batch must have too.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct BatchOptions: u32 {
        /// `-r`.
        const RECURSIVE = 1 << 0;
        /// `-o`.
        const OWNER = 1 << 1;
        /// `-g`.
        const GROUP = 1 << 2;
        /// `-l`.
        const LINKS = 1 << 3;
        /// `-D`.
        const DEVICES = 1 << 4;
        /// `-H`.
        const HARD_LINKS = 1 << 5;
        /// `-c`.
        const CHECKSUM = 1 << 6;
        /// `-d`.
        const DIRS = 1 << 7;
        /// `-z`.
        const COMPRESS = 1 << 8;
        /// `--iconv`.
        const ICONV = 1 << 9;
        /// `-A`.
        const ACLS = 1 << 10;
        /// `-X`.
        const XATTRS = 1 << 11;
        /// `--inplace`.
        const INPLACE = 1 << 12;
        /// `--append`.
        const APPEND = 1 << 13;
        /// `--append-verify`.
        const APPEND_VERIFY = 1 << 14;
    }
}

impl BatchOptions {
    /// The options that a batch of this protocol tells anything about.
    #[must_use]
    pub fn known_to(protocol: Protocol) -> Self {
        let since_29 = Self::DIRS | Self::COMPRESS;
        let since_30 = Self::ICONV
            | Self::ACLS
            | Self::XATTRS
            | Self::INPLACE
            | Self::APPEND
            | Self::APPEND_VERIFY;
        let mut known = Self::all();
        if !protocol.has_item_flags() {
            known -= since_29;
        }
        if !protocol.has_compat_flags() {
            known -= since_30;
        }
        known
    }
}

/// What a reader needs to know before the first file list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// The options in force, among those that are [`BatchOptions::known_to`] the protocol.
    pub options: BatchOptions,
    /// The protocol of the stream.
    pub protocol: Protocol,
    /// The compat flags of the session that wrote it; empty below protocol 30.
    pub flags: CompatFlags,
    /// The checksum seed.
    pub seed: i32,
}

impl BatchHead {
    /// Reads the head.
    ///
    /// # Errors
    /// [`Stop`], with [`Malformed::BatchTooNew`] or [`Malformed::OutOfRange`] for a protocol that we do not speak.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let mut ahead = cursor.clone();
        let options = BatchOptions::from_bits_truncate(ahead.int()? as u32);
        let number = ahead.int()?;
        if number > i32::from(Protocol::LATEST.number()) {
            return Err(Malformed::BatchTooNew(number).into());
        }
        let protocol = u8::try_from(number).ok().and_then(Protocol::new);
        let protocol = protocol.ok_or(Malformed::OutOfRange {
            what: "batch protocol",
            value: i64::from(number),
        })?;
        let flags = if protocol.has_compat_flags() {
            CompatFlags::decode(&mut ahead)?
        } else {
            CompatFlags::empty()
        };
        let seed = ahead.int()?;
        *cursor = ahead;
        Ok(Self {
            options: options & BatchOptions::known_to(protocol),
            protocol,
            flags,
            seed,
        })
    }

    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_int(out, self.options.bits() as i32);
        put_int(out, i32::from(self.protocol.number()));
        if self.protocol.has_compat_flags() {
            put_varint(out, self.flags.bits() as i32);
        }
        put_int(out, self.seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_head() {
        let bytes = [
            0x9f, 0, 0, 0, 0x20, 0, 0, 0, 0x81, 0xff, 0x12, 0x28, 0x13, 0x6b,
        ];
        let head = BatchHead::decode(&mut Cursor::new(&bytes)).expect("well-formed");
        let archive = BatchOptions::RECURSIVE
            | BatchOptions::OWNER
            | BatchOptions::GROUP
            | BatchOptions::LINKS
            | BatchOptions::DEVICES
            | BatchOptions::DIRS;
        let expected = BatchHead {
            options: archive,
            protocol: Protocol::LATEST,
            flags: CompatFlags::all(),
            seed: 0x6b13_2812,
        };
        assert_eq!(head, expected);
        let mut out = Vec::new();
        head.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn older_batches_know_fewer_options() {
        let head = |number: u8| {
            let bytes = [0xff, 0x7f, 0, 0, number, 0, 0, 0, 1, 0, 0, 0, 0];
            BatchHead::decode(&mut Cursor::new(&bytes)).map(|head| head.options.bits())
        };
        assert_eq!(head(28), Ok(0x7f));
        assert_eq!(head(29), Ok(0x1ff));
        assert_eq!(head(30), Ok(0x7fff));
        assert_eq!(head(33), Err(Malformed::BatchTooNew(33).into()));
        assert_eq!(
            head(26),
            Err(Malformed::OutOfRange {
                what: "batch protocol",
                value: 26
            }
            .into())
        );
    }
}
