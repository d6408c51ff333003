//! The most similar file of a directory, as a basis for one that the destination does not have (behaviour.md 2.10).

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

use tree::Root;
use wire::BasisType;

use crate::flist::{Entry, basename, join};
use crate::scan::rel;

/// The best candidate of `dir` in each root: one of the same size and time, or else the one with the most similar
/// name. Files in `written` have been sent in this run.
pub(crate) fn most_similar<'r>(
    roots: impl Iterator<Item = (BasisType, &'r Root)>,
    dir: &[u8],
    entry: &Entry,
    written: &HashSet<Vec<u8>>,
) -> Option<(BasisType, &'r Root, Vec<u8>)> {
    let wanted = basename(entry.path());
    let mut best: Option<(u32, BasisType, &Root, Vec<u8>)> = None;
    for (kind, root) in roots {
        for candidate in root.read_dir(rel(dir)).unwrap_or_default() {
            let name = candidate.name.as_bytes();
            let path = join(dir, name);
            if kind == BasisType::Fuzzy && written.contains(&path) {
                continue;
            }
            let Ok(Some(meta)) = root.lstat(rel(&path)) else {
                continue;
            };
            if !meta.is_file() || meta.size == 0 {
                continue;
            }
            if meta.size == entry.size && meta.mtime.sec == entry.mtime {
                return Some((kind, root, name.to_vec()));
            }
            let distance = name_distance(wanted, name);
            if distance <= DISTANCE_MAX
                && best.as_ref().is_none_or(|(least, ..)| distance <= *least)
            {
                best = Some((distance, kind, root, name.to_vec()));
            }
        }
    }
    best.map(|(_, kind, root, name)| (kind, root, name))
}

/// How different two names are: whole names count once, their suffixes ten times.
fn name_distance(left: &[u8], right: &[u8]) -> u32 {
    distance(left, right).saturating_add(distance(suffix(left), suffix(right)).saturating_mul(10))
}

/// The edit distance of two names, in units. Only names up to 255 bytes exist, so the table is small.
fn distance(left: &[u8], right: &[u8]) -> u32 {
    let mut row: Vec<u32> = (0..).step_by(UNIT as usize).take(right.len() + 1).collect();
    for (at, left) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (at as u32 + 1) * UNIT;
        for (column, right) in right.iter().enumerate() {
            let changed =
                diagonal + u32::from(left != right) * (UNIT + u32::from(left.abs_diff(*right)));
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + UNIT).min(diagonal + UNIT);
        }
    }
    row[right.len()]
}

/// What follows the last dot, past endings that tell of a copy rather than of a type.
fn suffix(name: &[u8]) -> &[u8] {
    let mut name = name;
    loop {
        let trimmed = name.strip_suffix(b"~").unwrap_or(name);
        let Some(dot) = trimmed
            .iter()
            .rposition(|&byte| byte == b'.')
            .filter(|&dot| dot > 0)
        else {
            return b"";
        };
        let suffix = &trimmed[dot..];
        match suffix {
            b".bak" | b".old" | b".orig" | b"." => name = &trimmed[..dot],
            suffix => return suffix,
        }
    }
}

/// What one inserted, removed or changed byte costs.
const UNIT: u32 = 1 << 16;

/// Names that differ more have nothing to do with each other.
const DISTANCE_MAX: u32 = 25 * UNIT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_that_count() {
        for (name, expected) in [
            ("a.c", ".c"),
            ("a.c~", ".c"),
            ("a.c.bak", ".c"),
            (".hidden", ""),
            ("a", ""),
        ] {
            assert_eq!(suffix(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn nearer_names_are_nearer() {
        let near = name_distance(b"report-1.txt", b"report-2.txt");
        assert!(near < name_distance(b"report-1.txt", b"report-2.doc"));
        assert!(near < 2 * UNIT);
        assert_eq!(name_distance(b"a", b"a"), 0);
        assert!(
            name_distance(b"something", b"entirely-different-and-much-longer") > DISTANCE_MAX / 2
        );
    }
}
