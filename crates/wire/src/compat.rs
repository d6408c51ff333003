//! What client and server can do beyond the protocol number: the client says it in the argument of `-e`,
//! the server answers with flags (wire-session.md 2.4 and 3.4).

use bitflags::bitflags;
use thiserror::Error;

use crate::greeting::split_number;
use crate::{Cursor, PeerVersion, Stop, put_varint};

bitflags! {
    /// The server's answer, which binds both sides.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct CompatFlags: u32 {
        /// File lists are sent per directory, with owner names inline.
        const INC_RECURSE = 0x001;
        /// The receiving side can set the times of symlinks.
        const SYMLINK_TIMES = 0x002;
        /// With `--iconv`, symlink targets are converted too.
        const SYMLINK_ICONV = 0x004;
        /// A file list may end with I/O error bits.
        const SAFE_FLIST = 0x008;
        /// Extended attributes of hard-linked items are not skipped.
        const AVOID_XATTR_OPTIM = 0x010;
        /// MD5 sums take the seed before the data.
        const CHKSUM_SEED_FIX = 0x020;
        /// A basis file in the partial directory may be updated in place.
        const INPLACE_PARTIAL_DIR = 0x040;
        /// Entry flags are varints, and algorithms are negotiated.
        const VARINT_FLIST_FLAGS = 0x080;
        /// Id lists name user 0 and group 0 too.
        const ID0_NAMES = 0x100;
    }
}

impl CompatFlags {
    /// Reads the flags. Bits that have no meaning yet are dropped. Servers before 3.2.0 send one byte, which is
    /// a varint as well because they never set its top bit.
    ///
    /// # Errors
    /// [`Stop`], as [`Cursor::varint`].
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        cursor
            .varint()
            .map(|bits| Self::from_bits_truncate(bits as u32))
    }

    /// Writes the flags for `client`.
    pub fn encode(self, client: &ClientInfo, out: &mut Vec<u8>) {
        if client.has(LETTER_BYTE_FLAGS) {
            out.push(self.bits() as u8);
        } else {
            put_varint(out, self.bits() as i32);
        }
    }
}

/// The client's capabilities: what follows the `e` in the server's arguments, as in `-logDtpre.iLsfxCIvu`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    pre_release: Option<PeerVersion>,
    letters: Vec<u8>,
}

/// A server turned on incremental recursion that was not offered. Exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Incompatible options specified for inc-recursive connection.")]
pub struct UnofferedIncRecurse;

impl ClientInfo {
    /// What we can do. `inc_recurse` is whether our options allow incremental recursion, `iconv` whether
    /// we can convert symlink targets.
    #[must_use]
    pub fn own(inc_recurse: bool, iconv: bool) -> Self {
        let mut letters = b"iLsfxCIvu".to_vec();
        letters.retain(|letter| match letter {
            b'i' => inc_recurse,
            b's' => iconv,
            _ => true,
        });
        Self {
            pre_release: None,
            letters,
        }
    }

    /// Reads the argument of `-e`. Anything can stand there (it is a remote shell to the oldest
    /// servers); what is no version is taken as letters.
    #[must_use]
    pub fn parse(argument: &[u8]) -> Self {
        let pre_release = split_number(argument).and_then(|(number, after)| {
            let (sub, after) = split_number(after.strip_prefix(b".")?)?;
            Some((PeerVersion { number, sub }, after))
        });
        match pre_release {
            Some((version, letters)) => Self {
                pre_release: Some(version),
                letters: letters.to_vec(),
            },
            None => Self {
                pre_release: None,
                letters: argument.strip_prefix(b".").unwrap_or(argument).to_vec(),
            },
        }
    }

    /// The argument of `-e`.
    #[must_use]
    pub fn to_argument(&self) -> Vec<u8> {
        let mut argument = match self.pre_release {
            Some(PeerVersion { number, sub }) => format!("{number}.{sub}").into_bytes(),
            None => b".".to_vec(),
        };
        argument.extend_from_slice(&self.letters);
        argument
    }

    /// The sub-protocol to pair with the version int that the client sends: 0 unless it is a pre-release.
    #[must_use]
    pub fn sub(&self) -> i32 {
        self.pre_release.map_or(0, |version| version.sub)
    }

    /// The client can convert symlink targets.
    #[must_use]
    pub fn has_symlink_iconv(&self) -> bool {
        self.has(b's')
    }

