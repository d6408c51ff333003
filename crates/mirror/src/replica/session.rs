//! A plan carried out: what goes to the destination, and what the ledger, the queue, the hooks and the operator learn of
//! how it went.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use transfer::{Applied, Batch, Item, Progress};
use tree::Meta;

use super::{Failed, Replica, State};
use crate::Event;
use crate::aftermath::{Looks, Reached};
use crate::destination::Broken;
use crate::dirty::{Look, Pace};
use crate::history::CHANGES_MAX;
use crate::hooks::{Change, ChangeKind};
use crate::ledger::{Confirmed, Held};
use crate::planner::{Errand, Note, Plan};
use crate::status::ReplicaStatus;

/// What a session has proved, and what it has left open.
#[derive(Default)]
struct Proven<'e> {
    confirmed: Confirmed,
    /// What is looked at again, and when.
    again: Vec<(PathBuf, Look, Pace)>,
    /// What the replica may have although no row tells.
    unknown: HashSet<PathBuf>,
    /// Names that the replica may have something else under, with all that was in it.
    trees: Vec<&'e Path>,
}

impl Replica {
    /// Applies both batches of a plan and confirms them. Returns what failed path by path, and leaves those paths
    /// waiting for a pause.
    pub(super) fn carry_out(
        &mut self,
        state: &mut State,
        plan: &mut Plan,
    ) -> Result<Vec<String>, Failed> {
        let pause = state.path_pause();
        let mut failures = Vec::new();
        let now = Instant::now();
        state.failed_path = plan.unreadable.first().map(|(path, _)| path.clone());
        for (path, reason) in plan.unreadable.drain(..) {
            failures.push(reason);
            self.queue
                .add(|dirty| dirty.add(path, Look::BELOW, Pace::Later(pause), now));
        }
        let mut forgotten = std::mem::take(&mut plan.forgotten);
        for errand in [&plan.quick, &plan.exact] {
            if errand.batch.is_empty() {
                continue;
            }
            let held = errand.expected_links(&self.ledger)?;
            if !held.is_empty() {
                self.ledger.confirm(&Confirmed {
                    held,
                    ..Confirmed::default()
                })?;
            }
            let gone = errand.batch.gone.iter().map(PathBuf::as_path);
            let unsettled = self.ledger.begin_session(
                errand.reach(),
                gone.chain(forgotten.iter().map(PathBuf::as_path)),
            )?;
            let (report, name) = (Arc::clone(&self.report), self.name.clone());
            let board = Arc::clone(&self.board);
            let mut progress = |progress: Progress| {
                board.progress(progress);
                report(Event::Progress {
                    replica: name.clone(),
                    progress,
                });
            };
            match self.destination.apply(&errand.batch, &mut progress) {
                Ok(applied) => {
                    self.note_drift(state, errand, &applied)?;
                    self.tell_changes(state, errand, &applied)?;
                    self.confirm(errand, &applied, &unsettled, &mut forgotten, pause)?;
                    self.note_standing(errand, &applied);
                    let removals = applied.removed.len();
                    self.board.session(
                        errand.updates().count() as u64,
                        removals as u64,
                        applied.bytes,
                    );
                    self.say(Event::Session {
                        replica: self.name.clone(),
                        updates: errand.updates().count(),
                        removals,
                        bytes: applied.bytes,
                        covered: errand.update_bytes(),
                    });
                    if state.failed_path.is_none() {
                        state.failed_path = failed_path(errand, &applied);
                    }
                    failures.extend(applied.errors);
                }
                Err(Broken {
                    error,
                    touched,
                    began,
                }) => {
                    self.after_a_broken_session(errand, &unsettled, &touched, began)?;
                    return Err(error.into());
                }
            }
        }
        if failures.is_empty() && !forgotten.is_empty() {
            self.ledger.confirm(&Confirmed {
                gone: forgotten,
                ..Confirmed::default()
            })?;
        }
        Ok(failures)
    }

