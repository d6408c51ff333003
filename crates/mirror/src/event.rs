//! What a mirror reports. It prints nothing itself.

use std::time::Duration;

use transfer::Progress;

use crate::brake::Brake;
use crate::status::Verification;

/// Something that the operator may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// A replica holds the whole tree for the first time since the start.
    InStep {
        /// The replica's name.
        replica: String,
        /// It never held the whole tree before.
        is_first_copy: bool,
        /// Files brought over for that.
        files: u64,
        /// Bytes of their content that travelled or were copied.
        bytes: u64,
    },
    /// A replica has fallen behind: something fails, or changes come too fast.
    Behind {
        /// The replica's name.
        replica: String,
        /// Why, in the words of the peer or the kernel.
        reason: String,
        /// How many paths wait.
        waiting: usize,
    },
    /// A replica that was behind holds the whole tree again.
    CaughtUp {
        /// The replica's name.
        replica: String,
        /// How long it was behind.
        after: Duration,
    },
    /// A replica waits for approval.
    Braked {
        /// The replica's name.
        replica: String,
        /// Why.
        brake: Brake,
    },
    /// A brake was released, by approval or because its reason is gone.
    Released {
        /// The replica's name.
        replica: String,
    },
    /// A replica is being compared itself.
    Verifying {
        /// The replica's name.
        replica: String,
        /// How far that is.
        found: Verification,
    },
    /// A replica has been compared itself.
    Verified {
        /// The replica's name.
        replica: String,
        /// What was found, and mended.
        found: Verification,
    },
    /// Something is brought over.
    Progress {
        /// The replica's name.
        replica: String,
        /// What.
        progress: Progress,
    },
    /// A session has ended well.
    Session {
        /// The replica's name.
        replica: String,
        /// Paths that were brought up to date.
        updates: usize,
        /// Names that were removed.
        removals: usize,
        /// Bytes of file content that travelled or were copied.
        bytes: u64,
        /// Bytes in the files that were brought up to date, whether they travelled or not.
        covered: u64,
    },
    /// Something about the source or one replica.
    Notice {
        /// The replica's name; none for the source.
        replica: Option<String>,
        /// The text.
        text: String,
    },
}
