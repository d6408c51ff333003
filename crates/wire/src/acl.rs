//! POSIX ACLs as they travel and as `--fake-super` stores them (wire-files.md section 8).

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{NamesSent, decode_name, put_name};
use crate::{Cursor, IdName, Malformed, Stop, put_varint};

/// Most named entries that an ACL may have.
const MAX_NAMED: i32 = 65536;

/// An ACL. Permissions are `rwx` bits, 0 to 7. An absent object is one that the entry's mode implies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Acl {
    /// Permissions of the owner.
    pub user_obj: Option<u8>,
    /// Permissions of the owning group.
    pub group_obj: Option<u8>,
    /// The upper bound for all named entries and the owning group.
    pub mask: Option<u8>,
    /// Permissions of everybody else.
    pub other: Option<u8>,
    /// Named users and groups; a sender puts users first, each kind by ascending id.
    pub named: Vec<NamedAccess>,
}

/// The permissions of one named user or group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedAccess {
    /// Whom `id` denotes.
    pub kind: Named,
    /// The user or group id.
    pub id: u32,
    /// `rwx` bits.
    pub access: u8,
    /// The sender's name for the id, where it is known and travels inline.
    pub name: Option<IdName>,
}

/// What kind of id an ACL entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// A user id.
    User,
    /// A group id.
    Group,
}

impl Acl {
    /// The access ACL as a sender sends it: without what `mode` implies (8.3).
    #[must_use]
    pub fn stripped(mut self, mode: u32) -> Self {
        let group = group_bits(mode);
        self.user_obj = None;
        self.other = None;
        if self.mask.is_none() || self.group_obj == Some(group) {
            self.group_obj = None;
        }
        if !self.named.is_empty() && self.mask == Some(group) {
            self.mask = None;
        }
        self
    }

    /// The access ACL that a received one means for an entry of this mode (8.4).
    #[must_use]
    pub fn restored(mut self, mode: u32) -> Self {
        self.user_obj.get_or_insert((mode >> 6 & 7) as u8);
        self.group_obj.get_or_insert(group_bits(mode));
        self.other.get_or_insert((mode & 7) as u8);
        self.restore_mask(group_bits(mode));
        self
    }

    /// Whether the ACL says no more than a mode can.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        self.mask.is_none() && self.named.is_empty()
    }

    /// As a default ACL: "the directory has none".
    #[must_use]
    pub fn is_no_default(&self) -> bool {
        self.user_obj.is_none()
    }

    fn restore_mask(&mut self, mask: u8) {
        if !self.named.is_empty() {
            self.mask.get_or_insert(mask);
        }
    }

    /// Reads a new item's content.
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let present = cursor.byte()?;
        let mut object = |bit: u8| -> Result<Option<u8>, Stop> {
            if present & bit == 0 {
                return Ok(None);
            }
            access(cursor.varint()?).map(Some)
        };
        let mut acl = Self {
            user_obj: object(flag::USER_OBJ)?,
            group_obj: object(flag::GROUP_OBJ)?,
            mask: object(flag::MASK)?,
            other: object(flag::OTHER)?,
            named: Vec::new(),
        };
        if present & flag::NAMED != 0 {
            let count = cursor.varint()?;
            if !(0..=MAX_NAMED).contains(&count) {
                return Err(Malformed::OutOfRange {
                    what: "ACL count",
                    value: count.into(),
                }
                .into());
            }
            acl.named = (0..count)
                .map(|_| NamedAccess::decode(cursor))
                .collect::<Result<_, _>>()?;
        }
        Ok(acl)
    }

    fn encode(&self, mut names: Option<&mut NamesSent>, out: &mut Vec<u8>) {
        let objects = [
            (flag::USER_OBJ, self.user_obj),
            (flag::GROUP_OBJ, self.group_obj),
            (flag::MASK, self.mask),
            (flag::OTHER, self.other),
        ];
        let objects = objects
            .into_iter()
            .filter_map(|(bit, access)| access.map(|access| (bit, access & 7)));
        let named = if self.named.is_empty() {
            0
        } else {
            flag::NAMED
        };
        out.push(objects.clone().fold(named, |flags, (bit, _)| flags | bit));
        for (_, access) in objects {
            put_varint(out, access.into());
        }
        if !self.named.is_empty() {
            // The receiver takes no more; a file system holds far fewer.
            let named = &self.named[..self.named.len().min(MAX_NAMED as usize)];
            put_varint(out, named.len() as i32);
            for entry in named {
                entry.encode(names.as_deref_mut(), out);
            }
        }
    }
}

