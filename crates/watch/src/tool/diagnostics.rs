//! Where a command line complains: standard error, or the system log.

use std::io::Write;
use std::os::unix::net::UnixDatagram;

/// Receives whole lines.
pub(crate) enum Diagnostics {
    Stderr(Box<dyn Write + Send>),
    Syslog {
        /// `None` when no log daemon listens.
        socket: Option<UnixDatagram>,
        ident: String,
    },
}

/// Facility daemon, severity informational (RFC 5424, 6.2.1).
const PRIORITY: u8 = 3 * 8 + 6;

impl Diagnostics {
    pub(crate) fn syslog(ident: &str) -> Diagnostics {
        let socket = UnixDatagram::unbound().ok();
        let socket = socket.filter(|socket| socket.connect("/dev/log").is_ok());
        let ident = ident.to_owned();
        Diagnostics::Syslog { socket, ident }
    }

    /// Writes text as it is; a log gets each line as a record.
    pub(crate) fn write(&mut self, text: &[u8]) {
        // There is nowhere left to report a failure to.
        match self {
            Diagnostics::Stderr(stderr) => {
                let _ = stderr.write_all(text).and_then(|()| stderr.flush());
            }
            Diagnostics::Syslog { socket, ident } => {
                for line in text.split(|&byte| byte == b'\n') {
                    if line.is_empty() {
                        continue;
                    }
                    let pid = std::process::id();
                    let mut record = format!("<{PRIORITY}>{ident}[{pid}]: ").into_bytes();
                    record.extend_from_slice(line);
                    let sent = socket
                        .as_ref()
                        .is_some_and(|socket| socket.send(&record).is_ok());
                    if !sent {
                        record.push(b'\n');
                        let console = std::fs::OpenOptions::new().write(true).open("/dev/console");
                        let _ = console.and_then(|mut console| console.write_all(&record));
                    }
                }
            }
        }
    }
}
