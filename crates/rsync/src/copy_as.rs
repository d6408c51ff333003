//! Another user for the work of one side (`--copy-as`, behaviour.md 7.10): what was opened before, such as the way to the
//! other machine, stays ours.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setgroups, setuid};
use transfer::{Error, Role};

use crate::run::Run;
use crate::stop::shown;

impl Run<'_> {
    /// Becomes the user who was asked for, before the first file is looked at.
    ///
    /// # Errors
    /// rsync's words for what is no user, and the system's for what may not be.
    pub(crate) fn assume_user(&self) -> Result<(), Error> {
        let Some(text) = &self.meant.said.copy_as else {
            return Ok(());
        };
        let role = if self.we_receive() {
            Role::ReceivingSide
        } else {
            Role::Sender
        };
        let fault = |text: String, cause: Option<io::Error>| Error::Fatal {
            code: 1,
            role,
            text,
            cause,
        };
        let copy_as = CopyAs::parse(text).map_err(|text| fault(text, None))?;
        copy_as
            .assume()
            .map_err(|(call, cause)| fault(format!("{call} failed"), Some(cause)))
    }
}

/// A user, and the group in place of all of his.
#[derive(Debug)]
struct CopyAs {
    name: CString,
    uid: Uid,
    own_gid: Gid,
    group: Option<Gid>,
}

impl CopyAs {
    /// Reads `USER[:GROUP]`, names or numbers.
    ///
    /// # Errors
    /// rsync's words for what is no user or group.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = shown(text);
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (&*text, None),
        };
        let unknown = || format!("Invalid copy-as user: {user}");
        let found = match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)),
            Err(_) => User::from_name(user),
        };
        let found = found.ok().flatten().ok_or_else(unknown)?;
        let group = match group {
            None => None,
            Some(group) => Some(self::group(group)?),
        };
        Ok(Self {
            name: CString::new(found.name).map_err(|_| unknown())?,
            uid: found.uid,
            own_gid: found.gid,
            group,
        })
    }

    /// Becomes the user, with all threads of the process and for good.
    ///
    /// # Errors
    /// The call that failed, and why.
    fn assume(&self) -> Result<(), (&'static str, io::Error)> {
        let failed = |call| move |errno: nix::Error| (call, io::Error::from(errno));
        setgid(self.group.unwrap_or(self.own_gid)).map_err(failed("setgid"))?;
        match self.group {
            Some(group) => setgroups(&[group]).map_err(failed("setgroups"))?,
            None => initgroups(&self.name, self.own_gid).map_err(failed("initgroups"))?,
        }
        setuid(self.uid).map_err(failed("setuid"))
    }
}

fn group(name: &str) -> Result<Gid, String> {
    let found = match name.parse() {
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    found
        .ok()
        .flatten()
        .map(|group| group.gid)
        .ok_or_else(|| format!("Invalid copy-as group: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups() {
        let root = CopyAs::parse(b"root").expect("root is everywhere");
        assert_eq!((root.uid.as_raw(), root.group), (0, None));
        let root = CopyAs::parse(b"0:7").expect("numbers");
        assert_eq!(root.group, Some(Gid::from_raw(7)));
        for (text, told) in [
            (&b"no-such-user"[..], "Invalid copy-as user: no-such-user"),
            (b"", "Invalid copy-as user: "),
            (
                b"root:no-such-group",
                "Invalid copy-as group: no-such-group",
            ),
        ] {
            assert_eq!(CopyAs::parse(text).expect_err(told), told);
        }
    }
}
