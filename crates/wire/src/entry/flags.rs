//! The flag word that starts every entry (wire-files.md 3.1).

use super::{EntryFormat, FileType};
use crate::{Cursor, Stop, put_varint};

pub(super) const TOP_DIR: u32 = 0x0001;
pub(super) const SAME_MODE: u32 = 0x0002;
/// Protocol 27, devices and special files.
pub(super) const SAME_RDEV: u32 = 0x0004;
/// From protocol 28 on: a second byte follows.
const EXTENDED: u32 = 0x0004;
pub(super) const SAME_UID: u32 = 0x0008;
pub(super) const SAME_GID: u32 = 0x0010;
pub(super) const SAME_NAME: u32 = 0x0020;
pub(super) const LONG_NAME: u32 = 0x0040;
pub(super) const SAME_TIME: u32 = 0x0080;
/// Devices; special files below protocol 31.
pub(super) const SAME_RDEV_MAJOR: u32 = 0x0100;
/// Directories, from protocol 30 on.
pub(super) const NO_CONTENT_DIR: u32 = 0x0100;
pub(super) const HLINKED: u32 = 0x0200;
/// Protocols 28 and 29.
pub(super) const SAME_DEV: u32 = 0x0400;
/// From protocol 30 on.
pub(super) const USER_NAME_FOLLOWS: u32 = 0x0400;
/// Protocols 28 and 29.
pub(super) const RDEV_MINOR_8: u32 = 0x0800;
/// From protocol 30 on.
pub(super) const GROUP_NAME_FOLLOWS: u32 = 0x0800;
pub(super) const HLINK_FIRST: u32 = 0x1000;
pub(super) const MOD_NSEC: u32 = 0x2000;
pub(super) const SAME_ATIME: u32 = 0x4000;
pub(super) const CRTIME_EQ_MTIME: u32 = 0x0002_0000;

/// The word that ends a list with I/O errors where flags are not a varint; as an entry it would be the
/// first of a hard-link group without being linked.
pub(super) const END_WITH_ERRORS: u32 = 0x1004;

impl EntryFormat {
    /// The bits that the flag word has room for.
    pub(super) fn flag_bits(&self) -> u32 {
        match () {
            () if self.varint_flags => u32::MAX,
            () if self.protocol.has_wide_entry_flags() => 0xffff,
            () => 0xff,
        }
    }

    /// Makes a flag word sendable: 0 would end the list. May set [`LONG_NAME`], so it comes before the name.
    pub(super) fn nonzero_flags(&self, flags: u32, file_type: Option<FileType>) -> u32 {
        let is_dir = file_type == Some(FileType::Directory);
        let wide = self.protocol.has_wide_entry_flags();
        match flags {
            0 if self.varint_flags => EXTENDED,
            _ if self.varint_flags => flags,
            // TOP_DIR means nothing on other types.
            0 if !is_dir => TOP_DIR,
            0 if !wide => LONG_NAME,
            0 => EXTENDED,
            _ if wide && flags & 0xff00 != 0 => flags | EXTENDED,
            _ => flags,
        }
    }

    /// Writes a word of [`EntryFormat::nonzero_flags`].
    pub(super) fn put_flags(&self, flags: u32, out: &mut Vec<u8>) {
        let [low, high, ..] = flags.to_le_bytes();
        if self.varint_flags {
            put_varint(out, flags as i32);
        } else if self.protocol.has_wide_entry_flags() && flags & EXTENDED != 0 {
            out.extend_from_slice(&[low, high]);
        } else {
            out.push(low);
        }
    }

    /// Reads a flag word; 0 ends the list.
    pub(super) fn decode_flags(&self, cursor: &mut Cursor<'_>) -> Result<u32, Stop> {
        if self.varint_flags {
            return Ok(cursor.varint()? as u32);
        }
        let low = u32::from(cursor.byte()?);
        if self.protocol.has_wide_entry_flags() && low & EXTENDED != 0 {
            return Ok(low | u32::from(cursor.byte()?) << 8);
        }
        Ok(low)
    }
}
