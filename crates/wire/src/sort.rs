//! The order in which both sides number a file list, and which of its entries are duplicates
//! (wire-files.md section 5).
//!
//! Requests name entries by their position in the *sorted* list, so this comparison is part of the
//! protocol. Sort stably: equal entries keep the order in which they were transmitted.

use std::cmp::Ordering;

use crate::Protocol;

/// How two entries of a list compare; fixed for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    /// Component by component; the files of a directory precede its subdirectories (5.2).
    FilesFirst,
    /// The whole names as unsigned bytes (5.3).
    Bytes,
}

/// Two entries of a sorted list that denote one name; positions in that list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The entry that stays.
    pub kept: usize,
    /// The entry that keeps its number but becomes inactive.
    pub dropped: usize,
}

impl SortOrder {
    /// The order of a protocol.
    #[must_use]
    pub fn of(protocol: Protocol) -> Self {
        if protocol.sorts_files_first() {
            Self::FilesFirst
        } else {
            Self::Bytes
        }
    }

    /// Compares two wire names; `*_is_dir` tells whether the entry is a directory. Does not allocate.
    #[must_use]
    pub fn compare(self, a: &[u8], a_is_dir: bool, b: &[u8], b_is_dir: bool) -> Ordering {
        match self {
            Self::FilesFirst => {
                compare_components(SortName::new(a, a_is_dir), SortName::new(b, b_is_dir))
            }
            Self::Bytes => a.cmp(b),
        }
    }

    /// The duplicates of a sorted list, in ascending order of discovery (5.4). `key` yields an entry's
    /// name and whether it is a directory.
    pub fn duplicates<T>(self, sorted: &[T], key: impl Fn(&T) -> (&[u8], bool)) -> Vec<Duplicate> {
        let mut duplicates = Vec::new();
        let mut last_kept = None;
        for (at, entry) in sorted.iter().enumerate() {
            let (name, is_dir) = key(entry);
            let equal = last_kept.filter(|&kept: &usize| {
                let (kept_name, kept_is_dir) = key(&sorted[kept]);
                self.compare(kept_name, kept_is_dir, name, is_dir).is_eq()
            });
            // A file sorts before the directories beside it, so its namesake may be far behind.
            let earlier = equal.or_else(|| {
                is_dir
                    .then(|| self.find_file(&sorted[..at], name, &key))
                    .flatten()
            });
            match earlier {
                Some(earlier) if is_dir && !key(&sorted[earlier]).1 => {
                    duplicates.push(Duplicate {
                        kept: at,
                        dropped: earlier,
                    });
                    last_kept = Some(at);
                }
                Some(earlier) => duplicates.push(Duplicate {
                    kept: earlier,
                    dropped: at,
                }),
                None => last_kept = Some(at),
            }
        }
        duplicates
    }

    /// The first non-directory of this name, where files and directories of one name compare unequal.
    fn find_file<T>(
        self,
        sorted: &[T],
        name: &[u8],
        key: impl Fn(&T) -> (&[u8], bool),
    ) -> Option<usize> {
        if self == Self::Bytes {
            return None;
        }
        let order = |entry: &T| {
            let (other, is_dir) = key(entry);
            self.compare(other, is_dir, name, false)
        };
        let at = sorted.partition_point(|entry| order(entry).is_lt());
        sorted
            .get(at)
            .filter(|entry| order(entry).is_eq() && !key(entry).1)
            .map(|_| at)
    }
}

/// A name as a sequence of components: each ends with a '/', but for the last one of a file. The '/'
/// that ends a directory's own name is virtual.
#[derive(Clone, Copy)]
struct SortName<'a> {
    bytes: &'a [u8],
    is_dir: bool,
}

impl<'a> SortName<'a> {
    fn new(bytes: &'a [u8], is_dir: bool) -> Self {
        // A directory's "." counts as an empty file component, which sorts before everything beside it.
        match bytes {
            [parent @ .., b'.'] if is_dir && (parent.is_empty() || parent.ends_with(b"/")) => {
                Self {
                    bytes: parent,
                    is_dir: false,
                }
            }
            _ => Self { bytes, is_dir },
        }
    }

    fn at(self, index: usize) -> Option<u8> {
        let end = (self.is_dir && index == self.bytes.len()).then_some(b'/');
        self.bytes.get(index).copied().or(end)
    }

    /// Nothing is left after the component that ended before `index`.
    fn is_exhausted(self, index: usize) -> bool {
        self.is_dir && index > self.bytes.len()
    }

    /// The component at `index`, of which no '/' was passed yet, is a directory.
    fn is_dir_component(self, index: usize) -> bool {
        self.is_dir || self.bytes[index..].contains(&b'/')
    }
}

