//! The last steps for a file whose content has been written: backup, attributes, rename (behaviour.md 7.2 to 7.5).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tree::{Dir, Meta, Root, TempFile, Time, Which};

use crate::Error;
use crate::attributes::{Applied, Attributes, Failure};
use crate::backup::Backups;
use crate::destination::Destination;
use crate::event::{Class, Role};
use crate::flist::{Entry, basename, parent};
use crate::options::Options;
use crate::partial::{partial_place, remove_partial};
use crate::report::{Reporter, sentence};
use crate::scan::rel;
use crate::site::Site;

/// Puts files in place.
pub(crate) struct Finisher<'a> {
    options: &'a Options,
    attributes: &'a Attributes<'a>,
    destination: &'a Destination,
    backups: Option<&'a Backups>,
    report: &'a Reporter<'a>,
    temp_dir: Option<TempDir>,
    /// Files that wait beside their places for the end of the run.
    delayed: Mutex<Vec<Delayed>>,
}

struct TempDir {
    dir: Arc<Dir>,
    /// Files cannot be renamed from there to the destination.
    is_elsewhere: bool,
}

/// A file to be put in place at the end.
struct Delayed {
    number: u32,
    place: Vec<u8>,
    parked: Vec<u8>,
}

impl<'a> Finisher<'a> {
    pub(crate) fn new(site: &'a Site<'a>) -> Result<Self, Error> {
        let (options, destination) = (site.options, &site.destination);
        let temp_dir = match &options.temp_dir {
            Some(dir) => Some(TempDir::open(dir, options, destination)?),
            None => match options
                .module
                .as_ref()
                .and_then(|module| module.temp_dir.as_ref())
            {
                Some(root) => Some(TempDir::new(root, destination)?),
                None => None,
            },
        };
        Ok(Self {
            options,
            attributes: &site.attributes,
            destination,
            backups: site.backups.as_ref(),
            report: site.report,
            temp_dir,
            delayed: Mutex::default(),
        })
    }

    /// A new file for the content of `place`. `None`, with its message, if there is none to be had.
    pub(crate) fn temp_file(&self, place: &[u8]) -> Option<TempFile> {
        let root = self.destination.root()?;
        let made = match (&self.temp_dir, self.options.delay_updates) {
            (Some(temp_dir), _) => root.temp_file_in(&temp_dir.dir, rel(place)),
            (None, true) => match self.parking(root, place) {
                Ok(parked) => root.temp_file(rel(&parked)),
                Err(error) => Err(error),
            },
            (None, false) => root.temp_file(rel(place)),
        };
        match made {
            Ok(temp) => Some(temp),
            Err(error) => {
                let shown = self.destination.quoted(&template(place));
                self.report.failed(
                    Role::Receiver,
                    sentence(&[b"mkstemp ", &shown, b" failed"]),
                    error.cause(),
                );
                None
            }
        }
    }

