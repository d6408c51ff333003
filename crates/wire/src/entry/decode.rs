//! Bytes to entries.

use std::collections::{HashMap, HashSet};

use super::{Carried, Entry, EntryFormat, FileType, HardLink, MAX_PATH, Rdev, flags};
use crate::acl::{AclItem, AclsSeen};
use crate::ids::decode_name;
use crate::xattr::XattrsSeen;
use crate::{Cursor, IoErrors, Malformed, Stop};

/// The receiver's half of the entry codec. One per connection: its state spans all lists.
#[derive(Debug)]
pub struct EntryDecoder {
    format: EntryFormat,
    carried: Carried,
    /// The previous entry's name as it was sent.
    name: Vec<u8>,
    list_start: u32,
    /// Entries of the current list so far.
    count: u32,
    /// Numbers of all entries that were declared the first name of their file.
    first_links: HashSet<u32>,
    /// Those of the current list, for entries that are sent as a reference and nothing more.
    linked: HashMap<u32, Entry>,
    /// Below protocol 30: the group of each device and inode.
    inodes: HashMap<(i64, i64), u32>,
    access_acls: AclsSeen,
    default_acls: AclsSeen,
    xattrs: XattrsSeen,
    /// Below protocol 30: the top directory whose tree the list is in; empty for all of it.
    hierarchy: Option<Vec<u8>>,
}

/// What a list consists of.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every value is an entry, and is moved once"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The next entry.
    Entry(Entry),
    /// The list is complete. Id lists may follow, and below protocol 30 an int with the I/O errors.
    End {
        /// Errors that the sender has met so far, where the list carries them.
        io_errors: IoErrors,
    },
}

/// How an entry says which file it is another name of, from protocol 30 on.
enum LinkForm {
    None,
    First,
    Full(u32),
    Abbreviated(u32),
}

/// What completes the decoder's state once an entry has been read to its end.
struct Learned {
    shared: usize,
    /// Below protocol 30: the device as sent, and the inode.
    inode: Option<(i64, i64)>,
    acl: Option<AclItem>,
    default_acl: Option<AclItem>,
}

impl EntryDecoder {
    /// A decoder at the start of the first list.
    #[must_use]
    pub fn new(format: EntryFormat) -> Self {
        Self {
            list_start: format.first_list_start(),
            format,
            carried: Carried::default(),
            name: Vec::new(),
            count: 0,
            first_links: HashSet::new(),
            linked: HashMap::new(),
            inodes: HashMap::new(),
            access_acls: AclsSeen::default(),
            default_acls: AclsSeen::default(),
            xattrs: XattrsSeen::default(),
            hierarchy: None,
        }
    }

    /// The number of the first entry of the current list (5.5).
    #[must_use]
    pub fn list_start(&self) -> u32 {
        self.list_start
    }

    /// Decodes the next entry, or the end of the list; what follows an end belongs to the next list. The
    /// entry's name is relative and clean (no "..", no empty or "." components but a last "."), except for
    /// the leading '/' that `--relative` permits.
    ///
    /// # Errors
    /// [`Stop`]; the decoder's state is then as before.
    pub fn decode(&mut self, cursor: &mut Cursor<'_>) -> Result<Decoded, Stop> {
        // Entries and ends alike use up the numbers of a session, which must stay indexes.
        let number = self.list_start + self.count;
        if number >= i32::MAX as u32 {
            return Err(Malformed::FileIndex(number.into()).into());
        }
        let mut ahead = cursor.clone();
        let flags = self.format.decode_flags(&mut ahead)?;
        let decoded = match self.decode_end(flags, &mut ahead)? {
            Some(io_errors) => {
                self.list_start += self.count + 1;
                self.count = 0;
                self.linked.clear();
                Decoded::End { io_errors }
            }
            None => Decoded::Entry(self.decode_entry(flags, &mut ahead)?),
        };
        *cursor = ahead;
        Ok(decoded)
    }

    fn decode_end(&self, flags: u32, cursor: &mut Cursor<'_>) -> Result<Option<IoErrors>, Stop> {
        match flags {
            0 if self.format.varint_flags => Ok(Some(IoErrors::from_wire(cursor.varint()?))),
            0 => Ok(Some(IoErrors::empty())),
            flags::END_WITH_ERRORS if !self.format.varint_flags => {
                if !self.format.safe_list_end {
                    return Err(Malformed::ListEnd { flags }.into());
                }
                Ok(Some(IoErrors::from_wire(cursor.varint()?)))
            }
            _ => Ok(None),
        }
    }

