//! Ports for the servers of tests.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A TCP port that no other test takes, even while nothing listens on it.
///
/// A port that the kernel picks (a bind to port 0) lies in the range that outgoing connections are
/// given as well. While the daemon is down one of those may take it, and a client that keeps trying
/// may even be connected to itself. So the port lies below that range, and an abstract Unix socket
/// of its number, which goes with the process, tells the other tests that it is taken.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    pub(crate) number: u16,
    _reservation: UnixDatagram,
}

impl ReservedPort {
    pub(crate) fn find() -> Self {
        const LOWEST: u16 = 10_000;
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .expect("the range of outgoing ports is readable");
        let end: u16 = range
            .split_whitespace()
            .next()
            .and_then(|low| low.parse().ok())
            .filter(|&low| low > LOWEST)
            .unwrap_or(u16::MAX);
        // Tests that start together begin at different numbers, for speed; any beginning is right.
        let count = u32::from(end - LOWEST);
        let start = std::process::id().wrapping_mul(97) % count;
        (0..count)
            .map(|step| LOWEST + ((start + step) % count) as u16)
            .find_map(Self::reserve)
            .expect("one port of thousands is free")
    }

    fn reserve(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("driftless-testkit-port-{number}"))
            .expect("the name is short");
        let reservation = UnixDatagram::bind_addr(&name).ok()?;
        // Somebody else's service may be there.
        drop(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?);
        Some(Self {
            number,
            _reservation: reservation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_nobody_elses() {
        let held = ReservedPort::find();
        assert_ne!(held.number, ReservedPort::find().number);
    }
}
