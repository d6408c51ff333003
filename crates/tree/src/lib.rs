//! The only door to the disk: everything relative to an open directory.
//!
//! In go a [`Root`], opened by a path the operator chose, and relative paths that anybody may have
//! chosen. Out come stats ([`Meta`]), open files, the names in directories, and changes to the tree. A relative
//! path never leads out of its root: not by `..`, not by a symbolic link, and not by one that
//! somebody puts in the way while the path is being resolved.
//!
//! - [`Root`] takes paths, [`Dir`] single names in one open directory: one system call each.
//! - [`TempFile`] makes a file appear under its name only when it is whole; links and nodes replace
//!   what is there in the same way.
//! - [`Root::remove_tree`] takes trees of any depth with a bounded number of open directories and no
//!   recursion.
//! - [`copy_contents`] and [`copy_keeping_holes`] let the kernel move the bytes.
//! - [`Xattrs`] reads and sets extended attributes, and through them access control lists ([`Acl`])
//!   and what a file only stands for ([`FakeStat`]).
//! - Errors ([`Error`]) name verb, path and cause. All calls are repeated when a signal interrupts
//!   them.
//!
//! What this crate must never know: the wire protocol, options, filters, what is to be transferred
//! and why, and how anything is reported. It prints nothing and decides nothing; it is told.
//!
//! Regular files are read, never mapped: others may truncate them at any time.

mod acl;
mod copy;
mod descent;
mod dir;
mod error;
mod fake_super;
pub mod fuzz;
mod make;
mod memory;
mod meta;
mod operator_file;
mod remove;
mod resolve;
mod root;
mod set;
mod syscall;
mod temp;
mod xattr;

pub use acl::{Acl, AclId, AclKind};
pub use copy::{CopyError, copy_contents, copy_keeping_holes};
pub use dir::{Dir, DirEntry};
pub use error::{Error, Result};
pub use fake_super::FakeStat;
pub use memory::{keep_little_freed_memory, release_unused_memory};
pub use meta::{FileId, Identity, Kind, Meta, Time, Which};
pub use operator_file::{
    append_trusted_file, create_trusted_file, open_confined_file, open_trusted_file,
};
pub use remove::Removal;
pub use resolve::Links;
pub use root::{Policy, Root};
pub use set::set_meta_of;
pub use temp::{TempFile, preallocate};
pub use xattr::Xattrs;
