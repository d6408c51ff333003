//! Access control lists: as they travel, and as files have them (wire-files.md 8).

use std::sync::Arc;

use tree::{AclId, AclKind, Xattrs};
use wire::{Acl, Named, NamedAccess};

use super::{Applied, Failure};
use crate::flist::Entry;

/// The lists of a file of this mode, as a sender tells them: access and default. `None` is a list that says nothing.
pub(crate) fn sent(
    xattrs: &Xattrs,
    mode: u32,
    is_dir: bool,
) -> Result<[Option<Arc<Acl>>; 2], tree::Error> {
    let access = xattrs
        .acl(AclKind::Access)?
        .map(|acl| to_wire(&acl).stripped(mode))
        .filter(|acl| *acl != Acl::default());
    let default = match is_dir {
        true => xattrs.acl(AclKind::Default)?.map(|acl| to_wire(&acl)),
        false => None,
    };
    Ok([access.map(Arc::new), default.map(Arc::new)])
}

/// Whether a file's lists differ from those that its entry wants; `mode` is what it is to have.
pub(super) fn differ(entry: &Entry, mode: u32, xattrs: &Xattrs) -> Result<bool, tree::Error> {
    let differs = |kind, wanted: Option<tree::Acl>| -> Result<bool, tree::Error> {
        Ok(changes(kind, xattrs.acl(kind)?.as_ref(), wanted.as_ref()))
    };
    Ok(differs(AclKind::Access, wanted_access(entry, mode))?
        || entry.is_dir() && differs(AclKind::Default, wanted_default(entry))?)
}

/// The permissions that a file has once it has the access list that its entry wants; `mode` is what it is to have.
pub(super) fn mode_after(entry: &Entry, mode: u32) -> u32 {
    wanted_access(entry, mode).map_or(mode & 0o777, |acl| acl.mode())
}

/// Whether `wanted` is to be set. What permission bits say of an access list is left to them, and that is also the
/// value of the mask.
fn changes(kind: AclKind, now: Option<&tree::Acl>, wanted: Option<&tree::Acl>) -> bool {
    match (kind, now.filter(|acl| !acl.is_minimal()), wanted) {
        (AclKind::Default, ..) => now != wanted,
        (AclKind::Access, Some(now), Some(wanted)) => {
            now.mask.is_some() != wanted.mask.is_some()
                || now.group_obj != wanted.group_obj
                || now.named != wanted.named
        }
        (AclKind::Access, now, wanted) => now.is_some() != wanted.is_some(),
    }
}

/// Gives a file the lists that its entry wants.
pub(super) fn apply(entry: &Entry, mode: u32, xattrs: &Xattrs, applied: &mut Applied) {
    let mut give = |kind: AclKind, wanted: Option<tree::Acl>| {
        let given = xattrs.acl(kind).and_then(|now| {
            let changes = changes(kind, now.as_ref(), wanted.as_ref());
            if changes {
                xattrs.set_acl(kind, wanted.as_ref())?;
            }
            Ok(changes)
        });
        match given {
            Ok(changed) => applied.changed |= changed,
            Err(error) => applied.failures.push(Failure::Acl(kind, error)),
        }
    };
    give(AclKind::Access, wanted_access(entry, mode));
    if entry.is_dir() {
        give(AclKind::Default, wanted_default(entry));
    }
}

/// `None` if permission bits say it all.
fn wanted_access(entry: &Entry, mode: u32) -> Option<tree::Acl> {
    let acl = entry.acl()?.clone().restored(mode);
    Some(from_wire(&acl)).filter(|acl| !acl.is_minimal())
}

fn wanted_default(entry: &Entry) -> Option<tree::Acl> {
    let acl = entry.default_acl().filter(|acl| !acl.is_no_default())?;
    Some(from_wire(acl))
}

fn to_wire(acl: &tree::Acl) -> Acl {
    let named = acl.named.iter().map(|&(whom, access)| {
        let (kind, id) = match whom {
            AclId::User(id) => (Named::User, id),
            AclId::Group(id) => (Named::Group, id),
        };
        NamedAccess {
            kind,
            id,
            access,
            name: None,
        }
    });
    Acl {
        user_obj: Some(acl.user_obj),
        group_obj: Some(acl.group_obj),
        mask: acl.mask,
        other: Some(acl.other),
        named: named.collect(),
    }
}

fn from_wire(acl: &Acl) -> tree::Acl {
    let named = acl.named.iter().map(|entry| {
        let whom = match entry.kind {
            Named::User => AclId::User(entry.id),
            Named::Group => AclId::Group(entry.id),
        };
        (whom, entry.access)
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    // The kernel takes each name once.
    named.dedup_by_key(|(whom, _)| *whom);
    tree::Acl {
        user_obj: acl.user_obj.unwrap_or(0),
        group_obj: acl.group_obj.unwrap_or(0),
        mask: acl.mask,
        other: acl.other.unwrap_or(0),
        named,
    }
}