    /// Writes what a session proved, and leaves the rest waiting. `forgotten` are the rows that end with it. Paths are
    /// `unsettled` that an earlier session left in doubt: about these only one proves something that compares contents.
    fn confirm(
        &mut self,
        errand: &Errand,
        applied: &Applied,
        unsettled: &HashSet<PathBuf>,
        forgotten: &mut Vec<PathBuf>,
        pause: Duration,
    ) -> Result<(), Failed> {
        let batch = &errand.batch;
        let is_clean = applied.is_clean();
        let Proven {
            mut confirmed,
            again,
            unknown,
            trees,
        } = self.prove(errand, applied, unsettled, pause)?;
        // A directory that stood in the way of something may have lost what was in it.
        self.ledger.doubt_trees(trees)?;
        self.doubt_directories_of(&unknown, Pace::Later(pause))?;
        let (removed, unreported): (HashSet<_>, HashSet<_>) = batch
            .gone
            .iter()
            .cloned()
            .partition(|path| applied.removed.contains(path));
        confirmed.landed.extend(removed.iter().cloned());
        confirmed.gone = removed.into_iter().collect();
        if is_clean && !batch.exact {
            confirmed.gone.append(forgotten);
        }
        self.ledger.confirm(&confirmed)?;
        // A removal that nobody reported: whether the name is there is seen when its directory is listed whole.
        let pace = if is_clean {
            Pace::Now
        } else {
            Pace::Later(pause)
        };
        self.doubt_directories_of(&unreported, pace)?;
        if !is_clean {
            // Over an error the other end removes nothing more, and what it left in them would not show by itself.
            let listed = batch.whole.iter().map(PathBuf::as_path);
            self.doubt_directories(listed, pace)?;
        }
        let now = Instant::now();
        self.queue.add(|dirty| {
            for (path, look, pace) in again {
                dirty.add(path, look, pace, now);
            }
        });
        Ok(())
    }

