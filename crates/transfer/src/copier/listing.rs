//! The lists of a local copy: all in one, or directory by directory while the copy goes on.
//!
//! By directory they are what an incremental sender sends (wire-files.md 4): the arguments first, then the content of
//! each directory, depth first. A thread of its own reads the source while the generator looks at the destination, so
//! that two processors share the stats that most runs consist of, and memory holds what lies between the two rather
//! than the tree. Who has to know everything before he begins takes one list.
//!
//! The generator waits until [`HEAD`] entries are known: small trees are dealt with, and reported, as a whole.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::thread::Scope;

use crossbeam_channel::{Receiver, bounded};
use wire::{IoErrors, Protocol, SortOrder};

use crate::Error;
use crate::event::{Event, Role, Stats};
use crate::flist::{Entry, List};
use crate::ids::LocalMap;
use crate::options::{DeleteWhen, Options};
use crate::report::{Reporter, absolute};
use crate::scan::{Found, Pending, Scanner};
use crate::threads::start_thread;

/// A list, and the directory that it is the content of.
pub(super) struct Listed {
    pub(super) list: Arc<List>,
    pub(super) dir: Option<Entry>,
}

/// Lists as they come.
pub(super) struct Lists {
    waiting: VecDeque<Listed>,
    /// Those that are not known yet.
    more: Option<Receiver<Result<Listed, Error>>>,
    /// Entries so far.
    pub(super) known: u64,
    /// What those entries are.
    pub(super) stats: Stats,
}

impl Lists {
    /// Starts with the first list; `walk` goes on with the directories in it.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(super) fn start<'scope, 'env>(
        first: Listed,
        walk: Option<Walk>,
        scanner: &'env Scanner<'env>,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Self, Error> {
        let more = walk.map(|mut walk| {
            let (lists, more) = bounded(LISTS_AHEAD);
            let goes_on = move || {
                while let Some(listed) = walk.next(scanner).transpose() {
                    let is_last = listed.is_err();
                    // A generator that has gone needs no more of them.
                    if lists.send(listed).is_err() || is_last {
                        break;
                    }
                }
            };
            start_thread(scope, Role::Sender, goes_on).map(|_| more)
        });
        let mut lists = Self {
            waiting: VecDeque::new(),
            more: more.transpose()?,
            known: 0,
            stats: Stats::default(),
        };
        lists.take(first);
        Ok(lists)
    }

    /// Waits until so much is known that the copy may begin.
    pub(super) fn head(&mut self) -> Result<(), Error> {
        while self.known < HEAD && self.receive()? {}
        Ok(())
    }

    /// The next list, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Listed>, Error> {
        while self.waiting.is_empty() && self.receive()? {}
        Ok(self.waiting.pop_front())
    }

    /// The list that is next, while it is not taken.
    pub(super) fn first(&self) -> Option<&List> {
        self.waiting.front().map(|listed| &*listed.list)
    }

    /// Whether no more entries will come.
    pub(super) fn are_all_known(&self) -> bool {
        self.more.is_none()
    }

    /// False if that was all.
    fn receive(&mut self) -> Result<bool, Error> {
        let Some(listed) = self.more.as_ref().and_then(|more| more.recv().ok()) else {
            self.more = None;
            return Ok(false);
        };
        self.take(listed?);
        Ok(true)
    }

    fn take(&mut self, listed: Listed) {
        for entry in &listed.list.entries {
            if !entry.is_missing_arg() {
                self.stats.listed.note(entry.mode);
                let total = &mut self.stats.total_size;
                *total = total.saturating_add(entry.counted_size());
            }
        }
        self.known += listed.list.entries.len() as u64;
        self.waiting.push_back(listed);
    }
}

/// Lists a source directory by directory.
pub(super) struct Walk {
    order: SortOrder,
    cancel: crate::Cancel,
    /// Directories whose content has not been listed, the next one last.
    ahead: Vec<Branch>,
    /// The number of the next list's first entry. The one before it stands for the directory.
    start: u32,
    owners: Option<LocalMap>,
}

/// A directory, and where its content is: several sources may have one of its name.
struct Branch {
    dir: Entry,
    pending: Vec<Pending>,
}

impl Walk {
    pub(super) fn new(options: &Options, owners: Option<LocalMap>) -> Self {
        Self {
            owners,
            order: SortOrder::of(Protocol::LATEST),
            cancel: options.cancel.clone(),
            ahead: Vec::new(),
            start: 1,
        }
    }

    /// What the arguments name. The content of the root has no list of its own.
    pub(super) fn first(
        &mut self,
        scanner: &mut Scanner<'_>,
        sources: &[OsString],
        report: &Reporter<'_>,
    ) -> Result<Listed, Error> {
        let mut found = Vec::new();
        // What goes wrong further down counts when its directory's turn comes, as where it travels with the list.
        scanner.defers_errors = true;
        for argument in scanner.arguments(sources)? {
            match argument {
                Found {
                    entry,
                    pending: Some(below),
                } if entry.path() == b"." => {
                    found.push(Found {
                        entry,
                        pending: None,
                    });
                    found.extend(scanner.content(&below)?);
                }
                other => found.push(other),
            }
        }
        if scanner.errors() > 0 {
            report.io_error(IoErrors::GENERAL);
        }
        let list = self.plan(found)?;
        let root = list.active().next().map(|(_, entry)| entry);
        let dir = root.filter(|entry| entry.path() == b".").cloned();
        Ok(Listed {
            list: Arc::new(list),
            dir,
        })
    }

