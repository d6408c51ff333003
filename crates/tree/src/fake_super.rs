//! What an ordinary user cannot give a file, noted beside it (`--fake-super`, behaviour.md 7.11).

use std::ffi::OsStr;
use std::fmt;
use std::io;

use crate::error::Result;
use crate::meta::{Kind, Meta};
use crate::xattr::Xattrs;

/// Type, mode, device number and owner that a file stands for.
///
/// Its text is the value of the attribute `user.rsync.%stat`: `100644 0,0 1000:1000`
/// (wire-files.md 9.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeStat {
    /// The type.
    pub kind: Kind,
    /// Permission, set-id and sticky bits (07777).
    pub mode: u32,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl FakeStat {
    /// The attribute that holds it.
    pub const XATTR: &'static str = "user.rsync.%stat";

    /// What has to be noted for a file that should be `want` and really is `real`; `None` if it is
    /// just that.
    pub fn needed(want: &Meta, real: &Meta) -> Option<Self> {
        let wanted = Self::of(want);
        (wanted != Self::of(real)).then_some(wanted)
    }

    /// Type, mode, device number and owner of a file.
    pub fn of(meta: &Meta) -> Self {
        Self {
            kind: meta.kind,
            mode: meta.mode,
            rdev: meta.rdev,
            uid: meta.uid,
            gid: meta.gid,
        }
    }

    /// The stat of the file it stands for, where `real` is that of the file it is noted on.
    pub fn over(&self, real: &Meta) -> Meta {
        Meta {
            kind: self.kind,
            mode: self.mode,
            rdev: self.rdev,
            uid: self.uid,
            gid: self.gid,
            ..*real
        }
    }

    /// The mode that the real file gets: no set-id bits, and the owner can always get at it.
    pub fn real_mode(&self) -> u32 {
        let owner = if self.kind == Kind::Dir { 0o700 } else { 0o600 };
        self.mode & 0o777 | owner
    }

    /// Reads the attribute's value; `None` if it is corrupt.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let (mode, rdev, owner) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() {
            return None;
        }
        let (major, minor) = rdev.split_once(',')?;
        let (uid, gid) = owner.split_once(':')?;
        let mode = u32::from_str_radix(mode, 8).ok()?;
        Some(Self {
            kind: Kind::from_mode(mode)?,
            mode: mode & 0o7777,
            rdev: (major.parse().ok()?, minor.parse().ok()?),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        })
    }
}

impl fmt::Display for FakeStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rdev: (major, minor),
            uid,
            gid,
            ..
        } = self;
        let mode = self.kind.type_bits() | self.mode;
        write!(f, "{mode:o} {major},{minor} {uid}:{gid}")
    }
}

impl Xattrs {
    /// What the file stands for, if that is noted on it. A corrupt note is an error of kind
    /// `InvalidData`.
    pub fn fake_stat(&self) -> Result<Option<FakeStat>> {
        let Some(value) = self.value(OsStr::new(FakeStat::XATTR))? else {
            return Ok(None);
        };
        match FakeStat::parse(&value) {
            Some(stat) => Ok(Some(stat)),
            None => Err(self.error("getxattr", io::Error::from(io::ErrorKind::InvalidData))),
        }
    }

    /// Notes what the file stands for, or removes the note.
    pub fn set_fake_stat(&self, stat: Option<&FakeStat>) -> Result<()> {
        let name = OsStr::new(FakeStat::XATTR);
        match stat {
            Some(stat) => self.set(name, stat.to_string().as_bytes()),
            None => self.remove(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["100644 0,0 1000:1000", "20644 5,300 0:0", "120777 0,0 0:0"] {
            let stat = FakeStat::parse(text.as_bytes()).unwrap();
            assert_eq!(stat.to_string(), text);
        }
    }

    #[test]
    fn corrupt_values_are_refused() {
        for text in [
            "",
            "100644",
            "100644 0,0",
            "100644 0,0 1:2 3",
            "644 0,0 1:2",
            "9 0,0 1:2",
        ] {
            assert_eq!(FakeStat::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_real_file_stays_in_reach_of_its_owner() {
        let stat = FakeStat::parse(b"104070 0,0 0:0").unwrap();
        assert_eq!(stat.real_mode(), 0o670);
        let dir = FakeStat::parse(b"42000 0,0 0:0").unwrap();
        assert_eq!(dir.real_mode(), 0o700);
    }
}
