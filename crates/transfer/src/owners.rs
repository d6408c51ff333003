//! Names of users and groups, looked up once each.

use std::collections::HashMap;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User};
use wire::{Acl, IdName, Named, NamedAccess};

/// The local names of ids. An id without a name travels as a number.
#[derive(Debug, Default)]
pub(crate) struct OwnerNames {
    users: HashMap<u32, Option<IdName>>,
    groups: HashMap<u32, Option<IdName>>,
}

impl OwnerNames {
    /// Remembers the names of these ids.
    pub(crate) fn note(&mut self, uid: u32, gid: u32) {
        self.note_user(uid);
        self.note_group(gid);
    }

    /// Remembers the names in an access control list, and puts them there if they travel `inline`.
    pub(crate) fn note_in(&mut self, acl: &mut Arc<Acl>, inline: bool) {
        acl.named.iter().for_each(|named| self.note_named(named));
        if !inline || acl.named.is_empty() {
            return;
        }
        for entry in &mut Arc::make_mut(acl).named {
            entry.name = match entry.kind {
                Named::User => self.user(entry.id),
                Named::Group => self.group(entry.id),
            };
        }
    }

    fn note_named(&mut self, named: &NamedAccess) {
        match named.kind {
            Named::User => self.note_user(named.id),
            Named::Group => self.note_group(named.id),
        }
    }

    fn note_user(&mut self, uid: u32) {
        self.users.entry(uid).or_insert_with(|| {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map(|user| user.name.into_bytes().into())
        });
    }

    fn note_group(&mut self, gid: u32) {
        self.groups.entry(gid).or_insert_with(|| {
            Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name.into_bytes().into())
        });
    }

    /// The name of a user, which is noted.
    pub(crate) fn find_user(&mut self, uid: u32) -> Option<IdName> {
        self.note_user(uid);
        self.user(uid)
    }

    /// The name of a group, which is noted.
    pub(crate) fn find_group(&mut self, gid: u32) -> Option<IdName> {
        self.note_group(gid);
        self.group(gid)
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
