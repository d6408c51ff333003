//! Daemon authentication: a digest over password and challenge (wire-session.md 7.7).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md4::Md4;
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::{NegotiationError, Protocol};

/// A digest for authentication, ordered from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// MD4 over four zero bytes and the input: below protocol 30 between peers that list no digests.
    OldMd4,
    /// MD4.
    Md4,
    /// MD5: from protocol 30 on between peers that list no digests (rsync before 3.2.7).
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// What we list in a greeting, in order of preference.
    pub const LISTED: [Self; 5] = [Self::Sha512, Self::Sha256, Self::Sha1, Self::Md5, Self::Md4];

    /// The digest of this name, in any case. The old MD4 cannot be named.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::LISTED
            .into_iter()
            .find(|digest| digest.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name in lists; the old MD4 has that of MD4.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OldMd4 | Self::Md4 => "md4",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest two peers use: the strongest that the peer's list names, or what its protocol implies
    /// if its greeting had none. A list counts whatever the protocol is.
    ///
    /// # Errors
    /// The list has none of ours: `None`. A client says [`Digest::nothing_in_common`] then.
    #[must_use]
    pub fn choose(peer_list: Option<&[u8]>, protocol: Protocol) -> Option<Self> {
        match peer_list {
            Some(list) => {
                let names: Vec<&[u8]> = list.split(|&byte| byte == b' ').collect();
                Self::LISTED
                    .into_iter()
                    .find(|d| names.iter().any(|name| Self::from_name(name) == Some(*d)))
            }
            None if protocol.defaults_to_md5() => Some(Self::Md5),
            None => Some(Self::OldMd4),
        }
    }

    /// A client's error when [`Digest::choose`] finds nothing.
    #[must_use]
    pub fn nothing_in_common(server_list: &[u8]) -> NegotiationError {
        NegotiationError::NothingInCommon {
            kind: "daemon auth checksum",
            server_list: String::from_utf8_lossy(server_list).into_owned(),
            client_list: Self::list(),
        }
    }

    /// The names of [`Digest::LISTED`], separated by spaces.
    #[must_use]
    pub fn list() -> String {
        Self::LISTED.map(Self::name).join(" ")
    }

    /// A challenge's text. `random` is what makes it unique and unpredictable: 32 bytes from the system's
    /// generator; `connection` is mixed in (address, time, process), so that even a bad generator repeats none.
    #[must_use]
    pub fn challenge(self, random: &[u8; 32], connection: &[u8]) -> String {
        STANDARD_NO_PAD.encode(self.hash([random, connection]))
    }

    /// The answer that proves knowledge of `password`. The challenge is its text as it came, not decoded.
    #[must_use]
    pub fn response(self, password: &[u8], challenge: &[u8]) -> String {
        STANDARD_NO_PAD.encode(self.hash([password, challenge]))
    }

    /// Whether `answer` is the [`Digest::response`], in a time that depends on the lengths only.
    #[must_use]
    pub fn verify(self, password: &[u8], challenge: &[u8], answer: &[u8]) -> bool {
        let expected = self.response(password, challenge);
        if expected.len() != answer.len() {
            return false;
        }
        let difference = expected
            .bytes()
            .zip(answer)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        // The barrier keeps the compiler from leaving the fold at its first difference.
        std::hint::black_box(difference) == 0
    }

    fn hash(self, parts: [&[u8]; 2]) -> Vec<u8> {
        fn over<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            parts.iter().for_each(|part| digest.update(part));
            digest.finalize().to_vec()
        }
        let [first, second] = parts;
        match self {
            Self::OldMd4 => over::<Md4>(&[&[0; 4], first, second]),
            Self::Md4 => over::<Md4>(&parts),
            Self::Md5 => over::<Md5>(&parts),
            Self::Sha1 => over::<Sha1>(&parts),
            Self::Sha256 => over::<Sha256>(&parts),
            Self::Sha512 => over::<Sha512>(&parts),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of wire-session.md 12.8.
    const VECTORS: &[(Digest, &str)] = &[
        (
            Digest::Sha512,
            "cnR8djKFzQSYZHuhQxno1MZ4hydRMBwJqDvM2cPo1HOlMRbdLcVPKLypIojBcZuYo+uxZkS1jA5+QaXjv0s2Wg",
        ),
        (
            Digest::Sha256,
            "3SuUNSDk25FchGv26jrLsJWXFAgMvCC4WsRIjQv2Jos",
        ),
        (Digest::Sha1, "u2CAcwZD+ubdc54/yVuMQakItpA"),
        (Digest::Md5, "mjJFKVmwdRTu5cM9Cfzz/g"),
        (Digest::Md4, "OerOhzTeIfVEY3sI55zRAQ"),
        (Digest::OldMd4, "x27ixA7ysnz1QpcUEaIzyg"),
    ];

    #[test]
    fn each_digest_answers_as_recorded() {
        for &(digest, expected) in VECTORS {
            assert_eq!(digest.response(b"sekrit", b"AAAA"), expected, "{digest:?}");
            assert!(digest.verify(b"sekrit", b"AAAA", expected.as_bytes()));
        }
    }

    /// The captures of wire-session.md 7.7.
    #[test]
    fn captured_answers_are_verified_and_made() {
        let sha512 = b"kQ1NbMIZQDz/x6o4mY2k/gUxDH25GDX2KikA8lCUM8S+uKfJPbp5/QScvbWQdkQbkpFts1ny/5lFgw0N3MSXRg";
        assert!(Digest::Sha512.verify(
            b"sekrit",
            sha512,
            b"9bjPi6dBuYTMHI+hyj72IyprJLruScVZq/+Lbb36UtNVFcGkq7d4lOjNFdoI7MOy90uWiRab1HtYE3/nTwuW/Q"
        ));
        assert_eq!(
            Digest::Md5.response(b"sekrit", b"0fYgiye0XICJIsBqh+MGhA"),
            "08xVmGFtsakJJcgTaBHuOw"
        );
        assert_eq!(
            Digest::OldMd4.response(b"sekrit", b"qR1cfgd+yEUYl5/zGszSCw"),
            "iWcaZxGJdc5EPS9f4ZBjyg"
        );
    }

    #[test]
    fn a_wrong_answer_fails() {
        let right = Digest::Sha256.response(b"sekrit", b"AAAA");
        assert!(!Digest::Sha256.verify(b"sekrit", b"AAAB", right.as_bytes()));
        assert!(!Digest::Sha256.verify(b"secret", b"AAAA", right.as_bytes()));
        assert!(!Digest::Sha256.verify(b"sekrit", b"AAAA", &right.as_bytes()[1..]));
        assert!(!Digest::Sha256.verify(b"sekrit", b"AAAA", b""));
    }

    #[test]
    fn the_strongest_common_digest_is_chosen() {
        let old = Protocol::new(29).expect("supported");
        let choose = |list: &str| Digest::choose(Some(list.as_bytes()), old);
        assert_eq!(choose("sha512 sha256 sha1 md5 md4"), Some(Digest::Sha512));
        assert_eq!(choose("md4 MD5"), Some(Digest::Md5));
        assert_eq!(choose("md4"), Some(Digest::Md4));
        assert_eq!(choose("blake3"), None);
        assert_eq!(choose(""), None);
        assert_eq!(Digest::choose(None, old), Some(Digest::OldMd4));
        assert_eq!(Digest::choose(None, Protocol::LATEST), Some(Digest::Md5));
    }

    #[test]
    fn strength_orders_digests() {
        assert!(Digest::LISTED.is_sorted_by(|a, b| a > b));
        assert!(Digest::OldMd4 < Digest::Md4);
    }

    #[test]
    fn challenges_differ_by_either_input() {
        let base = Digest::Sha512.challenge(&[0; 32], b"");
        assert_eq!(base.len(), 86);
        assert_ne!(base, Digest::Sha512.challenge(&[1; 32], b""));
        assert_ne!(base, Digest::Sha512.challenge(&[0; 32], b"192.0.2.1"));
    }
}
