//! The rsync wire protocol as values: no I/O, no clock, no file descriptors.
//!
//! In go bytes that a peer sent and facts that were agreed with it; out come plain Rust values, and the other way
//! round. Whatever crosses a connection has its type and its one encoding here: handshake, frames, integers, file
//! lists, block sums, file data, statistics. What the values *mean* for files is the business of the crates
//! that use this one.
//!
//! - **Reading** goes over a [`Cursor`], a position in borrowed bytes. Too few bytes are no error: a decoder says
//!   [`Stop::Incomplete`], has consumed nothing, and is called again when there are more. Values that come in pieces
//!   (frames, file data, argument lists) have a small machine that keeps what it needs: [`Demux`],
//!   [`TokenDecoder`], [`ArgumentReader`].
//! - **Writing** appends to a `Vec<u8>`.
//! - **Peers are hostile.** Every length and number is bounded before it is used or allocated; what no peer may
//!   send is a [`Malformed`] with rsync's text and exit code. No input makes a decoder panic: each has an entry
//!   in [`fuzz`].
//! - **Protocol age** is asked of [`Protocol`] by name (`protocol.has_item_flags()`); no other file compares
//!   version numbers.
//!
//! This crate must never know: files and paths on a disk, sockets, the environment, the time, randomness, options
//! of a command line, or which role it serves.

// What everything is made of.
mod cursor;
mod int;
mod malformed;
mod protocol;

// Until the data stream starts.
mod arguments;
mod auth;
mod compat;
mod daemon;
mod greeting;
mod negotiate;
mod quote;

// The two things that share a direction: data and messages.
mod message;
mod mux;

// In the data stream: file lists.
mod acl;
mod entry;
mod ids;
mod rules;
mod sort;
mod xattr;

// In the data stream: requests, answers, the end.
mod item;
mod ndx;
mod stats;
mod sums;
mod token;

// Beside the connection.
mod batch;
pub mod fuzz;

pub use acl::{Acl, Named, NamedAccess};
pub use arguments::{ArgumentReader, put_arguments, put_secluded};
pub use auth::Digest;
pub use batch::{BatchHead, BatchOptions};
pub use compat::{ClientInfo, CompatFlags, UnofferedIncRecurse};
pub use cursor::{Cursor, Stop, if_complete};
pub use daemon::{
    AuthReply, BadRequest, DaemonLine, EARLY_INPUT_MAX, ModuleRequest, REPLY_LINE_MAX,
    REQUEST_LINE_MAX, Unsendable,
};
pub use entry::{
    Decoded, Entry, EntryDecoder, EntryEncoder, EntryFormat, FileType, HardLink, MAX_PATH, Rdev,
};
pub use greeting::{BadGreeting, Greeting};
pub use ids::{IdListFormat, IdListItem, IdName};
pub use int::{
    VSTRING_MAX, put_int, put_longint, put_shortint, put_varint, put_varint30, put_varlong,
    put_varlong30, put_vstring,
};
pub use item::{BasisType, Item, ItemFlags, ItemFormat};
pub use malformed::Malformed;
pub use message::{IoErrors, Message, Severity};
pub use mux::{Code, Demux, Incoming, KEEPALIVE};
pub use ndx::{Ndx, NdxReader, NdxWriter};
pub use negotiate::{
    Algorithm, Checksum, ChecksumChoice, Compression, NegotiationError, Offer, Side, parse_choice,
};
pub use protocol::{PeerVersion, Protocol, VersionMismatch};
pub use quote::{Tilde, daemon_path, daemon_unquote, guard_dash, shell_path, shell_value};
pub use rules::{RULE_MAX, RuleReader, put_rule, put_rules_end};
pub use sort::{Duplicate, SortOrder};
pub use stats::{DeleteStatistics, Statistics};
pub use sums::{BlockSum, SumHead};
pub use token::{
    Lz4Decoder, Lz4Encoder, PLAIN_LITERAL_MAX, PlainDecoder, PlainEncoder, Token, TokenDecoder,
    TokenEncoder, ZlibDecoder, ZlibEncoder, ZstdDecoder, ZstdEncoder, check_blocks,
};
pub use xattr::{
    XATTR_INLINE_MAX, XATTR_VALUE_MAX, Xattr, XattrItem, XattrNamespaces, XattrValue, XattrsOwed,
    decode_xattr_answer, decode_xattr_request, encode_xattr_answer, encode_xattr_answer_end,
    encode_xattr_request, xattr_digest,
};
