//! Which hosts may connect: `hosts allow` and `hosts deny` (behaviour.md 8.10).

mod pattern;

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::process::{Command, Stdio};

pub use pattern::{BadPattern, Pattern, patterns};
use pattern::{What, bits};

/// A client, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its address; one of IPv4 that came as one of IPv6 is one of IPv4.
    pub address: IpAddr,
    /// The interface that a link-local address belongs to; 0 if none.
    pub scope: u32,
    /// The name that its address resolves to, or a word that says why there is none.
    pub name: &'a str,
}

/// What rules ask of the system.
pub trait Names {
    /// The addresses of a host name.
    ///
    /// # Errors
    /// There are none.
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
    /// Whether a host is in a netgroup.
    fn in_netgroup(&self, group: &str, host: &str) -> bool;
    /// The number of a network interface.
    fn interface(&self, name: &str) -> Option<u32>;
}

/// The resolver and databases of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemNames;

/// What came of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The client may connect.
    pub admitted: bool,
    /// Why, for an administrator. A client must not hear it.
    pub reason: Reason,
    /// What else the log is to say: patterns that mean nothing.
    pub notes: Vec<String>,
}

/// Why a client may connect, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are no rules.
    NoRules,
    /// This pattern of `hosts allow` matches.
    Allowed(String),
    /// This pattern of `hosts deny` matches.
    Denied(String),
    /// No pattern of `hosts allow` matches, and there is no `hosts deny`.
    NotAllowed,
    /// There is a `hosts deny`, and no pattern matches.
    NotDenied,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRules => f.write_str("there are no host rules"),
            Self::Allowed(pattern) => write!(f, "\"{pattern}\" in \"hosts allow\" matches"),
            Self::Denied(pattern) => write!(f, "\"{pattern}\" in \"hosts deny\" matches"),
            Self::NotAllowed => f.write_str("nothing in \"hosts allow\" matches"),
            Self::NotDenied => f.write_str("nothing in \"hosts deny\" matches"),
        }
    }
}

/// Decides by the values of `hosts allow` and `hosts deny`, of which an empty one is none. With `forward_lookup` host names
/// in them are resolved.
#[must_use]
pub fn decide(
    allow: &[u8],
    deny: &[u8],
    client: &Client<'_>,
    forward_lookup: bool,
    names: &dyn Names,
) -> Decision {
    let mut notes = Vec::new();
    let mut first = |list: &[u8], role| {
        let look = Look {
            client,
            names,
            forward_lookup,
            role,
        };
        look.first_match(list, &mut notes)
    };
    let (is_allow_empty, is_deny_empty) = (patterns(allow).is_empty(), patterns(deny).is_empty());
    let reason = if let Some(pattern) = first(allow, Role::Allow) {
        Reason::Allowed(pattern)
    } else if !is_allow_empty && is_deny_empty {
        Reason::NotAllowed
    } else if let Some(pattern) = first(deny, Role::Deny) {
        Reason::Denied(pattern)
    } else if is_deny_empty {
        Reason::NoRules
    } else {
        Reason::NotDenied
    };
    Decision {
        admitted: !matches!(reason, Reason::Denied(_) | Reason::NotAllowed),
        reason,
        notes,
    }
}

/// Whether a list, such as `proxy protocol hosts`, names the client. Names are not resolved.
#[must_use]
pub fn is_listed(list: &[u8], client: &Client<'_>, names: &dyn Names) -> bool {
    let look = Look {
        client,
        names,
        forward_lookup: false,
        role: Role::Allow,
    };
    look.first_match(list, &mut Vec::new()).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Allow,
    Deny,
}

/// A walk through a list.
struct Look<'a> {
    client: &'a Client<'a>,
    names: &'a dyn Names,
    forward_lookup: bool,
    role: Role,
}

