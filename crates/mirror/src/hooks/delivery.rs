//! How a hook's message gets to whom it is for: a program, an HTTP server, a socket. Each has a time limit.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::Url;
use super::stopping::Stopping;

/// How long a command or an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an attempt is repeated, and the pause before the first repetition.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Runs a program to its end, which it finds in time or is given.
pub(super) fn run(
    words: impl IntoIterator<Item = OsString>,
    input: Vec<u8>,
    stopping: &Stopping,
) -> Result<(), String> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).display().to_string();
    let failed = |error: io::Error| format!("{name}: {error}");
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // What it starts in turn ends with it.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    if let Some(mut given) = child.stdin.take() {
        // A program that does not read would hold us up for ever; it may also have no interest.
        let give = move || drop(given.write_all(&input));
        if let Err(cause) = std::thread::Builder::new().spawn(give) {
            end(&mut child).map_err(failed)?;
            return Err(failed(cause));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let status = wait(&mut child, || {
        Instant::now() >= deadline || stopping.is_over()
    });
    match status.map_err(failed)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}")),
        None if stopping.is_over() => Err(format!("{name}: ended, for the mirror ends")),
        None => Err(format!("{name}: ended after {} s", PATIENCE.as_secs())),
    }
}

/// Waits for a program's end; none if it had to be ended.
fn wait(child: &mut Child, is_over: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    const LONGEST_NAP: Duration = Duration::from_millis(50);
    let mut nap = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if is_over() {
            end(child)?;
            return Ok(None);
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(LONGEST_NAP);
    }
}

/// Ends a program and everything that it has started.
fn end(child: &mut Child) -> io::Result<()> {
    let group = rustix::process::Pid::from_child(child);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
    child.wait().map(drop)
}

/// Tries several times, with growing pauses.
pub(super) fn patiently(
    stopping: &Stopping,
    mut attempt: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        if attempt().is_ok() {
            return Ok(());
        }
        if stopping.is_over() {
            break;
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    attempt()
}

pub(super) fn deliver(address: &str, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: io::Error| format!("{address}: {error}");
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

pub(super) fn post(url: &Url, body: &[u8]) -> Result<(), String> {
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
pub(super) fn exchange(address: &str, request: &[u8]) -> Result<String, String> {
    use std::io::{BufRead, BufReader, Read};
    const STATUS_MAX: u64 = 1024;
    let failed = |error: io::Error| format!("{address}: {error}");
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
pub(super) fn is_success(status: &str) -> Result<(), String> {
    let code = status.split_whitespace().nth(1).unwrap_or_default();
    match status.starts_with("HTTP/") && code.starts_with('2') {
        true => Ok(()),
        false => Err(format!("the server answers {status:?}")),
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    use std::net::ToSocketAddrs;
    let mut last = io::Error::other("the name has no address");
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

#[cfg(test)]
mod tests {
    use transfer::Cancel;

    use super::*;

    #[test]
    fn only_a_status_of_success_is_one() {
        assert!(is_success("HTTP/1.1 204 No Content").is_ok());
        for bad in ["HTTP/1.1 500 Oops", "", "200", "HTTP/1.0"] {
            assert!(is_success(bad).is_err(), "{bad}");
        }
    }

    fn run_here(words: [&str; 3], input: &[u8]) -> Result<(), String> {
        let words = words
            .iter()
            .filter(|word| !word.is_empty())
            .map(OsString::from);
        run(words, input.to_vec(), &Stopping::new(Cancel::default()))
    }

    #[test]
    fn a_command_is_given_the_batch_and_its_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("cat > '{}'", out.display());
        run_here(["/bin/sh", "-c", &script], b"{\"x\":1}").unwrap();
        assert_eq!(std::fs::read(out).unwrap(), b"{\"x\":1}");
        assert!(run_here(["/bin/false", "", ""], b"").is_err());
        assert!(
            run_here(["/no/such/program", "", ""], b"")
                .unwrap_err()
                .contains("/no/such/program")
        );
    }

    #[test]
    fn a_command_that_leaves_a_reader_behind_holds_nobody_up() {
        // More than a pipe takes, and somebody who keeps it open without reading.
        let input = vec![b' '; 1 << 20];
        run_here(["/bin/sh", "-c", "sleep 20 <&0 >&- 2>&- & exit 0"], &input).unwrap();
    }
}
