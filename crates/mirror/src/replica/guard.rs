//! Before a plan is carried out: is the source what it was, and may so much be deleted?

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tree::{FileId, Identity, Meta};

use super::{Failed, Replica, State};
use crate::Event;
use crate::brake::Brake;
use crate::ledger::{Confirmed, Held};
use crate::planner::Plan;

/// So long nobody must have removed anything before what is missing without a hint counts as deleted unseen.
const SILENCE: Duration = Duration::from_secs(3);

impl Replica {
    pub(super) fn check_place(&self, state: &mut State) -> Result<(), Failed> {
        if self.source.is_in_place() {
            return Ok(());
        }
        state.source_is_plausible = false;
        Err(Failed::SourceGone)
    }

    /// Another directory in the source's place is more likely a mistake than the same data: a restored copy, or what
    /// is below a mount point.
    pub(super) fn guard_against_another_source(&mut self, state: &mut State) -> Result<(), Failed> {
        let identity = self.source.identity();
        if state.known_source == Some(identity) {
            return Ok(());
        }
        let root = Path::new("");
        if let Some(held) = self.ledger.held(root)?
            && let Some(meta) = self.source.lstat(root).map_err(transfer::Error::from)?
            && !is_same_root(&held.version, &meta)
            && self.ledger.holds_anything()?
        {
            if !state.is_approved {
                return Err(Failed::Braked(Brake::SourceReplaced));
            }
            let held = Held {
                version: meta,
                doubtful: false,
                whole: false,
            };
            self.ledger.confirm(&Confirmed {
                held: vec![(root.to_owned(), held)],
                ..Confirmed::default()
            })?;
        }
        state.known_source = Some(identity);
        Ok(())
    }

    /// An empty source where there was something is more likely an unmounted one.
    pub(super) fn guard_against_an_empty_source(
        &mut self,
        state: &mut State,
    ) -> Result<(), Failed> {
        if state.source_is_plausible || self.mode.allow_empty_source || state.is_approved {
            return Ok(());
        }
        let is_empty = self.source.is_empty().map_err(transfer::Error::from)?;
        if is_empty
            && self.destination.deletes()
            && (self.ledger.holds_anything()? || !self.destination.is_empty()?)
        {
            return Err(Failed::Braked(Brake::SourceEmpty));
        }
        state.source_is_plausible = true;
        Ok(())
    }

    /// The directories whose file system is not mounted any more: what is missing there was not deleted.
    pub(super) fn guard_unmounted(&mut self, state: &mut State) -> Result<Vec<PathBuf>, Failed> {
        let unmounted = self.unmounted(state)?;
        let Some(first) = unmounted.first() else {
            if matches!(state.brake, Some(Brake::Unmounted { .. })) {
                self.release(state);
            }
            return Ok(unmounted);
        };
        let brake = Brake::Unmounted {
            path: first.display().to_string(),
        };
        if self.mode.once {
            return Err(Failed::Braked(brake));
        }
        if matches!(state.brake, None | Some(Brake::Unmounted { .. })) {
            self.brake(state, brake);
        }
        Ok(unmounted)
    }

    /// A plan was made around what was `unmounted` before: is it still that?
    pub(super) fn check_mounts(&self, state: &State, unmounted: &[PathBuf]) -> Result<(), Failed> {
        match self.unmounted(state)? == unmounted {
            true => Ok(()),
            false => Err(Failed::Premature),
        }
    }

    fn unmounted(&self, state: &State) -> Result<Vec<PathBuf>, Failed> {
        if state.is_approved || self.mode.allow_empty_source || !self.destination.deletes() {
            return Ok(Vec::new());
        }
        let mut mounts = self.ledger.mounts()?;
        mounts.retain(|path| {
            let now = self.source.lstat(path).ok().flatten();
            now.is_some_and(|now| now.is_dir() && !now.is_mount)
        });
        Ok(mounts)
    }

    /// Takes the deletions out of a plan that has too many of them, and of all that follow until they are approved or a
    /// look at everything finds fewer.
    pub(super) fn guard_against_many_deletions(
        &mut self,
        state: &mut State,
        plan: &mut Plan,
        is_complete_look: bool,
    ) -> Result<(), Failed> {
        if state.is_approved || !self.destination.deletes() || self.mode.allow_empty_source {
            self.release(state);
            return Ok(());
        }
        let judged = self.judge(state, plan)?;
        let witnessed = plan.deletions.witnessed;
        if judged.is_some() && !is_complete_look && witnessed > 0 && !self.mode.once {
            // Somebody is removing a tree, and the hints of its files are still on their way.
            let (most, since) = state.witnessed.unwrap_or((0, Instant::now()));
            let since = match witnessed > most {
                true => Instant::now(),
                false => since,
            };
            if since.elapsed() < SILENCE {
                state.witnessed = Some((witnessed.max(most), since));
                return Err(Failed::Premature);
            }
        }
        state.witnessed = None;
        if let Some(brake) = judged {
            plan.withhold_deletions();
            if self.mode.once {
                return Err(Failed::Braked(brake));
            }
            self.brake(state, brake);
        } else if matches!(state.brake, Some(Brake::Unmounted { .. })) {
            // It holds back only what was there, and the plan has nothing of that.
        } else if is_complete_look && plan.postponed.is_empty() {
            self.release(state);
        } else if matches!(state.brake, Some(Brake::ManyDeletions { .. })) {
            plan.withhold_deletions();
        } else {
            // Whatever the reason was, it is gone: the plan was made.
            self.release(state);
        }
        Ok(())
    }

