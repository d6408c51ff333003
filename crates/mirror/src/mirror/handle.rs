//! A running mirror as others see it: how it is, what it may be told, and the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use transfer::Cancel;
use tree::Kind;

use super::hints::Asked;
use crate::dirty::{Look, Pace};
use crate::history::History;
use crate::queue::{Orders, Queue};
use crate::source::{Child, Source};
use crate::status::{Board, MirrorStatus, ReplicaState, ReplicaStatus};

/// How long a flush may last at most, whatever was asked for.
const FLUSH_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A mirror as others see it: how it is, what it may be told, and the end. Clones are the same mirror.
#[derive(Clone)]
pub struct Handle {
    pub(super) name: String,
    pub(super) source: Arc<Source>,
    pub(super) replicas: Vec<Observed>,
    pub(super) stopper: Stopper,
    /// Tells when what has happened by now is in the queues.
    pub(super) hints: Sender<Asked>,
}

/// A replica as others see it.
#[derive(Clone)]
pub(super) struct Observed {
    pub(super) queue: Arc<Queue>,
    pub(super) board: Arc<Board>,
}

/// Ends a mirror from another thread.
#[derive(Clone)]
pub struct Stopper {
    pub(super) cancel: Cancel,
    pub(super) queues: Vec<Arc<Queue>>,
    /// Wakes the thread that takes hints.
    pub(super) hints: Sender<()>,
}

impl Stopper {
    /// Asks for the end. What is under way is broken off without leaving anything half-written.
    pub fn stop(&self) {
        self.cancel.cancel();
        for queue in &self.queues {
            queue.wake();
        }
        // A full channel has been told already.
        let _ = self.hints.try_send(());
    }
}

impl Handle {
    /// Something that ends the mirror.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// How everything is.
    #[must_use]
    pub fn status(&self) -> MirrorStatus {
        MirrorStatus {
            name: self.name.clone(),
            source: self.source.root().path().display().to_string(),
            replicas: self.replicas.iter().map(Observed::status).collect(),
        }
    }

    /// How many bytes the files of the tree have for all of its replicas together. The whole tree is walked for that; what
    /// cannot be read is left out, and a stop ends it.
    #[must_use]
    pub fn measure(&self) -> u64 {
        let mut bytes = 0_u64;
        let mut dirs = vec![PathBuf::new()];
        while let Some(dir) = dirs.pop().filter(|_| !self.stopper.cancel.is_cancelled()) {
            for Child { path, meta } in self.source.children(&dir).unwrap_or_default() {
                match meta.kind {
                    Kind::Dir => dirs.push(path),
                    Kind::File => bytes = bytes.saturating_add(meta.size),
                    _ => {}
                }
            }
        }
        bytes.saturating_mul(self.replicas.len() as u64)
    }

    /// What has happened lately: to each replica, in the order of the settings.
    #[must_use]
    pub fn history(&self) -> Vec<(String, History)> {
        let of = |replica: &Observed| (replica.board.read().name, replica.board.history());
        self.replicas.iter().map(of).collect()
    }

    /// Adds how everything is now to the history.
    pub fn sample(&self) {
        for replica in &self.replicas {
            replica.board.sample(&replica.status());
        }
    }

    /// Releases the brake of a replica, or of all if the tree is named: whatever its reason is, what it holds back is
    /// done, and a source that was replaced is accepted.
    ///
    /// # Errors
    /// There is no such replica, or no source.
    pub fn approve(&self, name: &str) -> Result<(), String> {
        let named = self.named(Some(name))?;
        if self.source.is_replaced() {
            self.source.reopen().map_err(|error| error.to_string())?;
        }
        for replica in named {
            replica.queue.order(|orders| orders.is_approved = true);
            replica.look_at_everything();
        }
        Ok(())
    }

