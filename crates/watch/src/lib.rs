//! Where hints come from: one stream of changes below one directory.
//!
//! In goes a directory and [`Settings`]; out comes a channel of [`Change`] values, in batches, and a
//! [`Watcher`] that keeps the threads behind it alive. A change is a *hint*: "this path is worth a
//! look". It never says what a file holds, and acting on it alone would be wrong; looking at the
//! path, which is what every consumer does anyway, is always right.
//!
//! What the stream promises: whatever changes below the root after [`Watcher::start`] returned is
//! covered by a later value, either by its own path or by a [`Change::Rescan`] of a directory above
//! it. Nothing that goes wrong (queue overflow, watch limit, unmounted filesystem, a directory that is
//! filled before it can be watched) is only logged: each is a value in the stream.
//!
//! How it keeps the promise with inotify, which watches single directories and names them by
//! number only: a directory is watched first and read second, so what was put into it meanwhile is
//! either seen as an event or found by the reading. Directories are nodes of a tree of names, so a
//! rename moves all watches below it in one step. A path can lead to another directory by the time
//! it is used; that is found by comparing watch descriptors, which are per directory and not per
//! path, and mended by events that must then still be in the queue (see `tracker`).
//! Directories that get no watch are polled.
//!
//! fanotify watches whole filesystems and names directories by handle: no walk, no watches, no race with
//! new directories. What remains to be known is where a handle's directory is (see `places`).
//!
//! [`inotifywait`] and [`inotifywatch`] are the command lines of those names as functions: arguments and
//! standard streams in, exit status out. They use the same watches, names and queue, and print the kernel's
//! events rather than changes.
//!
//! This crate must never know what the changes are used for: no rules of transfers, no replicas.
//! It reads directories and file metadata, never file contents, and changes nothing on disk.

mod change;
mod fanotify;
mod inotify;
pub mod inotifywait;
pub mod inotifywatch;
mod marked;
mod mounts;
mod names;
mod places;
mod polled;
mod queue;
mod tool;
mod tracker;
mod watcher;

pub use change::{Change, Notice, Reason, Touch};
pub use mounts::{Mount, mounts};
pub use tool::Io;
pub use watcher::{Error, Prune, Settings, Source, Watcher};
