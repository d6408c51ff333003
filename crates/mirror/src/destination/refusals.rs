//! What a daemon refuses by its module's own filter, and will refuse again: told apart from what fails.

use std::collections::HashMap;
use std::path::Path;

use transfer::{Applied, Batch};

/// How a daemon begins to say it (behaviour.md 7.2).
const WORDS: [&str; 2] = [
    "ERROR: daemon refused to receive file \"",
    "ERROR: daemon refused to receive directory \"",
];

/// What it adds about a directory.
const SKIPPING: &str = "*** Skipping any contents from this failed directory ***";

/// Takes the refusals of names in `batch` out of a session's errors, into [`Applied::refused`]. When nothing else went
/// wrong, what is not refused has been done.
pub(super) fn take_refusals(applied: &mut Applied, batch: &Batch) {
    if !applied
        .errors
        .iter()
        .any(|line| refused_name(line).is_some())
    {
        return;
    }
    // The text is for people: what is not exactly a name of ours stays a failure.
    let names: HashMap<String, &Path> = batch
        .items
        .iter()
        .map(|item| (item.path.display().to_string(), item.path.as_path()))
        .collect();
    let mut refused = HashMap::new();
    applied.errors.retain(|line| {
        let path = refused_name(line).and_then(|name| names.get(name));
        if let Some(path) = path {
            refused.insert((*path).to_owned(), line.clone());
        }
        path.is_none()
    });
    applied.errors.retain(|line| line != SKIPPING);
    let is_refused = |path: &Path| path.ancestors().any(|above| refused.contains_key(above));
    let paths = batch.items.iter().map(|item| &item.path);
    applied
        .failed
        .extend(paths.filter(|path| is_refused(path)).cloned());
    applied.refused.extend(refused);
}

fn refused_name(line: &str) -> Option<&str> {
    WORDS
        .iter()
        .find_map(|words| line.strip_prefix(words)?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use transfer::Item;
    use tree::Meta;

    use super::*;

    fn batch(paths: &[&str]) -> Batch {
        let meta: Meta = tree::Root::open(Path::new("/"))
            .and_then(|root| root.lstat(Path::new("")))
            .unwrap()
            .unwrap();
        let item = |path: &&str| Item {
            path: PathBuf::from(path),
            meta,
            target: None,
        };
        Batch {
            items: paths.iter().map(item).collect(),
            ..Batch::default()
        }
    }

    fn applied(errors: &[&str]) -> Applied {
        Applied {
            errors: errors.iter().map(|line| (*line).to_owned()).collect(),
            ..Applied::default()
        }
    }

    #[test]
    fn refusals_are_no_failures() {
        let mut told = applied(&[
            "ERROR: daemon refused to receive file \"a.secret\"",
            "ERROR: daemon refused to receive directory \"x\"",
            SKIPPING,
        ]);
        take_refusals(&mut told, &batch(&["", "a.secret", "ok", "x", "x/y"]));
        assert_eq!(told.refused.len(), 2);
        assert!(told.is_clean());
        let failed = ["a.secret", "x", "x/y"].map(PathBuf::from).into();
        assert_eq!(told.failed, failed);
    }

    #[test]
    fn what_else_is_said_stays_an_error() {
        let lines = [
            "mkstemp \".f.x\" failed: No space left on device",
            "ERROR: daemon refused to receive file \"unknown\"",
        ];
        let mut told = applied(&lines);
        take_refusals(&mut told, &batch(&["f"]));
        assert!(told.refused.is_empty());
        assert_eq!(told.errors, lines);
    }
}