    fn decode_entry(&mut self, flags: u32, cursor: &mut Cursor<'_>) -> Result<Entry, Stop> {
        let (shared, name) = self.decode_name(flags, cursor)?;
        let link = self.decode_link(flags, cursor)?;
        let mut learned = Learned {
            shared,
            inode: None,
            acl: None,
            default_acl: None,
        };
        let mut entry = match link {
            LinkForm::Abbreviated(first) => {
                let copied = self
                    .linked
                    .get(&first)
                    .ok_or(Malformed::LinkUndeclared { number: first })?;
                Entry {
                    name,
                    ..copied.clone()
                }
            }
            _ => {
                let mut entry = Entry {
                    name,
                    ..Entry::default()
                };
                self.decode_metadata(flags, &mut entry, cursor)?;
                learned.inode = self.decode_content(flags, &mut entry, cursor)?;
                entry
            }
        };
        let file_type = entry.file_type();
        if self.format.acls && file_type != Some(FileType::Symlink) {
            learned.acl = Some(self.access_acls.decode_access(cursor, entry.mode)?);
            if file_type == Some(FileType::Directory) {
                learned.default_acl = Some(self.default_acls.decode_default(cursor)?);
            }
        }
        entry.xattrs = self
            .format
            .xattrs
            .then(|| self.xattrs.decode(cursor))
            .transpose()?;
        let clean = clean_name(&entry.name, self.format.relative)?;
        if matches!(clean.as_deref().unwrap_or(&entry.name), b"." | b"/.") && !entry.is_dir() {
            return Err(Malformed::RootNotDirectory { name: entry.name }.into());
        }
        self.learn(flags, &link, &mut entry, learned);
        if let Some(clean) = clean {
            entry.name = clean;
        }
        Ok(entry)
    }

    /// Changes the decoder's state; nothing can fail any more. The entry's name is still as sent.
    fn learn(&mut self, flags: u32, link: &LinkForm, entry: &mut Entry, learned: Learned) {
        let Learned {
            shared,
            inode,
            acl,
            default_acl,
        } = learned;
        let number = self.list_start + self.count;
        self.count += 1;
        entry.top_dir = entry.is_dir() && flags & flags::TOP_DIR != 0;
        entry.no_content = entry.is_dir()
            && match self.format.protocol.marks_directory_content() {
                true => flags & flags::NO_CONTENT_DIR != 0,
                false => !self.infer_content(entry, shared),
            };
        self.name.truncate(shared);
        self.name.extend_from_slice(&entry.name[shared..]);
        self.carried
            .advance(Carried::of(entry, self.format.protocol), &self.format);
        if let Some((device, inode)) = inode {
            self.carried.device = device;
            // A directory has one name, whatever a peer says of it.
            if !entry.is_dir() {
                let groups = self.inodes.len() as u32;
                let group = *self.inodes.entry((device, inode)).or_insert(groups);
                entry.hard_link = Some(HardLink::Group(group));
            }
        }
        if !entry.is_dir() {
            match *link {
                LinkForm::None => {}
                LinkForm::First => {
                    entry.hard_link = Some(HardLink::Group(number));
                    self.first_links.insert(number);
                    self.linked.insert(
                        number,
                        Entry {
                            name: Vec::new(),
                            ..entry.clone()
                        },
                    );
                }
                LinkForm::Full(first) | LinkForm::Abbreviated(first) => {
                    entry.hard_link = Some(HardLink::Group(first));
                }
            }
        }
        entry.acl = acl.map(|item| self.access_acls.learn(item));
        entry.default_acl = default_acl.map(|item| self.default_acls.learn(item));
        if let Some(item) = &entry.xattrs {
            self.xattrs.learn(item);
        }
    }

    /// Whether a directory has content, which old senders do not say (3.2).
    fn infer_content(&mut self, entry: &Entry, shared: usize) -> bool {
        let name = entry.name.as_slice();
        if entry.top_dir {
            if self.format.recursive {
                let top = name.strip_suffix(b"/.").unwrap_or(name);
                self.hierarchy = Some(if top == b"." {
                    Vec::new()
                } else {
                    top.to_vec()
                });
            }
            return true;
        }
        let Some(top) = &self.hierarchy else {
            return false;
        };
        let inside = top.is_empty() || (shared >= top.len() && name.get(top.len()) == Some(&b'/'));
        if self.format.relative && !inside {
            self.hierarchy = None;
            return false;
        }
        true
    }

