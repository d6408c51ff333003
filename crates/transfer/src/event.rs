//! What the engine tells whoever runs it, while it runs and at the end. It never prints and never exits.

use std::io;
use std::path::Path;

use delta::Tally;
use wire::{DeleteStatistics, IoErrors, ItemFlags, Severity};

use crate::Error;

/// Who hears the events. Generator, receiver and sender are threads of their own: calls come from all of them, one
/// at a time from each.
pub trait Events: Sync {
    /// Takes note of one event.
    fn event(&self, event: Event<'_>);
}

impl<F: Fn(Event<'_>) + Sync> Events for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The file list is about to be sent or received.
    ListStarted {
        /// Directory by directory, while the transfer goes on.
        incremental: bool,
        /// We are the sender.
        sending: bool,
    },
    /// So many entries are known by now.
    ListProgress {
        /// Entries so far.
        entries: u64,
    },
    /// The (first) list is complete.
    ListFinished {
        /// Entries in it.
        entries: u64,
    },
    /// An entry of the sender's list, when only a listing was asked for.
    Listed(EntryView<'a>),
    /// The destination directory did not exist and was created (in a dry run: would be).
    CreatedDestination {
        /// As it was named.
        path: &'a Path,
        /// How many directories, if parents were asked for (`--mkpath`).
        directories: Option<u32>,
    },
    /// An entry was created, changed, is about to be transferred, or (if asked for) is up to date.
    Itemized(Itemized<'a>),
    /// An item of the destination was removed (in a dry run: would be).
    Deleted {
        /// Below the destination.
        path: &'a [u8],
        /// It was a directory.
        is_dir: bool,
    },
    /// An entry was left alone.
    Skipped {
        /// Which.
        path: &'a [u8],
        /// Is it a directory?
        is_dir: bool,
        /// Why.
        why: Skip<'a>,
    },
    /// A symbolic link leads out of the tree.
    UnsafeLink {
        /// Which.
        path: &'a [u8],
        /// Where to.
        target: &'a [u8],
        /// What it leads to is sent in its place (`--copy-unsafe-links`); otherwise no backup of it is made.
        is_copied: bool,
    },
    /// A filter rule decided about a name, if that is to be told (`--debug=FILTER`).
    Filtered {
        /// The sender hides or shows, the generator protects or risks.
        role: Role,
        /// The name.
        path: &'a [u8],
        /// Is it a directory?
        is_dir: bool,
        /// It takes no part.
        is_excluded: bool,
        /// The rule as rsync calls it, with its list.
        rule: &'a [u8],
    },
    /// An entry needed no more than other attributes, if that; for whoever asked for it
    /// ([`Report::says_unchanged`](crate::Report)).
    LeftAlone {
        /// Which.
        path: &'a [u8],
        /// Its attributes were others.
        differs: bool,
    },
    /// What was replaced or removed has been kept.
    BackedUp {
        /// Its name.
        path: &'a [u8],
        /// Where it is now.
        kept_as: &'a Path,
    },
    /// A file of the source was removed after its transfer.
    RemovedSource {
        /// Which.
        path: &'a [u8],
    },
    /// The sender has sent all content that was wanted.
    AllSent {
        /// What its searches met with.
        tally: Tally,
        /// Bytes sent as they are.
        literal: u64,
    },
    /// Content of a file is under way.
    Progress(FileProgress<'a>),
    /// A failure, a warning or a piece of information with rsync's own text.
    Message(Notice<'a>),
    /// What the peer wants its user to read. It may hold any bytes.
    Peer {
        /// What it means for the exit code and the stream it goes to.
        severity: Severity,
        /// The text, usually with its line end.
        text: &'a [u8],
    },
    /// A session has come to an end before its end. What a server's [`Speaker`](crate::Speaker) is told now still
    /// reaches the client.
    Failed(&'a Error),
    /// The connection broke while the peer was told of a session's end before its end.
    Unheard(&'a Error),
    /// The other end of a local copy has failed, of which its protocol lets the result tell no more than that.
    Gone(&'a Error),
}

/// An entry, as far as it is shown.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    /// Its name in the list, without a slash at the end.
    pub path: &'a [u8],
    /// Type and permissions; 0 for an argument that does not exist.
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Modification time, in seconds since the epoch.
    pub mtime: i64,
    /// Access time, if such times are kept.
    pub atime: Option<i64>,
    /// Creation time, if such times are kept.
    pub crtime: Option<i64>,
    /// Owner at the sender.
    pub uid: u32,
    /// Group at the sender.
    pub gid: u32,
    /// What a symbolic link leads to.
    pub target: Option<&'a [u8]>,
    /// Directory above which the sender has the entry, if we are the sender.
    pub source: Option<&'a Path>,
}

/// What is reported of one entry.
#[derive(Debug, Clone, Copy)]
pub struct Itemized<'a> {
    /// The entry.
    pub entry: EntryView<'a>,
    /// What differs and what was done (wire-files.md 10.2).
    pub flags: ItemFlags,
    /// From whom to whom.
    pub direction: Direction,
    /// The name that a hard link was made to.
    pub link: Option<&'a [u8]>,
    /// Nothing differs.
    pub unchanged: bool,
    /// Bytes that travelled for the content; 0 before and without a transfer.
    pub bytes: u64,
    /// Bytes of block sums that travelled the other way.
    pub sum_bytes: u64,
    /// The checksum of the content: from the list under `--checksum`, otherwise of the transfer.
    pub checksum: Option<&'a [u8]>,
}

impl<'a> Itemized<'a> {
    /// An entry of which `flags` and the `name` that comes with them are known. With content the name is that of its
    /// basis, otherwise that of a link.
    pub(crate) fn new(
        entry: EntryView<'a>,
        flags: ItemFlags,
        name: Option<&'a [u8]>,
        direction: Direction,
    ) -> Self {
        let silent =
            ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE;
        let is_transfer = flags.contains(ItemFlags::TRANSFER);
        let link = name.filter(|name| !name.is_empty() && !is_transfer);
        Self {
            entry,
            flags,
            direction,
            link,
            unchanged: (flags - silent).is_empty() && link.is_none(),
            bytes: 0,
            sum_bytes: 0,
            checksum: None,
        }
    }
}

/// The way a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To another machine.
    Sent,
    /// From another machine, or from one directory of this one to another.
    Received,
}

/// Why an entry was left alone (behaviour.md 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip<'a> {
    /// It does not exist at the destination (`--existing`).
    NotExisting,
    /// It exists at the destination (`--ignore-existing`). The word tells in which respect it differs, if that was
    /// asked for: `type change`, `sum change`, `file change`, `attr change`, `uptodate`.
    Exists(Option<&'static str>),
    /// It is newer at the destination.
    Newer,
    /// It is larger than permitted.
    TooLarge,
    /// It is smaller than permitted.
    TooSmall,
    /// It is of a type that is not to be copied.
    NonRegular,
    /// It is a symbolic link that leads out of the tree.
    UnsafeLink(&'a [u8]),
    /// It is a directory, and directories are not to be sent (`skipping directory`).
    Directory,
    /// It is the mount point of another file system.
    MountPoint,
    /// The mount point cannot be removed.
    UndeletableMountPoint,
    /// The directory cannot be removed because something in it stays.
    NotEmpty,
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy)]
pub struct FileProgress<'a> {
    /// The file.
    pub path: &'a [u8],
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes it has.
    pub size: u64,
    /// The file is complete.
    pub finished: bool,
    /// How many files' transfers are complete, this one included.
    pub transferred: u64,
    /// Entries after this one that are known.
    pub left: u64,
    /// All entries that are known.
    pub known: u64,
    /// Whether all lists are known.
    pub all_known: bool,
    /// Bytes of all files that are done, those of this one included.
    pub total_done: u64,
    /// Bytes of all files.
    pub total_size: u64,
}

/// A line of rsync's, in its own words (behaviour.md 3.1).
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Where it goes, and whether the exit code becomes 23.
    pub class: Class,
    /// Whose words they are; shown only with a cause.
    pub role: Role,
    /// The text, without line end.
    pub text: &'a [u8],
    /// The system's error, if it is about one.
    pub cause: Option<&'a io::Error>,
}

/// rsync's message classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// For standard output.
    Info,
    /// For standard error.
    Warning,
    /// For standard error.
    Error,
    /// For standard error; a file was not transferred, and the exit code becomes 23.
    Transfer,
}

/// The part of rsync that speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `[sender]`.
    Sender,
    /// `[generator]`.
    Generator,
    /// `[receiver]`.
    Receiver,
    /// `[Receiver]`: the receiving side before it splits into two.
    ReceivingSide,
}

/// How many entries there are of each type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes.
    pub devices: u64,
    /// FIFOs and sockets.
    pub specials: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.devices + self.specials
    }

    /// Counts an entry of this mode.
    pub(crate) fn note(&mut self, mode: u32) {
        let count = match mode & 0o170_000 {
            0o100_000 => &mut self.files,
            0o040_000 => &mut self.directories,
            0o120_000 => &mut self.symlinks,
            0o020_000 | 0o060_000 => &mut self.devices,
            _ => &mut self.specials,
        };
        *count += 1;
    }

    pub(crate) fn to_wire(self) -> DeleteStatistics {
        let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        DeleteStatistics {
            files: clamp(self.files),
            directories: clamp(self.directories),
            symlinks: clamp(self.symlinks),
            devices: clamp(self.devices),
            specials: clamp(self.specials),
        }
    }

    pub(crate) fn add(&mut self, other: DeleteStatistics) {
        self.files += u64::from(other.files);
        self.directories += u64::from(other.directories);
        self.symlinks += u64::from(other.symlinks);
        self.devices += u64::from(other.devices);
        self.specials += u64::from(other.specials);
    }
}

