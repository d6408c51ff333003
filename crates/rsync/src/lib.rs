//! The rsync command line.