    /// The server's flags: what it offers, as far as this client knows it.
    #[must_use]
    pub fn answer(&self, offered: CompatFlags) -> CompatFlags {
        // The two that speak of symlinks say what the server itself can do, so no letter asks for them.
        let mut known = CompatFlags::SYMLINK_TIMES | CompatFlags::SYMLINK_ICONV;
        for (letter, flag) in LETTERS {
            known.set(flag, known.contains(flag) || self.has(letter));
        }
        offered & known
    }

    /// Checks the answer of a server.
    ///
    /// # Errors
    /// [`UnofferedIncRecurse`]. More of the other flags than offered do no harm.
    pub fn accept(&self, answer: CompatFlags) -> Result<(), UnofferedIncRecurse> {
        if answer.contains(CompatFlags::INC_RECURSE) && !self.has(b'i') {
            Err(UnofferedIncRecurse)
        } else {
            Ok(())
        }
    }

    fn has(&self, letter: u8) -> bool {
        self.letters.contains(&letter)
    }
}

/// The letters that allow a flag. `V` is `v` of pre-releases, which read the flags as one byte.
const LETTERS: [(u8, CompatFlags); 8] = [
    (b'i', CompatFlags::INC_RECURSE),
    (b'f', CompatFlags::SAFE_FLIST),
    (b'x', CompatFlags::AVOID_XATTR_OPTIM),
    (b'C', CompatFlags::CHKSUM_SEED_FIX),
    (b'I', CompatFlags::INPLACE_PARTIAL_DIR),
    (b'v', CompatFlags::VARINT_FLIST_FLAGS),
    (LETTER_BYTE_FLAGS, CompatFlags::VARINT_FLIST_FLAGS),
    (b'u', CompatFlags::ID0_NAMES),
];

const LETTER_BYTE_FLAGS: u8 = b'V';

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags a server that offers everything sends to a client with this `-e` argument.
    fn answered(argument: &str) -> Vec<u8> {
        let client = ClientInfo::parse(argument.as_bytes());
        let mut out = Vec::new();
        client.answer(CompatFlags::all()).encode(&client, &mut out);
        out
    }

    #[test]
    fn flags_answer_a_client_as_observed() {
        assert_eq!(answered(".iLsfxCIvu"), [0x81, 0xff]);
        assert_eq!(answered(".LsfxCIvu"), [0x81, 0xfe]);
        assert_eq!(answered(".iLsfxC"), [0x3f]);
        assert_eq!(answered(".iLsfx"), [0x1f]);
        assert_eq!(answered(".iL"), [0x07]);
        assert_eq!(answered(""), [0x06]);
        assert_eq!(answered(".iLsfxCIV"), [0xff]);
    }

    #[test]
    fn old_bytes_are_varints_too() {
        let three_one_three = CompatFlags::decode(&mut Cursor::new(&[0x3f])).expect("complete");
        assert_eq!(three_one_three.bits(), 0x3f);
        let three_two_zero =
            CompatFlags::decode(&mut Cursor::new(&[0x80, 0xff])).expect("complete");
        assert_eq!(three_two_zero.bits(), 0xff);
        let future = CompatFlags::decode(&mut Cursor::new(&[0xf0, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(future, Ok(CompatFlags::all()));
    }

    #[test]
    fn our_argument_says_what_we_can() {
        assert_eq!(ClientInfo::own(true, true).to_argument(), b".iLsfxCIvu");
        assert_eq!(ClientInfo::own(false, false).to_argument(), b".LfxCIvu");
    }

    #[test]
    fn a_pre_release_names_its_version() {
        let client = ClientInfo::parse(b"31.14iLs");
        assert_eq!((client.sub(), client.has_symlink_iconv()), (14, true));
        assert_eq!(client.to_argument(), b"31.14iLs");
        assert_eq!(ClientInfo::parse(b".iL").sub(), 0);
        assert_eq!(ClientInfo::parse(b"31.").sub(), 0);
    }

    #[test]
    fn incremental_recursion_must_have_been_offered() {
        assert_eq!(
            ClientInfo::own(true, true).accept(CompatFlags::all()),
            Ok(())
        );
        assert_eq!(
            ClientInfo::own(false, true).accept(CompatFlags::all()),
            Err(UnofferedIncRecurse)
        );
        assert_eq!(
            ClientInfo::own(false, true).accept(CompatFlags::SYMLINK_TIMES),
            Ok(())
        );
    }
}
