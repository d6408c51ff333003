//! Protocol versions. What a version can do is asked here by name, and nowhere else by number.

use std::fmt;

use thiserror::Error;

/// A protocol version that driftless speaks, [`Protocol::OLDEST`] to [`Protocol::LATEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(u8);

/// What a peer says it speaks: any number, and the sub-protocol of a pre-release (0 in every release).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerVersion {
    /// The protocol number, unchecked.
    pub number: i32,
    /// The sub-protocol number. Two pre-releases of the same number cannot be relied on to agree.
    pub sub: i32,
}

impl PeerVersion {
    /// The release of a version.
    #[must_use]
    pub fn released(protocol: Protocol) -> Self {
        Self {
            number: i32::from(protocol.0),
            sub: 0,
        }
    }

    /// A greeting with this number must carry a sub-protocol (rsync 3.0.0).
    #[must_use]
    pub fn requires_subprotocol(self) -> bool {
        self.number >= 30
    }

    /// A greeting with this number must carry a list of digests (rsync 3.4.0).
    #[must_use]
    pub fn requires_digest_list(self) -> bool {
        self.number >= 32
    }
}

/// The peers' versions have no protocol in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VersionMismatch {
    /// Not a version at all: typically text that a login shell printed before the program started.
    #[error(
        "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)"
    )]
    Implausible(i32),
    /// A real version, below [`Protocol::OLDEST`].
    #[error("protocol version mismatch: the peer speaks {0}, the oldest supported is {oldest}", oldest = Protocol::OLDEST)]
    TooOld(i32),
}

impl VersionMismatch {
    /// "protocol incompatibility".
    pub const EXIT_CODE: u8 = 2;
}

impl Protocol {
    /// The version we announce (rsync 3.4.0).
    pub const LATEST: Self = Self(32);
    /// The oldest version we speak (rsync 2.6.0).
    pub const OLDEST: Self = Self(27);

