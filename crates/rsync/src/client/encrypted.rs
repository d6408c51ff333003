//! TLS around a connection to a daemon (`--tls`, `--tls-ca`): plain to the session, encrypted on the way.

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use transfer::Link;

use crate::engine;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::strerror;
use crate::run::Run;
use crate::stop::{Stop, shown};

/// The relay behind an encrypted connection, which ends some time after the link does.
pub(super) type Relaying = JoinHandle<Result<(), tls::Failed>>;

/// A daemon that says nothing is left after this time, unless `--contimeout` says something else.
const PATIENCE: Duration = Duration::from_mins(1);

impl Run<'_> {
    /// Makes sure of who is at the other end of `link`, and returns a link whose bytes go there encrypted.
    pub(super) fn encrypt(&self, link: Link, host: &Host) -> Result<(Link, Relaying), Stop> {
        let name = shown(&host.name);
        let refuse = |cause: String| {
            let text = format!("rsync: [{}] TLS with {name}: {cause}", self.role());
            Stop::Refuse(text, Exit::SocketIo)
        };
        let system = |cause: std::io::Error| refuse(strerror(&cause));
        let said = &self.meant.said;
        let client = match &said.tls_ca {
            None => tls::Client::of_system(),
            Some(file) => tls::Client::new(&self.certificates(file)?),
        };
        let connection = client.and_then(|client| client.connection(&name));
        let connection = connection.map_err(|bad| refuse(bad.to_string()))?;
        let (ours, theirs) = UnixStream::pair().map_err(system)?;
        let net = TcpStream::from(link.into_socket());
        let mut relay = tls::Relay::new(connection, net, theirs).map_err(system)?;
        let patience = u64::try_from(said.contimeout)
            .ok()
            .filter(|&seconds| seconds > 0)
            .map_or(PATIENCE, Duration::from_secs);
        relay
            .shake_hands(Some(patience))
            .map_err(|failed| refuse(failed.to_string()))?;
        let link = Link::over_socket(ours.into(), self.cancel.clone())
            .map_err(|error| refuse(error.to_string()))?;
        let relaying = std::thread::Builder::new().spawn(|| relay.run());
        Ok((link, relaying.map_err(system)?))
    }

    fn certificates(&self, file: &[u8]) -> Result<Vec<u8>, Stop> {
        const LENGTH_MAX: u64 = 16 << 20;
        let mut text = Vec::new();
        let read = File::open(engine::path(file))
            .and_then(|file| file.take(LENGTH_MAX).read_to_end(&mut text));
        read.map_err(|cause| {
            let (role, name, cause) = (self.role(), shown(file), strerror(&cause));
            let text = format!("rsync: [{role}] failed to open {name}: {cause}");
            Stop::Refuse(text, Exit::Syntax)
        })?;
        Ok(text)
    }
}
