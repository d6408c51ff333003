//! Names under which attributes are sent and stored (wire-files.md 9.4).

use std::borrow::Cow;

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
}
