//! What a file is: type, mode, owner, times, and which file it is.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitflags::bitflags;
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use rustix::io::{Errno, retry_on_intr};

/// The type of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    Char,
    /// A block device.
    Block,
}

impl Kind {
    /// The type bits of `st_mode` (`S_IFMT`), which is also their form on the wire.
    pub const fn type_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::Char => 0o020_000,
            Self::Dir => 0o040_000,
            Self::Block => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type of an `st_mode`; `None` for bits that no Linux file has.
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::Char,
            0o040_000 => Self::Dir,
            0o060_000 => Self::Block,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// A character or block device.
    pub const fn is_device(self) -> bool {
        matches!(self, Self::Char | Self::Block)
    }

    pub(crate) fn from_file_type(kind: FileType) -> Option<Self> {
        Self::from_mode(kind.as_raw_mode())
    }
}

/// A point in time: seconds since 1970 and the nanoseconds after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00 UTC; negative before.
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nsec: u32,
}

impl Time {
    /// A time with whole seconds.
    pub const fn from_secs(sec: i64) -> Self {
        Self { sec, nsec: 0 }
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                nsec: after.subsec_nanos(),
            },
            Err(before) => {
                // Nanoseconds always count forward, so a time before 1970 rounds its second down.
                let before: Duration = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self::from_secs(-whole),
                    nanos => Self {
                        sec: (-whole).saturating_sub(1),
                        nsec: 1_000_000_000 - nanos,
                    },
                }
            }
        }
    }
}

impl From<StatxTimestamp> for Time {
    fn from(time: StatxTimestamp) -> Self {
        Self {
            sec: time.tv_sec,
            nsec: time.tv_nsec,
        }
    }
}

/// The stat of a file, never of what a symbolic link points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// The type.
    pub kind: Kind,
    /// Permission, set-id and sticky bits (07777), without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; for a symbolic link that of its target.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last read, as far as the mount options keep it.
    pub atime: Time,
    /// Last change of the inode; cannot be set.
    pub ctime: Time,
    /// Creation of the inode, where the file system knows it.
    pub btime: Option<Time>,
    /// The file system's device number.
    pub dev: u64,
    /// The inode number, unique on its device while the file lives.
    pub ino: u64,
    /// The number of names.
    pub nlink: u64,
    /// Major and minor number of a device; (0, 0) for everything else.
    pub rdev: (u32, u32),
    /// Whether a file system is mounted here, as far as the kernel tells (Linux 5.8).
    pub is_mount: bool,
}

