//! Several files copied beside each other.
//!
//! The generator's thread opens a source, says what is to be said about it, and leaves the rest to a pool: temporary
//! file, content, attributes, rename. Results are released in the order of the requests, so that whatever follows from
//! them (links, removed sources, statistics) happens as if one file had been copied after the other. A worker says
//! nothing: what it cannot do is done again by the generator's thread, which has the words and the order for them.
//!
//! At most [`WINDOW`] files are open. When there are as many, or nothing else is left to do, the generator's thread takes
//! a file itself rather than wait.
//!
//! Names in one directory are made one after the other, and whoever waits for the kernel to do so spins: so each thread
//! takes a file of a directory that no other thread is at, as long as there is one.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Resource, getrlimit};
use tree::{CopyError, Meta};

use crate::attributes::Failure;
use crate::destination::Destination;
use crate::finish::Finisher;
use crate::flist::{List, parent};
use crate::options::Options;
use crate::scan::rel;

/// What a copy of a file takes, whichever thread makes it.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    pub(super) options: &'a Options,
    pub(super) destination: &'a Destination,
    pub(super) finisher: &'a Finisher<'a>,
}

/// A file to be copied to a new file, which then takes its place.
pub(super) struct Job {
    pub(super) list: Arc<List>,
    pub(super) number: u32,
    pub(super) source: File,
    /// Bytes that it had when it was opened.
    pub(super) size: u64,
    /// What the destination has under the name.
    pub(super) existing: Option<Meta>,
    pub(super) model: Option<Meta>,
}

/// What came of a job.
pub(super) enum Done {
    /// The file is in place, and so long.
    Placed(u64),
    /// It has been copied, but could not be given its attributes or its name.
    Unplaced(u64, Vec<Failure>),
    /// It has not been copied; the reason is found by trying again.
    Failed,
}

/// A job whose result has not been released.
struct Slot {
    list: Arc<List>,
    number: u32,
    existing: Option<Meta>,
    model: Option<Meta>,
    done: Option<Done>,
}

/// A result in its turn.
pub(super) struct Released {
    pub(super) list: Arc<List>,
    pub(super) number: u32,
    pub(super) existing: Option<Meta>,
    pub(super) model: Option<Meta>,
    pub(super) done: Done,
}

/// Threads that copy, and the jobs that they have.
pub(super) struct Pool<'a> {
    worker: Worker<'a>,
    queue: Arc<Queue>,
    results: Receiver<(u64, Done)>,
    /// In the order of the requests.
    slots: VecDeque<Slot>,
    /// The number of the first slot, counted from the first request.
    first: u64,
    /// The most slots.
    window: usize,
}

impl<'a> Pool<'a> {
    pub(super) fn start<'scope>(worker: Worker<'a>, scope: &'scope Scope<'scope, '_>) -> Self
    where
        'a: 'scope,
    {
        let queue = Arc::new(Queue::default());
        let (done, results) = unbounded();
        for _ in 0..threads() {
            let (queue, done) = (Arc::clone(&queue), done.clone());
            let started = std::thread::Builder::new().spawn_scoped(scope, move || {
                while let Some(task) = queue.take(true) {
                    if done.send(queue.carry_out(&task, &worker)).is_err() {
                        break;
                    }
                }
            });
            // The generator, which lends a hand, can do without the rest.
            if started.is_err() {
                break;
            }
        }
        Self {
            worker,
            queue,
            results,
            slots: VecDeque::new(),
            first: 0,
            window: window(),
        }
    }

    /// Whether one more job would be too many.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.window
    }

    pub(super) fn add(&mut self, job: Job) {
        self.slots.push_back(Slot {
            list: Arc::clone(&job.list),
            number: job.number,
            existing: job.existing,
            model: job.model,
            done: None,
        });
        self.queue
            .add(self.first + self.slots.len() as u64 - 1, job);
    }

    /// The next result, if it is there.
    pub(super) fn next(&mut self) -> Option<Released> {
        while let Ok((turn, done)) = self.results.try_recv() {
            self.note(turn, done);
        }
        self.slots.front()?.done.as_ref()?;
        self.first += 1;
        let Slot {
            list,
            number,
            existing,
            model,
            done,
        } = self.slots.pop_front()?;
        done.map(|done| Released {
            list,
            number,
            existing,
            model,
            done,
        })
    }

    /// Lends a hand, or waits until another job is done.
    pub(super) fn help(&mut self) {
        let result = match self.queue.take(false) {
            Some(task) => Ok(self.queue.carry_out(&task, &self.worker)),
            None => self.results.recv(),
        };
        if let Ok((turn, done)) = result {
            self.note(turn, done);
        }
    }

    fn note(&mut self, turn: u64, done: Done) {
        let at = usize::try_from(turn - self.first).unwrap_or(usize::MAX);
        if let Some(slot) = self.slots.get_mut(at) {
            slot.done = Some(done);
        }
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        // After the end of a run nothing more is to be copied.
        self.queue.close();
    }
}

