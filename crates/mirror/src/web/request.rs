//! The head of an HTTP request: as much of it as the status page has to know.

/// The longest head, in bytes.
pub(super) const HEAD_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) host: Option<String>,
    /// Of the `Authorization` header, or of the query.
    pub(super) token: Option<Vec<u8>>,
}

/// Where the head ends, with its empty line, if it has come whole.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
    Some(end + 4).filter(|end| *end <= HEAD_MAX)
}

/// Reads a head; none if it is no HTTP/1 request.
pub(super) fn parse(head: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut host, mut token) = (None, None);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("host") {
            // Two of them would be read differently by different readers.
            if host.replace(value.to_owned()).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("authorization") {
            let (scheme, given) = value.split_once(' ').unwrap_or((value, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                token = Some(given.trim().as_bytes().to_vec());
            }
        }
    }
    let of_query = || {
        let mut pairs = query.split('&');
        pairs.find_map(|pair| pair.strip_prefix("token=").map(decoded))
    };
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        host,
        token: token.or_else(of_query),
    })
}

/// A value of a query: `+` is a space, `%XX` a byte; what is neither stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)));
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let request = parse(b"GET /a?x=1&token=a%2Bb HTTP/1.1\r\nHost:  h:1 \r\nX: y\r\n\r\n");
        let expected = Request {
            method: "GET".to_owned(),
            path: "/a".to_owned(),
            host: Some("h:1".to_owned()),
            token: Some(b"a+b".to_vec()),
        };
        assert_eq!(request, Some(expected));
        for bad in [
            &b""[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET http://h/ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1 x\r\n\r\n",
            b"GET / HTTP/1.1\r\nnothing\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line_and_not_too_late() {
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n\r\nmore"), Some(18));
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n"), None);
        let long = [vec![b'a'; HEAD_MAX], b"\r\n\r\n".to_vec()].concat();
        assert_eq!(end_of_head(&long), None);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(decoded("%"), b"%");
        assert_eq!(decoded("%4"), b"%4");
        assert_eq!(decoded("%zz%41"), b"%zzA");
        assert_eq!(decoded("%ff"), b"\xff");
    }
}
