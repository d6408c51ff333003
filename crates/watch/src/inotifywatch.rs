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

use crate::fanotify;
use crate::inotify::{Event, Events};
use crate::queue::{self, Queue, Taken, Waker};
use crate::tool::marks::Told;
use crate::tool::pattern::{Filter, Pattern};
use crate::tool::recursion::Unwatched;
use crate::tool::watches::{self, Watches};
use crate::tool::{Backend, Io, error_text, exit};

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
    watches: Watches,
    queue: Queue,
    flags: Arc<Flags>,
    io: &'io mut Io,
    rows: Vec<Row>,
    /// Rows by watch descriptor, which is never used again.
    by_watch: HashMap<i32, usize>,
    /// Rows by path: there are no descriptors with fanotify.
    by_path: HashMap<Vec<u8>, usize>,
    _closer: queue::Closer,
}

impl<'io> Counting<'io> {
    /// Sets up the watches; an error is the text for stderr.
    fn start(options: Options, io: &'io mut Io, signals: &Caught) -> Result<Self, Vec<u8>> {
        let asked = watches::Asked {
            backend: options.backend,
            events: options.events,
            recursive: options.recursive,
            follow: options.recursive,
            no_dereference: options.no_dereference,
            excluded: options.operands.excluded.clone(),
        };
        let (watches, queue, closer) = Watches::new(asked).map_err(String::into_bytes)?;
        let filter = options.pattern.as_ref().map(Pattern::compile).transpose();
        let filter = filter.map_err(String::into_bytes)?;
        if let Ok(mut waker) = signals.flags.waker.lock() {
            *waker = Some(queue.waker());
        }
        let mut counting = Counting {
            options,
            filter,
            watches,
            queue,
            flags: Arc::clone(&signals.flags),
            io,
            rows: Vec::new(),
            by_watch: HashMap::new(),
            by_path: HashMap::new(),
            _closer: closer,
        };
        counting.set_up()?;
        Ok(counting)
    }

    fn set_up(&mut self) -> Result<(), Vec<u8>> {
        self.say(b"Establishing watches...\n");
        let verbose = self.options.verbose;
        for operand in std::mem::take(&mut self.options.operands.watched) {
            let backend = self.options.backend;
            if backend == Backend::Filesystem {
                self.say(&[b"Setting up filesystem watch on ", &operand[..], b"\n"].concat());
            } else if verbose && self.options.recursive {
                self.say(&[b"Setting up watch(es) on ", &operand[..], b"\n"].concat());
            }
            self.watches
                .add_operand(&operand)
                .map_err(|error| set_up_error(&error, backend))?;
            if verbose && self.options.recursive {
                self.say(&[b"OK, ", &operand[..], b" is now being watched.\n"].concat());
            }
        }
        for (watch, path) in self.watches.in_order() {
            self.by_watch.insert(watch, self.rows.len());
            self.rows.push(Row::new(path));
        }
        if verbose {
            let watches = self.watches.len();
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
            let until = end.into_iter().chain(self.watches.deadline()).min();
            let taken = self.queue.take(&mut bytes, until);
            let now = Instant::now();
            if let Watches::Recursion(_) = self.watches {
                for event in Events(&bytes) {
                    self.count(event, now);
                }
            } else {
                self.count_marked(&bytes);
            }
            self.watches.expire(now);
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

    fn count_marked(&mut self, bytes: &[u8]) {
        for event in fanotify::Events(bytes) {
            let Watches::Marks(marks) = &mut self.watches else {
                return;
            };
            if event.mask & fanotify::mask::OVERFLOW != 0 {
                marks.overflow();
                self.say(OVERFLOW);
                continue;
            }
            for Told {
                watched,
                name,
                mask,
            } in marks.tell(event)
            {
                let path = [watched, name].concat();
                let filter = self.filter.as_ref();
                if filter.is_some_and(|filter| filter.drops(&path)) {
                    continue;
                }
                let rows = &mut self.rows;
                let row = *self.by_path.entry(path).or_insert_with_key(|path| {
                    rows.push(Row::new(path.clone()));
                    rows.len() - 1
                });
                self.rows[row].count(mask);
            }
        }
    }

    fn count(&mut self, event: Event<'_>, now: Instant) {
        if event.mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.say(OVERFLOW);
            return;
        }
        let Some(recursion) = self.watches.recursion() else {
            return;
        };
        let Some((node, watched)) = recursion.watched(event) else {
            return;
        };
        let path = [&watched[..], event.name].concat();
        let dropped = self
            .filter
            .as_ref()
            .is_some_and(|filter| filter.drops(&path));
        let counts = !dropped && !recursion.was_told(node, event);
        let mut found = Vec::new();
        let followed = recursion.follow(node, event, now, &mut found);
        if counts {
            self.add(event.watch, watched, event.mask.bits());
        }
        if let Err(unwatched) = followed {
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

const OVERFLOW: &[u8] = b"Events were lost: the event queue was full.\n";

fn set_up_error(unwatched: &Unwatched, backend: Backend) -> Vec<u8> {
    let after = if unwatched.error == Errno::NOSPC {
        backend.limit_text().to_owned()
    } else {
        format!(": {}\n", error_text(unwatched.error))
    };
    [b"Failed to watch ", &unwatched.path[..], after.as_bytes()].concat()
}
