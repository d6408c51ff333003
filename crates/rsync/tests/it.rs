//! The example program beside the installed rsync.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]

#[path = "it/remote.rs"]
mod remote;
#[path = "it/same_words.rs"]
mod same_words;
#[path = "it/server_words.rs"]
mod server_words;
#[path = "it/serving.rs"]
mod serving;
