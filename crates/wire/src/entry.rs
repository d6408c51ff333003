//! File-list entries (wire-files.md sections 2 to 4): the value, what of it travels, and the two codecs
//! with the state that both sides keep for the life of the connection.

mod decode;
mod encode;
mod flags;
#[cfg(test)]
mod golden;

use std::sync::Arc;

pub use decode::{Decoded, EntryDecoder};
pub use encode::EntryEncoder;

use crate::{Acl, IdListFormat, IdName, Protocol, XattrItem};

/// Longest name and symlink target in bytes is one less: the size of rsync's path buffer.
pub const MAX_PATH: usize = 4096;

/// One entry of a file list. Fields that the [`EntryFormat`] leaves out keep their default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the root of the transfer, '/' between components; `.` is the root itself. A
    /// leading '/' occurs with `--relative` only, and is to be removed after sorting.
    pub name: Vec<u8>,
    /// POSIX `st_mode`, type and permissions. 0 is a missing argument under `--delete-missing-args`.
    pub mode: u32,
    /// Length in bytes. Devices and special files have 0.
    pub size: i64,
    /// Modification time in seconds since the epoch.
    pub mtime: i64,
    /// Nanoseconds of the modification time, below 10^9; 0 if they are not known.
    pub mtime_nsec: u32,
    /// Access time in seconds since the epoch; never travels for a directory.
    pub atime: i64,
    /// Creation time in seconds since the epoch.
    pub crtime: i64,
    /// Owner on the sending side.
    pub uid: u32,
    /// Group on the sending side.
    pub gid: u32,
    /// Name of the owner. An encoder wants it each time and sends it once; a decoder has it once.
    pub user_name: Option<IdName>,
    /// Name of the group, like `user_name`.
    pub group_name: Option<IdName>,
    /// Device number of a character or block device.
    pub rdev: Rdev,
    /// Target of a symlink; empty where targets do not travel.
    pub target: Vec<u8>,
    /// Which entries are the same file.
    pub hard_link: Option<HardLink>,
    /// Checksum of the content under `--checksum`, all zero if the sender could not read it.
    pub checksum: Vec<u8>,
    /// Directory: an argument of the transfer, or with `no_content` a parent implied by one.
    pub top_dir: bool,
    /// Directory: sent without its content. Nothing in it may be deleted.
    pub no_content: bool,
    /// Access ACL, [stripped](Acl::stripped) of what the mode implies. None counts as empty.
    pub acl: Option<Arc<Acl>>,
    /// Default ACL of a directory. None counts as empty.
    pub default_acl: Option<Arc<Acl>>,
    /// Extended attributes. None counts as empty.
    pub xattrs: Option<XattrItem>,
}

/// A device number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rdev {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What ties the names of one file together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardLink {
    /// What a sender knows, and an encoder wants of each non-directory that has several names. Any pair
    /// that names of one file share and other files do not will do.
    Inode {
        /// Device that holds the file.
        device: u64,
        /// Inode number.
        inode: u64,
    },
    /// What a decoder yields: a number that the names of one file share. Below protocol 28 every regular
    /// file has one, even if it has no other name.
    Group(u32),
}

/// What of an entry travels: facts of the session that both sides must know alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFormat {
    /// The negotiated protocol.
    pub protocol: Protocol,
    /// Compat flag 0x80: entry flags are a varint.
    pub varint_flags: bool,
    /// Compat flag 0x01: incremental recursion. Names of owners travel inline.
    pub incremental: bool,
    /// Compat flag 0x08, which protocol 31 implies: I/O errors may be reported at the end of a list.
    pub safe_list_end: bool,
    /// Compat flag 0x100: trailing id lists name id 0.
    pub id0_names: bool,
    /// `--owner`.
    pub owner: bool,
    /// `--group`.
    pub group: bool,
    /// `--numeric-ids`: no names at all.
    pub numeric_ids: bool,
    /// `--links`.
    pub links: bool,
    /// `--devices`.
    pub devices: bool,
    /// `--specials`.
    pub specials: bool,
    /// `--hard-links`.
    pub hard_links: bool,
    /// `--checksum`: length in bytes of the file checksum; 0 without the option.
    pub checksum_length: usize,
    /// `--acls`.
    pub acls: bool,
    /// `--xattrs`.
    pub xattrs: bool,
    /// `--atimes`.
    pub atimes: bool,
    /// `--crtimes`, which needs `varint_flags`.
    pub crtimes: bool,
    /// `--relative`: names may be absolute.
    pub relative: bool,
    /// `--recursive`: below protocol 30 it decides what a top directory means.
    pub recursive: bool,
    /// `--delete-missing-args`: entries of mode 0 are legal.
    pub missing_args: bool,
}

/// The type of an entry, from its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Unix-domain socket.
    Socket,
}

impl Entry {
    /// The entry's type; `None` for a missing argument.
    #[must_use]
    pub fn file_type(&self) -> Option<FileType> {
        FileType::of(self.mode)
    }

    /// Whether the entry is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == Some(FileType::Directory)
    }
}

