//! The directories above everything in a batch: a session changes their times, and must be told the right ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use transfer::{Batch, Item};
use tree::{Kind, Meta};

use super::draft::DraftItem;
use super::{Errand, Note, PlanError};
use crate::ledger::Ledger;
use crate::source::Source;

/// Makes a batch of items by adding the directories above them.
pub(super) struct Parents<'a> {
    source: &'a Source,
    ledger: &'a Ledger,
    seen: HashMap<PathBuf, Option<Above>>,
}

/// A directory above something.
#[derive(Clone, Copy)]
struct Above {
    meta: Meta,
    whole: bool,
}

impl<'a> Parents<'a> {
    pub(super) fn new(source: &'a Source, ledger: &'a Ledger) -> Self {
        Self {
            source,
            ledger,
            seen: HashMap::new(),
        }
    }

    /// The errand of `items` and `gone`, less what has lost the directory it was in.
    pub(super) fn complete(
        &mut self,
        items: Vec<DraftItem>,
        gone: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Errand, PlanError> {
        let noted = |DraftItem { mut item, note, .. }| {
            if item.meta.is_dir() {
                self.refresh(&mut item)?;
            }
            Ok((item.path.clone(), (item, note)))
        };
        let mut all = items
            .into_iter()
            .map(noted)
            .collect::<Result<BTreeMap<_, _>, PlanError>>()?;
        let mut missing = HashSet::new();
        for path in first_of_each_row(all.keys()) {
            if !self.add_above(&path, &mut all)? {
                missing.extend(path.parent().map(Path::to_owned));
            }
        }
        if !missing.is_empty() {
            let is_there = |path: &Path| path.parent().is_none_or(|dir| !missing.contains(dir));
            all.retain(|path, _| is_there(path));
        }
        let mut kept = Vec::new();
        for path in gone {
            if self.add_above(&path, &mut all)? {
                kept.push(path);
            }
        }
        let (items, notes) = all.into_values().unzip();
        Ok(Errand {
            batch: Batch {
                items,
                gone: kept,
                ..Batch::default()
            },
            notes,
        })
    }

    /// Takes the stat of a directory anew, now that what is in it has been looked at. Whatever came into it meanwhile may be in
    /// the batch already, and its own hint then leads to nothing, not even to the directory's new time.
    fn refresh(&self, dir: &mut Item) -> Result<(), PlanError> {
        if let Some(now) = self.source.lstat(&dir.path)?
            && now.file_id() == dir.meta.file_id()
        {
            dir.meta = now;
        }
        Ok(())
    }

    /// Adds the directories above `path`. False if one of them is gone meanwhile: then there is no place for
    /// `path` either, and the event of that removal leads to another look.
    fn add_above(
        &mut self,
        path: &Path,
        all: &mut BTreeMap<PathBuf, (Item, Note)>,
    ) -> Result<bool, PlanError> {
        for dir in path.ancestors().skip(1) {
            match all.get(dir) {
                Some((item, _)) if item.meta.kind == Kind::Dir => {}
                Some(_) => return Ok(false),
                None => {
                    let Some(Above { meta, whole }) = self.look_up(dir)? else {
                        return Ok(false);
                    };
                    let item = Item {
                        path: dir.to_owned(),
                        meta,
                        target: None,
                    };
                    all.insert(
                        dir.to_owned(),
                        (
                            item,
                            Note {
                                doubtful: false,
                                whole,
                                is_update: false,
                                is_elsewhere: false,
                            },
                        ),
                    );
                }
            }
        }
        Ok(true)
    }

    /// What is known of a directory above something, looked up once; `None` if there is none any more.
    fn look_up(&mut self, dir: &Path) -> Result<Option<Above>, PlanError> {
        if let Some(known) = self.seen.get(dir) {
            return Ok(*known);
        }
        let above = match self
            .source
            .lstat(dir)?
            .filter(|meta| meta.kind == Kind::Dir)
        {
            Some(meta) => Some(Above {
                meta,
                whole: self.ledger.held(dir)?.is_some_and(|held| held.whole),
            }),
            None => None,
        };
        self.seen.insert(dir.to_owned(), above);
        Ok(above)
    }
}

/// What is in one directory comes in rows: their first paths.
fn first_of_each_row<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> Vec<PathBuf> {
    let mut firsts = Vec::new();
    let mut dir = None;
    for path in paths {
        if dir != path.parent() {
            dir = path.parent();
            firsts.push(path.clone());
        }
    }
    firsts
}