    /// Gives a whole file its attributes and its name. False, with its message, if that fails. Permissions that are not
    /// kept are those of the `existing` file, or else of the one that was the basis.
    pub(crate) fn commit(
        &self,
        mut temp: TempFile,
        number: u32,
        entry: &Entry,
        place: &[u8],
        (existing, model): (Option<&Meta>, Option<&Meta>),
    ) -> Result<bool, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(false);
        };
        if self.options.fsync
            && let Err(cause) = temp.file().sync_all()
        {
            let text = sentence(&[b"fsync failed on ", &self.destination.quoted(place)]);
            return Err(Error::fatal(11, Role::Receiver, text, Some(cause)));
        }
        let existing = existing.filter(|existing| existing.is_file());
        if self.options.delay_updates {
            let parked = partial_place(self.park(), place);
            let temp = self.bring_near(root, temp, &parked, entry.size)?;
            return Ok(match self.place(temp, entry, &parked, (existing, model)) {
                Ok(()) => {
                    self.delayed().push(Delayed {
                        number,
                        place: place.to_vec(),
                        parked,
                    });
                    true
                }
                Err(failures) => self.is_placed(&parked, failures),
            });
        }
        if let (Some(backups), Some(existing)) = (self.backups, existing)
            && !self.options.inplace
        {
            self.back_up(backups, place, existing)?;
        }
        let temp = self.bring_near(root, temp, place, entry.size)?;
        Ok(match self.place(temp, entry, place, (existing, model)) {
            Ok(()) => true,
            Err(failures) => self.is_placed(place, failures),
        })
    }

    /// Gives a file its attributes and its name without a word. [`Finisher::is_placed`] has the words for what went
    /// wrong, and tells whether the file is in place nevertheless.
    pub(crate) fn place(
        &self,
        mut temp: TempFile,
        entry: &Entry,
        place: &[u8],
        (existing, model): (Option<&Meta>, Option<&Meta>),
    ) -> Result<(), Vec<Failure>> {
        let existing = existing.filter(|existing| existing.is_file()).or(model);
        let before = self
            .attributes
            .before(self.destination.root(), place, existing);
        let (wanted, which) = self.attributes.of_new(entry, before);
        let applied = self
            .attributes
            .set_on_temp(&mut temp, entry, wanted.mode, true);
        let mut failures = applied.failures;
        if let Err(error) = temp.commit_unseen(&wanted, which) {
            failures.push(Failure::Meta(error));
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(failures),
        }
    }

    /// Gives a file that was written in place its attributes.
    pub(crate) fn finish_in_place(
        &self,
        entry: &Entry,
        place: &[u8],
        (existing, model): (Option<&Meta>, Option<&Meta>),
    ) {
        let Some(root) = self.destination.root() else {
            return;
        };
        let Ok(Some(now)) = root.lstat(rel(place)) else {
            return;
        };
        let is_kept = |existing: &&Meta| existing.is_file() || existing.kind.is_device();
        let before = self
            .attributes
            .before(Some(root), place, existing.filter(is_kept).or(model));
        let (mut wanted, which) = self.attributes.of_new(entry, before);
        wanted.kind = now.kind;
        let path = rel(place);
        let applied = self
            .attributes
            .set_all(root, path, entry, &wanted, which, &now);
        applied.reported(self.report, Role::Receiver, &self.destination.quoted(place));
        self.set_late(entry, place);
    }

    /// Sets extended attributes whose values have come after the rest.
    pub(crate) fn set_late(&self, entry: &Entry, place: &[u8]) {
        let Some(root) = self.destination.root() else {
            return;
        };
        if self.attributes.has_late(entry)
            && let Ok(Some(now)) = root.lstat(rel(place))
        {
            let applied = self.attributes.set_late(root, rel(place), entry, &now);
            applied.reported(self.report, Role::Receiver, &self.destination.quoted(place));
        }
    }

    /// Keeps what there is of a file that will not be complete (7.3). Without `--partial` nothing is kept, and nothing is
    /// not worth keeping.
    pub(crate) fn keep_partial(&self, mut temp: TempFile, entry: &Entry, place: &[u8]) {
        let Some(root) = self.destination.root() else {
            return;
        };
        let has_data = temp.file().metadata().is_ok_and(|data| data.len() > 0);
        if !self.options.partial || !has_data {
            return;
        }
        let before = self.attributes.before(Some(root), place, None);
        let (wanted, which) = self.attributes.of_new(entry, before);
        if let Some(dir) = &self.options.partial_dir {
            let which = which - Which::MTIME;
            let kept = match dir.is_absolute() {
                true => self
                    .options
                    .create_named_dir(dir)
                    .and_then(|root| temp.keep_as(&root, rel(basename(place)), &wanted, which)),
                false => self
                    .parking(root, place)
                    .and_then(|parked| temp.keep_as(root, rel(&parked), &wanted, which)),
            };
            if kept.is_err_and(|error| !error.is_attribute()) {
                let text = sentence(&[
                    b"Unable to create partial-dir for ",
                    place,
                    b" -- discarding partial file.",
                ]);
                self.report.say(Class::Warning, Role::Receiver, text);
            }
            return;
        }
        // A time that no source has: the next run must not take the file for complete.
        let wanted = Meta {
            mtime: Time {
                sec: 0,
                nsec: entry.mtime_nsec,
            },
            ..wanted
        };
        if let Err(error) = temp.commit_unseen(&wanted, which) {
            self.is_placed(place, vec![Failure::Meta(error)]);
        }
    }

    /// Removes the partial file of a file that is whole now, whether it has served as a basis or not.
    pub(crate) fn drop_partial(&self, place: &[u8]) {
        if let Some(root) = self
            .destination
            .root()
            .filter(|_| !self.options.delay_updates)
        {
            remove_partial(self.options, root, place);
        }
    }

    /// Puts delayed files in place (7.5). Returns the numbers of those that are.
    pub(crate) fn install(&self) -> Result<Vec<u32>, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(Vec::new());
        };
        let mut installed = Vec::new();
        let mut delayed = std::mem::take(&mut *self.delayed());
        delayed.sort_by_key(|delayed| delayed.number);
        for delayed in delayed {
            if let (Some(backups), Ok(Some(existing))) =
                (self.backups, root.lstat(rel(&delayed.place)))
            {
                self.back_up(backups, &delayed.place, &existing)?;
            }
            if let Err(error) = root.rename(rel(&delayed.parked), rel(&delayed.place)) {
                let shown = self.destination.quoted(&delayed.place);
                let text = sentence(&[
                    b"rename failed for ",
                    &shown,
                    b" (from ",
                    &delayed.parked,
                    b")",
                ]);
                self.report.failed(Role::Receiver, text, error.cause());
                continue;
            }
            let _ = root.remove_dir(rel(parent(&delayed.parked)));
            installed.push(delayed.number);
        }
        Ok(installed)
    }

    fn back_up(&self, backups: &Backups, place: &[u8], existing: &Meta) -> Result<(), Error> {
        backups
            .keep(self.destination, place, existing, self.report)
            .map(drop)
            .map_err(|error| {
                let name = backups.name(place);
                if error.is_name_too_long() {
                    let text = sentence(&[b"unlink ", &self.destination.quoted(&name)]);
                    self.report.failed(Role::Receiver, text, error.cause());
                }
                let shown = self.destination.quoted(place);
                let text = sentence(&[b"keep_backup failed: ", &shown, b" -> \"", &name, b"\""]);
                Error::fatal(11, Role::Receiver, text, Some(error.into_cause()))
            })
    }

    /// A file in a temp directory on another file system is copied to where it can be renamed.
    fn bring_near(
        &self,
        root: &Root,
        mut temp: TempFile,
        place: &[u8],
        size: u64,
    ) -> Result<TempFile, Error> {
        use std::io::Seek;
        if !self
            .temp_dir
            .as_ref()
            .is_some_and(|temp_dir| temp_dir.is_elsewhere)
            && !self.is_parked_elsewhere()
        {
            return Ok(temp);
        }
        let mut near = root.temp_file(rel(place))?;
        let failed = |cause| {
            let text = sentence(&[b"copy failed on ", &self.destination.quoted(place)]);
            Error::fatal(11, Role::Receiver, text, Some(cause))
        };
        temp.file().rewind().map_err(failed)?;
        tree::copy_contents(temp.file(), near.file(), size, &|| false, &mut |_| {})
            .map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(near)
    }

    /// Whether a file's temporary place belongs to its final name although it is parked under another one.
    fn is_parked_elsewhere(&self) -> bool {
        self.options.delay_updates && self.temp_dir.is_some()
    }

    /// The place where a file waits or is kept, whose directory is made if need be.
    fn parking(&self, root: &Root, place: &[u8]) -> Result<Vec<u8>, tree::Error> {
        let parked = partial_place(self.park(), place);
        let dir = rel(parent(&parked));
        match root.lstat(dir)? {
            Some(existing) if existing.is_dir() => {}
            existing => {
                if existing.is_some() {
                    root.remove_file(dir)?;
                }
                root.mkdir(dir, 0o700)?;
            }
        }
        Ok(parked)
    }

    fn park(&self) -> &Path {
        self.options
            .partial_dir
            .as_deref()
            .unwrap_or(Path::new(".~tmp~"))
    }

    fn delayed(&self) -> MutexGuard<'_, Vec<Delayed>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells why a file could not be placed. False.
    pub(crate) fn is_placed(&self, place: &[u8], failures: Vec<Failure>) -> bool {
        let shown = self.destination.quoted(place);
        let mut is_placed = true;
        let mut others = Applied::default();
        for failure in failures {
            match failure {
                // That was before the file had its name.
                Failure::Meta(error) if matches!(error.verb(), "chown" | "chgrp") => {
                    is_placed = false;
                    let early = Applied::failed(error);
                    let temp = self.destination.quoted(&template(place));
                    early.reported(self.report, Role::Receiver, &temp);
                }
                Failure::Meta(error) if error.verb() == "rename" => {
                    is_placed = false;
                    let temp = self.destination.quoted(&template(place));
                    let text = sentence(&[b"rename ", &temp, b" -> \"", place, b"\""]);
                    self.report.failed(Role::Receiver, text, error.cause());
                }
                failure => {
                    is_placed &= !matches!(failure, Failure::Meta(_));
                    others.failures.push(failure);
                }
            }
        }
        others.reported(self.report, Role::Receiver, &shown);
        is_placed
    }
}

