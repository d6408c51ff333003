//! A connection that an HTTP proxy makes for us (`RSYNC_PROXY`).

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::Error;
use crate::link::Link;

/// An HTTP proxy that knows the method CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `USER:PASSWORD` for it.
    login: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A text that names no proxy; in rsync's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid proxy specification: should be {0}")]
pub struct BadProxy(&'static str);

/// The longest line of an answer, in bytes.
const LINE_MAX: usize = 1024;

impl Proxy {
    /// Reads `[USER:PASSWORD@]HOST:PORT`.
    ///
    /// # Errors
    /// [`BadProxy`].
    pub fn parse(text: &str) -> Result<Self, BadProxy> {
        let (login, place) = match text.rsplit_once('@') {
            Some((login, _)) if !login.contains(':') => {
                return Err(BadProxy("USER:PASS@HOST:PORT"));
            }
            Some((login, place)) => (Some(login.to_owned()), place),
            None => (None, text),
        };
        let place = place
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = place.ok_or(BadProxy("HOST:PORT"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self {
            host: host.to_owned(),
            port,
            login,
        })
    }

    /// Asks the proxy at the other end of `link` for `host`. Not a byte of what follows its answer is taken.
    pub(super) fn open(
        &self,
        link: &mut Link,
        host: &str,
        port: u16,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        if host.contains(|c: char| c.is_ascii_control()) {
            let text = "invalid control character in proxy CONNECT host";
            return Err(Error::Proxy(text.to_owned()));
        }
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let login = self.login.as_ref().map_or(String::new(), |login| {
            format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login))
        });
        let request = format!("CONNECT {host}:{port} HTTP/1.0\r\n{login}\r\n");
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        link.send(request.as_bytes(), &mut Vec::new(), patience)?;
        let status = line(link, deadline, "proxy response line too long")?;
        if !is_success(&status) {
            let status = String::from_utf8_lossy(&status).into_owned();
            return Err(Error::Proxy(format!("bad response from proxy -- {status}")));
        }
        while !line(link, deadline, "proxy response header line too long")?.is_empty() {}
        Ok(())
    }
}

/// A line without its end.
fn line(link: &mut Link, deadline: Option<Instant>, too_long: &str) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    loop {
        match link.byte(deadline)? {
            None => return Err(Error::Proxy("failed to read from proxy".to_owned())),
            Some(b'\n') => break,
            Some(_) if line.len() >= LINE_MAX => return Err(Error::Proxy(too_long.to_owned())),
            Some(byte) => line.push(byte),
        }
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(line)
}

/// `HTTP/`, a version, and a status of the two hundreds.
fn is_success(status: &[u8]) -> bool {
    status.strip_prefix(b"HTTP/").is_some_and(|rest| {
        let is_version = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
        let version = rest.iter().take_while(is_version).count();
        let rest = rest[version..].trim_ascii_start();
        rest.first() == Some(&b'2')
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::link::Cancel;
    use crate::{Dial, Error};

    #[test]
    fn what_names_a_proxy() {
        for (text, told) in [
            ("h", "invalid proxy specification: should be HOST:PORT"),
            ("a:b@h", "invalid proxy specification: should be HOST:PORT"),
            (
                "a@h:1",
                "invalid proxy specification: should be USER:PASS@HOST:PORT",
            ),
            ("h:x", "invalid proxy specification: should be HOST:PORT"),
        ] {
            assert_eq!(Proxy::parse(text).expect_err(text).to_string(), told);
        }
        let proxy = Proxy::parse("a:b@c@[::1]:8080").expect("legal");
        assert_eq!((&*proxy.host, proxy.port), ("::1", 8080));
        assert_eq!(proxy.login.as_deref(), Some("a:b@c"));
    }

    /// What a proxy that answers so is asked, and what comes of it.
    fn asked(answer: &'static str) -> (Vec<String>, Result<Vec<u8>, Error>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let proxy = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut lines = Vec::new();
            for line in BufReader::new(&stream).lines() {
                match line.expect("text") {
                    end if end.is_empty() => break,
                    line => lines.push(line),
                }
            }
            (&stream).write_all(answer.as_bytes()).expect("written");
            lines
        });
        let dial = Dial {
            proxy: Some(Proxy::parse(&format!("u:p@127.0.0.1:{port}")).expect("legal")),
            ..Dial::default()
        };
        let got = dial
            .connect("::1", 873, Cancel::default())
            .and_then(|dialled| {
                let (mut link, mut input) = (dialled.link, Vec::new());
                while link.fill(&mut input, None)? > 0 {}
                Ok(input)
            });
        (proxy.join().expect("the proxy"), got)
    }

    #[test]
    fn what_follows_the_answer_is_the_daemons() {
        let (lines, got) = asked("HTTP/1.0 200 Fine\r\nVia: x\r\n\r\n@RSYNCD: 31.0\n");
        assert_eq!(
            lines,
            [
                "CONNECT [::1]:873 HTTP/1.0",
                "Proxy-Authorization: Basic dTpw"
            ]
        );
        assert_eq!(got.expect("connected"), b"@RSYNCD: 31.0\n");
    }

    #[test]
    fn what_a_proxy_answers_instead_is_told() {
        for (answer, told) in [
            (
                "HTTP/1.0 403 No\r\n\r\n",
                "bad response from proxy -- HTTP/1.0 403 No",
            ),
            ("SSH-2.0\r\n", "bad response from proxy -- SSH-2.0"),
            (
                "HTTP/1.1 200 Fine\r\nVia: x\r\n",
                "failed to read from proxy",
            ),
        ] {
            let (_, got) = asked(answer);
            let error = got.expect_err(answer);
            assert_eq!(
                (error.to_string(), error.exit_code()),
                (told.to_owned(), 10)
            );
        }
    }
}
