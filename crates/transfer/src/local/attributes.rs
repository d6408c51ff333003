//! Extended attributes of a local replica, and with them its access control lists.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use tree::Xattrs;

/// Makes the replica's attributes those of the source. True if there was a difference. A file system that keeps none is no
/// error: there is nothing that trying again would change.
pub(super) fn match_attributes(
    source: &Xattrs,
    replica: &Xattrs,
    is_privileged: bool,
) -> Result<bool, tree::Error> {
    let names = |xattrs: &Xattrs| -> Result<Vec<OsString>, tree::Error> {
        let mut names = xattrs.list()?;
        names.retain(|name| is_mirrored(name, is_privileged));
        Ok(names)
    };
    let wanted = names(source)?;
    let mut differs = false;
    for name in names(replica)? {
        if !wanted.contains(&name) {
            replica.remove(&name)?;
            differs = true;
        }
    }
    for name in wanted {
        let Some(value) = source.value(&name)? else {
            continue;
        };
        if replica.value(&name)?.as_ref() == Some(&value) {
            continue;
        }
        match replica.set(&name, &value) {
            Err(error) if error.is_unsupported() => return Ok(differs),
            set => set?,
        }
        differs = true;
    }
    Ok(differs)
}

/// What belongs to a file rather than to the machine it is on: labels of a security module do not.
pub(crate) fn is_mirrored(name: &OsStr, is_privileged: bool) -> bool {
    let name = name.as_bytes();
    let is_list = matches!(
        name,
        b"system.posix_acl_access" | b"system.posix_acl_default"
    );
    name.starts_with(b"user.")
        || is_list
        || is_privileged && (name.starts_with(b"trusted.") || name == b"security.capability")
}
