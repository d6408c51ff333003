//! Requests and answers for one entry: what is between its number and the sum head (wire-files.md 10.1
//! to 10.3). Both have the same form, for a sender echoes the item of the request it answers.

use bitflags::bitflags;

use crate::entry::MAX_PATH;
use crate::{Cursor, Protocol, Stop, VSTRING_MAX, put_shortint, put_vstring};

bitflags! {
    /// What differs, what was done and what follows. Bits without a name are kept and echoed.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct ItemFlags: u16 {
        /// The access time differs.
        const REPORT_ATIME = 0x0001;
        /// The content differs, or the value of a symlink or device was changed.
        const REPORT_CHANGE = 0x0002;
        /// Regular file: the size differs.
        const REPORT_SIZE = 0x0004;
        /// Symlink: the time could not be set. Shares its bit with [`ItemFlags::REPORT_SIZE`].
        const REPORT_TIMEFAIL = 0x0004;
        /// The modification time differs, or will be the time of the transfer.
        const REPORT_TIME = 0x0008;
        /// The permissions differ.
        const REPORT_PERMS = 0x0010;
        /// The owner differs.
        const REPORT_OWNER = 0x0020;
        /// The group differs.
        const REPORT_GROUP = 0x0040;
        /// An ACL differs.
        const REPORT_ACL = 0x0080;
        /// Extended attributes differ; see [`ItemFormat::has_xattr_exchange`].
        const REPORT_XATTR = 0x0100;
        /// The creation time differs.
        const REPORT_CRTIME = 0x0400;
        /// A basis type follows.
        const BASIS_TYPE_FOLLOWS = 0x0800;
        /// A name follows: the fuzzy basis, or what a hard link was linked to.
        const XNAME_FOLLOWS = 0x1000;
        /// The destination did not exist.
        const IS_NEW = 0x2000;
        /// The change was made locally: directory, link, symlink, device or copy.
        const LOCAL_CHANGE = 0x4000;
        /// File data is wanted.
        const TRANSFER = 0x8000;

        const _ = !0;
    }
}

/// Which file of the receiving side is the basis of a delta (10.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BasisType {
    /// The same path in the n-th alternate directory (`--compare-dest` and the like), n below 0x80.
    AlternateDir(u8),
    /// The destination itself.
    #[default]
    Destination,
    /// The file in the partial directory.
    PartialDir,
    /// The backup that was just made.
    Backup,
    /// A similar file in the destination's directory; the name tells its last component.
    Fuzzy,
    /// A similar file in the n-th alternate directory, n below 0x7c.
    FuzzyAlternateDir(u8),
}

/// The item of a request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Flags. Those that announce a basis type or a name are set by [`ItemFormat::encode`] as needed.
    pub flags: ItemFlags,
    /// Basis of the delta.
    pub basis: BasisType,
    /// The name, if one travels. Untrusted: the peer may put any bytes here.
    pub xname: Option<Vec<u8>>,
}

/// Facts of the session that decide the form of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemFormat {
    /// The negotiated protocol. Below 29 there are no items: each request is a transfer.
    pub protocol: Protocol,
    /// `--xattrs`.
    pub xattrs: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// Compat flag 0x10 is clear: local hard links have no attribute exchange, from protocol 31 on.
    pub xattr_optimization: bool,
}

impl BasisType {
    /// The type's byte.
    #[must_use]
    pub fn to_wire(self) -> u8 {
        match self {
            Self::AlternateDir(index) => index & 0x7f,
            Self::Destination => 0x80,
            Self::PartialDir => 0x81,
            Self::Backup => 0x82,
            Self::Fuzzy => 0x83,
            Self::FuzzyAlternateDir(index) => 0x84_u8.saturating_add(index),
        }
    }

    /// The type of a byte; each of them has one. Whether the alternate directory exists, and whether
    /// fuzzy bases are enabled, is for the receiver to check.
    #[must_use]
    pub fn from_wire(byte: u8) -> Self {
        match byte {
            0..=0x7f => Self::AlternateDir(byte),
            0x80 => Self::Destination,
            0x81 => Self::PartialDir,
            0x82 => Self::Backup,
            0x83 => Self::Fuzzy,
            0x84.. => Self::FuzzyAlternateDir(byte - 0x84),
        }
    }
}

impl ItemFormat {
    /// Writes an item: flags, basis type and name.
    pub fn encode(self, item: &Item, out: &mut Vec<u8>) {
        if !self.protocol.has_item_flags() {
            return;
        }
        let mut flags = item.flags;
        // An answer repeats a type that its request spelled out, even the default.
        flags.set(
            ItemFlags::BASIS_TYPE_FOLLOWS,
            item.basis != BasisType::default() || flags.contains(ItemFlags::BASIS_TYPE_FOLLOWS),
        );
        flags.set(ItemFlags::XNAME_FOLLOWS, item.xname.is_some());
        put_shortint(out, flags.bits());
        if flags.contains(ItemFlags::BASIS_TYPE_FOLLOWS) {
            out.push(item.basis.to_wire());
        }
        if let Some(xname) = &item.xname {
            put_vstring(out, &xname[..xname.len().min(VSTRING_MAX)]);
        }
    }

