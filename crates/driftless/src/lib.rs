//! One binary that keeps replicas of a directory tree identical to their source
