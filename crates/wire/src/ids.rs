//! Owner and group names: those sent inline with an id's first use, and the lists that trail a complete
//! file list (wire-files.md section 7).

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Cursor, Protocol, Stop, put_varint30};

/// A user or group name: 1 to 255 bytes that are cheap to hand around, for many entries share one.
pub type IdName = Arc<[u8]>;

/// An element of a trailing id list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdListItem {
    /// An id other than 0 and the sender's name for it.
    Name {
        /// The user or group id.
        id: u32,
        /// Its name; empty if the sender has none after all.
        name: IdName,
    },
    /// The end of the list. Where both sides announced id-0 names, it carries the name of id 0.
    End {
        /// The name of user or group 0, unless absent or empty.
        zero: Option<IdName>,
    },
}

/// What both sides must know to code a trailing id list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdListFormat {
    /// The negotiated protocol.
    pub protocol: Protocol,
    /// Compat flag 0x100: the list ends with the name of id 0.
    pub id0_names: bool,
}

impl IdListFormat {
    /// Decodes the next element. Has no state: call it until it answers [`IdListItem::End`], and give up
    /// on a list longer than you are willing to remember.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn decode(self, cursor: &mut Cursor<'_>) -> Result<IdListItem, Stop> {
        let mut ahead = cursor.clone();
        let item = match ahead.varint30(self.protocol)? as u32 {
            0 if self.id0_names => IdListItem::End {
                zero: decode_name(&mut ahead)?,
            },
            0 => IdListItem::End { zero: None },
            id => IdListItem::Name {
                id,
                name: decode_name(&mut ahead)?.unwrap_or_default(),
            },
        };
        *cursor = ahead;
        Ok(item)
    }

    /// Encodes a whole list. Ids without a name are left out, and so is id 0, whose name is `zero`.
    pub fn encode<'n>(
        self,
        names: impl IntoIterator<Item = (u32, &'n [u8])>,
        zero: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        for (id, name) in names
            .into_iter()
            .filter(|&(id, name)| id != 0 && !name.is_empty())
        {
            put_varint30(out, self.protocol, id as i32);
            put_name(out, name);
        }
        put_varint30(out, self.protocol, 0);
        if self.id0_names {
            put_name(out, zero.unwrap_or_default());
        }
    }
}

/// Ids whose names have been sent on this connection; users and groups are counted separately.
#[derive(Debug, Default)]
pub(crate) struct NamesSent {
    users: HashSet<u32>,
    groups: HashSet<u32>,
}

impl NamesSent {
    /// The name to send with this use of a user id: the first time that it has one.
    pub(crate) fn user<'n>(&mut self, id: u32, name: Option<&'n IdName>) -> Option<&'n IdName> {
        first_use(&mut self.users, id, name)
    }

    /// The name to send with this use of a group id.
    pub(crate) fn group<'n>(&mut self, id: u32, name: Option<&'n IdName>) -> Option<&'n IdName> {
        first_use(&mut self.groups, id, name)
    }
}

fn first_use<'n>(sent: &mut HashSet<u32>, id: u32, name: Option<&'n IdName>) -> Option<&'n IdName> {
    name.filter(|name| !name.is_empty() && sent.insert(id))
}

/// Reads a length byte and a name; the empty name means that there is none.
pub(crate) fn decode_name(cursor: &mut Cursor<'_>) -> Result<Option<IdName>, Stop> {
    let length = cursor.byte()?;
    let name = cursor.take(usize::from(length))?;
    Ok((!name.is_empty()).then(|| name.into()))
}

/// Writes a length byte and a name. No system has names beyond 255 bytes; one that had is cut.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend_from_slice(&name[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(protocol: u8, id0_names: bool) -> IdListFormat {
        IdListFormat {
            protocol: Protocol::new(protocol).unwrap(),
            id0_names,
        }
    }

    fn decode_all(format: IdListFormat, bytes: &[u8]) -> Vec<IdListItem> {
        let mut cursor = Cursor::new(bytes);
        let mut items = Vec::new();
        while !matches!(items.last(), Some(IdListItem::End { .. })) {
            items.push(format.decode(&mut cursor).unwrap());
        }
        assert_eq!(cursor.rest(), b"");
        items
    }

    fn named(id: u32, name: &[u8]) -> IdListItem {
        IdListItem::Name {
            id,
            name: name.into(),
        }
    }

    #[test]
    fn lists_of_the_specification() {
        let modern = b"\x01\x06daemon\x00\x04root";
        assert_eq!(
            decode_all(format(32, true), modern),
            [
                named(1, b"daemon"),
                IdListItem::End {
                    zero: Some(b"root".as_slice().into())
                }
            ]
        );
        let old = b"\x02\0\0\0\x03bin\0\0\0\0";
        assert_eq!(
            decode_all(format(29, false), old),
            [named(2, b"bin"), IdListItem::End { zero: None }]
        );

        let mut out = Vec::new();
        format(32, true).encode(
            [(1, b"daemon".as_slice()), (7, b""), (0, b"root")],
            Some(b"root"),
            &mut out,
        );
        assert_eq!(out, modern);
        out.clear();
        format(29, false).encode([(2, b"bin".as_slice())], Some(b"root"), &mut out);
        assert_eq!(out, old);
    }

    #[test]
    fn large_ids_are_unsigned() {
        let mut out = Vec::new();
        format(32, false).encode([(3_000_000_000, b"x".as_slice())], None, &mut out);
        assert_eq!(out, b"\xf0\x00\x5e\xd0\xb2\x01x\x00");
        assert_eq!(
            decode_all(format(32, false), &out)[0],
            named(3_000_000_000, b"x")
        );
    }

    #[test]
    fn every_cut_is_incomplete() {
        let bytes = b"\x02\0\0\0\x03bin";
        for cut in 0..bytes.len() {
            let mut cursor = Cursor::new(&bytes[..cut]);
            assert_eq!(format(29, false).decode(&mut cursor), Err(Stop::Incomplete));
            assert_eq!(cursor.position(), 0);
        }
    }

    #[test]
    fn a_name_is_sent_once() {
        let mut sent = NamesSent::default();
        let name: IdName = b"root".as_slice().into();
        assert_eq!(sent.user(0, None), None);
        assert_eq!(sent.user(0, Some(&name)), Some(&name));
        assert_eq!(sent.user(0, Some(&name)), None);
        assert_eq!(sent.group(0, Some(&name)), Some(&name));
    }
}
