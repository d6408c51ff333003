//! Files that other directories have already: `--compare-dest`, `--copy-dest`, `--link-dest`, and what an interrupted
//! run has left (behaviour.md 2.9, 2.10 and 7.3).

use std::path::{Component, Path, PathBuf};

use tree::{Meta, Root};
use wire::{BasisType, ItemFlags};

use super::file::Basis;
use super::{At, Generator, Peer};
use crate::Error;
use crate::attributes::{Applied, There};
use crate::destination::{Destination, is_loop};
use crate::event::{Class, Role};
use crate::flist::{Entry, basename, join, parent};
use crate::options::{AlternateUse, Options};
use crate::partial::{open_partial, remove_partial};
use crate::report::{Reporter, sentence};
use crate::scan::rel;

/// The alternate directories of a run, with the numbers they have on the wire.
#[derive(Debug, Default)]
pub(crate) struct Alternates {
    use_as: Option<AlternateUse>,
    dirs: Vec<Option<Root>>,
}

/// What the alternates have of a regular file.
pub(super) enum Match {
    None,
    /// Nothing is left to do.
    Done,
    /// An older version.
    Basis(Basis),
}

/// What the alternates have of something without content.
pub(super) struct Found {
    pub(super) is_done: bool,
    pub(super) flags: ItemFlags,
    pub(super) xname: Option<Vec<u8>>,
}

/// How well a candidate fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// It is of the right type.
    Type,
    /// Its content is.
    Content,
    /// So are its attributes.
    All,
}

