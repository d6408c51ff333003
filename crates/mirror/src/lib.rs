//! The real-time mirror: a reconciler that keeps replicas of a directory tree identical to it.
//!
//! In go a source, replicas and rules ([`Settings`]); out come [`Event`]s, and a [`Handle`] that tells how it is and takes
//! commands. The tree is the truth, events of the
//! watcher are hints, and the ledger says what each replica holds:
//!
//! ```text
//! watch -> Hints -> DirtySet (one per replica, coalesced)
//! ledger x tree -> planner -> Batch -> Destination -> ledger
//! ```
//!
//! A lost event, a crash, an outage and the first start are one case with one code path: look at the tree,
//! compare with the ledger, bring the difference over, write the ledger. This crate never prints, never ends the
//! process, and never touches a transferred path but through `tree`.

mod aftermath;
mod brake;
pub mod config;
pub mod control;
mod credentials;
mod destination;
mod dirty;
mod error;
mod event;
mod exclusions;
mod failures;
mod history;
pub mod hooks;
mod ledger;
mod meter;
mod mirror;
mod places;
mod planner;
mod queue;
mod replica;
mod restless;
mod schedule;
mod service;
mod settings;
mod source;
mod status;
mod web;

pub use brake::{Brake, BrakeLimits};
pub use credentials::password_from;
pub use error::Error;
pub use event::Event;
pub use history::{History, Repeated, Sample, Told};
pub use meter::Throughput;
pub use mirror::{Handle, Mirror, Report, Stopper};
pub use schedule::{BadSchedule, Schedule};
pub use service::{Changes, Ended, Service, Trees};
pub use settings::{
    BadPlace, FilterRule, Place, ReplicaSettings, SESSIONS, Settings, ShellAddress, Tls, Verify,
};
pub use status::{Failure, MirrorStatus, ReplicaState, ReplicaStatus, Totals, Verification};
pub use web::{PageSettings, StatusPage};
pub use wire::Protocol;