    /// What a session proved of its updates.
    fn prove<'e>(
        &self,
        errand: &'e Errand,
        applied: &Applied,
        unsettled: &HashSet<PathBuf>,
        pause: Duration,
    ) -> Result<Proven<'e>, Failed> {
        let batch = &errand.batch;
        let is_clean = applied.is_clean();
        let mut proven = Proven::default();
        for (item, note) in errand.noted().filter(|(_, note)| !note.is_elsewhere) {
            let is_dir = item.meta.is_dir();
            // The replica holds something of this version, whatever came between: the row makes sure that it is
            // looked at again, and removed when there is nothing more to look at.
            let doubtful = note.doubtful || applied.changed.contains(&item.path);
            match Outcome::of(item, applied) {
                Outcome::Stored => {
                    if doubtful {
                        proven
                            .again
                            .push((item.path.clone(), Look::AT, Pace::Settled));
                    }
                    let held = Held {
                        version: item.meta,
                        doubtful,
                        whole: is_dir && is_clean && self.is_known_whole(batch, item, note)?,
                    };
                    proven.confirmed.held.push((item.path.clone(), held));
                }
                // It would be refused again. When it changes, it is looked at again.
                Outcome::Refused => {}
                Outcome::Unknown => {
                    if !is_dir || note.is_update {
                        let look = if is_dir { Look::AT } else { Look::EXACT };
                        proven
                            .again
                            .push((item.path.clone(), look, Pace::Later(pause)));
                    }
                    if self.ledger.held(&item.path)?.is_none() {
                        // The replica may have it all the same, and no row would tell when the source has it no more.
                        proven.unknown.insert(item.path.clone());
                    } else if !is_dir {
                        proven.trees.push(item.path.as_path());
                    }
                    continue;
                }
            }
            let is_settled = batch.exact || !unsettled.contains(&item.path);
            if is_settled && errand.reach_of(item, note).is_some() {
                proven.confirmed.landed.push(item.path.clone());
            }
        }
        Ok(proven)
    }

    /// Whether the ledger knows all names in a directory of a session that went well: it was listed whole, or they were
    /// known before, and nothing since has called that into doubt.
    fn is_known_whole(
        &self,
        batch: &Batch,
        dir: &Item,
        note: &Note,
    ) -> Result<bool, rusqlite::Error> {
        Ok(note.whole
            && (batch.whole.contains(&dir.path)
                || self.ledger.held(&dir.path)?.is_some_and(|held| held.whole)))
    }

    /// Keeps the list of standing differences true, and tells of new ones.
    fn note_standing(&self, errand: &Errand, applied: &Applied) {
        let mut news = Vec::new();
        self.board.note(|status| {
            status.refuses_deletions = self.destination.refuses_deletions().map(str::to_owned);
            status.lacks = self.destination.lacks();
            for item in &errand.batch.items {
                if !applied.failed.contains(&item.path) && !status.standing.is_empty() {
                    status.standing.remove(&item.path.display().to_string());
                }
            }
            for path in &errand.batch.gone {
                status.standing.remove(&path.display().to_string());
            }
            for (path, reason) in &applied.refused {
                let path = path.display().to_string();
                let is_new = !status.standing.contains_key(&path);
                if is_new && status.standing.len() < ReplicaStatus::STANDING_MAX {
                    news.push(format!("{path} stays different: {reason}"));
                    status.standing.insert(path, reason.clone());
                }
            }
        });
        for text in news {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text,
            });
        }
    }

    /// Forgets the standing differences of paths that the source no longer has.
    pub(super) fn prune_standing(&self) {
        self.board.note(|status| {
            status.standing.retain(|path, _| {
                // A name that had to be shown differently is kept rather than lost.
                path.contains(char::REPLACEMENT_CHARACTER)
                    || !matches!(self.source.lstat(Path::new(path)), Ok(None))
            });
        });
    }

    /// Tells history and hooks what a session is about to be confirmed of. A first copy is nobody's change.
    fn tell_changes(
        &self,
        state: &State,
        errand: &Errand,
        applied: &Applied,
    ) -> Result<(), Failed> {
        if !state.is_complete {
            return Ok(());
        }
        // The history keeps no more than that, and looking a name up takes time.
        let most = match self.hooks.is_empty() {
            true => CHANGES_MAX,
            false => usize::MAX,
        };
        let batch = &errand.batch;
        let mut changes = Vec::new();
        let items = batch.items.iter().zip(&errand.notes);
        for (item, note) in items.skip(batch.items.len().saturating_sub(most)) {
            let is_stored = match &applied.acknowledged {
                Some(stored) => item.meta.is_dir() || stored.contains(&item.path),
                None => !applied.failed.contains(&item.path),
            };
            // The time of a directory changes with what is in it, which is told by itself.
            let is_news = match item.meta.is_dir() {
                true => self.ledger.held(&item.path)?.is_none(),
                false => note.is_update && !note.is_elsewhere && state.verification.is_none(),
            };
            if is_stored && is_news {
                let is_dir = item.meta.is_dir();
                changes.push(Change::new(&item.path, ChangeKind::Updated, is_dir));
            }
        }
        let gone = batch.gone.iter();
        for path in gone
            .skip(batch.gone.len().saturating_sub(most))
            .filter(|path| applied.removed.contains(*path))
        {
            let held = self.ledger.held(path)?;
            let is_dir = held.is_some_and(|held| held.version.is_dir());
            changes.push(Change::new(path, ChangeKind::Removed, is_dir));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.board.changed(&changes);
        if !self.hooks.tell(&self.name, &changes) {
            self.say(Event::Notice {
                replica: Some(self.name.clone()),
                text: format!(
                    "a hook is too slow and does not hear of {} changes",
                    changes.len()
                ),
            });
        }
        Ok(())
    }

    /// All that the session reached is looked at again, now and for as long as the other end may go on without us. What
    /// it may have touched is compared by content; a killed worker leaves a temporary file beside it that no ledger
    /// knows of. What an earlier session left in doubt, as `unsettled`, stays so.
    fn after_a_broken_session(
        &mut self,
        errand: &Errand,
        unsettled: &HashSet<PathBuf>,
        touched: &HashSet<PathBuf>,
        began: bool,
    ) -> Result<(), Failed> {
        if began {
            let paths = errand.reach();
            let reached: Reached = paths
                .map(|(path, reach)| (path.to_owned(), reach))
                .collect();
            self.look_at(&reached.looks(&self.source, &self.ledger)?)?;
            self.doubt(touched)?;
            let items = touched.iter().filter_map(|path| errand.batch.item(path));
            let sent = items.map(|item| (item.path.as_path(), item.meta));
            self.await_aftermath(reached, sent)?;
        }
        let landed = errand.reach().map(|(path, _)| path);
        let landed = landed.filter(|path| !touched.contains(*path) && !unsettled.contains(*path));
        self.ledger.confirm(&Confirmed {
            landed: landed.map(Path::to_owned).collect(),
            ..Confirmed::default()
        })?;
        // What led to these updates may be settled: the session before this one has listed their directory whole.
        let now = Instant::now();
        self.queue.add(|dirty| {
            for path in errand.updates() {
                dirty.add(path.to_owned(), Look::AT, Pace::Now, now);
            }
        });
        Ok(())
    }

    /// Has what a broken session `reached` looked at later too, if the other end may go on without us; `sent` are versions
    /// that it may still bring about.
    pub(super) fn await_aftermath<'a>(
        &mut self,
        reached: Reached,
        sent: impl IntoIterator<Item = (&'a Path, Meta)>,
    ) -> Result<(), rusqlite::Error> {
        if self.destination.outlives_a_session() && !reached.is_empty() {
            self.ledger.expect_aftermath()?;
            self.aftermath.expect(reached, sent, Instant::now());
        }
        Ok(())
    }

    /// Queues what is to be looked at, whatever the ledger says.
    pub(super) fn look_at(&mut self, looks: &Looks) -> Result<(), rusqlite::Error> {
        self.ledger
            .doubt_trees(looks.trees.iter().map(PathBuf::as_path))?;
        let directories = looks.directories.iter().map(PathBuf::as_path);
        self.doubt_directories(directories, Pace::Now)?;
        self.compare(&looks.compared);
        Ok(())
    }

    /// Queues paths of which the replica may hold any version, and their directories whole.
    pub(super) fn doubt(&mut self, paths: &HashSet<PathBuf>) -> Result<(), rusqlite::Error> {
        self.doubt_directories_of(paths, Pace::Now)?;
        self.compare(paths);
        Ok(())
    }

    /// Queues paths, to be compared: files by content, directories by their attributes.
    fn compare<'a>(&self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        let now = Instant::now();
        self.queue.add(|dirty| {
            for path in paths {
                dirty.add(path.clone(), Look::EXACT, Pace::Now, now);
            }
        });
    }

    /// Queues the directories of paths, to be listed whole.
    fn doubt_directories_of(
        &mut self,
        paths: &HashSet<PathBuf>,
        pace: Pace,
    ) -> Result<(), rusqlite::Error> {
        let directories: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
        self.doubt_directories(directories.iter().copied(), pace)
    }

    /// Queues directories to be listed whole. What may be in one that the source no longer has shows where the nearest
    /// above it that is left is listed.
    fn doubt_directories<'a>(
        &mut self,
        directories: impl Iterator<Item = &'a Path>,
        pace: Pace,
    ) -> Result<(), rusqlite::Error> {
        let mut doubted = HashSet::new();
        for directory in directories {
            doubted.insert(directory);
            doubted.extend(self.source.nearest_directory(directory));
        }
        self.ledger.doubt_directories(doubted.iter().copied())?;
        let now = Instant::now();
        self.queue.add(|dirty| {
            for directory in doubted {
                dirty.add(directory.to_owned(), Look::AT, pace, now);
            }
        });
        Ok(())
    }
}

