//! The engine against the original program, in each role.

mod batch;
mod bench;
mod cases;
mod local;
mod metadata;
mod pull;
mod push;
mod serve;
