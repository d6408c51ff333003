//! The content of one file, by the kernel. Where the bytes have to be seen or paced, a session brings them (`linked`).

use std::fs::File;
use std::io;
use std::sync::Arc;

use tree::{CopyError, Meta, TempFile};
use wire::IoErrors;

use super::Copier;
use super::pool::{Done, Job, Pool, Released};
use crate::Error;
use crate::event::{Class, Role};
use crate::flist::Entry;
use crate::generator::{At, Fate, Wanted};
use crate::report::{quoted, sentence};
use crate::scan::rel;
use crate::write::preallocate;

impl Copier<'_> {
    /// Copies one file, with all its reports, or leaves it to the pool.
    pub(super) fn copy(&mut self, at: At<'_>, wanted: &Wanted) -> Result<(), Error> {
        let entry = at.entry;
        let flags = wanted.item.flags;
        let opened = match self.options.dry_run {
            true => None,
            false => match self.open_or_tell(entry) {
                Some(opened) => Some(opened),
                None => {
                    self.fates.push((at.number, Fate::Failed));
                    return Ok(());
                }
            },
        };
        self.note_new(entry, flags);
        self.stats.note_transfer(entry.size);
        self.itemize(entry, flags, None, 0);
        let Some((source, opened)) = opened else {
            self.fates.push((at.number, Fate::Done));
            return Ok(());
        };
        if self.pool.is_some() {
            return self.leave_to_pool(Job {
                list: Arc::clone(at.list),
                number: at.number,
                source,
                size: opened.size,
                existing: wanted.existing,
                model: wanted.model,
            });
        }
        let fate = self.bring(
            at,
            &source,
            &opened,
            wanted.existing.as_ref(),
            wanted.model.as_ref(),
        )?;
        self.fates.push((at.number, fate));
        Ok(())
    }

    fn leave_to_pool(&mut self, job: Job) -> Result<(), Error> {
        while let Some(pool) = self.pool.as_mut().filter(|pool| pool.is_full()) {
            pool.help();
            self.release()?;
        }
        if let Some(pool) = &mut self.pool {
            pool.add(job);
        }
        self.release()
    }

    /// Takes results from the pool that have their turn.
    pub(super) fn release(&mut self) -> Result<(), Error> {
        while let Some(released) = self.pool.as_mut().and_then(Pool::next) {
            let Released {
                list,
                number,
                existing,
                model,
                done,
            } = released;
            let Some(at) = At::of(&list, number) else {
                continue;
            };
            let entry = at.entry;
            let fate = match done {
                Done::Placed(count) => {
                    self.stats.literal += count;
                    Fate::Done
                }
                Done::Unplaced(count, failures) => {
                    self.stats.literal += count;
                    let place = self.destination.place(entry.path());
                    match self.finisher.is_placed(place, failures) {
                        true => Fate::Done,
                        false => Fate::Failed,
                    }
                }
                Done::Failed if self.options.cancel.is_cancelled() => {
                    return Err(Error::Cancelled);
                }
                Done::Failed => match self.open_or_tell(entry) {
                    Some((source, opened)) => {
                        self.bring(at, &source, &opened, existing.as_ref(), model.as_ref())?
                    }
                    None => Fate::Failed,
                },
            };
            self.fates.push((number, fate));
        }
        Ok(())
    }

    /// Opens a source, or tells why not.
    fn open_or_tell(&self, entry: &Entry) -> Option<(File, Meta)> {
        let base = &self.bases[usize::from(entry.base)];
        match self.open(entry) {
            Ok(opened) => Some(opened),
            Err(error) if error.vanished() => {
                self.report.io_error(IoErrors::VANISHED);
                let text = sentence(&[b"file has vanished: ", &quoted(&base.shown, entry.path())]);
                self.report.say(Class::Warning, Role::Sender, text);
                None
            }
            Err(error) => {
                self.report.io_error(IoErrors::GENERAL);
                let text = sentence(&[
                    b"send_files failed to open ",
                    &quoted(&base.shown, entry.path()),
                ]);
                self.report.failed(Role::Sender, text, error.cause());
                None
            }
        }
    }

    /// Brings the content of a file that is open.
    fn bring(
        &mut self,
        at: At<'_>,
        source: &File,
        opened: &Meta,
        existing: Option<&Meta>,
        model: Option<&Meta>,
    ) -> Result<Fate, Error> {
        let place = self.destination.place(at.entry.path());
        let done = match self.options.inplace {
            true => self.in_place(source, opened, at, place, (existing, model))?,
            false => self.anew(source, opened, at, place, (existing, model))?,
        };
        if !done {
            return Ok(Fate::Failed);
        }
        self.finisher.drop_partial(place);
        self.total_done = self.total_done.saturating_add(at.entry.size);
        self.progress(at, at.entry.size, true);
        // A delayed file is not there yet.
        Ok(match self.options.delay_updates {
            true => Fate::Parked,
            false => Fate::Done,
        })
    }

    /// Writes a new file and puts it in place.
    fn anew(
        &mut self,
        source: &File,
        opened: &Meta,
        at: At<'_>,
        place: &[u8],
        (existing, model): (Option<&Meta>, Option<&Meta>),
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
        let copied = self.by_kernel(source, temp.file(), opened, at);
        match copied {
            Ok(count) => self.stats.literal += count,
            Err(error) => return self.broken(error, temp, at.entry, place),
        }
        self.finisher
            .commit(temp, at.number, at.entry, place, (existing, model))
    }

    /// Writes into the file that is there.
    fn in_place(
        &mut self,
        source: &File,
        opened: &Meta,
        at: At<'_>,
        place: &[u8],
        models: (Option<&Meta>, Option<&Meta>),
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
        let copied = self.by_kernel(source, &mut file, opened, at);
        let cut = |count| {
            let cut = file.set_len(count);
            cut.map(|()| count).map_err(CopyError::Write)
        };
        match copied.and_then(cut) {
            Ok(count) => self.stats.literal += count,
            Err(CopyError::Cancelled) => return Err(Error::Cancelled),
            Err(CopyError::Read(cause)) => {
                self.unreadable(at.entry, &cause);
                return Ok(false);
            }
            Err(CopyError::Write(cause)) => return Err(self.unwritable(place, cause)),
        }
        self.finisher.finish_in_place(at.entry, place, models);
        Ok(true)
    }

    fn by_kernel(
        &mut self,
        source: &File,
        target: &mut File,
        opened: &Meta,
        at: At<'_>,
    ) -> Result<u64, CopyError> {
        let cancel = &self.options.cancel;
        let shows = self.options.report.progress;
        let this = &*self;
        tree::copy_contents(
            source,
            target,
            opened.size,
            &|| cancel.is_cancelled(),
            &mut |so_far| {
                if shows {
                    this.progress(at, so_far, false);
                }
            },
        )
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
}
