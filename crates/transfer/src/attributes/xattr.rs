//! Extended attributes: which of them take part, and making a file's those of its entry (behaviour.md 7.19,
//! wire-files.md 9).

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use filter::{Rules, Side};
use rustix::io::Errno;
use tree::{FakeStat, Kind, Root, Xattrs};
use wire::{Xattr, XattrItem, XattrNamespaces, XattrValue, xattr_digest};

use super::{Applied, Failure};
use crate::Error;
use crate::event::Role;
use crate::flist::Entry;
use crate::options::{Options, Privilege};
use crate::report::sentence;
use crate::scan::{Base, rel};

/// Which attributes one side of a run sends or keeps.
#[derive(Debug, Clone)]
pub(crate) struct XattrRules {
    namespaces: XattrNamespaces,
    rules: Arc<Rules>,
    side: Side,
}

impl XattrRules {
    /// The rules of a side; `None` if no attributes are kept.
    pub(crate) fn new(options: &Options, rules: &Arc<Rules>, side: Side) -> Option<Self> {
        let fake_super = options.privilege == Privilege::Fake;
        let namespaces = XattrNamespaces {
            fake_super,
            internal: options.xattrs > 1,
            root: options.acts_as_root() && !fake_super,
            filtered: rules.check_xattr(b"user.", side).is_some(),
        };
        (options.xattrs > 0).then(|| Self {
            namespaces,
            rules: Arc::clone(rules),
            side,
        })
    }

    /// What a sender tells about a file; `None` if that is nothing.
    pub(crate) fn sent(&self, xattrs: &Xattrs) -> Result<Option<XattrItem>, tree::Error> {
        let mut values = Vec::new();
        for local in xattrs.list()? {
            let Some(name) = self.sent_as(&local) else {
                continue;
            };
            // What is gone by now is not sent.
            if let Some(value) = xattrs.value(&local)? {
                values.push((name.to_vec(), value));
            }
        }
        Ok((!values.is_empty()).then(|| XattrItem::of_values(values)))
    }

    /// The present value of an attribute that was sent under this name.
    pub(crate) fn value(
        &self,
        xattrs: &Xattrs,
        name: &[u8],
    ) -> Result<Option<Vec<u8>>, tree::Error> {
        let listed = xattrs.list()?;
        let local = listed
            .iter()
            .find(|local| self.sent_as(local) == Some(name));
        local.map_or(Ok(None), |local| xattrs.value(local))
    }

    fn sent_as<'n>(&self, local: &'n OsStr) -> Option<&'n [u8]> {
        let is_hidden = self.is_hidden(local.as_bytes());
        self.namespaces
            .sent_as(local.as_bytes())
            .filter(|_| !is_hidden)
    }

    /// Whether a local attribute that no entry has is left alone.
    fn is_left_alone(&self, local: &[u8]) -> bool {
        let is_user = local.starts_with(b"user.");
        let is_foreign = match self.namespaces.filtered {
            true => false,
            false if self.namespaces.root => local.starts_with(b"system."),
            false => !is_user,
        };
        let is_internal = local.starts_with(b"user.rsync.%");
        is_foreign || is_internal && !self.namespaces.internal || self.is_hidden(local)
    }

    fn is_hidden(&self, name: &[u8]) -> bool {
        let verdict = self.rules.check_xattr(name, self.side);
        verdict.is_some_and(|verdict| verdict.is_excluded())
    }

    /// Compares a file's attributes with those that its entry wants. Long values that both have are `known` from then
    /// on.
    pub(super) fn differ(
        &self,
        entry: &Entry,
        xattrs: &Xattrs,
        known: &LongValues<'_>,
    ) -> Result<bool, tree::Error> {
        let mut differs = false;
        let mut wanted_names = Vec::new();
        for (number, name, value) in self.stored(entry) {
            let now = xattrs.value(OsStr::from_bytes(&name))?;
            differs |= !match (value, now) {
                (_, None) => false,
                (XattrValue::Whole(value), Some(now)) => *value == now,
                (XattrValue::Abbreviated { digest, .. }, Some(now)) => {
                    let is_same = xattr_digest(&now) == *digest;
                    if is_same {
                        known.learn(entry, number, now);
                    }
                    is_same
                }
            };
            wanted_names.push(name);
        }
        Ok(differs || !self.surplus(xattrs, &wanted_names)?.is_empty())
    }

    /// Makes a file's attributes those that its entry wants. Unless it `is_last`, values that have not come are left
    /// for later.
    pub(super) fn apply(
        &self,
        entry: &Entry,
        xattrs: &Xattrs,
        known: &LongValues<'_>,
        is_last: bool,
        applied: &mut Applied,
    ) {
        let mut wanted_names = Vec::new();
        for (number, name, value) in self.stored(entry) {
            let local = OsStr::from_bytes(&name);
            let now = xattrs.value(local).unwrap_or_default();
            let value: Option<Cow<'_, [u8]>> = match value {
                XattrValue::Whole(value) => Some(value.into()),
                XattrValue::Abbreviated { digest, .. } => match now.as_deref() {
                    Some(now) if xattr_digest(now) == *digest => Some(now.into()),
                    _ => known.value(entry, number).map(Into::into),
                },
            };
            match value {
                None if !is_last && known.are_told() => {}
                None => applied.failures.push(Failure::MissingValue(name.to_vec())),
                Some(value) if now.as_deref() == Some(&*value) => {}
                Some(value) => match xattrs.set(local, &value) {
                    Ok(()) => applied.note_xattr(),
                    Err(error) => applied.failures.push(Failure::Xattr {
                        call: "setxattr",
                        name: name.to_vec(),
                        error,
                    }),
                },
            }
            wanted_names.push(name);
        }
        for local in self.surplus(xattrs, &wanted_names).unwrap_or_default() {
            match xattrs.remove(&local) {
                Ok(()) => applied.note_xattr(),
                Err(error) => applied.failures.push(Failure::Xattr {
                    call: "removexattr",
                    name: local.into_encoded_bytes(),
                    error,
                }),
            }
        }
    }

    /// Attributes of an entry that are kept here: their numbers, the names they get, and what the list tells of their
    /// values.
    fn stored<'e>(
        &self,
        entry: &'e Entry,
    ) -> impl Iterator<Item = (u32, Cow<'e, [u8]>, &'e XattrValue)> {
        let attributes = entry.xattrs().map_or(&[][..], |item| &item.attributes);
        (1..).zip(attributes).filter_map(|(number, it)| {
            Some((number, self.namespaces.stored_as(&it.name)?, &it.value))
        })
    }

    fn surplus(
        &self,
        xattrs: &Xattrs,
        wanted: &[Cow<'_, [u8]>],
    ) -> Result<Vec<OsString>, tree::Error> {
        let is_surplus = |local: &OsString| {
            let local = local.as_bytes();
            !self.is_left_alone(local) && !wanted.iter().any(|wanted| **wanted == *local)
        };
        Ok(xattrs.list()?.into_iter().filter(is_surplus).collect())
    }
}

