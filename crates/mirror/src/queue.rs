//! What one replica has been told and has not done yet: looks, and the operator's orders. Shared between those who
//! hint or command and the one thread that looks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use transfer::Cancel;

use crate::dirty::DirtySet;

/// How often those who wait for a replica look at it again.
const WATCH_EVERY: Duration = Duration::from_millis(10);

/// The waiting looks and orders of one replica.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Paths that are worth a look.
    pub(crate) dirty: DirtySet,
    /// What the operator wants.
    pub(crate) orders: Orders,
    /// Since when what is being brought over now has waited.
    pub(crate) under_way: Option<Instant>,
}

/// What the operator wants of a replica.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Nothing is brought over for now.
    pub(crate) is_paused: bool,
    /// Whatever brake holds is released, until the replica is in step.
    pub(crate) is_approved: bool,
    /// The replica itself is to be compared, as soon as it is in step.
    pub(crate) verify: bool,
}

impl Waiting {
    /// How many paths wait.
    pub(crate) fn len(&self) -> usize {
        self.dirty.len()
    }

    /// Since when the replica has been behind.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.dirty.oldest().into_iter().chain(self.under_way).min()
    }
}

impl Queue {
    pub(crate) fn new(dirty: DirtySet) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                dirty,
                orders: Orders::default(),
                under_way: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds looks, and wakes the replica if one of them is due before all others.
    pub(crate) fn add(&self, add: impl FnOnce(&mut DirtySet)) {
        let is_sooner = {
            let dirty = &mut self.lock().dirty;
            let before = dirty.none_due_before();
            add(dirty);
            let after = dirty.none_due_before();
            before.is_none_or(|before| after.is_some_and(|after| after < before))
        };
        if is_sooner {
            self.changed.notify_all();
        }
    }

    /// Gives orders, and wakes the replica.
    pub(crate) fn order(&self, order: impl FnOnce(&mut Orders)) {
        order(&mut self.lock().orders);
        self.changed.notify_all();
    }

    /// Wakes the replica to see that it should stop.
    pub(crate) fn wake(&self) {
        // Taking the lock orders this after a wait that is just about to begin.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Whether a look is due now.
    pub(crate) fn has_due(&self) -> bool {
        let now = Instant::now();
        let due = self.lock().dirty.next_due(now);
        due.is_some_and(|due| due <= now)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something, of this queue or at `alarm`, will be due within `lead`, but not before `not_before`; false
    /// when asked to stop. Nothing is due while the replica is paused. An order to verify is due at once if it
    /// `can_verify`.
    pub(crate) fn wait(
        &self,
        alarm: Option<Instant>,
        lead: Duration,
        not_before: Option<Instant>,
        can_verify: bool,
        stop: &Cancel,
    ) -> bool {
        let mut waiting = self.lock();
        loop {
            if stop.is_cancelled() {
                return false;
            }
            let now = Instant::now();
            let due = waiting
                .dirty
                .next_due(now + lead)
                .into_iter()
                .chain(alarm)
                .min()
                .map(|due| due.max(not_before.unwrap_or(due)) - lead);
            let wake_at = match waiting.orders.is_paused {
                true => None,
                false if can_verify && waiting.orders.verify => Some(now),
                false => due,
            };
            waiting = match wake_at {
                Some(at) if at <= now => return true,
                Some(at) => {
                    let waited = self.changed.wait_timeout(waiting, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Waits until everything that was known at `since` has been brought over; false at the deadline, or when `give_up`
    /// says that there is no point.
    pub(crate) fn wait_until_held(
        &self,
        since: Instant,
        deadline: Instant,
        give_up: impl Fn() -> bool,
    ) -> bool {
        loop {
            if self.lock().oldest().is_none_or(|oldest| oldest > since) {
                return true;
            }
            if Instant::now() >= deadline || give_up() {
                return false;
            }
            std::thread::sleep(WATCH_EVERY);
        }
    }
}
