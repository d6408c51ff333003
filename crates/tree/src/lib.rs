//! The only door to the disk: everything relative to an open directory.
mod copy;
mod descent;
mod dir;
mod error;
mod make;
mod meta;
mod remove;
mod resolve;
mod root;
mod set;
mod temp;
mod walk;

pub use copy::{CopyError, copy_contents};
pub use dir::{Dir, DirEntry};
pub use error::{Error, Result};
pub use meta::{FileId, Identity, Kind, Meta, Time, Which};
pub use remove::Removal;
pub use resolve::Links;
pub use root::{Policy, Root};
pub use set::set_meta_of;
pub use temp::TempFile;
pub use walk::{Mounts, Walk, WalkEntry};
