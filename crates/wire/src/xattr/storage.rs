//! Names under which attributes are sent and stored, and what `--fake-super` stores in one of its own
//! (wire-files.md 9.4 and 9.7).

use std::borrow::Cow;

use crate::Malformed;

/// Who may see and store which attribute names on Linux (9.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XattrNamespaces {
    /// `--fake-super`: other namespaces are kept below `user.rsync.`.
    pub fake_super: bool,
    /// `-XX`: rsync's own attributes `user.rsync.%*` are copied too.
    pub internal: bool,
    /// This side may write every namespace.
    pub root: bool,
    /// A filter rule for attributes decides, in place of the default for `system.*` and for non-root.
    pub filtered: bool,
}

const RSYNC: &[u8] = b"user.rsync.";

impl XattrNamespaces {
    /// The wire name of a local attribute, or `None` if a sender does not send it.
    #[must_use]
    pub fn sent_as<'n>(&self, local: &'n [u8]) -> Option<&'n [u8]> {
        if local.starts_with(b"system.") && !self.filtered {
            return None;
        }
        match local.strip_prefix(RSYNC) {
            Some(b"%stat" | b"%aacl" | b"%dacl") if self.fake_super => None,
            Some(internal) if internal.starts_with(b"%") => self.internal.then_some(local),
            Some(disguised) if self.fake_super => Some(disguised),
            _ => Some(local),
        }
    }

    /// The name under which a receiver stores an attribute, or `None` if it drops it.
    #[must_use]
    pub fn stored_as<'n>(&self, wire: &'n [u8]) -> Option<Cow<'n, [u8]>> {
        if !self.internal
            && wire
                .strip_prefix(RSYNC)
                .is_some_and(|rest| rest.starts_with(b"%"))
        {
            return None;
        }
        let disguise = self.fake_super || (!self.root && self.filtered);
        match wire.starts_with(b"user.") {
            true => Some(Cow::Borrowed(wire)),
            false if disguise => Some(Cow::Owned([RSYNC, wire].concat())),
            false => self.root.then_some(Cow::Borrowed(wire)),
        }
    }
}

/// The value of `user.rsync.%stat`: what `--fake-super` remembers of an entry (9.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeStat {
    /// The whole `st_mode`, with type bits.
    pub mode: u32,
    /// Device numbers, major and minor.
    pub rdev: (u32, u32),
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl FakeStat {
    /// The attribute's text.
    #[must_use]
    pub fn to_value(self) -> String {
        let Self {
            mode,
            rdev: (major, minor),
            uid,
            gid,
        } = self;
        format!("{mode:o} {major},{minor} {uid}:{gid}")
    }

    /// Reads an attribute's text.
    ///
    /// # Errors
    /// [`Malformed::FakeSuperStat`] if it has another form.
    pub fn from_value(value: &[u8]) -> Result<Self, Malformed> {
        let parse = || {
            let (mode, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
            let (rdev, ids) = rest.split_once(' ')?;
            let (major, minor) = rdev.split_once(',')?;
            let (uid, gid) = ids.split_once(':')?;
            Some(Self {
                mode: u32::from_str_radix(mode, 8).ok()?,
                rdev: (major.parse().ok()?, minor.parse().ok()?),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        };
        parse().ok_or_else(|| Malformed::FakeSuperStat {
            value: value.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_disguised_and_hidden() {
        let plain = XattrNamespaces {
            root: true,
            ..XattrNamespaces::default()
        };
        let fake = XattrNamespaces {
            fake_super: true,
            ..plain
        };
        let everything = XattrNamespaces {
            internal: true,
            ..plain
        };
        let unprivileged = XattrNamespaces::default();
        assert_eq!(plain.sent_as(b"user.a"), Some(b"user.a".as_slice()));
        assert_eq!(plain.sent_as(b"system.posix_acl_access"), None);
        assert_eq!(plain.sent_as(b"user.rsync.%stat"), None);
        assert_eq!(
            everything.sent_as(b"user.rsync.%stat"),
            Some(b"user.rsync.%stat".as_slice())
        );
        assert_eq!(
            fake.sent_as(b"user.rsync.trusted.a"),
            Some(b"trusted.a".as_slice())
        );
        assert_eq!(
            XattrNamespaces {
                internal: true,
                ..fake
            }
            .sent_as(b"user.rsync.%stat"),
            None
        );
        assert_eq!(
            fake.stored_as(b"trusted.a").as_deref(),
            Some(b"user.rsync.trusted.a".as_slice())
        );
        assert_eq!(
            plain.stored_as(b"trusted.a").as_deref(),
            Some(b"trusted.a".as_slice())
        );
        assert_eq!(unprivileged.stored_as(b"trusted.a"), None);
        assert_eq!(plain.stored_as(b"user.rsync.%stat"), None);
    }

    #[test]
    fn fake_stat_texts() {
        let device = FakeStat {
            mode: 0o20644,
            rdev: (5, 300),
            uid: 0,
            gid: 0,
        };
        assert_eq!(device.to_value(), "20644 5,300 0:0");
        assert_eq!(FakeStat::from_value(b"20644 5,300 0:0"), Ok(device));
        for damaged in [
            "",
            "100644",
            "100644 0,0",
            "100648 0,0 0:0",
            "100644 0,0 0:0\n",
            "100644 0,0 0:-1",
        ] {
            let refused = FakeStat::from_value(damaged.as_bytes());
            assert!(
                matches!(refused, Err(Malformed::FakeSuperStat { .. })),
                "{damaged}"
            );
        }
    }
}