/// Values that are too long for a list (9.5).
#[derive(Debug)]
pub(crate) enum LongValues<'a> {
    /// The source is on this machine.
    Local {
        bases: &'a [Base],
        rules: XattrRules,
    },
    /// The sender tells them on request.
    Received(Mutex<Told>),
}

/// Values by item and number; `None` while one has been asked for and has not come.
type Told = HashMap<(u32, u32), Option<Arc<[u8]>>>;

impl LongValues<'_> {
    /// Nothing is known yet.
    pub(crate) fn none() -> Self {
        Self::Received(Mutex::default())
    }

    /// Whether values come from a peer.
    pub(super) fn are_told(&self) -> bool {
        matches!(self, Self::Received(_))
    }

    /// Numbers of an entry's long values that have to be asked for. They count as asked for from then on: each is told
    /// once for all entries with the same item.
    pub(crate) fn unknown(&self, entry: &Entry) -> Vec<u32> {
        let (Self::Received(table), Some(item)) = (self, entry.xattrs()) else {
            return Vec::new();
        };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        (1..)
            .zip(&*item.attributes)
            .filter(|(_, it)| is_long(it))
            .map(|(number, _)| number)
            .filter(|&number| {
                let is_new = !table.contains_key(&(item.number, number));
                if is_new {
                    table.insert((item.number, number), None);
                }
                is_new
            })
            .collect()
    }

    /// Takes a value that was told; false if the entry has no such long value.
    pub(crate) fn take(&self, entry: &Entry, number: u32, value: &[u8]) -> bool {
        let attribute = entry
            .xattrs()
            .and_then(|item| item.attributes.get(number.checked_sub(1)? as usize));
        let is_asked = attribute.is_some_and(is_long);
        if is_asked {
            // What no file system takes is not worth its memory.
            let kept = &value[..value.len().min(LONGEST + 1)];
            self.learn(entry, number, kept.to_vec());
        }
        is_asked
    }

    fn learn(&self, entry: &Entry, number: u32, value: Vec<u8>) {
        if let (Self::Received(table), Some(item)) = (self, entry.xattrs()) {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.insert((item.number, number), Some(value.into()));
        }
    }

    fn value(&self, entry: &Entry, number: u32) -> Option<Vec<u8>> {
        let item = entry.xattrs()?;
        match self {
            Self::Received(table) => {
                let table = table.lock().unwrap_or_else(PoisonError::into_inner);
                table
                    .get(&(item.number, number))?
                    .as_deref()
                    .map(<[u8]>::to_vec)
            }
            Self::Local { bases, rules } => {
                let attribute = item.attributes.get(number.checked_sub(1)? as usize)?;
                let base = bases.get(usize::from(entry.base))?;
                let kind = Kind::from_mode(entry.mode)?;
                let xattrs = xattrs_of(&base.root, rel(entry.path()), kind).ok()?;
                rules.value(&xattrs, &attribute.name).ok()?
            }
        }
    }
}

/// Whether the list only stands for a value.
pub(super) fn is_long(attribute: &Xattr) -> bool {
    matches!(attribute.value, XattrValue::Abbreviated { .. })
}