    /// Reads an item.
    ///
    /// # Errors
    /// [`Stop`]; a name that no path can be is malformed.
    pub fn decode(self, cursor: &mut Cursor<'_>) -> Result<Item, Stop> {
        if !self.protocol.has_item_flags() {
            return Ok(Item {
                flags: ItemFlags::TRANSFER,
                ..Item::default()
            });
        }
        let mut ahead = cursor.clone();
        let flags = ItemFlags::from_bits_retain(ahead.shortint()?);
        let basis = match flags.contains(ItemFlags::BASIS_TYPE_FOLLOWS) {
            true => BasisType::from_wire(ahead.byte()?),
            false => BasisType::default(),
        };
        let xname = match flags.contains(ItemFlags::XNAME_FOLLOWS) {
            true => Some(ahead.vstring(MAX_PATH - 1)?.to_vec()),
            false => None,
        };
        *cursor = ahead;
        Ok(Item {
            flags,
            basis,
            xname,
        })
    }

    /// Whether a request (or answer) for attribute values follows an item (9.6).
    #[must_use]
    pub fn has_xattr_exchange(self, item: &Item) -> bool {
        let is_local_link = item.xname.is_some() && item.flags.contains(ItemFlags::LOCAL_CHANGE);
        let optimized = self.xattr_optimization && self.protocol.may_skip_xattr_exchange();
        self.xattrs
            && !self.dry_run
            && item.flags.contains(ItemFlags::REPORT_XATTR)
            && !(optimized && is_local_link)
    }

    /// Whether a sum head and file data follow an item with these flags.
    #[must_use]
    pub fn has_data(self, flags: ItemFlags) -> bool {
        flags.contains(ItemFlags::TRANSFER) && !self.dry_run
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn format(protocol: u8) -> ItemFormat {
        let protocol = Protocol::new(protocol).unwrap();
        ItemFormat {
            protocol,
            xattrs: true,
            dry_run: false,
            xattr_optimization: true,
        }
    }

    fn encoded(item: &Item) -> Vec<u8> {
        let mut out = Vec::new();
        format(32).encode(item, &mut out);
        out
    }

    #[test]
    fn items_of_the_specification() {
        let link = Item {
            flags: ItemFlags::LOCAL_CHANGE | ItemFlags::IS_NEW | ItemFlags::REPORT_XATTR,
            basis: BasisType::Destination,
            xname: Some(b"d/b".to_vec()),
        };
        assert_eq!(encoded(&link), b"\x00\x71\x03d/b");
        let new = Item {
            flags: ItemFlags::TRANSFER | ItemFlags::IS_NEW,
            ..Item::default()
        };
        assert_eq!(encoded(&new), b"\x00\xa0");
        let fuzzy = Item {
            flags: ItemFlags::TRANSFER,
            basis: BasisType::Fuzzy,
            xname: Some(b"x".to_vec()),
        };
        assert_eq!(encoded(&fuzzy), b"\x00\x98\x83\x01x");
    }

    #[test]
    fn old_requests_are_transfers() {
        let item = format(28).decode(&mut Cursor::new(b"")).unwrap();
        assert!(format(28).has_data(item.flags));
        let mut out = Vec::new();
        format(28).encode(&item, &mut out);
        assert_eq!(out, b"");
    }

    #[test]
    fn the_xattr_exchange_is_present_as_agreed() {
        let plain = &Item {
            flags: ItemFlags::REPORT_XATTR,
            ..Item::default()
        };
        let link = &Item {
            flags: ItemFlags::REPORT_XATTR | ItemFlags::LOCAL_CHANGE,
            xname: Some(b"leader".to_vec()),
            ..Item::default()
        };
        assert!(format(31).has_xattr_exchange(plain));
        assert!(!format(31).has_xattr_exchange(link));
        assert!(format(30).has_xattr_exchange(link));
        assert!(
            ItemFormat {
                xattr_optimization: false,
                ..format(31)
            }
            .has_xattr_exchange(link)
        );
        assert!(
            !ItemFormat {
                dry_run: true,
                ..format(31)
            }
            .has_xattr_exchange(plain)
        );
        assert!(
            !ItemFormat {
                xattrs: false,
                ..format(31)
            }
            .has_xattr_exchange(plain)
        );
    }

    #[test]
    fn overlong_names_are_refused() {
        let bytes = [b"\x00\x10\x90\x00".as_slice(), &[b'x'; MAX_PATH]].concat();
        assert!(matches!(
            format(32).decode(&mut Cursor::new(&bytes)),
            Err(Stop::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn decoded_items_are_echoed_unchanged(bytes: [u8; 12]) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(item) = format(32).decode(&mut cursor) {
                // Not the bytes: a length may come in a longer form than it needs.
                let echo = encoded(&item);
                prop_assert_eq!(format(32).decode(&mut Cursor::new(&echo)), Ok(item));
            }
        }

        #[test]
        fn basis_types_round_trip(byte: u8) {
            prop_assert_eq!(BasisType::from_wire(byte).to_wire(), byte);
        }
    }
}
