//! Reaching a daemon's port: addresses in turn, our own end, socket options, an HTTP proxy (wire-session.md 1.6).

mod proxy;
mod socket_option;

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

pub use proxy::{BadProxy, Proxy};
pub use socket_option::{BadSocketOption, SocketOption};

use crate::Error;
use crate::link::{CANCEL_LATENCY, Cancel, Link};

/// How a daemon's port is reached.
#[derive(Debug, Clone, Default)]
pub struct Dial {
    /// Addresses of the other family are passed over.
    pub family: Option<Family>,
    /// The name or address of our own end.
    pub local: Option<String>,
    /// Set before the connection is made.
    pub options: Vec<SocketOption>,
    /// An HTTP proxy that connects us.
    pub proxy: Option<Proxy>,
    /// The longest time for all of it; without it, the kernel's own.
    pub patience: Option<Duration>,
}

/// A family of internet addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn holds(self, address: &SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// A connection that was made.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub link: Link,
    /// Whose it is: the daemon's, or the proxy's.
    pub address: SocketAddr,
    /// The socket options that the kernel refused.
    pub refused: Vec<(SocketOption, io::Error)>,
}

impl Dial {
    /// Connects to the first address of `host` that answers, and through it to where the proxy leads.
    ///
    /// # Errors
    /// [`Error::Resolve`], [`Error::Connect`], [`Error::ConnectTimeout`], [`Error::Proxy`], [`Error::Cancelled`].
    pub fn connect(&self, host: &str, port: u16, cancel: Cancel) -> Result<Dialled, Error> {
        // A time that no clock reaches is none.
        let deadline = self
            .patience
            .and_then(|patience| Instant::now().checked_add(patience));
        let (first_host, first_port) = self
            .proxy
            .as_ref()
            .map_or((host, port), |proxy| (&proxy.host, proxy.port));
        let mut attempts = Vec::new();
        for address in self.resolve(first_host, first_port)? {
            let mut refused = Vec::new();
            match self.reach(address, deadline, &cancel, &mut refused) {
                Ok(stream) => {
                    let mut link = Link::over_tcp(stream, cancel)?;
                    if let Some(proxy) = &self.proxy {
                        proxy.open(&mut link, host, port, deadline)?;
                    }
                    return Ok(Dialled {
                        link,
                        address,
                        refused,
                    });
                }
                Err(Failed::Stopped) => return Err(Error::Cancelled),
                Err(Failed::TooLate) => {
                    return Err(Error::ConnectTimeout {
                        host: first_host.to_owned(),
                        address,
                    });
                }
                Err(Failed::Local(error)) => return Err(error),
                Err(Failed::Kernel(cause)) => attempts.push((address, cause)),
            }
        }
        Err(Error::Connect {
            host: first_host.to_owned(),
            attempts,
        })
    }

    /// The addresses of a host, at least one.
    fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        resolved((host, port), self.family).map_err(|cause| Error::Resolve {
            target: format!("{host} {port}"),
            cause,
        })
    }

    fn reach(
        &self,
        address: SocketAddr,
        deadline: Option<Instant>,
        cancel: &Cancel,
        refused: &mut Vec<(SocketOption, io::Error)>,
    ) -> Result<TcpStream, Failed> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(local) = &self.local {
            let family = if address.is_ipv4() {
                Family::V4
            } else {
                Family::V6
            };
            let bound = resolved((local.as_str(), 0), Some(family))
                .and_then(|own| Ok(rustix::net::bind(&socket, &own[0])?));
            bound.map_err(|cause| {
                Failed::Local(Error::Bind {
                    local: local.clone(),
                    cause,
                })
            })?;
        }
        for option in &self.options {
            if let Err(cause) = option.set(&socket) {
                refused.push((*option, cause));
            }
        }
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::INPROGRESS | Errno::INTR) => connected(&socket, deadline, cancel)?,
            Err(cause) => return Err(cause.into()),
        }
        Ok(TcpStream::from(socket))
    }
}

/// Why there is no connection to one address.
enum Failed {
    /// The kernel said so; another address may answer.
    Kernel(io::Error),
    /// Our own end cannot be what was asked for.
    Local(Error),
    TooLate,
    Stopped,
}

