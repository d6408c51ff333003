//! What this process may set on the files it writes.

use tree::{Meta, Which};

/// Which owners and groups this process may give to files.
#[derive(Debug, Clone)]
pub struct Rights {
    is_privileged: bool,
    groups: Vec<u32>,
}

impl Rights {
    /// Those of this process: root sets any owner, others only groups that they belong to (behaviour.md 7.10).
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            is_privileged: rustix::process::geteuid().is_root(),
            groups: own_groups(),
        }
    }

    /// Whether permissions do not bind this process.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.is_privileged
    }

    /// What may be set to become `want`.
    #[must_use]
    pub fn settable(&self, want: &Meta) -> Which {
        let mut which = Which::MODE | Which::MTIME;
        which.set(Which::OWNER, self.is_privileged);
        which.set(
            Which::GROUP,
            self.is_privileged || self.groups.contains(&want.gid),
        );
        which
    }
}

/// The groups that this process belongs to.
pub(crate) fn own_groups() -> Vec<u32> {
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(rustix::fs::Gid::as_raw)
        .collect();
    groups.push(rustix::process::getegid().as_raw());
    groups
}
