//! For tests only: what every crate's tests need from the world outside, in one place.
//!
//! - [`Tree`] makes files from a few words ("`f a/b 10`"), [`Editor`] changes them at random from a seed.
//! - [`compare()`] tells in words where two trees differ; [`Aspects`] says what must agree.
//! - [`said`] is what runs of a program print and leave, without what differs from run to run; [`scenario`] reads tables of
//!   command lines over trees.
//! - [`eventually()`] polls until something holds. It is the only way a test may wait: no sleep-and-hope.
//! - [`RsyncDaemon`] is a real stock rsync daemon that can be killed, stopped and started again, [`SshServer`] a real
//!   sshd likewise; [`Original`] finds the programs that serve as oracle; [`Program`] runs the binary under test;
//!   [`script()`] stands for a program that a test wants to answer for.
//! - [`Tmpfs`] is a small file system to fill up; [`skip()`] names what could not be tested here.
//!
//! Everything cleans up when dropped: no process, mount or file outlives its test. Failures panic
//! with what was expected and what was there, since a broken test bench has nobody to report to.
//!
//! This crate must never know another crate of the workspace: an oracle that shares code with what
//! it judges would share its mistakes. It therefore uses `std::fs` and not `tree`.

#![allow(
    clippy::disallowed_methods,
    reason = "works on trees it made itself; `tree` is among what it judges"
)]

mod compare;
mod daemon;
mod editor;
mod eventually;
mod original;
mod port;
mod process;
mod program;
mod random;
pub mod said;
pub mod scenario;
mod script;
mod skip;
mod ssh;
mod tmpfs;
mod tree;

pub use compare::{Aspects, Differences, Times, compare};
pub use daemon::{DaemonBuilder, RsyncDaemon};
pub use editor::{Edit, Editor};
pub use eventually::eventually;
pub use original::{Original, require_rsync};
pub use process::{Pid, Signal};
pub use program::{Line, Memory, Program, Stream, example};
pub use random::{Random, content};
pub use script::{REMOTE_SHELL, script};
pub use skip::{is_root, skip};
pub use ssh::SshServer;
pub use tmpfs::Tmpfs;
pub use tree::Tree;
