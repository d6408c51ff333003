//! POSIX access control lists, as the kernel keeps them in extended attributes.

use std::ffi::OsStr;
use std::io;

use crate::error::Result;
use crate::xattr::Xattrs;

/// Which list of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// Who may do what with the file.
    Access,
    /// What new files in a directory start with.
    Default,
}

impl AclKind {
    /// The extended attribute that holds it under `--fake-super`.
    pub fn fake_super_xattr(self) -> &'static OsStr {
        OsStr::new(match self {
            Self::Access => "user.rsync.%aacl",
            Self::Default => "user.rsync.%dacl",
        })
    }

    /// The extended attribute that holds it.
    pub fn xattr(self) -> &'static OsStr {
        OsStr::new(match self {
            Self::Access => "system.posix_acl_access",
            Self::Default => "system.posix_acl_default",
        })
    }
}

/// An access control list. Permissions are 0 to 7 (rwx = 4, 2, 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Of the owner.
    pub user_obj: u8,
    /// Of the file's group.
    pub group_obj: u8,
    /// The most that anybody but the owner and others can have; always there with named entries.
    pub mask: Option<u8>,
    /// Of everybody else.
    pub other: u8,
    /// Named users by id, then named groups by id.
    pub named: Vec<(AclId, u8)>,
}

/// Whom a named entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AclId {
    /// A user id.
    User(u32),
    /// A group id.
    Group(u32),
}

impl Acl {
    /// The list that says what permission bits say.
    pub fn from_mode(mode: u32) -> Self {
        let class = |shift: u32| ((mode >> shift) & 7) as u8;
        Self {
            user_obj: class(6),
            group_obj: class(3),
            mask: None,
            other: class(0),
            named: Vec::new(),
        }
    }

    /// The permission bits that stat shows for it: the mask stands in the group's place.
    pub fn mode(&self) -> u32 {
        let group = self.mask.unwrap_or(self.group_obj);
        u32::from(self.user_obj) << 6 | u32::from(group) << 3 | u32::from(self.other)
    }

    /// Permission bits say it all.
    pub fn is_minimal(&self) -> bool {
        self.mask.is_none() && self.named.is_empty()
    }

    /// Reads the kernel's form; `None` if it is not one.
    pub fn from_xattr(raw: &[u8]) -> Option<Self> {
        let (version, entries) = raw.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY != 0 {
            return None;
        }
        let (mut user_obj, mut group_obj, mut other) = (None, None, None);
        let mut mask = None;
        let mut named = Vec::new();
        for entry in entries.chunks_exact(ENTRY) {
            let (tag, rest) = entry.split_first_chunk::<2>()?;
            let (perm, id) = rest.split_first_chunk::<2>()?;
            let perm = u8::try_from(u16::from_le_bytes(*perm))
                .ok()
                .filter(|perm| *perm <= 7)?;
            let id = u32::from_le_bytes(id.try_into().ok()?);
            match u16::from_le_bytes(*tag) {
                USER_OBJ => user_obj = Some(perm),
                USER => named.push((AclId::User(id), perm)),
                GROUP_OBJ => group_obj = Some(perm),
                GROUP => named.push((AclId::Group(id), perm)),
                MASK => mask = Some(perm),
                OTHER => other = Some(perm),
                _ => return None,
            }
        }
        named.sort_unstable();
        Some(Self {
            user_obj: user_obj?,
            group_obj: group_obj?,
            mask,
            other: other?,
            named,
        })
    }

    /// Writes the kernel's form, which has one order only. Named entries without a mask get one
    /// that limits nothing, for the kernel takes no list without.
    pub fn to_xattr(&self) -> Vec<u8> {
        const NO_ID: u32 = u32::MAX;
        let mut named = self.named.clone();
        named.sort_unstable();
        let groups_from = named.partition_point(|(id, _)| matches!(id, AclId::User(_)));
        let (users, groups) = named.split_at(groups_from);
        let widest = || {
            named
                .iter()
                .fold(self.group_obj, |all, (_, perm)| all | perm)
        };
        let mask = self.mask.or_else(|| (!named.is_empty()).then(widest));

        let by_name = |(id, perm): &(AclId, u8)| match *id {
            AclId::User(id) => (USER, *perm, id),
            AclId::Group(id) => (GROUP, *perm, id),
        };
        let entries = [(USER_OBJ, self.user_obj, NO_ID)]
            .into_iter()
            .chain(users.iter().map(by_name))
            .chain([(GROUP_OBJ, self.group_obj, NO_ID)])
            .chain(groups.iter().map(by_name))
            .chain(mask.map(|mask| (MASK, mask, NO_ID)))
            .chain([(OTHER, self.other, NO_ID)]);
        let mut raw = VERSION.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            raw.extend_from_slice(&tag.to_le_bytes());
            raw.extend_from_slice(&u16::from(perm).to_le_bytes());
            raw.extend_from_slice(&id.to_le_bytes());
        }
        raw
    }

    /// Reads the form kept under `--fake-super` (wire-files.md 8.7); what it leaves out is filled
    /// from the permission bits of `mode`. `None` if it is corrupt.
    pub fn from_fake_super(raw: &[u8], mode: u32) -> Option<Self> {
        let mut words = raw.chunks_exact(4).map(|word| match *word {
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        });
        let permission = |word: u32| u8::try_from(word).ok().filter(|perm| *perm <= 7);
        let mut object = || match words.next()? {
            ABSENT => Some(None),
            word => permission(word).map(Some),
        };
        let (user_obj, group_obj, mask, other) = (object()?, object()?, object()?, object()?);
        if !raw.len().is_multiple_of(8) {
            return None;
        }
        let mut named = Vec::with_capacity(raw.len() / 8 - 2);
        while let (Some(id), Some(access)) = (words.next(), words.next()) {
            let whom = if access & NAMES_USER == 0 {
                AclId::Group
            } else {
                AclId::User
            };
            named.push((whom(id), permission(access & !NAMES_USER)?));
        }
        named.sort_unstable();
        let implied = Self::from_mode(mode);
        Some(Self {
            user_obj: user_obj.unwrap_or(implied.user_obj),
            group_obj: group_obj.unwrap_or(implied.group_obj),
            mask,
            other: other.unwrap_or(implied.other),
            named,
        })
    }

    /// Writes the form kept under `--fake-super`. An access list leaves out what the permission
    /// bits imply, as it does on the wire (wire-files.md 8.3).
    pub fn to_fake_super(&self, kind: AclKind) -> Vec<u8> {
        let all = kind == AclKind::Default;
        let object = |perm: u8, kept: bool| if kept { u32::from(perm) } else { ABSENT };
        let group_differs = self.mask.is_some_and(|mask| mask != self.group_obj);
        let objects = [
            object(self.user_obj, all),
            object(self.group_obj, all || group_differs),
            self.mask.map_or(ABSENT, u32::from),
            object(self.other, all),
        ];
        let named = self.named.iter().flat_map(|(id, perm)| match *id {
            AclId::User(id) => [id, u32::from(*perm) | NAMES_USER],
            AclId::Group(id) => [id, u32::from(*perm)],
        });
        objects
            .into_iter()
            .chain(named)
            .flat_map(u32::to_le_bytes)
            .collect()
    }
}

