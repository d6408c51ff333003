//! The rules against the original.
#![allow(missing_docs)]

mod cases;
mod corpus;
mod messages;
mod random;
mod wire;
