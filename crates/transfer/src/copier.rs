//! A local copy: the generator decides, and the kernel brings the bytes.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use tree::Meta;
use wire::{Item, ItemFlags, Protocol};

use crate::Error;
use crate::attributes::Attributes;
use crate::backup::Backups;
use crate::client::settle_defaults;
use crate::delete::Deleter;
use crate::destination::{Arriving, Destination};
use crate::event::{Direction, Event, Events, Itemized, Outcome, Progress, Stats};
use crate::finish::Finisher;
use crate::flist::Entry;
use crate::generator::{Alternates, At, Fate, Generator, Peer, Wanted};
use crate::linked;
use crate::options::{Options, RemoveSource};
use crate::report::Reporter;
use crate::scan::{Base, Scanner};
use crate::source::{open_source, remove_source, same_content};

mod contents;
mod listing;

use listing::scan;

/// Copies `sources` to `destination` on this machine, with rsync's results, reports and order of reports.
///
/// Names mean what they mean to rsync: a slash at the end of a source stands for its content. They are taken relative
/// to the working directory.
///
/// # Errors
/// What ends the run before its end. What concerns single files is reported as it happens, and counted in the
/// [`Outcome`].
pub fn local_copy(
    mut options: Options,
    sources: &[OsString],
    destination: Option<&Path>,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    refuse_unsupported(&options)?;
    settle_defaults(&mut options, Protocol::LATEST);
    if let Some(path) = destination.filter(|_| !options.list_only && linked::is_needed(&options)) {
        return linked::copy(options, sources, path, events);
    }
    let report = Reporter::new(events);
    let rules = Arc::new(std::mem::take(&mut options.rules));
    let options = options;
    let mut stats = Stats::default();
    let mut scanner = Scanner::new(&options, Arc::clone(&rules), &report);
    let list = Arc::new(scan(&mut scanner, sources, &options, &report, &mut stats)?);
    let bases = scanner.bases;
    let Some(path) = destination.filter(|_| !options.list_only) else {
        for (_, entry) in list.active() {
            report.event(Event::Listed(entry.view()));
        }
        return Ok(outcome(stats, &report, 0));
    };
    if list.entries.is_empty() {
        return Ok(outcome(stats, &report, 0));
    }
    let arriving = Arriving {
        entries: list.entries.len(),
        first_is_dir: list.entries[0].is_dir(),
    };
    let destination = Destination::resolve(path, arriving, &options, &report)?;
    let attributes = Attributes::new(&options);
    let backups = Backups::prepare(&options, &destination)?;
    let alternates = Alternates::open(&options, &destination, &report);
    let finisher = Finisher::new(
        &options,
        &attributes,
        &destination,
        backups.as_ref(),
        &report,
    )?;
    let copier = Copier {
        options: &options,
        report: &report,
        bases: &bases,
        destination: &destination,
        finisher,
        stats,
        fates: Vec::new(),
        total_done: 0,
    };
    let mut generator = Generator::new(
        &options,
        rules,
        &attributes,
        &destination,
        backups.as_ref(),
        &alternates,
        &report,
        copier,
    );
    generator.expect(&list);
    generator.list(&list, None)?;
    generator.settle_all()?;
    let installed = generator.peer.finisher.install()?;
    generator.installed_all(&installed)?;
    generator.delete_late()?;
    generator.finish_directories();
    let Deleter {
        counts, skipped, ..
    } = generator.deleter;
    let stats = Stats {
        deleted: counts,
        ..generator.peer.stats
    };
    Ok(outcome(stats, &report, skipped))
}

