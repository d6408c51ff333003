//! Entries to bytes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Carried, Entry, EntryFormat, FileType, HardLink, MAX_PATH, flags};
use crate::acl::AclsSent;
use crate::ids::{NamesSent, put_name};
use crate::sort::common_prefix;
use crate::xattr::XattrsSent;
use crate::{
    Acl, IoErrors, put_int, put_longint, put_varint, put_varint30, put_varlong, put_varlong30,
};

/// The sender's half of the entry codec. One per connection: its state spans all lists.
#[derive(Debug)]
pub struct EntryEncoder {
    format: EntryFormat,
    carried: Carried,
    /// The previous entry's wire name; empty before the first one.
    name: Vec<u8>,
    list_start: u32,
    /// Entries of the current list so far.
    count: u32,
    /// Number of the first name of each file with several.
    first_links: HashMap<HardLink, u32>,
    /// What the receiver carries after an abbreviated entry, by the first name's number in this list.
    linked: HashMap<u32, Carried>,
    names: NamesSent,
    access_acls: AclsSent,
    default_acls: AclsSent,
    xattrs: XattrsSent,
}

/// How an entry says which file it is another name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkForm {
    None,
    /// Below protocol 30: device plus one, and inode.
    Inode(i64, i64),
    /// The first name of its file.
    First,
    /// Refers to a name in an earlier list; a full entry follows.
    Full(u32),
    /// Refers to a name in this list, whose fields the receiver copies.
    Abbreviated(u32, Carried),
}

impl EntryEncoder {
    /// An encoder at the start of the first list.
    #[must_use]
    pub fn new(format: EntryFormat) -> Self {
        Self {
            list_start: format.first_list_start(),
            format,
            carried: Carried::default(),
            name: Vec::new(),
            count: 0,
            first_links: HashMap::new(),
            linked: HashMap::new(),
            names: NamesSent::default(),
            access_acls: AclsSent::default(),
            default_acls: AclsSent::default(),
            xattrs: XattrsSent::default(),
        }
    }

    /// The number of the first entry of the current list (5.5).
    #[must_use]
    pub fn list_start(&self) -> u32 {
        self.list_start
    }

    /// Appends an entry to `out`. Answers the number of its xattr item if attributes travel.
    ///
    /// Names and targets must be shorter than [`MAX_PATH`]; a sender skips others (with an error), for
    /// every receiver would refuse the whole list.
    pub fn encode(&mut self, entry: &Entry, out: &mut Vec<u8>) -> Option<u32> {
        debug_assert!(entry.name.len() < MAX_PATH && entry.target.len() < MAX_PATH);
        let link = self.link_form(entry);
        let abbreviated = matches!(link, LinkForm::Abbreviated(..));
        let (user_name, group_name) = if abbreviated {
            (None, None)
        } else {
            self.inline_names(entry)
        };

        let mut flags = self.same_flags(entry, link);
        if user_name.is_some() {
            flags |= flags::USER_NAME_FOLLOWS;
        }
        if group_name.is_some() {
            flags |= flags::GROUP_NAME_FOLLOWS;
        }
        self.put_flags_and_name(flags, entry, out);
        match link {
            LinkForm::Full(first) | LinkForm::Abbreviated(first, _) => {
                put_varint(out, first as i32);
            }
            _ => {}
        }
        let sent = match link {
            LinkForm::Abbreviated(_, copied) => copied,
            _ => {
                self.put_metadata(entry, flags, user_name, group_name, out);
                self.put_content(entry, flags, link, out);
                Carried::of(entry, self.format.protocol)
            }
        };
        self.carried.advance(sent, &self.format);
        match link {
            LinkForm::Inode(device, _) => self.carried.device = device,
            LinkForm::First => _ = self.linked.insert(self.list_start + self.count, sent),
            _ => {}
        }
        self.count += 1;
        self.put_acls(entry, sent.mode, out);
        self.put_xattrs(entry, out)
    }