impl NamedAccess {
    fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let id = cursor.varint()? as u32;
        let word = cursor.varint()?;
        let kind = if word & XACCESS_USER != 0 {
            Named::User
        } else {
            Named::Group
        };
        let access = access(word >> 2)?;
        let name = if word & XACCESS_NAME != 0 {
            decode_name(cursor)?
        } else {
            None
        };
        Ok(Self {
            kind,
            id,
            access,
            name,
        })
    }

    fn encode(&self, names: Option<&mut NamesSent>, out: &mut Vec<u8>) {
        let name = names.and_then(|names| match self.kind {
            Named::User => names.user(self.id, self.name.as_ref()),
            Named::Group => names.group(self.id, self.name.as_ref()),
        });
        let kind = if self.kind == Named::User {
            XACCESS_USER
        } else {
            0
        };
        let follows = if name.is_some() { XACCESS_NAME } else { 0 };
        put_varint(out, self.id as i32);
        put_varint(out, i32::from(self.access & 7) << 2 | kind | follows);
        if let Some(name) = name {
            put_name(out, name);
        }
    }
}

/// The ACLs that a sender has numbered: those of one kind (access or default).
#[derive(Debug, Default)]
pub(crate) struct AclsSent {
    numbers: HashMap<Arc<Acl>, i32>,
}

impl AclsSent {
    /// Writes an item: a known ACL's number, or a new ACL. `names` is where names travel inline.
    pub(crate) fn encode(
        &mut self,
        acl: &Arc<Acl>,
        names: Option<&mut NamesSent>,
        out: &mut Vec<u8>,
    ) {
        if let Some(number) = self.numbers.get(acl) {
            put_varint(out, number + 1);
            return;
        }
        put_varint(out, 0);
        acl.encode(names, out);
        self.numbers
            .insert(Arc::clone(acl), self.numbers.len() as i32);
    }
}

/// The ACLs of one kind that a receiver has seen, by number.
#[derive(Debug, Default)]
pub(crate) struct AclsSeen {
    items: Vec<Arc<Acl>>,
}

/// A decoded item, which becomes known only when its entry is complete.
#[derive(Debug)]
pub(crate) enum AclItem {
    Known(Arc<Acl>),
    New(Arc<Acl>),
}

impl AclsSeen {
    /// Reads the item of an access ACL of an entry of this mode.
    pub(crate) fn decode_access(
        &self,
        cursor: &mut Cursor<'_>,
        mode: u32,
    ) -> Result<AclItem, Stop> {
        // The mask is completed with the mode of the first entry that has the item, as rsync does; the
        // objects depend on each entry's own mode and stay absent.
        self.decode(cursor, |acl| acl.restore_mask(group_bits(mode)))
    }

    /// Reads the item of a default ACL.
    pub(crate) fn decode_default(&self, cursor: &mut Cursor<'_>) -> Result<AclItem, Stop> {
        self.decode(cursor, |acl| {
            let all = acl
                .named
                .iter()
                .map(|entry| entry.access)
                .fold(acl.group_obj.unwrap_or(0), |a, b| a | b);
            acl.restore_mask(all);
        })
    }

    fn decode(
        &self,
        cursor: &mut Cursor<'_>,
        complete: impl FnOnce(&mut Acl),
    ) -> Result<AclItem, Stop> {
        let number = cursor.varint()?;
        if number == 0 {
            let mut acl = Acl::decode(cursor)?;
            complete(&mut acl);
            return Ok(AclItem::New(Arc::new(acl)));
        }
        let known = usize::try_from(number - 1)
            .ok()
            .and_then(|index| self.items.get(index));
        let known = known.ok_or(Malformed::OutOfRange {
            what: "ACL index",
            value: number.into(),
        })?;
        Ok(AclItem::Known(Arc::clone(known)))
    }

    /// Makes a new item known and yields the ACL.
    pub(crate) fn learn(&mut self, item: AclItem) -> Arc<Acl> {
        match item {
            AclItem::Known(acl) => acl,
            AclItem::New(acl) => {
                self.items.push(Arc::clone(&acl));
                acl
            }
        }
    }
}

fn group_bits(mode: u32) -> u8 {
    (mode >> 3 & 7) as u8
}

fn access(value: i32) -> Result<u8, Stop> {
    match u8::try_from(value) {
        Ok(access @ 0..=7) => Ok(access),
        _ => Err(Malformed::OutOfRange {
            what: "ACL permissions",
            value: value.into(),
        }
        .into()),
    }
}

/// Bits of the byte that says what a new item holds.
mod flag {
    pub(super) const USER_OBJ: u8 = 1;
    pub(super) const GROUP_OBJ: u8 = 2;
    pub(super) const MASK: u8 = 4;
    pub(super) const OTHER: u8 = 8;
    pub(super) const NAMED: u8 = 16;
}

