//! The command lines of inotifywait and fsnotifywait: wait for an event, or print events for ever.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::inotify::ReadFlags;
use rustix::io::Errno;

use crate::fanotify;
use crate::inotify::{Event, Events};
use crate::queue::{self, Queue, Taken};
use crate::tool::diagnostics::Diagnostics;
use crate::tool::marks::Told;
use crate::tool::pattern::{Filter, Pattern};
use crate::tool::recursion::{Found, Unwatched};
use crate::tool::watches::{self, Watches};
use crate::tool::{Backend, Io, error_text, exit};

mod options;
mod output;

use options::Options;
use output::Line;

/// Tells the process that `-d` starts that it is the one.
const DETACHED: &str = "DRIFTLESS_DETACHED";

/// Runs the command line; the first argument is the name the program was called by. Returns the exit
/// status: 0 for an event, 1 for an error, 2 for a timeout (watch.md 3.1).
pub fn run(arguments: impl Iterator<Item = OsString>, mut io: Io) -> u8 {
    let arguments: Vec<OsString> = arguments.collect();
    let mut options = match options::parse(arguments.iter().cloned(), &mut io) {
        Ok(options) => options,
        Err(refusal) => return refusal.print(&mut io),
    };
    let _ = io.stderr.write_all(options.warnings.as_bytes());
    if options.daemon {
        if std::env::var_os(DETACHED).is_none() {
            return start_daemon(&arguments, &options, &mut io);
        }
        if let Err(error) = detach(&mut options) {
            let _ = writeln!(io.stderr, "{error}");
            return exit::FAILURE;
        }
    }
    let diagnostics = if options.syslog {
        Diagnostics::syslog(&options.name)
    } else {
        Diagnostics::Stderr(io.stderr)
    };
    let mut out = io.stdout;
    if let Some(path) = &options.outfile {
        let mut file = std::fs::OpenOptions::new();
        match file.append(true).create(true).mode(0o600).open(path) {
            Ok(file) => out = Box::new(file),
            Err(_) => {
                let mut diagnostics = diagnostics;
                let path = path.display();
                diagnostics.write(format!("Failed to open output file {path}\n").as_bytes());
                return exit::FAILURE;
            }
        }
    }
    let mut run = match Run::new(options, diagnostics, out) {
        Ok(run) => run,
        Err(status) => return status,
    };
    match run.wait() {
        Ok(status) | Err(status) => status,
    }
}

/// A run whose watches are set up.
struct Run {
    options: Options,
    filter: Option<Filter>,
    watches: Watches,
    queue: Queue,
    diagnostics: Diagnostics,
    out: Box<dyn Write + Send>,
    /// Lines of the events at hand.
    lines: Vec<u8>,
    /// Events that were asked for, so far.
    told: u64,
    /// Empties the kernel's queue as long as this lives.
    _closer: queue::Closer,
}

/// Lines are handed over at the latest when there are so many bytes of them.
const FULL: usize = 32 << 10;

impl Run {
    /// Sets up the watches; an error is the exit status, its reason told.
    fn new(
        options: Options,
        mut diagnostics: Diagnostics,
        out: Box<dyn Write + Send>,
    ) -> Result<Run, u8> {
        let asked = watches::Asked {
            backend: options.backend,
            events: options.events,
            recursive: options.recursive,
            follow: options.recursive && options.monitor,
            no_dereference: options.no_dereference,
            excluded: options.operands.excluded.clone(),
        };
        let (watches, queue, closer) = Watches::new(asked).map_err(|text| {
            diagnostics.write(text.as_bytes());
            exit::FAILURE
        })?;
        let filter = options.pattern.as_ref().map(Pattern::compile).transpose();
        let filter = filter.map_err(|text| {
            diagnostics.write(text.as_bytes());
            exit::FAILURE
        })?;
        if options.style.is_empty() {
            diagnostics.write(b"Something is wrong with your format string.\n");
            return Err(exit::FAILURE);
        }
        let mut run = Run {
            options,
            filter,
            watches,
            queue,
            diagnostics,
            out,
            lines: Vec::new(),
            told: 0,
            _closer: closer,
        };
        run.set_up()?;
        Ok(run)
    }

