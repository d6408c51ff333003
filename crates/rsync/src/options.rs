//! The rows of the option table by topic, together in the order of `rsync --help`.

mod attributes;
mod comparison;
mod connection;
mod deletion;
mod filters;
mod limits;
mod links;
mod messages;
mod output;
mod run;
mod selection;
mod writing;

use crate::table::{Opt, Topic};

pub(crate) use limits::max_alloc;

/// The topics.
pub(crate) const TOPICS: &[Topic] = &[
    topic("Messages", messages::ROWS),
    topic("What is copied", selection::ROWS),
    topic("Links", links::ROWS),
    topic("Attributes", attributes::ROWS),
    topic("Reading and writing", writing::ROWS),
    topic("What is made, replaced and deleted", deletion::ROWS),
    topic("Limits and identities", limits::ROWS),
    topic("Comparison and compression", comparison::ROWS),
    topic("Filters and lists of names", filters::ROWS),
    topic("The way to the other side", connection::ROWS),
    topic("Output", output::ROWS),
    topic("The run as a whole", run::ROWS),
];

const fn topic(title: &'static str, rows: &'static [Opt]) -> Topic {
    Topic { title, rows }
}
