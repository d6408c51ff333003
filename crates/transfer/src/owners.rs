//! Names of users and groups, looked up once each.

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;
use std::sync::Arc;

use wire::{Acl, IdName, Named, NamedAccess};

use crate::Error;
use crate::accounts::{Accounts, SystemAccounts};

/// The local names of ids. An id without a name travels as a number.
#[derive(Debug)]
pub(crate) struct OwnerNames {
    accounts: Arc<dyn Accounts>,
    users: HashMap<u32, Option<IdName>>,
    groups: HashMap<u32, Option<IdName>>,
}

impl OwnerNames {
    pub(crate) fn new(accounts: &Arc<dyn Accounts>) -> Self {
        Self {
            accounts: Arc::clone(accounts),
            users: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// The names that this machine knows.
    pub(crate) fn of_system() -> Self {
        let accounts: Arc<dyn Accounts> = Arc::new(SystemAccounts);
        Self::new(&accounts)
    }

    /// Remembers the names of these ids.
    pub(crate) fn note(&mut self, uid: u32, gid: u32) -> Result<(), Error> {
        self.note_user(uid)?;
        self.note_group(gid)
    }

    /// Remembers the names in an access control list, and puts them there if they travel `inline`.
    pub(crate) fn note_in(&mut self, acl: &mut Arc<Acl>, inline: bool) -> Result<(), Error> {
        for named in &acl.named {
            self.note_named(named)?;
        }
        if !inline || acl.named.is_empty() {
            return Ok(());
        }
        for entry in &mut Arc::make_mut(acl).named {
            entry.name = match entry.kind {
                Named::User => self.user(entry.id),
                Named::Group => self.group(entry.id),
            };
        }
        Ok(())
    }

    fn note_named(&mut self, named: &NamedAccess) -> Result<(), Error> {
        match named.kind {
            Named::User => self.note_user(named.id),
            Named::Group => self.note_group(named.id),
        }
    }

    fn note_user(&mut self, uid: u32) -> Result<(), Error> {
        if let Vacant(unknown) = self.users.entry(uid) {
            unknown.insert(fitting(self.accounts.user_name(uid)?));
        }
        Ok(())
    }

    fn note_group(&mut self, gid: u32) -> Result<(), Error> {
        if let Vacant(unknown) = self.groups.entry(gid) {
            unknown.insert(fitting(self.accounts.group_name(gid)?));
        }
        Ok(())
    }

    /// The name of a user, which is noted.
    pub(crate) fn find_user(&mut self, uid: u32) -> Result<Option<IdName>, Error> {
        self.note_user(uid)?;
        Ok(self.user(uid))
    }

    /// The name of a group, which is noted.
    pub(crate) fn find_group(&mut self, gid: u32) -> Result<Option<IdName>, Error> {
        self.note_group(gid)?;
        Ok(self.group(gid))
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

/// A name as it can be sent. Longer ones than this have no form on the wire (wire-files.md 7.2).
fn fitting(name: Option<Vec<u8>>) -> Option<IdName> {
    const NAME_MAX: usize = 255;
    let name = name.filter(|name| (1..=NAME_MAX).contains(&name.len()))?;
    Some(name.into())
}

fn named(names: &HashMap<u32, Option<IdName>>) -> impl Iterator<Item = (u32, &[u8])> {
    names
        .iter()
        .filter_map(|(id, name)| Some((*id, name.as_deref()?)))
}
