//! Plans that compare what a replica holds, whatever the ledger says: step by step, so that changes need not wait, and no
//! more is read than a rate allows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tree::{Kind, Meta};

use super::draft::{Draft, DraftItem};
use super::{Abilities, Plan, PlanError};
use crate::dirty::{Look, Taken};
use crate::ledger::Ledger;
use crate::source::Source;

/// A step begins no further directory when it has this many items.
const STEP_ITEMS: usize = 2_000;

/// What is still to be compared.
#[derive(Debug, Clone)]
pub(crate) enum Unverified {
    /// A directory, with all below it.
    Dir(PathBuf),
    /// What a step left of a directory's files, from `next` on.
    Files { paths: Arc<[PathBuf]>, next: usize },
}

/// What a verification has looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compared {
    /// Files, and whatever else is no directory.
    pub files: u64,
    /// Bytes in the files.
    pub bytes: u64,
}

/// One step in the making.
pub(super) struct Step {
    by_content: bool,
    /// No further file is begun when so many bytes are compared.
    bytes: u64,
    compared: Compared,
    /// Files that are left to later steps.
    left: Vec<PathBuf>,
}

impl Step {
    /// Whether a path that is no directory is to be compared by content, now.
    pub(super) fn takes(&mut self, path: &Path, meta: &Meta) -> bool {
        if self.by_content && meta.kind == Kind::File && self.compared.bytes >= self.bytes {
            self.left.push(path.to_owned());
            return false;
        }
        self.count(meta);
        self.by_content
    }

    fn count(&mut self, meta: &Meta) {
        self.compared.files += 1;
        if meta.kind == Kind::File {
            self.compared.bytes = self.compared.bytes.saturating_add(meta.size);
        }
    }
}

/// Makes a plan of one step: as much of what is `unverified` as has `bytes` in its files. What is left of it, and the
/// directories in it, are put in its place. Returns how much the plan compares.
///
/// # Errors
/// As [`plan`](super::plan).
pub(crate) fn verification(
    source: &Source,
    ledger: &Ledger,
    abilities: Abilities,
    unmounted: &[PathBuf],
    unverified: &mut Vec<Unverified>,
    by_content: bool,
    bytes: u64,
) -> Result<(Plan, Compared), PlanError> {
    let source = &Arc::new(source.as_opened());
    let mut draft = Draft::new(source, ledger, abilities);
    draft.unmounted = unmounted;
    draft.step = Some(Step {
        // What is sent unasked says nothing about the replica.
        by_content: by_content && abilities.compares_contents,
        bytes,
        compared: Compared::default(),
        left: Vec::new(),
    });
    while draft.has_room() {
        match unverified.pop() {
            Some(Unverified::Dir(dir)) => draft.verify_directory(&dir, unverified)?,
            Some(Unverified::Files { paths, next }) => {
                draft.verify_files(paths, next, unverified)?;
            }
            None => break,
        }
    }
    // Whatever the ledger says, the replica may have anything.
    draft.done.deletions.unknown = true;
    let compared = draft.step.as_ref().map(|step| step.compared);
    let plan = draft.finish(Vec::new())?;
    Ok((plan, compared.unwrap_or_default()))
}

impl Draft<'_> {
    fn has_room(&self) -> bool {
        let is_full = |step: &Step| step.compared.bytes >= step.bytes;
        self.items.len() < STEP_ITEMS && !self.step.as_ref().is_some_and(is_full)
    }

    /// Lists a directory whole, and has the directories in it, and what found no room, verified later.
    fn verify_directory(
        &mut self,
        dir: &Path,
        unverified: &mut Vec<Unverified>,
    ) -> Result<(), PlanError> {
        self.looking_since = SystemTime::now();
        self.list_whole(dir, Instant::now(), false, &mut Vec::new())?;
        let is_below = |path: &Path| path.parent() == Some(dir) && !path.as_os_str().is_empty();
        for DraftItem { item, .. } in self.items.values() {
            if item.meta.kind == Kind::Dir && is_below(&item.path) {
                unverified.push(Unverified::Dir(item.path.clone()));
            }
        }
        self.leave(unverified);
        Ok(())
    }

    /// Compares some of a directory's files by content.
    fn verify_files(
        &mut self,
        paths: Arc<[PathBuf]>,
        mut next: usize,
        unverified: &mut Vec<Unverified>,
    ) -> Result<(), PlanError> {
        while self.has_room()
            && let Some(path) = paths.get(next)
        {
            next += 1;
            let mut looks = vec![Taken {
                path: path.clone(),
                look: Look::EXACT,
                since: Instant::now(),
            }];
            while let Some(taken) = looks.pop() {
                self.examine(&taken, &mut looks)?;
            }
            if let (Some(listed), Some(step)) = (self.items.get(path), &mut self.step) {
                step.count(&listed.item.meta);
            }
        }
        if next < paths.len() {
            unverified.push(Unverified::Files { paths, next });
        }
        self.leave(unverified);
        Ok(())
    }

    /// Has the files verified later that found no room.
    fn leave(&mut self, unverified: &mut Vec<Unverified>) {
        let left = self
            .step
            .as_mut()
            .map(|step| std::mem::take(&mut step.left));
        if let Some(left) = left.filter(|left| !left.is_empty()) {
            unverified.push(Unverified::Files {
                paths: left.into(),
                next: 0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the tests make their own trees")]

    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::exclusions::Exclusions;
    use crate::ledger::State;

    /// The files that each step compares by content, of six with 1,000 bytes in two directories.
    fn steps(by_content: bool, bytes: u64) -> Vec<Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d", "dir/e", "dir/f"] {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [b'.'; 1000]).unwrap();
        }
        let source = Source::open(directory.path(), Exclusions::default(), &[]).unwrap();
        let ledger = State::in_memory().ledger("replica").unwrap();
        let mut unverified = vec![Unverified::Dir(PathBuf::new())];
        let (mut steps, mut files) = (Vec::new(), 0);
        while !unverified.is_empty() {
            let (plan, compared) = verification(
                &source,
                &ledger,
                Abilities::ALL,
                &[],
                &mut unverified,
                by_content,
                bytes,
            )
            .unwrap();
            files += compared.files;
            let exact = plan.exact.batch.items.iter();
            let exact = exact.filter(|item| item.meta.kind == Kind::File);
            steps.push(exact.map(|item| item.path.display().to_string()).collect());
        }
        assert_eq!(files, 6);
        steps
    }

    #[test]
    fn a_step_compares_what_the_rate_allows_also_of_one_directory() {
        let in_steps = steps(true, 1500);
        assert!(in_steps.iter().all(|step| step.len() <= 2), "{in_steps:?}");
        let all: Vec<&String> = in_steps.iter().flatten().collect();
        let names: BTreeSet<&String> = all.iter().copied().collect();
        assert_eq!((all.len(), names.len()), (6, 6), "{in_steps:?}");
        assert_eq!(steps(true, 6000).len(), 1);
    }

    #[test]
    fn what_is_not_compared_by_content_needs_no_steps() {
        assert_eq!(steps(false, u64::MAX), [Vec::<String>::new()]);
    }
}
