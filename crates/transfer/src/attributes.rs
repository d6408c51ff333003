//! What of an entry differs from what is there, and making it so (behaviour.md 2.8, 3.4, 7.7 to 7.10 and 7.19).

use std::sync::{Arc, Mutex, PoisonError};

use tree::{AclKind, Kind, Meta, Root, Time, Which};
use wire::{ItemFlags, XattrItem};

use crate::chmod::Chmod;
use crate::flist::{Entry, parent};
use crate::options::Options;
use crate::rights::own_groups;
use crate::scan::rel;

pub(crate) mod acl;
mod set;
mod xattr;

pub(crate) use set::{Applied, Failure};
use xattr::is_long;
pub(crate) use xattr::{LongValues, XattrRules, refuse_corrupt_note, xattrs_of};

/// The rules of one run about attributes.
#[derive(Debug)]
pub(crate) struct Attributes<'a> {
    perms: bool,
    incoming_chmod: Chmod,
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
    acls: bool,
    xattrs: Option<XattrRules>,
    /// Values of extended attributes that the list does not hold.
    pub(crate) long_values: LongValues<'a>,
    /// What new items of the directory that was asked about last may have of their permissions.
    newborn: Mutex<(Vec<u8>, u32)>,
}

/// What stood in an entry's place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before<'m> {
    /// Something of the same type.
    Same(&'m Meta),
    /// Nothing that counts: permissions that are not kept are limited to these.
    Nothing(u32),
}

/// Something of the destination, or of an alternate directory, that an entry is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct There<'a> {
    pub(crate) root: Option<&'a Root>,
    pub(crate) path: &'a [u8],
    pub(crate) meta: &'a Meta,
}

impl<'a> Attributes<'a> {
    /// The rules of a receiving side, whose filter rules are `rules`.
    pub(crate) fn new(
        options: &Options,
        rules: &Arc<filter::Rules>,
        long_values: LongValues<'a>,
    ) -> Self {
        let is_privileged = options.acts_as_root();
        let beside = options
            .backup
            .as_ref()
            .is_some_and(|backup| backup.dir.is_none());
        Self {
            perms: options.perms,
            incoming_chmod: options.incoming_chmod.clone(),
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
            groups: own_groups(),
            acls: options.acls,
            xattrs: XattrRules::new(options, rules, filter::Side::Receiver),
            long_values,
            newborn: Mutex::default(),
        }
    }

