//! Socket options by the names that rsync knows (`--sockopts`, and a daemon's `socket options`).

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::sockopt;
use thiserror::Error;

/// One option and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketOption {
    /// `SO_KEEPALIVE`.
    KeepAlive(bool),
    /// `SO_REUSEADDR`.
    ReuseAddress(bool),
    /// `SO_BROADCAST`.
    Broadcast(bool),
    /// `TCP_NODELAY`.
    NoDelay(bool),
    /// `IPTOS_LOWDELAY`.
    LowDelay,
    /// `IPTOS_THROUGHPUT`.
    Throughput,
    /// `SO_SNDBUF`, in bytes.
    SendBuffer(usize),
    /// `SO_RCVBUF`, in bytes.
    ReceiveBuffer(usize),
    /// `SO_SNDLOWAT`, `SO_RCVLOWAT`, `SO_SNDTIMEO` or `SO_RCVTIMEO`, which cannot be set to a number on Linux or would
    /// only hurt: a link waits by itself, with time limits of its own.
    Unavailable(&'static str),
}

/// A word that is no socket option; the texts are rsync's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSocketOption {
    /// Nobody knows the name.
    #[error("Unknown socket option {0}")]
    Unknown(String),
    /// The option is on or absent.
    #[error("syntax error -- {0} does not take a value")]
    TakesNoValue(String),
}

/// IP type of service, RFC 1349.
const LOW_DELAY: u8 = 0x10;
const THROUGHPUT: u8 = 0x08;

impl SocketOption {
    /// Reads a list with commas or space between `NAME` and `NAME=VALUE`. Each word is an option or a fault; a fault is
    /// no reason to do without the others.
    #[must_use]
    pub fn parse_list(text: &str) -> Vec<Result<Self, BadSocketOption>> {
        text.split([' ', '\t', ','])
            .filter(|word| !word.is_empty())
            .map(Self::parse)
            .collect()
    }

    fn parse(word: &str) -> Result<Self, BadSocketOption> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        // As C reads numbers: what is none is 0; an option without a value is on.
        let number: i32 = value.map_or(1, |value| value.trim().parse().unwrap_or(0));
        let size = usize::try_from(number).unwrap_or(0);
        let is_on = number != 0;
        Ok(match name {
            "SO_KEEPALIVE" => Self::KeepAlive(is_on),
            "SO_REUSEADDR" => Self::ReuseAddress(is_on),
            "SO_BROADCAST" => Self::Broadcast(is_on),
            "TCP_NODELAY" => Self::NoDelay(is_on),
            "SO_SNDBUF" => Self::SendBuffer(size),
            "SO_RCVBUF" => Self::ReceiveBuffer(size),
            "SO_SNDLOWAT" => Self::Unavailable("SO_SNDLOWAT"),
            "SO_RCVLOWAT" => Self::Unavailable("SO_RCVLOWAT"),
            "SO_SNDTIMEO" => Self::Unavailable("SO_SNDTIMEO"),
            "SO_RCVTIMEO" => Self::Unavailable("SO_RCVTIMEO"),
            "IPTOS_LOWDELAY" | "IPTOS_THROUGHPUT" if value.is_some() => {
                return Err(BadSocketOption::TakesNoValue(name.to_owned()));
            }
            "IPTOS_LOWDELAY" => Self::LowDelay,
            "IPTOS_THROUGHPUT" => Self::Throughput,
            _ => return Err(BadSocketOption::Unknown(name.to_owned())),
        })
    }

    /// The option's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeepAlive(_) => "SO_KEEPALIVE",
            Self::ReuseAddress(_) => "SO_REUSEADDR",
            Self::Broadcast(_) => "SO_BROADCAST",
            Self::NoDelay(_) => "TCP_NODELAY",
            Self::LowDelay => "IPTOS_LOWDELAY",
            Self::Throughput => "IPTOS_THROUGHPUT",
            Self::SendBuffer(_) => "SO_SNDBUF",
            Self::ReceiveBuffer(_) => "SO_RCVBUF",
            Self::Unavailable(name) => name,
        }
    }

    /// Sets the option of a socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(self, socket: impl AsFd) -> io::Result<()> {
        Ok(match self {
            Self::KeepAlive(on) => sockopt::set_socket_keepalive(socket, on),
            Self::ReuseAddress(on) => sockopt::set_socket_reuseaddr(socket, on),
            Self::Broadcast(on) => sockopt::set_socket_broadcast(socket, on),
            Self::NoDelay(on) => sockopt::set_tcp_nodelay(socket, on),
            Self::LowDelay => sockopt::set_ip_tos(socket, LOW_DELAY),
            Self::Throughput => sockopt::set_ip_tos(socket, THROUGHPUT),
            Self::SendBuffer(bytes) => sockopt::set_socket_send_buffer_size(socket, bytes),
            Self::ReceiveBuffer(bytes) => sockopt::set_socket_recv_buffer_size(socket, bytes),
            Self::Unavailable("SO_SNDTIMEO" | "SO_RCVTIMEO") => Err(Errno::INVAL),
            Self::Unavailable(_) => Err(Errno::NOPROTOOPT),
        }?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_of_a_list_are_told_and_passed_over() {
        use SocketOption::{KeepAlive, LowDelay, NoDelay, ReceiveBuffer, SendBuffer};

        let told = |text: &str| -> Vec<Result<SocketOption, String>> {
            SocketOption::parse_list(text)
                .into_iter()
                .map(|word| word.map_err(|fault| fault.to_string()))
                .collect()
        };
        assert_eq!(told(""), []);
        assert_eq!(
            told("SO_KEEPALIVE, TCP_NODELAY=0\tSO_SNDBUF=4096,SO_RCVBUF=x IPTOS_LOWDELAY"),
            [
                Ok(KeepAlive(true)),
                Ok(NoDelay(false)),
                Ok(SendBuffer(4096)),
                Ok(ReceiveBuffer(0)),
                Ok(LowDelay)
            ]
        );
        assert_eq!(
            told("so_keepalive IPTOS_THROUGHPUT=1"),
            [
                Err("Unknown socket option so_keepalive".to_owned()),
                Err("syntax error -- IPTOS_THROUGHPUT does not take a value".to_owned())
            ]
        );
    }

    #[test]
    fn the_kernel_takes_them() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for word in SocketOption::parse_list(
            "SO_KEEPALIVE SO_REUSEADDR SO_BROADCAST SO_SNDBUF=8192 SO_RCVBUF=8192 IPTOS_LOWDELAY IPTOS_THROUGHPUT",
        ) {
            let option = word.expect("known");
            option
                .set(&socket)
                .unwrap_or_else(|cause| panic!("{}: {cause}", option.name()));
        }
        assert!(
            SocketOption::Unavailable("SO_SNDLOWAT")
                .set(&socket)
                .is_err()
        );
    }
}
