//! The first line of a daemon connection, which both sides send (wire-session.md 7.2).

use thiserror::Error;

use crate::{Digest, PeerVersion, Protocol};

/// `@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version that the sender of the line speaks at most.
    pub version: PeerVersion,
    /// The digests it offers for authentication, for [`Digest::choose`]; `None` before rsync 3.2.7.
    pub digests: Option<Vec<u8>>,
}

/// A line that is no acceptable greeting. The texts are the client's; a daemon answers
/// [`BadGreeting::daemon_text`]. Exit code 5.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadGreeting {
    /// No version number where one belongs.
    #[error("rsync: server sent \"{0}\" rather than greeting")]
    NoVersion(String),
    /// A version of 30 or more without a sub-protocol.
    #[error("rsync: the server omitted the subprotocol value: {0}")]
    NoSubprotocol(String),
    /// A version above 31 without a list of digests.
    #[error("rsync: the server omitted the digest name list: {0}")]
    NoDigests(String),
}

impl BadGreeting {
    /// "error starting client-server protocol".
    pub const EXIT_CODE: u8 = 5;

    /// What a daemon sends after `@ERROR: ` before it closes.
    #[must_use]
    pub fn daemon_text(&self) -> String {
        match self {
            Self::NoVersion(_) => "protocol startup error".to_owned(),
            Self::NoSubprotocol(line) => {
                format!("your client omitted the subprotocol value: {line}")
            }
            Self::NoDigests(line) => format!("your client omitted the digest name list: {line}"),
        }
    }
}

impl Greeting {
    /// Our greeting when we speak at most `protocol`.
    #[must_use]
    pub fn own(protocol: Protocol) -> Self {
        Self {
            version: PeerVersion::released(protocol),
            digests: Some(Digest::list().into_bytes()),
        }
    }

    /// Reads a line without its LF.
    ///
    /// # Errors
    /// [`BadGreeting`].
    pub fn parse(line: &[u8]) -> Result<Self, BadGreeting> {
        let text = || String::from_utf8_lossy(line).into_owned();
        let after = line
            .strip_prefix(PREFIX)
            .ok_or_else(|| BadGreeting::NoVersion(text()))?;
        let (number, after) = split_number(after).ok_or_else(|| BadGreeting::NoVersion(text()))?;
        let sub = after.strip_prefix(b".").and_then(split_number);
        let after = sub.map_or(after, |(_, after)| after);
        let version = PeerVersion {
            number,
            sub: sub.map_or(0, |(sub, _)| sub),
        };
        if sub.is_none() && version.requires_subprotocol() {
            return Err(BadGreeting::NoSubprotocol(text()));
        }
        let space = after.iter().position(|&byte| byte == b' ');
        let digests = space.map(|at| after[at + 1..].to_vec());
        if digests.is_none() && version.requires_digest_list() {
            return Err(BadGreeting::NoDigests(text()));
        }
        Ok(Self { version, digests })
    }

    /// The line with its LF.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let PeerVersion { number, sub } = self.version;
        let mut line = PREFIX.to_vec();
        line.extend_from_slice(format!("{number}.{sub}").as_bytes());
        if let Some(digests) = &self.digests {
            line.push(b' ');
            line.extend_from_slice(digests);
        }
        line.push(b'\n');
        line
    }
}

/// The decimal number that `text` starts with, and what follows it.
pub(crate) fn split_number(text: &[u8]) -> Option<(i32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, after) = text.split_at(digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, after))
}

const PREFIX: &[u8] = b"@RSYNCD: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(i32, i32, Option<String>), BadGreeting> {
        let Greeting { version, digests } = Greeting::parse(line.as_bytes())?;
        let digests =
            digests.map(|digests| String::from_utf8(digests).expect("ASCII in, ASCII out"));
        Ok((version.number, version.sub, digests))
    }

    #[test]
    fn greetings_of_all_ages() {
        let list = || Some("sha512 sha256 sha1 md5 md4".to_owned());
        assert_eq!(parsed("@RSYNCD: 27"), Ok((27, 0, None)));
        assert_eq!(parsed("@RSYNCD: 29"), Ok((29, 0, None)));
        assert_eq!(parsed("@RSYNCD: 30.0"), Ok((30, 0, None)));
        assert_eq!(parsed("@RSYNCD: 31.0"), Ok((31, 0, None)));
        assert_eq!(parsed("@RSYNCD: 31.14"), Ok((31, 14, None)));
        assert_eq!(
            parsed("@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4"),
            Ok((31, 0, list()))
        );
        assert_eq!(
            parsed("@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4"),
            Ok((32, 0, list()))
        );
        assert_eq!(
            parsed("@RSYNCD: 29.0 sha512 sha256 sha1 md5 md4"),
            Ok((29, 0, list()))
        );
    }

    #[test]
    fn every_refusal_has_its_texts() {
        let refusal = |line: &str| {
            let bad = parsed(line).expect_err("a bad greeting");
            (bad.to_string(), bad.daemon_text())
        };
        let no_greeting = |line: &str| {
            (
                format!("rsync: server sent \"{line}\" rather than greeting"),
                "protocol startup error".to_owned(),
            )
        };
        for line in [
            "SSH-2.0-OpenSSH_9.6",
            "",
            "@RSYNCD: ",
            "@RSYNCD: x",
            "@RSYNCD: 99999999999",
        ] {
            assert_eq!(refusal(line), no_greeting(line));
        }
        for line in ["@RSYNCD: 30", "@RSYNCD: 30.", "@RSYNCD: 31 md5"] {
            let expected = (
                format!("rsync: the server omitted the subprotocol value: {line}"),
                format!("your client omitted the subprotocol value: {line}"),
            );
            assert_eq!(refusal(line), expected);
        }
        let line = "@RSYNCD: 32.0";
        let expected = (
            format!("rsync: the server omitted the digest name list: {line}"),
            format!("your client omitted the digest name list: {line}"),
        );
        assert_eq!(refusal(line), expected);
    }

    #[test]
    fn our_own_line() {
        assert_eq!(
            Greeting::own(Protocol::LATEST).to_line(),
            b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n".to_vec()
        );
        let old = Protocol::new(29).expect("supported");
        assert_eq!(
            Greeting::own(old).to_line(),
            b"@RSYNCD: 29.0 sha512 sha256 sha1 md5 md4\n".to_vec()
        );
    }
}
