//! What a peer can get wrong, with the words and the exit code rsync has for it.

use thiserror::Error;

/// Bytes that no correct peer sends. Each variant knows its text; rsync's exit code for it is
/// [`Malformed::exit_code`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A variable-length integer whose class byte asks for more bytes than the type holds.
    #[error("overflow in a variable-length integer")]
    IntegerOverflow,
}

impl Malformed {
    /// rsync's exit code for this fault (wire-session.md 8.6): 2 for protocol incompatibility, 12 for a
    /// damaged data stream.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::IntegerOverflow => 12,
        }
    }
}
