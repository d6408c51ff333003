//! Between kernel and tracker: a thread that does nothing but empty the kernel's queue.
//!
//! The tracker may be busy for seconds with a directory of a million entries; the kernel's queue
//! holds 16,384 events by default and then drops them. So its events are kept here, as the bytes the
//! kernel gave, be they inotify's or fanotify's. When this too is full, the kernel's queue overflows,
//! which it tells.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// What events are read from.
pub(crate) type Kernel = dyn AsFd + Send + Sync;

/// Bytes kept for the tracker: about two million events.
const CAPACITY: usize = 64 << 20;

/// One read; the kernel fills it with whole events.
const READ: usize = 64 << 10;

/// In a stream of events, a pause to gather some is cheaper than to wake for each: most of the time would go to
/// switching between threads, of those behind this one too. The first pause after an event is this long; each that
/// gathered something is followed by one twice as long, up to what the consumer allows.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// As long as may be for a consumer that waits for more to come anyway. The kernel's queue has room for that.
pub(crate) const LONG_PAUSE: Duration = Duration::from_millis(8);

/// The tracker's end.
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

/// Ends the queue, and the thread that fills it.
#[derive(Debug)]
pub(crate) struct Closer {
    shared: Arc<Shared>,
    /// Wakes the thread out of poll(2), to end or to look at what was asked.
    bell: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Has [`Queue::take`] return although there is nothing.
#[derive(Debug)]
pub(crate) struct Waker {
    shared: Arc<Shared>,
}

/// What [`Queue::take`] came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There are events.
    Events,
    /// None came in time.
    Nothing,
    /// Somebody rang, or there is something about what else was to be waited for.
    Rung,
    /// What had happened when [`Closer::ask`] returned this number, or a lower one, has been taken.
    CaughtUp(u64),
    /// None will come any more.
    Closed,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
    woken: bool,
    /// How often it was asked to catch up; which of that the bytes here, and which those taken, have answered; and what
    /// of it the tracker knows.
    asked: u64,
    reached: u64,
    taken: u64,
    told: u64,
}

/// Starts to empty the kernel's queue; without one, the queue is a clock that can be closed. [`Queue::take`]
/// also returns when there is an exceptional condition on `other`. In a stream, events may come late by the
/// `longest_pause`.
pub(crate) fn start(
    kernel: Option<Arc<Kernel>>,
    other: Option<OwnedFd>,
    longest_pause: Duration,
) -> std::io::Result<(Queue, Closer)> {
    let shared = Arc::new(Shared {
        waiting: Mutex::new(Waiting {
            bytes: Vec::new(),
            closed: false,
            woken: false,
            asked: 0,
            reached: 0,
            taken: 0,
            told: 0,
        }),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    });
    let mut closer = Closer {
        shared: Arc::clone(&shared),
        bell: None,
        thread: None,
    };
    if let Some(kernel) = kernel {
        let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
        closer.bell = Some(bell.try_clone()?);
        let shared = Arc::clone(&shared);
        closer.thread = Some(
            std::thread::Builder::new()
                .name("watch-drain".into())
                .spawn(move || {
                    drain(&*kernel, &bell, other.as_ref(), longest_pause, &shared);
                    shared.close();
                })?,
        );
    }
    Ok((Queue { shared }, closer))
}

impl Waker {
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }
}

impl Queue {
    pub(crate) fn waker(&self) -> Waker {
        let shared = Arc::clone(&self.shared);
        Waker { shared }
    }

