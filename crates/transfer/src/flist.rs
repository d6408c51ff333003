//! The file list that both sides index: entries in the order of the protocol, with what duplicates leave behind
//! (wire-files.md 5).
//!
//! A list may hold a million entries, so an entry is small: what few entries have is in a box of its own.

use std::cmp::Ordering;
use std::sync::Arc;

use wire::{Acl, HardLink, IoErrors, Rdev, SortOrder, XattrItem};

use crate::event::EntryView;

pub(crate) mod receiving;
pub(crate) mod sending;

/// An entry of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// As it is sorted and sent: relative, or with a leading '/' under `--relative`; `.` for the root.
    pub(crate) name: Box<[u8]>,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) mtime_nsec: u32,
    /// Type and permissions; 0 for an argument that does not exist.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// At the sender: which directory the name is relative to.
    pub(crate) base: u16,
    /// A directory that was asked for, or that `--relative` implied.
    pub(crate) top_dir: bool,
    /// A directory whose content is not in the list.
    pub(crate) no_content: bool,
    /// A directory that could not be listed whole, which counts as an I/O error from its turn on.
    pub(crate) is_incomplete: bool,
    /// A duplicate, or an empty directory that is not wanted: its number stays, it does not take part.
    pub(crate) is_cleared: bool,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What few entries have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    pub(crate) target: Box<[u8]>,
    pub(crate) rdev: Rdev,
    pub(crate) link: Option<HardLink>,
    pub(crate) checksum: Box<[u8]>,
    pub(crate) atime: i64,
    pub(crate) crtime: i64,
    /// What permission bits do not say: the access list, and a directory's default list.
    pub(crate) acls: [Option<Arc<Acl>>; 2],
    pub(crate) xattrs: Option<XattrItem>,
}

impl Entry {
    /// The path below the root of the transfer; `.` for the root itself.
    pub(crate) fn path(&self) -> &[u8] {
        let path = self.name.strip_prefix(b"/").unwrap_or(&self.name);
        if path.is_empty() { b"." } else { path }
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.file_type() == 0o040_000
    }

    pub(crate) fn is_file(&self) -> bool {
        self.file_type() == 0o100_000
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.file_type() == 0o120_000
    }

    pub(crate) fn is_device(&self) -> bool {
        matches!(self.file_type(), 0o020_000 | 0o060_000)
    }

    pub(crate) fn is_special(&self) -> bool {
        matches!(self.file_type(), 0o010_000 | 0o140_000)
    }

    pub(crate) fn is_missing_arg(&self) -> bool {
        self.mode == 0
    }

    pub(crate) fn is_implied(&self) -> bool {
        self.is_dir() && self.top_dir && self.no_content
    }

    /// Whether everything the sender has in this directory is in the list.
    pub(crate) fn has_content(&self) -> bool {
        self.is_dir() && !self.no_content
    }

