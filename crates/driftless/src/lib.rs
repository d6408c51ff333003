//! The library behind the `driftless` binary, and the door for programs that embed it.
//!
//! [`Transfer`] says what is copied where and how; [`Transfer::run`] does it, between directories of this machine, to or from
//! an rsync daemon, or through a remote shell. The other end may be any stock rsync. What happens arrives as typed
//! [`Event`]s, what ends it early as an [`Error`], and [`Cancel`] stops it. Nothing is printed (a remote shell such as ssh
//! keeps its own standard error), no signal is taken, and nobody is asked for a password.
//!
//! ```
//! use driftless::{Event, Place, Transfer};
//!
//! # let dir = tempfile::tempdir()?;
//! # let (from, to) = (dir.path().join("from"), dir.path().join("to"));
//! # std::fs::create_dir(&from)?;
//! # std::fs::write(from.join("file"), "content")?;
//! let outcome = Transfer::archive()
//!     .delete()
//!     .exclude("*.o")
//!     .from(Place::local(&from.join("")))
//!     .to(&to)
//!     .run(|event: Event<'_>| {
//!         if let Event::Itemized(item) = event {
//!             println!("{}", String::from_utf8_lossy(item.entry.path));
//!         }
//!     })?;
//! assert_eq!(outcome.exit_code(), 0);
//! assert_eq!(outcome.stats.transferred, 1);
//! # assert_eq!(std::fs::read(to.join("file"))?, b"content");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **Places.** A path is one of this machine; [`Place::daemon`] and [`Place::shell`] are others. At most one end is remote.
//!   A slash at the end of a source means what is in the directory, as with rsync.
//! - **Options.** Methods for the common ones, [`Transfer::option`] for every other one of rsync 3.5.0: they are read by the
//!   same table as the command line's, so that implications, conflicts and the words for a server are the same.
//! - **Events** come from several threads, in the order in which each meets them. [`Event::Itemized`] tells of each entry that
//!   is created, changed or about to be transferred, [`Event::Deleted`] of what is removed, [`Event::Message`] of what went wrong
//!   with one file while the others went on, and [`Event::Progress`] of bytes if [`Transfer::progress`] asked for that.
//! - **The end.** `Ok` means that the transfer came to its end; [`Outcome::exit_code`] is 23 or 24 if files were left out.
//!   [`Error::exit_code`] is the code that rsync would have ended with.
//! - **Stopping.** After [`Cancel::cancel`] the run ends soon with [`Error::is_cancelled`]. No file is half-written under its
//!   name, and no temporary file is left.
//!
//! The examples `push_with_progress` and `backup_and_verify` are small programs of this kind.
//!
//! The other modules are the binary's: each is a face of it that takes its arguments and returns its exit code, so that
//! `main` is the only place that ends the process.

mod configuration;
pub mod control_command;
pub mod convert_command;
mod embedding;
pub mod mirror_command;
mod notify;
pub mod sersync_command;
mod state;

pub use embedding::{Error, Place, Transfer};
pub use transfer::{
    Cancel, Class, Counts, Direction, EntryView, Event, Events, FileProgress, Itemized, Notice,
    Outcome, Role, Skip, Stats,
};
pub use wire::{IoErrors, ItemFlags, Severity};
