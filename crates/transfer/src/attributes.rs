//! What of an entry differs from what is there, and making it so (behaviour.md 2.8, 3.4 and 7.7 to 7.10).

use std::path::Path;

use tree::{Kind, Meta, Root, Time, Which};
use wire::ItemFlags;

use crate::flist::Entry;
use crate::options::{Options, Privilege};

/// The rules of one run about attributes.
#[derive(Debug)]
pub(crate) struct Attributes {
    perms: bool,
    executability: bool,
    owner: bool,
    group: bool,
    times: bool,
    atimes: bool,
    dir_times: bool,
    link_times: bool,
    window: i64,
    umask: u32,
    /// May give files away, and make devices.
    pub(crate) is_privileged: bool,
    /// Groups that an ordinary user may give to files.
    groups: Vec<u32>,
}

impl Attributes {
    pub(crate) fn new(options: &Options) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let mut groups: Vec<u32> = rustix::process::getgroups()
            .unwrap_or_default()
            .into_iter()
            .map(rustix::fs::Gid::as_raw)
            .collect();
        groups.push(rustix::process::getegid().as_raw());
        let is_privileged = match options.privilege {
            Privilege::Auto => is_root,
            Privilege::Super => true,
            Privilege::Never | Privilege::Fake => false,
        };
        let beside = options
            .backup
            .as_ref()
            .is_some_and(|backup| backup.dir.is_none());
        Self {
            perms: options.perms,
            executability: options.executability,
            owner: options.owner && is_privileged,
            group: options.group,
            times: options.times,
            atimes: options.atimes,
            // Backups beside the files would change the times of their directories anyway.
            dir_times: options.times && !options.omit_dir_times && !beside,
            link_times: options.times && !options.omit_link_times,
            window: options.modify_window,
            umask: options.umask,
            is_privileged,
            groups,
        }
    }

    /// The permissions that the destination is to have (7.8); `existing` is what it has now, of the same type.
    pub(crate) fn permissions(&self, entry: &Entry, existing: Option<&Meta>) -> u32 {
        let wanted = entry.permissions();
        match existing {
            _ if self.perms => wanted,
            None => wanted & 0o777 & !self.umask,
            Some(existing) if self.executability && entry.is_file() => match wanted & 0o111 {
                0 => existing.mode & !0o111,
                _ if existing.mode & 0o111 == 0 => existing.mode | (existing.mode & 0o444) >> 2,
                _ => existing.mode,
            },
            Some(existing) => existing.mode,
        }
    }

    /// Whether two modification times count as equal.
    pub(crate) fn same_time(&self, entry: &Entry, now: Time) -> bool {
        if self.window < 0 {
            return entry.mtime == now.sec && entry.mtime_nsec == now.nsec;
        }
        entry.mtime.abs_diff(now.sec) <= self.window.unsigned_abs()
    }

    /// Whether the destination is newer, by the window's rule (`--update`).
    pub(crate) fn is_newer(&self, entry: &Entry, now: Time) -> bool {
        match self.window {
            ..0 => (now.sec, now.nsec) > (entry.mtime, entry.mtime_nsec),
            window => now.sec.saturating_sub(entry.mtime) > window,
        }
    }

    /// Whether the times of this entry are kept.
    pub(crate) fn keeps_time(&self, entry: &Entry) -> bool {
        match entry.file_type() {
            0o040_000 => self.dir_times,
            0o120_000 => self.link_times,
            _ => self.times,
        }
    }

    /// The attributes in which `now` differs from what it is to be. `flags` says what is done with the entry; without
    /// `times`, what is written gets the time of the run.
    pub(crate) fn differences(&self, entry: &Entry, now: &Meta, flags: ItemFlags) -> ItemFlags {
        let mut differences = ItemFlags::empty();
        if entry.is_file() && entry.size != now.size {
            differences |= ItemFlags::REPORT_SIZE;
        }
        let is_written = flags.intersects(ItemFlags::TRANSFER | ItemFlags::LOCAL_CHANGE);
        let time_differs = if self.keeps_time(entry) {
            !self.same_time(entry, now.mtime)
        } else {
            is_written
        };
        differences.set(ItemFlags::REPORT_TIME, time_differs);
        differences | self.lasting_differences(entry, now)
    }

    /// The same without size and modification time.
    fn lasting_differences(&self, entry: &Entry, now: &Meta) -> ItemFlags {
        let mut differences = ItemFlags::empty();
        let perms_differ = !now.is_symlink() && self.permissions(entry, Some(now)) != now.mode;
        differences.set(ItemFlags::REPORT_PERMS, perms_differ);
        differences.set(ItemFlags::REPORT_OWNER, self.owner && entry.uid != now.uid);
        differences.set(
            ItemFlags::REPORT_GROUP,
            self.sets_group(entry.gid) && entry.gid != now.gid,
        );
        let keeps_atime = self.atimes && !entry.is_dir() && !entry.is_symlink();
        differences.set(
            ItemFlags::REPORT_ATIME,
            keeps_atime && entry.atime() != now.atime.sec,
        );
        differences
    }

    /// Whether nothing would have to be set.
    pub(crate) fn are_equal(&self, entry: &Entry, now: &Meta) -> bool {
        let same_time = !self.keeps_time(entry) || self.same_time(entry, now.mtime);
        same_time && self.lasting_differences(entry, now).is_empty()
    }

    /// What is to be set on something that is written anew, and to which values.
    pub(crate) fn of_new(&self, entry: &Entry, existing: Option<&Meta>) -> (Meta, Which) {
        let wanted = self.wanted(entry, self.permissions(entry, existing));
        let mut which = Which::MODE | Which::MTIME | Which::OWNER | Which::GROUP | Which::ATIME;
        which.set(Which::MTIME, self.keeps_time(entry));
        which.set(Which::OWNER, self.owner);
        which.set(Which::GROUP, self.sets_group(entry.gid));
        which.set(Which::ATIME, self.atimes && !entry.is_dir());
        (wanted, which)
    }

    /// Sets what differs. Returns whether anything did. `is_exact` sets times that differ within the window, too.
    pub(crate) fn set(
        &self,
        root: &Root,
        path: &Path,
        entry: &Entry,
        now: &Meta,
        is_exact: bool,
    ) -> Result<bool, tree::Error> {
        let (mut wanted, mut which) = self.of_new(entry, Some(now));
        if !is_exact && self.same_time(entry, now.mtime) {
            which.remove(Which::MTIME);
        }
        if now.atime.sec == entry.atime() {
            which.remove(Which::ATIME);
        }
        wanted.kind = now.kind;
        root.set_meta(path, &wanted, which, now)
    }

    fn sets_group(&self, gid: u32) -> bool {
        self.group && (self.is_privileged || self.groups.contains(&gid))
    }

    fn wanted(&self, entry: &Entry, mode: u32) -> Meta {
        let mtime = Time {
            sec: entry.mtime,
            nsec: entry.mtime_nsec,
        };
        Meta {
            kind: Kind::from_mode(entry.mode).unwrap_or(Kind::File),
            mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            mtime,
            atime: Time::from_secs(entry.atime()),
            ctime: mtime,
            btime: None,
            dev: 0,
            ino: 0,
            nlink: 1,
            rdev: entry.rdev(),
        }
    }
}