    /// The content of the next directory.
    fn next(&mut self, scanner: &Scanner<'_>) -> Result<Option<Listed>, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let Some(Branch { dir, pending }) = self.ahead.pop() else {
            return Ok(None);
        };
        let mut found = Vec::new();
        let errors = scanner.errors();
        for pending in &pending {
            found.append(&mut scanner.content(pending)?);
        }
        let list = self.plan(found)?;
        let is_incomplete = scanner.errors() > errors;
        Ok(Some(Listed {
            list: Arc::new(list),
            dir: Some(Entry {
                is_incomplete,
                ..dir
            }),
        }))
    }

    /// Makes a list, whose directories are next.
    fn plan(&mut self, found: Vec<Found>) -> Result<List, Error> {
        let mut list = List {
            start: self.start,
            is_partial: true,
            entries: Vec::with_capacity(found.len()),
            ..List::default()
        };
        let mut below: HashMap<Vec<u8>, Vec<Pending>> = HashMap::new();
        for Found { mut entry, pending } in found {
            if let Some(owners) = &mut self.owners {
                owners.map(&mut entry)?;
            }
            list.entries.push(entry);
            if let Some(pending) = pending {
                let same = below.entry(pending.path.clone()).or_default();
                // An argument that is given twice is there once.
                if same.iter().all(|known| known.base != pending.base) {
                    same.push(pending);
                }
            }
        }
        list.sort(self.order);
        list.clear_duplicates(self.order);
        let dirs = list.active().map(|(_, entry)| entry);
        let branches = dirs.filter(|entry| entry.is_dir() && entry.path() != b".");
        let branches = branches.map(|dir| Branch {
            dir: dir.clone(),
            pending: below.remove(&*dir.name).unwrap_or_default(),
        });
        let known = self.ahead.len();
        self.ahead.extend(branches);
        self.ahead[known..].reverse();
        let count = u32::try_from(list.entries.len()).unwrap_or(u32::MAX);
        self.start = self.start.saturating_add(count).saturating_add(1);
        Ok(list)
    }
}

/// The whole list, sorted and without duplicates.
pub(super) fn whole(
    scanner: &mut Scanner<'_>,
    sources: &[OsString],
    options: &Options,
    report: &Reporter<'_>,
    mut owners: Option<LocalMap>,
) -> Result<Listed, Error> {
    let mut list = List::default();
    scanner.whole(sources, &mut |mut entry| {
        if let Some(owners) = &mut owners {
            owners.map(&mut entry)?;
        }
        list.entries.push(entry);
        if list.entries.len() % PROGRESS_STEP == 0 {
            report.event(Event::ListProgress {
                entries: list.entries.len() as u64,
            });
        }
        Ok(())
    })?;
    let order = SortOrder::of(Protocol::LATEST);
    list.sort(order);
    list.clear_duplicates(order);
    if options.prune_empty_dirs {
        list.prune_empty_dirs(|_| false);
    }
    Ok(Listed {
        list: Arc::new(list),
        dir: None,
    })
}

/// Whether rsync would recurse directory by directory, which shows in what it prints (behaviour.md 1.12).
pub(super) fn is_incremental(options: &Options) -> bool {
    let is_known = options.newest.has_compat_flags();
    is_known && options.inc_recursive && can_go_by_directory(options)
}

/// Whether lists come by directory here. One list is kept where it shows that it is one: groups of hard links and
/// nested arguments are dealt with as a whole, and an error anywhere keeps everything from being deleted.
pub(super) fn goes_by_directory(
    options: &Options,
    sources: &[OsString],
    destination: &Path,
) -> bool {
    let destination = absolute(destination);
    // What is copied must not turn up among what is to be copied.
    let grows = sources
        .iter()
        .any(|source| destination.starts_with(absolute(Path::new(source))));
    let shows = options.delete.is_some() || options.report.progress;
    can_go_by_directory(options)
        && (options.inc_recursive || !shows)
        && !options.hard_links
        && !options.relative
        && !grows
}

fn can_go_by_directory(options: &Options) -> bool {
    options.recursive
        && !matches!(options.delete, Some(DeleteWhen::Before | DeleteWhen::After))
        && !options.delay_updates
        && !options.prune_empty_dirs
}

/// Entries to know before the generator begins, if there are so many.
const HEAD: u64 = 1000;

/// Lists that the scan may be ahead of the generator.
const LISTS_AHEAD: usize = 64;

/// Entries between two reports on a growing list.
const PROGRESS_STEP: usize = 100;
