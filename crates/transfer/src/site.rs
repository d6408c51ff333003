//! The destination as a run works on it: what is there, what else may serve, and how things are changed.

use std::sync::Arc;

use wire::Protocol;

use crate::Error;
use crate::attributes::{Attributes, LongValues};
use crate::backup::Backups;
use crate::destination::Destination;
use crate::generator::Alternates;
use crate::options::Options;
use crate::report::Reporter;

/// What those who decide and those who write have in common.
pub(crate) struct Site<'a> {
    pub(crate) options: &'a Options,
    pub(crate) report: &'a Reporter<'a>,
    pub(crate) destination: Destination,
    pub(crate) attributes: Attributes<'a>,
    pub(crate) backups: Option<Backups>,
    /// Other trees that may have a file already.
    pub(crate) alternates: Alternates,
}

impl<'a> Site<'a> {
    /// Opens what the options name beside the destination. `rules` are the filter rules of the receiving side.
    pub(crate) fn open(
        destination: Destination,
        options: &'a Options,
        rules: &Arc<filter::Rules>,
        long_values: LongValues<'a>,
        protocol: Protocol,
        report: &'a Reporter<'a>,
    ) -> Result<Self, Error> {
        Ok(Self {
            options,
            report,
            attributes: Attributes::new(options, rules, long_values),
            backups: Backups::prepare(options, &destination, protocol)?,
            alternates: Alternates::open(options, &destination, report),
            destination,
        })
    }
}
