//! Owners of the sender's machine and of ours (wire-files.md 7.3).

use std::collections::HashMap;

use nix::unistd::{Group, User};

use crate::options::{Options, Privilege};

/// Which of our ids stands for one of the sender's.
#[derive(Debug, Default)]
pub(crate) struct IdMap {
    users: HashMap<u32, u32>,
    groups: HashMap<u32, u32>,
    maps_users: bool,
    maps_groups: bool,
}

impl IdMap {
    pub(crate) fn new(options: &Options) -> Self {
        let is_root = match options.privilege {
            Privilege::Auto => rustix::process::geteuid().is_root(),
            Privilege::Super => true,
            Privilege::Never | Privilege::Fake => false,
        };
        Self {
            maps_users: options.owner && is_root && !options.numeric_ids,
            maps_groups: options.group && !(is_root && options.numeric_ids),
            ..Self::default()
        }
    }

    /// Takes note of the names that come with an entry.
    pub(crate) fn learn(&mut self, entry: &wire::Entry) {
        if let Some(name) = &entry.user_name {
            self.name(true, entry.uid, name);
        }
        if let Some(name) = &entry.group_name {
            self.name(false, entry.gid, name);
        }
    }

    /// Takes note of a name. Id 0 is the same everywhere, whatever it is called.
    pub(crate) fn name(&mut self, of_user: bool, id: u32, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return;
        };
        if id == 0 || name.is_empty() {
            return;
        }
        if of_user && self.maps_users {
            let local = User::from_name(name)
                .ok()
                .flatten()
                .map(|user| user.uid.as_raw());
            self.users.insert(id, local.unwrap_or(id));
        } else if !of_user && self.maps_groups {
            let local = Group::from_name(name)
                .ok()
                .flatten()
                .map(|group| group.gid.as_raw());
            self.groups.insert(id, local.unwrap_or(id));
        }
    }

    /// Replaces the sender's ids by ours.
    pub(crate) fn map(&self, uid: &mut u32, gid: &mut u32) {
        *uid = self.users.get(uid).copied().unwrap_or(*uid);
        *gid = self.groups.get(gid).copied().unwrap_or(*gid);
    }
}
