//! rsync's filter rules as values.
//!
//! In go the texts of rules: options, files of patterns, a daemon's parameters, rules that a peer sent. Out come
//! verdicts on names, and the texts of the rules that the peer must know.
//!
//! - [`Rules`] is the ordered list of one run. The first rule that matches a name decides; a name without a match
//!   takes part.
//! - [`Scope`] is that list as it stands in one directory: with the merge files (`dir-merge`) found there and above.
//!   [`Scope::enter`] goes down, [`Scope::check`] asks.
//! - [`Rules::excluded_with_parents`] answers for a single path what a recursive scan would have found out on its way.
//! - [`Rules::for_wire`] writes rules for a server, [`Rules::receive`] reads them there.
//!
//! Names are bytes, relative to the root of the transfer. This crate reads no file (merge files come through
//! [`MergeFiles`]), knows no environment and prints nothing; it must never learn what a transfer is.

mod cvs;
mod error;
pub mod fuzz;
mod glob;
mod load;
mod pattern;
mod rule;
mod rules;
mod scope;
mod send;

pub use error::{Error, Fault, Place};
pub use glob::Glob;
pub use load::{MergeFile, MergeFiles, NoMergeFiles};
pub use pattern::Pattern;
pub use rule::{Action, Modifiers, Rule, Sides};
pub use rules::{Cvs, List, Match, Options, Rules, Side, Verdict};
pub use scope::Scope;
pub use send::Dialect;
