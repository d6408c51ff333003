//! A daemon's end of a session: what its client asks for, and how that is carried out and told.
//!
//! A server that a remote shell has started has its words from a command line of its own; a daemon's come from a
//! stranger. None of them makes this process read a file that the daemon has not looked at.

use std::ffi::OsString;
use std::io::{self, Sink, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Zoned;
use transfer::{Cancel, Class, Error, Event, Events, FilesFrom, Options, Report, Server, Speaker};
use wire::{ClientInfo, Severity, Side};

use crate::engine;
use crate::env::Env;
use crate::exit::{Exit, Place};
use crate::given::{Dirs, Given, Recursion, SourceRemoval};
use crate::host::Route;
use crate::meant::Meant;
use crate::name_list;
use crate::output::{Log, Now, Printer, Visitor, notice_line, role_name, strerror};
use crate::parse::{self, Refuses};
use crate::run::{Run, place, told};
use crate::server::{Said, severity};
use crate::stop::{Stop, shown};
use crate::table::Opt;

/// What a client wants, as far as it has said so.
#[derive(Debug)]
pub struct Request {
    given: Given,
    fault: Option<Stop>,
}

/// What a daemon holds its clients to.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The count of `-v` beyond which nothing more is told (`max verbosity`).
    pub max_verbosity: u32,
    /// The format of the log's line for each item; `None` is no line (`transfer logging`).
    pub log_format: Option<Vec<u8>>,
    /// The client of the log's lines.
    pub visitor: Visitor,
    /// KiB a second for a transfer; 0 is no limit (`--bwlimit`).
    pub bwlimit: u64,
    /// Seconds without a sign of life; 0 is no limit of the daemon's own (`timeout`).
    pub timeout: u32,
    /// The charset of the module's names; empty leaves names as they are (`charset`).
    pub charset: Vec<u8>,
    /// The umask of the process.
    pub umask: u32,
}

/// Why there is no session, as lines for the client, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// rsync's words.
    pub lines: Vec<Vec<u8>>,
    /// The exit code.
    pub code: u8,
    /// A client that pulls hears the code too, and not only the words.
    pub tells_code: bool,
}

/// A request that can be carried out.
pub struct Order<'a> {
    run: Run<'a>,
    bounds: Bounds,
}

impl Request {
    /// Reads the words that a client has sent. What is wrong with them is told when they are settled: the session has to
    /// begin before its client can be told why it does not go on.
    #[must_use]
    pub fn read(words: &[Vec<u8>], refuses: Refuses<'_>) -> Self {
        let given = Given {
            server: true,
            ..Given::nothing()
        };
        let (given, fault) = parse::of_client(given, words, &|row, name| {
            let reads = reads_files(row).then(|| row.shown_as(name));
            reads.or_else(|| refuses(row, name))
        });
        Self { given, fault }
    }

    /// Reads further words, which came apart from the first ones (wire-session.md 2.5).
    #[must_use]
    pub fn and(self, words: &[Vec<u8>], refuses: Refuses<'_>) -> Self {
        if self.fault.is_some() {
            return self;
        }
        let (given, fault) = parse::of_client(self.given, words, &|row, name| {
            let reads = reads_files(row).then(|| row.shown_as(name));
            reads.or_else(|| refuses(row, name))
        });
        Self { given, fault }
    }

    /// Whether further words follow.
    #[must_use]
    pub fn is_secluded(&self) -> bool {
        self.fault.is_none() && self.given.secluded_args == Some(true)
    }

