//! One pattern of a list of hosts: a name, an address, a net, a netgroup, or a wildcard.

use std::net::{IpAddr, Ipv4Addr};

use filter::Glob;
use thiserror::Error;

/// The patterns of a list.
#[must_use]
pub fn patterns(list: &[u8]) -> Vec<Pattern> {
    String::from_utf8_lossy(list)
        .split([' ', ',', '\t', '\n', '\r'])
        .filter(|word| !word.is_empty())
        .map(|word| Pattern::parse(&word.to_ascii_lowercase()))
        .collect()
}

/// One pattern of a list.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was written, in lower case.
    pub text: String,
    pub(super) what: Result<What, BadPattern>,
}

/// A pattern that no host can match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// Neither a number of bits nor a mask after the slash.
    #[error("malformed mask in {0}")]
    Mask(String),
    /// Written like an address, but none.
    #[error("error matching address {0}: Name or service not known")]
    Address(String),
    /// No address before the slash.
    #[error("no address before the mask in {0}")]
    NoAddress(String),
}

/// What a pattern matches.
#[derive(Clone, Debug)]
pub(super) enum What {
    Netgroup(String),
    Network {
        address: IpAddr,
        mask: u128,
        scope: Option<String>,
    },
    /// A name without wildcards, which can be resolved.
    Name(String),
    Wildcard(Glob),
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let what = if let Some(group) = text.strip_prefix('@') {
            Ok(What::Netgroup(group.to_owned()))
        } else if let Some((address, mask)) = text.split_once('/') {
            network(text, address, mask)
        } else if let Some((address, scope)) = address(text) {
            Ok(What::Network {
                address,
                mask: all_bits(address),
                scope,
            })
        } else if text.contains(['*', '?', '[']) {
            Ok(What::Wildcard(Glob::new(text.as_bytes())))
        } else if text.contains(':')
            || text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            Err(BadPattern::Address(text.to_owned()))
        } else {
            Ok(What::Name(text.to_owned()))
        };
        Self {
            text: text.to_owned(),
            what,
        }
    }

    /// Why no host can match; `None` if one can.
    #[must_use]
    pub fn fault(&self) -> Option<&BadPattern> {
        self.what.as_ref().err()
    }

    /// Whether it is about host names, which nobody knows without a lookup; `Some(true)` if it can be resolved itself.
    #[must_use]
    pub fn name(&self) -> Option<bool> {
        match &self.what {
            Ok(What::Name(_)) => Some(true),
            Ok(What::Wildcard(_) | What::Netgroup(_)) => Some(false),
            Ok(What::Network { .. }) | Err(_) => None,
        }
    }

    /// Whether it matches every host, so that what follows it in a list does not count.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.text.bytes().all(|byte| byte == b'*')
    }

    /// Whether it stands for the address that nobody has, which looks like a net of everybody.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        match &self.what {
            Ok(What::Network { address, mask, .. }) => {
                address.is_unspecified() && *mask == all_bits(*address)
            }
            _ => false,
        }
    }

    /// Whether every host that `other` matches is matched by this one, as far as can be told.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            _ if self.is_everyone() || self.text == other.text => true,
            (Ok(What::Wildcard(glob)), Ok(What::Name(name))) => glob.is_match(name.as_bytes()),
            (
                Ok(What::Network {
                    address,
                    mask,
                    scope: None,
                }),
                Ok(What::Network {
                    address: inner,
                    mask: inner_mask,
                    ..
                }),
            ) => {
                address.is_ipv4() == inner.is_ipv4()
                    && inner_mask & mask == *mask
                    && (bits(*address) ^ bits(*inner)) & mask == 0
            }
            _ => false,
        }
    }
}

/// `ADDRESS/BITS` or `ADDRESS/MASK`.
fn network(text: &str, before: &str, after: &str) -> Result<What, BadPattern> {
    let Some((address, scope)) = address(before) else {
        return Err(BadPattern::NoAddress(text.to_owned()));
    };
    let width: u32 = if address.is_ipv4() { 32 } else { 128 };
    let is_number = !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit());
    let mask = if is_number {
        let ones = after.parse().ok().filter(|&ones: &u32| ones <= width);
        // A shift by all of the width leaves nothing, which is no bit of the mask.
        ones.map(|ones| u128::MAX.checked_shl(width - ones).unwrap_or(0))
    } else {
        let mask: Option<IpAddr> = after.parse().ok();
        mask.filter(|mask| mask.is_ipv4() == address.is_ipv4())
            .map(bits)
    };
    Ok(What::Network {
        address,
        mask: all_bits(address) & mask.ok_or_else(|| BadPattern::Mask(text.to_owned()))?,
        scope,
    })
}

/// An address, and the interface of one like `fe80::1%eth0`.
fn address(text: &str) -> Option<(IpAddr, Option<String>)> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope.to_owned())),
        None => (text, None),
    };
    if let Ok(address) = address.parse() {
        return Some((IpAddr::V6(address), scope));
    }
    // What has no interface needs none.
    Some((IpAddr::V4(ipv4(address)?), None))
}

/// An address of IPv4 in all the ways that C's `inet_aton` reads: one to four parts, of which the last one fills what the
/// others leave, in decimal, octal or hexadecimal.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (&last, bytes) = parts.split_last()?;
    let room = 32_u32.checked_sub(8 * u32::try_from(bytes.len()).ok()?)?;
    if room == 0 || u64::from(last) >= 1 << room {
        return None;
    }
    let mut address = last;
    for (at, &byte) in (1_u32..).zip(bytes) {
        address |= u32::from(u8::try_from(byte).ok()?) << (32 - 8 * at);
    }
    Some(Ipv4Addr::from_bits(address))
}

fn c_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| is_plain)
}

/// The mask of which every bit counts.
fn all_bits(address: IpAddr) -> u128 {
    if address.is_ipv4() {
        u32::MAX.into()
    } else {
        u128::MAX
    }
}

/// An address as a number, of which a mask selects bits.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
