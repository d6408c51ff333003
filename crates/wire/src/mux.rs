//! Multiplexing: the data stream and messages share one direction of a connection as tagged frames
//! (wire-session.md 4.1).
//!
//! The boundaries between data frames have no meaning, so [`Demux`] hands their payload out as it arrives,
//! borrowed from the caller's buffer and without waiting for a frame's end.

use crate::{Cursor, Malformed, Message, Stop, if_complete};

/// The tags of frames that may cross the wire. (rsync uses more between its own processes.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "each is described by the Message of the same name"
)]
pub enum Code {
    Data = 0,
    ErrorXfer = 1,
    Info = 2,
    Error = 3,
    Warning = 4,
    IoError = 22,
    IoTimeout = 33,
    Noop = 42,
    ErrorExit = 86,
    Success = 100,
    Deleted = 101,
    NoSend = 102,
}

impl Code {
    /// The longest payload, in bytes, that rsync accepts in a text or a deleted path.
    pub const TEXT_MAX: usize = 5119;

    const ALL: [Self; 12] = [
        Self::Data,
        Self::ErrorXfer,
        Self::Info,
        Self::Error,
        Self::Warning,
        Self::IoError,
        Self::IoTimeout,
        Self::Noop,
        Self::ErrorExit,
        Self::Success,
        Self::Deleted,
        Self::NoSend,
    ];

    /// The header of a frame with this tag. A frame has at most 2^24 - 1 bytes of payload.
    #[must_use]
    pub fn header(self, length: usize) -> [u8; 4] {
        debug_assert!(length <= LENGTH_MAX);
        let [a, b, c, _] = (length.min(LENGTH_MAX) as u32).to_le_bytes();
        [a, b, c, TAG_BASE + self as u8]
    }

    fn from_tag(tag: u8, length: usize) -> Result<Self, Malformed> {
        let code = i16::from(tag) - i16::from(TAG_BASE);
        let known = Self::ALL
            .into_iter()
            .find(|known| i16::from(*known as u8) == code);
        known.ok_or(match u8::try_from(code) {
            Ok(code) if SIBLINGS_ONLY.contains(&code) => Malformed::InvalidMessage { code, length },
            _ => Malformed::UnexpectedTag(code),
        })
    }

    /// Whether a payload of this length may follow, asked before any of it is awaited.
    fn check_length(self, length: usize) -> Result<(), Malformed> {
        let code = self as u8;
        let fits = match self {
            Self::Data => true,
            Self::ErrorXfer | Self::Info | Self::Error | Self::Warning | Self::Deleted => {
                if length > Self::TEXT_MAX {
                    return Err(Malformed::MessageTooLong { code, length });
                }
                true
            }
            Self::Noop => length == 0,
            Self::ErrorExit => length == 0 || length == 4,
            Self::IoError | Self::IoTimeout | Self::Success | Self::NoSend => length == 4,
        };
        if fits {
            Ok(())
        } else {
            Err(Malformed::InvalidMessage { code, length })
        }
    }
}

/// What [`Demux`] finds next in a direction.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The next bytes of the data stream, never empty.
    Data(&'a [u8]),
    /// A message; it may stand in the middle of a data item.
    Message(Message),
}

/// Takes one direction apart.
#[derive(Debug, Clone, Default)]
pub struct Demux {
    /// Bytes of the current data frame that have not been handed out.
    data_left: usize,
}

impl Demux {
    /// [`Demux::next`] leaves fewer bytes than this unconsumed: the longest message but for its last byte. So a
    /// buffer of this length always makes progress.
    pub const PENDING_MAX: usize = 4 + Code::TEXT_MAX;

