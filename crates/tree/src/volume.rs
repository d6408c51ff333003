//! What kind of file system a tree is on.

use crate::dir::Dir;
use crate::error::{Context, Result};

/// The file system of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What it is, as far as it makes a difference.
    pub kind: VolumeKind,
    /// Its size in bytes.
    pub size: u64,
    /// What an ordinary user can still write, in bytes.
    pub available: u64,
}

/// File systems that need to be treated in their own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VolumeKind {
    /// A file system of this machine, where every change is seen by this kernel.
    Local,
    /// tmpfs or ramfs: gone after a reboot.
    Memory,
    /// A stack of others: inode numbers may change when a file is first written.
    Overlay,
    /// A program's own: changes behind it are not seen by the kernel.
    Fuse,
    /// NFS, CIFS, Ceph and the like: other machines change it unseen.
    Network,
    /// proc, sysfs and their kin: lengths mean nothing.
    Pseudo,
}

impl VolumeKind {
    /// Files may change without this kernel hearing of it: watching is not enough.
    pub fn changes_unseen(self) -> bool {
        matches!(self, Self::Fuse | Self::Network | Self::Overlay)
    }

    /// By the magic number of statfs(2).
    fn from_magic(magic: u32) -> Self {
        match magic {
            0x0102_1994 | 0x8584_58f6 => Self::Memory,
            0x794c_7630 => Self::Overlay,
            0x6573_5546 => Self::Fuse,
            // NFS, SMB, CIFS, SMB2, Ceph, AFS (both), 9P, Coda, GFS2, OCFS2, Lustre.
            0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x00c3_6400 | 0x5346_414f
            | 0x6b41_4653 | 0x0102_1997 | 0x7375_7245 | 0x0116_1970 | 0x7461_636f | 0x0bd0_0bd0 => {
                Self::Network
            }
            // proc, sysfs, devpts, cgroup (both), debugfs, tracefs, securityfs, configfs, bpf.
            0x9fa0 | 0x6265_6572 | 0x1cd1 | 0x0027_e0eb | 0x6367_7270 | 0x6462_6720
            | 0x7472_6163 | 0x7363_6673 | 0x6265_6570 | 0xcafe_4a11 => Self::Pseudo,
            _ => Self::Local,
        }
    }
}

impl Dir {
    /// The file system this directory is on.
    // The widths of `struct statfs` differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    pub fn volume(&self) -> Result<Volume> {
        let stat = rustix::io::retry_on_intr(|| rustix::fs::fstatfs(self.fd()))
            .at("statfs", self.rel())?;
        let block = stat.f_bsize as u64;
        Ok(Volume {
            // The magic number is 32 bits wide, and sign-extended on some architectures.
            kind: VolumeKind::from_magic(stat.f_type as u32),
            size: block.saturating_mul(stat.f_blocks as u64),
            available: block.saturating_mul(stat.f_bavail as u64),
        })
    }
}
