//! The command lines of inotifywatch and fsnotifywatch: count events, print a table at the end.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::inotify::{Event, Events, Inotify};
use crate::queue::{self, Queue, Taken, Waker};
use crate::tool::pattern::{Filter, Pattern};
use crate::tool::recursion::{Asked, Recursion, Unwatched};
use crate::tool::{Io, error_text, exit, init_error, limit_text};

mod options;
mod table;

use options::Options;
use table::Row;

/// Runs the command line; the first argument is the name the program was called by. Returns the exit
/// status: 0 after a table, 1 for an error.
pub fn run(arguments: impl Iterator<Item = OsString>, mut io: Io) -> u8 {
    let options = match options::parse(arguments, &mut io) {
        Ok(options) => options,
        Err(refusal) => return refusal.print(&mut io),
    };
    let signals = match Caught::start() {
        Ok(signals) => signals,
        Err(error) => {
            let _ = writeln!(io.stderr, "{error}");
            return exit::FAILURE;
        }
    };
    let _ = io.stderr.write_all(options.warnings.as_bytes());
    let status =
        Counting::start(options, &mut io, &signals).and_then(|mut counting| counting.run());
    status.unwrap_or_else(|text| {
        let _ = io.stderr.write_all(&text);
        exit::FAILURE
    })
}

/// Signals that have arrived.
struct Caught {
    flags: Arc<Flags>,
    handle: signal_hook::iterator::Handle,
}

#[derive(Default)]
struct Flags {
    end: AtomicBool,
    table: AtomicBool,
    /// Wakes the one who counts, once there is one.
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Caught {
    fn start() -> std::io::Result<Caught> {
        let mut signals = Signals::new([SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
        let handle = signals.handle();
        let flags = Arc::new(Flags::default());
        let caught = Caught {
            flags: Arc::clone(&flags),
            handle,
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    let flag = if signal == SIGUSR1 {
                        &flags.table
                    } else {
                        &flags.end
                    };
                    flag.store(true, Ordering::SeqCst);
                    if let Ok(waker) = flags.waker.lock()
                        && let Some(waker) = &*waker
                    {
                        waker.wake();
                    }
                }
            })?;
        Ok(caught)
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        self.handle.close();
    }
}

struct Counting<'io> {
    options: Options,
    filter: Option<Filter>,
    recursion: Recursion,
    queue: Queue,
    flags: Arc<Flags>,
    io: &'io mut Io,
    rows: Vec<Row>,
    /// Rows by watch descriptor, which is never used again.
    by_watch: HashMap<i32, usize>,
    _closer: queue::Closer,
}

impl<'io> Counting<'io> {
    /// Sets up the watches; an error is the text for stderr.
    fn start(options: Options, io: &'io mut Io, signals: &Caught) -> Result<Self, Vec<u8>> {
        let inotify = Inotify::new().map_err(|error| init_error(error).into_bytes())?;
        let filter = options.pattern.as_ref().map(Pattern::compile).transpose();
        let filter = filter.map_err(String::into_bytes)?;
        let inotify = Arc::new(inotify);
        let (queue, closer) = queue::start(Some(inotify.clone()), None)
            .map_err(|error| format!("{error}\n").into_bytes())?;
        if let Ok(mut waker) = signals.flags.waker.lock() {
            *waker = Some(queue.waker());
        }
        let recursion = Recursion::new(
            inotify,
            Asked {
                events: options.events,
                recursive: options.recursive,
                follow: options.recursive,
                no_dereference: options.no_dereference,
                excluded: options.operands.excluded.clone(),
            },
        );
        let mut counting = Counting {
            options,
            filter,
            recursion,
            queue,
            flags: Arc::clone(&signals.flags),
            io,
            rows: Vec::new(),
            by_watch: HashMap::new(),
            _closer: closer,
        };
        counting.set_up()?;
        Ok(counting)
    }

