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

use crate::table::Opt;

pub(crate) use limits::max_alloc;

/// The topics.
pub(crate) const TOPICS: &[&[Opt]] = &[
    messages::ROWS,
    selection::ROWS,
    links::ROWS,
    attributes::ROWS,
    writing::ROWS,
    deletion::ROWS,
    limits::ROWS,
    comparison::ROWS,
    filters::ROWS,
    connection::ROWS,
    output::ROWS,
    run::ROWS,
];
