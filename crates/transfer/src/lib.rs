//! The transfer engine: roles of the rsync protocol, and the sessions that join them.

mod address;
mod batch;
mod connection;
mod error;
mod heard;
mod link;
mod local;
mod owners;
mod push;
mod rights;
mod sender;
mod session;
mod stream;
mod sums;

pub use address::{BadAddress, DEFAULT_PORT, DaemonAddress};
pub use batch::{Applied, Batch, Item, Progress, by_bytes};
pub use connection::{Connection, Credentials, Terms};
pub use error::{Error, Failure};
pub use link::{Cancel, Link};
pub use local::LocalReplica;
pub use push::{PushOptions, Pushed};
pub use rights::Rights;