    /// The version of this number, if we speak it.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (Self::OLDEST.0..=Self::LATEST.0)
            .contains(&number)
            .then_some(Self(number))
    }

    /// The number, for announcing and for messages. Compare versions with the questions below instead.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The version two peers use: the smaller of both, one less where a pre-release of the peer is in
    /// play (wire-session.md 3.2). We announce releases only, so the rules for remote shell and
    /// daemon coincide.
    ///
    /// # Errors
    /// [`VersionMismatch`], exit code 2.
    pub fn agree(self, peer: PeerVersion) -> Result<Self, VersionMismatch> {
        let PeerVersion { number, sub } = peer;
        if !(20..=40).contains(&number) {
            return Err(VersionMismatch::Implausible(number));
        }
        let own = i32::from(self.0);
        let agreed = match sub {
            0 => number.min(own),
            // A newer pre-release must adapt to our release; up to our own number we step down.
            _ if number > own => own,
            _ => number - 1,
        };
        u8::try_from(agreed)
            .ok()
            .and_then(Self::new)
            .ok_or(VersionMismatch::TooOld(number))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Session level (wire-session.md 11.1).
impl Protocol {
    /// The server sends compat flags, and with them may negotiate algorithms.
    #[must_use]
    pub fn has_compat_flags(self) -> bool {
        self.0 >= 30
    }

    /// The client's direction is framed as well as the server's. Below, it is so only in a pull that
    /// removes source files.
    #[must_use]
    pub fn multiplexes_client(self) -> bool {
        self.0 >= 30
    }

    /// varint, varlong and the differential file index replace int and longint.
    #[must_use]
    pub fn has_variable_integers(self) -> bool {
        self.0 >= 30
    }

    /// A daemon's argument words end with NUL rather than LF.
    #[must_use]
    pub fn has_nul_arguments(self) -> bool {
        self.0 >= 30
    }

    /// Filter rules travel in the modern syntax, with modifiers.
    #[must_use]
    pub fn has_filter_modifiers(self) -> bool {
        self.0 >= 29
    }

    /// Names of a forwarded files-from list travel inside frames.
    #[must_use]
    pub fn frames_files_from(self) -> bool {
        self.0 >= 31
    }

    /// Errors and warnings have message codes of their own; below, an error is sent as
    /// `MSG_ERROR_XFER` and a warning as `MSG_INFO`.
    #[must_use]
    pub fn has_message_severities(self) -> bool {
        self.0 >= 30
    }

    /// `MSG_DELETED` reports the receiving server's deletions.
    #[must_use]
    pub fn reports_deletions(self) -> bool {
        self.0 >= 29
    }

    /// `MSG_NO_SEND` answers a request that cannot be served, and `MSG_IO_ERROR` reports the sender's errors.
    #[must_use]
    pub fn has_no_send(self) -> bool {
        self.0 >= 30
    }

    /// A daemon announces its timeout by `MSG_IO_TIMEOUT`.
    #[must_use]
    pub fn announces_timeout(self) -> bool {
        self.0 >= 31
    }

    /// `MSG_ERROR_EXIT` lets both ends leave with one exit code.
    #[must_use]
    pub fn has_error_exit(self) -> bool {
        self.0 >= 31
    }

    /// A server knows `--delete-missing-args`, so that a name can be removed by naming it.
    #[must_use]
    pub fn removes_missing_arguments(self) -> bool {
        self.0 >= 31
    }

    /// Statistics include the times of building and transferring the file list.
    #[must_use]
    pub fn has_list_times(self) -> bool {
        self.0 >= 29
    }

    /// The number of the last transfer phase: 2 (delayed updates) or 1 (redo).
    #[must_use]
    pub fn last_phase(self) -> u8 {
        if self.0 >= 29 { 2 } else { 1 }
    }

    /// An extra round of DONEs keeps the sender alive until late deletions are over; it may carry
    /// delete statistics.
    #[must_use]
    pub fn late_delete_round(self) -> bool {
        self.0 >= 31
    }

    /// `--delete` without a time means during the transfer rather than before it.
    #[must_use]
    pub fn deletes_during_by_default(self) -> bool {
        self.0 >= 30
    }

    /// `--append` may trust the existing data; below, it always verifies.
    #[must_use]
    pub fn has_append_without_verify(self) -> bool {
        self.0 >= 30
    }

    /// ACLs and extended attributes can be sent to a remote peer.
    #[must_use]
    pub fn has_acls_and_xattrs(self) -> bool {
        self.0 >= 30
    }

    /// `--prune-empty-dirs` is known.
    #[must_use]
    pub fn has_prune_empty_dirs(self) -> bool {
        self.0 >= 29
    }
}

/// File lists and file data (wire-files.md).
impl Protocol {
    /// Entry flags may take two bytes, and devices are sent as major and minor.
    #[must_use]
    pub fn has_wide_entry_flags(self) -> bool {
        self.0 >= 28
    }

    /// `--checksum` sums are sent for regular files only; below, every entry has one.
    #[must_use]
    pub fn sums_regular_files_only(self) -> bool {
        self.0 >= 28
    }

    /// In a sorted list the files of a directory precede its subdirectories.
    #[must_use]
    pub fn sorts_files_first(self) -> bool {
        self.0 >= 29
    }

    /// A request carries item flags, a basis type and a name: what fuzzy matching, several alternate
    /// destinations, and those together with `--inplace` need.
    #[must_use]
    pub fn has_item_flags(self) -> bool {
        self.0 >= 29
    }

    /// Hard links refer to entries of the list; below, they are told by device and inode.
    #[must_use]
    pub fn links_by_index(self) -> bool {
        self.0 >= 30
    }

    /// An incremental list carries owner names inline.
    #[must_use]
    pub fn has_inline_names(self) -> bool {
        self.0 >= 30
    }

    /// A directory entry tells whether its content follows.
    #[must_use]
    pub fn marks_directory_content(self) -> bool {
        self.0 >= 30
    }

    /// Modification times have 64 bits; below, they are unsigned 32-bit numbers.
    #[must_use]
    pub fn has_wide_times(self) -> bool {
        self.0 >= 30
    }

    /// The I/O error bits follow each file list as an int.
    #[must_use]
    pub fn ends_list_with_errors(self) -> bool {
        self.0 < 30
    }

    /// The end of a list may carry I/O error bits, whatever the compat flags say.
    #[must_use]
    pub fn has_safe_list_end(self) -> bool {
        self.0 >= 31
    }

    /// Entries may carry nanoseconds.
    #[must_use]
    pub fn has_nanoseconds(self) -> bool {
        self.0 >= 31
    }

    /// Sockets and FIFOs carry a (meaningless) device number.
    #[must_use]
    pub fn numbers_special_files(self) -> bool {
        self.0 < 31
    }

    /// The default checksum is MD5 rather than MD4.
    #[must_use]
    pub fn defaults_to_md5(self) -> bool {
        self.0 >= 30
    }

    /// The largest block length in bytes.
    #[must_use]
    pub fn max_block_length(self) -> u32 {
        if self.0 >= 30 { 1 << 17 } else { 1 << 29 }
    }

    /// Local hard links can do without an exchange of attribute values (wire-files.md 9.6).
    #[must_use]
    pub fn may_skip_xattr_exchange(self) -> bool {
        self.0 >= 31
    }

    /// Matched data of more than one piece enters the zlib history correctly (wire-files.md 13.3).
    #[must_use]
    pub fn has_exact_zlib_history(self) -> bool {
        self.0 >= 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(own: u8, number: i32, sub: i32) -> Result<u8, VersionMismatch> {
        let own = Protocol::new(own).expect("a supported version");
        own.agree(PeerVersion { number, sub }).map(Protocol::number)
    }

    #[test]
    fn the_smaller_version_wins() {
        assert_eq!(agreed(32, 31, 0), Ok(31));
        assert_eq!(agreed(29, 32, 0), Ok(29));
        assert_eq!(agreed(32, 40, 0), Ok(32));
    }

    #[test]
    fn a_pre_release_steps_down() {
        assert_eq!(agreed(32, 31, 14), Ok(30));
        assert_eq!(agreed(32, 32, 1), Ok(31));
        assert_eq!(agreed(31, 32, 1), Ok(31));
    }

    #[test]
    fn foreign_numbers_are_refused() {
        assert_eq!(agreed(32, 19, 0), Err(VersionMismatch::Implausible(19)));
        assert_eq!(agreed(32, 41, 0), Err(VersionMismatch::Implausible(41)));
        assert_eq!(
            agreed(32, i32::from_le_bytes(*b"Last"), 0),
            Err(VersionMismatch::Implausible(0x7473_614c))
        );
        assert_eq!(agreed(32, 26, 0), Err(VersionMismatch::TooOld(26)));
        assert_eq!(agreed(32, 27, 1), Err(VersionMismatch::TooOld(27)));
    }

    #[test]
    fn only_the_supported_range_exists() {
        assert_eq!(Protocol::new(26), None);
        assert_eq!(Protocol::new(27), Some(Protocol::OLDEST));
        assert_eq!(Protocol::new(32), Some(Protocol::LATEST));
        assert_eq!(Protocol::new(33), None);
    }
}