impl Alternates {
    /// Opens the directories. Those that are not there are mentioned, and count as empty.
    pub(crate) fn open(
        options: &Options,
        destination: &Destination,
        report: &Reporter<'_>,
    ) -> Self {
        let Some(alternates) = &options.alternates else {
            return Self::default();
        };
        let name = match alternates.use_as {
            AlternateUse::Compare => "--compare-dest",
            AlternateUse::Copy => "--copy-dest",
            AlternateUse::Link => "--link-dest",
        };
        let open = |dir: &PathBuf| {
            let path = options.below(&destination.shown, dir);
            let failure = match options.is_dir(&path) {
                // It leads out of a module, which is nobody's business.
                Err(cause) if is_loop(&cause) && options.confines_targets() => return None,
                Err(_) => "arg does not exist",
                Ok(false) => "arg is not a dir",
                Ok(true) => return options.open_named_dir(&path).ok(),
            };
            let shown = match &options.module {
                Some(module) if dir.is_relative() => {
                    let depth = destination.shown.real().strip_prefix(&module.path);
                    clamped(dir, depth.map_or(0, |inside| inside.components().count()))
                }
                _ => path,
            };
            let text = format!("{name} {failure}: {}", shown.display());
            report.say(Class::Warning, Role::ReceivingSide, text);
            None
        };
        Self {
            use_as: Some(alternates.use_as),
            dirs: alternates.dirs.iter().map(open).collect(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Root> {
        self.dirs.get(index)?.as_ref()
    }

    /// Whether what they have is left out of the destination.
    pub(super) fn are_compared(&self) -> bool {
        self.use_as == Some(AlternateUse::Compare)
    }

    pub(crate) fn len(&self) -> usize {
        self.dirs.len()
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &Root)> {
        self.dirs
            .iter()
            .enumerate()
            .filter_map(|(index, dir)| Some((index, dir.as_ref()?)))
    }
}

/// A relative path from so deep in a module, as far up as that goes.
fn clamped(dir: &Path, mut depth: usize) -> PathBuf {
    let is_kept = |component: &Component<'_>| match component {
        Component::ParentDir if depth == 0 => false,
        Component::ParentDir => {
            depth -= 1;
            true
        }
        Component::Normal(_) => {
            depth += 1;
            true
        }
        _ => false,
    };
    dir.components().filter(is_kept).collect()
}

impl<P: Peer> Generator<'_, P> {
    pub(super) fn alternate_file(
        &mut self,
        at: At<'_>,
        place: &[u8],
        now: Option<&Meta>,
    ) -> Result<Match, Error> {
        let Some(use_as) = self.alternates.use_as else {
            return Ok(Match::None);
        };
        if use_as == AlternateUse::Copy && now.is_some() {
            return Ok(Match::None);
        }
        let entry = at.entry;
        let Some((level, index, meta)) =
            self.best(entry, |this, root, meta| this.fits(entry, root, meta))
        else {
            return Ok(Match::None);
        };
        let alternates = self.alternates;
        let Some(root) = alternates.get(index) else {
            return Ok(Match::None);
        };
        match (level, now) {
            (Level::All, Some(now)) => {
                self.replace_by_alternate(at, place, root, use_as, now, &meta)
            }
            (_, Some(_)) => Ok(Match::None),
            (Level::All, None) if use_as == AlternateUse::Compare => {
                self.tell(at, ItemFlags::empty(), None)?;
                Ok(Match::Done)
            }
            (Level::All, None) if use_as == AlternateUse::Link => {
                self.link_alternate(at, place, root, &meta)?;
                Ok(Match::Done)
            }
            (Level::All | Level::Content, None) => {
                let there = in_alternate(root, entry, &meta);
                let flags = self
                    .attributes
                    .differences(entry, there, ItemFlags::LOCAL_CHANGE);
                self.copy_alternate(at, place, root, &meta, flags | ItemFlags::LOCAL_CHANGE)?;
                Ok(Match::Done)
            }
            (Level::Type, None) => {
                let Ok((file, meta)) = root.open_regular(rel(entry.path())) else {
                    return Ok(Match::None);
                };
                let kind = BasisType::AlternateDir(u8::try_from(index).unwrap_or(0));
                Ok(Match::Basis(Basis {
                    kind,
                    name: None,
                    file,
                    meta,
                }))
            }
        }
    }

    pub(super) fn alternate_special(
        &mut self,
        at: At<'_>,
        place: &[u8],
    ) -> Result<Option<Found>, Error> {
        let Some(use_as) = self.alternates.use_as else {
            return Ok(None);
        };
        let entry = at.entry;
        let best = self.best(entry, |this, root, meta| {
            this.fits_special(entry, root, meta)
        });
        let Some((level, index, meta)) = best else {
            return Ok(None);
        };
        let alternates = self.alternates;
        let Some(root) = alternates.get(index) else {
            return Ok(None);
        };
        let there = in_alternate(root, entry, &meta);
        let differences = self
            .attributes
            .differences(entry, there, ItemFlags::empty())
            | ItemFlags::LOCAL_CHANGE;
        let (flags, xname, is_done) = match (level, use_as) {
            (Level::Type | Level::Content, _) => {
                (differences | ItemFlags::REPORT_CHANGE, None, false)
            }
            (Level::All, AlternateUse::Copy) => (differences, None, false),
            (Level::All, AlternateUse::Compare) => {
                self.tell(at, ItemFlags::empty(), None)?;
                (differences, None, true)
            }
            (Level::All, AlternateUse::Link) => {
                let linked = match self.root() {
                    Some(to) => hard_link(root, entry.path(), to, place).is_ok(),
                    None => true,
                };
                if linked {
                    self.touch(parent(place));
                    self.tell(at, ItemFlags::LOCAL_CHANGE, Some(Vec::new()))?;
                }
                (ItemFlags::LOCAL_CHANGE, Some(Vec::new()), linked)
            }
        };
        Ok(Some(Found {
            is_done,
            flags,
            xname,
        }))
    }

    /// How a directory that is to be made differs from an alternate's; `None` if none has it.
    pub(super) fn alternate_directory(&mut self, at: At<'_>) -> Option<ItemFlags> {
        let entry = at.entry;
        let (_, index, meta) = self.best(entry, |this, root, meta| {
            let there = in_alternate(root, entry, meta);
            let level = if this.attributes.are_equal(entry, there) {
                Level::All
            } else {
                Level::Content
            };
            meta.is_dir().then_some(level)
        })?;
        let there = in_alternate(self.alternates.get(index)?, entry, &meta);
        let mut differences = self
            .attributes
            .differences(entry, there, ItemFlags::empty());
        // Of times that are not kept for directories (`--omit-dir-times`) rsync tells all the same here.
        if self.options.times && !self.attributes.same_time(entry, meta.mtime) {
            differences |= ItemFlags::REPORT_TIME;
        }
        Some(differences | ItemFlags::LOCAL_CHANGE)
    }

    /// What an interrupted run has left of a file.
    pub(super) fn partial_basis(&self, place: &[u8]) -> Option<Basis> {
        let (file, meta) = open_partial(self.options, self.destination.root()?, place)?;
        Some(Basis {
            kind: BasisType::PartialDir,
            name: None,
            file,
            meta,
        })
    }

    /// A partial file that is of no use any more.
    pub(super) fn drop_partial(&mut self, place: &[u8]) {
        if let Some(root) = self.destination.root()
            && remove_partial(self.options, root, place)
        {
            self.touch(parent(place));
        }
    }

    /// A similar file (2.10).
    pub(super) fn fuzzy_basis(&mut self, entry: &Entry, place: &[u8]) -> Option<Basis> {
        if self.options.fuzzy == 0 || self.options.dry_run {
            return None;
        }
        let own = self
            .destination
            .root()
            .into_iter()
            .map(|root| (BasisType::Fuzzy, root));
        let others = self
            .alternates
            .iter()
            .filter(|_| self.options.fuzzy > 1)
            .map(|(index, root)| {
                (
                    BasisType::FuzzyAlternateDir(u8::try_from(index).unwrap_or(0)),
                    root,
                )
            });
        let (kind, name) = self.similar.best(entry, place, own.chain(others))?;
        let root = match kind {
            BasisType::FuzzyAlternateDir(index) => self.alternates.get(index.into())?,
            _ => self.destination.root()?,
        };
        let (file, meta) = root.open_regular(rel(&join(parent(place), &name))).ok()?;
        Some(Basis {
            kind,
            name: Some(name),
            file,
            meta,
        })
    }

    /// The best candidate among the alternates; an earlier one wins over others that fit no better.
    fn best(
        &self,
        entry: &Entry,
        fits: impl Fn(&Self, &Root, &Meta) -> Option<Level>,
    ) -> Option<(Level, usize, Meta)> {
        let mut best: Option<(Level, usize, Meta)> = None;
        for (index, root) in self.alternates.iter() {
            let Ok(Some(meta)) = root.lstat(rel(entry.path())) else {
                continue;
            };
            let Some(level) = fits(self, root, &meta) else {
                continue;
            };
            if best.as_ref().is_none_or(|(other, ..)| level > *other) {
                best = Some((level, index, meta));
            }
            if level == Level::All {
                break;
            }
        }
        best
    }

    fn fits(&self, entry: &Entry, root: &Root, meta: &Meta) -> Option<Level> {
        if !meta.is_file() {
            return None;
        }
        let same_content = entry.size == meta.size
            && match self.options.checksum {
                true => root
                    .open_regular(rel(entry.path()))
                    .is_ok_and(|(file, _)| self.peer.has_content(entry, file)),
                false => self.looks_unchanged(entry, meta),
            };
        Some(self.level(entry, root, meta, same_content))
    }

    fn fits_special(&self, entry: &Entry, root: &Root, meta: &Meta) -> Option<Level> {
        if meta.kind.type_bits() != entry.file_type() {
            return None;
        }
        let same = match entry.is_symlink() {
            true => root
                .read_made_link(rel(entry.path()))
                .is_ok_and(|target| target == entry.target()),
            false => !entry.is_device() || meta.rdev == entry.rdev(),
        };
        Some(self.level(entry, root, meta, same))
    }

    fn level(&self, entry: &Entry, root: &Root, meta: &Meta, same_content: bool) -> Level {
        let there = in_alternate(root, entry, meta);
        match same_content {
            false => Level::Type,
            true if self.attributes.are_equal(entry, there) => Level::All,
            true => Level::Content,
        }
    }

    /// The destination has another version than an alternate that has just what is wanted.
    fn replace_by_alternate(
        &mut self,
        at: At<'_>,
        place: &[u8],
        root: &Root,
        use_as: AlternateUse,
        now: &Meta,
        meta: &Meta,
    ) -> Result<Match, Error> {
        if now.identity() == meta.identity() {
            return Ok(Match::None);
        }
        match use_as {
            AlternateUse::Copy => return Ok(Match::None),
            AlternateUse::Link => self.link_alternate(at, place, root, meta)?,
            AlternateUse::Compare => {
                if let Some(to) = self.root()
                    && self.back_up(place, now)
                {
                    if let Err(error) = to.remove_file(rel(place)) {
                        let text = sentence(&[b"delete_file: unlink(", place, b") failed"]);
                        self.report.failed(Role::Generator, text, error.cause());
                        return Ok(Match::None);
                    }
                    self.touch(parent(place));
                }
                self.tell(at, ItemFlags::empty(), None)?;
            }
        }
        Ok(Match::Done)
    }

    fn link_alternate(
        &mut self,
        at: At<'_>,
        place: &[u8],
        root: &Root,
        meta: &Meta,
    ) -> Result<(), Error> {
        if let Some(to) = self.root() {
            if hard_link(root, at.entry.path(), to, place).is_err() {
                return self.copy_alternate(at, place, root, meta, ItemFlags::LOCAL_CHANGE);
            }
            self.touch(parent(place));
        }
        self.tell(at, ItemFlags::LOCAL_CHANGE, Some(Vec::new()))
    }

    fn copy_alternate(
        &mut self,
        at: At<'_>,
        place: &[u8],
        root: &Root,
        _meta: &Meta,
        flags: ItemFlags,
    ) -> Result<(), Error> {
        if let Some(to) = self.root() {
            let before = self.attributes.before(Some(to), place, None);
            let (wanted, which) = self.attributes.of_new(at.entry, before);
            let attributes = self.attributes;
            let mut applied = Applied::default();
            let copied = root
                .open_regular(rel(at.entry.path()))
                .and_then(|(source, meta)| {
                    let mut temp = to.temp_file(rel(place))?;
                    let cancel = &self.options.cancel;
                    let copied = tree::copy_contents(
                        &source,
                        temp.file(),
                        meta.size,
                        &|| cancel.is_cancelled(),
                        &mut |_| {},
                    );
                    copied.map_err(|error| {
                        let stopped = || {
                            tree::Error::new("copy", rel(place), std::io::Error::other("stopped"))
                        };
                        error
                            .at(rel(at.entry.path()), rel(place))
                            .unwrap_or_else(stopped)
                    })?;
                    applied = attributes.set_on_temp(&mut temp, at.entry, wanted.mode, false);
                    temp.commit_unseen(&wanted, which)
                });
            let shown = self.destination.quoted(place);
            applied.reported(self.report, Role::Generator, &shown);
            if let Err(error) = copied {
                let from = self.options.shown(root.path()).quoted(at.entry.path());
                let text = sentence(&[b"copy_file ", &from, b" => ", place]);
                self.report.failed(Role::Generator, text, error.cause());
                return Ok(());
            }
            self.touch(parent(place));
        }
        self.tell(at, flags, None)
    }
}

/// What an alternate directory has of an entry.
fn in_alternate<'s>(root: &'s Root, entry: &'s Entry, meta: &'s Meta) -> There<'s> {
    There {
        root: Some(root),
        path: entry.path(),
        meta,
    }
}

fn hard_link(from: &Root, path: &[u8], to: &Root, place: &[u8]) -> Result<(), tree::Error> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let from_dir = from.dir(rel(parent(path)))?;
    let to_dir = to.dir(rel(parent(place)))?;
    to_dir.hard_link(
        OsStr::from_bytes(basename(place)),
        &from_dir,
        OsStr::from_bytes(basename(path)),
    )
}
