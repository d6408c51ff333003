//! inotifywatch's arguments (watch.md 7).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::tool::events;
use crate::tool::getopt::{Getopt, Opt};
use crate::tool::operands::Operands;
use crate::tool::pattern::Pattern;
use crate::tool::{Backend, Io, Refusal, base_name, parse_seconds};

use super::table::{Order, Sort};

/// What was asked for.
pub(super) struct Options {
    pub(super) backend: Backend,
    pub(super) operands: Operands,
    pub(super) verbose: bool,
    pub(super) zero: bool,
    pub(super) recursive: bool,
    pub(super) no_dereference: bool,
    /// Seconds; 0 means until a signal.
    pub(super) timeout: i64,
    pub(super) events: u32,
    pub(super) order: Order,
    pub(super) pattern: Option<Pattern>,
    /// For stderr, once it is known that the arguments are right.
    pub(super) warnings: String,
}

#[derive(Clone, Copy)]
enum Key {
    Help,
    Verbose,
    FromFile,
    Exclude,
    ExcludeIgnoringCase,
    Include,
    IncludeIgnoringCase,
    Zero,
    Recursive,
    NoDereference,
    Timeout,
    Event,
    Ascending,
    Descending,
    Inotify,
    Fanotify,
    Filesystem,
}

/// In the order in which ambiguous abbreviations are listed.
const TABLE: &[Opt<Key>] = &[
    Opt::flag(Key::Help, Some(b'h'), "help"),
    Opt::value(Key::Event, Some(b'e'), "event"),
    Opt::flag(Key::Inotify, Some(b'I'), "inotify"),
    Opt::flag(Key::Fanotify, Some(b'F'), "fanotify"),
    Opt::flag(Key::Filesystem, Some(b'S'), "filesystem"),
    Opt::flag(Key::Verbose, Some(b'v'), "verbose"),
    Opt::value(Key::Timeout, Some(b't'), "timeout"),
    Opt::flag(Key::NoDereference, Some(b'P'), "no-dereference"),
    Opt::value(Key::Ascending, Some(b'a'), "ascending"),
    Opt::value(Key::Descending, Some(b'd'), "descending"),
    Opt::flag(Key::Recursive, Some(b'r'), "recursive"),
    Opt::flag(Key::Zero, Some(b'z'), "zero"),
    Opt::value(Key::FromFile, None, "fromfile"),
    Opt::value(Key::Exclude, None, "exclude"),
    Opt::value(Key::ExcludeIgnoringCase, None, "excludei"),
    Opt::value(Key::Include, None, "include"),
    Opt::value(Key::IncludeIgnoringCase, None, "includei"),
];

const HELP: &str = include_str!("help.txt");

/// Reads the arguments, the first of which is the name the program was called by.
pub(super) fn parse(
    mut arguments: impl Iterator<Item = OsString>,
    io: &mut Io,
) -> Result<Options, Refusal> {
    let error = |text: &str| Err(Refusal::Error(text.to_owned()));
    let called_as = arguments.next().unwrap_or_else(|| "inotifywatch".into());
    let name = base_name(&called_as);
    let mut getopt = Getopt::new(&called_as, TABLE, &[], arguments);
    let mut options = Options {
        backend: Backend::of_program(&name),
        operands: Operands::default(),
        verbose: false,
        zero: false,
        recursive: false,
        no_dereference: false,
        timeout: 0,
        events: 0,
        order: Order::default(),
        pattern: None,
        warnings: String::new(),
    };
    let mut patterns = crate::tool::pattern::Given::default();
    let mut from_file = false;
    let mut sorted_ascending = false;
    while let Some((key, value)) = getopt.next().map_err(Refusal::Error)? {
        match key {
            Key::Help => {
                let help = HELP.replace("{name}", &name);
                return Err(Refusal::Help(
                    help.replace("{backends}", Backend::help(&name)),
                ));
            }
            Key::Verbose => options.verbose = true,
            Key::FromFile if from_file => return error("Multiple --fromfile options given.\n"),
            Key::FromFile => {
                from_file = true;
                let read = options.operands.add_list(Path::new(&value), &mut io.stdin);
                options.warnings.extend(read.err());
            }
            Key::Exclude => patterns.exclude(value.into_vec(), false, &mut options.warnings),
            Key::ExcludeIgnoringCase => {
                patterns.exclude(value.into_vec(), true, &mut options.warnings);
            }
            Key::Include => patterns.include(value.into_vec(), false),
            Key::IncludeIgnoringCase => patterns.include(value.into_vec(), true),
            Key::Zero => options.zero = true,
            Key::Recursive => options.recursive = true,
            Key::NoDereference => options.no_dereference = true,
            Key::Timeout => options.timeout = parse_seconds(&value).map_err(Refusal::Error)?,
            Key::Event => {
                options.events |= events::parse_argument(&value).map_err(Refusal::Error)?;
            }
            // Noticed only when -a came first (watch.md 7).
            Key::Ascending | Key::Descending if sorted_ascending => {
                return error("Please specify -a or -d once only!\n");
            }
            Key::Ascending => {
                sorted_ascending = true;
                options.order = parse_key(&value, Sort::Ascending)?;
            }
            Key::Descending => options.order = parse_key(&value, Sort::Descending)?,
            Key::Inotify => options.backend = Backend::Inotify,
            Key::Fanotify => options.backend = Backend::Fanotify,
            Key::Filesystem => options.backend = Backend::Filesystem,
        }
    }
    options.operands.add_all(getopt.into_operands());
    options.pattern = patterns.check().map_err(Refusal::Error)?;
    if options.operands.watched.is_empty() {
        return Err(Refusal::Error(
            options.warnings + "No files specified to watch!\n",
        ));
    }
    if options.events == 0 {
        options.events = events::ALL;
    }
    if options.order.event != 0 && options.order.event & options.events == 0 {
        return error("Can't sort by an event which isn't being watched for!\n");
    }
    Ok(options)
}

fn parse_key(value: &OsStr, sort: Sort) -> Result<Order, Refusal> {
    let name = value.to_string_lossy();
    let lower = name.to_ascii_lowercase();
    let error = match (sort, lower.as_str()) {
        (_, "total") => return Ok(Order { sort, event: 0 }),
        (Sort::Ascending, "move") => {
            "Cannot sort by `move' event; please use `moved_from' or `moved_to'.\n".to_owned()
        }
        (Sort::Ascending, "close") => {
            "Cannot sort by `close' event; please use `close_write' or `close_nowrite'.\n"
                .to_owned()
        }
        _ => match events::named(&lower) {
            Some(event) => return Ok(Order { sort, event }),
            None => format!("'{name}' is not a valid key for sorting!\n"),
        },
    };
    Err(Refusal::Error(error))
}
