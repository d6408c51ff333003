//! What is run after changes have been brought over: commands, HTTP requests, messages to sockets.
//!
//! A hook hears of a change only when a replica has confirmed it, and of many at a time. Names travel as data, never as
//! part of a command line that a shell would read.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::Serialize;

use crate::mirror::Report;
use crate::status::unix_time;
use crate::{Error, Event};

/// How many changes one run is told of at most.
const BATCH_MAX: usize = 10_000;

/// How many batches may wait for a hook that is slow. What comes then is counted, not kept.
const BACKLOG: usize = 64;

/// How long a command or an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an attempt is repeated, and the pause before the first repetition.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Stands for each path among a command's arguments.
pub const PATH_ARGUMENT: &str = "{path}";

/// Something to do after changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// What.
    pub action: Action,
    /// Whose changes; all replicas' if empty.
    pub replicas: Vec<String>,
    /// Regular expressions, one of which must match the whole absolute path; all paths if empty.
    pub only: Vec<String>,
    /// How long to wait for more changes, to tell them together.
    pub wait: Duration,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Starts a program, once for each path if an argument contains [`PATH_ARGUMENT`], else once for a batch, which it
    /// reads from its standard input as JSON.
    Command(Vec<String>),
    /// The same for a script that `/bin/sh` runs, which somebody has asked for.
    Shell(String),
    /// Sends a batch as JSON.
    Http(Url),
    /// Sends a batch as one line of JSON, or each path alone over a connection of its own.
    Socket {
        /// `HOST:PORT`, or the path of a UNIX socket.
        address: String,
        /// Absolute paths instead of JSON.
        plain: bool,
    },
    /// Asks a content delivery network to forget what has changed, as sersync's refreshCDN did.
    Purge(Purge),
}

/// `http://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port, to connect to.
    pub authority: String,
    /// What is asked for there, with its slash.
    pub path: String,
}

impl Url {
    /// # Errors
    /// In words, when it is no such URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("{text}: give an http:// URL; for https, a command such as curl")
        })?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_legal = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !is_legal(rest) {
            return Err(format!("{text}: not a URL"));
        }
        Ok(Self {
            authority: authority.to_owned(),
            path: format!("/{path}"),
        })
    }
}

/// How a content delivery network is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// `HOST:PORT` of the network's interface.
    pub address: String,
    /// Its name as the request has it.
    pub domain: String,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The URL that stands for the tree's root.
    pub base: String,
    /// A regular expression on the path below the root: its first group and what follows the match are put after `base`.
    pub rewrite: Option<String>,
}

/// One change, as hooks hear of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The path below the source; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// The same path exactly, as hexadecimal digits, where `path` had to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Whether it is a directory.
    pub is_dir: bool,
    #[serde(skip)]
    exact: PathBuf,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was made or brought up to date.
    Updated,
    /// It was removed.
    Removed,
}

impl Change {
    pub(crate) fn new(path: &Path, kind: ChangeKind, is_dir: bool) -> Self {
        let hex = || {
            let bytes = path.as_os_str().as_bytes().iter();
            bytes.map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            path: path.to_string_lossy().into_owned(),
            path_hex: path.to_str().is_none().then(hex),
            kind,
            is_dir,
            exact: path.to_owned(),
        }
    }
}

/// What a hook is told at a time.
#[derive(Debug, Serialize)]
struct Batch<'a> {
    tree: &'a str,
    source: &'a str,
    replica: &'a str,
    /// Seconds since 1970.
    time: f64,
    changes: &'a [Change],
}

/// The hooks of a tree, each with a thread of its own. Dropping it lets them finish what they have been told.
pub(crate) struct Hooks {
    runners: Vec<(Hook, Sender<Told>)>,
    threads: Vec<JoinHandle<()>>,
}

struct Told {
    replica: String,
    changes: Vec<Change>,
}

