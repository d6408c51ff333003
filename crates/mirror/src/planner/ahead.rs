//! Directories that a second thread lists before their turn.
//!
//! To compare a tree with the ledger is to list directories and to read rows, each about as long as the other. While the
//! planner is at the rows of one directory, the directories that come next are listed.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::source::{Child, Source};

/// How many directories are listed before their turn at most: what waits is memory, and grows old.
const AHEAD: usize = 16;

/// With so many to go, the lister does not run out before it is told of more.
const ENOUGH: usize = AHEAD / 4;

/// Fewer are listed in the time that a thread takes to begin.
const WORTH_A_THREAD: usize = 4;

/// What was found in a directory.
pub(super) struct Listing {
    /// Nothing of it was looked at before.
    pub(super) looked_at: SystemTime,
    pub(super) children: Result<Vec<Child>, tree::Error>,
}

impl Listing {
    fn of(source: &Source, dir: &Path) -> Self {
        Self {
            looked_at: SystemTime::now(),
            children: source.children(dir),
        }
    }
}

/// What is listed ahead.
pub(super) struct Ahead {
    source: Arc<Source>,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: VecDeque<PathBuf>,
    under_way: Option<PathBuf>,
    listed: HashMap<PathBuf, Listing>,
    is_over: bool,
}

impl Ahead {
    /// Nothing yet, of this source.
    pub(super) fn of(source: Arc<Source>) -> Self {
        Self {
            source,
            shared: Arc::default(),
            worker: None,
        }
    }

    /// Has the directories listed that come next, in this order.
    pub(super) fn announce<'p>(&mut self, next: impl Iterator<Item = &'p Path>) {
        let mut state = self.shared.lock();
        if state.wanted.len() > ENOUGH {
            return;
        }
        let room = AHEAD.saturating_sub(state.listed.len());
        let next: VecDeque<PathBuf> = next
            .take(AHEAD)
            .filter(|dir| {
                !state.listed.contains_key(*dir) && state.under_way.as_deref() != Some(dir)
            })
            .take(room)
            .map(Path::to_owned)
            .collect();
        if self.worker.is_none() && next.len() < WORTH_A_THREAD {
            return;
        }
        state.wanted = next;
        drop(state);
        self.shared.changed.notify_all();
        if self.worker.is_none() {
            let (source, shared) = (Arc::clone(&self.source), Arc::clone(&self.shared));
            let worker = std::thread::Builder::new().name("lister".to_owned());
            // Without one, each is listed in its turn.
            self.worker = worker.spawn(move || shared.work(&source)).ok();
        }
    }

    /// What has been found in a directory; `None` if nobody has looked.
    pub(super) fn take(&self, dir: &Path) -> Option<Listing> {
        let mut state = self.shared.lock();
        state.wanted.retain(|wanted| wanted != dir);
        while state.under_way.as_deref() == Some(dir) {
            state = match state.wanted.pop_back() {
                // Time that would be spent waiting.
                Some(later) => self.shared.list(state, &self.source, later),
                None => self.shared.wait(state),
            };
        }
        state.listed.remove(dir)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, source: &Source) {
        let mut state = self.lock();
        while !state.is_over {
            state = match state.wanted.pop_front() {
                Some(dir) => {
                    state.under_way = Some(dir.clone());
                    let mut state = self.list(state, source, dir);
                    state.under_way = None;
                    self.changed.notify_all();
                    state
                }
                None => self.wait(state),
            };
        }
    }

    /// Lists a directory while others may go on.
    fn list<'s>(
        &'s self,
        state: MutexGuard<'s, State>,
        source: &Source,
        dir: PathBuf,
    ) -> MutexGuard<'s, State> {
        drop(state);
        let listing = Listing::of(source, &dir);
        let mut state = self.lock();
        state.listed.insert(dir, listing);
        state
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test makes its own tree")]

    use std::fs;

    use super::*;
    use crate::exclusions::Exclusions;

    #[test]
    fn what_is_announced_is_listed_once_and_the_rest_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<PathBuf> = (0..40).map(|number| number.to_string().into()).collect();
        for name in &names {
            fs::create_dir_all(dir.path().join(name).join("below")).unwrap();
        }
        let source = Source::open(dir.path(), Exclusions::default(), &[]).unwrap();
        let mut ahead = Ahead::of(Arc::new(source));
        ahead.announce(names[..2].iter().map(PathBuf::as_path));
        assert!(ahead.take(&names[0]).is_none(), "too few for a thread");
        ahead.announce(names.iter().map(PathBuf::as_path));
        while ahead.shared.lock().listed.len() < AHEAD {
            std::thread::yield_now();
        }
        for name in &names[..AHEAD] {
            let listed = ahead.take(name).expect("it was announced");
            let children = listed.children.unwrap().into_iter();
            let paths: Vec<PathBuf> = children.map(|child| child.path).collect();
            assert_eq!(paths, [name.join("below")]);
            assert!(ahead.take(name).is_none(), "it is there twice");
        }
        assert!(ahead.take(&names[AHEAD]).is_none(), "it is too far ahead");
        ahead.announce([Path::new("missing"); 1].into_iter());
        if let Some(listing) = ahead.take(Path::new("missing")) {
            assert!(listing.children.is_err_and(|error| error.vanished()));
        }
    }
}
