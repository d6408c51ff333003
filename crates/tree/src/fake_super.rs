//! What an ordinary user cannot give a file, noted beside it (`--fake-super`, behaviour.md 7.11).

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::dir::Dir;
use crate::error::{Context, Result, join};
use crate::meta::{Kind, Meta, Which};
use crate::root::Root;
use crate::set::{Changes, Target, set_meta_of};
use crate::xattr::{Xattrs, in_directory};

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

impl Dir {
    /// The stat of what `name` stands for, whose real stat is `real`.
    pub(crate) fn stands_for(&self, name: &OsStr, real: Meta) -> Result<Meta, Errno> {
        if !self.policy().fake_super || !can_be_noted_on(&real) {
            return Ok(real);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(self.fd(), name, flags, Mode::empty()));
        let value = match opened {
            Ok(fd) => read_note(|buffer| rustix::fs::fgetxattr(&fd, FakeStat::XATTR, buffer)),
            Err(Errno::ACCESS) => in_directory(self, name, |path| {
                read_note(|buffer| rustix::fs::lgetxattr(path, FakeStat::XATTR, buffer))
            }),
            Err(cause) => Err(cause),
        };
        match value {
            // What we may not read is what it is; who opens it will hear of that.
            Err(Errno::ACCESS) => Ok(real),
            value => interpreted(value?, real),
        }
    }

    /// The target that a regular file holds in place of a symbolic link.
    pub(crate) fn read_stand_in(&self, name: &OsStr) -> Result<Vec<u8>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(self.fd(), name, flags, Mode::empty()))?;
        if Meta::of(&fd)?.kind != Kind::File {
            return Err(Errno::INVAL);
        }
        let mut target = Vec::new();
        File::from(fd)
            .take(TARGET_MAX)
            .read_to_end(&mut target)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(target)
    }

    /// Makes `name` stand for what it was told to be, in place of [`Dir::set_meta`].
    pub(crate) fn note_meta(
        &self,
        name: &OsStr,
        want: &Meta,
        which: Which,
        now: &Meta,
    ) -> Result<bool> {
        let real = Meta::read(self.fd(), name).within("stat", self.rel(), name)?;
        if !can_be_noted_on(&real) {
            // A link of earlier days: it has times at most.
            let times = Changes::between(&real, want, which & (Which::MTIME | Which::ATIME));
            let target = Target::Name(self, name, real.kind);
            times.apply(target, || join(self.rel(), name))?;
            return Ok(!times.is_empty());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(self.fd(), name, flags, Mode::empty()));
        let file = File::from(opened.within("open", self.rel(), name)?);
        note(&file, &join(self.rel(), name), now, want, which)
    }
}

impl Root {
    /// The stat of what the target of `rel` stands for.
    pub(crate) fn target_stands_for(&self, rel: &Path, real: Meta) -> Result<Meta, Errno> {
        if !self.fakes() || !can_be_noted_on(&real) {
            return Ok(real);
        }
        let fd = self.open_target_any(rel)?;
        let value = read_note(|buffer| rustix::fs::fgetxattr(&fd, FakeStat::XATTR, buffer))?;
        interpreted(value, real)
    }

    /// Makes a regular file that stands for a link or a node.
    pub(crate) fn make_stand_in(
        &self,
        rel: &Path,
        kind: Kind,
        rdev: (u32, u32),
        content: &[u8],
    ) -> Result<()> {
        let mut temp = self.temp_file(rel)?;
        temp.file().write_all(content).at("write", rel)?;
        let want = Meta {
            kind,
            mode: if kind == Kind::Symlink { 0o777 } else { 0o600 },
            rdev: if kind.is_device() { rdev } else { (0, 0) },
            ..Meta::of(temp.file()).at("stat", rel)?
        };
        temp.commit_unseen(&want, Which::MODE)
    }
}

/// Makes a new file stand for what it was told to be.
pub(crate) fn note_meta_of(file: &File, path: &Path, want: &Meta, which: Which) -> Result<()> {
    let real = Meta::of(file).at("stat", path)?;
    let now = Meta {
        kind: want.kind,
        rdev: want.rdev,
        ..real
    };
    note(file, path, &now, want, which).map(drop)
}

/// Makes a file stand for `want`, as far as `which` says and otherwise for what it stands for `now`.
fn note(file: &File, path: &Path, now: &Meta, want: &Meta, which: Which) -> Result<bool> {
    let real = Meta::of(file).at("stat", path)?;
    let pick = |flag, wanted, present| {
        if which.contains(flag) {
            wanted
        } else {
            present
        }
    };
    let target = Meta {
        mode: pick(Which::MODE, want.mode, now.mode),
        uid: pick(Which::OWNER, want.uid, now.uid),
        gid: pick(Which::GROUP, want.gid, now.gid),
        ..*now
    };
    let wanted = FakeStat::of(&target);
    let in_reach = Meta {
        mode: pick(Which::MODE, wanted.real_mode(), real.mode),
        mtime: want.mtime,
        atime: want.atime,
        ..real
    };
    let possible = Which::MODE | Which::MTIME | Which::ATIME;
    let mut changed = set_meta_of(file, path, &in_reach, which & possible, &real)?;
    let noted = FakeStat::needed(&target, &in_reach);
    let xattrs = Xattrs::of_file(file, path)?;
    // A corrupt note is replaced.
    if xattrs.fake_stat().unwrap_or_default() != noted {
        xattrs.set_fake_stat(noted.as_ref())?;
        changed = true;
    }
    Ok(changed)
}

/// Other types have no attributes that a user may set.
fn can_be_noted_on(real: &Meta) -> bool {
    matches!(real.kind, Kind::File | Kind::Dir)
}

fn read_note(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; NOTE_MAX];
    match retry_on_intr(|| read(&mut value)) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => Err(Errno::BADMSG),
        Err(cause) => Err(cause),
    }
}

/// A directory stays one whatever is noted on it, and nothing else becomes one.
fn interpreted(value: Option<Vec<u8>>, real: Meta) -> Result<Meta, Errno> {
    let Some(value) = value else {
        return Ok(real);
    };
    let stat = FakeStat::parse(&value).ok_or(Errno::BADMSG)?;
    match (stat.kind == Kind::Dir) == real.is_dir() {
        true => Ok(stat.over(&real)),
        false => Err(Errno::BADMSG),
    }
}

/// More than any note takes, in bytes.
const NOTE_MAX: usize = 128;

/// The longest target of a symbolic link, in bytes.
const TARGET_MAX: u64 = 4096;

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