fn compare_components(a: SortName<'_>, b: SortName<'_>) -> Ordering {
    let mut at = common_prefix(a.bytes, b.bytes);
    // The stored bytes ended in at least one of the names; a virtual '/' may go on matching.
    if a.at(at).is_some() && a.at(at) == b.at(at) {
        at += 1;
    }
    match (a.is_exhausted(at), b.is_exhausted(at)) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        (false, false) => {}
    }
    // All components before the one at the difference are equal directories. Both of this one's kinds
    // follow from what is left, for what precedes the difference within it holds no '/'.
    match (a.is_dir_component(at), b.is_dir_component(at)) {
        (false, true) => Ordering::Less,
        (true, false) => Ordering::Greater,
        _ => a.at(at).cmp(&b.at(at)),
    }
}

/// How many leading bytes two names share. Entries next to each other share long prefixes, so this is
/// where sorting and encoding spend their time.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    // Eight bytes at a time, then the rest.
    const WORD: usize = 8;
    let words = a.as_chunks::<WORD>().0.iter().zip(b.as_chunks::<WORD>().0);
    let shared = words.take_while(|(a, b)| a == b).count() * WORD;
    let rest = a[shared..].iter().zip(&b[shared..]);
    shared + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of 5.2, component by component, without any shortcut.
    fn by_definition(a: &[u8], a_is_dir: bool, b: &[u8], b_is_dir: bool) -> Ordering {
        fn components(name: &[u8], is_dir: bool) -> Vec<(bool, Vec<u8>)> {
            let parts: Vec<&[u8]> = name.split(|&byte| byte == b'/').collect();
            let last = parts.len() - 1;
            let component = |(at, part): (usize, &&[u8])| match part {
                _ if at == last && is_dir && *part == b"." => (false, Vec::new()),
                _ if at == last && !is_dir => (false, part.to_vec()),
                _ => (true, [part, b"/".as_slice()].concat()),
            };
            parts.iter().enumerate().map(component).collect()
        }
        // (is directory, bytes) tuples compare exactly as the rules say, and a shorter sequence is smaller.
        components(a, a_is_dir).cmp(&components(b, b_is_dir))
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let component = proptest::sample::select(vec![
            "a", "ab", "a-b", "a.b", "b", "a/b", "a0", "aaaaaaaa", ".",
        ]);
        proptest::collection::vec(component, 1..4).prop_map(|parts| parts.join("/").into_bytes())
    }

    proptest! {
        #[test]
        fn compares_as_defined(a in name(), a_is_dir: bool, b in name(), b_is_dir: bool) {
            prop_assert_eq!(
                SortOrder::FilesFirst.compare(&a, a_is_dir, &b, b_is_dir),
                by_definition(&a, a_is_dir, &b, b_is_dir)
            );
        }

        #[test]
        fn any_bytes_compare_antisymmetrically(a: Vec<u8>, a_is_dir: bool, b: Vec<u8>, b_is_dir: bool) {
            let order = SortOrder::FilesFirst;
            prop_assert_eq!(order.compare(&a, a_is_dir, &b, b_is_dir), order.compare(&b, b_is_dir, &a, a_is_dir).reverse());
        }
    }

    #[test]
    fn directories_follow_files_and_precede_their_content() {
        let sorted: [(&[u8], bool); 9] = [
            (b".", true),
            (b"z", false),
            (b"zz", false),
            (b"a-b", true),
            (b"a-b/x", false),
            (b"a", true),
            (b"a/y", false),
            (b"a/b", true),
            (b"z", true),
        ];
        for pair in sorted.windows(2) {
            let [(a, a_is_dir), (b, b_is_dir)] = pair else {
                unreachable!("windows of two")
            };
            assert_eq!(
                SortOrder::FilesFirst.compare(a, *a_is_dir, b, *b_is_dir),
                Ordering::Less,
                "{pair:?}"
            );
        }
        assert_eq!(
            SortOrder::Bytes.compare(b"a", true, b"a-b", false),
            Ordering::Less
        );
        assert_eq!(
            SortOrder::Bytes.compare(b"a", true, b"a", false),
            Ordering::Equal
        );
    }

    fn duplicates(order: SortOrder, list: &[(&str, bool)]) -> Vec<(usize, usize)> {
        let found = order.duplicates(list, |(name, is_dir)| (name.as_bytes(), *is_dir));
        found
            .into_iter()
            .map(|duplicate| (duplicate.kept, duplicate.dropped))
            .collect()
    }

    #[test]
    fn the_first_of_equals_is_kept() {
        let list = [
            ("a", false),
            ("a", false),
            ("a", false),
            ("b", true),
            ("b", true),
        ];
        assert_eq!(
            duplicates(SortOrder::FilesFirst, &list),
            [(0, 1), (0, 2), (3, 4)]
        );
    }

    #[test]
    fn a_directory_replaces_a_file_of_its_name() {
        let list = [
            ("a", false),
            ("b", false),
            ("c", false),
            ("b", true),
            ("b/x", false),
        ];
        assert_eq!(duplicates(SortOrder::FilesFirst, &list), [(3, 1)]);
        assert_eq!(
            duplicates(
                SortOrder::Bytes,
                &[("a", false), ("b", true), ("b", false), ("b", true)]
            ),
            [(1, 2), (1, 3)]
        );
        assert_eq!(
            duplicates(SortOrder::Bytes, &[("b", false), ("b", true)]),
            [(1, 0)]
        );
    }
}
