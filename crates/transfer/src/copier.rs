//! A local copy: the generator decides, and the kernel brings the bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use tree::{CopyError, Kind, Meta, TempFile};
use wire::{IoErrors, Item, ItemFlags, Protocol, SortOrder};

use crate::Error;
use crate::attributes::Attributes;
use crate::backup::Backups;
use crate::client::settle_defaults;
use crate::delete::Deleter;
use crate::destination::{Arriving, Destination};
use crate::event::{Class, Direction, Event, Events, Itemized, Outcome, Progress, Role, Stats};
use crate::finish::Finisher;
use crate::flist::{Entry, List};
use crate::generator::{Alternates, At, Fate, Generator, Peer, Wanted};
use crate::options::{Append, DeleteWhen, Options, RemoveSource};
use crate::report::{Reporter, quoted, sentence};
use crate::scan::{Base, Scanner, rel};
use crate::write::{Output, Pace, preallocate};

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
    let report = Reporter::new(events);
    settle_defaults(&mut options, Protocol::LATEST);
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
        pace: options.bandwidth.map(Pace::new),
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

/// The whole list, sorted and without duplicates.
fn scan(
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
    pace: Option<Pace>,
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
    fn copy(&mut self, at: At<'_>, wanted: &Wanted) -> Result<Fate, Error> {
        let entry = at.entry;
        let base = &self.bases[usize::from(entry.base)];
        let flags = wanted.item.flags;
        if self.options.dry_run {
            self.note_new(entry, flags);
            self.note_transfer(entry);
            self.itemize(entry, flags, None, 0);
            return Ok(Fate::Done);
        }
        let (source, opened) = match self.open(entry) {
            Ok(opened) => opened,
            Err(error) if error.vanished() => {
                self.report.io_error(IoErrors::VANISHED);
                let text = sentence(&[b"file has vanished: ", &quoted(&base.shown, entry.path())]);
                self.report.say(Class::Warning, Role::Sender, text);
                return Ok(Fate::Failed);
            }
            Err(error) => {
                self.report.io_error(IoErrors::GENERAL);
                let text = sentence(&[
                    b"send_files failed to open ",
                    &quoted(&base.shown, entry.path()),
                ]);
                self.report.failed(Role::Sender, text, error.cause());
                return Ok(Fate::Failed);
            }
        };
        self.note_new(entry, flags);
        self.note_transfer(entry);
        if !self.options.report.after_transfer {
            self.itemize(entry, flags, None, 0);
        }
        let place = self.destination.place(entry.path());
        let existing = wanted.existing.as_ref();
        let literal = self.stats.literal;
        let done = match self.options.inplace || self.options.append.is_some() {
            true => self.in_place(&source, &opened, at, place, existing)?,
            false => self.anew(&source, &opened, at, place, existing)?,
        };
        if self.options.report.after_transfer {
            self.itemize(entry, flags, None, self.stats.literal - literal);
        }
        if !done {
            return Ok(Fate::Failed);
        }
        self.finisher.drop_partial(place);
        self.total_done += entry.size;
        self.progress(at, entry.size, true);
        // A delayed file is not there yet.
        Ok(if self.options.delay_updates {
            Fate::Parked
        } else {
            Fate::Done
        })
    }

    /// Writes a new file and puts it in place.
    fn anew(
        &mut self,
        source: &File,
        opened: &Meta,
        at: At<'_>,
        place: &[u8],
        existing: Option<&Meta>,
    ) -> Result<bool, Error> {
        let Some(mut temp) = self.finisher.temp_file(place) else {
            return Ok(false);
        };
        if self.options.preallocate
            && let Err(cause) = preallocate(temp.file(), opened.size)
        {
            let text = sentence(&[b"do_fallocate ", &self.destination.quoted(place)]);
            self.report.say(
                Class::Warning,
                Role::Receiver,
                sentence(&[&text, b": ", cause.to_string().as_bytes()]),
            );
        }
        let copied = match self.options.sparse || self.pace.is_some() {
            true => {
                // What was allocated in advance stays allocated.
                let sparse = self.options.sparse && !self.options.preallocate;
                let preallocated = self.options.preallocate;
                let mut output = Output::new(temp.file(), sparse, preallocated);
                let copied = self.stream(source, &mut output, at);
                copied.and_then(|count| output.finish().map(|_| count).map_err(CopyError::Write))
            }
            false => self.by_kernel(source, &mut temp, opened, at),
        };
        match copied {
            Ok(count) => self.stats.literal += count,
            Err(error) => return self.broken(error, temp, at.entry, place),
        }
        self.finisher
            .commit(temp, at.number, at.entry, place, existing)
    }

    /// Writes into the file that is there.
    fn in_place(
        &mut self,
        source: &File,
        opened: &Meta,
        at: At<'_>,
        place: &[u8],
        existing: Option<&Meta>,
    ) -> Result<bool, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(false);
        };
        let mut file = match root.open_in_place(rel(place), true) {
            Ok((file, _)) => file,
            Err(error) => {
                let text = sentence(&[b"open ", &self.destination.quoted(place), b" failed"]);
                self.report.failed(Role::Receiver, text, error.cause());
                return Ok(false);
            }
        };
        let kept = match self.options.append {
            Some(Append::Blindly | Append::Verified) => {
                existing.map_or(0, |existing| existing.size)
            }
            None => 0,
        };
        let mut input = source;
        if kept > opened.size || input.seek(SeekFrom::Start(kept)).is_err() {
            return Ok(false);
        }
        let mut output = Output::new(&mut file, self.options.sparse, true);
        output.skip(kept);
        let copied = self.stream(source, &mut output, at);
        match copied.and_then(|count| output.finish().map(|_| count).map_err(CopyError::Write)) {
            Ok(count) => self.stats.literal += count,
            Err(CopyError::Cancelled) => return Err(Error::Cancelled),
            Err(CopyError::Read(cause)) => {
                self.unreadable(at.entry, &cause);
                return Ok(false);
            }
            Err(CopyError::Write(cause)) => return Err(self.unwritable(place, cause)),
        }
        self.finisher.finish_in_place(at.entry, place, existing);
        Ok(true)
    }

    fn by_kernel(
        &mut self,
        source: &File,
        temp: &mut TempFile,
        opened: &Meta,
        at: At<'_>,
    ) -> Result<u64, CopyError> {
        let cancel = &self.options.cancel;
        let shows = self.options.report.progress;
        let this = &*self;
        tree::copy_contents(
            source,
            temp.file(),
            opened.size,
            &|| cancel.is_cancelled(),
            &mut |so_far| {
                if shows {
                    this.progress(at, so_far, false);
                }
            },
        )
    }

    /// Copies through memory, where the bytes have to be seen or paced.
    fn stream(
        &mut self,
        mut source: &File,
        output: &mut Output<'_>,
        at: At<'_>,
    ) -> Result<u64, CopyError> {
        let size = self
            .pace
            .as_ref()
            .map_or(BUFFER, |pace| pace.chunk().min(BUFFER));
        let mut buffer = vec![0; size];
        let mut copied = 0;
        loop {
            if self.options.cancel.is_cancelled() {
                return Err(CopyError::Cancelled);
            }
            let count = match source.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            output.write(&buffer[..count]).map_err(CopyError::Write)?;
            copied += count as u64;
            if let Some(pace) = &mut self.pace {
                pace.wait(count as u64);
            }
            if self.options.report.progress {
                self.progress(at, output.position(), false);
            }
        }
    }

    fn broken(
        &self,
        error: CopyError,
        temp: TempFile,
        entry: &Entry,
        place: &[u8],
    ) -> Result<bool, Error> {
        match error {
            CopyError::Cancelled => {
                self.finisher.keep_partial(temp, entry, place);
                Err(Error::Cancelled)
            }
            CopyError::Write(cause) => {
                self.finisher.keep_partial(temp, entry, place);
                Err(self.unwritable(place, cause))
            }
            CopyError::Read(cause) => {
                self.unreadable(entry, &cause);
                Ok(false)
            }
        }
    }

    fn unwritable(&self, place: &[u8], cause: io::Error) -> Error {
        let text = sentence(&[b"write failed on ", &self.destination.quoted(place)]);
        Error::fatal(11, Role::Receiver, text, Some(cause))
    }

    fn unreadable(&self, entry: &Entry, cause: &io::Error) {
        self.report.io_error(IoErrors::GENERAL);
        let shown = quoted(&self.bases[usize::from(entry.base)].shown, entry.path());
        self.report.failed(
            Role::Sender,
            sentence(&[b"read errors mapping ", &shown]),
            cause,
        );
    }

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

