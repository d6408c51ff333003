//! A local copy: the generator decides, and the kernel brings the bytes.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use delta::Tally;
use tree::Meta;
use wire::{Item, ItemFlags, Protocol};

use crate::Error;
use crate::attributes::{LongValues, XattrRules};
use crate::delete::Deleter;
use crate::destination::{Arriving, Destination};
use crate::event::{Direction, Event, Events, FileProgress, Itemized, Outcome, Stats};
use crate::finish::Finisher;
use crate::flist::Entry;
use crate::generator::{At, Fate, Generator, Peer, Wanted};
use crate::ids::LocalMap;
use crate::linked;
use crate::options::{Options, RemoveSource};
use crate::report::Reporter;
use crate::scan::{Base, Scanner};
use crate::site::Site;
use crate::source::{open_source, remove_source, same_content};

mod contents;
mod listing;
mod pool;

use listing::{Listed, Lists, Walk};
use pool::{Pool, Worker};

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
    options.check_supported()?;
    if let Some(path) = destination.filter(|_| !options.list_only && linked::is_needed(&options)) {
        return linked::copy(options, sources, path, events);
    }
    options.settle_defaults(Protocol::LATEST);
    let report = Reporter::new(events);
    let rules = Arc::new(std::mem::take(&mut options.rules));
    let options = options;
    let owners = LocalMap::new(&options, &report)?;
    let mut scanner = Scanner::new(&options, Arc::clone(&rules), &report);
    report.event(Event::ListStarted {
        incremental: listing::is_incremental(&options),
        sending: true,
    });
    let goes_by_directory = destination
        .is_some_and(|path| listing::goes_by_directory(&options, sources, path))
        && !options.list_only;
    let (mut walk, owners) = match goes_by_directory {
        true => (Some(Walk::new(&options, owners)), None),
        false => (None, owners),
    };
    let first = match &mut walk {
        Some(walk) => walk.first(&mut scanner, sources, &report)?,
        None => listing::whole(&mut scanner, sources, &options, &report, owners)?,
    };
    let run = Run {
        options: &options,
        rules,
        report: &report,
        bases: &scanner.bases,
    };
    std::thread::scope(|scope| {
        let mut lists = Lists::start(first, walk, &scanner, scope)?;
        lists.head()?;
        report.event(Event::ListFinished {
            entries: lists.known,
        });
        match destination.filter(|_| !options.list_only) {
            Some(path) => run.copy(lists, path),
            None => run.show(lists),
        }
    })
}

/// What a run works with.
struct Run<'a> {
    options: &'a Options,
    rules: Arc<filter::Rules>,
    report: &'a Reporter<'a>,
    bases: &'a [Base],
}

impl Run<'_> {
    /// Shows what there is, where nothing is to be done.
    fn show(&self, mut lists: Lists) -> Result<Outcome, Error> {
        while let Some(Listed { list, dir }) = lists.next()? {
            // Each directory has its turn with its content.
            let is_own = |entry: &&Entry| !(list.is_partial && entry.is_dir());
            let own = list.active().map(|(_, entry)| entry).filter(is_own);
            for entry in dir.iter().chain(own) {
                self.report.event(Event::Listed(entry.view()));
            }
        }
        Ok(self.report.outcome(lists.stats, 0))
    }

    fn copy(self, lists: Lists, path: &Path) -> Result<Outcome, Error> {
        let Self {
            options, report, ..
        } = self;
        let arriving = Arriving {
            entries: usize::try_from(lists.known).unwrap_or(usize::MAX),
            first_is_dir: lists
                .first()
                .is_some_and(|list| list.entries.first().is_some_and(Entry::is_dir)),
        };
        let destination = Destination::resolve(path, arriving, options, report)?;
        let long_values = match XattrRules::new(options, &self.rules, filter::Side::Sender) {
            Some(rules) => LongValues::Local {
                bases: self.bases,
                rules,
            },
            None => LongValues::none(),
        };
        let protocol = Protocol::LATEST;
        let site = Site::open(
            destination,
            options,
            &self.rules,
            long_values,
            protocol,
            report,
        )?;
        let (destination, finisher) = (&site.destination, Finisher::new(&site)?);
        let worker = Worker {
            options,
            destination,
            finisher: &finisher,
        };
        std::thread::scope(|scope| {
            let copier = Copier {
                options,
                report,
                bases: self.bases,
                destination,
                finisher: &finisher,
                lists,
                passed: 0,
                stats: Stats::default(),
                fates: Vec::new(),
                pool: pool::is_of_use(options).then(|| Pool::start(worker, scope)),
                total_done: 0,
            };
            generate(Generator::new(&site, self.rules, copier), report)
        })
    }
}

