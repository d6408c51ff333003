//! Which checksum and which compressor two peers use (wire-session.md 3.5 and 3.6).
//!
//! Each side sends the names it offers. Which common name wins differs between rsync versions, but all
//! agree if the client's list is in the server's order of preference. So a client hears the server's list before it
//! sends its own ([`Offer::in_order_of`]), and a server takes the first name of the client's list that it has, which
//! every client does too.

use std::fmt;

use thiserror::Error;

use crate::Protocol;

/// A checksum for blocks and whole files, in the canonical order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// XXH3 with 128 bits.
    Xxh128,
    /// XXH3 with 64 bits.
    Xxh3,
    /// XXH64.
    Xxh64,
    /// MD5.
    Md5,
    /// MD4 by name, in any protocol.
    Md4,
    /// MD4 because a protocol below 30 implies it: the whole-file sum starts with the seed.
    ImpliedMd4,
    /// SHA-1.
    Sha1,
    /// No verification, and whole files only.
    None,
}

/// A compressor of the token stream, in the canonical order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// LZ4.
    Lz4,
    /// zlib without matched data in its history.
    Zlibx,
    /// zlib with matched data in its history: what every version knows.
    Zlib,
    /// No compression.
    None,
}

/// Something that is agreed on by name.
pub trait Algorithm: Copy + Eq + 'static {
    /// All that have a name of their own, in canonical order.
    const NAMED: &'static [Self];
    /// The word that error texts have for its kind.
    const KIND: &'static str;
    /// The option that chooses one.
    const OPTION: &'static str;

    /// The name on the wire.
    fn name(self) -> &'static str;

    /// The algorithm of this name, in any case.
    fn from_name(name: &[u8]) -> Option<Self>;
}

impl Checksum {
    /// The length of a full sum in bytes.
    #[must_use]
    pub fn digest_length(self) -> usize {
        match self {
            Self::Xxh128 | Self::Md5 | Self::Md4 | Self::ImpliedMd4 => 16,
            Self::Xxh3 | Self::Xxh64 => 8,
            Self::Sha1 => 20,
            Self::None => 1,
        }
    }

    /// A full sum as people write it. The XXH family's travel with the last byte first.
    #[must_use]
    pub fn written(self, sum: &[u8]) -> Vec<u8> {
        let mut sum = sum.to_vec();
        if matches!(self, Self::Xxh128 | Self::Xxh3 | Self::Xxh64) {
            sum.reverse();
        }
        sum
    }

    /// What is used where nothing is negotiated or chosen.
    #[must_use]
    pub fn default_for(protocol: Protocol) -> Self {
        if protocol.defaults_to_md5() {
            Self::Md5
        } else {
            Self::ImpliedMd4
        }
    }
}

impl Compression {
    /// What is used where nothing is negotiated or chosen.
    pub const DEFAULT: Self = Self::Zlib;
}

impl Algorithm for Checksum {
    const NAMED: &'static [Self] = &[
        Self::Xxh128,
        Self::Xxh3,
        Self::Xxh64,
        Self::Md5,
        Self::Md4,
        Self::Sha1,
        Self::None,
    ];
    const KIND: &'static str = "checksum";
    const OPTION: &'static str = "--checksum-choice";

    fn name(self) -> &'static str {
        match self {
            Self::Xxh128 => "xxh128",
            Self::Xxh3 => "xxh3",
            Self::Xxh64 => "xxh64",
            Self::Md5 => "md5",
            Self::Md4 | Self::ImpliedMd4 => "md4",
            Self::Sha1 => "sha1",
            Self::None => "none",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case(b"xxhash") {
            b"xxh64"
        } else {
            name
        };
        find_named(name)
    }
}

impl Algorithm for Compression {
    const NAMED: &'static [Self] = &[Self::Zstd, Self::Lz4, Self::Zlibx, Self::Zlib, Self::None];
    const KIND: &'static str = "compress";
    const OPTION: &'static str = "--compress-choice";

    fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Zlibx => "zlibx",
            Self::Zlib => "zlib",
            Self::None => "none",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        find_named(name)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why no algorithm could be settled on. Exit code 4.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NegotiationError {
    /// The lists share no name.
    #[error(
        "Failed to negotiate a {kind} choice.\nServer list: {server_list}\nClient list: {client_list}"
    )]
    NothingInCommon {
        /// [`Algorithm::KIND`].
        kind: &'static str,
        /// The server's names.
        server_list: String,
        /// The client's names.
        client_list: String,
    },
    /// The client chose by option what the server's administrator left out of the list.
    #[error("Your {option} value ({name}) was refused by the server.")]
    Refused {
        /// [`Algorithm::OPTION`].
        option: &'static str,
        /// The chosen name.
        name: &'static str,
    },
    /// A name in an option that we do not know.
    #[error("unknown {kind} name: {name}")]
    Unknown {
        /// [`Algorithm::KIND`].
        kind: &'static str,
        /// The name as given.
        name: String,
    },
}

impl NegotiationError {
    /// "requested action not supported".
    pub const EXIT_CODE: u8 = 4;
}

/// Which end of the connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The program the user started.
    Client,
    /// The peer it started or connected to.
    Server,
}

/// The algorithms one side offers, in canonical order unless a server prefers another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<A> {
    algorithms: Vec<A>,
}

impl<A: Algorithm> Offer<A> {
    /// The longest list that is accepted, in bytes.
    pub const LENGTH_MAX: usize = 255;

    /// All we know. A client does not offer to go without.
    #[must_use]
    pub fn all(side: Side) -> Self {
        let offered = |algorithm: &A| side == Side::Server || algorithm.name() != "none";
        Self {
            algorithms: A::NAMED.iter().copied().filter(offered).collect(),
        }
    }

    /// One algorithm only, as when a batch is written.
    #[must_use]
    pub fn only(algorithm: A) -> Self {
        Self {
            algorithms: vec![algorithm],
        }
    }

    /// The offer that the value of `RSYNC_CHECKSUM_LIST` or `RSYNC_COMPRESS_LIST` asks for: names separated by
    /// white space, before an `&` for clients and behind it for servers. Unknown names are dropped. A value
    /// without any word means [`Offer::all`].
    #[must_use]
    pub fn from_environment(value: &[u8], side: Side) -> Self {
        let mut parts = value.splitn(2, |&byte| byte == b'&');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        let list = match side {
            Side::Client => first,
            Side::Server => second.unwrap_or(first),
        };
        match words(list).next() {
            None => Self::all(side),
            Some(_) => {
                let named: Vec<A> = known_names(list);
                Self {
                    algorithms: A::NAMED
                        .iter()
                        .copied()
                        .filter(|a| named.contains(a))
                        .collect(),
                }
            }
        }
    }

    /// The same offer in the order of preference of a server, which has sent this list.
    #[must_use]
    pub fn in_order_of(self, server: &[u8]) -> Self {
        let ranks: Vec<A> = known_names(server);
        let rank = |algorithm: &A| ranks.iter().position(|ranked| ranked == algorithm);
        let mut algorithms = self.algorithms;
        algorithms.sort_by_key(|algorithm| rank(algorithm).unwrap_or(usize::MAX));
        Self { algorithms }
    }

    /// The text to send: the names, or a word that no peer knows if there are none.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self.algorithms.as_slice() {
            [] => "INVALID".to_owned(),
            algorithms => algorithms
                .iter()
                .map(|a| a.name())
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    /// The algorithm that both sides arrive at, `side` being ours and `peer` the text that came.
    ///
    /// # Errors
    /// [`NegotiationError::NothingInCommon`]. (rsync's servers leave without its text.)
    pub fn choose(&self, side: Side, peer: &[u8]) -> Result<A, NegotiationError> {
        let theirs: Vec<A> = known_names(peer);
        let (client, server) = match side {
            Side::Client => (&self.algorithms, &theirs),
            Side::Server => (&theirs, &self.algorithms),
        };
        let chosen = client
            .iter()
            .copied()
            .find(|algorithm| server.contains(algorithm));
        chosen.ok_or_else(|| {
            let peer = String::from_utf8_lossy(peer).into_owned();
            let (server_list, client_list) = match side {
                Side::Client => (peer, self.to_text()),
                Side::Server => (self.to_text(), peer),
            };
            NegotiationError::NothingInCommon {
                kind: A::KIND,
                server_list,
                client_list,
            }
        })
    }

