//! The status page: how every replica is and was, for a browser, a program and Prometheus.
//!
//! One thread takes connections and keeps the history, and each connection has a short life on a thread of its own: one
//! request, of which only the head is read, and one answer. Whoever connects is hostile: size and time of a request are
//! bounded, and so is the number of connections. There is nothing to change here, only to see.

mod metrics;
mod request;
mod response;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use self::request::Request;
use self::response::{Page, Response};
use crate::Error;
use crate::history::History;
use crate::mirror::Handle;
use crate::service::Trees;
use crate::status::{MirrorStatus, unix_time};

/// How often the history takes a sample, in seconds.
const SAMPLE_SECONDS: u64 = 5;

/// How long a client may take for its request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many may be connected at a time.
const CLIENTS_MAX: usize = 16;

/// A shorter token could be guessed, in bytes.
const TOKEN_MIN: usize = 16;

/// Where the page is, and who may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSettings {
    address: SocketAddr,
    token: Option<Vec<u8>>,
}

impl PageSettings {
    /// `HOST:PORT`, or a port of this machine alone. Other machines see nothing without the token.
    ///
    /// # Errors
    /// In words: no such address, or one that other machines reach and no token.
    pub fn new(address: &str, token: Option<Vec<u8>>) -> Result<Self, String> {
        let resolved = match address.parse::<u16>() {
            Ok(port) => SocketAddr::from(([127, 0, 0, 1], port)),
            Err(_) => address
                .to_socket_addrs()
                .map_err(|error| format!("{address}: {error}; give HOST:PORT"))?
                .next()
                .ok_or_else(|| format!("{address}: the name has no address"))?,
        };
        if token.as_ref().is_some_and(|token| token.len() < TOKEN_MIN) {
            return Err(format!("a token has at least {TOKEN_MIN} characters"));
        }
        if token.is_none() && !resolved.ip().is_loopback() {
            return Err(format!(
                "{address}: other machines can reach this address; name a file with a token (--status-token FILE, \
                 status-token-file)"
            ));
        }
        Ok(Self {
            address: resolved,
            token,
        })
    }
}

