//! inotifywait's arguments: read in order, then checked in the order of the original (watch.md 2).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::tool::events;
use crate::tool::getopt::{Getopt, Opt};
use crate::tool::operands::Operands;
use crate::tool::pattern::{self, Pattern};
use crate::tool::{Backend, Io, Refusal, base_name, parse_seconds};

use super::output::Style;

/// What was asked for.
pub(super) struct Options {
    /// The program's base name.
    pub(super) name: String,
    pub(super) backend: Backend,
    pub(super) operands: Operands,
    pub(super) monitor: bool,
    pub(super) daemon: bool,
    pub(super) recursive: bool,
    pub(super) no_dereference: bool,
    /// How often `-q` was given.
    pub(super) quiet: u8,
    pub(super) syslog: bool,
    pub(super) outfile: Option<PathBuf>,
    /// Seconds; 0 means for ever.
    pub(super) timeout: i64,
    pub(super) events: u32,
    pub(super) style: Style,
    pub(super) pattern: Option<Pattern>,
    /// Whether entries found in new directories are told when no event of theirs was.
    pub(super) synthetic: bool,
    /// For stderr, once it is known that the arguments are right.
    pub(super) warnings: String,
}

#[derive(Clone, Copy)]
enum Key {
    Help,
    FromFile,
    Exclude,
    ExcludeIgnoringCase,
    Include,
    IncludeIgnoringCase,
    Monitor,
    Daemon,
    OutFile,
    Syslog,
    NoDereference,
    Recursive,
    Quiet,
    Format,
    NoNewline,
    TimeFormat,
    Csv,
    Timeout,
    Event,
    FileName,
    Inotify,
    Fanotify,
    Filesystem,
    Synthetic,
}

/// In the order in which ambiguous abbreviations are listed.
const TABLE: &[Opt<Key>] = &[
    Opt::flag(Key::Help, Some(b'h'), "help"),
    Opt::value(Key::Event, Some(b'e'), "event"),
    Opt::flag(Key::Inotify, Some(b'I'), "inotify"),
    Opt::flag(Key::FileName, Some(b'f'), "filename"),
    Opt::flag(Key::Fanotify, Some(b'F'), "fanotify"),
    Opt::flag(Key::Filesystem, Some(b'S'), "filesystem"),
    Opt::value(Key::Format, None, "format"),
    Opt::flag(Key::Monitor, Some(b'm'), "monitor"),
    Opt::flag(Key::Daemon, Some(b'd'), "daemon"),
    Opt::flag(Key::NoDereference, Some(b'P'), "no-dereference"),
    Opt::flag(Key::NoNewline, None, "no-newline"),
    Opt::value(Key::OutFile, Some(b'o'), "outfile"),
    Opt::flag(Key::Syslog, Some(b's'), "syslog"),
    Opt::flag(Key::Quiet, Some(b'q'), "quiet"),
    Opt::value(Key::Timeout, Some(b't'), "timeout"),
    Opt::value(Key::TimeFormat, None, "timefmt"),
    Opt::flag(Key::Recursive, Some(b'r'), "recursive"),
    Opt::flag(Key::Csv, Some(b'c'), "csv"),
    Opt::value(Key::FromFile, None, "fromfile"),
    Opt::value(Key::Exclude, None, "exclude"),
    Opt::value(Key::ExcludeIgnoringCase, None, "excludei"),
    Opt::value(Key::Include, None, "include"),
    Opt::value(Key::IncludeIgnoringCase, None, "includei"),
];

/// Options the original does not have. They cannot be abbreviated, so that its abbreviations stay.
const OWN: &[Opt<Key>] = &[Opt::value(Key::Synthetic, None, "synthetic")];

const HELP: &str = include_str!("help.txt");

/// What was said, before it is known what it means together.
#[derive(Default)]
struct Given {
    operands: Operands,
    from_file: bool,
    format: Option<Vec<u8>>,
    time_format: Option<Vec<u8>>,
    csv: bool,
    no_newline: bool,
    events: u32,
    patterns: pattern::Given,
    monitor: bool,
    daemon: bool,
    recursive: bool,
    no_dereference: bool,
    quiet: u8,
    syslog: bool,
    outfile: Option<PathBuf>,
    timeout: i64,
    no_synthetic: bool,
    /// The last of -I, -F and -S.
    backend: Option<Backend>,
    warnings: String,
}

