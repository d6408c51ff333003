//! A large batch in parts that several sessions bring over side by side.
//!
//! The parts are subtrees, and no two sessions write in one directory: those above the subtrees, with all that is directly
//! in them, are a part of their own, which goes first. Afterwards they are listed only as what leads to the rest.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::Path;

use transfer::{Batch, Item};
use tree::{Identity, Kind};

/// What a file takes beside its content, in bytes of content: a stat, a temporary file and a rename at the replica.
const PER_FILE: u64 = 64 << 10;

/// Less than this is brought over by one session in the time that others take to begin.
const WORTH_DIVIDING: u64 = 1000 * PER_FILE;

/// Directories that are divided at most, so that finding the parts takes no time beside bringing them over.
const DIVIDED_MAX: usize = 256;

/// A batch divided.
#[derive(Debug)]
pub(super) struct Division {
    /// What goes before all others.
    pub(super) first: Batch,
    /// What goes side by side.
    pub(super) rest: Vec<Batch>,
}

impl Division {
    /// Divides a batch for so many `sessions`; `None` if that is not worth it, or cannot be done.
    pub(super) fn of(batch: &Batch, sessions: usize) -> Option<Self> {
        let homes = Homes::find(batch, sessions)?;
        let empty = || Batch {
            exact: batch.exact,
            ..Batch::default()
        };
        let mut parts: Vec<Batch> = std::iter::repeat_with(empty)
            .take(1 + homes.parts)
            .collect();
        for item in &batch.items {
            let among = match homes.of(&item.path) {
                Home::Divided => (0..parts.len()).collect(),
                Home::Top(part) => vec![0, part],
                Home::Within(part) => vec![part],
            };
            for part in among {
                parts[part].items.push(item.clone());
            }
        }
        for dir in &batch.whole {
            let part = match homes.of(dir) {
                Home::Divided => 0,
                Home::Top(part) | Home::Within(part) => part,
            };
            parts[part].whole.insert(dir.clone());
        }
        for gone in &batch.gone {
            let part = match homes.of(gone) {
                // It is directly in a directory that is divided, or it would have no home.
                Home::Divided | Home::Top(_) => 0,
                Home::Within(part) => part,
            };
            parts[part].gone.push(gone.clone());
        }
        let rest = parts.split_off(1);
        Some(Self {
            first: parts.pop()?,
            rest,
        })
    }
}

/// Which part a path belongs to.
enum Home {
    /// A directory that is divided: listed in all parts, so that each knows its attributes.
    Divided,
    /// Directly in such a directory: a directory with what is below it in this part, which the first one makes.
    Top(usize),
    /// In this part alone.
    Within(usize),
}

/// The subtrees, and which part each is in.
struct Homes<'a> {
    divided: HashSet<&'a Path>,
    tops: HashMap<&'a Path, usize>,
    /// Without the first one.
    parts: usize,
}

impl<'a> Homes<'a> {
    fn find(batch: &'a Batch, sessions: usize) -> Option<Self> {
        let subtrees = weigh(&batch.items);
        let total = subtrees.get(Path::new(""))?.weight;
        if sessions < 2 || total < WORTH_DIVIDING {
            return None;
        }
        let (divided, tops) = divide(&subtrees, total / (2 * sessions as u64));
        let in_rest: u64 = tops.iter().map(|(weight, _)| weight).sum();
        if in_rest < total / 2 {
            return None;
        }
        // The heaviest first, each to the part that has least.
        let mut weights = vec![0; sessions.min(tops.len())];
        let mut homes = Self {
            divided,
            tops: HashMap::new(),
            parts: weights.len(),
        };
        for (own, top) in tops.into_iter().rev() {
            let (part, weight) = weights
                .iter_mut()
                .enumerate()
                .min_by_key(|(_, weight)| **weight)?;
            *weight += own;
            homes.tops.insert(top, part + 1);
        }
        let is_even = weights.len() > 1
            && weights
                .iter()
                .all(|weight| *weight > in_rest / (4 * sessions as u64));
        (is_even && homes.keep_links_together(&batch.items)).then_some(homes)
    }

    fn of(&self, path: &Path) -> Home {
        if self.divided.contains(path) {
            return Home::Divided;
        }
        if let Some(part) = self.tops.get(path) {
            return Home::Top(*part);
        }
        let mut above = path.ancestors().skip(1);
        let part = above.find_map(|dir| match self.divided.contains(dir) {
            true => Some(0),
            false => self.tops.get(dir).copied(),
        });
        Home::Within(part.unwrap_or(0))
    }

    /// Whether all names of each file are in one part: a receiver links only what it sees in one session.
    fn keep_links_together(&self, items: &[Item]) -> bool {
        let mut parts: HashMap<Identity, usize> = HashMap::new();
        items
            .iter()
            .all(|item| match (item.meta.link_group(), self.of(&item.path)) {
                (Some(file), Home::Within(part)) => *parts.entry(file).or_insert(part) == part,
                _ => true,
            })
    }
}

/// A directory of a batch.
#[derive(Default)]
struct Subtree<'a> {
    /// Of all that is in it, at any depth.
    weight: u64,
    /// The directories directly in it.
    dirs: Vec<&'a Path>,
}

fn weigh(items: &[Item]) -> HashMap<&Path, Subtree<'_>> {
    let mut subtrees: HashMap<&Path, Subtree<'_>> = HashMap::new();
    // What is in a directory comes after it.
    for item in items.iter().rev() {
        let path = item.path.as_path();
        let own = match item.meta.kind {
            Kind::File => PER_FILE + item.meta.size,
            _ => PER_FILE,
        };
        let below = item
            .meta
            .is_dir()
            .then(|| subtrees.entry(path).or_default().weight);
        if let Some(parent) = path.parent() {
            let parent = subtrees.entry(parent).or_default();
            parent.weight += own + below.unwrap_or(0);
            parent.dirs.extend(below.map(|_| path));
        }
    }
    subtrees
}

