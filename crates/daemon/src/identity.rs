//! As whom a module's files are accessed: `uid` and `gid`, and giving up all other rights for good.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};
use rsync::{Env, strerror};

use crate::config::Globals;

/// A user and groups to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    uid: Option<Uid>,
    /// The first one is that of new files.
    gids: Vec<Gid>,
}

/// A `uid` or `gid` that does not work: what the client is told, and what the log is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) client: String,
    pub(crate) log: String,
}

impl Trouble {
    fn of(what: &str, name: &str) -> Self {
        Self {
            client: format!("invalid {what} {name}"),
            log: format!("Invalid {what} {name}"),
        }
    }

    fn both(text: &str) -> Self {
        Self {
            client: text.to_owned(),
            log: text.to_owned(),
        }
    }

    fn failed(call: &str, detail: &str, errno: Errno) -> Self {
        let cause = io::Error::from(errno);
        Self {
            client: format!("{call} failed"),
            log: format!("rsync: [Receiver] {call}{detail} failed: {cause}"),
        }
    }
}

impl Identity {
    /// Looks up the values of `uid` and `gid`. Without them root becomes nobody, and others stay who they are.
    pub(crate) fn find(uid: &[u8], gid: &[u8]) -> Result<Self, Trouble> {
        let is_root = nix::unistd::geteuid().is_root();
        let uid = match String::from_utf8_lossy(uid).trim() {
            "" if is_root => Some(user("nobody").ok_or_else(|| Trouble::of("uid", "nobody"))?),
            "" => None,
            name => Some(user(name).ok_or_else(|| Trouble::of("uid", name))?),
        };
        let mut gids: Vec<Gid> = Vec::new();
        for (at, name) in list(gid).enumerate() {
            match name.as_str() {
                "*" if at == 0 => gids = groups_of(uid)?,
                name => {
                    let gid = group(name).ok_or_else(|| Trouble::of("gid", name))?;
                    if !gids.contains(&gid) {
                        gids.push(gid);
                    }
                }
            }
        }
        if gids.is_empty() && is_root {
            let nobody = group("nogroup").or_else(|| group("nobody"));
            gids.push(nobody.ok_or_else(|| Trouble::of("gid", "nogroup"))?);
        }
        Ok(Self { uid, gids })
    }

    /// Becomes that user. There is no way back: the real, the effective and the saved ids change.
    ///
    /// To be called before the first thread starts.
    pub(crate) fn assume(&self) -> Result<(), Trouble> {
        if let Some(&gid) = self.gids.first() {
            nix::unistd::setresgid(gid, gid, gid)
                .map_err(|errno| Trouble::failed("setgid", &format!(" {gid}"), errno))?;
            // Whoever is not root has no say in this, and keeps what he has.
            if nix::unistd::geteuid().is_root() {
                nix::unistd::setgroups(&self.gids)
                    .map_err(|errno| Trouble::failed("setgroups", "", errno))?;
            }
        }
        if let Some(uid) = self.uid {
            nix::unistd::setresuid(uid, uid, uid)
                .map_err(|errno| Trouble::failed("setuid", &format!(" {uid}"), errno))?;
        }
        Ok(())
    }
}

/// Becomes what `daemon chroot`, `daemon gid` and `daemon uid` say, for good (behaviour.md 8.4, 4).
///
/// Names are looked up before the root changes: a directory for a daemon needs no `/etc/passwd` of its own for that.
///
/// # Errors
/// A line for the log. The client is told nothing.
pub(crate) fn become_daemon(globals: &Globals, env: &Env) -> Result<(), String> {
    let named = |text: Vec<u8>| String::from_utf8_lossy(&text).trim().to_owned();
    let uid = globals.daemon_uid.value(env).map(named);
    let gid = globals.daemon_gid.value(env).map(named);
    let find_user = |name| user(name).ok_or_else(|| format!("Invalid daemon uid: {name}"));
    let find_group = |name| group(name).ok_or_else(|| format!("Invalid daemon gid: {name}"));
    let uid = uid.as_deref().map(find_user).transpose()?;
    let gid = gid.as_deref().map(find_group).transpose()?;
    if let Some(root) = globals.daemon_chroot.path(env) {
        let entered = rustix::process::chroot(&root).and_then(|()| rustix::process::chdir("/"));
        entered.map_err(|errno| {
            let (root, cause) = (root.display(), strerror(&errno.into()));
            format!("rsync: [Receiver] daemon chroot(\"{root}\") failed: {cause}")
        })?;
    }
    let told = |what: &str, id: u32, errno: Errno| {
        let cause = strerror(&errno.into());
        format!("rsync: [Receiver] Unable to set {what} {id}: {cause}")
    };
    if let Some(gid) = gid {
        let told = |errno| told("group to daemon gid", gid.as_raw(), errno);
        if nix::unistd::geteuid().is_root() {
            // Root's other groups would be a way back to what the group was to keep out.
            nix::unistd::setgroups(&[gid]).map_err(told)?;
        }
        nix::unistd::setresgid(gid, gid, gid).map_err(told)?;
    }
    if let Some(uid) = uid {
        let told = |errno| told("user to daemon uid", uid.as_raw(), errno);
        nix::unistd::setresuid(uid, uid, uid).map_err(told)?;
    }
    Ok(())
}