    /// Brings nothing over until [`Handle::resume`]; what is under way is completed.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn pause(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.is_paused = true)
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn resume(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.is_paused = false)
    }

    /// Compares the whole tree with what replicas are known to hold.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn rescan(&self, name: Option<&str>) -> Result<(), String> {
        for replica in self.named(name)? {
            replica.look_at_everything();
        }
        Ok(())
    }

    /// Compares replicas themselves, as soon as they are in step, and mends them.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn verify(&self, name: Option<&str>) -> Result<(), String> {
        self.order(name, |orders| orders.verify = true)
    }

    /// Waits until everything seen so far has been brought over.
    ///
    /// # Errors
    /// There is no such replica; one of them waits for approval or has been paused; or the time is over.
    pub fn flush(&self, name: Option<&str>, timeout: Duration) -> Result<(), String> {
        let named = self.named(name)?;
        let deadline = Instant::now() + timeout.min(FLUSH_LONGEST);
        self.await_hints(deadline);
        let now = Instant::now();
        for replica in named {
            let gives_up = || {
                let is_paused = replica.queue.lock().orders.is_paused;
                is_paused
                    || replica.board.read().brake.is_some()
                    || self.stopper.cancel.is_cancelled()
            };
            if !replica.queue.wait_until_held(now, deadline, gives_up)
                || replica.board.read().brake.is_some()
            {
                let status = replica.status();
                return Err(match (status.brake, status.failure) {
                    (Some(brake), _) => format!("{}: {brake}", status.name),
                    _ if status.state == ReplicaState::Paused => format!("{}: paused", status.name),
                    (None, Some(failure)) => format!("{}: {}", status.name, failure.reason),
                    (None, None) => format!("{}: {} paths still wait", status.name, status.waiting),
                });
            }
        }
        Ok(())
    }

    /// Waits until what has happened by now, and has been seen, is in the queues.
    fn await_hints(&self, deadline: Instant) {
        let (tell, told) = bounded(1);
        // Nobody takes hints of a mirror that does not watch.
        if self.hints.send(tell).is_ok() {
            let _ = told.recv_deadline(deadline);
        }
    }

    fn order(&self, name: Option<&str>, order: impl Fn(&mut Orders)) -> Result<(), String> {
        for replica in self.named(name)? {
            replica.queue.order(&order);
        }
        Ok(())
    }

    /// The replicas of this name; all of them under the tree's name or none.
    fn named(&self, name: Option<&str>) -> Result<Vec<&Observed>, String> {
        let Some(name) = name.filter(|name| *name != self.name) else {
            return Ok(self.replicas.iter().collect());
        };
        let is_it = |replica: &&Observed| {
            let status = replica.board.read();
            status.name == name || status.place == name
        };
        let named: Vec<&Observed> = self.replicas.iter().filter(is_it).collect();
        if named.is_empty() {
            let known: Vec<String> = self
                .replicas
                .iter()
                .map(|replica| replica.board.read().name)
                .collect();
            return Err(format!(
                "there is no replica {name} here; there is {}",
                known.join(", ")
            ));
        }
        Ok(named)
    }
}

impl Observed {
    fn status(&self) -> ReplicaStatus {
        let mut status = self.board.read();
        let waiting = self.queue.lock();
        status.waiting = waiting.len();
        status.brake_reason = status.brake.as_ref().map(ToString::to_string);
        status.lag = waiting
            .oldest()
            .map_or(0.0, |oldest| oldest.elapsed().as_secs_f64());
        status.state = match status.state {
            ReplicaState::Ended => ReplicaState::Ended,
            _ if status.brake.is_some() => ReplicaState::Braked,
            _ if waiting.orders.is_paused => ReplicaState::Paused,
            ReplicaState::InStep if status.waiting > 0 || waiting.under_way.is_some() => {
                ReplicaState::Busy
            }
            state => state,
        };
        status
    }

    fn look_at_everything(&self) {
        self.queue
            .add(|dirty| dirty.add(PathBuf::new(), Look::BELOW, Pace::Now, Instant::now()));
    }
}