    fn set_up(&mut self) -> Result<(), u8> {
        if self.options.quiet == 0 {
            let filesystem = self.options.backend == Backend::Filesystem;
            self.diagnostics.write(if filesystem {
                b"Setting up filesystem watches.\n"
            } else if self.options.recursive {
                b"Setting up watches.  Beware: since -r was given, this may take a while!\n"
            } else {
                b"Setting up watches.\n"
            });
        }
        for operand in std::mem::take(&mut self.options.operands.watched) {
            let backend = self.options.backend;
            self.watches.add_operand(&operand).map_err(|unwatched| {
                self.diagnostics.write(&set_up_error(&unwatched, backend));
                exit::FAILURE
            })?;
        }
        if self.options.quiet == 0 {
            self.diagnostics.write(b"Watches established.\n");
        }
        if self.options.timeout < 0 {
            self.diagnostics
                .write(b"Negative timeout specified - abort!\n");
            return Err(exit::FAILURE);
        }
        Ok(())
    }

    /// Prints events until the run ends; an error is the exit status, too.
    fn wait(&mut self) -> Result<u8, u8> {
        let timeout = u64::try_from(self.options.timeout)
            .ok()
            .filter(|&seconds| seconds > 0);
        let timeout = timeout.map(Duration::from_secs);
        let mut idle_since = Instant::now();
        let mut bytes = Vec::new();
        loop {
            let told = self.told;
            // A time too far away to be represented is never reached.
            let end = timeout.and_then(|timeout| idle_since.checked_add(timeout));
            let until = end.into_iter().chain(self.watches.deadline()).min();
            let taken = self.queue.take(&mut bytes, until);
            let now = Instant::now();
            match taken {
                Taken::Closed => return Ok(exit::FAILURE),
                Taken::Nothing | Taken::Rung if end.is_some_and(|end| end <= now) => {
                    return Ok(exit::TIMEOUT);
                }
                Taken::Nothing | Taken::Rung | Taken::CaughtUp(_) => {}
                Taken::Events => {
                    let ended = self.take(&bytes, now)?;
                    self.flush()?;
                    if let Some(status) = ended {
                        return Ok(status);
                    }
                    // A mark hears of the whole filesystem: what is none of ours is silence.
                    if self.told > told || matches!(self.watches, Watches::Recursion(_)) {
                        idle_since = now;
                    } else if end.is_some_and(|end| end <= now) {
                        return Ok(exit::TIMEOUT);
                    }
                }
            }
            self.watches.expire(now);
        }
    }

    /// Handles what was read; a status ends the run.
    fn take(&mut self, bytes: &[u8], now: Instant) -> Result<Option<u8>, u8> {
        if let Watches::Marks(_) = self.watches {
            return self.take_marked(bytes);
        }
        let mut last = None;
        for event in Events(bytes) {
            // The kernel joins equal events in its queue, but our thread may have been between them.
            if last == Some(event) {
                continue;
            }
            last = Some(event);
            if let Some(status) = self.event(event, now) {
                return Ok(Some(status));
            }
            if self.lines.len() >= FULL {
                self.flush()?;
            }
        }
        Ok(None)
    }

    fn take_marked(&mut self, bytes: &[u8]) -> Result<Option<u8>, u8> {
        for event in fanotify::Events(bytes) {
            let Watches::Marks(marks) = &mut self.watches else {
                break;
            };
            let ended = if event.mask & fanotify::mask::OVERFLOW != 0 {
                marks.overflow();
                self.overflow(event.mask)
            } else {
                let told = marks.tell(event);
                self.told(told)
            };
            if ended.is_some() {
                return Ok(ended);
            }
            if self.lines.len() >= FULL {
                self.flush()?;
            }
        }
        Ok(None)
    }

    /// Prints events of marks, which are all asked for.
    fn told(&mut self, told: Vec<Told>) -> Option<u8> {
        for told in told {
            if self.drops(&told.watched, &told.name) {
                continue;
            }
            self.print(&told.watched, &told.name, told.mask, 0);
            if !self.options.monitor {
                return Some(exit::DONE);
            }
        }
        None
    }

