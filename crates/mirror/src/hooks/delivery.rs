//! How a hook's message gets to whom it is for: a program, an HTTP server, a socket. Each has a time limit.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Url;

/// How long a command or an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an attempt is repeated, and the pause before the first repetition.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Runs a program to its end, which it finds in time or is given.
pub(super) fn run(words: impl IntoIterator<Item = OsString>, input: &[u8]) -> Result<(), String> {
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
        let give = move || given.map(|mut given| given.write_all(input));
        if let Err(cause) = std::thread::Builder::new().spawn_scoped(scope, give) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(cause));
        }
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
pub(super) fn patiently(mut attempt: impl FnMut() -> Result<(), String>) -> Result<(), String> {
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

pub(super) fn deliver(address: &str, bytes: &[u8]) -> Result<(), String> {
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
pub(super) fn is_success(status: &str) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_success_is_one() {
        assert!(is_success("HTTP/1.1 204 No Content").is_ok());
        for bad in ["HTTP/1.1 500 Oops", "", "200", "HTTP/1.0"] {
            assert!(is_success(bad).is_err(), "{bad}");
        }
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