    /// Settles on what a peer that cannot negotiate uses.
    ///
    /// # Errors
    /// [`NegotiationError::NothingInCommon`] if our list leaves it out.
    pub fn accept_default(&self, side: Side, default: A) -> Result<A, NegotiationError> {
        // By name, because listing MD4 admits the variants that older protocols imply.
        self.choose(side, default.name().as_bytes())
            .map(|_| default)
    }

    /// Checks a client's explicit choice against a server's list.
    ///
    /// # Errors
    /// [`NegotiationError::Refused`].
    pub fn permit(&self, choice: A) -> Result<(), NegotiationError> {
        // By name, as in `accept_default`.
        let listed = self
            .algorithms
            .iter()
            .any(|listed| listed.name() == choice.name());
        let refused = NegotiationError::Refused {
            option: A::OPTION,
            name: choice.name(),
        };
        if listed { Ok(()) } else { Err(refused) }
    }
}

/// The algorithm of a name that a user gave; `auto` is `None`.
///
/// # Errors
/// [`NegotiationError::Unknown`].
pub fn parse_choice<A: Algorithm>(name: &[u8]) -> Result<Option<A>, NegotiationError> {
    if name.eq_ignore_ascii_case(b"auto") {
        return Ok(None);
    }
    let unknown = || NegotiationError::Unknown {
        kind: A::KIND,
        name: String::from_utf8_lossy(name).into_owned(),
    };
    A::from_name(name).map(Some).ok_or_else(unknown)
}

/// The value of `--checksum-choice`: `None` stands for `auto`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChecksumChoice {
    /// For blocks and whole-file verification.
    pub transfer: Option<Checksum>,
    /// For `--checksum`.
    pub file: Option<Checksum>,
}

impl ChecksumChoice {
    /// Reads `X` (for both purposes) or `X,Y`.
    ///
    /// # Errors
    /// [`NegotiationError::Unknown`].
    pub fn parse(value: &[u8]) -> Result<Self, NegotiationError> {
        let mut parts = value.splitn(2, |&byte| byte == b',');
        let transfer = parse_choice(parts.next().unwrap_or_default())?;
        let file = parts.next().map_or(Ok(transfer), parse_choice)?;
        Ok(Self { transfer, file })
    }
}

fn find_named<A: Algorithm>(name: &[u8]) -> Option<A> {
    A::NAMED
        .iter()
        .copied()
        .find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
}

fn known_names<A: Algorithm>(list: &[u8]) -> Vec<A> {
    words(list).filter_map(A::from_name).collect()
}

fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: &str = "xxh128 xxh3 xxh64 md5 md4 sha1";

    fn checksums(value: &str, side: Side) -> Offer<Checksum> {
        Offer::from_environment(value.as_bytes(), side)
    }

    #[test]
    fn everything_is_offered_by_default() {
        assert_eq!(Offer::<Checksum>::all(Side::Client).to_text(), CANONICAL);
        assert_eq!(
            Offer::<Checksum>::all(Side::Server).to_text(),
            format!("{CANONICAL} none")
        );
        assert_eq!(
            Offer::<Compression>::all(Side::Client).to_text(),
            "zstd lz4 zlibx zlib"
        );
        assert_eq!(
            Offer::<Compression>::all(Side::Server).to_text(),
            "zstd lz4 zlibx zlib none"
        );
    }

    #[test]
    fn the_environment_restricts_the_list() {
        assert_eq!(checksums("", Side::Client).to_text(), CANONICAL);
        assert_eq!(
            checksums("md5  xxh128 md5", Side::Client).to_text(),
            "xxh128 md5"
        );
        assert_eq!(checksums("XXHASH", Side::Client).to_text(), "xxh64");
        assert_eq!(checksums("md5 & sha1", Side::Client).to_text(), "md5");
        assert_eq!(checksums("md5 & sha1", Side::Server).to_text(), "sha1");
        assert_eq!(checksums("md5", Side::Server).to_text(), "md5");
        assert_eq!(checksums("bogus", Side::Client).to_text(), "INVALID");
    }

    #[test]
    fn both_sides_choose_alike() {
        for client in [CANONICAL, "md5 md4", "md5 xxh128", "sha1", "none"] {
            let server = Offer::<Checksum>::all(Side::Server);
            let offer = checksums(client, Side::Client);
            let ours = offer.choose(Side::Client, server.to_text().as_bytes());
            assert_eq!(
                ours,
                server.choose(Side::Server, offer.to_text().as_bytes())
            );
            assert!(ours.is_ok());
        }
        // A foreign client that ranks in its own order.
        let server = Offer::<Checksum>::all(Side::Server);
        assert_eq!(
            server.choose(Side::Server, b"blake3 MD5 xxh128"),
            Ok(Checksum::Md5)
        );
    }

    #[test]
    fn a_client_follows_the_order_of_its_server() {
        let offer = Offer::<Compression>::from_environment(b"lz4 zlib zstd", Side::Client);
        assert_eq!(offer.to_text(), "zstd lz4 zlib");
        let ordered = offer.in_order_of(b"zlib foo lz4 zlib");
        assert_eq!(ordered.to_text(), "zlib lz4 zstd");
        let chosen = ordered.choose(Side::Client, b"zlib foo lz4 zlib");
        assert_eq!(chosen, Ok(Compression::Zlib));
    }

    #[test]
    fn nothing_in_common() {
        let error = checksums("bogus", Side::Client)
            .choose(Side::Client, b"md5 md4")
            .expect_err("no name");
        assert_eq!(
            error.to_string(),
            "Failed to negotiate a checksum choice.\nServer list: md5 md4\nClient list: INVALID"
        );
        let error = Offer::only(Compression::Zstd)
            .choose(Side::Server, b"lz4")
            .expect_err("no name");
        assert_eq!(
            error.to_string(),
            "Failed to negotiate a compress choice.\nServer list: zstd\nClient list: lz4"
        );
    }

    #[test]
    fn peers_that_cannot_negotiate() {
        let old = Protocol::new(29).expect("supported");
        let implied = Checksum::default_for(old);
        assert_eq!(implied, Checksum::ImpliedMd4);
        assert_eq!(
            checksums("md4", Side::Client).accept_default(Side::Client, implied),
            Ok(implied)
        );
        assert!(
            checksums("sha1", Side::Client)
                .accept_default(Side::Client, implied)
                .is_err()
        );
        assert_eq!(Checksum::default_for(Protocol::LATEST), Checksum::Md5);
        let all = Offer::<Compression>::all(Side::Client);
        assert_eq!(
            all.accept_default(Side::Client, Compression::DEFAULT),
            Ok(Compression::Zlib)
        );
    }

    #[test]
    fn an_explicit_choice_must_be_listed() {
        let offer = checksums("md5 md4", Side::Server);
        assert_eq!(offer.permit(Checksum::ImpliedMd4), Ok(()));
        assert_eq!(
            offer
                .permit(Checksum::Sha1)
                .map_err(|error| error.to_string()),
            Err("Your --checksum-choice value (sha1) was refused by the server.".to_owned())
        );
    }

    #[test]
    fn a_choice_names_one_checksum_or_two() {
        let choice =
            |value: &str| ChecksumChoice::parse(value.as_bytes()).map(|c| (c.transfer, c.file));
        assert_eq!(
            choice("md5"),
            Ok((Some(Checksum::Md5), Some(Checksum::Md5)))
        );
        assert_eq!(
            choice("xxh64,sha1"),
            Ok((Some(Checksum::Xxh64), Some(Checksum::Sha1)))
        );
        assert_eq!(choice("auto,md4"), Ok((None, Some(Checksum::Md4))));
        assert_eq!(choice("auto"), Ok((None, None)));
        let unknown = choice("md5,crc32").expect_err("unknown").to_string();
        assert_eq!(unknown, "unknown checksum name: crc32");
        let unknown = parse_choice::<Compression>(b"brotli")
            .expect_err("unknown")
            .to_string();
        assert_eq!(unknown, "unknown compress name: brotli");
    }
}