    /// Whether the client is to receive.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.given.sender
    }

    /// Whether names keep the whole paths.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        self.given
            .relative
            .unwrap_or(self.given.files_from.is_some())
    }

    /// Whether what was sent is removed afterwards, and by which option.
    #[must_use]
    pub fn removes_sources(&self) -> Option<&'static str> {
        self.given.remove_source_files.map(SourceRemoval::option)
    }

    /// The paths, as the client has written them.
    #[must_use]
    pub fn paths(&self) -> &[Vec<u8>] {
        match self.given.operands.split_first() {
            Some((first, rest)) if first == b"." => rest,
            _ => &self.given.operands,
        }
    }

    /// Puts other paths in place of those that the client has written.
    pub fn set_paths(&mut self, paths: Vec<Vec<u8>>) {
        self.given.operands = std::iter::once(b".".to_vec()).chain(paths).collect();
    }

    /// The file with the names to transfer, if the client has named one of ours.
    #[must_use]
    pub fn names_file(&self) -> Option<&[u8]> {
        self.given
            .files_from
            .as_deref()
            .filter(|&name| name != b"-")
    }

    /// What a client of this request can do.
    #[must_use]
    pub fn info(&self) -> ClientInfo {
        ClientInfo::parse(self.given.rsh.as_deref().unwrap_or_default())
    }

    /// Settles what is to be done. The options serve to begin the session in any case. `names` is the content of
    /// [`Request::names_file`].
    pub fn settle<'a>(
        mut self,
        bounds: Bounds,
        env: &'a Env,
        names: Option<io::Result<Vec<u8>>>,
    ) -> (Options, Result<Order<'a>, Refusal>) {
        let mut fault = self.fault.take();
        let names = match names {
            None => None,
            Some(Ok(text)) => Some(self.take_names(&text)),
            Some(Err(cause)) => {
                let name = shown(self.given.files_from.take().as_deref().unwrap_or_default());
                let cause = strerror(&cause);
                let words = cause.rsplit_once(" (").map_or(&*cause, |(words, _)| words);
                let text = format!("failed to open files-from file {name}: {words}");
                fault.get_or_insert(Stop::option(text));
                None
            }
        };
        self.bound(&bounds);
        if fault.is_some() {
            // What has been read of the options still tells how the session begins.
            self.set_paths(vec![b".".to_vec()]);
        }
        let cancel = Cancel::default();
        let sends = self.given.sender;
        let settled = Meant::new(self.given, env, &Zoned::now()).and_then(|meant| {
            let options = engine::options(&meant, env, !sends, bounds.umask, &cancel)?;
            Ok((meant, options))
        });
        match settled {
            Ok((meant, options)) => {
                let report = Report {
                    items: true,
                    ..options.report
                };
                let options = Options {
                    files_from: names.or(options.files_from),
                    report,
                    ..options
                };
                let run = Run {
                    meant,
                    env,
                    cancel,
                    usr1: Arc::default(),
                };
                let order = match fault {
                    None => Ok(Order { run, bounds }),
                    Some(stop) => Err(Refusal::of(stop)),
                };
                (options, order)
            }
            Err(stop) => {
                let options = Options {
                    inc_recursive: false,
                    ..Options::new(Side::Server)
                };
                (options, Err(Refusal::of(fault.unwrap_or(stop))))
            }
        }
    }

    /// The names of a file take the place of `--files-from`, with what that implies.
    fn take_names(&mut self, text: &[u8]) -> FilesFrom {
        let given = &mut self.given;
        given.files_from = None;
        given.relative = Some(given.relative.unwrap_or(true));
        if given.dirs == Dirs::Auto {
            given.dirs = Dirs::Asked;
        }
        if given.recursive == Recursion::Implied {
            given.recursive = Recursion::Off;
        }
        FilesFrom::Names(name_list::names(text, given.from0, !given.from0))
    }

    /// Keeps the client to what the daemon permits.
    fn bound(&mut self, bounds: &Bounds) {
        let given = &mut self.given;
        given.verbose = given.verbose.min(bounds.max_verbosity);
        given.info.cap(bounds.max_verbosity);
        given.debug.cap(bounds.max_verbosity);
        given.log_file = None;
        given.log_file_format.clone_from(&bounds.log_format);
        if bounds.bwlimit > 0 && (given.bwlimit == 0 || given.bwlimit > bounds.bwlimit) {
            given.bwlimit = bounds.bwlimit;
        }
        let timeout = i32::try_from(bounds.timeout).unwrap_or(i32::MAX);
        if timeout > 0 && (given.timeout <= 0 || given.timeout > timeout) {
            given.timeout = timeout;
        }
        // A client names only its own charset; without one of ours there is nothing to convert.
        given.iconv = given.iconv.take().filter(|_| !bounds.charset.is_empty());
        if given.iconv.is_some() {
            given.iconv = Some(bounds.charset.clone());
        }
    }
}

/// Options whose values are files of this machine that no transfer needs.
fn reads_files(row: &Opt) -> bool {
    const FILES: &[&str] = &[
        "copy-as",
        "exclude-from",
        "filter",
        "include-from",
        "log-file",
        "read-batch",
        "write-batch",
        "only-write-batch",
    ];
    FILES.contains(&row.long) || row.short == Some(b'F')
}