impl From<Errno> for Failed {
    fn from(cause: Errno) -> Self {
        Self::Kernel(cause.into())
    }
}

/// At least one address.
fn resolved(name: impl ToSocketAddrs, family: Option<Family>) -> io::Result<Vec<SocketAddr>> {
    let wanted: Vec<SocketAddr> = name
        .to_socket_addrs()
        .map_err(|cause| plain(&cause))?
        .filter(|address| family.is_none_or(|family| family.holds(address)))
        .collect();
    if wanted.is_empty() {
        return Err(io::Error::other(
            "Address family for hostname not supported",
        ));
    }
    Ok(wanted)
}

/// The resolver's words without those that the standard library puts before them.
fn plain(cause: &io::Error) -> io::Error {
    let text = cause.to_string();
    let words = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text);
    io::Error::new(cause.kind(), words)
}

/// Waits for a connection that is being made.
fn connected(
    socket: &std::os::fd::OwnedFd,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<(), Failed> {
    loop {
        if cancel.is_cancelled() {
            return Err(Failed::Stopped);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Failed::TooLate);
        }
        let pause = left.map_or(CANCEL_LATENCY, |left| left.min(CANCEL_LATENCY));
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(pause.subsec_nanos().max(1)),
        };
        let mut polled = [PollFd::new(socket, PollFlags::OUT)];
        match poll(&mut polled, Some(&pause)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(sockopt::socket_error(socket)??),
            Err(cause) => return Err(cause.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        (listener, port)
    }

    #[test]
    fn our_end_is_where_it_was_asked_to_be() {
        let (listener, port) = listener();
        let dial = Dial {
            local: Some("127.0.0.2".to_owned()),
            options: vec![SocketOption::KeepAlive(true)],
            ..Dial::default()
        };
        let dialled = dial
            .connect("127.0.0.1", port, Cancel::default())
            .expect("a connection");
        assert_eq!(dialled.address.port(), port);
        assert!(dialled.refused.is_empty());
        let (_, from) = listener.accept().expect("the connection");
        assert_eq!(from.ip().to_string(), "127.0.0.2");
    }

    #[test]
    fn patience_may_be_longer_than_time_itself() {
        let (_listener, port) = listener();
        let dial = Dial {
            patience: Some(Duration::MAX),
            ..Dial::default()
        };
        let dialled = dial.connect("127.0.0.1", port, Cancel::default());
        assert!(dialled.is_ok(), "{dialled:?}");
    }

    #[test]
    fn who_does_not_answer_is_named_with_the_cause() {
        let (listener, port) = listener();
        drop(listener);
        let dialled = Dial::default().connect("127.0.0.1", port, Cancel::default());
        let Err(Error::Connect { attempts, .. }) = dialled else {
            panic!("{dialled:?}")
        };
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].1.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_address_of_the_other_family_is_not_found() {
        let dial = Dial {
            family: Some(Family::V6),
            ..Dial::default()
        };
        let error = dial
            .connect("127.0.0.1", 1, Cancel::default())
            .expect_err("IPv4");
        assert_eq!(
            error.to_string(),
            "cannot find 127.0.0.1 1: Address family for hostname not supported"
        );
    }

    #[test]
    fn a_connection_that_does_not_come_about() {
        // A full queue of one: further connections get no answer.
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        rustix::net::bind(&socket, &any).expect("bound");
        rustix::net::listen(&socket, 0).expect("listening");
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().expect("its address").port();
        let dial = Dial {
            patience: Some(Duration::from_millis(300)),
            ..Dial::default()
        };
        let mut held = Vec::new();
        let error = loop {
            match dial.connect("127.0.0.1", port, Cancel::default()) {
                Ok(dialled) => held.push(dialled.link),
                Err(error) => break error,
            }
            assert!(held.len() < 64, "the queue has no end");
        };
        assert!(matches!(error, Error::ConnectTimeout { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 35);
        let cancel = Cancel::default();
        cancel.cancel();
        let stopped = Dial::default().connect("127.0.0.1", port, cancel);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    }
}