/// The page of running mirrors. Dropping it ends it.
#[derive(Debug)]
pub struct StatusPage {
    settings: PageSettings,
    address: SocketAddr,
    /// Its end is the thread's.
    life: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl StatusPage {
    /// Serves the page for these trees.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(settings: &PageSettings, trees: Trees) -> Result<Self, Error> {
        let failed = |cause| Error::Page {
            address: settings.address,
            cause,
        };
        let listener = TcpListener::bind(settings.address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (life, end) = UnixStream::pair().map_err(failed)?;
        let site = Site {
            trees,
            token: settings.token.clone(),
            page: Page::new(),
            clients: AtomicUsize::new(0),
        };
        let thread = std::thread::Builder::new().name("status page".to_owned());
        let thread = thread
            .spawn(move || serve(&listener, &Arc::new(site), &end))
            .map_err(Error::Thread)?;
        Ok(Self {
            settings: settings.clone(),
            address,
            life: Some(life),
            thread: Some(thread),
        })
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &PageSettings {
        &self.settings
    }

    /// Where it is, with the port that the kernel chose if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusPage {
    fn drop(&mut self) {
        drop(self.life.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed, and concerns nobody else.
            let _ = thread.join();
        }
    }
}

/// What all connections share.
struct Site {
    trees: Trees,
    token: Option<Vec<u8>>,
    page: Page,
    clients: AtomicUsize,
}

/// Takes connections and samples until the other end of `end` is gone.
fn serve(listener: &TcpListener, site: &Arc<Site>, end: &UnixStream) {
    let every = Duration::from_secs(SAMPLE_SECONDS);
    let mut next_sample = Instant::now();
    loop {
        let now = Instant::now();
        if next_sample <= now {
            site.trees.handles().iter().for_each(Handle::sample);
            next_sample = now + every;
        }
        let rest = next_sample.saturating_duration_since(now);
        let timeout = Timespec {
            tv_sec: rest.as_secs().cast_signed(),
            tv_nsec: rest.subsec_nanos().into(),
        };
        let mut ready = [
            PollFd::new(end, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        // An interrupted wait is begun anew.
        let _ = poll(&mut ready, Some(&timeout));
        let [ended, incoming] = ready.map(|fd| !fd.revents().is_empty());
        if ended {
            return;
        }
        if incoming {
            match listener.accept() {
                Ok((stream, _)) => welcome(stream, site),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Out of descriptors, most likely: the next client may have more luck.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Gives a client a thread, or shows it the door if there are too many.
fn welcome(stream: TcpStream, site: &Arc<Site>) {
    if site.clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
        site.clients.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let theirs = Arc::clone(site);
    let thread = std::thread::Builder::new().name("status client".to_owned());
    let spawned = thread.spawn(move || {
        // Whoever hangs up in the middle has no more to ask.
        let _ = converse(&stream, &theirs);
        theirs.clients.fetch_sub(1, Ordering::Relaxed);
    });
    if spawned.is_err() {
        site.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(stream: &TcpStream, site: &Site) -> io::Result<()> {
    let head = read_head(stream, Instant::now() + PATIENCE)?;
    let (response, is_head) = match head.as_deref().map(request::parse) {
        None => (Response::text(431, "the request is too long"), false),
        Some(None) => (Response::text(400, "this is no request"), false),
        Some(Some(request)) => (site.answer(&request), request.method == "HEAD"),
    };
    let bytes = response.bytes(is_head);
    write_all(stream, &bytes, Instant::now() + PATIENCE)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What the client still sends would reset the connection under the answer.
    let mut rest = [0; 4096];
    let deadline = Instant::now() + Duration::from_secs(1);
    while limit(stream, deadline).is_ok() && (&mut &*stream).read(&mut rest)? > 0 {}
    Ok(())
}

/// Reads up to the empty line after the headers; none if that does not come soon enough in bytes.
fn read_head(mut stream: &TcpStream, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        limit(stream, deadline)?;
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..count]);
        if let Some(end) = request::end_of_head(&head) {
            head.truncate(end);
            return Ok(Some(head));
        }
        if head.len() > request::HEAD_MAX {
            return Ok(None);
        }
    }
}

fn write_all(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        limit(stream, deadline)?;
        match stream.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// Has the next call on a socket end at the deadline.
fn limit(stream: &TcpStream, deadline: Instant) -> io::Result<()> {
    let rest = deadline.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(rest))?;
    stream.set_write_timeout(Some(rest))
}

impl Site {
    fn answer(&self, request: &Request) -> Response {
        if let Err(refusal) = self.admit(request) {
            return refusal;
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::text(405, "there is nothing to do here, only to see")
                .with("Allow: GET, HEAD");
        }
        match request.path.as_str() {
            "/" => self.page.response(),
            "/status.json" => Response::json(&StatusAnswer {
                version: env!("CARGO_PKG_VERSION"),
                now: unix_time(),
                trees: self.statuses(),
            }),
            "/history.json" => Response::json(&self.history()),
            "/metrics" => Response::metrics(metrics::text(&self.statuses())),
            _ => Response::text(404, "there is no such page"),
        }
    }

    /// Lets in who knows the token. Without one, only pages of this very address: another site's page that has its name
    /// resolve to this machine (DNS rebinding) names itself as the host.
    fn admit(&self, request: &Request) -> Result<(), Response> {
        match &self.token {
            Some(token) => match &request.token {
                Some(given) if is_same(given, token) => Ok(()),
                _ => Err(Response::text(
                    401,
                    "the token is missing or wrong: /?token=TOKEN, or Authorization: Bearer TOKEN",
                )
                .with("WWW-Authenticate: Bearer")),
            },
            None if request.host.as_deref().is_some_and(is_this_machine) => Ok(()),
            None => Err(Response::text(
                403,
                "without a token this page is for localhost only; set one to use another name",
            )),
        }
    }

    fn statuses(&self) -> Vec<MirrorStatus> {
        self.trees.handles().iter().map(Handle::status).collect()
    }

    fn history(&self) -> HistoryAnswer {
        let trees = self.trees.handles().into_iter().map(|tree| TreeHistory {
            name: tree.status().name,
            replicas: tree
                .history()
                .into_iter()
                .map(|(name, history)| ReplicaHistory { name, history })
                .collect(),
        });
        HistoryAnswer {
            now: unix_time(),
            trees: trees.collect(),
        }
    }
}

#[derive(Serialize)]
struct StatusAnswer {
    version: &'static str,
    now: f64,
    trees: Vec<MirrorStatus>,
}

#[derive(Serialize)]
struct HistoryAnswer {
    now: f64,
    trees: Vec<TreeHistory>,
}

#[derive(Serialize)]
struct TreeHistory {
    name: String,
    replicas: Vec<ReplicaHistory>,
}

#[derive(Serialize)]
struct ReplicaHistory {
    name: String,
    #[serde(flatten)]
    history: History,
}

/// Compares in a time that does not tell how much was right.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differences == 0
}

/// Whether a `Host` header names this machine to itself.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(token: Option<&str>) -> Site {
        Site {
            trees: Trees::default(),
            token: token.map(|token| token.as_bytes().to_vec()),
            page: Page::new(),
            clients: AtomicUsize::new(0),
        }
    }

    fn status(site: &Site, head: &str) -> u16 {
        site.answer(&request::parse(head.as_bytes()).unwrap())
            .status
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        for own in ["0", "8730", "127.0.0.1:0", "[::1]:0"] {
            assert!(PageSettings::new(own, None).is_ok(), "{own}");
        }
        for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
            assert!(PageSettings::new(open, None).unwrap_err().contains("token"));
            assert!(PageSettings::new(open, Some(vec![b't'; TOKEN_MIN])).is_ok());
            assert!(PageSettings::new(open, Some(vec![b't'; TOKEN_MIN - 1])).is_err());
        }
        assert!(PageSettings::new("nothing", None).is_err());
    }

    #[test]
    fn without_a_token_only_this_machine_by_its_own_name() {
        let site = site(None);
        let get = |host: &str| status(&site, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n"));
        for own in ["localhost:80", "127.0.0.1", "LOCALHOST", "[::1]:8730"] {
            assert_eq!(get(own), 200, "{own}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example", "", "[::2]:1"] {
            assert_eq!(get(other), 403, "{other}");
        }
        assert_eq!(status(&site, "GET / HTTP/1.0\r\n"), 403);
    }

    #[test]
    fn a_token_is_asked_for_everything() {
        let site = site(Some("s3 cret"));
        for path in ["/", "/status.json", "/history.json", "/metrics", "/x"] {
            let get = |query: &str, header: &str| {
                status(
                    &site,
                    &format!("GET {path}{query} HTTP/1.1\r\nHost: any\r\n{header}\r\n"),
                )
            };
            let right = if path == "/x" { 404 } else { 200 };
            assert_eq!(get("", ""), 401);
            assert_eq!(get("?token=s3%20cre", ""), 401);
            assert_eq!(get("?token=", "Authorization: Bearer \r\n"), 401);
            assert_eq!(get("?token=s3%20cret", ""), right);
            assert_eq!(get("?a=b&token=s3+cret", ""), right);
            assert_eq!(get("", "authorization: bearer s3 cret\r\n"), right);
            assert_eq!(get("", "Authorization: Basic s3 cret\r\n"), 401);
        }
    }

    #[test]
    fn nothing_can_be_done_but_seeing() {
        let site = site(None);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: localhost\r\n");
            assert_eq!(status(&site, &head), 405);
        }
        assert_eq!(status(&site, "HEAD / HTTP/1.1\r\nHost: localhost\r\n"), 200);
    }
}