    pub(crate) fn file_type(&self) -> u32 {
        self.mode & 0o170_000
    }

    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.extra.as_ref().map_or(&[], |extra| &extra.target)
    }

    pub(crate) fn rdev(&self) -> (u32, u32) {
        self.extra
            .as_ref()
            .map_or((0, 0), |extra| (extra.rdev.major, extra.rdev.minor))
    }

    pub(crate) fn link(&self) -> Option<HardLink> {
        self.extra.as_ref()?.link
    }

    pub(crate) fn checksum(&self) -> &[u8] {
        self.extra.as_ref().map_or(&[], |extra| &extra.checksum)
    }

    pub(crate) fn atime(&self) -> i64 {
        self.extra.as_ref().map_or(0, |extra| extra.atime)
    }

    pub(crate) fn acl(&self) -> Option<&Acl> {
        self.extra.as_ref()?.acls[0].as_deref()
    }

    pub(crate) fn default_acl(&self) -> Option<&Acl> {
        self.extra.as_ref()?.acls[1].as_deref()
    }

    /// Extended attributes; `None` if there are none.
    pub(crate) fn xattrs(&self) -> Option<&XattrItem> {
        let item = self.extra.as_ref()?.xattrs.as_ref()?;
        (!item.attributes.is_empty()).then_some(item)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn footprint(&self) -> usize {
        let extra = self.extra.as_ref().map_or(0, |extra| {
            size_of::<Extra>() + extra.target.len() + extra.checksum.len()
        });
        size_of::<Self>() + self.name.len() + extra
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Bytes that count for the total size.
    pub(crate) fn counted_size(&self) -> u64 {
        if self.is_file() || self.is_symlink() {
            self.size
        } else {
            0
        }
    }

    /// What a receiving side shows of it: below the destination no name begins with a slash.
    pub(crate) fn received_view(&self) -> EntryView<'_> {
        EntryView {
            path: self.path(),
            ..self.view()
        }
    }

    pub(crate) fn view(&self) -> EntryView<'_> {
        EntryView {
            path: &self.name,
            mode: self.mode,
            size: self.size,
            mtime: self.mtime,
            atime: self
                .extra
                .as_ref()
                .map(|extra| extra.atime)
                .filter(|&atime| atime != 0),
            crtime: self
                .extra
                .as_ref()
                .map(|extra| extra.crtime)
                .filter(|&crtime| crtime != 0),
            uid: self.uid,
            gid: self.gid,
            target: Some(self.target()).filter(|target| !target.is_empty()),
            source: None,
        }
    }

    pub(crate) fn from_wire(entry: wire::Entry) -> Self {
        // What says nothing needs no memory.
        let says_something = |acl: &Arc<Acl>| **acl != Acl::default();
        let acls = [
            entry.acl.filter(says_something),
            entry.default_acl.filter(says_something),
        ];
        let xattrs = entry.xattrs.filter(|item| !item.attributes.is_empty());
        let has_extra = !entry.target.is_empty()
            || entry.rdev != Rdev::default()
            || entry.hard_link.is_some()
            || !entry.checksum.is_empty()
            || entry.atime != 0
            || entry.crtime != 0
            || acls.iter().any(Option::is_some)
            || xattrs.is_some();
        let mode = entry.mode;
        let sizeless = matches!(
            mode & 0o170_000,
            0o010_000 | 0o020_000 | 0o060_000 | 0o140_000
        );
        Self {
            name: entry.name.into_boxed_slice(),
            size: if sizeless {
                0
            } else {
                u64::try_from(entry.size).unwrap_or(0)
            },
            mtime: entry.mtime,
            mtime_nsec: entry.mtime_nsec,
            mode,
            uid: entry.uid,
            gid: entry.gid,
            base: 0,
            top_dir: entry.top_dir,
            no_content: entry.no_content,
            is_incomplete: false,
            is_cleared: false,
            extra: has_extra.then(|| {
                Box::new(Extra {
                    target: entry.target.into_boxed_slice(),
                    rdev: entry.rdev,
                    link: entry.hard_link,
                    checksum: entry.checksum.into_boxed_slice(),
                    atime: entry.atime,
                    crtime: entry.crtime,
                    acls,
                    xattrs,
                })
            }),
        }
    }

    /// The value to send. Names of owners are for the caller to add.
    pub(crate) fn to_wire(&self) -> wire::Entry {
        let extra = self.extra.as_deref();
        wire::Entry {
            name: self.name.to_vec(),
            mode: self.mode,
            size: i64::try_from(self.size).unwrap_or(i64::MAX),
            mtime: self.mtime,
            mtime_nsec: self.mtime_nsec,
            atime: self.atime(),
            crtime: extra.map_or(0, |extra| extra.crtime),
            uid: self.uid,
            gid: self.gid,
            rdev: extra.map_or_else(Rdev::default, |extra| extra.rdev),
            target: self.target().to_vec(),
            hard_link: self.link(),
            checksum: self.checksum().to_vec(),
            top_dir: self.top_dir,
            no_content: self.no_content,
            acl: extra.and_then(|extra| extra.acls[0].clone()),
            default_acl: extra.and_then(|extra| extra.acls[1].clone()),
            xattrs: extra.and_then(|extra| extra.xattrs.clone()),
            ..wire::Entry::default()
        }
    }
}

/// One list, sorted: the whole of a transfer, or the content of one directory.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// The number of the first entry.
    pub(crate) start: u32,
    /// How many entries are in the lists before it. Their numbers have gaps.
    pub(crate) before: u64,
    /// It holds one directory's content, and more lists follow; otherwise it is the whole of the transfer.
    pub(crate) is_partial: bool,
    /// The directory that this is the content of, by its number among directories; the first list has none.
    pub(crate) parent: Option<u32>,
    /// What the sender could not read until then, as it says at the list's end or before it.
    pub(crate) io_errors: IoErrors,
    pub(crate) entries: Vec<Entry>,
    /// Bytes that these take in memory, if they came over the wire.
    pub(crate) footprint: usize,
    /// Where names are converted the ends sort differently: then entries are numbered as they travelled (5.5).
    pub(crate) travelled: Option<Travelled>,
}

