//! What a push asks of a daemon, and the words for it.

use wire::ClientInfo;

use crate::batch::Batch;

/// What a push does beyond its batch.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Filter rules for the receiving side: names they match are never removed there.
    pub rules: Vec<Vec<u8>>,
    /// Remove what the batch says is gone or too much. Without it, that part of the batch is left out.
    pub deletes: bool,
    /// Change nothing; what would be removed is reported.
    pub dry_run: bool,
    /// Have the peer acknowledge each entry that it holds (directories apart). It takes longer.
    pub acknowledge: bool,
    /// Send numbers without names.
    pub numeric_ids: bool,
    /// Send access control lists, and have the peer's made the same (`--acls`).
    pub acls: bool,
    /// Send extended attributes, and have the peer's made the same (`--xattrs`).
    pub xattrs: bool,
    /// Have the peer make holes of runs of zeros (`--sparse`): what the source has of them does not travel.
    pub sparse: bool,
    /// Have the peer tell of every entry that it changes, if only in its metadata ([`Applied::amended`](crate::Applied::amended)).
    pub itemize: bool,
    /// A directory below the destination that keeps what is overwritten or removed.
    pub backup_dir: Option<String>,
    /// Compress content as both ends prefer (`--compress`).
    pub compress: bool,
    /// Bytes of content a second that are sent on average at most, before they are compressed.
    pub bandwidth: Option<u64>,
    /// What the peer is not asked for, because it refuses that.
    pub without: Without,
}

bitflags::bitflags! {
    /// What is part of every push unless the peer refuses it, and is then done without.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Without: u16 {
        /// Symbolic links.
        const LINKS = 1;
        /// That files have several names: each becomes a file.
        const HARD_LINKS = 1 << 1;
        /// Users.
        const OWNER = 1 << 2;
        /// Groups.
        const GROUP = 1 << 3;
        /// Devices, sockets and FIFOs.
        const DEVICES = 1 << 4;
        /// Modification times.
        const TIMES = 1 << 5;
        /// Permissions.
        const PERMISSIONS = 1 << 6;
        /// Comparison of contents: what would be compared is sent.
        const CHECKSUM = 1 << 7;
        /// Acknowledgements: with them asked for, nothing counts as acknowledged.
        const ACKNOWLEDGEMENT = 1 << 8;
        /// Directories without what is in them, and with that deletions.
        const DIRS = 1 << 9;
        /// Times to the nanosecond.
        const NANOSECONDS = 1 << 10;
    }
}

impl PushOptions {
    /// The server's arguments for a push to the directory `location`, in the order in which rsync sends them
    /// (wire-session.md 2). `nanoseconds`: it compares times to the nanosecond.
    #[must_use]
    pub fn arguments(&self, batch: &Batch, nanoseconds: bool, location: &[u8]) -> Vec<Vec<u8>> {
        let mut letters = b"-".to_vec();
        letters.extend(self.dry_run.then_some(b'n'));
        letters.extend(self.backup_dir.as_ref().map(|_| b'b'));
        let asked = [
            (b'l', Without::LINKS),
            (b'd', Without::DIRS),
            (b'H', Without::HARD_LINKS),
            (b'o', Without::OWNER),
            (b'g', Without::GROUP),
            (b'D', Without::DEVICES),
            (b't', Without::TIMES),
            (b'p', Without::PERMISSIONS),
        ];
        let asked = asked.iter().filter(|(_, what)| !self.lacks(*what));
        letters.extend(asked.map(|(letter, _)| letter));
        // Some of a list's directories have no content, so that it says the same.
        letters.extend(self.lacks(Without::DIRS).then_some(b'r'));
        letters.extend(self.acls.then_some(b'A'));
        letters.extend(self.xattrs.then_some(b'X'));
        if batch.exact {
            letters.push(if self.lacks(Without::CHECKSUM) {
                b'I'
            } else {
                b'c'
            });
        }
        letters.extend(self.sparse.then_some(b'S'));
        letters.extend(self.compress.then_some(b'z'));
        letters.push(b'e');
        letters.extend_from_slice(&own_abilities().to_argument());
        let mut words = vec![b"--server".to_vec(), letters];
        if self.itemize {
            words.push(b"--log-format=%i".to_vec());
        }
        if self.deletes {
            words.push(b"--no-r".to_vec());
            words.push(b"--delete".to_vec());
            if !batch.gone.is_empty() {
                words.push(b"--delete-missing-args".to_vec());
            }
        }
        if nanoseconds && !self.lacks(Without::NANOSECONDS) {
            words.push(b"-@-1".to_vec());
        }
        if self.numeric_ids {
            words.push(b"--numeric-ids".to_vec());
        }
        if let Some(directory) = &self.backup_dir {
            words.push(b"--backup-dir".to_vec());
            words.push(directory.clone().into_bytes());
        }
        if self.acknowledge && !self.lacks(Without::ACKNOWLEDGEMENT) {
            words.push(b"--remove-source-files".to_vec());
        }
        words.push(b".".to_vec());
        // The slash makes the last component a directory to enter; what follows is not taken for options.
        let mut location = location.to_vec();
        if !location.ends_with(b"/") {
            location.push(b'/');
        }
        words.push(location);
        words
    }

    pub(super) fn lacks(&self, what: Without) -> bool {
        self.without.contains(what)
    }
}

/// What we tell a server that we can do.
pub(super) fn own_abilities() -> ClientInfo {
    ClientInfo::own(false, false)
}
