//! The rules against the original.

mod cases;
mod corpus;
mod messages;
mod random;
mod wire;