/// What has become of an item.
enum Outcome {
    Stored,
    /// The replica does not take it.
    Refused,
    /// It failed, or nobody says that it did not.
    Unknown,
}

impl Outcome {
    fn of(item: &Item, applied: &Applied) -> Self {
        let is_stored = match &applied.acknowledged {
            // Directories are not acknowledged.
            Some(stored) => !item.meta.is_dir() && stored.contains(&item.path),
            None => !applied.failed.contains(&item.path),
        };
        let mut above = item.path.ancestors();
        if is_stored {
            Self::Stored
        } else if above.any(|path| applied.refused.contains_key(path)) {
            Self::Refused
        } else {
            Self::Unknown
        }
    }
}

/// The first path that a session did not bring over and that is not refused for good.
fn failed_path(errand: &Errand, applied: &Applied) -> Option<PathBuf> {
    let is_missing = |path: &&Path| match &applied.acknowledged {
        Some(stored) => !stored.contains(*path),
        None => applied.failed.contains(*path),
    };
    let is_refused = |path: &Path| {
        let mut above = path.ancestors();
        above.any(|path| applied.refused.contains_key(path))
    };
    let mut failed = errand
        .updates()
        .filter(|path| is_missing(path) && !is_refused(path));
    failed.next().map(Path::to_owned)
}
