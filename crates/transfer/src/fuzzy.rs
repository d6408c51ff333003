//! The most similar file of a directory, as a basis for one that the destination does not have (behaviour.md 2.10).

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

use tree::Root;
use wire::BasisType;

use crate::flist::{Entry, basename, join, parent};
use crate::scan::rel;

/// What may serve as a basis in the directory that the run is in.
#[derive(Debug, Default)]
pub(crate) struct Similar {
    dir: Vec<u8>,
    /// Names that the run has asked for since.
    requested: HashSet<Vec<u8>>,
    /// What was there when this was first asked about, in the order of names: all of it in the first root, then in the next.
    candidates: Option<Vec<Candidate>>,
}

#[derive(Debug)]
struct Candidate {
    kind: BasisType,
    name: Vec<u8>,
    size: u64,
    /// In seconds.
    mtime: i64,
}

impl Similar {
    /// Takes note of a file that is asked for with a basis: it is none for others any more. As with rsync that counts only
    /// where others have been looked for before.
    pub(crate) fn note_request(&mut self, place: &[u8]) {
        if self.dir == parent(place) && self.candidates.is_some() {
            self.requested.insert(basename(place).to_vec());
        }
    }

    /// The best candidate for an entry: one of the same size and time, or else the one with the most similar name. It
    /// lies in the directory of `place`, in one of the roots.
    pub(crate) fn best<'r>(
        &mut self,
        entry: &Entry,
        place: &[u8],
        roots: impl Iterator<Item = (BasisType, &'r Root)>,
    ) -> Option<(BasisType, Vec<u8>)> {
        self.enter(parent(place));
        let dir = &self.dir;
        let candidates = self.candidates.get_or_insert_with(|| {
            roots
                .flat_map(|(kind, root)| list(kind, root, dir))
                .collect()
        });
        let is_same = |other: &&Candidate| other.size == entry.size && other.mtime == entry.mtime;
        let candidates = candidates.iter().filter(|candidate| {
            candidate.kind != BasisType::Fuzzy || !self.requested.contains(&candidate.name)
        });
        let best = candidates.clone().find(is_same).or_else(|| {
            let wanted = basename(entry.path());
            let rated = candidates.map(|other| (name_distance(wanted, &other.name), other));
            // Of equals the last one is taken.
            let near = rated
                .filter(|(distance, _)| *distance <= DISTANCE_MAX)
                .rev();
            near.min_by_key(|(distance, _)| *distance)
                .map(|(_, other)| other)
        })?;
        Some((best.kind, best.name.clone()))
    }

    fn enter(&mut self, dir: &[u8]) {
        if self.dir != dir {
            *self = Self {
                dir: dir.to_vec(),
                ..Self::default()
            };
        }
    }
}

/// The regular files of a directory that have content, by name.
fn list(kind: BasisType, root: &Root, dir: &[u8]) -> Vec<Candidate> {
    let there = root.read_dir(rel(dir)).unwrap_or_default();
    let mut candidates: Vec<Candidate> = there
        .into_iter()
        .filter_map(|there| {
            let name = there.name.as_bytes();
            let meta = root.lstat(rel(&join(dir, name))).ok()??;
            (meta.is_file() && meta.size > 0).then(|| Candidate {
                kind,
                name: name.to_vec(),
                size: meta.size,
                mtime: meta.mtime.sec,
            })
        })
        .collect();
    candidates.sort_by(|left, right| left.name.cmp(&right.name));
    candidates
}

/// How different two names are: whole names count once, their suffixes ten times.
fn name_distance(left: &[u8], right: &[u8]) -> u32 {
    distance(left, right).saturating_add(distance(suffix(left), suffix(right)).saturating_mul(10))
}

/// The edit distance of two names, in units and the differences of bytes. Only names up to 255 bytes exist, so the table is
/// small.
fn distance(left: &[u8], right: &[u8]) -> u32 {
    let cost = |byte: &u8| UNIT + u32::from(*byte);
    if left.is_empty() || right.is_empty() {
        return left.iter().chain(right).map(cost).sum();
    }
    // What is missing at the start costs the unit only.
    let mut row: Vec<u32> = (0..).step_by(UNIT as usize).take(right.len() + 1).collect();
    for (at, left) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (at as u32 + 1) * UNIT;
        for (column, right) in right.iter().enumerate() {
            let changed =
                diagonal + u32::from(left != right) * (UNIT + u32::from(left.abs_diff(*right)));
            diagonal = row[column + 1];
            let removed = diagonal + cost(left);
            row[column + 1] = changed.min(row[column] + cost(right)).min(removed);
        }
    }
    row[right.len()]
}