/// The extended attributes of a path, or of what a link there stands for.
pub(crate) fn xattrs_of(root: &Root, path: &Path, kind: Kind) -> Result<Xattrs, tree::Error> {
    match root.xattrs(path, kind) {
        Err(error) if error.is_confined() => root.xattrs_of_target(path),
        opened => opened,
    }
}

/// Ends the run if a file could not be looked at because its note of `--fake-super` makes no sense (behaviour.md 7.11):
/// nobody can say what it stands for. `shown` is its name in quotes.
pub(crate) fn refuse_corrupt_note(
    root: &Root,
    path: &Path,
    shown: &[u8],
    (role, cause): (Role, &std::io::Error),
) -> Result<(), Error> {
    if cause.raw_os_error() != Some(Errno::BADMSG.raw_os_error()) {
        return Ok(());
    }
    let name = OsStr::new(FakeStat::XATTR);
    let value = root
        .xattrs(path, Kind::File)
        .and_then(|xattrs| xattrs.value(name));
    match value {
        Ok(Some(value)) if FakeStat::parse(&value).is_none() => {
            let note = [b": \"", &value[..], b"\""].concat();
            let text = sentence(&[b"Corrupt user.rsync.%stat xattr attached to ", shown, &note]);
            Err(Error::fatal(11, role, text, None))
        }
        // It is not the note: the file system has its own corruption.
        _ => Ok(()),
    }
}

/// What the kernel takes for a value, in bytes (`XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use wire::Side as End;

    use super::*;

    fn entry(values: &[(&str, &[u8])]) -> Entry {
        let owned = |(name, value): &(&str, &[u8])| (name.as_bytes().to_vec(), value.to_vec());
        let mut entry = Entry {
            name: b"f".as_slice().into(),
            mode: 0o100_644,
            ..Entry::default()
        };
        entry.extra_mut().xattrs = Some(XattrItem::of_values(values.iter().map(owned).collect()));
        entry
    }

    fn rules(set: impl Fn(&mut Options)) -> XattrRules {
        let mut options = Options::archive(End::Client);
        options.xattrs = 1;
        options.privilege = Privilege::Never;
        set(&mut options);
        let rules = Arc::new(std::mem::take(&mut options.rules));
        XattrRules::new(&options, &rules, Side::Receiver).unwrap()
    }

    fn stored(rules: &XattrRules, entry: &Entry) -> Vec<String> {
        let shown = |name: Cow<'_, [u8]>| String::from_utf8_lossy(&name).into_owned();
        rules
            .stored(entry)
            .map(|(_, name, _)| shown(name))
            .collect()
    }

    #[test]
    fn a_peer_names_nothing_beyond_its_namespace() {
        let sent = entry(&[
            ("security.capability", b"x"),
            ("system.posix_acl_access", b"x"),
            ("trusted.t", b"x"),
            ("user.rsync.%stat", b"100644 0,0 0:0"),
            ("user.u", b"x"),
        ]);
        assert_eq!(stored(&rules(|_| {}), &sent), ["user.u"]);
        let fake = rules(|options| options.privilege = Privilege::Fake);
        let disguised = [
            "user.rsync.security.capability",
            "user.rsync.system.posix_acl_access",
            "user.rsync.trusted.t",
            "user.u",
        ];
        assert_eq!(stored(&fake, &sent), disguised);
    }

    #[test]
    fn what_others_own_is_left_alone() {
        let ordinary = rules(|_| {});
        for (name, left) in [
            ("user.u", false),
            ("trusted.t", true),
            ("security.selinux", true),
            ("user.rsync.%stat", true),
        ] {
            assert_eq!(ordinary.is_left_alone(name.as_bytes()), left, "{name}");
        }
        let root = rules(|options| options.privilege = Privilege::Super);
        assert!(!root.is_left_alone(b"trusted.t"));
        assert!(root.is_left_alone(b"system.posix_acl_access"));
    }

    #[test]
    fn a_long_value_is_asked_for_once() {
        let (long, other) = (vec![1; 40], vec![2; 41]);
        let sent = entry(&[("user.a", &long), ("user.b", b"short"), ("user.c", &other)]);
        let known = LongValues::none();
        assert_eq!(known.unknown(&sent), [1, 3]);
        assert_eq!(known.unknown(&sent), [0; 0]);
        assert_eq!(known.value(&sent, 1), None);
        assert!(known.take(&sent, 1, &long));
        assert_eq!(known.value(&sent, 1), Some(long));
        // Numbers that stand for nothing, or for what was told already.
        for number in [0, 2, 4, u32::MAX] {
            assert!(!known.take(&sent, number, b"x"), "{number}");
        }
    }

    #[test]
    fn values_that_nobody_can_store_take_little_memory() {
        let sent = entry(&[("user.a", &[1; 40])]);
        let known = LongValues::none();
        assert!(known.take(&sent, 1, &vec![0; 1 << 20]));
        assert_eq!(known.value(&sent, 1).unwrap().len(), LONGEST + 1);
    }
}
