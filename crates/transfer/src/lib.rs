//! The transfer engine: roles of the rsync protocol, and the sessions that join them.

mod address;
mod batch;
mod connection;
mod error;
mod heard;
mod link;
mod local;
mod owners;
mod rights;
mod session;
mod stream;

pub use address::{BadAddress, DEFAULT_PORT, DaemonAddress};
pub use batch::{Applied, Batch, Item, Progress, by_bytes};
pub use connection::{Connection, Credentials, Terms};
pub use error::{Error, Failure};
pub use link::{Cancel, Link};
pub use local::LocalReplica;
pub use rights::Rights;
