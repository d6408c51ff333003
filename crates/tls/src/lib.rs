//! TLS around a connection: certificates go in, plain bytes come out.
//!
//! - [`Server`] and [`Client`] are the two ends' certificates and rules. Both speak TLS 1.2 and 1.3.
//! - [`Relay`] carries bytes between a TLS connection and a socket whose other end speaks plainly, so that whoever is there
//!   needs to know nothing of TLS.
//!
//! What this crate must never know: what the bytes mean. An end of the stream without TLS's own word for it
//! (`close_notify`) is an end like any other: the protocol within says when it is complete.

mod certificates;
mod relay;

pub use certificates::{BadCertificate, Client, Server};
pub use relay::{Failed, Relay};

/// The port of daemons that speak TLS.
pub const DEFAULT_PORT: u16 = 874;