impl Look<'_> {
    fn first_match(&self, list: &[u8], notes: &mut Vec<String>) -> Option<String> {
        patterns(list)
            .into_iter()
            .find(|pattern| self.matches(pattern, notes))
            .map(|pattern| pattern.text)
    }

    fn matches(&self, pattern: &Pattern, notes: &mut Vec<String>) -> bool {
        let client = self.client;
        let name = client.name.to_ascii_lowercase();
        match &pattern.what {
            Ok(What::Netgroup(group)) => self.names.in_netgroup(group, client.name),
            Ok(What::Wildcard(glob)) => glob.is_match(name.as_bytes()),
            Ok(What::Name(host)) => *host == name || self.leads_to_client(host),
            Ok(What::Network {
                address,
                mask,
                scope,
            }) => {
                let is_there = scope
                    .as_ref()
                    .is_none_or(|scope| self.interface(scope) == Some(client.scope));
                is_there
                    && address.is_ipv4() == client.address.is_ipv4()
                    && (bits(*address) ^ bits(client.address)) & mask == 0
            }
            Err(fault) => {
                // rsync looks at a mask only if the address before it is of the client's kind.
                let counts = match fault {
                    BadPattern::Mask(text) => {
                        let before = text.split('/').next().unwrap_or_default();
                        before.contains(':') == client.address.is_ipv6()
                    }
                    BadPattern::Address(_) => true,
                    BadPattern::NoAddress(_) => false,
                };
                notes.extend(counts.then(|| fault.to_string()));
                false
            }
        }
    }

    /// Whether a host name has the client's address. One that cannot be resolved keeps nobody out of a list of those who
    /// may not come in: it counts as a match there.
    fn leads_to_client(&self, host: &str) -> bool {
        self.forward_lookup
            && match self.names.addresses(host) {
                Ok(found) => found
                    .iter()
                    .any(|found| found.to_canonical() == self.client.address),
                Err(_) => self.role == Role::Deny,
            }
    }

    fn interface(&self, name: &str) -> Option<u32> {
        name.parse().ok().or_else(|| self.names.interface(name))
    }
}

impl Names for SystemNames {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = (host, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    }

