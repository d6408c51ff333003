//! What a peer can get wrong, with the words and the exit code rsync has for it.

use thiserror::Error;

use crate::Protocol;

/// Bytes that no correct peer sends. Each variant knows its text; rsync's exit code for it is
/// [`Malformed::exit_code`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A variable-length integer whose class byte asks for more bytes than the type holds.
    #[error("Overflow in read_varint()")]
    IntegerOverflow,

    /// A string with a length prefix above what its place allows.
    #[error("string of {length} bytes where at most {limit} are allowed")]
    StringTooLong {
        /// The announced length in bytes.
        length: usize,
        /// The most that this place allows.
        limit: usize,
    },

    /// A file index outside every list, or one of the numbers between the special values and the directories.
    #[error("Invalid file index: {0}")]
    FileIndex(i64),

    /// A frame with a tag that has no meaning; the number is the tag less the base of 7.
    #[error("unexpected tag {0}")]
    UnexpectedTag(i16),

    /// A message that may not cross the wire, or whose payload cannot be right.
    #[error("invalid multi-message {code}:{length}")]
    InvalidMessage {
        /// The message code.
        code: u8,
        /// The length of the payload in bytes.
        length: usize,
    },

    /// A text or path longer than any peer sends.
    #[error("multiplexing overflow {code}:{length}")]
    MessageTooLong {
        /// The message code.
        code: u8,
        /// The length of the payload in bytes.
        length: usize,
    },

    /// A line without an end in sight.
    #[error("line of more than {limit} bytes")]
    LineTooLong {
        /// The longest acceptable line in bytes.
        limit: usize,
    },

    /// A line of text with a NUL in it.
    #[error("NUL in a line of text")]
    NulInLine,

    /// An argument list beyond any real one.
    #[error("too many daemon arguments")]
    TooManyArguments,

    /// A filter rule or list of rules of impossible length, or a rule with a NUL.
    #[error("buffer overflow: recv_rules")]
    RuleList,

    /// A batch file that a later version wrote.
    #[error("The protocol version in the batch file is too new ({0} > {latest}).", latest = Protocol::LATEST)]
    BatchTooNew(i32),

    // File lists and file data.
    /// A number outside the bounds of its field.
    #[error("wire value {what} out of range: {value}")]
    OutOfRange {
        /// The field.
        what: &'static str,
        /// What was received.
        value: i64,
    },

    /// A flag word that would end the list with errors, where none can be reported.
    #[error("invalid file-list flags 0x{flags:x}")]
    ListEnd {
        /// The entry flags.
        flags: u32,
    },

    /// A name that is too long, or that shares more with the previous one than that has.
    #[error("overflow: xflags=0x{flags:x} l1={shared} l2={length} lastname={}", previous.escape_ascii())]
    NameOverflow {
        /// The entry flags.
        flags: u32,
        /// Bytes shared with the previous name.
        shared: usize,
        /// Bytes that follow.
        length: i32,
        /// The previous name.
        previous: Vec<u8>,
    },

    /// A symlink target that is too long.
    #[error("overflow: linkname_len={length}")]
    TargetOverflow {
        /// The announced length in bytes.
        length: i32,
    },

    /// A name that leads out of the transfer, or is none.
    #[error("ABORTING due to unsafe pathname from sender: {}", name.escape_ascii())]
    UnsafeName {
        /// The name as it was sent.
        name: Vec<u8>,
    },

    /// The root of the transfer is not a directory.
    #[error("ERROR: rejecting non-directory transfer-root entry: {}", name.escape_ascii())]
    RootNotDirectory {
        /// The name as it was sent.
        name: Vec<u8>,
    },

    /// A mode that is of no file type.
    #[error("invalid file mode 0{mode:o} for {}", name.escape_ascii())]
    FileMode {
        /// The mode.
        mode: u32,
        /// The entry's name.
        name: Vec<u8>,
    },

    /// A file length below 0.
    #[error("Offset underflow: file-length is negative")]
    NegativeFileLength,

    /// A hard-link reference to an entry that has not been sent yet.
    #[error("hard-link reference out of range: {number} ({limit})")]
    LinkOutOfRange {
        /// The number referred to.
        number: i32,
        /// The number of the entry that refers to it.
        limit: u32,
    },

    /// A hard-link reference to an earlier list that names no first link.
    #[error("hard-link gnum {number} precedes flist start {list_start}")]
    LinkPrecedesList {
        /// The number referred to.
        number: u32,
        /// The first number of the current list.
        list_start: u32,
    },

    /// A hard-link reference within its list to an entry that is not the first link of a file.
    #[error("hard-link reference {number} is not to the first link of a file")]
    LinkUndeclared {
        /// The number referred to.
        number: u32,
    },

    /// An extended attribute's name that is not a string with its terminator.
    #[error("Invalid xattr name received (missing trailing \\0).")]
    XattrName,

    /// A request for the value of an attribute that does not exist, is not abbreviated or was requested before.
    #[error("invalid xattr request for attribute {number}")]
    XattrRequest {
        /// The attribute number.
        number: u32,
    },

    /// A number of blocks below 0, or more data than a file can have.
    #[error("Invalid checksum count {0}")]
    BlockCount(i32),

    /// A block length out of bounds.
    #[error("Invalid block length {0}")]
    BlockLength(i32),

    /// Blocks without length.
    #[error("Invalid zero block length")]
    ZeroBlockLength,

    /// A strong sum that is longer than its algorithm makes them, or empty.
    #[error("Invalid checksum length {0}")]
    StrongLength(i32),

    /// A last block longer than the others.
    #[error("Invalid remainder length {0}")]
    RemainderLength(i32),

    /// A reference to a block that the basis does not have.
    #[error("Invalid block index {index} (count={count})")]
    BlockIndex {
        /// The block referred to.
        index: i64,
        /// How many there are.
        count: u32,
    },

    /// A block token that denotes no block.
    #[error("invalid token number in compressed stream")]
    Token,

    /// Data that its compression method cannot have produced.
    #[error("{method} data is corrupt")]
    Compressed {
        /// The method.
        method: &'static str,
    },
}

impl Malformed {
    /// rsync's exit code for this fault (wire-session.md 8.6): 2 for protocol incompatibility, 5 in a
    /// daemon's lines, 12 for a damaged data stream, 22 for what would not fit into memory.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::FileIndex(_)
            | Self::TooManyArguments
            | Self::BatchTooNew(_)
            | Self::OutOfRange { .. }
            | Self::ListEnd { .. }
            | Self::RootNotDirectory { .. }
            | Self::FileMode { .. }
            | Self::LinkOutOfRange { .. }
            | Self::LinkPrecedesList { .. }
            | Self::LinkUndeclared { .. }
            | Self::XattrName
            | Self::XattrRequest { .. }
            | Self::BlockCount(_)
            | Self::BlockLength(_)
            | Self::ZeroBlockLength
            | Self::StrongLength(_)
            | Self::RemainderLength(_)
            | Self::BlockIndex { .. }
            | Self::Token => 2,
            Self::UnsafeName { .. } | Self::NegativeFileLength => 4,
            Self::LineTooLong { .. } | Self::NulInLine => 5,
            Self::RuleList | Self::NameOverflow { .. } | Self::TargetOverflow { .. } => 22,
            Self::Compressed { .. } => 12,
            Self::IntegerOverflow
            | Self::StringTooLong { .. }
            | Self::UnexpectedTag(_)
            | Self::InvalidMessage { .. }
            | Self::MessageTooLong { .. } => 12,
        }
    }
}