/// rsync's words for an attribute that could not be set; `shown` is the name in quotes.
pub(crate) fn failure_text(error: &tree::Error, shown: &[u8]) -> Vec<u8> {
    match error.verb() {
        "chown" => [b"chown ", shown, b" failed"].concat(),
        "chgrp" => [b"chgrp ", shown, b" failed"].concat(),
        "chmod" => [b"failed to set permissions on ", shown].concat(),
        "utimes" => [b"failed to set times on ", shown].concat(),
        verb => [verb.as_bytes(), b" ", shown, b" failed"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use wire::Side;

    use super::*;

    fn file(mode: u32, mtime: i64) -> Entry {
        Entry {
            name: b"f".as_slice().into(),
            mode: 0o100_000 | mode,
            mtime,
            mtime_nsec: 5,
            ..Entry::default()
        }
    }

    fn there(attributes: &Attributes, entry: &Entry) -> Meta {
        Meta {
            uid: entry.uid,
            gid: entry.gid,
            ..attributes.wanted(entry, entry.permissions())
        }
    }

    #[test]
    fn permissions_that_are_not_kept() {
        let attributes = Attributes::new(&Options::new(Side::Client));
        assert_eq!(attributes.permissions(&file(0o4777, 0), None), 0o755);
        let now = Meta {
            mode: 0o600,
            ..there(&attributes, &file(0o644, 0))
        };
        assert_eq!(attributes.permissions(&file(0o777, 0), Some(&now)), 0o600);
        let executability = Attributes {
            executability: true,
            ..attributes
        };
        assert_eq!(
            executability.permissions(&file(0o755, 0), Some(&now)),
            0o700
        );
        let now = Meta { mode: 0o755, ..now };
        assert_eq!(
            executability.permissions(&file(0o644, 0), Some(&now)),
            0o644
        );
    }

    #[test]
    fn times_within_the_window_are_equal() {
        let at = |window| Attributes {
            window,
            ..Attributes::new(&Options::archive(Side::Client))
        };
        let entry = file(0o644, 100);
        for (window, sec, nsec, equal) in [
            (0, 100, 7, true),
            (0, 101, 5, false),
            (1, 101, 0, true),
            (1, 98, 0, false),
            (-1, 100, 5, true),
            (-1, 100, 7, false),
        ] {
            assert_eq!(
                at(window).same_time(&entry, Time { sec, nsec }),
                equal,
                "{window} {sec}.{nsec}"
            );
        }
        assert!(at(0).is_newer(&entry, Time { sec: 101, nsec: 0 }));
        assert!(!at(1).is_newer(&entry, Time { sec: 101, nsec: 0 }));
    }

    #[test]
    fn differences_are_told_apart() {
        let attributes = Attributes::new(&Options::archive(Side::Client));
        let entry = file(0o644, 100);
        let now = there(&attributes, &entry);
        assert_eq!(
            attributes.differences(&entry, &now, ItemFlags::empty()),
            ItemFlags::empty()
        );
        let now = Meta {
            mode: 0o600,
            size: 3,
            mtime: Time::from_secs(9),
            ..now
        };
        let expected = ItemFlags::REPORT_PERMS | ItemFlags::REPORT_SIZE | ItemFlags::REPORT_TIME;
        assert_eq!(
            attributes.differences(&entry, &now, ItemFlags::TRANSFER),
            expected
        );
    }
}
