//! Who knows the names of users and groups.

use std::fmt;

use nix::unistd::{Gid, Group, Uid, User};

use crate::Error;

/// Names of users and groups, and their ids. A name that nobody has is no error: an id without a name travels as a number,
/// and a name without an id leaves the sender's number.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// The name of a user.
    ///
    /// # Errors
    /// Whoever knows them is gone: the transfer ends with this.
    fn user_name(&self, uid: u32) -> Result<Option<Vec<u8>>, Error>;
    /// The name of a group.
    ///
    /// # Errors
    /// As [`Accounts::user_name`].
    fn group_name(&self, gid: u32) -> Result<Option<Vec<u8>>, Error>;
    /// The id of a user.
    ///
    /// # Errors
    /// As [`Accounts::user_name`].
    fn uid(&self, name: &[u8]) -> Result<Option<u32>, Error>;
    /// The id of a group.
    ///
    /// # Errors
    /// As [`Accounts::user_name`].
    fn gid(&self, name: &[u8]) -> Result<Option<u32>, Error>;
}

/// The databases of this machine. What cannot be looked up has no name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn user_name(&self, uid: u32) -> Result<Option<Vec<u8>>, Error> {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Ok(user.map(|user| user.name.into_bytes()))
    }

    fn group_name(&self, gid: u32) -> Result<Option<Vec<u8>>, Error> {
        let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        Ok(group.map(|group| group.name.into_bytes()))
    }

    fn uid(&self, name: &[u8]) -> Result<Option<u32>, Error> {
        let user = std::str::from_utf8(name).ok().map(User::from_name);
        Ok(user
            .and_then(|user| user.ok().flatten())
            .map(|user| user.uid.as_raw()))
    }

    fn gid(&self, name: &[u8]) -> Result<Option<u32>, Error> {
        let group = std::str::from_utf8(name).ok().map(Group::from_name);
        Ok(group
            .and_then(|group| group.ok().flatten())
            .map(|group| group.gid.as_raw()))
    }
}
