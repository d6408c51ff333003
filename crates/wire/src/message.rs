//! The messages that travel between the frames of the data stream (wire-session.md 4.4).

use std::num::NonZeroU32;

use bitflags::bitflags;

use crate::{Code, Cursor, Malformed, Protocol, Stop, put_int};

/// A message beside the data stream, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text for the user's eyes, usually one line with its LF; any charset, control characters included.
    Text(Severity, Vec<u8>),
    /// Errors that the sender met; to be joined with one's own.
    IoError(IoErrors),
    /// A daemon's timeout in seconds, at most a day. `None` is a value that rsync ignores.
    IoTimeout(Option<NonZeroU32>),
    /// The keepalive of 3.0.x peers.
    Noop,
    /// The peer leaves with this exit code, or (without one) has seen that we leave.
    ErrorExit(Option<i32>),
    /// The receiving side has this file: under `--remove-source-files` the sender may delete its own.
    Success(u32),
    /// The receiving server deleted this path, relative to the root of the transfer.
    Deleted {
        /// The path, without the NUL that marks directories.
        path: Vec<u8>,
        /// Whether it was a directory.
        is_dir: bool,
    },
    /// The sender will not answer the request for this file.
    NoSend(u32),
}

/// What a text means for the one who prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// A file was not transferred: printed to stderr, and the exit code becomes 23.
    ErrorXfer,
    /// Printed to stdout.
    Info,
    /// Printed to stderr, without effect on the exit code.
    Error,
    /// Printed to stderr.
    Warning,
}

bitflags! {
    /// What went wrong while the sender read its files. Bits of later rsync versions are dropped.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct IoErrors: u8 {
        /// A file or directory could not be read; the receiving side must not delete.
        const GENERAL = 1;
        /// A file vanished between the listing and its transfer.
        const VANISHED = 2;
        /// `--max-delete` stopped deletions.
        const DELETE_LIMIT = 4;
    }
}

impl IoErrors {
    /// From the int that carries them on the wire.
    #[must_use]
    pub fn from_wire(bits: i32) -> Self {
        Self::from_bits_truncate(bits.to_le_bytes()[0])
    }

    /// The int that carries them on the wire.
    #[must_use]
    pub fn to_wire(self) -> i32 {
        i32::from(self.bits())
    }
}

impl Message {
    /// Appends the framed message to `out`. Below protocol 30 an error travels as
    /// [`Severity::ErrorXfer`] and a warning as [`Severity::Info`]; whether the peer knows the
    /// other messages is for the caller to ask its [`Protocol`]. Texts and paths are cut at
    /// [`Code::TEXT_MAX`].
    pub fn encode(&self, protocol: Protocol, out: &mut Vec<u8>) {
        let header_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let code = self.put_payload(protocol, out);
        let length = out.len() - header_at - 4;
        out[header_at..header_at + 4].copy_from_slice(&code.header(length));
    }

    fn put_payload(&self, protocol: Protocol, out: &mut Vec<u8>) -> Code {
        match self {
            Self::Text(severity, text) => {
                out.extend_from_slice(&text[..text.len().min(Code::TEXT_MAX)]);
                severity.code(protocol)
            }
            Self::IoError(errors) => {
                put_int(out, errors.to_wire());
                Code::IoError
            }
            Self::IoTimeout(seconds) => {
                put_int(out, seconds.map_or(0, |s| s.get().min(TIMEOUT_MAX) as i32));
                Code::IoTimeout
            }
            Self::Noop => Code::Noop,
            Self::ErrorExit(exit_code) => {
                if let Some(exit_code) = exit_code {
                    put_int(out, *exit_code);
                }
                Code::ErrorExit
            }
            Self::Success(index) => {
                out.extend_from_slice(&index.to_le_bytes());
                Code::Success
            }
            Self::Deleted { path, is_dir } => {
                out.extend_from_slice(&path[..path.len().min(Code::TEXT_MAX - 1)]);
                if *is_dir {
                    out.push(0);
                }
                Code::Deleted
            }
            Self::NoSend(index) => {
                out.extend_from_slice(&index.to_le_bytes());
                Code::NoSend
            }
        }
    }

