//! Why a round did not bring everything over, and what follows from that.

use crate::Error;
use crate::brake::Brake;
use crate::planner::PlanError;

/// Why a round did not bring everything over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(
        "the source is not where it was: it was unmounted, moved or replaced; nothing is brought over until it is back"
    )]
    SourceGone,
    #[error("{0}")]
    Braked(Brake),
    /// The plan is to be made again with the hints that are still on their way, or with what the guards have learned.
    #[error("more changes are on their way")]
    Premature,
    #[error("{}", summary(.0))]
    Paths(Vec<String>),
    #[error(transparent)]
    Transfer(#[from] transfer::Error),
    #[error("state file: {0}")]
    Ledger(#[from] rusqlite::Error),
}

impl From<PlanError> for Failed {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Ledger(error) => Self::Ledger(error),
            PlanError::Source(error) => Self::Transfer(error.into()),
        }
    }
}

impl Failed {
    pub(super) fn can_pass(&self) -> bool {
        match self {
            Self::SourceGone | Self::Paths(_) | Self::Braked(_) | Self::Premature => true,
            Self::Ledger(error) => is_out_of_room(error),
            Self::Transfer(error) => error.can_pass(),
        }
    }

    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::SourceGone
                | Self::Transfer(
                    transfer::Error::Connect { .. }
                        | transfer::Error::ConnectTimeout { .. }
                        | transfer::Error::Closed { .. }
                        | transfer::Error::Socket(_)
                        | transfer::Error::Read { .. }
                )
        )
    }

    pub(super) fn into_error(self, replica: &str) -> Error {
        let replica = replica.to_owned();
        match self {
            Self::Braked(brake) => Error::Braked { replica, brake },
            Self::Ledger(error) => Error::Ledger(error),
            Self::Transfer(error) => Error::Replica { replica, error },
            Self::SourceGone | Self::Paths(_) | Self::Premature => Error::Incomplete {
                replica,
                reason: self.to_string(),
            },
        }
    }
}

/// Whether the state file would take what it has been given at another time: the file itself is sound.
fn is_out_of_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DiskFull, OutOfMemory, SystemIoFailure};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| [DiskFull, DatabaseBusy, OutOfMemory, SystemIoFailure].contains(&code))
}

fn summary(failures: &[String]) -> String {
    match failures {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}