impl Hooks {
    /// Starts the hooks of the tree `name` at `source`.
    ///
    /// # Errors
    /// [`Error::Hook`] for an expression that means nothing, [`Error::Thread`].
    pub(crate) fn start(
        hooks: &[Hook],
        name: &str,
        source: &Path,
        report: &Report,
    ) -> Result<Self, Error> {
        let mut runners = Vec::new();
        let mut threads = Vec::new();
        for hook in hooks {
            let (sender, told) = bounded(BACKLOG);
            let runner = Runner {
                hook: hook.clone(),
                only: hook
                    .only
                    .iter()
                    .map(|text| whole(text))
                    .collect::<Result<_, _>>()?,
                rewrite: match &hook.action {
                    Action::Purge(Purge {
                        rewrite: Some(text),
                        ..
                    }) => Some(expression(text)?),
                    _ => None,
                },
                tree: name.to_owned(),
                source: source.to_owned(),
                told,
                report: report.clone(),
            };
            let thread = std::thread::Builder::new().name("hook".to_owned());
            threads.push(thread.spawn(move || runner.run()).map_err(Error::Thread)?);
            runners.push((hook.clone(), sender));
        }
        Ok(Self { runners, threads })
    }

    /// Looks for mistakes without starting anything.
    ///
    /// # Errors
    /// [`Error::Hook`].
    pub(crate) fn check(hooks: &[Hook]) -> Result<(), Error> {
        for hook in hooks {
            for text in &hook.only {
                whole(text)?;
            }
            if let Action::Purge(Purge {
                rewrite: Some(text),
                ..
            }) = &hook.action
            {
                expression(text)?;
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runners.is_empty()
    }

    /// Tells the hooks what `replica` has confirmed. False if one of them is so far behind that it will not hear of it.
    pub(crate) fn tell(&self, replica: &str, changes: &[Change]) -> bool {
        let mut all = true;
        for (hook, sender) in &self.runners {
            if !hook.replicas.is_empty() && !hook.replicas.iter().any(|name| name == replica) {
                continue;
            }
            let told = Told {
                replica: replica.to_owned(),
                changes: changes.to_vec(),
            };
            all &= sender.try_send(told).is_ok();
        }
        all
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.runners.clear();
        for thread in self.threads.drain(..) {
            // A panic in there has been printed, and concerns nobody else.
            let _ = thread.join();
        }
    }
}

fn whole(text: &str) -> Result<regex::bytes::Regex, Error> {
    expression(&format!("^(?:{text})$"))
}

fn expression(text: &str) -> Result<regex::bytes::Regex, Error> {
    regex::bytes::Regex::new(text).map_err(|error| Error::Hook(error.to_string()))
}

struct Runner {
    hook: Hook,
    only: Vec<regex::bytes::Regex>,
    rewrite: Option<regex::bytes::Regex>,
    tree: String,
    source: PathBuf,
    told: Receiver<Told>,
    report: Report,
}

impl Runner {
    fn run(self) {
        while let Ok(Told {
            replica,
            mut changes,
        }) = self.told.recv()
        {
            let until = Instant::now() + self.hook.wait;
            let mut others = Vec::new();
            while changes.len() < BATCH_MAX {
                match self.told.recv_deadline(until) {
                    Ok(more) if more.replica == replica => changes.extend(more.changes),
                    Ok(other) => others.push(other),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            self.tell(&replica, changes);
            for Told { replica, changes } in others {
                self.tell(&replica, changes);
            }
        }
    }

    fn tell(&self, replica: &str, mut changes: Vec<Change>) {
        changes.retain(|change| {
            let path = self.source.join(&change.exact).into_os_string().into_vec();
            self.only.is_empty() || self.only.iter().any(|only| only.is_match(&path))
        });
        for changes in changes.chunks(BATCH_MAX) {
            if let Err(reason) = self.act(replica, changes) {
                (self.report)(Event::Notice {
                    replica: Some(replica.to_owned()),
                    text: format!("hook: {reason}"),
                });
            }
        }
    }

    fn act(&self, replica: &str, changes: &[Change]) -> Result<(), String> {
        let batch = || {
            let source = self.source.to_string_lossy();
            serde_json::to_vec(&Batch {
                tree: &self.tree,
                source: &source,
                replica,
                time: unix_time(),
                changes,
            })
            .map_err(|error| error.to_string())
        };
        match &self.hook.action {
            Action::Command(words) if words.iter().any(|word| word.contains(PATH_ARGUMENT)) => {
                for change in changes {
                    let path = self.source.join(&change.exact);
                    let words = words.iter().map(|word| with_path(word, &path));
                    run(words, b"")?;
                }
                Ok(())
            }
            Action::Command(words) => run(words.iter().map(OsString::from), &batch()?),
            Action::Shell(script) => run(["/bin/sh", "-c", script].map(OsString::from), &batch()?),
            Action::Http(url) => {
                let body = batch()?;
                patiently(|| post(url, &body))
            }
            Action::Socket {
                address,
                plain: false,
            } => {
                let mut line = batch()?;
                line.push(b'\n');
                patiently(|| deliver(address, &line))
            }
            Action::Socket {
                address,
                plain: true,
            } => changes.iter().try_for_each(|change| {
                let path = self.source.join(&change.exact);
                patiently(|| deliver(address, path.as_os_str().as_bytes()))
            }),
            Action::Purge(purge) => changes
                .iter()
                .try_for_each(|change| patiently(|| self.purge(purge, change))),
        }
    }

    /// mirror.md 1.6, refreshCDN.
    fn purge(&self, purge: &Purge, change: &Change) -> Result<(), String> {
        let path = change.exact.as_os_str().as_bytes();
        let mut url = purge.base.clone().into_bytes();
        match &self.rewrite {
            None => {
                url.push(b'/');
                url.extend_from_slice(path);
            }
            Some(rewrite) => {
                let subject = [b"/", path].concat();
                let Some(found) = rewrite.captures(&subject) else {
                    return Ok(());
                };
                url.extend_from_slice(found.get(1).map_or(b"", |group| group.as_bytes()));
                let end = found.get(0).map_or(0, |all| all.end());
                url.extend_from_slice(&subject[end..]);
            }
        }
        if change.is_dir {
            url.push(b'/');
        }
        let what = if change.is_dir { "dirs" } else { "urls" };
        let request = format!(
            "HEAD /index.jsp?user={}&pswd={}&ok=ok&{what}={} HTTP/1.0\r\nHost: {}\r\n\r\n",
            escaped(purge.user.as_bytes()),
            escaped(purge.password.as_bytes()),
            escaped(&url),
            purge.domain,
        );
        let status = exchange(&purge.address, request.as_bytes())?;
        is_success(&status)
    }
}

/// A command's argument with the path in its place.
fn with_path(word: &str, path: &Path) -> OsString {
    let mut parts = word.split(PATH_ARGUMENT);
    let mut built = OsString::from(parts.next().unwrap_or_default());
    for part in parts {
        built.push(path);
        built.push(OsStr::new(part));
    }
    built
}

/// Runs a program to its end, which it finds in time or is given.
fn run(words: impl IntoIterator<Item = OsString>, input: &[u8]) -> Result<(), String> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).display().to_string();
    let failed = |error: std::io::Error| format!("{name}: {error}");
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let given = child.stdin.take();
    std::thread::scope(|scope| {
        // A program that does not read would hold us up for ever; it may also have no interest.
        scope.spawn(move || given.map(|mut given| given.write_all(input)));
        wait(&mut child).map_err(failed)
    })
    .and_then(|status| match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}")),
        None => Err(format!("{name}: ended after {} s", PATIENCE.as_secs())),
    })
}