const XACCESS_NAME: i32 = 1;
const XACCESS_USER: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u32, access: u8) -> NamedAccess {
        NamedAccess {
            kind: Named::User,
            id,
            access,
            name: None,
        }
    }

    fn group(id: u32, access: u8) -> NamedAccess {
        NamedAccess {
            kind: Named::Group,
            id,
            access,
            name: None,
        }
    }

    /// The file of 8.5: mode 0674, `group::r`, user 1 rwx, user 12345 r, group 2 r.
    fn file_acl() -> Acl {
        Acl {
            user_obj: Some(6),
            group_obj: Some(4),
            mask: Some(7),
            other: Some(4),
            named: vec![user(1, 7), user(12345, 4), group(2, 4)],
        }
    }

    fn sent(acl: &Arc<Acl>, acls: &mut AclsSent) -> Vec<u8> {
        let mut out = Vec::new();
        acls.encode(acl, None, &mut out);
        out
    }

    const FILE_ITEM: &[u8] = b"\x00\x12\x04\x03\x01\x1e\xb0\x39\x12\x02\x10";

    #[test]
    fn the_access_acl_of_the_specification() {
        let acl = Arc::new(file_acl().stripped(0o100_674));
        let mut acls = AclsSent::default();
        assert_eq!(sent(&acl, &mut acls), FILE_ITEM);
        assert_eq!(sent(&acl, &mut acls), b"\x01");

        let mut seen = AclsSeen::default();
        let item = seen
            .decode_access(&mut Cursor::new(FILE_ITEM), 0o100_674)
            .unwrap();
        let received = seen.learn(item);
        assert_eq!(received.mask, Some(7));
        assert_eq!(Acl::clone(&received).restored(0o100_674), file_acl());
        let again = seen
            .decode_access(&mut Cursor::new(b"\x01"), 0o100_600)
            .unwrap();
        assert_eq!(seen.learn(again), received);
    }

    #[test]
    fn the_default_acl_of_the_specification() {
        let acl = Acl {
            user_obj: Some(7),
            group_obj: Some(5),
            mask: Some(7),
            other: Some(5),
            named: vec![user(1, 7)],
        };
        let item = b"\x00\x1f\x07\x05\x07\x05\x01\x01\x1e";
        assert_eq!(sent(&Arc::new(acl.clone()), &mut AclsSent::default()), item);
        let mut seen = AclsSeen::default();
        let decoded = seen.decode_default(&mut Cursor::new(item)).unwrap();
        assert_eq!(*seen.learn(decoded), acl);
    }

    #[test]
    fn a_minimal_acl_is_empty() {
        let acl = Acl {
            user_obj: Some(6),
            group_obj: Some(4),
            other: Some(0),
            ..Acl::default()
        };
        assert!(acl.is_minimal());
        let stripped = acl.clone().stripped(0o640);
        assert_eq!(stripped, Acl::default());
        assert!(stripped.is_no_default());
        assert_eq!(
            sent(&Arc::new(stripped.clone()), &mut AclsSent::default()),
            b"\x00\x00"
        );
        assert_eq!(stripped.restored(0o640), acl);
    }

    #[test]
    fn names_follow_the_first_use_of_an_id() {
        let name: IdName = b"bin".as_slice().into();
        let named = NamedAccess {
            name: Some(name),
            ..group(2, 4)
        };
        let acl = Arc::new(Acl {
            named: vec![named.clone(), named],
            ..Acl::default()
        });
        let mut out = Vec::new();
        AclsSent::default().encode(&acl, Some(&mut NamesSent::default()), &mut out);
        assert_eq!(out, b"\x00\x10\x02\x02\x11\x03bin\x02\x10");
    }

    #[test]
    fn hostile_items_are_refused() {
        let seen = AclsSeen::default();
        let refused = |bytes: &[u8]| match seen.decode_default(&mut Cursor::new(bytes)) {
            Err(Stop::Malformed(Malformed::OutOfRange { what, .. })) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"\x01"), "ACL index");
        assert_eq!(refused(b"\xf0\xff\xff\xff\xff"), "ACL index");
        assert_eq!(refused(b"\x00\x01\x08"), "ACL permissions");
        assert_eq!(refused(b"\x00\x10\x01\x01\x22"), "ACL permissions");
        assert_eq!(refused(b"\x00\x10\xc1\x01\x00"), "ACL count");
        assert_eq!(refused(b"\x00\x10\xf0\xff\xff\xff\xff"), "ACL count");
    }
}