impl TempDir {
    fn open(dir: &Path, options: &Options, destination: &Destination) -> Result<Self, Error> {
        let path = options.below(&destination.shown, dir);
        let usage = |text: String| Error::fatal(1, Role::ReceivingSide, text, None);
        // No name is no directory, and not the destination.
        let is_dir = match dir.as_os_str().is_empty() {
            true => Err(std::io::ErrorKind::NotFound.into()),
            false => options.is_dir(&path),
        };
        match is_dir {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(usage(format!(
                    "The temp-dir does not exist: {}",
                    dir.display()
                )));
            }
            Err(cause) => {
                let text = format!("Failed to stat temp-dir {}", dir.display());
                return Err(Error::fatal(11, Role::ReceivingSide, text, Some(cause)));
            }
            Ok(false) => {
                return Err(usage(format!(
                    "The temp-dir is not a directory: {}",
                    dir.display()
                )));
            }
            Ok(_) => {}
        }
        let root = options.open_named_dir(&path).map_err(|error| {
            let text = sentence(&[b"change_dir ", &options.quoted(&path), b" failed"]);
            Error::fatal(11, Role::ReceivingSide, text, Some(error.into_cause()))
        })?;
        Self::new(&root, destination)
    }

    fn new(root: &Root, destination: &Destination) -> Result<Self, Error> {
        let own = destination.root().map(Root::identity).transpose()?;
        let is_elsewhere =
            own.is_some_and(|own| root.identity().is_ok_and(|other| other.dev != own.dev));
        Ok(Self {
            dir: root.dir(rel(b"."))?,
            is_elsewhere,
        })
    }
}

/// The temporary name of a place, as messages show it.
fn template(place: &[u8]) -> Vec<u8> {
    let name = basename(place);
    let dot: &[u8] = if name.starts_with(b".") { b"" } else { b"." };
    crate::flist::join(parent(place), &[dot, name, b".XXXXXX"].concat())
}
