//! A batch applied to a directory of this machine: no protocol, and the kernel moves the bytes.

mod attributes;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tree::{Identity, Kind, Meta, Root, Which, Xattrs};

pub(crate) use self::attributes::is_mirrored;
use self::attributes::match_attributes;
use crate::batch::{Applied, Batch, Item, Progress};
use crate::link::Cancel;
use crate::source::same_content;
use crate::{Error, Rights};

/// What an application of batches to a local replica works with.
pub struct LocalReplica<'a> {
    /// Where contents are read.
    pub source: &'a Root,
    /// Where they are written.
    pub replica: &'a Root,
    /// Whether a name of the replica is to stay although the source does not have it.
    pub protects: &'a dyn Fn(&Path, bool) -> bool,
    /// A directory of the replica that keeps what is overwritten or removed.
    pub trash: Option<&'a Path>,
    /// What this process may set.
    pub rights: &'a Rights,
    /// Looked at between files, and within large ones.
    pub cancel: &'a Cancel,
}

impl LocalReplica<'_> {
    /// Applies `batch`. The failure of one path is noted in the result and does not stop the others.
    ///
    /// # Errors
    /// A full disk and a cancellation, which would stop all others too. Nothing half-written is left behind.
    pub fn apply(
        &self,
        batch: &Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Interrupted> {
        let mut run = Run {
            place: self,
            batch,
            progress,
            leaders: HashMap::new(),
            former_names: batch
                .renamed
                .iter()
                .map(|renamed| (renamed.new.as_path(), &renamed.old))
                .collect(),
            needed: batch
                .renamed
                .iter()
                .flat_map(|renamed| renamed.old.path.ancestors())
                .collect(),
            late: Vec::new(),
            applied: Applied::default(),
        };
        match run.carry_out() {
            Ok(()) => Ok(run.applied),
            Err(error) => Err(Interrupted {
                error,
                amended: run.applied.amended,
            }),
        }
    }
}

/// A batch that was not carried out to its end.
#[derive(Debug)]
pub struct Interrupted {
    /// Why.
    pub error: Error,
    /// What the replica holds another version of than before.
    pub amended: HashSet<PathBuf>,
}

struct Run<'a, 'p> {
    place: &'a LocalReplica<'a>,
    batch: &'a Batch,
    progress: &'p mut dyn FnMut(Progress),
    /// The first name of each file with several, which the others are linked to.
    leaders: HashMap<Identity, PathBuf>,
    /// What the replica holds of renamed files, by their new names.
    former_names: HashMap<&'a Path, &'a Item>,
    /// Those former names, and all directories above them.
    needed: HashSet<&'a Path>,
    /// What is removed at the end, because renamed files are found at or below it.
    late: Vec<PathBuf>,
    applied: Applied,
}

impl Run<'_, '_> {
    fn carry_out(&mut self) -> Result<(), Error> {
        let (batch, run) = (self.batch, self);
        for path in &batch.gone {
            run.noting(path, |run| run.remove_in_time(path))?;
        }
        for item in &batch.items {
            run.noting(&item.path, |run| run.bring(item))?;
        }
        for path in std::mem::take(&mut run.late) {
            run.noting(&path, |run| run.remove(&path))?;
        }
        run.applied.removed = batch
            .gone
            .iter()
            .filter(|path| !run.applied.failed.contains(*path))
            .cloned()
            .collect();
        // What a directory holds changes its times, so they are set when all is done, and the deepest first.
        for item in batch
            .items
            .iter()
            .rev()
            .filter(|item| item.meta.kind == Kind::Dir)
        {
            run.noting(&item.path, |run| run.finish_directory(item))?;
        }
        Ok(())
    }

