//! Who is at the other end of a connection: an address, and the name that goes with it.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use rsync::Env;
use rustix::net::SocketAddrAny;

/// A client, as access rules and log lines know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address; an IPv4 address that came as an IPv6 one is an IPv4 address.
    pub(crate) address: IpAddr,
    /// Its name, or [`UNKNOWN`] or [`UNDETERMINED`].
    pub(crate) name: String,
}

/// The address has no name, or a false one.
pub(crate) const UNKNOWN: &str = "UNKNOWN";
/// Nobody has asked for the name.
pub(crate) const UNDETERMINED: &str = "UNDETERMINED";

/// The address at the other end of a socket; `None` if it has none, as with a socket of the local kind.
pub(crate) fn of_socket(socket: BorrowedFd<'_>) -> Option<IpAddr> {
    let address: SocketAddrAny = rustix::net::getpeername(socket).ok()??;
    let address = std::net::SocketAddr::try_from(address).ok()?;
    Some(address.ip().to_canonical())
}

/// The address that a remote shell tells of; without one, that of nobody.
pub(crate) fn of_shell(env: &Env) -> IpAddr {
    ["REMOTE_HOST", "SSH_CONNECTION", "SSH_CLIENT", "SSH2_CLIENT"]
        .into_iter()
        .find_map(|variable| env.get(variable))
        .and_then(|text| {
            std::str::from_utf8(text)
                .ok()?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .map_or(IpAddr::from([0, 0, 0, 0]), |address: IpAddr| {
            address.to_canonical()
        })
}

/// Looks up the name of an address, and whether that name leads back to it. `note` takes lines for the log.
pub(crate) fn name(address: IpAddr, note: &mut dyn FnMut(String)) -> String {
    if address.is_unspecified() {
        return UNKNOWN.to_owned();
    }
    let words = |error: std::io::Error| {
        let text = error.to_string();
        // The standard library's, before the resolver's own.
        let words = text.strip_prefix("failed to lookup address information: ");
        words.unwrap_or(&text).to_owned()
    };
    let name = match dns_lookup::lookup_addr(&address) {
        // The resolver's way of saying that there is none.
        Ok(name) if name.parse::<IpAddr>().is_ok() => return UNKNOWN.to_owned(),
        Ok(name) => name,
        Err(error) => {
            let words = words(error.into());
            note(format!("name lookup failed for {address}: {words}"));
            return UNKNOWN.to_owned();
        }
    };
    match dns_lookup::lookup_host(&name) {
        Err(error) => {
            let words = words(error.into());
            note(format!("forward name lookup for {name} failed: {words}"));
        }
        Ok(addresses) => {
            let addresses: Vec<IpAddr> = addresses.collect();
            if addresses
                .iter()
                .any(|found| found.to_canonical() == address)
            {
                return name;
            }
            note(match addresses.is_empty() {
                true => format!("no known address for \"{name}\": spoofed address?"),
                false => {
                    format!("{address} is not a known address for \"{name}\": spoofed address?")
                }
            });
        }
    }
    UNKNOWN.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_tells() {
        let told = |variable, value| of_shell(&Env::from([(variable, value)])).to_string();
        assert_eq!(
            told("SSH_CONNECTION", "192.0.2.7 1000 192.0.2.8 22"),
            "192.0.2.7"
        );
        assert_eq!(told("SSH_CLIENT", "::ffff:192.0.2.7 1 2"), "192.0.2.7");
        assert_eq!(told("SSH2_CLIENT", "nonsense"), "0.0.0.0");
        assert_eq!(of_shell(&Env::default()).to_string(), "0.0.0.0");
    }
}
