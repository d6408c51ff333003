//! The signals that a listener heeds, as something to read.
//!
//! They are blocked and come by a descriptor (signalfd(2)), so no handler runs at any time, and a process that comes out of
//! the listener has to do no more than to [let them through](let_through) again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGCHLD: processes have ended.
    Child,
    /// SIGHUP: the configuration has changed.
    Reload,
    /// SIGINT: end at once.
    Interrupt,
    /// SIGTERM: end in order.
    Stop,
}

const HEEDED: [(Number, Signal); 4] = [
    (Number::SIGCHLD, Signal::Child),
    (Number::SIGHUP, Signal::Reload),
    (Number::SIGINT, Signal::Interrupt),
    (Number::SIGTERM, Signal::Stop),
];

/// The signals that have come and wait. What whoever has started us ignores for us stays ignored.
pub(super) struct Signals(SignalFd);

impl Signals {
    /// From now on they come here.
    pub(super) fn new() -> io::Result<Self> {
        let heeded = heeded();
        heeded.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&heeded, flags)?))
    }

    /// The next one, if any has come.
    pub(super) fn next(&mut self) -> Option<Signal> {
        let number = self.0.read_signal().ok()??.ssi_signo;
        let is_it = |(known, _): &&(Number, Signal)| u32::try_from(*known as i32) == Ok(number);
        HEEDED.iter().find(is_it).map(|(_, signal)| *signal)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets them have their own effect again, as in a process that is no listener but was started by one.
pub(crate) fn let_through() {
    // It cannot fail: the set is one of signals that exist.
    let _ = heeded().thread_unblock();
}

fn heeded() -> SigSet {
    HEEDED.iter().map(|(number, _)| *number).collect()
}