    /// The demultiplexer for the moment where multiplexing is turned on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next data or message of `input`, `None` when more bytes are needed. What is then unconsumed
    /// (fewer than [`Demux::PENDING_MAX`] bytes) must be in front of the bytes given next.
    ///
    /// # Errors
    /// [`Malformed`] for tags and lengths that no peer may send, as soon as the header is there.
    pub fn next<'a>(&mut self, input: &mut Cursor<'a>) -> Result<Option<Incoming<'a>>, Malformed> {
        if_complete(self.advance(input))
    }

    fn advance<'a>(&mut self, input: &mut Cursor<'a>) -> Result<Incoming<'a>, Stop> {
        loop {
            if self.data_left > 0 {
                let here = input.rest().len().min(self.data_left);
                if here == 0 {
                    return Err(Stop::Incomplete);
                }
                self.data_left -= here;
                return Ok(Incoming::Data(input.take(here)?));
            }
            let mut ahead = input.clone();
            let [a, b, c, tag] = ahead.array()?;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let code = Code::from_tag(tag, length)?;
            code.check_length(length)?;
            if code == Code::Data {
                // An empty data frame is a keepalive: that bytes arrived is all it says.
                self.data_left = length;
                *input = ahead;
                continue;
            }
            let payload = ahead.take(length)?;
            let message = Message::decode(code, payload)?;
            *input = ahead;
            if let Some(message) = message {
                return Ok(Incoming::Message(message));
            }
        }
    }
}

/// An empty data frame, which only shows that we are alive.
pub const KEEPALIVE: [u8; 4] = [0, 0, 0, TAG_BASE];

