//! The header by which a proxy tells whom it speaks for (wire-session.md 7.11): versions 1 and 2 of the PROXY protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{Cursor, Malformed, Stop};

/// The longest header of version 1, with its line end.
const LINE_MAX: usize = 107;
/// The longest header of version 2.
const BLOCK_MAX: usize = 232;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header: whom the proxy speaks for, or nobody but itself.
///
/// # Errors
/// [`Stop::Incomplete`], or a header that is none.
pub(crate) fn header(cursor: &mut Cursor<'_>) -> Result<Option<IpAddr>, Stop> {
    let rest = cursor.rest();
    let known = rest.len().min(SIGNATURE.len());
    if known > 0 && rest[..known] == SIGNATURE[..known] {
        return block(cursor);
    }
    line(cursor)
}

fn bad() -> Stop {
    Malformed::LineTooLong { limit: LINE_MAX }.into()
}

fn block(cursor: &mut Cursor<'_>) -> Result<Option<IpAddr>, Stop> {
    const HEAD: usize = 16;
    let rest = cursor.rest();
    let Some(head) = rest.get(..HEAD) else {
        return Err(Stop::Incomplete);
    };
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if head[12] >> 4 != 2 || HEAD + length > BLOCK_MAX {
        return Err(bad());
    }
    let whole = cursor.take(HEAD + length)?;
    let addresses = &whole[HEAD..];
    match (whole[12] & 0xf, whole[13]) {
        (0, _) => Ok(None),
        (1, 0x11) => match addresses {
            [a, b, c, d, _, _, _, _, _, _, _, _] => {
                Ok(Some(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d))))
            }
            _ => Err(bad()),
        },
        (1, 0x21) if addresses.len() == 36 => {
            let source = <[u8; 16]>::try_from(&addresses[..16]).map_err(|_| bad())?;
            Ok(Some(IpAddr::V6(Ipv6Addr::from(source))))
        }
        (1, 0x21) => Err(bad()),
        (1, _) => Ok(None),
        _ => Err(bad()),
    }
}

fn line(cursor: &mut Cursor<'_>) -> Result<Option<IpAddr>, Stop> {
    const START: &[u8] = b"PROXY ";
    let rest = cursor.rest();
    let known = rest.len().min(START.len());
    if rest[..known] != START[..known] {
        return Err(bad());
    }
    let end = rest.iter().take(LINE_MAX).position(|&byte| byte == b'\n');
    let Some(end) = end else {
        return Err(if rest.len() < LINE_MAX {
            Stop::Incomplete
        } else {
            bad()
        });
    };
    let whole = cursor.take(end + 1)?;
    let text = whole.strip_suffix(b"\r\n").ok_or_else(bad)?;
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let words: Vec<&str> = text.split(' ').collect();
    let is_port = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_digit())
            && word.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match words[..] {
        ["PROXY", unknown, ..] if unknown.starts_with("UNKNOWN") => Ok(None),
        ["PROXY", family, source, destination, from, to] if is_port(from) && is_port(to) => {
            let both = match family {
                "TCP4" => source
                    .parse::<Ipv4Addr>()
                    .and_then(|source| destination.parse::<Ipv4Addr>().map(|_| source.into())),
                "TCP6" => source
                    .parse::<Ipv6Addr>()
                    .and_then(|source| destination.parse::<Ipv6Addr>().map(|_| source.into())),
                _ => return Err(bad()),
            };
            both.map(Some).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Option<IpAddr>, usize), Stop> {
        let mut cursor = Cursor::new(bytes);
        header(&mut cursor).map(|address| (address, cursor.position()))
    }

    fn is_bad(bytes: &[u8]) -> bool {
        matches!(read(bytes), Err(stop) if !matches!(stop, Stop::Incomplete))
    }

    #[test]
    fn a_proxy_line_tells_the_clients_address() {
        let told = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 873\r\n@RSYNCD";
        assert_eq!(
            read(told).ok(),
            Some((Some([192, 0, 2, 1].into()), told.len() - 7))
        );
        assert_eq!(
            read(b"PROXY TCP6 ::1 ::2 1 2\r\n").ok().map(|(a, _)| a),
            Some(Some(Ipv6Addr::LOCALHOST.into()))
        );
        assert_eq!(
            read(b"PROXY UNKNOWN whatever\r\n").ok().map(|(a, _)| a),
            Some(None)
        );
        for bad in [
            &b"PROXY TCP4 ::1 ::2 1 2\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.5 0 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n",
            b"GET / HTTP/1.0\r\n",
            &[b'P'; 200],
        ] {
            assert!(is_bad(bad), "{}", String::from_utf8_lossy(bad));
        }
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        assert!(is_bad(&endless));
    }

    #[test]
    fn a_proxy_block_tells_the_clients_address() {
        let head = |command: u8, family: u8, length: u16| {
            let mut block = SIGNATURE.to_vec();
            block.extend([0x20 | command, family]);
            block.extend(length.to_be_bytes());
            block
        };
        let v4 = [
            head(1, 0x11, 12),
            vec![10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2],
        ]
        .concat();
        assert_eq!(read(&v4).ok(), Some((Some([10, 0, 0, 1].into()), v4.len())));
        let mut v6 = head(1, 0x21, 36);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0; 20]);
        assert_eq!(
            read(&v6).ok().map(|(address, _)| address),
            Some(Some(Ipv6Addr::LOCALHOST.into()))
        );
        let health_check = [head(0, 0, 3), vec![1, 2, 3]].concat();
        assert_eq!(read(&health_check).ok(), Some((None, health_check.len())));
        assert!(is_bad(&[head(1, 0x11, 13), vec![0; 13]].concat()));
        assert!(is_bad(&head(1, 0x11, 4000)));
        assert!(is_bad(&head(7, 0x11, 12)) || read(&head(7, 0x11, 12)).is_err());
    }

    #[test]
    fn every_beginning_asks_for_more() {
        let told = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 873\r\n";
        for end in 0..told.len() {
            assert!(matches!(read(&told[..end]), Err(Stop::Incomplete)), "{end}");
        }
    }
}
