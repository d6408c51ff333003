//! The crate against bytes that the original program sent.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that helpers beside the test functions are tests too"
)]

mod captures;
mod corpus;
