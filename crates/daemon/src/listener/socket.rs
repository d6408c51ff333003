//! The sockets that a daemon listens on, and what is set on those that it accepts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};

use rsync::strerror;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::config::Globals;
use crate::journal::Journal;
use crate::start::Setup;

/// What is to be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A name or an address; all of them without one.
    address: Option<Vec<u8>>,
    port: u16,
    /// Where clients speak TLS, if they do.
    tls_port: Option<u16>,
    /// One family only: IPv6 or not.
    ipv6: Option<bool>,
    options: Vec<u8>,
    backlog: i32,
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: OwnedFd,
    /// Whoever comes in here speaks TLS.
    pub(super) is_tls: bool,
}

impl Wanted {
    /// The command line wins over the configuration.
    pub(super) fn new(setup: &Setup, globals: &Globals) -> Self {
        let given = &setup.given;
        let said = u16::try_from(globals.port).unwrap_or(0);
        let port = [given.port, said, transfer::DEFAULT_PORT]
            .into_iter()
            .find(|&port| port != 0);
        let speaks_tls = given.tls_cert.is_some() || !globals.tls_cert.is_empty();
        let said = u16::try_from(globals.tls_port).unwrap_or(0);
        let tls_port = [given.tls_port, said, tls::DEFAULT_PORT]
            .into_iter()
            .find(|&port| port != 0);
        let options = given.sockopts.clone();
        Self {
            address: given
                .address
                .clone()
                .or_else(|| globals.address.value(&setup.env)),
            port: port.unwrap_or(transfer::DEFAULT_PORT),
            tls_port: tls_port.filter(|_| speaks_tls),
            ipv6: given.ipv6,
            options: options.unwrap_or_else(|| globals.socket_options.expand(&setup.env)),
            backlog: globals.listen_backlog,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// Sockets that were opened for us (systemd's socket activation). The port tells where clients speak TLS.
    pub(super) fn inherited(&self) -> Vec<Door> {
        let mut inherited = listenfd::ListenFd::from_env();
        (0..inherited.len())
            .filter_map(|at| inherited.take_tcp_listener(at).ok().flatten())
            .filter(|listener| listener.set_nonblocking(true).is_ok())
            .map(|listener| {
                let port = listener.local_addr().ok().map(|address| address.port());
                Door {
                    is_tls: port.is_some() && port == self.tls_port,
                    socket: OwnedFd::from(listener),
                }
            })
            .collect()
    }

    /// Opens the sockets. One is enough for each port; what is wrong with others is logged.
    pub(super) fn open(&self, journal: &Journal) -> Result<Vec<Door>, String> {
        let mut doors = Vec::new();
        for (port, is_tls) in
            std::iter::once((self.port, false)).chain(self.tls_port.map(|port| (port, true)))
        {
            let sockets = self.open_port(port, journal)?;
            doors.extend(sockets.into_iter().map(|socket| Door { socket, is_tls }));
        }
        Ok(doors)
    }

    fn open_port(&self, port: u16, journal: &Journal) -> Result<Vec<OwnedFd>, String> {
        let mut sockets = Vec::new();
        for address in self.addresses(port)? {
            match self.open_one(address) {
                Ok(socket) => sockets.push(socket),
                // A kernel without the family has nothing to listen on.
                Err(("socket", Errno::AFNOSUPPORT)) => {}
                Err((call, errno)) => {
                    let family = if address.is_ipv6() { 10 } else { 2 };
                    let cause = strerror(&errno.into());
                    let cause = cause.rsplit_once(" (").map_or(&*cause, |(words, _)| words);
                    journal.warn(&format!(
                        "{call}() failed: {cause} (address-family {family})"
                    ));
                }
            }
        }
        match sockets.is_empty() {
            true => Err(format!("unable to bind any inbound sockets on port {port}")),
            false => Ok(sockets),
        }
    }

    fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, String> {
        let all = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let found: Vec<SocketAddr> = match &self.address {
            None => all
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect(),
            Some(name) => {
                let name = String::from_utf8_lossy(name);
                let found = (&*name, port).to_socket_addrs();
                let cause = |cause| format!("rsync: getaddrinfo: bind address {name}: {cause}");
                found.map_err(cause)?.collect()
            }
        };
        let is_wanted = |address: &SocketAddr| match self.ipv6 {
            Some(ipv6) => address.is_ipv6() == ipv6,
            None => true,
        };
        Ok(found.into_iter().filter(is_wanted).collect())
    }

    fn open_one(&self, address: SocketAddr) -> Result<OwnedFd, (&'static str, Errno)> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|errno| ("socket", errno))?;
        let set = sockopt::set_socket_reuseaddr(&socket, true);
        set.map_err(|errno| ("setsockopt", errno))?;
        if address.is_ipv6() {
            // The other family has a socket of its own.
            sockopt::set_ipv6_v6only(&socket, true).map_err(|errno| ("setsockopt", errno))?;
        }
        rustix::net::bind(&socket, &address).map_err(|errno| ("bind", errno))?;
        rustix::net::listen(&socket, self.backlog).map_err(|errno| ("listen", errno))?;
        Ok(socket)
    }

    /// Sets the socket options on an accepted connection.
    pub(super) fn set_options(&self, socket: &OwnedFd, journal: &Journal) {
        // A peer that is gone without a word must not hold a process for ever.
        let _ = sockopt::set_socket_keepalive(socket, true);
        let words = self
            .options
            .split(|byte| b" \t,".contains(byte))
            .filter(|word| !word.is_empty());
        for word in words {
            let word = String::from_utf8_lossy(word);
            if let Err(trouble) = set_option(socket, &word) {
                journal.warn(&trouble);
            }
        }
    }
}

/// Sets `NAME` or `NAME=VALUE`.
fn set_option(socket: impl AsFd, word: &str) -> Result<(), String> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let number = || -> i32 { value.and_then(|value| value.parse().ok()).unwrap_or(1) };
    let is_on = || number() != 0;
    let size = || usize::try_from(number()).unwrap_or(0);
    let tos = |tos: u8| sockopt::set_ip_tos(&socket, tos);
    let done = match name {
        "SO_KEEPALIVE" => sockopt::set_socket_keepalive(&socket, is_on()),
        "SO_REUSEADDR" => sockopt::set_socket_reuseaddr(&socket, is_on()),
        "SO_BROADCAST" => sockopt::set_socket_broadcast(&socket, is_on()),
        "SO_SNDBUF" => sockopt::set_socket_send_buffer_size(&socket, size()),
        "SO_RCVBUF" => sockopt::set_socket_recv_buffer_size(&socket, size()),
        "TCP_NODELAY" => sockopt::set_tcp_nodelay(&socket, is_on()),
        "IPTOS_LOWDELAY" if value.is_none() => tos(0x10),
        "IPTOS_THROUGHPUT" if value.is_none() => tos(0x08),
        "IPTOS_LOWDELAY" | "IPTOS_THROUGHPUT" => {
            return Err(format!("syntax error -- {name} does not take a value"));
        }
        _ => return Err(format!("Unknown socket option {name}")),
    };
    done.map_err(|errno| {
        let cause = strerror(&errno.into());
        format!("rsync: failed to set socket option {name}: {cause}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_sockets() {
        let socket =
            rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        for word in [
            "TCP_NODELAY",
            "SO_KEEPALIVE=0",
            "SO_SNDBUF=65536",
            "IPTOS_LOWDELAY",
        ] {
            assert_eq!(set_option(&socket, word), Ok(()), "{word}");
        }
        assert!(sockopt::tcp_nodelay(&socket).expect("readable"));
        for (word, trouble) in [
            ("SO_NONSENSE=1", "Unknown socket option SO_NONSENSE"),
            (
                "IPTOS_LOWDELAY=3",
                "syntax error -- IPTOS_LOWDELAY does not take a value",
            ),
        ] {
            assert_eq!(set_option(&socket, word), Err(trouble.to_owned()));
        }
    }
}
