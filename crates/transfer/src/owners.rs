//! Names of users and groups, looked up once each.

use std::collections::HashMap;

use nix::unistd::{Gid, Group, Uid, User};
use wire::IdName;

/// The local names of ids. An id without a name travels as a number.
#[derive(Debug, Default)]
pub(crate) struct OwnerNames {
    users: HashMap<u32, Option<IdName>>,
    groups: HashMap<u32, Option<IdName>>,
}

impl OwnerNames {
    /// Remembers the names of these ids.
    pub(crate) fn note(&mut self, uid: u32, gid: u32) {
        self.users.entry(uid).or_insert_with(|| {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map(|user| user.name.into_bytes().into())
        });
        self.groups.entry(gid).or_insert_with(|| {
            Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name.into_bytes().into())
        });
    }

    /// The name of a user that was noted.
    pub(crate) fn user(&self, uid: u32) -> Option<IdName> {
        self.users.get(&uid)?.clone()
    }

    /// The name of a group that was noted.
    pub(crate) fn group(&self, gid: u32) -> Option<IdName> {
        self.groups.get(&gid)?.clone()
    }

    /// The users that were noted and have a name.
    pub(crate) fn users(&self) -> impl Iterator<Item = (u32, &[u8])> {
        named(&self.users)
    }

    /// The groups that were noted and have a name.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        named(&self.groups)
    }
}

/// Longer names have no form on the wire (wire-files.md 7.2).
const NAME_MAX: usize = 255;

fn named(names: &HashMap<u32, Option<IdName>>) -> impl Iterator<Item = (u32, &[u8])> {
    names
        .iter()
        .filter_map(|(id, name)| Some((*id, name.as_deref()?)))
        .filter(|(_, name)| name.len() <= NAME_MAX)
}