impl FileType {
    /// The type of a mode, or `None` if its type bits are none of the seven.
    #[must_use]
    pub fn of(mode: u32) -> Option<Self> {
        // The Linux values, which the protocol prescribes for every platform.
        Some(match mode & 0o170_000 {
            0o140_000 => Self::Socket,
            0o120_000 => Self::Symlink,
            0o100_000 => Self::Regular,
            0o060_000 => Self::BlockDevice,
            0o040_000 => Self::Directory,
            0o020_000 => Self::CharDevice,
            0o010_000 => Self::Fifo,
            _ => return None,
        })
    }

    /// Character or block device.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }

    /// FIFO or socket: neither data nor a device number.
    #[must_use]
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket)
    }

    /// The size that a file system may report means nothing.
    fn is_sizeless(self) -> bool {
        self.is_device() || self.is_special()
    }
}

impl EntryFormat {
    /// The format of a session in which nothing optional travels.
    #[must_use]
    pub fn minimal(protocol: Protocol) -> Self {
        Self {
            protocol,
            varint_flags: false,
            incremental: false,
            safe_list_end: protocol.has_safe_list_end(),
            id0_names: false,
            owner: false,
            group: false,
            numeric_ids: false,
            links: false,
            devices: false,
            specials: false,
            hard_links: false,
            checksum_length: 0,
            acls: false,
            xattrs: false,
            atimes: false,
            crtimes: false,
            relative: false,
            recursive: false,
            missing_args: false,
        }
    }

    /// The format of the id lists that trail the file list, and whether a user list and a group list
    /// do (2.2).
    #[must_use]
    pub fn id_lists(&self) -> (IdListFormat, bool, bool) {
        let trail = !self.numeric_ids && !self.incremental;
        let format = IdListFormat {
            protocol: self.protocol,
            id0_names: self.id0_names,
        };
        (
            format,
            trail && (self.owner || self.acls),
            trail && (self.group || self.acls),
        )
    }

    /// The number of the first entry of the first list (5.5).
    #[must_use]
    pub fn first_list_start(&self) -> u32 {
        u32::from(self.incremental)
    }

    fn names_inline(&self) -> bool {
        self.incremental && !self.numeric_ids && self.protocol.has_inline_names()
    }

    /// Whether the checksum field is present. Old senders have one for every entry.
    fn has_checksum(&self, file_type: Option<FileType>) -> bool {
        let regular = file_type == Some(FileType::Regular);
        self.checksum_length > 0 && (regular || !self.protocol.sums_regular_files_only())
    }

    /// Whether device number fields are present (3.7).
    fn has_rdev(&self, file_type: Option<FileType>) -> bool {
        let special = self.specials && self.protocol.numbers_special_files();
        file_type.is_some_and(|it| self.devices && it.is_device() || special && it.is_special())
    }
}

impl Rdev {
    /// The Linux packing in 32 bits, which protocol 27 sends.
    fn to_dev32(self) -> u32 {
        self.minor & 0xff | (self.major & 0xfff) << 8 | (self.minor & !0xff) << 12
    }

    fn from_dev32(dev: u32) -> Self {
        Self {
            major: dev >> 8 & 0xfff,
            minor: dev & 0xff | dev >> 12 & !0xff,
        }
    }
}

/// Values of the previous entry, which the next one may repeat by a flag (2.4). A field that does not
/// travel leaves them alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Carried {
    mode: u32,
    mtime: i64,
    atime: i64,
    uid: u32,
    gid: u32,
    /// The major number; the whole packed number below protocol 28.
    rdev: u32,
    /// The hard-link device as sent, that is plus one: 0 was never sent.
    device: i64,
}

impl Carried {
    fn of(entry: &Entry, protocol: Protocol) -> Self {
        let &Entry {
            mode,
            mtime,
            atime,
            uid,
            gid,
            rdev,
            ..
        } = entry;
        let rdev = if protocol.has_wide_entry_flags() {
            rdev.major
        } else {
            rdev.to_dev32()
        };
        Self {
            mode,
            mtime,
            atime,
            uid,
            gid,
            rdev,
            device: 0,
        }
    }

    /// Takes over what an entry with these values leaves to the next one. Both sides pass here, also for
    /// entries that are sent as a mere reference.
    fn advance(&mut self, entry: Self, format: &EntryFormat) {
        let file_type = FileType::of(entry.mode);
        self.mode = entry.mode;
        self.mtime = entry.mtime;
        if format.atimes && file_type != Some(FileType::Directory) {
            self.atime = entry.atime;
        }
        if format.owner {
            self.uid = entry.uid;
        }
        if format.group {
            self.gid = entry.gid;
        }
        match format.has_rdev(file_type) {
            // A special file's number means nothing.
            true if file_type.is_some_and(FileType::is_special) => {}
            true => self.rdev = entry.rdev,
            false if !format.protocol.has_wide_entry_flags() => self.rdev = 0,
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_pack_as_on_linux() {
        let rdev = Rdev {
            major: 5,
            minor: 300,
        };
        assert_eq!(rdev.to_dev32().to_le_bytes(), [0x2c, 0x05, 0x10, 0x00]);
        assert_eq!(Rdev::from_dev32(rdev.to_dev32()), rdev);
    }
}
