//! The rules as they stand in one directory, with its merge files and those of its parents (behaviour 5.4).

use std::sync::Arc;

use crate::error::{Error, Title};
use crate::load::{DirMerge, Entry, Loader, MergeFile, MergeFiles};
use crate::rule::{Anchor, Syntax, join};
use crate::rules::{Item, Rules, Side, Verdict, parents};

/// The rules in force for the content of one directory.
///
/// A scope is a value: entering a directory makes a new one and leaves the old one as it was, so a scan may keep one
/// for every directory it has not finished, in any order and on any thread. Without per-directory rules it is a
/// reference count.
#[derive(Debug, Clone)]
pub struct Scope {
    rules: Arc<Rules>,
    side: Side,
    /// Absolute; the root of a module stands for `/` in a daemon.
    root: Arc<[u8]>,
    ignores_perishable: bool,
    level: Option<Arc<Level>>,
}

impl Scope {
    /// Before the first directory is entered. `root` is the absolute path of what names are relative to; seen from a
    /// daemon's client the module's root is `/`.
    pub fn new(rules: Arc<Rules>, side: Side, root: &[u8]) -> Self {
        Scope {
            rules,
            side,
            root: root.into(),
            ignores_perishable: false,
            level: None,
        }
    }

    /// The same rules as they count while the receiver empties a directory that is itself deleted: without the
    /// perishable ones.
    #[must_use]
    pub fn while_emptying(&self) -> Self {
        Scope {
            ignores_perishable: true,
            ..self.clone()
        }
    }

    /// The scope of the content of `dir`, whose parent directory is the one of this scope; the root is empty or `.`.
    ///
    /// Its merge files are read. On the first call so are those in directories above it that a rule's name reaches
    /// for, as `: /.rsync-filter` does.
    ///
    /// # Errors
    /// Those of the rules in the files: [`Error::Syntax`], and [`Error::Unreadable`] if reading fails.
    pub fn enter(&self, dir: &[u8], files: &mut dyn MergeFiles) -> Result<Self, Error> {
        let dir = if dir == b"." { b"" } else { dir };
        let mut active: Vec<Arc<DirMerge>> = match &self.level {
            Some(level) => level.lists.iter().map(|list| list.merge.clone()).collect(),
            None => self.relevant(self.rules.dir_merges()).collect(),
        };
        let inherited = active.len();
        let mut level = Level {
            parent: self.level.clone(),
            lists: Vec::new(),
            warnings: Vec::new(),
        };
        // A merge file may name further ones, which are then read here too.
        while let Some(merge) = active.get(level.lists.len()).cloned() {
            let is_new = self.level.is_none() || level.lists.len() >= inherited;
            let list = self.read_list(dir, &merge, &active, is_new, files, &mut level.warnings)?;
            active.extend(self.relevant(list.entries.iter().filter_map(Entry::dir_merge)));
            level.lists.push(list);
        }
        let level = if level.lists.is_empty() {
            None
        } else {
            Some(Arc::new(level))
        };
        Ok(Scope {
            level,
            ..self.clone()
        })
    }

