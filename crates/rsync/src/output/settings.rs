//! What a run wants to see of itself.

use super::escape::Passes;
use super::format::{Facts, Format};
use super::listing::Columns;
use super::number::Human;
use crate::flags::Levels;

/// Which lines are wanted, and how they look.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Nothing but errors (`--quiet`).
    pub(crate) quiet: bool,
    /// The lines go to a client, which says itself what it receives or sends.
    pub(crate) is_server: bool,
    pub(crate) info: Levels,
    pub(crate) debug: Levels,
    /// The line of a changed item.
    pub(crate) format: Option<Format>,
    /// The format, or that of the client for whom this is a server, tells what of an item is changed.
    pub(crate) itemizes: bool,
    /// Show unchanged items too (`-ii`).
    pub(crate) all_items: bool,
    /// The line of a changed item in the log; `None` is no line.
    pub(crate) log_format: Option<Format>,
    pub(crate) facts: Facts,
    pub(crate) columns: Columns,
    pub(crate) human: Human,
    /// Of lines for standard output.
    pub(crate) passes: Passes,
    /// Of lines for standard error, by who has to say them.
    pub(crate) error_passes: ErrorPasses,
    /// We are the receiving side; a server that is one tells more itself.
    pub(crate) is_receiving: bool,
    /// Directories are listed at all: without them there is no list to be announced.
    pub(crate) lists_dirs: bool,
    /// Content is sent whole.
    pub(crate) whole_files: bool,
    pub(crate) is_dry_run: bool,
    /// The destination is left alone for the sake of a batch (`--only-write-batch`).
    pub(crate) is_batch_only: bool,
    pub(crate) protocol: i32,
}

/// What passes to standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorPasses {
    /// From the sender, and of lines that are nobody's.
    pub(crate) sender: Passes,
    /// From the receiving side. That of a local copy is a server, which in rsync knows no characters but ASCII.
    pub(crate) receiver: Passes,
}