    /// Does something to one path, and notes its failure unless it is everybody's.
    fn noting(
        &mut self,
        path: &Path,
        act: impl FnOnce(&mut Self) -> Result<(), tree::Error>,
    ) -> Result<(), Error> {
        if self.place.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match act(self) {
            Ok(()) => Ok(()),
            Err(error) if error.is_no_space() => Err(error.into()),
            Err(_) if self.place.cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) => {
                self.applied.errors.push(error.to_string());
                self.applied.failed.insert(path.to_owned());
                Ok(())
            }
        }
    }

    fn bring(&mut self, item: &Item) -> Result<(), tree::Error> {
        let existing = self.place.replica.lstat(&item.path)?;
        match item.meta.kind {
            Kind::Dir => self.directory(item, existing),
            _ => {
                if existing.is_some_and(|existing| existing.kind == Kind::Dir) {
                    self.remove(&item.path)?;
                }
                let existing = existing.filter(|existing| existing.kind != Kind::Dir);
                if self.link_to_leader(item, existing.as_ref())? {
                    return Ok(());
                }
                match item.meta.kind {
                    Kind::File => self.file(item, existing)?,
                    _ => self.special(item, existing)?,
                }
                // What has not come, or came as something else, is nothing to link other names to.
                if let Some(group) = item.meta.link_group()
                    && !self.applied.changed.contains(&item.path)
                {
                    self.leaders
                        .entry(group)
                        .or_insert_with(|| item.path.clone());
                }
                Ok(())
            }
        }
    }

    fn directory(&mut self, item: &Item, existing: Option<Meta>) -> Result<(), tree::Error> {
        let replica = self.place.replica;
        match existing {
            Some(existing) if existing.kind == Kind::Dir => {
                if !self.place.rights.is_privileged() && existing.mode & 0o700 != 0o700 {
                    let usable = Meta {
                        mode: existing.mode | 0o700,
                        ..existing
                    };
                    replica.set_meta(&item.path, &usable, Which::MODE, &existing)?;
                }
                if self.batch.whole.contains(&item.path) {
                    self.remove_what_is_too_much(&item.path)?;
                }
            }
            other => {
                if other.is_some() {
                    replica.remove_file(&item.path)?;
                }
                replica.mkdir(&item.path, 0o700)?;
            }
        }
        Ok(())
    }

    /// Removes the names of a directory listed whole that are not in the list.
    fn remove_what_is_too_much(&mut self, dir: &Path) -> Result<(), tree::Error> {
        for entry in self.place.replica.read_dir(dir)? {
            let path = dir.join(&entry.name);
            if self.batch.item(&path).is_none() {
                self.remove_in_time(&path)?;
                // What is protected has a right to be there.
                let goes_later = self.late.last() == Some(&path);
                if goes_later || self.place.replica.lstat(&path)?.is_none() {
                    self.applied.extra.push(path);
                }
            }
        }
        Ok(())
    }

    fn remove_in_time(&mut self, path: &Path) -> Result<(), tree::Error> {
        if self.needed.contains(path) {
            self.late.push(path.to_owned());
            return Ok(());
        }
        self.remove(path)
    }

    fn finish_directory(&mut self, item: &Item) -> Result<(), tree::Error> {
        match self.place.replica.lstat(&item.path)? {
            Some(now) if now.kind == Kind::Dir => self.set_meta(item, &now),
            // It could not be made; that has been noted.
            _ => Ok(()),
        }
    }

    /// Links a further name of a file to its first one. True if that was all there was to do.
    fn link_to_leader(
        &mut self,
        item: &Item,
        existing: Option<&Meta>,
    ) -> Result<bool, tree::Error> {
        let Some(group) = item.meta.link_group() else {
            return Ok(false);
        };
        let Some(leader) = self.leaders.get(&group) else {
            return Ok(false);
        };
        let replica = self.place.replica;
        let Some(leading) = replica.lstat(leader)? else {
            return Ok(false);
        };
        if existing.is_none_or(|existing| existing.identity() != leading.identity()) {
            replica.hard_link(leader, &item.path)?;
        }
        Ok(true)
    }

    fn file(&mut self, item: &Item, existing: Option<Meta>) -> Result<(), tree::Error> {
        let (source, opened) = match self.place.source.open_regular(&item.path) {
            Err(error) if error.is_overtaken() || self.is_another(item) => {
                self.applied.changed.insert(item.path.clone());
                return Ok(());
            }
            opened => opened?,
        };
        if !opened.unchanged_since(&item.meta) {
            self.applied.changed.insert(item.path.clone());
        }
        if let Some(existing) = existing
            && self.is_held(item, &existing)?
        {
            return self.set_meta(item, &existing);
        }
        if existing.is_none() && self.rename(item)? {
            return Ok(());
        }
        let mut temp = self.place.replica.temp_file(&item.path)?;
        let cancel = self.place.cancel;
        let (progress, applied) = (&mut self.progress, &mut self.applied);
        let mut told = 0;
        let copied = tree::copy_keeping_holes(
            &source,
            temp.file(),
            opened.size,
            &|| cancel.is_cancelled(),
            &mut |so_far| {
                progress(Progress::Bytes(so_far - told));
                told = so_far;
            },
        );
        match copied {
            Ok(bytes) => applied.bytes += bytes,
            Err(error) => return Err(error.at(&item.path, &item.path).unwrap_or_else(cancelled)),
        }
        if !self
            .place
            .source
            .lstat(&item.path)?
            .is_some_and(|after| after.unchanged_since(&opened))
        {
            self.applied.changed.insert(item.path.clone());
        }
        let given = Xattrs::of_file(&source, &item.path)?;
        match_attributes(&given, &temp.xattrs()?, self.place.rights.is_privileged())?;
        if existing.is_some() {
            self.keep_in_trash(&item.path)?;
        }
        temp.commit_unseen(&opened, self.place.rights.settable(&opened))?;
        self.applied.files += 1;
        self.applied.amended.insert(item.path.clone());
        (self.progress)(Progress::File);
        Ok(())
    }

    /// Whether something of another type has taken an item's place in the source.
    fn is_another(&self, item: &Item) -> bool {
        let now = self.place.source.lstat(&item.path);
        now.is_ok_and(|now| now.is_none_or(|now| now.kind != item.meta.kind))
    }

    /// Gives a file of the replica its new name. False if what is there is not the file that was renamed.
    fn rename(&mut self, item: &Item) -> Result<bool, tree::Error> {
        let Some(old) = self.former_names.get(item.path.as_path()) else {
            return Ok(false);
        };
        let replica = self.place.replica;
        let Some(existing) = replica.lstat(&old.path)? else {
            return Ok(false);
        };
        // The rename itself has changed the ctime, as a change of the content would have.
        let same_size_and_time = existing.kind == Kind::File
            && existing.nlink == 1
            && (existing.size, existing.mtime) == (item.meta.size, item.meta.mtime);
        if !same_size_and_time
            || (!item.meta.unchanged_since(&old.meta) && !self.has_same_content(item, &old.path)?)
        {
            return Ok(false);
        }
        replica.rename(&old.path, &item.path)?;
        self.set_meta(item, &existing)?;
        Ok(true)
    }

    /// Whether the replica has this content already; with another time, contents of equal length are compared, for
    /// that ends at the first difference and a mere touch should not rewrite a large file. A file that shares its
    /// inode there, but not in the source, is written anew, or the next change would reach its other names.
    fn is_held(&self, item: &Item, existing: &Meta) -> Result<bool, tree::Error> {
        let may_be = existing.kind == Kind::File
            && existing.size == item.meta.size
            && (existing.nlink > 1) <= (item.meta.nlink > 1);
        let is_certain = existing.mtime == item.meta.mtime && !self.batch.exact;
        Ok(may_be && (is_certain || self.has_same_content(item, &item.path)?))
    }

    fn has_same_content(&self, item: &Item, held_as: &Path) -> Result<bool, tree::Error> {
        let source = self.place.source.open_file(&item.path)?;
        let replica = self.place.replica.open_file(held_as)?;
        same_content(&source, &replica, item.meta.size)
            .map_err(|cause| tree::Error::new("compare", &item.path, cause))
    }

    fn special(&mut self, item: &Item, existing: Option<Meta>) -> Result<(), tree::Error> {
        let replica = self.place.replica;
        let is_there = match &existing {
            Some(existing) if existing.kind != item.meta.kind => false,
            // What is set here would reach its other names, which the source no longer has as such.
            Some(existing) if existing.nlink > 1 && item.meta.nlink <= 1 => false,
            Some(_) if item.meta.kind == Kind::Symlink => {
                Some(replica.read_link(&item.path)?) == item.target
            }
            Some(existing) => existing.rdev == item.meta.rdev,
            None => false,
        };
        if !is_there {
            if existing.is_some() {
                self.keep_in_trash(&item.path)?;
            }
            self.applied.amended.insert(item.path.clone());
            match &item.target {
                Some(target) => replica.symlink(&item.path, target)?,
                None => {
                    replica.mknod(&item.path, item.meta.kind, item.meta.mode, item.meta.rdev)?;
                }
            }
        }
        match replica.lstat(&item.path)? {
            Some(now) => self.set_meta(item, &now),
            None => Ok(()),
        }
    }

    fn set_meta(&mut self, item: &Item, now: &Meta) -> Result<(), tree::Error> {
        let which = self.place.rights.settable(&item.meta);
        if self
            .place
            .replica
            .set_meta(&item.path, &item.meta, which, now)?
        {
            self.applied.amended.insert(item.path.clone());
        }
        let is_bare = |root: &Root| root.surely_lacks_xattrs(&item.path);
        if !matches!(item.meta.kind, Kind::File | Kind::Dir)
            || is_bare(self.place.source) && is_bare(self.place.replica)
        {
            return Ok(());
        }
        let source = match self.place.source.xattrs(&item.path, item.meta.kind) {
            Err(error) if error.is_overtaken() => {
                self.applied.changed.insert(item.path.clone());
                return Ok(());
            }
            source => source?,
        };
        let replica = self.place.replica.xattrs(&item.path, item.meta.kind)?;
        if match_attributes(&source, &replica, self.place.rights.is_privileged())? {
            self.applied.amended.insert(item.path.clone());
        }
        Ok(())
    }

    /// Gives what is about to be overwritten a second name in the trash.
    fn keep_in_trash(&self, path: &Path) -> Result<(), tree::Error> {
        let Some(kept) = self.name_in_trash(path)? else {
            return Ok(());
        };
        match self.place.replica.hard_link(path, &kept) {
            Err(error) if error.vanished() => Ok(()),
            linked => linked,
        }
    }

    /// Moves what is to be removed to the trash, but for what is protected. Directories are only emptied.
    fn move_to_trash(&self, path: &Path) -> Result<(), tree::Error> {
        let replica = self.place.replica;
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let Some(meta) = replica.lstat(&path)? else {
                continue;
            };
            if (self.place.protects)(&path, meta.is_dir()) {
                continue;
            }
            if meta.is_dir() {
                let names = replica.read_dir(&path)?;
                stack.extend(names.iter().map(|entry| path.join(&entry.name)));
            } else if let Some(kept) = self.name_in_trash(&path)? {
                replica.rename(&path, &kept)?;
            }
        }
        Ok(())
    }

    /// The free name of a path in the trash, whose directory is made; none if there is no trash.
    fn name_in_trash(&self, path: &Path) -> Result<Option<PathBuf>, tree::Error> {
        let Some(trash) = self.place.trash else {
            return Ok(None);
        };
        let replica = self.place.replica;
        let kept = trash.join(path);
        let above: Vec<&Path> = kept.ancestors().skip(1).collect();
        for dir in above
            .into_iter()
            .rev()
            .filter(|dir| !dir.as_os_str().is_empty())
        {
            match replica.lstat(dir)? {
                Some(meta) if meta.is_dir() => {}
                Some(_) => {
                    replica.remove_file(dir)?;
                    replica.mkdir(dir, 0o700)?;
                }
                None => replica.mkdir(dir, 0o700)?,
            }
        }
        match replica.lstat(&kept)? {
            Some(meta) if meta.is_dir() => {
                let mut keep = |_: &Path, _: bool| false;
                replica.remove_tree(&kept, &mut keep, &mut |_, _| {})?;
            }
            Some(_) => replica.remove_file(&kept)?,
            None => {}
        }
        Ok(Some(kept))
    }

    /// Removes a name with everything below it, but for what is protected and the directories above that.
    fn remove(&mut self, path: &Path) -> Result<(), tree::Error> {
        let protects = self.place.protects;
        let is_dir = self
            .place
            .replica
            .lstat(path)?
            .is_some_and(|meta| meta.is_dir());
        if protects(path, is_dir) {
            return Ok(());
        }
        if self.place.trash.is_some() {
            self.move_to_trash(path)?;
        }
        let mut keep = |path: &Path, is_dir: bool| protects(path, is_dir);
        let removal = self
            .place
            .replica
            .remove_tree(path, &mut keep, &mut |_, _| {})?;
        removal.errors.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Stands for a cancellation until [`Run::noting`] sees it.
fn cancelled() -> tree::Error {
    tree::Error::new(
        "copy",
        "",
        std::io::Error::from(std::io::ErrorKind::Interrupted),
    )
}