    /// Ends the current list, reporting the errors met so far where the list can carry them (2.1). Entries
    /// that follow belong to the next list.
    pub fn end(&mut self, io_errors: IoErrors, out: &mut Vec<u8>) {
        if self.format.varint_flags {
            put_varint(out, 0);
            put_varint(out, io_errors.to_wire());
        } else if self.format.safe_list_end && !io_errors.is_empty() {
            self.format.put_flags(flags::END_WITH_ERRORS, out);
            put_varint(out, io_errors.to_wire());
        } else {
            out.push(0);
        }
        // The number before a sub-list's first entry is that of its directory.
        self.list_start += self.count + 1;
        self.count = 0;
        self.linked.clear();
    }

    fn link_form(&mut self, entry: &Entry) -> LinkForm {
        let format = &self.format;
        let file_type = entry.file_type();
        if !format.hard_links || file_type == Some(FileType::Directory) {
            return LinkForm::None;
        }
        let number = self.list_start + self.count;
        if !format.protocol.links_by_index() {
            let every_file = !format.protocol.has_wide_entry_flags();
            if every_file && file_type != Some(FileType::Regular) {
                return LinkForm::None;
            }
            return match entry.hard_link {
                Some(HardLink::Inode { device, inode }) => {
                    LinkForm::Inode((device as i64).wrapping_add(1), inode as i64)
                }
                Some(HardLink::Group(group)) => LinkForm::Inode(1, i64::from(group)),
                // A pair that no other file has: the field is not optional.
                None if every_file => LinkForm::Inode(i64::MAX, i64::from(number)),
                None => LinkForm::None,
            };
        }
        let Some(link) = entry.hard_link else {
            return LinkForm::None;
        };
        let Some(&first) = self.first_links.get(&link) else {
            self.first_links.insert(link, number);
            return LinkForm::First;
        };
        // The state must become what the receiver copies, even if the file changed since its first name
        // was listed.
        match self.linked.get(&first) {
            Some(&copied) => LinkForm::Abbreviated(first, copied),
            None => LinkForm::Full(first),
        }
    }

    fn same_uid(&self, entry: &Entry) -> bool {
        !self.format.owner || (entry.uid == self.carried.uid && !self.name.is_empty())
    }

    fn same_gid(&self, entry: &Entry) -> bool {
        !self.format.group || (entry.gid == self.carried.gid && !self.name.is_empty())
    }

