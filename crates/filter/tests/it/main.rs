//! The rules against the original.
#![allow(missing_docs)]

mod cases;
mod messages;
mod random;
mod wire;