    fn set_up(&mut self) -> Result<(), Vec<u8>> {
        self.say(b"Establishing watches...\n");
        let verbose = self.options.verbose;
        for operand in std::mem::take(&mut self.options.operands.watched) {
            if verbose && self.options.recursive {
                self.say(&[b"Setting up watch(es) on ", &operand[..], b"\n"].concat());
            }
            self.recursion
                .add_operand(&operand)
                .map_err(|error| set_up_error(&error))?;
            if verbose && self.options.recursive {
                self.say(&[b"OK, ", &operand[..], b" is now being watched.\n"].concat());
            }
        }
        for (watch, path) in self.recursion.in_order() {
            self.by_watch.insert(watch, self.rows.len());
            self.rows.push(Row::new(path));
        }
        if verbose {
            let watches = self.recursion.len();
            self.say(format!("Total of {watches} watches.\n").as_bytes());
        }
        self.say(b"Finished establishing watches, now collecting statistics.\n");
        if verbose && self.options.timeout > 0 {
            let seconds = self.options.timeout;
            self.say(format!("Will listen for events for {seconds} seconds.\n").as_bytes());
        }
        if self.options.timeout < 0 {
            return Err(b"Negative timeout specified - abort!\n".to_vec());
        }
        Ok(())
    }

    /// Counts until it is time to end.
    fn run(&mut self) -> Result<u8, Vec<u8>> {
        let seconds = u64::try_from(self.options.timeout)
            .ok()
            .filter(|&seconds| seconds > 0);
        // A time too far away to be represented is never reached.
        let end =
            seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let mut bytes = Vec::new();
        loop {
            let until = end.into_iter().chain(self.recursion.deadline()).min();
            let taken = self.queue.take(&mut bytes, until);
            let now = Instant::now();
            for event in Events(&bytes) {
                self.count(event, now);
            }
            self.recursion.expire(now);
            if self.flags.table.swap(false, Ordering::SeqCst) {
                self.print_table();
                let _ = self
                    .io
                    .stdout
                    .write_all(b"\n")
                    .and_then(|()| self.io.stdout.flush());
            }
            let over = end.is_some_and(|end| end <= now);
            if over || taken == Taken::Closed || self.flags.end.load(Ordering::SeqCst) {
                self.print_table();
                return Ok(exit::DONE);
            }
        }
    }

    fn count(&mut self, event: Event<'_>, now: Instant) {
        if event.mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.say(b"Events were lost: the event queue was full.\n");
            return;
        }
        let Some((node, watched)) = self.recursion.watched(event) else {
            return;
        };
        let path = [&watched[..], event.name].concat();
        let dropped = self
            .filter
            .as_ref()
            .is_some_and(|filter| filter.drops(&path));
        if !dropped && !self.recursion.was_told(node, event) {
            self.add(event.watch, watched, event.mask.bits());
        }
        let mut found = Vec::new();
        if let Err(unwatched) = self.recursion.follow(node, event, now, &mut found) {
            let error = error_text(unwatched.error);
            let path = &unwatched.path;
            self.say(
                &[
                    b"Couldn't watch new directory ",
                    &path[..],
                    b": ",
                    error.as_bytes(),
                    b"\n",
                ]
                .concat(),
            );
        }
        for entry in found {
            let path = [&entry.watched[..], &entry.name].concat();
            if !self
                .filter
                .as_ref()
                .is_some_and(|filter| filter.drops(&path))
                && self.options.events & ReadFlags::CREATE.bits() != 0
            {
                self.add(entry.watch, entry.watched, ReadFlags::CREATE.bits());
            }
        }
    }

    fn add(&mut self, watch: i32, path: Vec<u8>, mask: u32) {
        let rows = &mut self.rows;
        let row = *self.by_watch.entry(watch).or_insert_with(|| {
            rows.push(Row::default());
            rows.len() - 1
        });
        // Renamed directories are listed by their last name.
        self.rows[row].path = path;
        self.rows[row].count(mask);
    }

    fn print_table(&mut self) {
        let Options {
            events,
            order,
            zero,
            ..
        } = self.options;
        match table::render(&self.rows, events, order, zero) {
            Some(table) => {
                let out = &mut self.io.stdout;
                let _ = out.write_all(&table).and_then(|()| out.flush());
            }
            None => self.say(b"No events occurred.\n"),
        }
    }

    fn say(&mut self, text: &[u8]) {
        let _ = self.io.stderr.write_all(text);
    }
}

fn set_up_error(unwatched: &Unwatched) -> Vec<u8> {
    let after = if unwatched.error == Errno::NOSPC {
        limit_text().to_owned()
    } else {
        format!(": {}\n", error_text(unwatched.error))
    };
    [b"Failed to watch ", &unwatched.path[..], after.as_bytes()].concat()
}
