//! Sessions on file: what is written while one goes on (`--write-batch`; wire-session.md 10.1).

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use wire::{BatchHead, BatchOptions};

use crate::Error;
use crate::event::Role;
use crate::options::{Append, Options, Recording};
use crate::session::Session;

/// A stream's copy of its data in a file.
#[derive(Debug)]
pub(crate) struct Record {
    file: Arc<File>,
    /// What is heard is written, instead of what is said.
    pub(crate) of_heard: bool,
    /// The content of files goes nowhere else.
    takes_content: bool,
    /// It is content that is being said.
    pub(crate) diverts: bool,
}

impl Record {
    /// Begins the record that the options ask for, if they do.
    pub(crate) fn begin(
        options: &Options,
        session: &Session,
        of_heard: bool,
    ) -> Result<Option<Self>, Error> {
        let (file, takes_content) = match &options.batch {
            Some(Recording::Write(file)) => (file, false),
            Some(Recording::OnlyWrite(file)) => (file, true),
            Some(Recording::OnlyWrittenThere | Recording::Read(_)) | None => return Ok(None),
        };
        let record = Self {
            file: Arc::clone(file),
            of_heard,
            // A receiver with the same options drops it by itself.
            takes_content: takes_content && !of_heard && !options.dry_run,
            diverts: false,
        };
        let head = BatchHead {
            options: options.of_batch() & BatchOptions::known_to(session.protocol),
            protocol: session.protocol,
            flags: session.flags,
            seed: session.seed,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        record.write(&bytes)?;
        Ok(Some(record))
    }

    pub(crate) fn write(&self, data: &[u8]) -> Result<(), Error> {
        (&*self.file)
            .write_all(data)
            .map_err(|cause| Error::fatal(11, Role::Sender, "Batch file write error", Some(cause)))
    }

    /// What is said next is the content of a file, or is so no more.
    pub(crate) fn divert(&mut self, is_content: bool) {
        self.diverts = self.takes_content && is_content;
    }
}

impl Options {
    /// Whether content is asked for and sent for the sake of a record, though nothing is changed.
    pub(crate) fn is_only_recorded(&self) -> bool {
        matches!(
            self.batch,
            Some(Recording::OnlyWrite(_) | Recording::OnlyWrittenThere)
        )
    }

    /// Whether the receiver is told content that it has no use for.
    pub(crate) fn takes_content_anyway(&self) -> bool {
        matches!(
            self.batch,
            Some(Recording::OnlyWrite(_) | Recording::Read(_))
        )
    }

    /// Leaves the destination alone where only a record is wanted.
    pub(crate) fn spare_destination(&mut self) {
        self.dry_run |= self.is_only_recorded();
    }

    /// The options that shape the data, which a reader must have too.
    pub(crate) fn of_batch(&self) -> BatchOptions {
        let is_set = [
            (BatchOptions::RECURSIVE, self.recursive),
            (BatchOptions::OWNER, self.owner),
            (BatchOptions::GROUP, self.group),
            (BatchOptions::LINKS, self.links),
            (BatchOptions::DEVICES, self.devices),
            (BatchOptions::HARD_LINKS, self.hard_links),
            (BatchOptions::CHECKSUM, self.checksum),
            (BatchOptions::DIRS, self.lists_dirs()),
            (BatchOptions::COMPRESS, self.compress.is_some()),
            (BatchOptions::ICONV, self.iconv.is_some()),
            (BatchOptions::ACLS, self.acls),
            (BatchOptions::XATTRS, self.xattrs > 0),
            (BatchOptions::INPLACE, self.inplace),
            (BatchOptions::APPEND, self.append.is_some()),
            (
                BatchOptions::APPEND_VERIFY,
                self.append == Some(Append::Verified),
            ),
        ];
        is_set
            .into_iter()
            .filter_map(|(option, is_set)| is_set.then_some(option))
            .collect()
    }
}
