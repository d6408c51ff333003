//! The thread that turns the watcher's changes into looks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select};
use tree::{Kind, Meta};
use watch::{Change, Reason, Touch, Watcher};

use super::Report;
use super::writers::Writers;
use crate::Event;
use crate::dirty::{Look, Pace};
use crate::queue::Queue;
use crate::restless::Restless;
use crate::source::Source;

/// How often a source that is gone is looked for.
const SOURCE_CHECK: Duration = Duration::from_secs(1);

/// How often directories without a watch are looked at.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// The thread that turns the watcher's changes into looks.
pub(super) struct Hints {
    pub(super) source: Arc<Source>,
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) stop: Receiver<()>,
    /// Those who want to know when all that has happened by now is in the queues.
    pub(super) asks: Receiver<Asked>,
    /// What the replicas find that may change without anybody's telling.
    pub(super) restless: Receiver<Restless>,
    pub(super) report: Report,
    pub(super) max_watches: Option<u64>,
}

/// Told, once, that it is done.
pub(super) type Asked = Sender<()>;

pub(super) type Watching = (Watcher, Receiver<Vec<Change>>);

/// Those who asked, each with the number at which the watcher has caught up with what had happened then.
#[derive(Default)]
struct Waiters(Vec<(u64, Asked)>);

impl Waiters {
    fn tell(&mut self, caught_up: u64) {
        self.0.retain(|(number, asked)| {
            let is_done = *number <= caught_up;
            if is_done {
                // Who has given up waiting does not want to know.
                let _ = asked.try_send(());
            }
            !is_done
        });
    }
}

/// Watches all directories of a source, or as many as `max_watches`.
pub(super) fn watch(
    source: &Arc<Source>,
    max_watches: Option<u64>,
) -> Result<Watching, watch::Error> {
    let pruned = Arc::clone(source);
    let settings = watch::Settings {
        poll_every: POLL_EVERY,
        prune: Some(Arc::new(move |path: &Path, is_dir| {
            pruned.leaves_out(path, is_dir)
        })),
        max_watches,
        ..watch::Settings::default()
    };
    Watcher::start(source.root().path(), settings)
}

impl Hints {
    pub(super) fn run(mut self, watching: Watching) {
        let mut watching = Some(watching);
        let mut is_in_place = true;
        let mut watched = self.source.identity();
        let mut waiters = Waiters::default();
        let mut writers = Writers::default();
        let mut restless = Restless::default();
        loop {
            let look_again = restless.next_due().map_or_else(never, at);
            if watched != self.source.identity() {
                // Another directory has been accepted as the source.
                watched = self.source.identity();
                watching = None;
            }
            match &watching {
                Some((watcher, changes)) => select! {
                    recv(self.stop) -> _ => return,
                    recv(self.asks) -> asked => waiters.0.extend(asked.map(|asked| (watcher.catch_up(), asked))),
                    recv(self.restless) -> found => match found {
                        Ok(found) => restless.merge(found),
                        Err(_) => self.restless = never(),
                    },
                    recv(look_again) -> _ => self.look_again(&mut restless),
                    recv(changes) -> changes => match changes {
                        Ok(changes) => waiters.tell(self.take(changes, &mut writers)),
                        Err(_) => watching = None,
                    },
                    // Another file system mounted over the source, or a lazy unmount, is no event of any directory.
                    default(SOURCE_CHECK) => {
                        let was_in_place = std::mem::replace(&mut is_in_place, self.source.is_in_place());
                        if was_in_place != is_in_place {
                            self.add([(PathBuf::new(), Look::BELOW, Pace::Now)]);
                        }
                    }
                },
                None => {
                    // A look at everything is ahead, or nothing is known.
                    waiters.tell(u64::MAX);
                    select! {
                        recv(self.stop) -> _ => return,
                        recv(self.asks) -> asked => waiters.0.extend(asked.map(|asked| (0, asked))),
                        default(SOURCE_CHECK) => if self.source.is_in_place() {
                            watching = watch(&self.source, self.max_watches).ok();
                            self.add([(PathBuf::new(), Look::BELOW, Pace::Now)]);
                        }
                    }
                }
            }
        }
    }

