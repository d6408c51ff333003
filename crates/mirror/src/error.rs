//! What can keep a mirror from starting or going on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::brake::Brake;

/// Why a mirror did not start, or ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The source cannot be opened.
    #[error("source {}: {cause}", .path.display())]
    Source {
        /// As given.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A replica's directory cannot be opened or made.
    #[error("replica {}: {cause}", .path.display())]
    Directory {
        /// As given.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A replica in its own source would grow for ever, and a source in its own replica would be deleted.
    #[error("{} and {} lie within each other: a tree cannot be mirrored into itself", .path.display(), .replica.display())]
    Overlap {
        /// The source.
        path: PathBuf,
        /// The replica.
        replica: PathBuf,
    },
    /// Two destinations are one and the same place.
    #[error("{0} is named twice as a destination")]
    Twice(String),
    /// Rules that depend on files in the tree.
    #[error(
        "per-directory merge files (dir-merge, :) are not available in a mirror; give the rules themselves"
    )]
    DirMerge,
    /// A filter rule means nothing, or merges a file that cannot be read.
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// A regular expression that means nothing.
    #[error("regular expression {0:?}: {1}")]
    Expression(String, String),
    /// A hook that cannot be.
    #[error("hook: {0}")]
    Hook(String),
    /// A password that cannot be had, or is not safe where it is.
    #[error("{0}")]
    Password(String),
    /// Certificates that cannot be had, or are none.
    #[error("certificates: {0}")]
    Certificates(String),
    /// The list of failures cannot be written.
    #[error("list of failures {}: {cause}", .path.display())]
    Failures {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A single run was asked for, and it would have to wait for approval.
    #[error("replica {replica}: {brake}")]
    Braked {
        /// The replica's name.
        replica: String,
        /// Why.
        brake: Brake,
    },
    /// The control socket cannot be made.
    #[error("control socket {}: {cause}", .path.display())]
    Control {
        /// Where it was to be.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The status page cannot be served.
    #[error("status page {address}: {cause}")]
    Page {
        /// Where it was to be.
        address: SocketAddr,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// The state file cannot be used.
    #[error("state file {}: {cause}", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// SQLite's or the kernel's words.
        cause: String,
    },
    /// Another mirror uses the state file.
    #[error("state file {} is in use by another mirror; give each mirror its own --state FILE", .0.display())]
    StateInUse(PathBuf),
    /// The state file failed while it was in use.
    #[error("state file: {0}")]
    Ledger(#[from] rusqlite::Error),
    /// A replica met something that does not pass.
    #[error("replica {replica}: {error}")]
    Replica {
        /// The replica's name.
        replica: String,
        /// What it met.
        error: transfer::Error,
    },
    /// Not everything could be brought over.
    #[error("replica {replica}: {reason}")]
    Incomplete {
        /// The replica's name.
        replica: String,
        /// What failed, in the words of the peer or the kernel.
        reason: String,
    },
    /// The source cannot be watched.
    #[error(transparent)]
    Watch(#[from] watch::Error),
    /// The system has no thread left for us.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl Error {
    /// The program's exit code: rsync's, where it has one for this (behaviour.md 4).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Overlap { .. }
            | Self::Twice(_)
            | Self::DirMerge
            | Self::Filter(_)
            | Self::Expression(..)
            | Self::Hook(_)
            | Self::Password(_)
            | Self::Certificates(_) => 1,
            // As rsync ends when --max-delete stopped it.
            Self::Braked { .. } => 25,
            Self::Source { .. } | Self::Directory { .. } => 3,
            Self::State { .. }
            | Self::StateInUse(_)
            | Self::Ledger(_)
            | Self::Control { .. }
            | Self::Page { .. }
            | Self::Failures { .. }
            | Self::Watch(_)
            | Self::Thread(_) => 11,
            Self::Replica { error, .. } => error.exit_code(),
            Self::Incomplete { .. } => 23,
        }
    }
}
