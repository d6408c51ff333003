//! Several mirrors in one process, and what a new configuration changes of them.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::Error;
use crate::mirror::{Handle, Mirror, Report};
use crate::settings::Settings;

/// The trees that are mirrored now, for those who look at them. Clones are the same trees.
#[derive(Clone, Default)]
pub struct Trees(Arc<RwLock<Vec<Handle>>>);

impl Trees {
    /// All of them, in the order of their starts.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The mirrors of a configuration.
pub struct Service {
    running: Vec<Running>,
    trees: Trees,
    report: Report,
    ended: (Sender<Ended>, Receiver<Ended>),
    /// The number of the next mirror.
    next: u64,
}

/// A mirror that has ended.
#[derive(Debug)]
pub struct Ended {
    number: u64,
    /// The tree's name.
    pub name: String,
    /// How.
    pub result: Result<(), Error>,
}

/// What a new configuration has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Trees that go on as they were.
    pub kept: Vec<String>,
    /// Trees that were started, or started anew.
    pub started: Vec<String>,
    /// Trees that are no longer mirrored.
    pub stopped: Vec<String>,
}

struct Running {
    number: u64,
    settings: Settings,
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Service {
    /// Starts a mirror for each of these settings, all of which are looked at before the first one is started. `trees` are
    /// from now on what is mirrored. From now on the process, which is there for this, keeps little of the memory that it
    /// frees.
    ///
    /// # Errors
    /// The first mistake in them. Nothing goes on then.
    pub fn start(all: Vec<Settings>, report: Report, trees: Trees) -> Result<Self, Error> {
        for settings in &all {
            Mirror::check(settings)?;
        }
        tree::keep_little_freed_memory();
        let mut service = Self {
            running: Vec::new(),
            trees,
            report,
            ended: unbounded(),
            next: 0,
        };
        for settings in all {
            if let Err(error) = service.begin(settings) {
                service.stop();
                return Err(error);
            }
        }
        Ok(service)
    }

    /// Makes the mirrors those of a new configuration. What has not changed goes on undisturbed.
    ///
    /// # Errors
    /// The first mistake, before anything is changed; or why a tree cannot be started, after which everything runs as
    /// before.
    pub fn reload(&mut self, all: Vec<Settings>) -> Result<Changes, Error> {
        for settings in &all {
            Mirror::check(settings)?;
        }
        let before: Vec<Settings> = self
            .running
            .iter()
            .map(|one| one.settings.clone())
            .collect();
        let failed = match self.change_to(all) {
            Ok(changes) => return Ok(changes),
            Err(failed) => failed,
        };
        // What ran a moment ago can do so again.
        self.change_to(before).and(Err(failed))
    }

    /// The same for settings that have been looked at. What cannot be started ends it.
    fn change_to(&mut self, all: Vec<Settings>) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        let old = std::mem::take(&mut self.running);
        let (kept, gone): (Vec<_>, Vec<_>) = old
            .into_iter()
            .partition(|running| all.contains(&running.settings) && !running.thread.is_finished());
        for running in gone {
            let name = running.settings.name.clone();
            if !all.iter().any(|settings| settings.name == name) {
                changes.stopped.push(name);
            }
            running.end();
        }
        self.running = kept;
        self.publish();
        for settings in all {
            let name = settings.name.clone();
            if self
                .running
                .iter()
                .any(|running| running.settings == settings)
            {
                changes.kept.push(name);
            } else {
                self.begin(settings)?;
                changes.started.push(name);
            }
        }
        Ok(changes)
    }

    /// Whether nothing is mirrored any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Where mirrors are reported that have ended by themselves.
    #[must_use]
    pub fn ended(&self) -> Receiver<Ended> {
        self.ended.1.clone()
    }

    /// Takes note of a mirror that has ended. True if it was one of ours and the last one.
    pub fn bury(&mut self, ended: &Ended) -> bool {
        let before = self.running.len();
        self.running
            .retain(|running| running.number != ended.number);
        self.publish();
        before > 0 && self.running.is_empty()
    }

    /// Ends all mirrors in order.
    pub fn stop(&mut self) {
        for running in &self.running {
            running.handle.stopper().stop();
        }
        self.running.drain(..).for_each(Running::end);
        self.publish();
    }

    fn begin(&mut self, settings: Settings) -> Result<(), Error> {
        let mirror = Mirror::start(&settings, self.report.clone())?;
        let (number, handle) = (self.next, mirror.handle());
        let (ended, name) = (self.ended.0.clone(), settings.name.clone());
        let thread = std::thread::Builder::new().name("tree".to_owned());
        let thread = thread.spawn(move || {
            let result = mirror.join();
            // Nobody listens any more when the service is gone.
            let _ = ended.send(Ended {
                number,
                name,
                result,
            });
        });
        self.running.push(Running {
            number,
            settings,
            handle,
            thread: thread.map_err(Error::Thread)?,
        });
        self.next += 1;
        self.publish();
        Ok(())
    }

    /// Has those who look see what runs now.
    fn publish(&self) {
        let handles = self.running.iter().map(|running| running.handle.clone());
        *self.trees.0.write().unwrap_or_else(PoisonError::into_inner) = handles.collect();
    }
}

impl Running {
    fn end(self) {
        self.handle.stopper().stop();
        // A panic in there has been printed, and the tree has ended anyway.
        let _ = self.thread.join();
    }
}
