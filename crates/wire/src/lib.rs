//! The rsync wire protocol as values: no I/O, no clock, no file descriptors