fn wait(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    const LONGEST_NAP: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + PATIENCE;
    let mut nap = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

/// Tries several times, with growing pauses.
fn patiently(mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        if attempt().is_ok() {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    attempt()
}

fn deliver(address: &str, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{address}: {error}");
    if address.starts_with('/') {
        let mut stream = UnixStream::connect(address).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(bytes).map_err(failed)
    } else {
        connect(address)
            .and_then(|mut stream| stream.write_all(bytes))
            .map_err(failed)
    }
}

fn post(url: &Url, body: &[u8]) -> Result<(), String> {
    let mut request = format!(
        "POST {} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        url.path,
        url.authority,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let has_port = url
        .authority
        .rsplit(']')
        .next()
        .is_some_and(|rest| rest.contains(':'));
    let address = match has_port {
        true => url.authority.clone(),
        false => format!("{}:80", url.authority),
    };
    is_success(&exchange(&address, &request)?)
}

/// Sends a request and brings the first line of the answer.
fn exchange(address: &str, request: &[u8]) -> Result<String, String> {
    use std::io::{BufRead, BufReader, Read};
    const STATUS_MAX: u64 = 1024;
    let failed = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = connect(address).map_err(failed)?;
    stream.write_all(request).map_err(failed)?;
    let mut status = Vec::new();
    BufReader::new(stream)
        .take(STATUS_MAX)
        .read_until(b'\n', &mut status)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&status).trim_end().to_owned())
}

/// Whether an HTTP status line tells of success.
fn is_success(status: &str) -> Result<(), String> {
    let code = status.split_whitespace().nth(1).unwrap_or_default();
    match status.starts_with("HTTP/") && code.starts_with('2') {
        true => Ok(()),
        false => Err(format!("the server answers {status:?}")),
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    use std::net::ToSocketAddrs;
    let mut last = std::io::Error::other("the name has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What may stand in a query: everything else as `%XX`.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    bytes
        .iter()
        .map(|&byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_argument() {
        let path = Path::new("/a b/$(rm -rf .);`x`");
        assert_eq!(with_path("{path}", path), path.as_os_str());
        assert_eq!(
            with_path("--file={path}!", path),
            *"--file=/a b/$(rm -rf .);`x`!"
        );
        assert_eq!(with_path("plain", path), *"plain");
    }

    #[test]
    fn urls() {
        let url = Url::parse("http://h:8080/a?b=c").unwrap();
        assert_eq!(
            (url.authority.as_str(), url.path.as_str()),
            ("h:8080", "/a?b=c")
        );
        assert_eq!(Url::parse("http://h").unwrap().path, "/");
        for bad in [
            "https://h/",
            "h",
            "http:///x",
            "http://h/ x",
            "http://h/\r\nX: y",
            "http://u:p@h/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_query_cannot_be_left() {
        assert_eq!(escaped(b"a b&c=d\r\n/%~"), "a%20b%26c%3Dd%0D%0A/%25~");
    }

    #[test]
    fn only_a_status_of_success_is_one() {
        assert!(is_success("HTTP/1.1 204 No Content").is_ok());
        for bad in ["HTTP/1.1 500 Oops", "", "200", "HTTP/1.0"] {
            assert!(is_success(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_are_no_text_are_told_exactly() {
        let change = Change::new(
            Path::new(OsStr::from_bytes(b"a\xff")),
            ChangeKind::Updated,
            false,
        );
        assert_eq!(change.path_hex.as_deref(), Some("61ff"));
        assert_eq!(
            Change::new(Path::new("ok"), ChangeKind::Removed, false).path_hex,
            None
        );
    }

    #[test]
    fn a_command_is_given_the_batch_and_its_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("cat > '{}'", out.display());
        let words = ["/bin/sh", "-c", &script].map(OsString::from);
        run(words, b"{\"x\":1}").unwrap();
        assert_eq!(std::fs::read(out).unwrap(), b"{\"x\":1}");
        assert!(run(["/bin/false"].map(OsString::from), b"").is_err());
        assert!(
            run(["/no/such/program"].map(OsString::from), b"")
                .unwrap_err()
                .contains("/no/such/program")
        );
    }
}