/// How the sorted entries of a list travelled.
#[derive(Debug)]
pub(crate) struct Travelled {
    /// The place in the sorted list of the entry that came as the n-th.
    places: Vec<u32>,
    /// As the how-manieth the entry at a place came.
    turns: Vec<u32>,
}

impl List {
    pub(crate) fn get(&self, number: u32) -> Option<&Entry> {
        self.entries.get(self.place(number)?)
    }

    /// The directory that this is the content of, one of `dirs` by number; of the first list that is the root, if it is
    /// listed. Its requests and answers carry the number before the list's first.
    pub(crate) fn dir<'l>(
        &'l self,
        dirs: impl FnOnce(usize) -> Option<&'l Entry>,
    ) -> Option<&'l Entry> {
        match self.parent {
            Some(number) => dirs(number as usize),
            None => (self.entries.first()).filter(|entry| self.is_partial && entry.path() == b"."),
        }
    }

    /// The place of a number's entry among the sorted ones.
    pub(crate) fn place(&self, number: u32) -> Option<usize> {
        let turn = usize::try_from(number.checked_sub(self.start)?).ok()?;
        match &self.travelled {
            None => Some(turn),
            Some(travelled) => travelled.places.get(turn).map(|&place| place as usize),
        }
    }

    /// How many entries there are up to a number's and with it, in this list and those before it.
    pub(crate) fn through(&self, number: u32) -> u64 {
        self.before + u64::from(number.saturating_sub(self.start)) + 1
    }

    /// All entries, by number.
    pub(crate) fn by_number(&self) -> impl Iterator<Item = &Entry> {
        let places = self.travelled.as_ref().map(|travelled| &travelled.places);
        (0..self.entries.len()).map(move |turn| match places {
            None => &self.entries[turn],
            Some(places) => &self.entries[places[turn] as usize],
        })
    }

    /// Entries that take part, with their numbers.
    pub(crate) fn active(&self) -> impl DoubleEndedIterator<Item = (u32, &Entry)> {
        let start = self.start;
        (self.entries.iter().enumerate())
            .filter(|(_, entry)| !entry.is_cleared)
            .map(move |(at, entry)| match &self.travelled {
                None => (start + at as u32, entry),
                Some(travelled) => (start + travelled.turns[at], entry),
            })
    }

    /// Puts the entries in order, but numbers them as they came.
    pub(crate) fn sort_apart(&mut self, order: SortOrder) {
        let mut turns: Vec<u32> = (0..self.entries.len() as u32).collect();
        turns.sort_by(|&left, &right| {
            let (left, right) = (&self.entries[left as usize], &self.entries[right as usize]);
            compare(order, left, right)
        });
        let mut places = vec![0; turns.len()];
        for (place, &turn) in turns.iter().enumerate() {
            places[turn as usize] = place as u32;
        }
        let mut entries: Vec<Option<Entry>> = self.entries.drain(..).map(Some).collect();
        self.entries = (turns.iter())
            .filter_map(|&turn| entries[turn as usize].take())
            .collect();
        self.travelled = Some(Travelled { places, turns });
    }

    /// Puts the entries in the order in which both sides number them. Equal ones stay as they came.
    pub(crate) fn sort(&mut self, order: SortOrder) {
        self.entries
            .sort_by(|left, right| compare(order, left, right));
    }

    /// What the receiving side makes of names that were sent more than once (5.4).
    pub(crate) fn clear_duplicates(&mut self, order: SortOrder) {
        for duplicate in order.duplicates(&self.entries, |entry| (&entry.name, entry.is_dir())) {
            let dropped = &mut self.entries[duplicate.dropped];
            dropped.is_cleared = true;
            let (was_dir, implied, no_content, top_dir) = (
                dropped.is_dir(),
                dropped.is_implied(),
                dropped.no_content,
                dropped.top_dir,
            );
            let kept = &mut self.entries[duplicate.kept];
            if was_dir && kept.is_dir() {
                let both_implied = kept.is_implied() && implied;
                kept.no_content &= no_content;
                kept.top_dir = (kept.top_dir || top_dir) && (both_implied || !kept.no_content);
            }
        }
    }

    /// Takes directories out of the list that hold nothing but such directories (`--prune-empty-dirs`,
    /// behaviour.md 5.8).
    pub(crate) fn prune_empty_dirs(&mut self, keeps: impl Fn(&Entry) -> bool) {
        // From the end: what a directory holds comes after it.
        let mut needed: Option<Vec<u8>> = None;
        for entry in self
            .entries
            .iter_mut()
            .rev()
            .filter(|entry| !entry.is_cleared)
        {
            if entry.is_dir() && entry.path() != b"." {
                let leads = needed
                    .as_deref()
                    .is_some_and(|path| is_below(path, entry.path()));
                if !leads && !keeps(entry) {
                    entry.is_cleared = true;
                    continue;
                }
            }
            needed = Some(entry.path().to_vec());
        }
    }
}