    /// What stood in the place of an entry: `existing`, if that is of the same type.
    pub(crate) fn before<'m>(
        &self,
        root: Option<&Root>,
        place: &[u8],
        existing: Option<&'m Meta>,
    ) -> Before<'m> {
        match existing {
            Some(existing) => Before::Same(existing),
            None if self.perms => Before::Nothing(0o777),
            None => Before::Nothing(self.newborn_permissions(root, parent(place))),
        }
    }

    /// What the default list of a directory, or else the umask, leaves of the permissions of new items.
    fn newborn_permissions(&self, root: Option<&Root>, dir: &[u8]) -> u32 {
        let mut last = self.newborn.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != dir {
            let default = root
                .and_then(|root| root.xattrs(rel(dir), Kind::Dir).ok())
                .and_then(|xattrs| xattrs.acl(AclKind::Default).ok().flatten());
            let permissions = default.map_or(0o777 & !self.umask, |acl| acl.mode());
            *last = (dir.to_vec(), permissions);
        }
        last.1
    }

    /// The permissions that the destination is to have (7.8).
    pub(crate) fn permissions(&self, entry: &Entry, before: Before<'_>) -> u32 {
        let wanted = entry.permissions();
        let mode = match before {
            _ if self.perms => wanted,
            Before::Nothing(limit) => wanted & limit,
            Before::Same(existing) if self.executability && entry.is_file() => match wanted & 0o111
            {
                0 => existing.mode & !0o111,
                _ if existing.mode & 0o111 == 0 => existing.mode | (existing.mode & 0o444) >> 2,
                _ => existing.mode,
            },
            Before::Same(existing) => existing.mode,
        };
        match entry.is_symlink() {
            true => mode,
            false => self.incoming_chmod.apply(mode, entry.is_dir(), self.umask),
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

    /// The attributes in which something differs from what it is to be. `flags` says what is done with the entry;
    /// without `times`, what is written gets the time of the run.
    pub(crate) fn differences(
        &self,
        entry: &Entry,
        there: There<'_>,
        flags: ItemFlags,
    ) -> ItemFlags {
        let now = there.meta;
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
        differences | self.lasting_differences(entry, there)
    }

    /// What is reported of an entry that is new: its extended attributes may have to be asked for.
    pub(crate) fn of_unseen(&self, entry: &Entry) -> ItemFlags {
        let mut flags = ItemFlags::IS_NEW;
        let has_xattrs = self.xattrs.is_some() && entry.xattrs().is_some();
        flags.set(ItemFlags::REPORT_XATTR, has_xattrs);
        flags
    }

    /// The same without size and modification time.
    fn lasting_differences(&self, entry: &Entry, there: There<'_>) -> ItemFlags {
        let now = there.meta;
        let mut differences = ItemFlags::empty();
        let mode = self.permissions(entry, Before::Same(now));
        // What a module changes of permissions that are not kept is not told.
        let told = match self.perms {
            true => 0o7777,
            false if self.executability && entry.is_file() => 0o111,
            false => 0,
        };
        let perms_differ = !now.is_symlink() && (mode ^ now.mode) & told != 0;
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
        if let Some(root) = there.root.filter(|_| self.keeps_lists()) {
            differences |= self.list_differences(entry, mode, root, there);
        }
        differences
    }

    /// Differences of access control lists and extended attributes. What cannot be read differs.
    fn list_differences(
        &self,
        entry: &Entry,
        mode: u32,
        root: &Root,
        there: There<'_>,
    ) -> ItemFlags {
        let acls = self.acls && !there.meta.is_symlink();
        let Ok(xattrs) = xattrs_of(root, rel(there.path), there.meta.kind) else {
            let mut differences = ItemFlags::empty();
            differences.set(ItemFlags::REPORT_ACL, acls);
            differences.set(ItemFlags::REPORT_XATTR, self.xattrs.is_some());
            return differences;
        };
        let mut differences = ItemFlags::empty();
        let acl_differs = acls && acl::differ(entry, mode, &xattrs).unwrap_or(true);
        differences.set(ItemFlags::REPORT_ACL, acl_differs);
        let xattrs_differ = self.xattrs.as_ref().is_some_and(|rules| {
            rules
                .differ(entry, &xattrs, &self.long_values)
                .unwrap_or(true)
        });
        differences.set(ItemFlags::REPORT_XATTR, xattrs_differ);
        differences
    }

    /// What is reported of differences that have been set right. rsync looks at the file again after some changes, and
    /// sees what they have brought along: a list its permissions, a new owner the loss of set-id bits.
    pub(crate) fn as_reported(&self, entry: &Entry, now: &Meta, flags: ItemFlags) -> ItemFlags {
        let wanted = self.permissions(entry, Before::Same(now));
        let owners = ItemFlags::REPORT_OWNER | ItemFlags::REPORT_GROUP;
        let (mut mode, mut flags) = (now.mode, flags);
        if now.is_file() && now.mode & 0o6000 != 0 && flags.intersects(owners) {
            flags -= owners;
            let is_group_runnable = now.mode & 0o010 != 0;
            mode &= if is_group_runnable { !0o6000 } else { !0o4000 };
        }
        if flags.contains(ItemFlags::REPORT_ACL) {
            mode = mode & 0o7000 | acl::mode_after(entry, wanted);
        }
        if mode != now.mode {
            flags.set(ItemFlags::REPORT_PERMS, mode != wanted);
        }
        flags
    }

    /// Whether nothing would have to be set.
    pub(crate) fn are_equal(&self, entry: &Entry, there: There<'_>) -> bool {
        let same_time = !self.keeps_time(entry) || self.same_time(entry, there.meta.mtime);
        same_time && self.lasting_differences(entry, there).is_empty()
    }

    /// What is to be set on something that is written anew, and to which values.
    pub(crate) fn of_new(&self, entry: &Entry, before: Before<'_>) -> (Meta, Which) {
        let wanted = self.wanted(entry, self.permissions(entry, before));
        let mut which = Which::MODE | Which::MTIME | Which::OWNER | Which::GROUP | Which::ATIME;
        which.set(Which::MTIME, self.keeps_time(entry));
        which.set(Which::OWNER, self.owner);
        which.set(Which::GROUP, self.sets_group(entry.gid));
        which.set(Which::ATIME, self.atimes && !entry.is_dir());
        (wanted, which)
    }

    /// Whether values of extended attributes may come after the rest.
    pub(crate) fn has_late(&self, entry: &Entry) -> bool {
        let has_long = |item: &XattrItem| item.attributes.iter().any(is_long);
        self.xattrs.is_some() && self.long_values.are_told() && entry.xattrs().is_some_and(has_long)
    }

    fn keeps_lists(&self) -> bool {
        self.acls || self.xattrs.is_some()
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
            // Old senders tell a number for FIFOs and sockets too, which means nothing.
            rdev: if entry.is_device() {
                entry.rdev()
            } else {
                (0, 0)
            },
            is_mount: false,
        }
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

    fn of(options: &Options) -> Attributes<'static> {
        Attributes::new(options, &Arc::default(), LongValues::none())
    }

    fn there(meta: &Meta) -> There<'_> {
        There {
            root: None,
            path: b"f",
            meta,
        }
    }

    fn same(attributes: &Attributes<'_>, entry: &Entry) -> Meta {
        Meta {
            uid: entry.uid,
            gid: entry.gid,
            ..attributes.wanted(entry, entry.permissions())
        }
    }

    #[test]
    fn permissions_that_are_not_kept() {
        let attributes = of(&Options::new(Side::Client));
        assert_eq!(
            attributes.permissions(&file(0o4777, 0), Before::Nothing(0o755)),
            0o755
        );
        let now = Meta {
            mode: 0o600,
            ..same(&attributes, &file(0o644, 0))
        };
        assert_eq!(
            attributes.permissions(&file(0o777, 0), Before::Same(&now)),
            0o600
        );
        let executability = Attributes {
            executability: true,
            ..attributes
        };
        assert_eq!(
            executability.permissions(&file(0o755, 0), Before::Same(&now)),
            0o700
        );
        let now = Meta { mode: 0o755, ..now };
        assert_eq!(
            executability.permissions(&file(0o644, 0), Before::Same(&now)),
            0o644
        );
    }

    #[test]
    fn times_within_the_window_are_equal() {
        let at = |window| Attributes {
            window,
            ..of(&Options::archive(Side::Client))
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
        let attributes = of(&Options::archive(Side::Client));
        let entry = file(0o644, 100);
        let now = same(&attributes, &entry);
        assert_eq!(
            attributes.differences(&entry, there(&now), ItemFlags::empty()),
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
            attributes.differences(&entry, there(&now), ItemFlags::TRANSFER),
            expected
        );
    }
}
