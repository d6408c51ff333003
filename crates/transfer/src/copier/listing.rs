//! The list of a local copy.

use std::ffi::OsString;

use wire::{Protocol, SortOrder};

use crate::Error;
use crate::event::{Event, Stats};
use crate::flist::List;
use crate::options::{DeleteWhen, Options};
use crate::report::Reporter;
use crate::scan::Scanner;

/// The whole list, sorted and without duplicates.
pub(super) fn scan(
    scanner: &mut Scanner<'_>,
    sources: &[OsString],
    options: &Options,
    report: &Reporter<'_>,
    stats: &mut Stats,
) -> Result<List, Error> {
    report.event(Event::ListStarted {
        incremental: is_incremental(options),
        sending: true,
    });
    let mut list = List::default();
    scanner.whole(sources, &mut |entry| {
        list.entries.push(entry);
        if list.entries.len() % PROGRESS_STEP == 0 {
            report.event(Event::ListProgress {
                entries: list.entries.len() as u64,
            });
        }
        Ok(())
    })?;
    report.event(Event::ListFinished {
        entries: list.entries.len() as u64,
    });
    for entry in list.entries.iter().filter(|entry| !entry.is_missing_arg()) {
        stats.listed.note(entry.mode);
        stats.total_size += entry.counted_size();
    }
    let order = SortOrder::of(Protocol::LATEST);
    list.sort(order);
    list.clear_duplicates(order);
    if options.prune_empty_dirs {
        list.prune_empty_dirs(|_| false);
    }
    Ok(list)
}

/// Whether rsync would recurse directory by directory, which shows in what it prints (behaviour.md 1.12).
fn is_incremental(options: &Options) -> bool {
    options.recursive
        && options.inc_recursive
        && !matches!(options.delete, Some(DeleteWhen::Before | DeleteWhen::After))
        && !options.delay_updates
        && !options.prune_empty_dirs
}

/// Entries between two reports on a growing list.
const PROGRESS_STEP: usize = 100;
