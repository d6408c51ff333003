//! The transfer engine: the roles of the rsync protocol, and the sessions that join them.
//!
//! In go [`Options`], the names of sources and destination, and a [`Link`] to a peer if there is one. Out come
//! changed files, [`Event`]s while they change, and an [`Outcome`] or an [`Error`] at the end.
//!
//! - [`local_copy`] brings sources to a destination of the same machine.
//! - [`Client`] is the end that the user started: [`Client::over_shell`] or [`Client::of_daemon`] agree with the
//!   server, [`Client::send`] and [`Client::receive`] transfer.
//! - [`Server`] is the other end: [`Server::over_shell`] agrees with the client, [`Server::speaker`] tells its user
//!   something, [`Server::send`] and [`Server::receive`] transfer.
//! - [`read_batch`] receives from a file that an earlier session has left (`--write-batch`).
//! - [`Dial`] reaches a daemon's port, [`Visit`] greets it and lists its modules or enters one. [`Connection`] is a module
//!   that was entered; [`Connection::push`] and [`LocalReplica`] apply the [`Batch`]es of a mirror.
//!
//! The same generator decides and the same finisher writes, whoever brings the data: a peer, or the kernel.
//!
//! What this crate must never know: command lines, configuration files, the texts that users see but for rsync's own
//! messages, the environment, standard streams, the exit of the process.

// What was asked, what is told, how it can fail.
mod accounts;
mod chmod;
mod error;
mod event;
mod module;
mod options;
mod report;
mod requested;

// Bytes to a peer and back: reaching it, agreeing with it, talking with it.
mod address;
mod charset;
mod connection;
mod dial;
mod heard;
mod incoming;
mod link;
mod names;
mod outgoing;
mod recording;
mod session;
mod stream;
mod visit;

// The two ends of a session, and the copies without a peer.
mod client;
mod copier;
mod linked;
mod receiving;
mod replay;
mod sending;
mod server;
mod threads;

// The list that both ends index, and what an entry is at the source.
mod flist;
mod ids;
mod owners;
mod scan;
mod source;
mod sums;
mod symlink;

// The roles: who answers, who decides, who takes the answers.
mod asked;
mod generator;
mod receiver;
mod requester;
mod sender;

// At the destination: what is there, what is written, what goes.
mod attributes;
mod backup;
mod delete;
mod destination;
mod finish;
mod fuzzy;
mod partial;
mod rights;
mod site;
mod write;

// The batches of a mirror.
mod batch;
mod local;
mod push;

pub use accounts::Accounts;
pub use address::{BadAddress, DEFAULT_PORT, DaemonAddress};
pub use batch::{Applied, Batch, Item, Progress, Renamed};
pub use chmod::{BadChmod, Chmod};
pub use client::Client;
pub use connection::{Connection, Credentials, dial};
pub use copier::local_copy;
pub use delta::Tally;
pub use dial::{BadProxy, BadSocketOption, Dial, Dialled, Family, Proxy, SocketOption};
pub use error::Error;
pub use event::{
    Class, Counts, Direction, EntryView, Event, Events, FileProgress, Itemized, Notice, Outcome,
    Role, Skip, Stats,
};
pub use link::{Cancel, Link, one_way};
pub use local::{Interrupted, LocalReplica};
pub use module::Module;
pub use options::{
    AlternateUse, Alternates, Append, Backup, Charsets, Compress, DeleteWhen, FilesFrom,
    MissingArgs, Options, Privilege, Recording, RemoveSource, Report,
};
pub use outgoing::Speaker;
pub use push::{PushOptions, Pushed, Without};
pub use replay::read_batch;
pub use rights::Rights;
pub use server::Server;
pub use session::Algorithms;
pub use visit::{Request, Terms, Visit, Visitor};