pub(crate) fn compare(order: SortOrder, left: &Entry, right: &Entry) -> Ordering {
    order.compare(&left.name, left.is_dir(), &right.name, right.is_dir())
}

/// Whether `path` is in directory `dir`, at any depth.
pub(crate) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir == b"."
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The directory of a path; `.` for a name in the root.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(b".", |slash| &path[..slash])
}

/// The last component of a path.
pub(crate) fn basename(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(path, |slash| &path[slash + 1..])
}

/// The path of `name` in `dir`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match dir {
        b"" | b"." => name.to_vec(),
        dir if dir.ends_with(b"/") => [dir, name].concat(),
        dir => [dir, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use wire::Protocol;

    use super::*;

    fn list(names: &[&str]) -> List {
        let entry = |name: &&str| {
            let mode = if name.ends_with('/') {
                0o040_755
            } else {
                0o100_644
            };
            Entry {
                name: name.trim_end_matches('/').as_bytes().into(),
                mode,
                ..Entry::default()
            }
        };
        let mut list = List {
            entries: names.iter().map(entry).collect(),
            ..List::default()
        };
        list.sort(SortOrder::of(Protocol::LATEST));
        list
    }

    fn shown(list: &List) -> Vec<&str> {
        list.active()
            .map(|(_, entry)| std::str::from_utf8(&entry.name).unwrap())
            .collect()
    }

    #[test]
    fn entries_are_counted_over_the_gaps_in_their_numbers() {
        let list = List {
            start: 9,
            before: 6,
            ..List::default()
        };
        assert_eq!([9, 11].map(|number| list.through(number)), [7, 9]);
    }

    #[test]
    fn files_come_first_and_directories_win() {
        let mut list = list(&["b", "a/", "a/x", "./", "b", "c", "c/"]);
        list.clear_duplicates(SortOrder::of(Protocol::LATEST));
        assert_eq!(shown(&list), [".", "b", "a", "a/x", "c"]);
        assert!(list.active().last().unwrap().1.is_dir());
    }

    #[test]
    fn empty_directories_are_pruned_upwards() {
        let mut list = list(&["./", "a/", "a/b/", "a/b/c/", "d/", "d/e/", "d/e/f", "g/"]);
        list.prune_empty_dirs(|entry| &*entry.name == b"g");
        assert_eq!(shown(&list), [".", "d", "d/e", "d/e/f", "g"]);
    }

    #[test]
    fn directories_of_one_name_join() {
        let joined = |first: (bool, bool), second: (bool, bool)| {
            let dir = |(top_dir, no_content)| Entry {
                top_dir,
                no_content,
                name: b"d".as_slice().into(),
                mode: 0o040_755,
                ..Entry::default()
            };
            let mut list = List {
                entries: vec![dir(first), dir(second)],
                ..List::default()
            };
            list.clear_duplicates(SortOrder::of(Protocol::LATEST));
            let (_, kept) = list.active().next().unwrap();
            assert_eq!(list.active().count(), 1);
            (kept.top_dir, kept.no_content)
        };
        assert_eq!(joined((true, true), (false, false)), (true, false));
        assert_eq!(joined((true, true), (true, true)), (true, true));
        assert_eq!(joined((false, true), (true, true)), (false, true));
        assert_eq!(joined((false, false), (false, true)), (false, false));
    }
}