/// Deals with one list after the other, and with what comes after the last one.
fn generate(
    mut generator: Generator<'_, Copier<'_>>,
    report: &Reporter<'_>,
) -> Result<Outcome, Error> {
    while let Some(Listed { list, dir }) = generator.peer.lists.next()? {
        generator.expect(&list);
        generator.list(&list, dir.as_ref())?;
        generator.peer.passed += list.entries.len() as u64;
        if list.is_partial {
            generator.settle(false)?;
            while generator.release() {}
        }
    }
    generator.settle_all()?;
    report.event(Event::AllSent {
        tally: Tally::default(),
        literal: generator.peer.stats.literal,
    });
    let installed = generator.peer.finisher.install()?;
    generator.installed_all(&installed)?;
    generator.delete_late()?;
    generator.finish_directories();
    let Deleter {
        counts, skipped, ..
    } = generator.deleter;
    let Copier { lists, stats, .. } = generator.peer;
    let stats = Stats {
        listed: lists.stats.listed,
        total_size: lists.stats.total_size,
        deleted: counts,
        // Nothing travels: what was copied stands for it.
        sent: stats.literal,
        ..stats
    };
    Ok(report.outcome(stats, skipped))
}

/// The end of a local copy that reads.
struct Copier<'a> {
    options: &'a Options,
    report: &'a Reporter<'a>,
    bases: &'a [Base],
    destination: &'a Destination,
    finisher: &'a Finisher<'a>,
    lists: Lists,
    /// Entries in lists that are dealt with.
    passed: u64,
    /// But for what the lists tell.
    stats: Stats,
    fates: Vec<(u32, Fate)>,
    /// Copies files beside each other, where that is of use.
    pool: Option<Pool<'a>>,
    total_done: u64,
}

impl Peer for Copier<'_> {
    fn report(&mut self, at: At<'_>, item: Item, _values: &[u32]) -> Result<(), Error> {
        self.note_new(at.entry, item.flags);
        self.itemize(at.entry, item.flags, item.xname.as_deref(), 0);
        Ok(())
    }

    fn request(&mut self, at: At<'_>, wanted: Wanted) -> Result<(), Error> {
        self.copy(at, &wanted)
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
        same_content(&source, &file, entry.size).unwrap_or(false)
    }

    fn fates(&mut self, wait: bool) -> Result<Vec<(u32, Fate)>, Error> {
        self.release()?;
        while let Some(pool) = self.pool.as_mut().filter(|_| wait && self.fates.is_empty()) {
            pool.help();
            self.release()?;
        }
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

    fn itemize(&self, entry: &Entry, flags: ItemFlags, link: Option<&[u8]>, bytes: u64) {
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
            bytes,
            checksum: Some(entry.checksum()).filter(|checksum| !checksum.is_empty()),
            ..Itemized::new(view, flags, link, Direction::Received)
        }));
    }

    fn progress(&self, at: At<'_>, done: u64, finished: bool) {
        if !self.options.report.progress {
            return;
        }
        let known = self.lists.known;
        let done_with = self.passed + u64::from(at.number - at.list.start) + 1;
        self.report.event(Event::Progress(FileProgress {
            path: &at.entry.name,
            done,
            size: at.entry.size,
            finished,
            transferred: self.stats.transferred,
            left: known.saturating_sub(done_with),
            known,
            all_known: self.lists.are_all_known(),
            total_done: if finished {
                self.total_done
            } else {
                self.total_done.saturating_add(done)
            },
            total_size: self.lists.stats.total_size,
        }));
    }
}
