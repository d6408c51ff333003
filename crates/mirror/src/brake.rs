//! Brakes: when a replica stops deleting and waits for its operator.
//!
//! Every deletion is the conclusion "the source no longer has it". That is wrong when the source is not what it was: not
//! mounted, restored elsewhere, or emptied by mistake. The signs of it are judged here, before anything is deleted.

use serde::Serialize;

/// When a batch deletes too much to go without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrakeLimits {
    /// The share of the replica's files that one batch may delete, in percent; 100 never brakes.
    pub percent: u8,
    /// A batch that deletes fewer files than this never brakes.
    pub files: u64,
}

impl Default for BrakeLimits {
    fn default() -> Self {
        Self {
            percent: 50,
            files: 1000,
        }
    }
}

impl BrakeLimits {
    /// Whether deleting `deletions` of `held` files is more than may happen unasked.
    #[must_use]
    pub fn are_exceeded_by(self, deletions: u64, held: u64) -> bool {
        deletions >= self.files
            && u128::from(deletions) * 100 > u128::from(held) * u128::from(self.percent)
    }
}

/// Why a replica waits for approval. Its words are those that the operator reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Brake {
    /// The source is empty and the replica is not. Nothing is brought over.
    #[error(
        "the source is empty and the replica is not: is it mounted? nothing is deleted until it is approved"
    )]
    SourceEmpty,
    /// The source is another directory than the one the ledger knows. Nothing is brought over.
    #[error(
        "the source is another directory than the one this replica was made from (another file system, or made anew): nothing is brought over until it is approved"
    )]
    SourceReplaced,
    /// A file system that was mounted below the source is not. What is below its mount point is left as it is, everything
    /// else is brought over.
    #[error(
        "the file system that was mounted at {path} is not: the replica keeps what it has there until it is mounted again or approved"
    )]
    Unmounted {
        /// The mount point below the source, for people to read; the first of several.
        path: String,
    },
    /// Everything is brought over but deletions.
    #[error(
        "{deletions} of {held} files would be deleted: nothing is deleted until it is approved"
    )]
    ManyDeletions {
        /// Files that would go.
        deletions: u64,
        /// Files the replica holds.
        held: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_the_share_and_the_number_must_be_exceeded() {
        let limits = BrakeLimits::default();
        for (deletions, held, exceeded) in [
            (999, 999, false),
            (1000, 1000, true),
            (1000, 2000, false),
            (1001, 2000, true),
            (5000, 1_000_000, false),
            (u64::MAX, u64::MAX, true),
        ] {
            assert_eq!(
                limits.are_exceeded_by(deletions, held),
                exceeded,
                "{deletions} of {held}"
            );
        }
        let never = BrakeLimits {
            percent: 100,
            files: 1,
        };
        assert!(!never.are_exceeded_by(1000, 1000));
    }
}
