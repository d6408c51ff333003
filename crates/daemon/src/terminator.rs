//! TLS ends here: a process of its own for each connection over TLS, which hands plain bytes to the worker's.
//!
//! It alone holds the key, and it talks to a stranger: it reads certificate and key, starts the worker, and then gives up all
//! rights before it looks at the first byte. The worker finds one end of a pair of sockets as its standard input, and who the
//! client is in its environment.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rsync::{Env, Exit, strerror};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Globals;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::peer;
use crate::proxy;
use crate::sandbox::{self, Reach};
use crate::start::Setup;
use crate::worker::read_file;

/// Set for a process whose connection is to be one over TLS.
pub(crate) const VARIABLE: &str = "DRIFTLESS_TLS";
/// Holds the address of the client for a process whose own connection does not tell it.
const PEER: &str = "DRIFTLESS_PEER";

/// As a worker, a client has so long for its first words.
const PATIENCE: Duration = Duration::from_mins(1);

/// The address of a client that has come over TLS.
pub(crate) fn peer(env: &Env) -> Option<IpAddr> {
    std::str::from_utf8(env.get(PEER)?).ok()?.parse().ok()
}

/// The end that shows our certificate; `None` if TLS is not wanted.
///
/// # Errors
/// A line for the log.
pub(crate) fn server(setup: &Setup, globals: &Globals) -> Result<Option<tls::Server>, String> {
    let given = &setup.given;
    let file = |given: &Option<Vec<u8>>, said: Option<PathBuf>| -> Option<PathBuf> {
        given.as_deref().map(crate::as_path).or(said)
    };
    let certificate = file(&given.tls_cert, globals.tls_cert.path(&setup.env));
    let key = file(&given.tls_key, globals.tls_key.path(&setup.env));
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err("TLS: a certificate without its \"tls key\"".to_owned()),
        (None, Some(_)) => return Err("TLS: a key without its \"tls cert\"".to_owned()),
    };
    let read = |file: &Path| {
        read_file(file).map_err(|cause| {
            let (file, cause) = (file.display(), strerror(&cause));
            format!("TLS: cannot read {file}: {cause}")
        })
    };
    let is_open = std::fs::metadata(&key).is_ok_and(|meta| meta.mode() & 0o007 != 0);
    if is_open {
        let key = key.display();
        return Err(format!("TLS: the key {key} must not be other-accessible"));
    }
    let server = tls::Server::new(&read(&certificate)?, &read(&key)?);
    server.map(Some).map_err(|bad| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("TLS: {certificate} and {key}: {bad}")
    })
}

/// Serves the client of standard input over TLS, and tells the exit code.
pub(crate) fn serve(setup: &Setup) -> u8 {
    let Ok(config) = setup.globals() else {
        // The listener has started with another file; its next reload tells what is wrong.
        return Exit::Syntax.code();
    };
    let journal = setup.journal(&config);
    let (begun, mut worker) = match begin(setup, &config.globals) {
        Ok(begun) => begun,
        Err(text) => {
            journal.warn(&text);
            return Exit::SocketIo.code();
        }
    };
    match give_up() {
        Ok(()) => carry(begun, config.globals.proxy_protocol, &journal),
        Err(text) => journal.warn(&text),
    }
    match worker.wait() {
        Ok(status) => crate::supervisor::exit_code(status),
        Err(_) => Exit::WaitChild.code(),
    }
}

/// A connection that has a worker, and nothing was read of.
struct Begun {
    relay: tls::Relay,
    address: IpAddr,
    /// The sockets that the relay joins, for what comes before TLS.
    client: TcpStream,
    worker: UnixStream,
}

/// All that takes rights: the key, and the worker.
fn begin(setup: &Setup, globals: &Globals) -> Result<(Begun, Child), String> {
    let told = |cause: io::Error| format!("TLS: {}", strerror(&cause));
    let server = server(setup, globals)?.ok_or("TLS: no certificate")?;
    let connection = server.connection().map_err(|bad| format!("TLS: {bad}"))?;
    let stdin = rustix::stdio::stdin();
    let address = peer::of_socket(stdin.as_fd()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let socket = rustix::io::dup(stdin).map_err(|errno| told(errno.into()))?;
    let client = TcpStream::from(socket);
    let (worker, theirs) = UnixStream::pair().map_err(told)?;
    let child = setup
        .anew()
        .env_remove(VARIABLE)
        .env(PEER, address.to_string())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .map_err(told)?;
    let (net, plain) = (client.try_clone(), worker.try_clone());
    let relay = tls::Relay::new(connection, net.map_err(told)?, plain.map_err(told)?);
    let begun = Begun {
        relay: relay.map_err(told)?,
        address,
        client,
        worker,
    };
    Ok((begun, child))
}

/// Leaves this process nothing but its two sockets and the log.
fn give_up() -> Result<(), String> {
    let nobody = Identity::find(b"", b"").map_err(|trouble| trouble.log)?;
    nobody.assume().map_err(|trouble| trouble.log)?;
    sandbox::bound();
    // The listener has said so where the kernel cannot do that.
    let _ = sandbox::confine(Reach {
        write: &[],
        read: &[],
    });
    Ok(())
}

fn carry(begun: Begun, behind_proxy: bool, journal: &Journal) {
    let Begun {
        mut relay,
        address,
        client,
        worker,
    } = begun;
    if behind_proxy && let Err(failed) = pass_header(&client, &worker) {
        journal.warn(&format!("TLS with {address}: {failed}"));
        return;
    }
    // The relay notices the end of either only if nobody else holds it open.
    drop((client, worker));
    let failed = match relay.shake_hands(Some(PATIENCE)) {
        Ok(()) => relay.run().err(),
        Err(failed) => Some(failed),
    };
    if let Some(failed) = failed {
        journal.warn(&format!("TLS with {address}: {failed}"));
    }
}

/// Hands on the header of a proxy, which comes before the first byte of TLS. The worker knows which proxies are believed.
fn pass_header(mut client: &TcpStream, mut worker: &UnixStream) -> Result<(), String> {
    let told = |cause: io::Error| strerror(&cause);
    let deadline = Instant::now() + PATIENCE;
    let mut header = Vec::new();
    loop {
        match proxy::header(&mut wire::Cursor::new(&header)) {
            Ok(_) => return worker.write_all(&header).map_err(told),
            Err(wire::Stop::Incomplete) => {}
            Err(_) => return Err("no header of a proxy".to_owned()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(client, PollFlags::IN)];
        let ready = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
        if ready.map_err(|errno| told(errno.into()))? == 0 {
            return Err("no header of a proxy in time".to_owned());
        }
        // One by one: what comes next is for TLS.
        let mut byte = [0];
        match client.read(&mut byte) {
            Ok(0) => return Err("gone before the header of its proxy".to_owned()),
            Ok(_) => header.extend(byte),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(cause) => return Err(told(cause)),
        }
    }
}