    fn decode_name(&self, flags: u32, cursor: &mut Cursor<'_>) -> Result<(usize, Vec<u8>), Stop> {
        let shared = if flags & flags::SAME_NAME != 0 {
            usize::from(cursor.byte()?)
        } else {
            0
        };
        let length = match flags & flags::LONG_NAME {
            0 => i32::from(cursor.byte()?),
            _ => cursor.varint30(self.format.protocol)?,
        };
        let overflow = || Malformed::NameOverflow {
            flags,
            shared,
            length,
            previous: self.name.clone(),
        };
        let suffix = usize::try_from(length)
            .ok()
            .filter(|length| shared + length < MAX_PATH)
            .ok_or_else(overflow)?;
        let prefix = self.name.get(..shared).ok_or_else(overflow)?;
        Ok((shared, [prefix, cursor.take(suffix)?].concat()))
    }

    fn decode_link(&self, flags: u32, cursor: &mut Cursor<'_>) -> Result<LinkForm, Stop> {
        let linked = self.format.hard_links
            && self.format.protocol.links_by_index()
            && flags & flags::HLINKED != 0;
        if !linked {
            return Ok(LinkForm::None);
        }
        if flags & flags::HLINK_FIRST != 0 {
            return Ok(LinkForm::First);
        }
        let number = cursor.varint()?;
        let limit = self.list_start + self.count;
        let first = u32::try_from(number).ok().filter(|&first| first < limit);
        let first = first.ok_or(Malformed::LinkOutOfRange { number, limit })?;
        if first >= self.list_start {
            Ok(LinkForm::Abbreviated(first))
        } else if self.first_links.contains(&first) {
            Ok(LinkForm::Full(first))
        } else {
            Err(Malformed::LinkPrecedesList {
                number: first,
                list_start: self.list_start,
            }
            .into())
        }
    }