    /// Waits for events and swaps them into `into`, which is cleared first.
    pub(crate) fn take(&self, into: &mut Vec<u8>, until: Option<Instant>) -> Taken {
        into.clear();
        let mut waiting = self.shared.lock();
        loop {
            if waiting.bytes.is_empty() {
                waiting.taken = waiting.reached;
            }
            if waiting.taken > waiting.told {
                waiting.told = waiting.taken;
                return Taken::CaughtUp(waiting.told);
            }
            if !waiting.bytes.is_empty() {
                waiting.taken = waiting.reached;
                std::mem::swap(&mut waiting.bytes, into);
                // A burst should not hold its memory for ever.
                waiting.bytes.shrink_to(16 * READ);
                self.shared.emptied.notify_one();
                return Taken::Events;
            }
            if waiting.closed {
                return Taken::Closed;
            }
            if std::mem::take(&mut waiting.woken) {
                return Taken::Rung;
            }
            waiting = match until {
                None => self
                    .shared
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Taken::Nothing;
                    }
                    let waited = self.shared.filled.wait_timeout(waiting, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Queue {
    /// Nobody takes events any more: lets the thread end at the next one.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Closer {
    /// Has [`Queue::take`] return [`Taken::CaughtUp`] with this number, or a higher one, once all events of what has
    /// happened by now have been taken.
    pub(crate) fn ask(&self) -> u64 {
        let mut waiting = self.shared.lock();
        waiting.asked += 1;
        let asked = waiting.asked;
        if self.bell.is_none() {
            waiting.reached = asked;
        }
        drop(waiting);
        match self.bell {
            Some(_) => self.ring(),
            None => self.shared.filled.notify_all(),
        }
        asked
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            // Cannot fail: the counter is far from full.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.close();
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }

    /// The kernel had no more when this had been asked for.
    fn reach(&self, asked: u64) {
        let mut waiting = self.lock();
        if asked > waiting.reached {
            waiting.reached = asked;
            drop(waiting);
            self.filled.notify_all();
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    /// Appends events once there is room; false when nobody wants them any more.
    fn put(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.lock();
        while waiting.bytes.len() + bytes.len() > CAPACITY && !waiting.closed {
            waiting = self
                .emptied
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.closed {
            return false;
        }
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(bytes);
        // Whoever takes the bytes takes all of them, and should find the lock free when it wakes.
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
        true
    }
}

fn drain(
    kernel: &Kernel,
    bell: &OwnedFd,
    other: Option<&OwnedFd>,
    longest_pause: Duration,
    shared: &Shared,
) {
    let kernel = kernel.as_fd();
    let mut buffer = vec![0; READ];
    let mut has_read = false;
    let mut next_pause = FIRST_PAUSE;
    loop {
        let asked = shared.lock().asked;
        match rustix::io::retry_on_intr(|| rustix::io::read(kernel, &mut buffer[..])) {
            Ok(length) => {
                if !shared.put(&buffer[..length]) {
                    return;
                }
                has_read = true;
            }
            Err(Errno::WOULDBLOCK) => {
                shared.reach(asked);
                let pause = std::mem::take(&mut has_read).then_some(next_pause);
                next_pause = match pause {
                    Some(pause) => (pause * 2).min(longest_pause),
                    None => FIRST_PAUSE,
                };
                match wait(kernel, bell, other, pause) {
                    Ok(Wait::Over) => {}
                    Ok(Wait::Other) => shared.wake(),
                    Ok(Wait::Bell) if !shared.lock().closed => {
                        let _ = rustix::io::read(bell, &mut [0; 8]);
                    }
                    Ok(Wait::Bell) | Err(_) => return,
                }
            }
            Err(_) => return,
        }
    }
}

/// What ended a [`wait`].
enum Wait {
    /// There may be events.
    Over,
    Bell,
    Other,
}

/// Waits for events, or, to gather some, for a `pause`.
fn wait(
    kernel: BorrowedFd<'_>,
    bell: &OwnedFd,
    other: Option<&OwnedFd>,
    pause: Option<Duration>,
) -> Result<Wait, Errno> {
    let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
    let at_other = fds.len();
    fds.extend(other.map(|other| PollFd::new(other, PollFlags::PRI)));
    let pause = pause.map(|pause| Timespec {
        tv_sec: 0,
        tv_nsec: pause.subsec_nanos().into(),
    });
    if pause.is_none() {
        fds.push(PollFd::from_borrowed_fd(kernel, PollFlags::IN));
    }
    match poll(&mut fds, pause.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let rang = |at: usize, flags| fds.get(at).is_some_and(|fd| fd.revents().contains(flags));
    Ok(if rang(0, PollFlags::IN) {
        Wait::Bell
    } else if other.is_some() && rang(at_other, PollFlags::PRI) {
        Wait::Other
    } else {
        Wait::Over
    })
}
