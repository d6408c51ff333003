//! What a service manager is told of a service: systemd's protocol of `sd_notify`(3), a datagram for each message.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names; none if nobody wants to know.
    pub(crate) fn from_env() -> Option<Self> {
        let manager = address(&std::env::var_os("NOTIFY_SOCKET")?)?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_meant =
            number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Some(Self {
            socket: UnixDatagram::unbound().ok()?,
            manager,
            watchdog: number("WATCHDOG_USEC")
                .filter(|micros| is_meant && *micros > 0)
                .map(Duration::from_micros),
        })
    }

    /// How long the manager waits for [`Notifier::alive`] before it takes the service for dead.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service does its work.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// The configuration is being read again; [`Notifier::ready`] follows.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The service ends.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The service is not stuck, and in this state.
    pub(crate) fn alive(&self, status: &str) {
        self.send(&format!("WATCHDOG=1\nSTATUS={status}"));
    }

    fn send(&self, message: &str) {
        // A manager that does not listen misses nothing that matters to the service.
        let _ = self.socket.send_to_addr(message.as_bytes(), &self.manager);
    }
}

/// A path, or the name of an abstract socket after `@`.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let path = address(OsStr::new("/run/notify")).unwrap();
        assert_eq!(
            path.as_pathname(),
            Some(std::path::Path::new("/run/notify"))
        );
        let hidden = address(OsStr::new("@name")).unwrap();
        assert_eq!(hidden.as_abstract_name(), Some(&b"name"[..]));
        assert!(address(OsStr::new("vsock:2:1234")).is_none());
        assert!(address(OsStr::new("")).is_none());
    }

    #[test]
    fn the_manager_hears_each_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier {
            socket: UnixDatagram::unbound().unwrap(),
            manager: address(path.as_os_str()).unwrap(),
            watchdog: None,
        };
        notifier.ready();
        notifier.alive("1 of 2 replicas in step");
        notifier.stopping();
        let mut heard = [0; 100];
        for expected in [
            "READY=1",
            "WATCHDOG=1\nSTATUS=1 of 2 replicas in step",
            "STOPPING=1",
        ] {
            let count = manager.recv(&mut heard).unwrap();
            assert_eq!(&heard[..count], expected.as_bytes());
        }
    }
}