/// Reads the arguments, the first of which is the name the program was called by.
pub(super) fn parse(
    mut arguments: impl Iterator<Item = OsString>,
    io: &mut Io,
) -> Result<Options, Refusal> {
    let called_as = arguments.next().unwrap_or_else(|| "inotifywait".into());
    let name = base_name(&called_as);
    let mut getopt = Getopt::new(&called_as, TABLE, OWN, arguments);
    let mut given = Given::default();
    while let Some((key, value)) = getopt.next().map_err(Refusal::Error)? {
        given.take(key, value, &name, io)?;
    }
    given.operands.add_all(getopt.into_operands());
    given.check(name)
}

impl Given {
    fn take(&mut self, key: Key, value: OsString, name: &str, io: &mut Io) -> Result<(), Refusal> {
        let error = |text: &str| Err(Refusal::Error(text.to_owned()));
        match key {
            Key::Help => {
                let help = HELP.replace("{name}", name);
                return Err(Refusal::Help(
                    help.replace("{backends}", Backend::help(name)),
                ));
            }
            Key::FromFile if self.from_file => {
                return error("Multiple --fromfile options given.\n");
            }
            Key::FromFile => {
                self.from_file = true;
                let read = self.operands.add_list(Path::new(&value), &mut io.stdin);
                self.warnings.extend(read.err());
            }
            Key::Exclude => self
                .patterns
                .exclude(value.into_vec(), false, &mut self.warnings),
            Key::ExcludeIgnoringCase => {
                self.patterns
                    .exclude(value.into_vec(), true, &mut self.warnings);
            }
            Key::Include => self.patterns.include(value.into_vec(), false),
            Key::IncludeIgnoringCase => self.patterns.include(value.into_vec(), true),
            Key::Monitor => self.monitor = true,
            Key::Daemon => (self.daemon, self.monitor, self.syslog) = (true, true, true),
            Key::OutFile if self.outfile.is_some() => {
                return error("Multiple --outfile options given.\n");
            }
            Key::OutFile => self.outfile = Some(value.into()),
            Key::Syslog => self.syslog = true,
            Key::NoDereference => self.no_dereference = true,
            Key::Recursive => self.recursive = true,
            Key::Quiet => self.quiet = self.quiet.saturating_add(1),
            Key::Format => self.format = Some(value.into_vec()),
            Key::NoNewline => self.no_newline = true,
            Key::TimeFormat => self.time_format = Some(value.into_vec()),
            Key::Csv => self.csv = true,
            Key::Timeout => self.timeout = parse_seconds(&value).map_err(Refusal::Error)?,
            Key::Event => self.events |= events::parse_argument(&value).map_err(Refusal::Error)?,
            Key::FileName => {
                return error(
                    "The '--filename' option no longer exists.  The option it enabled in earlier\n\
                     versions of inotifywait is now turned on by default.\n",
                );
            }
            Key::Inotify => self.backend = Some(Backend::Inotify),
            Key::Fanotify => self.backend = Some(Backend::Fanotify),
            Key::Filesystem => self.backend = Some(Backend::Filesystem),
            Key::Synthetic => self.no_synthetic = value == "no",
        }
        Ok(())
    }

    fn check(self, name: String) -> Result<Options, Refusal> {
        let pattern = self.patterns.check().map_err(Refusal::Error)?;
        let format = self.format.as_deref();
        let uses_time = format.is_some_and(|text| text.windows(2).any(|pair| pair == b"%T"));
        let wrong = [
            (
                format.is_some() && self.csv,
                "-c and --format cannot both be specified.",
            ),
            (
                self.no_newline && format.is_none(),
                "--no-newline cannot be specified without --format.",
            ),
            (
                self.time_format.is_some() && format.is_none(),
                "--timefmt cannot be specified without --format.",
            ),
            (
                uses_time && self.time_format.is_none(),
                "%T is in --format string, but --timefmt was not specified.",
            ),
            (
                self.daemon && self.outfile.is_none(),
                "-o must be specified with -d.",
            ),
        ];
        if let Some((_, text)) = wrong.iter().find(|(wrong, _)| *wrong) {
            return Err(Refusal::Error(format!("{text}\n")));
        }
        if self.operands.watched.is_empty() {
            let text = self.warnings + "No files specified to watch!\n";
            return Err(Refusal::Error(text));
        }
        Ok(Options {
            backend: self.backend.unwrap_or(Backend::of_program(&name)),
            name,
            operands: self.operands,
            monitor: self.monitor,
            daemon: self.daemon,
            recursive: self.recursive,
            no_dereference: self.no_dereference,
            quiet: self.quiet,
            syslog: self.syslog,
            outfile: self.outfile,
            timeout: self.timeout,
            events: if self.events == 0 {
                events::ALL
            } else {
                self.events
            },
            style: Style::new(self.csv, self.format, !self.no_newline, self.time_format),
            pattern,
            synthetic: !self.no_synthetic,
            warnings: self.warnings,
        })
    }
}