impl Meta {
    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// A symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind == Kind::Symlink
    }

    /// Type and permission bits together, as in `st_mode` and on the wire.
    pub fn full_mode(&self) -> u32 {
        self.kind.type_bits() | self.mode
    }

    /// Device and inode.
    pub fn identity(&self) -> Identity {
        Identity {
            dev: self.dev,
            ino: self.ino,
        }
    }

    /// Which file this is, beyond the reuse of inode numbers.
    pub fn file_id(&self) -> FileId {
        FileId {
            identity: self.identity(),
            btime: self.btime,
        }
    }

    /// The key of a hard-link group: `None` for directories and for files with one name only
    /// (behaviour.md 7.13).
    pub fn link_group(&self) -> Option<Identity> {
        (self.nlink > 1 && !self.is_dir()).then(|| self.identity())
    }

    /// Whether the file was left alone between two stats: the same file, type, size, mode, owner
    /// and times, reading it apart. Compared for equality only, so a clock step changes nothing.
    pub fn unchanged_since(&self, earlier: &Self) -> bool {
        // Where it is mounted says nothing about a file.
        let comparable = |m: &Self| Self {
            atime: Time::default(),
            is_mount: false,
            ..*m
        };
        comparable(self) == comparable(earlier)
    }

    /// Stats `name` in `dir` without following a link; an empty name is the descriptor itself.
    pub(crate) fn read(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        match retry_on_intr(|| rustix::fs::statx(dir, name, flags, mask)) {
            Ok(stat) => Self::from_statx(&stat),
            // Before Linux 4.11, and under old container seccomp profiles.
            Err(Errno::NOSYS) => Self::read_basic(dir, name),
            Err(error) => Err(error),
        }
    }

    /// Like [`read`](Self::read), without the time of birth.
    pub(crate) fn read_basic(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        let stat = retry_on_intr(|| rustix::fs::statat(dir, name, flags))?;
        Self::from_stat(&stat)
    }

    /// Stats an open file.
    pub(crate) fn of(fd: impl AsFd) -> Result<Self, Errno> {
        Self::read(fd.as_fd(), OsStr::new(""))
    }

    /// Like [`of`](Self::of), without the time of birth, which takes the kernel less.
    pub(crate) fn basic_of(fd: impl AsFd) -> Result<Self, Errno> {
        Self::from_stat(&rustix::fs::fstat(fd)?)
    }

    fn from_statx(stat: &Statx) -> Result<Self, Errno> {
        let kind = Kind::from_mode(u32::from(stat.stx_mode)).ok_or(Errno::OPNOTSUPP)?;
        Ok(Self {
            kind,
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            mtime: stat.stx_mtime.into(),
            atime: stat.stx_atime.into(),
            ctime: stat.stx_ctime.into(),
            btime: (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| stat.stx_btime.into()),
            dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            nlink: u64::from(stat.stx_nlink),
            rdev: device_number(kind, stat.stx_rdev_major, stat.stx_rdev_minor),
            is_mount: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the widths of `struct stat` differ between architectures"
    )]
    fn from_stat(stat: &rustix::fs::Stat) -> Result<Self, Errno> {
        let kind = Kind::from_mode(stat.st_mode as u32).ok_or(Errno::OPNOTSUPP)?;
        let time = |sec: i64, nsec: u64| Time {
            sec,
            nsec: u32::try_from(nsec).unwrap_or(0),
        };
        let rdev = stat.st_rdev as u64;
        Ok(Self {
            kind,
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            atime: time(stat.st_atime as i64, stat.st_atime_nsec as u64),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            btime: None,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            nlink: stat.st_nlink as u64,
            rdev: device_number(kind, rustix::fs::major(rdev), rustix::fs::minor(rdev)),
            is_mount: false,
        })
    }
}

/// Device and inode: which directory this is as long as it is held open, or which hard-link group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The file system's device number.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// Device, inode and birth time: inode numbers come back, files do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device and inode.
    pub identity: Identity,
    /// Birth time, where the file system knows it.
    pub btime: Option<Time>,
}

bitflags! {
    /// Which attributes to set.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Which: u8 {
        /// Permission, set-id and sticky bits. Symbolic links have none and are passed over.
        const MODE = 1;
        /// The owner.
        const OWNER = 2;
        /// The group.
        const GROUP = 4;
        /// The modification time, to the nanosecond.
        const MTIME = 8;
        /// The access time, to the nanosecond.
        const ATIME = 16;
    }
}

fn device_number(kind: Kind, major: u32, minor: u32) -> (u32, u32) {
    // Some file systems report junk for other types, and two stats must compare equal.
    if kind.is_device() {
        (major, minor)
    } else {
        (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_bits_and_back() {
        for kind in [
            Kind::File,
            Kind::Dir,
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::Char,
            Kind::Block,
        ] {
            assert_eq!(Kind::from_mode(kind.type_bits() | 0o7777), Some(kind));
        }
        assert_eq!(Kind::from_mode(0o644), None);
    }

    #[test]
    fn times_before_1970_keep_their_nanoseconds_forward() {
        let half_before = UNIX_EPOCH - Duration::from_millis(500);
        let expected = Time {
            sec: -1,
            nsec: 500_000_000,
        };
        assert_eq!(Time::from(half_before), expected);
        assert_eq!(
            Time::from(UNIX_EPOCH - Duration::from_secs(3)),
            Time::from_secs(-3)
        );
    }

    #[test]
    fn both_ways_to_stat_agree() {
        let file = tempfile::tempfile().unwrap();
        let modern = Meta::of(&file).unwrap();
        let classic = Meta::from_stat(&rustix::fs::fstat(&file).unwrap()).unwrap();
        assert_eq!(
            Meta {
                btime: None,
                ..modern
            },
            classic
        );
    }
}
