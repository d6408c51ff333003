//! TLS ends here: a process of its own for each connection over TLS, which hands plain bytes to the worker's.
//!
//! It alone holds the key, and it talks to a stranger: it reads certificate and key, starts the worker, and then gives up all
//! rights before it looks at the first byte. The worker finds one end of a pair of sockets as its standard input, and who the
//! client is in its environment.

use std::net::{IpAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rsync::{Env, Exit};

use crate::config::Globals;
use crate::entry::strerror;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::peer;
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
    if globals.proxy_protocol {
        let text = "TLS: \"proxy protocol\" cannot be used with \"tls cert\"";
        return Err(text.to_owned());
    }
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
    let (relay, mut worker, address) = match begin(setup, &config.globals) {
        Ok(begun) => begun,
        Err(text) => {
            journal.warn(&text);
            return Exit::SocketIo.code();
        }
    };
    match give_up() {
        Ok(()) => carry(relay, address, &journal),
        Err(text) => journal.warn(&text),
    }
    match worker.wait() {
        Ok(status) => crate::supervisor::exit_code(status),
        Err(_) => Exit::WaitChild.code(),
    }
}

/// All that takes rights: the key, and the worker.
fn begin(setup: &Setup, globals: &Globals) -> Result<(tls::Relay, Child, IpAddr), String> {
    let told = |cause: std::io::Error| format!("TLS: {}", strerror(&cause));
    let server = server(setup, globals)?.ok_or("TLS: no certificate")?;
    let connection = server.connection().map_err(|bad| format!("TLS: {bad}"))?;
    let stdin = rustix::stdio::stdin();
    let address = peer::of_socket(stdin.as_fd()).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let socket = rustix::io::dup(stdin).map_err(|errno| told(errno.into()))?;
    let (ours, theirs) = UnixStream::pair().map_err(told)?;
    let worker = setup
        .anew()
        .env_remove(VARIABLE)
        .env(PEER, address.to_string())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .map_err(told)?;
    let relay = tls::Relay::new(connection, TcpStream::from(socket), ours).map_err(told)?;
    Ok((relay, worker, address))
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

fn carry(mut relay: tls::Relay, address: IpAddr, journal: &Journal) {
    let failed = match relay.shake_hands(Some(PATIENCE)) {
        Ok(()) => relay.run().err(),
        Err(failed) => Some(failed),
    };
    if let Some(failed) = failed {
        journal.warn(&format!("TLS with {address}: {failed}"));
    }
}