    /// Turns changes into looks. Returns up to which number the watcher has caught up.
    fn take(&self, changes: Vec<Change>, writers: &mut Writers) -> u64 {
        let mut caught_up = 0;
        let mut looks: Vec<(PathBuf, Look, Pace)> = Vec::with_capacity(changes.len());
        let mut files = Vec::new();
        let mut last_seen = None;
        for change in changes {
            let seen = std::mem::take(&mut last_seen);
            match change {
                Change::Touched { path, touch } => {
                    // A file that comes into being is touched three times in a row.
                    let is_again = looks.last().is_some_and(|(last, ..)| *last == path);
                    let meta = match touch {
                        Touch::Removed { .. } => None,
                        _ if is_again && seen.is_some() => seen,
                        _ => self.source.lstat(&path).ok().flatten(),
                    };
                    last_seen = meta;
                    // By the time of the look this name may be another file's.
                    files.extend(meta.and_then(|meta| meta.link_group()));
                    files.extend(writers.note(&path, touch, meta.as_ref()));
                    let (look, pace) = look_for(touch, meta);
                    match looks.last_mut().filter(|_| is_again) {
                        Some(last) => {
                            last.1 = last.1.join(look);
                            last.2 = pace;
                        }
                        None => looks.push((path, look, pace)),
                    }
                }
                Change::Moved { from, to, is_dir } => {
                    // A directory comes complete: there is nothing to wait for.
                    let (look, pace) = match is_dir {
                        true => (Look::BELOW, Pace::Now),
                        false => (Look::AT, Pace::Settled),
                    };
                    writers.moved(&from, &to);
                    looks.push((from, Look::AT, pace));
                    looks.push((to, look, pace));
                }
                Change::Rescan { subtree, reason } => {
                    if reason == Reason::Overflow {
                        self.notice(
                            "the kernel's event queue overflowed: the tree is compared anew"
                                .to_owned(),
                        );
                    }
                    looks.push((subtree, Look::BELOW, Pace::Settled));
                }
                Change::Notice(notice) => self.notice(notice.to_string()),
                Change::CaughtUp(number) => caught_up = number,
            }
        }
        self.add(looks);
        for queue in self.queues.iter().filter(|_| !files.is_empty()) {
            queue.add(|dirty| files.iter().for_each(|file| dirty.add_file(*file)));
        }
        caught_up
    }

    /// Looks at what may have changed without anybody's telling.
    fn look_again(&self, restless: &mut Restless) {
        // A directory that is moved meanwhile is told of by itself.
        let root = self.source.root().holding_dirs();
        let lstat = |path: &Path| root.lstat(path).ok().flatten();
        let changed = restless.look(Instant::now(), lstat);
        let looks = changed.into_iter();
        self.add(looks.map(|path| (path, Look::AT, Pace::Settled)));
    }

    fn add(&self, looks: impl IntoIterator<Item = (PathBuf, Look, Pace)>) {
        let looks: Vec<_> = looks.into_iter().collect();
        let now = Instant::now();
        for queue in &self.queues {
            queue.add(|dirty| {
                for (path, look, pace) in &looks {
                    dirty.add(path.clone(), *look, *pace, now);
                }
            });
        }
    }

    fn notice(&self, text: String) {
        (self.report)(Event::Notice {
            replica: None,
            text,
        });
    }
}

/// How, and how soon, to look at a path that was touched and now is what `meta` says.
fn look_for(touch: Touch, meta: Option<Meta>) -> (Look, Pace) {
    // The creation of a name may be the beginning of writing a file, whose end will be seen too. A link or a special
    // file is complete at once.
    let will_be_closed = || meta.is_some_and(|meta| meta.kind == Kind::File && meta.nlink == 1);
    match touch {
        Touch::Created { is_dir: true } => (Look::BELOW, Pace::Settled),
        Touch::Created { is_dir: false } if will_be_closed() => (Look::AT, Pace::Writing),
        Touch::Written => (Look::AT, Pace::Writing),
        // What its stat does not show may have changed twice within a tick of the clock.
        Touch::Attributes if meta.is_some_and(|meta| meta.is_dir()) => (Look::EXACT, Pace::Settled),
        Touch::Created { .. } | Touch::Closed | Touch::Attributes | Touch::Removed { .. } => {
            (Look::AT, Pace::Settled)
        }
    }
}
