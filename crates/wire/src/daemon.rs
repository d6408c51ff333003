//! The lines of a daemon connection between the greetings and the data stream (wire-session.md 7).

use thiserror::Error;

use crate::greeting::split_number;
use crate::{Cursor, Malformed, Stop};

impl Cursor<'_> {
    /// A line without its LF and without any CR, of at most `limit` bytes: [`REQUEST_LINE_MAX`] for what a
    /// daemon reads first, [`REPLY_LINE_MAX`] for everything else.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], [`Malformed::LineTooLong`], or [`Malformed::NulInLine`].
    pub fn line(&mut self, limit: usize) -> Result<Vec<u8>, Stop> {
        let rest = self.rest();
        let end = rest.iter().take(limit + 1).position(|&byte| byte == b'\n');
        let seen = &rest[..end.unwrap_or(rest.len().min(limit + 1))];
        if seen.contains(&0) {
            return Err(Malformed::NulInLine.into());
        }
        match end {
            None if seen.len() > limit => Err(Malformed::LineTooLong { limit }.into()),
            None => Err(Stop::Incomplete),
            Some(end) => {
                self.take(end + 1)?;
                Ok(seen.iter().copied().filter(|&byte| byte != b'\r').collect())
            }
        }
    }
}

/// The longest greeting or module line that a daemon reads, in bytes.
pub const REQUEST_LINE_MAX: usize = 1022;

/// The longest line that a client reads, and the longest authentication reply, in bytes.
pub const REPLY_LINE_MAX: usize = 5118;

/// The longest early input, in bytes.
pub const EARLY_INPUT_MAX: usize = 5120;

/// What a daemon says in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonLine<'a> {
    /// Prove who you are; the challenge's text is for [`Digest::response`](crate::Digest::response).
    AuthRequired(&'a [u8]),
    /// Send the arguments.
    Ok,
    /// The listing is complete.
    Exit,
    /// The whole line, to be printed before leaving with exit code 5.
    Error(&'a [u8]),
    /// Message of the day or listing.
    Text(&'a [u8]),
}

impl<'a> DaemonLine<'a> {
    /// Tells the kinds of line apart.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        match line {
            b"@RSYNCD: OK" => Self::Ok,
            b"@RSYNCD: EXIT" => Self::Exit,
            _ if line.starts_with(b"@ERROR") => Self::Error(line),
            _ => match line.strip_prefix(b"@RSYNCD: AUTHREQD ") {
                Some(challenge) => Self::AuthRequired(challenge),
                None => Self::Text(line),
            },
        }
    }

    /// Appends the line, with its LF, as a daemon sends it.
    ///
    /// # Errors
    /// [`Unsendable`], a line break in a text.
    pub fn encode(self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::AuthRequired(challenge) => put_line(out, &[b"@RSYNCD: AUTHREQD ", challenge]),
            Self::Ok => put_line(out, &[b"@RSYNCD: OK"]),
            Self::Exit => put_line(out, &[b"@RSYNCD: EXIT"]),
            Self::Error(text) | Self::Text(text) => put_line(out, &[text]),
        }
    }

    /// Appends `@ERROR: TEXT`. Line breaks in the text, which may quote the peer, become spaces.
    pub fn encode_error(text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"@ERROR: ");
        out.extend(text.bytes().map(|byte| {
            if matches!(byte, b'\n' | 0) {
                b' '
            } else {
                byte
            }
        }));
        out.push(b'\n');
    }

    /// Appends a module of the listing.
    ///
    /// # Errors
    /// [`Unsendable`], a line break in name or comment.
    pub fn encode_module(name: &[u8], comment: &[u8], out: &mut Vec<u8>) -> Result<(), Unsendable> {
        let padding = &[b' '; 15][name.len().min(15)..];
        put_line(out, &[name, padding, b"\t", comment])
    }
}

/// What a client asks of a daemon, after the greetings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleRequest {
    /// The listing of modules.
    List,
    /// So many bytes of early input follow, 1 to [`EARLY_INPUT_MAX`], and then another request.
    EarlyInput(usize),
    /// A module by name.
    Module(Vec<u8>),
}