    /// Names that go with this entry's ids: at the first use of each, if the id itself is sent.
    fn inline_names<'e>(&mut self, entry: &'e Entry) -> (Option<&'e [u8]>, Option<&'e [u8]>) {
        if !self.format.names_inline() {
            return (None, None);
        }
        let user =
            (!self.same_uid(entry)).then(|| self.names.user(entry.uid, entry.user_name.as_ref()));
        let group =
            (!self.same_gid(entry)).then(|| self.names.group(entry.gid, entry.group_name.as_ref()));
        (
            user.flatten().map(|name| &**name),
            group.flatten().map(|name| &**name),
        )
    }

    /// All flags but those of the name and of inline names.
    fn same_flags(&self, entry: &Entry, link: LinkForm) -> u32 {
        let protocol = self.format.protocol;
        let file_type = entry.file_type();
        let is_dir = file_type == Some(FileType::Directory);
        let carried = &self.carried;
        let no_content = is_dir && entry.no_content;
        // Below protocol 30 a top directory always has content.
        let top_dir =
            is_dir && entry.top_dir && (!no_content || protocol.marks_directory_content());
        let linked = protocol.has_wide_entry_flags() && link != LinkForm::None;
        let same_device =
            matches!(link, LinkForm::Inode(device, _) if linked && device == carried.device);
        let bits = [
            (top_dir, flags::TOP_DIR),
            (
                no_content && protocol.marks_directory_content(),
                flags::NO_CONTENT_DIR,
            ),
            (entry.mode == carried.mode, flags::SAME_MODE),
            (self.same_uid(entry), flags::SAME_UID),
            (self.same_gid(entry), flags::SAME_GID),
            (entry.mtime == carried.mtime, flags::SAME_TIME),
            (sends_nanoseconds(entry, &self.format), flags::MOD_NSEC),
            (
                self.format.atimes && !is_dir && entry.atime == carried.atime,
                flags::SAME_ATIME,
            ),
            (
                self.format.crtimes && entry.crtime == entry.mtime,
                flags::CRTIME_EQ_MTIME,
            ),
            (linked, flags::HLINKED),
            (link == LinkForm::First, flags::HLINK_FIRST),
            (same_device, flags::SAME_DEV),
        ];
        let flags = bits
            .into_iter()
            .filter(|(set, _)| *set)
            .fold(0, |flags, (_, bit)| flags | bit);
        // A flag that does not fit the word leaves its field explicit.
        (flags | self.rdev_flags(entry)) & self.format.flag_bits()
    }

    fn rdev_flags(&self, entry: &Entry) -> u32 {
        let file_type = entry.file_type();
        if !self.format.has_rdev(file_type) {
            return 0;
        }
        // A special file's number means nothing: it claims the previous one, and minor 0.
        let special = file_type.is_some_and(FileType::is_special);
        if !self.format.protocol.has_wide_entry_flags() {
            let same = special || entry.rdev.to_dev32() == self.carried.rdev;
            return if same { flags::SAME_RDEV } else { 0 };
        }
        let same = special || entry.rdev.major == self.carried.rdev;
        let minor_8 =
            !self.format.protocol.has_variable_integers() && (special || entry.rdev.minor <= 0xff);
        (if same { flags::SAME_RDEV_MAJOR } else { 0 })
            | (if minor_8 { flags::RDEV_MINOR_8 } else { 0 })
    }

    fn put_flags_and_name(&mut self, mut flags: u32, entry: &Entry, out: &mut Vec<u8>) {
        let name = &entry.name[..entry.name.len().min(MAX_PATH - 1)];
        let shared = common_prefix(name, &self.name).min(0xff);
        let suffix = &name[shared..];
        if shared > 0 {
            flags |= flags::SAME_NAME;
        }
        if suffix.len() > 0xff {
            flags |= flags::LONG_NAME;
        }
        let flags = self.format.nonzero_flags(flags, entry.file_type());
        self.format.put_flags(flags, out);
        if shared > 0 {
            out.push(shared as u8);
        }
        if flags & flags::LONG_NAME != 0 {
            put_varint30(out, self.format.protocol, suffix.len() as i32);
        } else {
            out.push(suffix.len() as u8);
        }
        out.extend_from_slice(suffix);
        self.name.truncate(shared);
        self.name.extend_from_slice(suffix);
    }

    /// Fields 6 to 13 of 3.3.
    fn put_metadata(
        &self,
        entry: &Entry,
        flags: u32,
        user_name: Option<&[u8]>,
        group_name: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        let Self { format, .. } = self;
        let absent = |bit: u32| flags & bit != 0;
        let file_type = entry.file_type();
        let sizeless = file_type.is_some_and(FileType::is_sizeless);
        put_varlong30(
            out,
            format.protocol,
            if sizeless { 0 } else { entry.size.max(0) },
            3,
        );
        if !absent(flags::SAME_TIME) {
            match format.protocol.has_wide_times() {
                true => put_varlong(out, entry.mtime, 4),
                false => put_int(out, entry.mtime as i32),
            }
        }
        if flags & flags::MOD_NSEC != 0 {
            put_varint(out, entry.mtime_nsec as i32);
        }
        if format.crtimes && !absent(flags::CRTIME_EQ_MTIME) {
            put_varlong(out, entry.crtime, 4);
        }
        if !absent(flags::SAME_MODE) {
            put_int(out, entry.mode as i32);
        }
        if format.atimes && file_type != Some(FileType::Directory) && !absent(flags::SAME_ATIME) {
            put_varlong(out, entry.atime, 4);
        }
        let ids = [
            (flags::SAME_UID, entry.uid, user_name),
            (flags::SAME_GID, entry.gid, group_name),
        ];
        for (_, id, name) in ids.into_iter().filter(|&(same, ..)| !absent(same)) {
            put_varint30(out, format.protocol, id as i32);
            if let Some(name) = name {
                put_name(out, name);
            }
        }
    }

    /// Fields 14 to 16 of 3.3.
    fn put_content(&self, entry: &Entry, flags: u32, link: LinkForm, out: &mut Vec<u8>) {
        let Self { format, .. } = self;
        let file_type = entry.file_type();
        if format.has_rdev(file_type) {
            self.put_rdev(entry, flags, out);
        }
        if format.links && file_type == Some(FileType::Symlink) {
            let target = &entry.target[..entry.target.len().min(MAX_PATH - 1)];
            put_varint30(out, format.protocol, target.len() as i32);
            out.extend_from_slice(target);
        }
        if let LinkForm::Inode(device, inode) = link {
            if flags & flags::SAME_DEV == 0 || !format.protocol.has_wide_entry_flags() {
                put_longint(out, device);
            }
            put_longint(out, inode);
        }
        if format.has_checksum(file_type) {
            let sum = if file_type == Some(FileType::Regular) {
                entry.checksum.as_slice()
            } else {
                &[]
            };
            let sum = &sum[..sum.len().min(format.checksum_length)];
            let end = out.len() + format.checksum_length;
            out.extend_from_slice(sum);
            out.resize(end, 0);
        }
    }

    fn put_rdev(&self, entry: &Entry, flags: u32, out: &mut Vec<u8>) {
        let protocol = self.format.protocol;
        if !protocol.has_wide_entry_flags() {
            if flags & flags::SAME_RDEV == 0 {
                put_int(out, entry.rdev.to_dev32() as i32);
            }
            return;
        }
        let special = entry.file_type().is_some_and(FileType::is_special);
        let minor = if special { 0 } else { entry.rdev.minor };
        if flags & flags::SAME_RDEV_MAJOR == 0 {
            put_varint30(out, protocol, entry.rdev.major as i32);
        }
        if protocol.has_variable_integers() || flags & flags::RDEV_MINOR_8 == 0 {
            put_varint30(out, protocol, minor as i32);
        } else {
            out.push(minor as u8);
        }
    }

    fn put_acls(&mut self, entry: &Entry, mode: u32, out: &mut Vec<u8>) {
        let file_type = FileType::of(mode);
        if !self.format.acls || file_type == Some(FileType::Symlink) {
            return;
        }
        let inline = self.format.names_inline();
        let mut put = |acls: &mut AclsSent, acl: &Option<Arc<Acl>>| {
            let names = inline.then_some(&mut self.names);
            match acl {
                Some(acl) => acls.encode(acl, names, out),
                None => acls.encode(&Arc::default(), names, out),
            }
        };
        put(&mut self.access_acls, &entry.acl);
        if file_type == Some(FileType::Directory) {
            put(&mut self.default_acls, &entry.default_acl);
        }
    }

    fn put_xattrs(&mut self, entry: &Entry, out: &mut Vec<u8>) -> Option<u32> {
        self.format.xattrs.then(|| match &entry.xattrs {
            Some(item) => self.xattrs.encode(&item.attributes, out),
            None => self.xattrs.encode(&Arc::from([]), out),
        })
    }
}

/// Nanoseconds that are out of range came from a broken file system and are not sent.
fn sends_nanoseconds(entry: &Entry, format: &EntryFormat) -> bool {
    format.protocol.has_nanoseconds() && (1..1_000_000_000).contains(&entry.mtime_nsec)
}
