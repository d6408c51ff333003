//! A replica in a directory of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use transfer::{Applied, Batch, Cancel, Interrupted, LocalReplica, Progress, Rights};
use tree::{Kind, Root};

use super::{Broken, Destination, trash_of_today};
use crate::planner::Abilities;
use crate::settings::ReplicaSettings;
use crate::source::Source;

/// A replica below an open directory.
pub(crate) struct DirectoryReplica {
    source: Arc<Source>,
    replica: Root,
    deletes: bool,
    trash: Option<String>,
    rights: Rights,
    cancel: Cancel,
}

impl DirectoryReplica {
    pub(crate) fn open(
        source: Arc<Source>,
        path: &Path,
        settings: &ReplicaSettings,
        cancel: Cancel,
    ) -> Result<Self, tree::Error> {
        let replica = Root::create(path)?;
        Ok(Self {
            source,
            replica,
            deletes: settings.deletes,
            trash: settings.trash.clone(),
            rights: Rights::of_this_process(),
            cancel,
        })
    }
}

impl Destination for DirectoryReplica {
    fn prepare(&mut self) -> Result<Abilities, transfer::Error> {
        Ok(Abilities::ALL)
    }

    fn apply(
        &mut self,
        batch: &Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        let source = self.source.root();
        let trash = self.trash.as_deref().map(trash_of_today).map(PathBuf::from);
        let place = LocalReplica {
            source: &source,
            replica: &self.replica,
            protects: &|path, is_dir| !self.deletes || self.source.protects(path, is_dir),
            trash: trash.as_deref(),
            rights: &self.rights,
            cancel: &self.cancel,
        };
        // A file is written beside its name and put in its place complete. But the ledger does not know of it, and the
        // next version may look like this one.
        place
            .apply(batch, progress)
            .map_err(|Interrupted { error, amended }| Broken {
                error,
                touched: amended,
                began: true,
            })
    }

    fn is_empty(&mut self) -> Result<bool, transfer::Error> {
        for entry in self.replica.read_dir(Path::new(""))? {
            let path = Path::new(&entry.name);
            let is_dir = self
                .replica
                .lstat(path)?
                .is_some_and(|meta| meta.kind == Kind::Dir);
            if !self.source.protects(path, is_dir) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn count_removals(&mut self, batch: &Batch, enough: u64) -> Result<u64, transfer::Error> {
        let mut stack: Vec<PathBuf> = batch.gone.clone();
        for dir in &batch.whole {
            match self.replica.read_dir(dir) {
                Ok(names) => {
                    let paths = names.iter().map(|entry| dir.join(&entry.name));
                    stack.extend(paths.filter(|path| batch.item(path).is_none()));
                }
                // What is not there yet has nothing in it.
                Err(error) if error.vanished() || error.is_confined() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut removals = 0;
        while let Some(path) = stack.pop().filter(|_| removals < enough) {
            let is_dir = match self.replica.lstat(&path) {
                Ok(Some(meta)) => meta.is_dir(),
                _ => continue,
            };
            if self.source.protects(&path, is_dir) {
                continue;
            }
            removals += 1;
            if is_dir {
                let names = self.replica.read_dir(&path)?;
                stack.extend(names.iter().map(|entry| path.join(&entry.name)));
            }
        }
        Ok(removals)
    }

    fn deletes(&self) -> bool {
        self.deletes
    }
}