    /// Asks `getent`, for no safe call reads this database. Its lines are `NAME (host,user,domain) ...`; an empty host
    /// is every host.
    fn in_netgroup(&self, group: &str, host: &str) -> bool {
        let Ok(output) = Command::new("getent")
            .args(["netgroup", "--", group])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
        else {
            return false;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        text.split('(').skip(1).any(|triple| {
            let member = triple.split(',').next().unwrap_or_default().trim();
            member.is_empty() || member.eq_ignore_ascii_case(host)
        })
    }

    fn interface(&self, name: &str) -> Option<u32> {
        nix::net::if_::if_nametoindex(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    /// A world with two hosts, a netgroup and an interface.
    struct World;

    impl Names for World {
        fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            let address = match host {
                "gate.example" => IpAddr::from([192, 0, 2, 1]),
                "six.example" => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
                _ => return Err(io::Error::other("no such host")),
            };
            Ok(vec![address])
        }

        fn in_netgroup(&self, group: &str, host: &str) -> bool {
            group == "trusted" && host == "host.example"
        }

        fn interface(&self, name: &str) -> Option<u32> {
            (name == "lo").then_some(1)
        }
    }

    fn decided(allow: &str, deny: &str, address: &str, name: &str) -> Decision {
        let (address, scope) = match address.split_once("%lo") {
            Some((address, _)) => (address, 1),
            None => (address, 0),
        };
        let client = Client {
            address: address.parse().expect(address),
            scope,
            name,
        };
        decide(allow.as_bytes(), deny.as_bytes(), &client, true, &World)
    }

    /// Whether `hosts deny = PATTERN` keeps out this address, which is called `host.example`.
    fn matches(pattern: &str, address: &str) -> bool {
        !decided("", pattern, address, "host.example").admitted
    }

    #[test]
    fn lists_are_joined_as_rsync_does() {
        for (allow, deny, reason) in [
            ("", "", Reason::NoRules),
            ("192.0.2.7", "", Reason::Allowed("192.0.2.7".to_owned())),
            ("192.0.2.8", "", Reason::NotAllowed),
            ("192.0.2.7", "*", Reason::Allowed("192.0.2.7".to_owned())),
            ("192.0.2.8", "10.0.0.1,*", Reason::Denied("*".to_owned())),
            ("192.0.2.8", "192.0.2.9", Reason::NotDenied),
            (" , ", "192.0.2.7", Reason::Denied("192.0.2.7".to_owned())),
        ] {
            let decision = decided(allow, deny, "192.0.2.7", "UNKNOWN");
            assert_eq!(decision.reason, reason, "{allow} / {deny}");
            let refused = matches!(reason, Reason::Denied(_) | Reason::NotAllowed);
            assert_eq!(decision.admitted, !refused);
        }
    }

    #[test]
    fn a_mask_says_which_bits_of_an_address_count() {
        for (pattern, matched, other) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.7", "192.0.3.7"),
            ("192.0.2.7/255.255.0.0", "192.0.9.9", "192.1.2.7"),
            ("10.0.0.0/255.0.255.0", "10.9.0.1", "10.0.1.0"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("2001:db8::/ffff:ffff::", "2001:db8:1::1", "2001:db9::1"),
            ("::1/128", "::1", "::2"),
            ("127.1", "127.0.0.1", "127.1.0.0"),
            ("0x7f000001", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.010", "127.0.0.8", "127.0.0.10"),
            ("fe80::1", "fe80::1%lo", "fe80::2"),
            ("fe80::1%lo", "fe80::1%lo", "fe80::1"),
            ("fe80::%lo/64", "fe80::7%lo", "fe80::7"),
            ("fe80::%1/64", "fe80::7%lo", "fe80::7"),
            ("10.0.0.1%lo", "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(matches(pattern, matched), "{pattern} {matched}");
            assert!(!matches(pattern, other), "{pattern} {other}");
        }
    }

    #[test]
    fn names_match_by_wildcard_and_groups_by_membership() {
        for pattern in [
            "host.example",
            "HOST.Example",
            "h?st.*",
            "*",
            "@trusted",
            "[g-i]*",
        ] {
            assert!(matches(pattern, "192.0.2.7"), "{pattern}");
        }
        for pattern in ["host", "example", "*.org", "@others"] {
            assert_eq!(
                matches(pattern, "192.0.2.7"),
                pattern == "host" || pattern == "example"
            );
        }
        assert!(matches("gate.example", "192.0.2.1"));
        assert!(matches("six.example", "::1"));
    }

    /// A name that cannot be resolved opens nothing: it denies, and does not allow.
    #[test]
    fn names_without_addresses() {
        assert!(!decided("", "nosuch.example", "192.0.2.7", "UNKNOWN").admitted);
        assert!(!decided("nosuch.example", "", "192.0.2.7", "UNKNOWN").admitted);
        let client = Client {
            address: IpAddr::from([192, 0, 2, 7]),
            scope: 0,
            name: "UNKNOWN",
        };
        assert!(decide(b"", b"nosuch.example", &client, false, &World).admitted);
        assert!(!is_listed(b"gate.example", &client, &World));
        assert!(is_listed(b"192.0.2.0/24", &client, &World));
    }

    #[test]
    fn patterns_that_mean_nothing() {
        for (pattern, note) in [
            ("10.0.0.0/33", Some("malformed mask in 10.0.0.0/33")),
            ("10.0.0.0/x", Some("malformed mask in 10.0.0.0/x")),
            ("10.0.0.0/", Some("malformed mask in 10.0.0.0/")),
            ("10.0.0.0/8.0.0", Some("malformed mask in 10.0.0.0/8.0.0")),
            ("::/129", Some("malformed mask in ::/129")),
            ("10.0.0.0/ff", Some("malformed mask in 10.0.0.0/ff")),
            (
                "10.0.0.300",
                Some("error matching address 10.0.0.300: Name or service not known"),
            ),
            (
                "fe80::zz",
                Some("error matching address fe80::zz: Name or service not known"),
            ),
            ("foo/8", None),
        ] {
            let is_six = pattern.starts_with("::");
            let address = if is_six { "::1" } else { "127.0.0.1" };
            let decision = decided("", pattern, address, "localhost");
            assert!(decision.admitted, "{pattern}");
            assert_eq!(decision.notes, note.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_system_knows_its_loopback() {
        let found = SystemNames.addresses("localhost").expect("everywhere");
        assert!(found.iter().all(IpAddr::is_loopback));
        assert_eq!(SystemNames.interface("lo"), Some(1));
        assert!(!SystemNames.in_netgroup("no-such-group", "localhost"));
    }

    proptest! {
        #[test]
        fn any_list_is_read(list in prop::collection::vec(any::<u8>(), 0..60), text in "[0-9a-fx.:/%@*\\[, ]{0,40}") {
            for list in [&list[..], text.as_bytes()] {
                let client = Client { address: Ipv4Addr::LOCALHOST.into(), scope: 0, name: "localhost" };
                let _ = decide(list, list, &client, true, &World);
            }
        }
    }
}