/// A module line that no daemon understands; the text is for [`DaemonLine::encode_error`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// A command word that does not exist.
    #[error("Unknown command '{0}'")]
    UnknownCommand(String),
    /// Early input of no or too many bytes.
    #[error("invalid early_input length")]
    EarlyInputLength,
}

impl ModuleRequest {
    /// Reads a line.
    ///
    /// # Errors
    /// [`BadRequest`].
    pub fn parse(line: &[u8]) -> Result<Self, BadRequest> {
        if line.is_empty() || line == b"#list" {
            return Ok(Self::List);
        }
        if let Some(number) = line.strip_prefix(EARLY_INPUT) {
            return match split_number(number) {
                Some((length @ 1.., b"")) if length as usize <= EARLY_INPUT_MAX => {
                    Ok(Self::EarlyInput(length as usize))
                }
                _ => Err(BadRequest::EarlyInputLength),
            };
        }
        match line.first() {
            Some(b'#') => Err(BadRequest::UnknownCommand(
                String::from_utf8_lossy(line).into_owned(),
            )),
            _ => Ok(Self::Module(line.to_vec())),
        }
    }

    /// Appends the request's line. The bytes of early input are for the caller to append.
    ///
    /// # Errors
    /// [`Unsendable`], a line break in a module's name.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::List => put_line(out, &[]),
            Self::EarlyInput(length) => {
                put_line(out, &[EARLY_INPUT, length.to_string().as_bytes()])
            }
            Self::Module(name) => put_line(out, &[name]),
        }
    }
}

/// A client's answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthReply {
    /// The user's name.
    pub user: Vec<u8>,
    /// The text of [`Digest::response`](crate::Digest::response).
    pub response: Vec<u8>,
}

impl AuthReply {
    /// Reads a line; `None` if it has no space, which fails the authentication.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let space = line.iter().position(|&byte| byte == b' ')?;
        Some(Self {
            user: line[..space].to_vec(),
            response: line[space + 1..].to_vec(),
        })
    }

    /// Appends the line.
    ///
    /// # Errors
    /// [`Unsendable`], a line break in the user's name.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        put_line(out, &[&self.user, b" ", &self.response])
    }
}

/// Text that contains the byte that ends it on the wire: sent, it would arrive as two items.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot be sent because of a line break or NUL in it: {0:?}")]
pub struct Unsendable(pub String);

impl Unsendable {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(String::from_utf8_lossy(text).into_owned())
    }
}