/// Divides directories, the heaviest first, until what remains is in pieces of no more than `enough`, as far as that
/// goes. Returns those that were divided, and the pieces with their weights.
fn divide<'a>(
    subtrees: &HashMap<&'a Path, Subtree<'a>>,
    enough: u64,
) -> (HashSet<&'a Path>, Vec<(u64, &'a Path)>) {
    let piece = |path: &&'a Path| (subtrees[path].weight, *path);
    let mut divided = HashSet::new();
    let mut pieces = BinaryHeap::from([piece(&Path::new(""))]);
    while let Some((weight, heaviest)) = pieces.peek().copied() {
        let dirs = &subtrees[heaviest].dirs;
        if weight <= enough || dirs.is_empty() || divided.len() == DIVIDED_MAX {
            break;
        }
        pieces.pop();
        divided.insert(heaviest);
        pieces.extend(dirs.iter().map(piece));
    }
    // The heaviest come last.
    (divided, pieces.into_sorted_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own tree")]

    use std::fs;
    use std::path::PathBuf;

    use tree::Root;

    use super::*;

    fn batch(root: &Path, paths: &[PathBuf]) -> Batch {
        let root = Root::open(root).unwrap();
        let mut items: Vec<Item> = paths
            .iter()
            .map(|path| Item {
                path: path.clone(),
                meta: root.lstat(path).unwrap().unwrap(),
                target: None,
            })
            .collect();
        items.sort_by(|left, right| left.path.cmp(&right.path));
        Batch {
            items,
            ..Batch::default()
        }
    }

    /// Files in `a/0` to `a/3`, some in `a`, one beside it.
    fn tree() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let mut paths: Vec<PathBuf> = ["", "a", "beside"].map(PathBuf::from).into();
        for below in 0..4 {
            let below = Path::new("a").join(below.to_string());
            fs::create_dir_all(dir.path().join(&below)).unwrap();
            paths.extend((0..300).map(|number| below.join(number.to_string())));
            paths.push(below);
        }
        paths.push("a/file".into());
        for path in &paths {
            if !dir.path().join(path).is_dir() {
                fs::write(dir.path().join(path), "content").unwrap();
            }
        }
        (dir, paths)
    }

    fn paths(batch: &Batch) -> HashSet<&Path> {
        batch.items.iter().map(|item| item.path.as_path()).collect()
    }

    #[test]
    fn no_two_sessions_write_in_one_directory() {
        let (dir, all) = tree();
        let mut whole = batch(dir.path(), &all);
        whole.whole = ["a", "a/2"].map(PathBuf::from).into();
        whole.gone = ["a/1/gone", "a/gone", "gone"].map(PathBuf::from).into();
        let Division { first, rest } = Division::of(&whole, 2).unwrap();
        assert_eq!(rest.len(), 2);
        let above = ["", "a", "beside", "a/0", "a/1", "a/2", "a/3", "a/file"];
        assert_eq!(paths(&first), above.map(Path::new).into());
        assert_eq!(first.gone, ["a/gone", "gone"].map(PathBuf::from));
        assert_eq!(first.whole, [PathBuf::from("a")].into());
        for top in ["a/0", "a/1", "a/2", "a/3"] {
            let has_it = |part: &&Batch| paths(part).contains(Path::new(top));
            let [part] = rest.iter().filter(has_it).collect::<Vec<_>>()[..] else {
                panic!("{top} is not in one part");
            };
            let within = |path: &&Path| path.starts_with(top);
            assert_eq!(paths(part).into_iter().filter(within).count(), 301, "{top}");
            assert!(paths(part).contains(Path::new("a")));
            assert_eq!(part.whole.contains(Path::new(top)), top == "a/2");
            assert_eq!(
                part.gone.len(),
                usize::from(paths(part).contains(Path::new("a/1")))
            );
        }
        for part in &rest {
            assert!(part.items.is_sorted_by_key(|item| &item.path));
            assert!(!paths(part).contains(Path::new("a/file")));
        }
    }

    #[test]
    fn what_gains_nothing_is_not_divided() {
        let (dir, all) = tree();
        assert!(Division::of(&batch(dir.path(), &all), 1).is_none());
        let few: Vec<PathBuf> = all
            .iter()
            .filter(|path| !path.starts_with("a/1"))
            .cloned()
            .collect();
        assert!(Division::of(&batch(dir.path(), &few), 2).is_none());
        let flat = dir.path().join("flat");
        fs::create_dir(&flat).unwrap();
        let mut in_one: Vec<PathBuf> = (0..2000)
            .map(|number| PathBuf::from(number.to_string()))
            .collect();
        in_one
            .iter()
            .for_each(|path| fs::write(flat.join(path), "").unwrap());
        in_one.push(PathBuf::new());
        assert!(Division::of(&batch(&flat, &in_one), 2).is_none());
    }

    #[test]
    fn the_names_of_a_file_are_not_parted() {
        let (dir, all) = tree();
        fs::remove_file(dir.path().join("a/1/0")).unwrap();
        fs::hard_link(dir.path().join("a/0/0"), dir.path().join("a/1/0")).unwrap();
        let divided = Division::of(&batch(dir.path(), &all), 4);
        assert!(divided.is_none());
    }
}