    fn event(&mut self, event: Event<'_>, now: Instant) -> Option<u8> {
        let mask = event.mask.bits();
        if event.mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.overflow(mask);
        }
        let recursion = self.watches.recursion()?;
        let (node, watched) = recursion.watched(event)?;
        if recursion.was_told(node, event) {
            return None;
        }
        let asked = mask & self.options.events != 0;
        let dropped = self.drops(&watched, event.name);
        if asked && !dropped {
            self.print(&watched, event.name, mask, event.cookie);
        }
        if !self.options.monitor && !dropped {
            return Some(if asked { exit::DONE } else { exit::FAILURE });
        }
        let mut found = Vec::new();
        let recursion = self.watches.recursion()?;
        if let Err(unwatched) = recursion.follow(node, event, now, &mut found) {
            let mut text = b"Couldn't watch new directory ".to_vec();
            text.extend_from_slice(&unwatched.path);
            text.extend(format!(": {}\n", error_text(unwatched.error)).bytes());
            self.diagnostics.write(&text);
        }
        if self.options.synthetic {
            for entry in found {
                self.print_found(&entry);
            }
        }
        None
    }

    /// Lost events are told even when nobody asked for that event.
    fn overflow(&mut self, mask: u32) -> Option<u8> {
        let asked = mask & self.options.events != 0;
        if asked {
            self.print(b"", b"", mask, 0);
        } else if self.options.quiet < 2 {
            self.diagnostics
                .write(b"Events were lost: the event queue was full.\n");
        }
        let status = if asked { exit::DONE } else { exit::FAILURE };
        (!self.options.monitor).then_some(status)
    }

    /// Tells of an entry that a new directory held when it was read.
    fn print_found(&mut self, entry: &Found) {
        if self.drops(&entry.watched, &entry.name) {
            return;
        }
        let is_dir = if entry.is_dir {
            ReadFlags::ISDIR
        } else {
            ReadFlags::empty()
        };
        let mut masks = vec![ReadFlags::CREATE | is_dir];
        if entry.is_file {
            masks.push(ReadFlags::CLOSE_WRITE);
        }
        for mask in masks {
            if mask.bits() & self.options.events != 0 {
                self.print(&entry.watched, &entry.name, mask.bits(), 0);
            }
        }
    }

    fn drops(&self, watched: &[u8], name: &[u8]) -> bool {
        let path = || [watched, name].concat();
        self.filter
            .as_ref()
            .is_some_and(|filter| filter.drops(&path()))
    }

    fn print(&mut self, watched: &[u8], name: &[u8], mask: u32, cookie: u32) {
        self.told += 1;
        if self.options.quiet < 2 {
            let line = Line {
                watched,
                name,
                mask,
                cookie,
            };
            self.options.style.print(&line, &mut self.lines);
        }
    }

    fn flush(&mut self) -> Result<(), u8> {
        let written = self
            .out
            .write_all(&self.lines)
            .and_then(|()| self.out.flush());
        self.lines.clear();
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => exit::BROKEN_PIPE,
            _ => exit::FAILURE,
        })
    }
}

fn set_up_error(unwatched: &Unwatched, backend: Backend) -> Vec<u8> {
    let (before, after) = match unwatched.error {
        Errno::NOSPC => ("Failed to watch ", backend.limit_text().to_owned()),
        error => {
            let before = match backend {
                Backend::Filesystem => "Couldn't add filesystem watch ",
                Backend::Inotify | Backend::Fanotify => "Couldn't watch ",
            };
            (before, format!(": {}\n", error_text(error)))
        }
    };
    [before.as_bytes(), &unwatched.path, after.as_bytes()].concat()
}

/// Starts the program anew in the background, so that nothing of this process is inherited.
fn start_daemon(arguments: &[OsString], options: &Options, io: &mut Io) -> u8 {
    if let Some(path) = options.outfile.as_ref().filter(|path| !path.exists()) {
        let _ = writeln!(io.stderr, "No such file or directory: {}", path.display());
        return exit::FAILURE;
    }
    let started = std::env::current_exe().and_then(|program| {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        if let [name, rest @ ..] = arguments {
            command.arg0(name).args(rest);
        }
        command.env(DETACHED, "1");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn()
    });
    match started {
        Ok(_) => exit::DONE,
        Err(error) => {
            let _ = writeln!(io.stderr, "{error}");
            exit::FAILURE
        }
    }
}

/// Leaves the session and the working directory of whoever started this process. Relative paths are
/// resolved first; the original's daemon loses them.
fn detach(options: &mut Options) -> std::io::Result<()> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    rustix::process::setsid()?;
    let absolute = |path: &[u8]| {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        Ok::<_, std::io::Error>(std::path::absolute(path)?.into_os_string().into_vec())
    };
    for path in &mut options.operands.watched {
        *path = absolute(path)?;
    }
    let excluded = options.operands.excluded.iter().map(|path| absolute(path));
    options.operands.excluded = excluded.collect::<Result<_, _>>()?;
    if let Some(path) = &mut options.outfile {
        *path = std::path::absolute(&*path)?;
    }
    std::env::set_current_dir("/")
}