/// Jobs that nobody has taken.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    added: Condvar,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    /// The directories of those that were taken and are not done.
    occupied: Vec<u64>,
    is_closed: bool,
}

/// A job in the queue.
struct Task {
    turn: u64,
    job: Job,
    /// The directory of its place; that two may have the same number does no harm.
    dir: u64,
}

impl Queue {
    fn add(&self, turn: u64, job: Job) {
        let mut dir = DefaultHasher::new();
        let path = job.list.get(job.number).map(|entry| parent(entry.path()));
        path.hash(&mut dir);
        let dir = dir.finish();
        self.waiting().tasks.push_back(Task { turn, job, dir });
        self.added.notify_one();
    }

    /// The first task in a directory that nobody is at, or else the first one; none is left if the queue is closed, or
    /// nobody `waits` for one.
    fn take(&self, waits: bool) -> Option<Task> {
        let mut waiting = self.waiting();
        while waiting.tasks.is_empty() && waits && !waiting.is_closed {
            waiting = self
                .added
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let Waiting {
            tasks, occupied, ..
        } = &mut *waiting;
        let free = tasks.iter().position(|task| !occupied.contains(&task.dir));
        let task = tasks.remove(free.unwrap_or(0))?;
        occupied.push(task.dir);
        Some(task)
    }

    fn carry_out(&self, task: &Task, worker: &Worker<'_>) -> (u64, Done) {
        let done = worker.copy(&task.job);
        let occupied = &mut self.waiting().occupied;
        if let Some(at) = occupied.iter().position(|&dir| dir == task.dir) {
            occupied.swap_remove(at);
        }
        (task.turn, done)
    }

    fn close(&self) {
        let mut waiting = self.waiting();
        waiting.tasks.clear();
        waiting.is_closed = true;
        drop(waiting);
        self.added.notify_all();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker<'_> {
    fn copy(&self, job: &Job) -> Done {
        let (Some(entry), Some(root)) = (job.list.get(job.number), self.destination.root()) else {
            return Done::Failed;
        };
        let place = self.destination.place(entry.path());
        let Ok(mut temp) = root.temp_file(rel(place)) else {
            return Done::Failed;
        };
        let cancel = &self.options.cancel;
        let copied = tree::copy_contents(
            &job.source,
            temp.file(),
            job.size,
            &|| cancel.is_cancelled(),
            &mut |_| {},
        );
        let count = match copied {
            Ok(count) => count,
            // Nobody tries again then.
            Err(CopyError::Cancelled) => {
                self.finisher.keep_partial(temp, entry, place);
                return Done::Failed;
            }
            Err(_) => return Done::Failed,
        };
        match self.finisher.place(
            temp,
            entry,
            place,
            (job.existing.as_ref(), job.model.as_ref()),
        ) {
            Ok(()) => Done::Placed(count),
            Err(failures) => Done::Unplaced(count, failures),
        }
    }
}

/// Whether files may be copied beside each other: nothing of a copy shows, is kept or is paced before its end.
pub(super) fn is_of_use(options: &Options) -> bool {
    let shows = options.report.progress || options.dry_run;
    let in_place = options.inplace || options.preallocate;
    let elsewhere = options.temp_dir.is_some()
        || options.module.is_some()
        || options.partial_dir.is_some()
        || options.delay_updates;
    let keeps = options.backup.is_some() || options.fsync;
    !(shows || in_place || elsewhere || keeps)
}

/// The generator's thread is one of those that copy. Creating files is the file system's work, of which few threads already
/// get all there is.
fn threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors - 1).clamp(1, 4)
}

/// How many files may be open at once: a share of what the process may have.
fn window() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(WINDOW, |limit| {
        usize::try_from(limit / 4).map_or(WINDOW, |share| share.clamp(1, WINDOW))
    })
}

/// How many files are open at once, at most: those of a few directories.
const WINDOW: usize = 192;