/// Opens a file of the source as it was listed: what a link leads to, if links are followed.
pub(crate) fn open_source(
    base: &Base,
    entry: &Entry,
    options: &Options,
) -> Result<(File, Meta), tree::Error> {
    match options.copy_links || options.copy_unsafe_links {
        true => base.root.open_target(rel(entry.path())),
        false => base.root.open_regular(rel(entry.path())),
    }
}

/// Removes a file of the source that the destination has, unless it has changed since it was listed
/// (behaviour.md 2.13).
pub(crate) fn remove_source(
    base: &Base,
    entry: &Entry,
    destination: &Destination,
    report: &Reporter<'_>,
) {
    let path = entry.path();
    let role = Role::Sender;
    let now = match base.root.lstat(rel(path)) {
        Ok(Some(now)) => now,
        Ok(None) => {
            report.say(
                Class::Info,
                role,
                sentence(&[b"sender file already removed: ", path]),
            );
            return;
        }
        Err(error) => {
            report.failed(
                role,
                sentence(&[b"sender failed to re-lstat ", path]),
                error.cause(),
            );
            return;
        }
    };
    let own = destination
        .root()
        .and_then(|root| root.lstat(rel(destination.place(path))).ok().flatten());
    if own.is_some_and(|own| own.identity() == now.identity()) && now.nlink < 2 {
        let text = sentence(&[b"ERROR: Skipping sender remove of destination file: ", path]);
        return report.say(Class::Transfer, role, text);
    }
    let has_changed = now.mtime.sec != entry.mtime
        || now.mtime.nsec != entry.mtime_nsec
        || now.kind == Kind::File && now.size != entry.size;
    if has_changed {
        let text = sentence(&[b"ERROR: Skipping sender remove for changed file: ", path]);
        return report.say(Class::Transfer, role, text);
    }
    match base.root.remove_file(rel(path)) {
        Ok(()) => report.event(Event::RemovedSource { path }),
        Err(error) => report.failed(
            role,
            sentence(&[b"sender failed to remove ", path]),
            error.cause(),
        ),
    }
}

fn same_content(mut left: File, mut right: File) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let count = left.read(&mut ours)?;
        if count == 0 {
            return Ok(right.read(&mut theirs)? == 0);
        }
        match right.read_exact(&mut theirs[..count]) {
            Ok(()) if ours[..count] == theirs[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// What is copied through memory at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// Entries between two reports on a growing list.
const PROGRESS_STEP: usize = 100;
