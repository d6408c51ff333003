//! The rsync wire protocol as values: no I/O, no clock, no file descriptors.

mod cursor;
mod malformed;

pub use cursor::{Cursor, Stop, if_complete};
pub use malformed::Malformed;
