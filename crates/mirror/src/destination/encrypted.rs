//! A connection to a daemon over TLS: plain to the session, encrypted on the way.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use transfer::{Connection, Credentials, DaemonAddress, Error, Link, Terms, dial};

/// A daemon that says nothing during the handshake is left after this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects, makes sure that the daemon is who it was asked to be, and authenticates.
///
/// # Errors
/// Those of [`Connection::open`], and what is wrong with the daemon's certificate.
pub(super) fn open(
    client: &tls::Client,
    address: &DaemonAddress,
    credentials: &Credentials,
    terms: &Terms,
) -> Result<Connection, Error> {
    let broken = |cause: std::io::Error| Error::Socket(cause);
    let refused = |cause: String| Error::NoCommon(format!("TLS with {}: {cause}", address.host));
    let connection = client
        .connection(&address.host)
        .map_err(|bad| refused(bad.to_string()))?;
    let dialled = dial(terms).connect(&address.host, address.port, terms.cancel.clone())?;
    let (ours, theirs) = UnixStream::pair().map_err(broken)?;
    let net = TcpStream::from(dialled.link.into_socket());
    let mut relay = tls::Relay::new(connection, net, theirs).map_err(broken)?;
    relay
        .shake_hands(Some(PATIENCE.min(terms.patience.unwrap_or(PATIENCE))))
        .map_err(|failed| match failed {
            tls::Failed::Tls(cause) => refused(cause.to_string()),
            // It may be better another time.
            failed => broken(std::io::Error::other(format!(
                "TLS with {}: {failed}",
                address.host
            ))),
        })?;
    let link = Link::over_socket(ours.into(), terms.cancel.clone())?;
    // It ends with the link, or with the daemon, which the session hears of.
    std::thread::Builder::new()
        .name("tls".to_owned())
        .spawn(|| relay.run())
        .map_err(broken)?;
    Connection::over(link, address, credentials, terms)
}