    /// The message of a frame. `None` for [`Code::Data`], which is no message.
    pub(crate) fn decode(code: Code, payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let invalid = || Malformed::InvalidMessage {
            code: code as u8,
            length: payload.len(),
        };
        let int = || Cursor::new(payload).int().map_err(|_: Stop| invalid());
        let index =
            || int().and_then(|i| u32::try_from(i).map_err(|_| Malformed::FileIndex(i64::from(i))));
        Ok(Some(match code {
            Code::Data => return Ok(None),
            Code::ErrorXfer => Self::Text(Severity::ErrorXfer, payload.to_vec()),
            Code::Info => Self::Text(Severity::Info, payload.to_vec()),
            Code::Error => Self::Text(Severity::Error, payload.to_vec()),
            Code::Warning => Self::Text(Severity::Warning, payload.to_vec()),
            Code::IoError => Self::IoError(IoErrors::from_wire(int()?)),
            Code::IoTimeout => {
                let seconds = u32::try_from(int()?).ok().filter(|&s| s <= TIMEOUT_MAX);
                Self::IoTimeout(seconds.and_then(NonZeroU32::new))
            }
            Code::Noop => Self::Noop,
            Code::ErrorExit if payload.is_empty() => Self::ErrorExit(None),
            Code::ErrorExit => Self::ErrorExit(Some(int()?)),
            Code::Success => Self::Success(index()?),
            Code::Deleted => {
                let (path, is_dir) = match payload.strip_suffix(&[0]) {
                    Some(path) => (path, true),
                    None => (payload, false),
                };
                // A name with a NUL inside cannot exist; one that ends there would be mistaken for another.
                if path.contains(&0) {
                    return Err(invalid());
                }
                Self::Deleted {
                    path: path.to_vec(),
                    is_dir,
                }
            }
            Code::NoSend => Self::NoSend(index()?),
        }))
    }
}

impl Severity {
    fn code(self, protocol: Protocol) -> Code {
        match self {
            Self::Error if protocol.has_message_severities() => Code::Error,
            Self::Warning if protocol.has_message_severities() => Code::Warning,
            Self::ErrorXfer | Self::Error => Code::ErrorXfer,
            Self::Info | Self::Warning => Code::Info,
        }
    }
}

/// rsync 3.5.0 ignores longer timeouts, in seconds (wire-session.md 4.6).
const TIMEOUT_MAX: u32 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &Message, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(protocol, &mut out);
        out
    }

    #[test]
    fn messages_are_framed_as_captured() {
        let latest = Protocol::LATEST;
        assert_eq!(
            encoded(&Message::ErrorExit(Some(11)), latest),
            [4, 0, 0, 0x5d, 0x0b, 0, 0, 0]
        );
        assert_eq!(encoded(&Message::ErrorExit(None), latest), [0, 0, 0, 0x5d]);
        assert_eq!(
            encoded(
                &Message::Deleted {
                    path: b"x".to_vec(),
                    is_dir: true
                },
                latest
            ),
            [2, 0, 0, 0x6c, b'x', 0]
        );
        assert_eq!(
            encoded(
                &Message::Deleted {
                    path: b"x/y".to_vec(),
                    is_dir: false
                },
                latest
            ),
            [3, 0, 0, 0x6c, b'x', b'/', b'y']
        );
        assert_eq!(
            encoded(&Message::IoTimeout(NonZeroU32::new(77)), latest),
            [4, 0, 0, 0x28, 0x4d, 0, 0, 0]
        );
        let text = Message::Text(Severity::Error, b"ERROR: module is read only\n".to_vec());
        assert_eq!(encoded(&text, latest)[..4], [0x1b, 0, 0, 0x0a]);
    }

    #[test]
    fn severities_below_protocol_30() {
        let old = Protocol::new(29).expect("supported");
        let code = |severity| encoded(&Message::Text(severity, Vec::new()), old)[3];
        assert_eq!(code(Severity::Error), 0x08);
        assert_eq!(code(Severity::Warning), 0x09);
    }

    #[test]
    fn absurd_timeouts_and_unknown_error_bits_are_dropped() {
        let timeout = |seconds: i32| Message::decode(Code::IoTimeout, &seconds.to_le_bytes());
        for seconds in [0, -1, 86_401, i32::MAX] {
            assert_eq!(timeout(seconds), Ok(Some(Message::IoTimeout(None))));
        }
        assert_eq!(
            timeout(86_400),
            Ok(Some(Message::IoTimeout(NonZeroU32::new(86_400))))
        );
        assert_eq!(IoErrors::from_wire(-7), IoErrors::GENERAL);
    }

    #[test]
    fn hostile_payloads_are_malformed() {
        let minus_one = &[0xff; 4];
        assert_eq!(
            Message::decode(Code::Success, minus_one),
            Err(Malformed::FileIndex(-1))
        );
        assert_eq!(
            Message::decode(Code::Deleted, b"a\0b"),
            Err(Malformed::InvalidMessage {
                code: 101,
                length: 3
            })
        );
    }

    #[test]
    fn texts_are_cut_at_what_a_peer_accepts() {
        let message = Message::Text(Severity::Info, vec![b'x'; 10_000]);
        assert_eq!(
            encoded(&message, Protocol::LATEST).len(),
            4 + Code::TEXT_MAX
        );
    }
}