fn outcome(stats: Stats, report: &Reporter<'_>, deletions_skipped: u64) -> Outcome {
    Outcome {
        stats,
        io_errors: report.io_errors(),
        is_partial: report.is_partial(),
        deletions_skipped,
        peer_exit: None,
    }
}
/// Refuses options whose work is not done here, rather than to pass over them.
pub(crate) fn refuse_unsupported(options: &Options) -> Result<(), Error> {
    let refused = [
        (options.acls, "--acls"),
        (options.xattrs > 0, "--xattrs"),
        (options.crtimes, "--crtimes"),
        (
            options.privilege == crate::options::Privilege::Fake,
            "--fake-super",
        ),
        (options.iconv.is_some(), "--iconv"),
        (options.batch.is_some(), "batch files"),
        (options.copy_devices, "--copy-devices"),
        (options.write_devices, "--write-devices"),
        (options.usermap.is_some(), "--usermap"),
        (options.groupmap.is_some(), "--groupmap"),
        (options.stop_at.is_some(), "--stop-at"),
    ];
    match refused.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, option)) => Err(Error::Unsupported(option)),
        None => Ok(()),
    }
}

/// The end of a local copy that reads.
struct Copier<'a> {
    options: &'a Options,
    report: &'a Reporter<'a>,
    bases: &'a [Base],
    destination: &'a Destination,
    finisher: Finisher<'a>,
    stats: Stats,
    fates: Vec<(u32, Fate)>,
    total_done: u64,
}

impl Peer for Copier<'_> {
    fn report(&mut self, at: At<'_>, item: Item) -> Result<(), Error> {
        self.note_new(at.entry, item.flags);
        self.itemize(at.entry, item.flags, item.xname.as_deref(), 0);
        Ok(())
    }

    fn request(&mut self, at: At<'_>, wanted: Wanted) -> Result<(), Error> {
        let fate = self.copy(at, &wanted)?;
        self.fates.push((at.number, fate));
        Ok(())
    }

    fn confirm(&mut self, at: At<'_>) -> Result<(), Error> {
        if self.options.dry_run || self.options.remove_source == RemoveSource::No {
            return Ok(());
        }
        remove_source(
            &self.bases[usize::from(at.entry.base)],
            at.entry,
            self.destination,
            self.report,
        );
        Ok(())
    }

    fn wants_basis(&self) -> bool {
        false
    }

    fn has_content(&self, entry: &Entry, file: File) -> bool {
        let Ok((source, _)) = self.open(entry) else {
            return false;
        };
        same_content(source, file).unwrap_or(false)
    }

    fn fates(&mut self, _wait: bool) -> Result<Vec<(u32, Fate)>, Error> {
        Ok(std::mem::take(&mut self.fates))
    }
}

impl Copier<'_> {
    fn open(&self, entry: &Entry) -> Result<(File, Meta), tree::Error> {
        open_source(&self.bases[usize::from(entry.base)], entry, self.options)
    }

    fn note_new(&mut self, entry: &Entry, flags: ItemFlags) {
        if flags.contains(ItemFlags::IS_NEW) {
            self.stats.created.note(entry.mode);
        }
    }

    fn note_transfer(&mut self, entry: &Entry) {
        self.stats.transferred += 1;
        self.stats.transferred_size += entry.size;
    }

    fn itemize(&self, entry: &Entry, flags: ItemFlags, link: Option<&[u8]>, bytes: u64) {
        let silent =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let mut view = entry.view();
        view.source = self
            .bases
            .get(usize::from(entry.base))
            .map(|base| base.given.as_path());
        let flags = if link.is_some() {
            flags | ItemFlags::XNAME_FOLLOWS
        } else {
            flags
        };
        self.report.event(Event::Itemized(Itemized {
            entry: view,
            flags,
            direction: Direction::Received,
            link: link.filter(|link| !link.is_empty()),
            unchanged: (flags - silent).is_empty() && link.is_none_or(<[u8]>::is_empty),
            bytes,
            sum_bytes: 0,
            checksum: Some(entry.checksum()).filter(|checksum| !checksum.is_empty()),
        }));
    }

    fn progress(&self, at: At<'_>, done: u64, finished: bool) {
        if !self.options.report.progress {
            return;
        }
        let known = at.list.entries.len() as u64;
        self.report.event(Event::Progress(Progress {
            path: &at.entry.name,
            done,
            size: at.entry.size,
            finished,
            transferred: self.stats.transferred,
            left: known.saturating_sub(u64::from(at.number - at.list.start) + 1),
            known,
            all_known: true,
            total_done: if finished {
                self.total_done
            } else {
                self.total_done + done
            },
            total_size: self.stats.total_size,
        }));
    }
}