impl Xattrs {
    /// One of the file's lists; `None` if it has none and its permission bits are all.
    pub fn acl(&self, kind: AclKind) -> Result<Option<Acl>> {
        let Some(raw) = self.value(self.acl_name(kind))? else {
            return Ok(None);
        };
        let acl = match self.fakes() {
            true => Acl::from_fake_super(&raw, self.mode()?),
            false => Acl::from_xattr(&raw),
        };
        match acl {
            Some(acl) => Ok(Some(acl)),
            None => Err(self.error("getxattr", io::Error::from(io::ErrorKind::InvalidData))),
        }
    }

    /// Sets or removes one of the file's lists. An access list that permission bits can express
    /// is not kept (behaviour.md 7.19): set those bits as well.
    pub fn set_acl(&self, kind: AclKind, acl: Option<&Acl>) -> Result<()> {
        match acl {
            Some(acl) if kind == AclKind::Default || !acl.is_minimal() => {
                let raw = match self.fakes() {
                    true => acl.to_fake_super(kind),
                    false => acl.to_xattr(),
                };
                self.set(self.acl_name(kind), &raw)
            }
            _ => self.remove(self.acl_name(kind)),
        }
    }

    fn acl_name(&self, kind: AclKind) -> &'static OsStr {
        match self.fakes() {
            true => kind.fake_super_xattr(),
            false => kind.xattr(),
        }
    }
}

// <linux/posix_acl_xattr.h>
const VERSION: u32 = 2;
const ENTRY: usize = 8;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

// The form under --fake-super: an object left out, and the mark of a named user.
const ABSENT: u32 = 0x80;
const NAMES_USER: u32 = 0x8000_0000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mode_and_its_list_say_the_same() {
        for mode in [0o000, 0o644, 0o751, 0o777] {
            let acl = Acl::from_mode(mode);
            assert_eq!(acl.mode(), mode);
            assert!(acl.is_minimal());
            assert_eq!(Acl::from_xattr(&acl.to_xattr()), Some(acl));
        }
    }

    #[test]
    fn named_entries_come_in_the_kernels_order_with_a_mask() {
        let acl = Acl {
            named: vec![
                (AclId::Group(2), 4),
                (AclId::User(9), 7),
                (AclId::User(1), 0),
            ],
            ..Acl::from_mode(0o640)
        };
        let read = Acl::from_xattr(&acl.to_xattr()).unwrap();
        assert_eq!(read.mask, Some(7));
        let ids: Vec<_> = read.named.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [AclId::User(1), AclId::User(9), AclId::Group(2)]);
        assert_eq!(read.mode(), 0o670);
    }

    #[test]
    fn the_fake_super_form_is_that_of_the_specification() {
        // The file of wire-files.md 8.5, mode 0674.
        let acl = Acl {
            group_obj: 4,
            mask: Some(7),
            named: vec![
                (AclId::User(1), 7),
                (AclId::User(12_345), 4),
                (AclId::Group(2), 4),
            ],
            ..Acl::from_mode(0o674)
        };
        let words: [u32; 10] = [0x80, 4, 7, 0x80, 1, 0x8000_0007, 12_345, 0x8000_0004, 2, 4];
        let raw: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(acl.to_fake_super(AclKind::Access), raw);
        assert_eq!(Acl::from_fake_super(&raw, 0o674), Some(acl.clone()));
        let whole = acl.to_fake_super(AclKind::Default);
        assert_eq!(Acl::from_fake_super(&whole, 0), Some(acl));
        assert_eq!(Acl::from_fake_super(&raw[..20], 0), None);
        assert_eq!(Acl::from_fake_super(&raw[..12], 0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut raw = raw;
            let _ = Acl::from_xattr(&raw);
            let _ = Acl::from_fake_super(&raw, 0o644);
            if raw.len() >= 4 {
                raw[..4].copy_from_slice(&VERSION.to_le_bytes());
                if let Some(acl) = Acl::from_xattr(&raw) {
                    prop_assert!(acl.mode() <= 0o777);
                }
            }
        }
    }
}