/// The numbers of `--stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries in the list.
    pub listed: Counts,
    /// Entries that the destination did not have.
    pub created: Counts,
    /// Items that were removed.
    pub deleted: Counts,
    /// Regular files whose content was transferred.
    pub transferred: u64,
    /// Bytes of all regular files and symbolic links in the list.
    pub total_size: u64,
    /// Bytes of the regular files that were transferred.
    pub transferred_size: u64,
    /// Bytes that were sent as they are.
    pub literal: u64,
    /// Bytes that the destination had.
    pub matched: u64,
    /// Bytes of the list that were on their way when it was complete.
    pub list_size: u64,
    /// Time to build the list, in milliseconds.
    pub list_build_ms: u64,
    /// Time to transfer the list, in milliseconds.
    pub list_transfer_ms: u64,
    /// Bytes that this side wrote to the connection.
    pub sent: u64,
    /// Bytes that this side read from the connection.
    pub received: u64,
}

impl Stats {
    /// The content of a file of this size was transferred.
    pub(crate) fn note_transfer(&mut self, size: u64) {
        self.transferred += 1;
        self.transferred_size = self.transferred_size.saturating_add(size);
    }
}

/// How a transfer that came to its end went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its numbers.
    pub stats: Stats,
    /// What the sender could not read, and whether deletion hit its limit.
    pub io_errors: IoErrors,
    /// Something was not transferred, and a message said why.
    pub is_partial: bool,
    /// Removals left out because of `--max-delete`.
    pub deletions_skipped: u64,
    /// The exit code that the peer left with, if it was not 0.
    pub peer_exit: Option<u8>,
}

impl Outcome {
    /// rsync's exit code (behaviour.md 4, wire-session.md 8.6): the strongest reason counts.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let peer = self.peer_exit.unwrap_or(0);
        if self.is_partial || self.io_errors.contains(IoErrors::GENERAL) {
            23
        } else if peer != 0 {
            peer
        } else if self.io_errors.contains(IoErrors::VANISHED) {
            24
        } else if self.io_errors.contains(IoErrors::DELETE_LIMIT) {
            25
        } else {
            0
        }
    }
}
