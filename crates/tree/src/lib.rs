//! The only door to the disk: everything relative to an open directory