    /// Fields 6 to 13 of 3.3.
    fn decode_metadata(
        &self,
        flags: u32,
        entry: &mut Entry,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Stop> {
        let Self {
            format, carried, ..
        } = self;
        let protocol = format.protocol;
        entry.size = cursor.varlong30(protocol, 3)?;
        if entry.size < 0 {
            return Err(Malformed::NegativeFileLength.into());
        }
        entry.mtime = match () {
            () if flags & flags::SAME_TIME != 0 => carried.mtime,
            () if protocol.has_wide_times() => cursor.varlong(4)?,
            () => i64::from(cursor.int()? as u32),
        };
        if flags & flags::MOD_NSEC != 0 && protocol.has_nanoseconds() {
            let nsec = cursor.varint()?;
            let legal = u32::try_from(nsec)
                .ok()
                .filter(|&nsec| nsec < 1_000_000_000);
            entry.mtime_nsec = legal.ok_or(Malformed::OutOfRange {
                what: "modtime nsec",
                value: nsec.into(),
            })?;
        }
        if format.crtimes {
            entry.crtime = if flags & flags::CRTIME_EQ_MTIME != 0 {
                entry.mtime
            } else {
                cursor.varlong(4)?
            };
        }
        entry.mode = if flags & flags::SAME_MODE != 0 {
            carried.mode
        } else {
            cursor.int()? as u32
        };
        let legal = match entry.mode {
            0 => format.missing_args,
            mode => mode <= 0xffff && FileType::of(mode).is_some(),
        };
        if !legal {
            return Err(Malformed::FileMode {
                mode: entry.mode,
                name: entry.name.clone(),
            }
            .into());
        }
        if format.atimes && !entry.is_dir() {
            entry.atime = if flags & flags::SAME_ATIME != 0 {
                carried.atime
            } else {
                cursor.varlong(4)?
            };
        }
        let mut id = |same, named, previous| -> Result<_, Stop> {
            if flags & same != 0 {
                return Ok((previous, None));
            }
            let id = cursor.varint30(protocol)? as u32;
            let named = flags & named != 0 && protocol.has_inline_names();
            Ok((id, if named { decode_name(cursor)? } else { None }))
        };
        if format.owner {
            (entry.uid, entry.user_name) =
                id(flags::SAME_UID, flags::USER_NAME_FOLLOWS, carried.uid)?;
        }
        if format.group {
            (entry.gid, entry.group_name) =
                id(flags::SAME_GID, flags::GROUP_NAME_FOLLOWS, carried.gid)?;
        }
        Ok(())
    }

    /// Fields 14 to 16 of 3.3. Answers the device (as sent) and inode, where they travel.
    fn decode_content(
        &self,
        flags: u32,
        entry: &mut Entry,
        cursor: &mut Cursor<'_>,
    ) -> Result<Option<(i64, i64)>, Stop> {
        let Self {
            format, carried, ..
        } = self;
        let protocol = format.protocol;
        let file_type = entry.file_type();
        if file_type.is_some_and(FileType::is_sizeless) {
            entry.size = 0;
        }
        if format.has_rdev(file_type) {
            entry.rdev = self.decode_rdev(flags, cursor)?;
        }
        if format.links && file_type == Some(FileType::Symlink) {
            let length = cursor.varint30(protocol)?;
            let legal = usize::try_from(length)
                .ok()
                .filter(|&length| length < MAX_PATH);
            entry.target = cursor
                .take(legal.ok_or(Malformed::TargetOverflow { length })?)?
                .to_vec();
        }
        let linked = format.hard_links
            && !protocol.links_by_index()
            && match protocol.has_wide_entry_flags() {
                true => flags & flags::HLINKED != 0,
                false => file_type == Some(FileType::Regular),
            };
        let mut inode = None;
        if linked {
            let same = protocol.has_wide_entry_flags() && flags & flags::SAME_DEV != 0;
            let device = if same {
                carried.device
            } else {
                cursor.longint()?
            };
            inode = Some((device, cursor.longint()?));
        }
        if format.has_checksum(file_type) {
            let checksum = cursor.take(format.checksum_length)?;
            if file_type == Some(FileType::Regular) {
                entry.checksum = checksum.to_vec();
            }
        }
        Ok(inode)
    }

    fn decode_rdev(&self, flags: u32, cursor: &mut Cursor<'_>) -> Result<Rdev, Stop> {
        let protocol = self.format.protocol;
        if !protocol.has_wide_entry_flags() {
            let same = flags & flags::SAME_RDEV != 0;
            return Ok(Rdev::from_dev32(if same {
                self.carried.rdev
            } else {
                cursor.int()? as u32
            }));
        }
        let same = flags & flags::SAME_RDEV_MAJOR != 0;
        let major = if same {
            self.carried.rdev
        } else {
            cursor.varint30(protocol)? as u32
        };
        let short = !protocol.has_variable_integers() && flags & flags::RDEV_MINOR_8 != 0;
        let minor = if short {
            cursor.byte()?.into()
        } else {
            cursor.varint30(protocol)? as u32
        };
        Ok(Rdev { major, minor })
    }
}

/// Refuses a name that leaves the root, and cleans one that says more than it must. `None` is the usual
/// case: the name is clean already.
fn clean_name(name: &[u8], relative: bool) -> Result<Option<Vec<u8>>, Malformed> {
    let absolute = name.first() == Some(&b'/');
    let body = if absolute { &name[1..] } else { name };
    let unsafe_name = name.is_empty() || name.contains(&0) || (absolute && !relative);
    let mut surplus = false;
    let mut components = body.split(|&byte| byte == b'/').peekable();
    while let Some(component) = components.next() {
        match component {
            b".." => {
                return Err(Malformed::UnsafeName {
                    name: name.to_vec(),
                });
            }
            b"" => surplus = true,
            b"." => surplus |= components.peek().is_some(),
            _ => {}
        }
    }
    if unsafe_name {
        return Err(Malformed::UnsafeName {
            name: name.to_vec(),
        });
    }
    if !surplus {
        return Ok(None);
    }
    let ends_in_dot = body == b"." || body.ends_with(b"/.");
    let mut kept: Vec<&[u8]> = body
        .split(|&byte| byte == b'/')
        .filter(|it| !matches!(*it, b"" | b"."))
        .collect();
    if ends_in_dot || kept.is_empty() {
        kept.push(b".");
    }
    let root = if absolute { b"/".as_slice() } else { b"" };
    Ok(Some([root, &kept.join(&b'/')].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        let clean = |name: &str| {
            clean_name(name.as_bytes(), true).map(|it| it.map(|it| String::from_utf8(it).unwrap()))
        };
        for already in [".", "a", "a/b", "/a", "a/.", "...", "a..b/..c", "/."] {
            assert_eq!(clean(already), Ok(None), "{already}");
        }
        for (given, expected) in [
            ("./a", "a"),
            ("a//b", "a/b"),
            ("a/./b/", "a/b"),
            ("./", "."),
            ("//a", "/a"),
            ("/", "/."),
            ("a//.", "a/."),
        ] {
            assert_eq!(clean(given), Ok(Some(expected.to_owned())), "{given}");
        }
        for refused in ["", "..", "a/..", "../a", "a/../b", "a\0b"] {
            assert!(clean(refused).is_err(), "{refused}");
        }
        assert!(clean_name(b"/a", false).is_err());
    }
}