    /// The files to be read. Those of rules with a head are read on either side, so that a fault in them ends the run
    /// wherever it is seen first.
    fn relevant<'a>(
        &self,
        merges: impl Iterator<Item = &'a Arc<DirMerge>>,
    ) -> impl Iterator<Item = Arc<DirMerge>> {
        merges
            .filter(|merge| {
                merge.rule.template.syntax == Syntax::Prefixed
                    || self.rules.is_merge_for(merge, self.side)
            })
            .cloned()
    }

    /// What the rules say about `path`, an item of this scope's directory named from the root of the transfer,
    /// without leading or trailing slash.
    pub fn check(&self, path: &[u8], is_dir: bool) -> Verdict<'_> {
        let item = Item {
            path,
            is_dir,
            is_xattr: false,
            side: self.side,
            ignores_perishable: self.ignores_perishable,
            root: &self.root,
        };
        self.rules.verdict(&item, self.level.as_deref())
    }

    /// Is `path` or any of its parents excluded? This scope must be the one of the root's content; the merge files of
    /// the directories on the way are read.
    ///
    /// # Errors
    /// As [`Scope::enter`].
    pub fn excluded_with_parents(
        &self,
        path: &[u8],
        is_dir: bool,
        files: &mut dyn MergeFiles,
    ) -> Result<bool, Error> {
        let mut scope = self.clone();
        for dir in parents(path) {
            if scope.check(dir, true).is_excluded() {
                return Ok(true);
            }
            scope = scope.enter(dir, files)?;
        }
        Ok(scope.check(path, is_dir).is_excluded())
    }

    /// The rules of this directory's own files that were left out, each with its message.
    pub fn warnings(&self) -> &[Error] {
        self.level.as_deref().map_or(&[], |level| &level.warnings)
    }

    fn read_list(
        &self,
        dir: &[u8],
        merge: &Arc<DirMerge>,
        known: &[Arc<DirMerge>],
        is_new: bool,
        files: &mut dyn MergeFiles,
        warnings: &mut Vec<Error>,
    ) -> Result<PerDirectory, Error> {
        let mut read = |anchor: Anchor| self.read_file(merge, anchor, known, files, warnings);
        let (mut entries, mut cleared) = read(Anchor::Directory(dir.into()))?;
        if is_new && merge.rule.inherited {
            for above in directories_above(&merge.rule.name, &join(&self.root, dir))
                .into_iter()
                .rev()
            {
                if cleared {
                    break;
                }
                let (more, stop) = read(Anchor::Above(above.into()))?;
                entries.extend(more);
                cleared = stop;
            }
        }
        let inherits = merge.rule.inherited && !cleared;
        Ok(PerDirectory {
            merge: merge.clone(),
            entries,
            inherits,
        })
    }

    /// The rules of one file, and whether it drops those of the directories above.
    fn read_file(
        &self,
        merge: &DirMerge,
        anchor: Anchor,
        known: &[Arc<DirMerge>],
        files: &mut dyn MergeFiles,
        warnings: &mut Vec<Error>,
    ) -> Result<(Vec<Entry>, bool), Error> {
        let (path, read) = match &anchor {
            Anchor::Above(dir) => {
                let path = join(dir, merge.rule.basename());
                let read = files.read(MergeFile::Above(&path));
                (path, read)
            }
            Anchor::Directory(dir) => {
                let path = join(dir, merge.rule.basename());
                let read = files.read(MergeFile::InTree(&path));
                (join(&self.root, &path), read)
            }
            Anchor::Root => return Ok((Vec::new(), false)),
        };
        let title = if merge.is_named_by_file {
            Title::Phrase("a file read earlier".to_owned())
        } else {
            Title::Name(String::from_utf8_lossy(&path).into_owned())
        };
        let Some(text) = read.map_err(|cause| Error::Unreadable {
            action: merge.rule.template.action(),
            file: title.to_string(),
            cause: Some(cause),
        })?
        else {
            return Ok((Vec::new(), false));
        };
        let mut loader = Loader::new(&self.rules.options, files);
        loader.anchor = anchor;
        loader.known = known;
        loader.text(&text, &merge.rule.template, &title)?;
        warnings.append(&mut loader.warnings);
        Ok((loader.entries, loader.cleared))
    }
}

/// The merge files of one directory.
#[derive(Debug)]
pub(crate) struct Level {
    parent: Option<Arc<Level>>,
    /// One for each file that is looked for, found or not.
    lists: Vec<PerDirectory>,
    warnings: Vec<Error>,
}

#[derive(Debug)]
pub(crate) struct PerDirectory {
    pub merge: Arc<DirMerge>,
    pub entries: Vec<Entry>,
    /// Do the rules of the directory above follow?
    inherits: bool,
}

impl Level {
    /// The rules of this merge file, nearest directory first.
    pub(crate) fn lists_of<'a>(
        &'a self,
        merge: &'a Arc<DirMerge>,
    ) -> impl Iterator<Item = &'a PerDirectory> {
        let in_level = move |level: &'a Level| {
            level
                .lists
                .iter()
                .find(|list| Arc::ptr_eq(&list.merge, merge))
        };
        let mut level = Some(self);
        std::iter::from_fn(move || {
            let list = in_level(level?)?;
            level = if list.inherits {
                level?.parent.as_deref()
            } else {
                None
            };
            Some(list)
        })
    }
}

/// The directories from the one that `name` reaches for down to the parent of `dir`, which is absolute.
fn directories_above<'a>(name: &[u8], dir: &'a [u8]) -> Vec<&'a [u8]> {
    let Some(slash) = name.iter().rposition(|&byte| byte == b'/') else {
        return Vec::new();
    };
    let start = &name[..=slash];
    let start = components(&if start.starts_with(b"/") {
        start.to_vec()
    } else {
        join(dir, start)
    });
    let here = components(dir);
    if start.len() >= here.len() || here[..start.len()] != start {
        return Vec::new();
    }
    let root = b"/".as_slice();
    let all = std::iter::once(root).chain(parents(dir).filter(|parent| !parent.is_empty()));
    all.skip(start.len()).collect()
}

/// The components of an absolute path, `.` and `..` resolved by name.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let mut components: Vec<Vec<u8>> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component.to_vec()),
        }
    }
    components
}
