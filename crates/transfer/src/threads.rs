//! Threads that a run cannot do without.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::Error;
use crate::event::Role;

/// Starts a thread on behalf of `role`.
///
/// # Errors
/// The system has no more threads: exit code 14, as where rsync cannot fork.
pub(crate) fn start_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    role: Role,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    let started = Builder::new().spawn_scoped(scope, run);
    started.map_err(|cause| Error::fatal(14, role, "cannot start a thread", Some(cause)))
}