impl Refusal {
    /// Lines of the daemon's own.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>, code: u8) -> Self {
        Self {
            lines: vec![text.into()],
            code,
            tells_code: true,
        }
    }

    fn of(stop: Stop) -> Self {
        match stop {
            // Whatever is wrong with the words of a client: a daemon does not do it.
            Stop::Refuse(text, _) => Self {
                lines: text.lines().map(|line| line.as_bytes().to_vec()).collect(),
                code: Exit::Unsupported.code(),
                tells_code: false,
            },
            // Neither help nor usage is for a daemon to show.
            Stop::Usage | Stop::Show(_) => Self::new("rsync: on remote machine: usage error", 1),
        }
    }

    /// The line that explains the code, for log and client.
    #[must_use]
    pub fn last_line(&self, sends: bool) -> Option<String> {
        let role = if sends { "sender" } else { "Receiver" };
        Exit::of(self.code).line(&place!(role))
    }
}

/// The line that explains the exit code of a daemon's process.
#[must_use]
pub fn last_line(exit: Exit, role: &'static str) -> String {
    exit.line(&place!(role)).unwrap_or_default()
}

impl Order<'_> {
    /// Carries the request out. The paths are those that [`Request::set_paths`] was told last, `options` those of
    /// [`Request::settle`] with what the daemon has made of them. What the client is told goes to `log` too. Returns the
    /// exit code.
    #[must_use]
    pub fn serve(self, server: Server, options: Options, log: Box<dyn Log>) -> u8 {
        let Self { run, bounds } = self;
        run.heed_interrupts();
        let sends = !run.we_receive();
        let speaker = server.speaker();
        let mut settings = run.settings();
        settings.log_format = settings.log_format.filter(|_| bounds.log_format.is_some());
        settings.facts.visitor = Some(bounds.visitor);
        let out: Box<dyn Write + Send> = Box::new(Said::new(speaker.clone()));
        let voice = Voice {
            lines: Mutex::new(Printer::new(out, io::sink(), settings, Some(log))),
            speaker,
            role: run.role(),
        };
        let result = match &run.meant.route {
            Route::Local { sources, .. } if sends => {
                let sources: Vec<OsString> =
                    sources.iter().cloned().map(OsString::from_vec).collect();
                server.send(options, &sources, &voice)
            }
            Route::Local { destination, .. } => {
                let path = destination.as_deref().map(engine::path);
                server.receive(options, &path.unwrap_or_else(|| PathBuf::from(".")), &voice)
            }
            Route::Push { .. } | Route::Pull { .. } => return Exit::Syntax.code(),
        };
        let mut lines = voice
            .lines
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(outcome) => {
                let now = Now::read();
                if sends || outcome.exit_code() == 0 {
                    lines.finished(&outcome, std::time::Duration::ZERO, now);
                }
                outcome.exit_code()
            }
            Err(error) => error.exit_code(),
        }
    }
}

/// What the engine reports: to the client as far as it does not see it by itself, and to the log.
struct Voice {
    lines: Mutex<Printer<Box<dyn Write + Send>, Sink>>,
    speaker: Speaker,
    role: &'static str,
}

impl Events for Voice {
    fn event(&self, event: Event<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Now::read();
        let mut tell = |severity: Severity, line: &[u8]| {
            self.speaker.say(severity, &[line, b"\n"].concat());
            lines.log_as(line, severity != Severity::Info, now);
        };
        match &event {
            Event::Message(notice) if notice.class != Class::Info => {
                tell(severity(notice.class), &notice_line(notice));
            }
            Event::Failed(error) => {
                let exit = Exit::of(error.exit_code());
                let role = match error {
                    Error::Fatal { role, .. } => role_name(*role),
                    _ => self.role,
                };
                for line in told(error, role) {
                    tell(Severity::Error, line.as_bytes());
                }
                if let Some(line) = exit.line(&place!(role)) {
                    tell(Severity::Error, line.as_bytes());
                }
            }
            // What a client says is not told to it again.
            Event::Peer { severity, text } => {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                lines.log_as(text, *severity != Severity::Info, now);
            }
            Event::Itemized(item) => lines.log_item(item, now),
            _ => lines.event(&event, now),
        }
    }
}