    /// Says why something is held back from now on. That only figures or names changed is no news.
    fn brake(&self, state: &mut State, brake: Brake) {
        let kind = std::mem::discriminant(&brake);
        let is_news = state.brake.as_ref().map(std::mem::discriminant) != Some(kind);
        state.brake = Some(brake.clone());
        self.board.note(|status| status.brake = Some(brake.clone()));
        if is_news {
            self.say(Event::Braked {
                replica: self.name.clone(),
                brake,
            });
        }
    }

    /// Whether a plan removes more than it may.
    fn judge(&mut self, state: &mut State, plan: &Plan) -> Result<Option<Brake>, Failed> {
        let limits = self.mode.brake;
        if plan.deletions.is_none() || limits.percent >= 100 {
            return Ok(None);
        }
        let mut deletions = plan.deletions.leaves;
        for dir in &plan.deletions.dirs {
            deletions += self.ledger.files_below(dir)?;
        }
        if plan.deletions.unknown && !self.began_empty(state)? {
            let batch = &plan.quick.batch;
            match self.destination.count_removals(batch, u64::MAX) {
                Ok(removals) => deletions = deletions.max(removals),
                Err(error) if error.can_pass() => return Err(error.into()),
                // The session itself will meet it, and deal with it.
                Err(_) => {}
            }
        }
        deletions = deletions.saturating_sub(plan.deletions.witnessed);
        if deletions < limits.files {
            return Ok(None);
        }
        // A renamed file is there under another name.
        deletions = deletions.saturating_sub(self.removed_names_of_kept_files(plan)?);
        let is_file = |item: &&transfer::Item| !item.meta.is_dir();
        let in_batch = plan.quick.batch.items.iter().filter(is_file).count() as u64;
        // Of a replica that the ledger does not know yet, what stays is at most what the source has.
        let held = match plan.deletions.unknown {
            true => self.ledger.files()?.max(in_batch) + deletions,
            false => self.ledger.files()?,
        };
        let is_exceeded = limits.are_exceeded_by(deletions, held);
        Ok(is_exceeded.then_some(Brake::ManyDeletions { deletions, held }))
    }

    /// How many of the names that a plan removes are of files that have, or get, another name at the replica.
    fn removed_names_of_kept_files(&self, plan: &Plan) -> Result<u64, Failed> {
        let errands = [&plan.quick, &plan.exact];
        let items = errands.iter().flat_map(|errand| &errand.batch.items);
        let files = items.filter(|item| !item.meta.is_dir());
        let coming: HashSet<FileId> = files.map(|item| item.meta.file_id()).collect();
        let gone = plan.quick.batch.gone.iter().chain(&plan.forgotten);
        let removed: HashSet<&Path> = gone.map(PathBuf::as_path).collect();
        let mut kept = 0;
        for path in &removed {
            for file in self.ledger.files_at(path)? {
                let is_kept = coming.contains(&file) || self.is_held_beside(file, &removed)?;
                kept += u64::from(is_kept);
            }
        }
        Ok(kept)
    }

    /// Whether the replica holds a file under a name that the source has too and that is not `removed`.
    fn is_held_beside(&self, file: FileId, removed: &HashSet<&Path>) -> Result<bool, Failed> {
        let Identity { dev, ino } = file.identity;
        let names = self.ledger.names_of(dev, ino)?;
        Ok(names.iter().any(|(name, held)| {
            held.version.file_id() == file
                && !name.ancestors().any(|above| removed.contains(above))
                && matches!(self.source.lstat(name), Ok(Some(now)) if now.file_id() == file)
        }))
    }

    /// Whether the replica had nothing in it when it was met for the first time: then all it has is from the source.
    fn began_empty(&mut self, state: &mut State) -> Result<bool, Failed> {
        if let Some(began_empty) = state.began_empty {
            return Ok(began_empty);
        }
        let began_empty = match self.ledger.holds_anything()? {
            true => false,
            false => match self.destination.is_empty() {
                Ok(is_empty) => is_empty,
                Err(error) if error.can_pass() => return Err(error.into()),
                Err(_) => true,
            },
        };
        state.began_empty = Some(began_empty);
        Ok(began_empty)
    }

    fn release(&mut self, state: &mut State) {
        if state.brake.take().is_some() {
            self.board.note(|status| status.brake = None);
            self.say(Event::Released {
                replica: self.name.clone(),
            });
        }
    }
}

/// Whether a root is the one that was known: device numbers may change with a reboot, an inode and its birth do not.
fn is_same_root(held: &Meta, now: &Meta) -> bool {
    let same_birth = match (held.btime, now.btime) {
        (Some(held), Some(now)) => held == now,
        _ => held.dev == now.dev,
    };
    held.ino == now.ino && same_birth
}