/// The words of a list that is divided by commas and space, or by commas alone if it begins with one.
pub(crate) fn list(text: &[u8]) -> impl Iterator<Item = String> {
    let only_commas = text.starts_with(b",");
    text.split(move |&byte| byte == b',' || (!only_commas && byte.is_ascii_whitespace()))
        .map(|word| String::from_utf8_lossy(word).trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The user of a number or a name.
pub(crate) fn user(name: &str) -> Option<Uid> {
    match number(name) {
        Some(number) => Some(Uid::from_raw(number)),
        None => User::from_name(name).ok()?.map(|user| user.uid),
    }
}

/// The group of a number or a name.
pub(crate) fn group(name: &str) -> Option<Gid> {
    match number(name) {
        Some(number) => Some(Gid::from_raw(number)),
        None => Group::from_name(name).ok()?.map(|group| group.gid),
    }
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // The highest number means "leave as it is" to the kernel.
    text.parse()
        .ok()
        .filter(|&number| is_number && number != u32::MAX)
}

fn groups_of(uid: Option<Uid>) -> Result<Vec<Gid>, Trouble> {
    let uid = uid.unwrap_or_else(nix::unistd::getuid);
    let user = User::from_uid(uid).ok().flatten();
    let user = user.ok_or_else(|| Trouble::both("getpwuid failed"))?;
    let name = CString::new(user.name).map_err(|_| Trouble::both("getpwuid failed"))?;
    nix::unistd::getgrouplist(&name, user.gid).map_err(|_| Trouble::both("getgrouplist failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_by_name_and_number() {
        let root = Identity::find(b"root", b"0 root").expect("root is everywhere");
        assert_eq!(root.uid, Some(Uid::from_raw(0)));
        assert_eq!(root.gids, [Gid::from_raw(0)]);
        let several = Identity::find(b"0", b"4 , 12,4").expect("numbers need not exist");
        assert_eq!(several.gids, [Gid::from_raw(4), Gid::from_raw(12)]);
        let all = Identity::find(b"root", b"*").expect("root has groups");
        assert_eq!(all.gids.first(), Some(&Gid::from_raw(0)));
    }

    #[test]
    fn what_does_not_exist() {
        for (uid, gid, client, log) in [
            (
                "nobodyhere",
                "",
                "invalid uid nobodyhere",
                "Invalid uid nobodyhere",
            ),
            (
                "0",
                "nogrouphere",
                "invalid gid nogrouphere",
                "Invalid gid nogrouphere",
            ),
            ("0", "0 *", "invalid gid *", "Invalid gid *"),
            (
                "4294967295",
                "",
                "invalid uid 4294967295",
                "Invalid uid 4294967295",
            ),
        ] {
            let trouble = Identity::find(uid.as_bytes(), gid.as_bytes()).expect_err(uid);
            assert_eq!(
                (trouble.client.as_str(), trouble.log.as_str()),
                (client, log)
            );
        }
    }

    #[test]
    fn a_comma_in_front_lets_names_hold_spaces() {
        let words = |text: &str| list(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(words("a, b c"), ["a", "b", "c"]);
        assert_eq!(words(",a b, c"), ["a b", "c"]);
    }
}
