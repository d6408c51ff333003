//! Events in, rsync's lines out. The lines are those of the installed rsync for the same happenings.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use transfer::{Class, Event, Notice, Outcome, Role, Skip, Stats};
use wire::ItemFlags;

use super::itemize::tests::item;
use super::*;
use crate::flags::{DEBUG, INFO, Levels};

/// A printer as `-v` times `verbosity` and an output format make it.
fn printer(verbosity: u32, format: Option<&str>) -> Printer<Vec<u8>, Vec<u8>> {
    let (mut info, mut debug) = (Levels::new(INFO), Levels::new(DEBUG));
    info.imply_verbosity(verbosity);
    debug.imply_verbosity(verbosity);
    let settings = Settings {
        quiet: false,
        is_server: false,
        info,
        debug,
        format: format.map(|text| Format::parse(text.as_bytes())),
        itemizes: format.is_some_and(|format| format.contains("%i")),
        all_items: false,
        log_format: Some(Format::parse(b"%i %n%L")),
        facts: Facts {
            sends: true,
            keeps_times: true,
            has_flags: true,
            keeps_owners: true,
            keeps_groups: true,
            checksum_width: 32,
            pid: 1,
            zone: TimeZone::UTC,
            visitor: None,
        },
        columns: Columns {
            human: Human(1),
            targets: true,
            atimes: false,
            zone: TimeZone::UTC,
        },
        human: Human(1),
        passes: Passes::Utf8,
        error_passes: ErrorPasses {
            sender: Passes::Utf8,
            receiver: Passes::Ascii,
        },
        is_receiving: true,
        lists_dirs: true,
        whole_files: true,
        is_dry_run: false,
        is_batch_only: false,
        protocol: 32,
    };
    Printer::new(Vec::new(), Vec::new(), settings, None)
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        timestamp: Timestamp::UNIX_EPOCH,
    }
}

fn after(mut printer: Printer<Vec<u8>, Vec<u8>>, events: &[Event<'_>]) -> (String, String) {
    for event in events {
        printer.event(event, now());
    }
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(printer.out), text(printer.err))
}

fn out(printer: Printer<Vec<u8>, Vec<u8>>, events: &[Event<'_>]) -> String {
    after(printer, events).0
}

const NEW: ItemFlags = ItemFlags::IS_NEW;

#[test]
fn names_of_a_verbose_run() {
    let mut link = item(b"l", 0o120_777, NEW | ItemFlags::LOCAL_CHANGE);
    link.entry.target = Some(b"a");
    let events = [
        Event::ListStarted {
            incremental: true,
            sending: true,
        },
        Event::ListFinished { entries: 4 },
        Event::CreatedDestination {
            path: Path::new("to"),
            directories: None,
        },
        Event::Itemized(item(b".", 0o040_755, NEW | ItemFlags::LOCAL_CHANGE)),
        Event::Itemized(item(b"a\nb", 0o100_644, NEW | ItemFlags::TRANSFER)),
        Event::Itemized(link),
        Event::Itemized(item(b"chmod", 0o100_644, ItemFlags::REPORT_PERMS)),
        Event::Deleted {
            path: b"gone",
            is_dir: true,
        },
    ];
    assert_eq!(
        out(printer(1, Some("%n%L")), &events),
        "sending incremental file list\ncreated directory to\n./\na\\#012b\nl -> a\ndeleting gone/\n"
    );
    assert_eq!(
        out(printer(1, Some("%i %n%L")), &events),
        "sending incremental file list\ncreated directory to\ncd+++++++++ ./\n>f+++++++++ a\\#012b\n\
         cL+++++++++ l -> a\n.f...p..... chmod\n*deleting   gone/\n"
    );
    assert_eq!(out(printer(0, None), &events), "");
}

#[test]
fn what_was_left_alone() {
    let mut same = item(b"same", 0o100_644, ItemFlags::empty());
    same.unchanged = true;
    let skipped = |why| Event::Skipped {
        path: b"x",
        is_dir: false,
        why,
    };
    let events = [
        Event::Itemized(same),
        skipped(Skip::NotExisting),
        skipped(Skip::Exists(None)),
        skipped(Skip::Newer),
        skipped(Skip::TooLarge),
        skipped(Skip::TooSmall),
        skipped(Skip::NonRegular),
        skipped(Skip::UnsafeLink(b"../y")),
        skipped(Skip::Directory),
        skipped(Skip::NotEmpty),
    ];
    assert_eq!(
        out(printer(2, Some("%n%L")), &events),
        "delta-transmission disabled for local transfer or --whole-file\nsame is uptodate\n\
         not creating new file \"x\"\nx exists\nx is newer\nx is over max-size\nx is under min-size\n\
         skipping non-regular file \"x\"\nignoring unsafe symlink \"x\" -> \"../y\"\nskipping directory x\n\
         cannot delete non-empty directory: x\n"
    );
    let always = "skipping non-regular file \"x\"\nskipping directory x\ncannot delete non-empty directory: x\n";
    assert_eq!(out(printer(0, None), &events), always);
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<String>>);

impl Log for Kept {
    fn line(&mut self, text: &[u8], _is_error: bool, _at: Timestamp) {
        let mut kept = self.0.lock().expect("a log");
        kept.push_str(&String::from_utf8_lossy(text));
        kept.push('\n');
    }
}

#[test]
fn the_end_of_a_whole_list_is_logged_even_quietly() {
    for (quiet, incremental, expected) in [
        (false, false, "building file list\ndone\n"),
        (true, false, "building file list\ndone\n"),
        (false, true, "building file list\n"),
    ] {
        let log = Kept::default();
        let mut printer = printer(1, None);
        printer.settings.quiet = quiet;
        printer.log = Some(Box::new(log.clone()));
        let started = Event::ListStarted {
            incremental,
            sending: true,
        };
        let (out, _) = after(printer, &[started, Event::ListFinished { entries: 1 }]);
        assert_eq!(out.is_empty(), quiet, "{out}");
        assert_eq!(*log.0.lock().expect("a log"), expected);
    }
}

#[test]
fn a_list_that_is_announced_before_an_error() {
    let cause = io::Error::from_raw_os_error(2);
    let failure = Notice {
        class: Class::Transfer,
        role: Role::Sender,
        text: b"link_stat \"/x\" failed",
        cause: Some(&cause),
    };
    let events = [
        Event::ListStarted {
            incremental: false,
            sending: true,
        },
        Event::Message(failure),
        Event::ListFinished { entries: 1 },
    ];
    let (out, err) = after(printer(1, Some("%n%L")), &events);
    assert_eq!(out, "building file list ... done\n");
    assert_eq!(
        err,
        "\nrsync: [sender] link_stat \"/x\" failed: No such file or directory (2)\n"
    );
}

#[test]
fn the_end_of_a_run() {
    let stats = Stats {
        sent: 217,
        received: 32,
        total_size: 300_011,
        ..Stats::default()
    };
    let mut printer = printer(1, Some("%n%L"));
    printer.finished(
        &Outcome {
            stats,
            ..Outcome::default()
        },
        Duration::ZERO,
        now(),
    );
    let out = String::from_utf8(printer.out).expect("text");
    let expected = "\nsent 217 bytes  received 32 bytes  498.00 bytes/sec\ntotal size is 300,011  speedup is 1,204.86\n";
    assert_eq!(out, expected);
}