const LENGTH_MAX: usize = 0xff_ffff;
/// A tag byte is this much above its code.
const TAG_BASE: u8 = 7;
/// Codes that rsync's processes send to each other on one machine and never to a peer.
const SIBLINGS_ONLY: std::ops::RangeInclusive<u8> = 5..=10;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::{IoErrors, Protocol, Severity};

    /// The payload of rsync's own data frames, in bytes.
    const DATA_FRAME_MAX: usize = 32 * 1024 - 4;

    /// Appends `data` to `out` as data frames of at most [`DATA_FRAME_MAX`] bytes.
    fn put_data(out: &mut Vec<u8>, data: &[u8]) {
        for chunk in data.chunks(DATA_FRAME_MAX) {
            out.extend_from_slice(&Code::Data.header(chunk.len()));
            out.extend_from_slice(chunk);
        }
    }

    /// Feeds `bytes` in pieces of the given lengths (the last one repeats) and collects what comes out.
    fn demultiplex(bytes: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Vec<Message>), Malformed> {
        let mut demux = Demux::new();
        let (mut data, mut messages) = (Vec::new(), Vec::new());
        let (mut buffer, mut given, mut lengths) = (Vec::new(), 0, pieces.iter().copied());
        let mut length = 1;
        while given < bytes.len() {
            length = lengths
                .next()
                .unwrap_or(length)
                .clamp(1, bytes.len() - given);
            buffer.extend_from_slice(&bytes[given..given + length]);
            given += length;
            let mut cursor = Cursor::new(&buffer);
            while let Some(incoming) = demux.next(&mut cursor)? {
                match incoming {
                    Incoming::Data(piece) => data.extend_from_slice(piece),
                    Incoming::Message(message) => messages.push(message),
                }
            }
            let consumed = cursor.position();
            buffer.drain(..consumed);
            assert!(buffer.len() < Demux::PENDING_MAX);
        }
        Ok((data, messages))
    }

    #[test]
    fn a_captured_push_to_a_read_only_module() {
        let mut bytes = vec![0x1b, 0, 0, 0x0a];
        bytes.extend_from_slice(b"ERROR: module is read only\n");
        bytes.extend_from_slice(&[4, 0, 0, 0x5d, 1, 0, 0, 0]);
        let (data, messages) = demultiplex(&bytes, &[3]).expect("well-formed");
        assert_eq!(data, b"");
        assert_eq!(
            messages,
            [
                Message::Text(Severity::Error, b"ERROR: module is read only\n".to_vec()),
                Message::ErrorExit(Some(1))
            ]
        );
    }

    #[test]
    fn data_is_handed_out_before_its_frame_ends() {
        let mut demux = Demux::new();
        let mut cursor = Cursor::new(&[0xff, 0xff, 0xff, 7, 1, 2]);
        assert_eq!(demux.next(&mut cursor), Ok(Some(Incoming::Data(&[1, 2]))));
        assert_eq!(demux.next(&mut cursor), Ok(None));
    }

    #[test]
    fn refusals_need_no_more_than_the_header() {
        let refusal = |header: [u8; 4]| Demux::new().next(&mut Cursor::new(&header)).err();
        assert_eq!(refusal([0, 0, 0, 6]), Some(Malformed::UnexpectedTag(-1)));
        assert_eq!(
            refusal([0, 0, 0, 7 + 60]),
            Some(Malformed::UnexpectedTag(60))
        );
        assert_eq!(
            refusal([4, 0, 0, 7 + 9]),
            Some(Malformed::InvalidMessage { code: 9, length: 4 })
        );
        assert_eq!(
            refusal([0, 0x14, 0, 7 + 2]),
            Some(Malformed::MessageTooLong {
                code: 2,
                length: 5120
            })
        );
        assert_eq!(
            refusal([5, 0, 0, 7 + 100]),
            Some(Malformed::InvalidMessage {
                code: 100,
                length: 5
            })
        );
        assert_eq!(
            refusal([1, 0, 0, 7 + 42]),
            Some(Malformed::InvalidMessage {
                code: 42,
                length: 1
            })
        );
    }

    #[test]
    fn the_longest_text_passes() {
        let mut bytes = Code::Info.header(Code::TEXT_MAX).to_vec();
        bytes.extend_from_slice(&[b'x'; Code::TEXT_MAX]);
        let (_, messages) = demultiplex(&bytes, &[4096]).expect("well-formed");
        assert_eq!(
            messages,
            [Message::Text(Severity::Info, vec![b'x'; Code::TEXT_MAX])]
        );
    }

    #[test]
    fn long_data_is_split_into_frames() {
        let data = vec![5; DATA_FRAME_MAX + 1];
        let mut out = Vec::new();
        put_data(&mut out, &data);
        assert_eq!(out.len(), data.len() + 8);
        assert_eq!(demultiplex(&out, &[1000]), Ok((data, Vec::new())));
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let severity = prop_oneof![
            Just(Severity::ErrorXfer),
            Just(Severity::Info),
            Just(Severity::Error),
            Just(Severity::Warning)
        ];
        let path = proptest::collection::vec(1..=255_u8, 0..20);
        prop_oneof![
            (severity, proptest::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(s, t)| Message::Text(s, t)),
            (0..8_i32).prop_map(|bits| Message::IoError(IoErrors::from_wire(bits))),
            (0..=86_400_u32).prop_map(|s| Message::IoTimeout(NonZeroU32::new(s))),
            Just(Message::Noop),
            any::<Option<i32>>().prop_map(Message::ErrorExit),
            (0..=i32::MAX.unsigned_abs()).prop_map(Message::Success),
            (path, any::<bool>()).prop_map(|(path, is_dir)| Message::Deleted { path, is_dir }),
            (0..=i32::MAX.unsigned_abs()).prop_map(Message::NoSend),
        ]
    }

    proptest! {
        #[test]
        fn any_mixture_comes_apart_however_it_is_split(
            sent in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..30), any_message()), 0..10),
            pieces in proptest::collection::vec(1..40_usize, 1..20),
        ) {
            let mut bytes = Vec::new();
            for (data, message) in &sent {
                put_data(&mut bytes, data);
                message.encode(Protocol::LATEST, &mut bytes);
                bytes.extend_from_slice(&KEEPALIVE);
            }
            let data: Vec<u8> = sent.iter().flat_map(|(data, _)| data.clone()).collect();
            let messages: Vec<Message> = sent.into_iter().map(|(_, message)| message).collect();
            prop_assert_eq!(demultiplex(&bytes, &pieces), Ok((data, messages)));
        }
    }
}