/// Appends a line made of `parts`, all or nothing.
fn put_line(out: &mut Vec<u8>, parts: &[&[u8]]) -> Result<(), Unsendable> {
    if let Some(part) = parts
        .iter()
        .find(|part| part.iter().any(|byte| matches!(byte, b'\n' | 0)))
    {
        return Err(Unsendable::new(part));
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.push(b'\n');
    Ok(())
}

const EARLY_INPUT: &[u8] = b"#early_input=";

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Unsendable>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out).expect("sendable");
        out
    }

    #[test]
    fn lines_are_cut_at_lf() {
        let mut cursor = Cursor::new(b"one\r\n\ntw\ro\nthr");
        assert_eq!(cursor.line(10), Ok(b"one".to_vec()));
        assert_eq!(cursor.line(10), Ok(Vec::new()));
        assert_eq!(cursor.line(10), Ok(b"two".to_vec()));
        assert_eq!(cursor.line(10), Err(Stop::Incomplete));
        assert_eq!(cursor.rest(), b"thr");
    }

    #[test]
    fn hostile_lines_are_refused_at_their_bound() {
        assert_eq!(
            Cursor::new(b"a\0b\n").line(10),
            Err(Malformed::NulInLine.into())
        );
        assert_eq!(
            Cursor::new(b"0123456789\n").line(10),
            Ok(b"0123456789".to_vec())
        );
        assert_eq!(Cursor::new(b"0123456789").line(10), Err(Stop::Incomplete));
        assert_eq!(
            Cursor::new(b"0123456789a").line(10),
            Err(Malformed::LineTooLong { limit: 10 }.into())
        );
    }

    #[test]
    fn what_daemons_say() {
        assert_eq!(
            DaemonLine::parse(b"@RSYNCD: AUTHREQD abc"),
            DaemonLine::AuthRequired(b"abc")
        );
        assert_eq!(DaemonLine::parse(b"@RSYNCD: OK"), DaemonLine::Ok);
        assert_eq!(DaemonLine::parse(b"@RSYNCD: EXIT"), DaemonLine::Exit);
        let error = b"@ERROR: auth failed on module m";
        assert_eq!(DaemonLine::parse(error), DaemonLine::Error(error));
        for text in [&b"Welcome"[..], b"", b"@RSYNCD: OKAY", b" @ERROR"] {
            assert_eq!(DaemonLine::parse(text), DaemonLine::Text(text));
        }
    }

    #[test]
    fn a_captured_listing() {
        let listed = encoded(|out| {
            DaemonLine::encode_module(b"plain", b"plain module", out)?;
            DaemonLine::encode_module(b"a-name-of-16-let", b"", out)?;
            DaemonLine::Exit.encode(out)
        });
        let expected = "plain          \tplain module\na-name-of-16-let\t\n@RSYNCD: EXIT\n";
        assert_eq!(String::from_utf8_lossy(&listed), expected);
    }

    #[test]
    fn requests_are_read_and_bounded() {
        assert_eq!(ModuleRequest::parse(b""), Ok(ModuleRequest::List));
        assert_eq!(ModuleRequest::parse(b"#list"), Ok(ModuleRequest::List));
        assert_eq!(
            ModuleRequest::parse(b"hooks"),
            Ok(ModuleRequest::Module(b"hooks".to_vec()))
        );
        assert_eq!(
            ModuleRequest::parse(b"#early_input=5"),
            Ok(ModuleRequest::EarlyInput(5))
        );
        assert_eq!(
            ModuleRequest::parse(b"#early_input=5120"),
            Ok(ModuleRequest::EarlyInput(5120))
        );
        for bad in ["0", "5121", "-1", "", "5x", "99999999999"] {
            let line = format!("#early_input={bad}");
            assert_eq!(
                ModuleRequest::parse(line.as_bytes()),
                Err(BadRequest::EarlyInputLength)
            );
        }
        let unknown = ModuleRequest::parse(b"#starttls").expect_err("unknown");
        assert_eq!(unknown.to_string(), "Unknown command '#starttls'");
        assert_eq!(encoded(|out| ModuleRequest::List.encode(out)), b"\n");
        assert_eq!(
            encoded(|out| ModuleRequest::EarlyInput(5).encode(out)),
            b"#early_input=5\n"
        );
    }

    #[test]
    fn a_reply_is_a_user_and_an_answer() {
        let reply = AuthReply {
            user: b"alice".to_vec(),
            response: b"08xVmGFtsakJJcgTaBHuOw".to_vec(),
        };
        assert_eq!(
            encoded(|out| reply.encode(out)),
            b"alice 08xVmGFtsakJJcgTaBHuOw\n"
        );
        assert_eq!(
            AuthReply::parse(b"alice 08xVmGFtsakJJcgTaBHuOw"),
            Some(reply)
        );
        assert_eq!(AuthReply::parse(b"alice"), None);
    }

    #[test]
    fn nothing_is_smuggled_into_a_line() {
        let mut out = Vec::new();
        assert!(
            ModuleRequest::Module(b"m\n#list".to_vec())
                .encode(&mut out)
                .is_err()
        );
        assert!(
            AuthReply {
                user: b"a\nb".to_vec(),
                response: Vec::new()
            }
            .encode(&mut out)
            .is_err()
        );
        assert_eq!(out, b"");
        DaemonLine::encode_error("Unknown module 'a\n@RSYNCD: OK'", &mut out);
        assert_eq!(out, b"@ERROR: Unknown module 'a @RSYNCD: OK'\n");
    }
}
