//! Who brings the content of files, and what passes between it and the generator.

use std::fs::File;
use std::sync::Arc;

use tree::Meta;
use wire::Item;

use crate::Error;
use crate::flist::{Entry, List};

/// Who brings the content of files.
pub(crate) trait Peer {
    /// Tells about an entry that needs no data, and asks for these long values of its extended attributes.
    fn report(&mut self, at: At<'_>, item: Item, values: &[u32]) -> Result<(), Error>;

    /// Asks for the content of a file.
    fn request(&mut self, at: At<'_>, wanted: Wanted) -> Result<(), Error>;

    /// The destination has this entry: its source may go.
    fn confirm(&mut self, at: At<'_>) -> Result<(), Error>;

    /// Whether the destination's old version is of use to this peer.
    fn wants_basis(&self) -> bool;

    /// Whether a file, which has the right size, has the entry's content.
    fn has_content(&self, entry: &Entry, file: File) -> bool;

    /// What has become of requests. If `wait`, and requests are open, there is at least one.
    fn fates(&mut self, wait: bool) -> Result<Vec<(u32, Fate)>, Error>;
}

/// An entry and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'l> {
    pub(crate) list: &'l Arc<List>,
    pub(crate) number: u32,
    pub(crate) entry: &'l Entry,
}

impl<'l> At<'l> {
    /// The entry of this number, if the list has it.
    pub(crate) fn of(list: &'l Arc<List>, number: u32) -> Option<Self> {
        let entry = list.get(number)?;
        Some(Self {
            list,
            number,
            entry,
        })
    }
}

/// A request for content.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) item: Item,
    /// What the destination has under the name.
    pub(crate) existing: Option<Meta>,
    /// What else it is made after: permissions that are not kept are taken from there.
    pub(crate) model: Option<Meta>,
    /// What the new content may be put together from; absent if the whole file is to be sent.
    pub(crate) basis: Option<(File, Meta)>,
    /// A repetition: the first try did not verify.
    pub(crate) is_redo: bool,
    /// Long values of extended attributes that are to be told, by number.
    pub(crate) values: Vec<u32>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The file is in place.
    Done,
    /// It is complete, and will be in place at the end (`--delay-updates`).
    Parked,
    /// It is not, and will not be.
    Failed,
    /// It did not verify and is to be asked for once more.
    Redo,
}