/// What follows the last dot that tells of a type: not of a copy, and not of a version unless nothing else does.
fn suffix(name: &[u8]) -> &[u8] {
    let name = &name[name.iter().take_while(|&&byte| byte == b'.').count()..];
    let (mut rest, is_backup) = match name {
        [first @ .., b'~'] if !first.is_empty() => (first, true),
        name => (name, false),
    };
    if !is_backup
        && let Some(dot) = last_dot(rest)
        && COPIES.contains(&&rest[dot..])
    {
        rest = &rest[..dot];
    }
    let mut found: &[u8] = b"";
    while let Some(dot) = last_dot(rest) {
        let suffix;
        (rest, suffix) = rest.split_at(dot);
        if is_backup && is_backup_number(suffix) {
            continue;
        }
        found = suffix;
        if suffix == b"." || !suffix[1..].iter().all(u8::is_ascii_digit) {
            break;
        }
    }
    found
}

fn last_dot(name: &[u8]) -> Option<usize> {
    let dot = name.iter().rposition(|&byte| byte == b'.');
    dot.filter(|&dot| dot > 0)
}

/// Whether this is what precedes the last tilde of `name.~1~`. So far as rsync sees: it misses those of two or three digits.
fn is_backup_number(suffix: &[u8]) -> bool {
    !matches!(suffix.len(), 4 | 5) && matches!(suffix, [b'.', b'~', b'0'..=b'9', ..])
}

/// Ends of names that tell of a copy.
const COPIES: [&[u8]; 3] = [b".bak", b".old", b".orig"];

/// What one inserted, removed or changed byte costs.
const UNIT: u32 = 1 << 16;

/// Names that differ more have nothing to do with each other.
const DISTANCE_MAX: u32 = 25 * UNIT;

#[cfg(test)]
mod tests {
    use super::*;

    /// As rsync's `--debug=fuzzy2` lets on.
    #[test]
    fn suffixes_that_count() {
        for (name, expected) in [
            ("a.c", ".c"),
            ("a.c~", ".c"),
            ("a.c.bak", ".c"),
            ("a.bak", ""),
            ("a.c.old.bak", ".old"),
            ("a.c.bak~", ".bak"),
            ("a.c.~1~", ".c"),
            ("a.c.~12~", ".~12"),
            ("a.c.~1234~", ".c"),
            ("a.c.~1", ".~1"),
            ("a.so.1.2", ".so"),
            ("a.1.2", ".1"),
            ("a.c.3.bak", ".c"),
            ("a.bak.1", ".bak"),
            ("a.c3", ".c3"),
            ("a.c.", "."),
            ("a.c...1", "."),
            ("..hidden", ""),
            (".hid.c", ".c"),
            ("a", ""),
        ] {
            assert_eq!(suffix(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }

    /// Units, and the rest of it, as rsync's `--debug=fuzzy2` shows them.
    #[test]
    fn distances_are_rsyncs() {
        for (wanted, name, expected) in [
            ("b", "a", (1, 1)),
            ("b", "ab", (1, 0)),
            ("b", "ba", (1, 97)),
            ("abc", "abcd", (1, 100)),
            ("abc", "bc", (1, 0)),
            ("abc", "ac", (1, 98)),
            ("abc", "cab", (2, 99)),
            ("x.c", "x.C", (11, 352)),
            ("x.c", "x.cc", (11, 1089)),
            ("x.c", "y", (23, 1472)),
            ("a0-.bak", "9y.c", (26, 1738)),
            ("core", "core1", (1, 49)),
        ] {
            let distance = name_distance(wanted.as_bytes(), name.as_bytes());
            assert_eq!(
                (distance / UNIT, distance % UNIT),
                expected,
                "{wanted} {name}"
            );
        }
    }
}
