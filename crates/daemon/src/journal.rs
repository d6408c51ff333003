//! The log: a file, or syslog (behaviour.md 3.11).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rsync::{Env, Log, log_line, log_text};

use crate::config::{Facility, LogStyle, Settings};

/// A log that several parts of a process write to. Writing never fails: a full disk must not stop what is logged.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    inner: Arc<Mutex<Inner>>,
}

/// Where a log goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// A file; `None` is syslog.
    pub file: Option<PathBuf>,
    /// The form of its lines.
    pub style: LogStyle,
    /// The facility for syslog.
    pub facility: Facility,
    /// The name of the program for syslog.
    pub tag: Vec<u8>,
}

impl Destination {
    /// What these settings say.
    #[must_use]
    pub(crate) fn of(settings: &Settings, env: &Env) -> Self {
        Self {
            file: settings.log_file.path(env),
            style: settings.log_style,
            facility: settings.syslog_facility,
            tag: settings.syslog_tag.expand(env),
        }
    }
}

#[derive(Debug)]
struct Inner {
    destination: Destination,
    /// What is open; syslog is looked for again with each line while nobody listens there.
    sink: Option<Sink>,
    /// What lines of JSON say besides their message.
    known: Vec<(&'static str, String)>,
    /// Read at the start: a process that has changed its root no longer finds it.
    zone: TimeZone,
    pid: u32,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Syslog(UnixDatagram),
}

/// Severities of syslog.
const WARNING: u8 = 4;
const INFO: u8 = 6;

/// Where syslog listens.
const SYSLOG: &str = "/dev/log";

impl Journal {
    /// Opens a log. A file that cannot be opened is told, and syslog is used in its place.
    #[must_use]
    pub(crate) fn open(destination: Destination) -> (Self, Option<io::Error>) {
        let journal = Self {
            inner: Arc::new(Mutex::new(Inner {
                destination: Destination {
                    file: None,
                    ..destination.clone()
                },
                sink: None,
                known: Vec::new(),
                zone: TimeZone::system(),
                pid: std::process::id(),
            })),
        };
        let failed = journal.switch(destination).err();
        (journal, failed)
    }

    /// Goes on elsewhere, as for a module with a log of its own.
    ///
    /// # Errors
    /// Those of opening the file; the log then goes on in syslog.
    pub(crate) fn switch(&self, destination: Destination) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.sink.is_some() && inner.destination == destination {
            return Ok(());
        }
        let opened = match &destination.file {
            None => Ok(open_syslog()),
            Some(file) => open_file(file).map(Some),
        };
        match opened {
            Ok(sink) => {
                inner.destination = destination;
                inner.sink = sink;
                Ok(())
            }
            Err(cause) => {
                inner.destination = Destination {
                    file: None,
                    ..destination
                };
                inner.sink = open_syslog();
                Err(cause)
            }
        }
    }

    /// Logs what happens.
    pub(crate) fn note(&self, text: &str) {
        self.lock()
            .line(text.as_bytes(), INFO, &[], Timestamp::now());
    }

    /// Logs what went wrong.
    pub(crate) fn warn(&self, text: &str) {
        self.lock()
            .line(text.as_bytes(), WARNING, &[], Timestamp::now());
    }

    /// Logs what went wrong, and why. rsync's lines have no place for the reason; those of JSON do.
    pub(crate) fn explain(&self, text: &str, reason: &str) {
        let reason = [("reason", reason.to_owned())];
        self.lock()
            .line(text.as_bytes(), WARNING, &reason, Timestamp::now());
    }

    /// From now on lines of JSON say this too: `host`, `address`, `user`, `module`.
    pub(crate) fn know(&self, member: &'static str, value: &[u8]) {
        let mut inner = self.lock();
        inner.known.retain(|(known, _)| *known != member);
        let value = String::from_utf8_lossy(value).into_owned();
        inner.known.push((member, value));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Journal {
    fn line(&mut self, text: &[u8], is_error: bool, at: Timestamp) {
        let severity = if is_error { WARNING } else { INFO };
        self.lock().line(text, severity, &[], at);
    }
}

impl Inner {
    fn line(&mut self, text: &[u8], severity: u8, more: &[(&str, String)], at: Timestamp) {
        let Destination {
            file,
            style,
            facility,
            tag,
        } = &self.destination;
        let is_file = file.is_some();
        let mut line = match style {
            LogStyle::Json => json(text, severity, self.pid, &self.known, more, at),
            LogStyle::Text if is_file => log_line(text, self.pid, &self.zone, at),
            LogStyle::Text => log_text(text),
        };
        if !is_file {
            let time = at.to_zoned(self.zone.clone()).strftime("%b %e %H:%M:%S");
            let head = format!("<{}>{time} ", facility.priority(severity));
            let pid = format!("[{}]: ", self.pid);
            line = [head.as_bytes(), tag, pid.as_bytes(), line.trim_ascii_end()].concat();
        }
        if self.sink.is_none() {
            self.sink = match file {
                Some(file) => open_file(file).ok(),
                None => open_syslog(),
            };
        }
        let written = match &mut self.sink {
            Some(Sink::File(file)) => file.write_all(&line),
            Some(Sink::Syslog(socket)) => socket.send(&line).map(drop),
            None => Ok(()),
        };
        if written.is_err() && !is_file {
            // Its daemon was restarted, perhaps.
            self.sink = open_syslog();
            if let Some(Sink::Syslog(socket)) = &self.sink {
                let _ = socket.send(&line);
            }
        }
    }
}

fn open_file(file: &Path) -> io::Result<Sink> {
    // Others may read it, as rsync has it.
    tree::append_trusted_file(file, 0o644).map(Sink::File)
}

fn open_syslog() -> Option<Sink> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SYSLOG).ok()?;
    // A log that does not take anything must not hold up a transfer.
    socket.set_nonblocking(true).ok()?;
    Some(Sink::Syslog(socket))
}

/// A line with an object.
fn json(
    text: &[u8],
    severity: u8,
    pid: u32,
    known: &[(&'static str, String)],
    more: &[(&str, String)],
    at: Timestamp,
) -> Vec<u8> {
    let level = if severity == INFO { "info" } else { "warning" };
    let mut line = format!("{{\"time\":\"{at:.3}\",\"pid\":{pid},\"level\":\"{level}\"");
    let message = String::from_utf8_lossy(text);
    let known = known.iter().map(|(member, value)| (*member, &**value));
    let more = more.iter().map(|(member, value)| (*member, &**value));
    for (member, value) in known.chain(more).chain([("message", &*message)]) {
        line.push_str(",\"");
        line.push_str(member);
        line.push_str("\":\"");
        value.chars().for_each(|c| push_json(&mut line, c));
        line.push('"');
    }
    line.push_str("}\n");
    line.into_bytes()
}

fn push_json(line: &mut String, c: char) {
    match c {
        '"' | '\\' => line.extend(['\\', c]),
        '\n' => line.push_str("\\n"),
        // Control characters, also those of Latin 1, and what ends a line for JavaScript.
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            line.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
        c => line.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(file: &Path, style: LogStyle) -> Destination {
        Destination {
            file: Some(file.to_owned()),
            style,
            facility: Facility::DAEMON,
            tag: b"rsyncd".to_vec(),
        }
    }

    fn lines(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).expect("written");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_as_rsync_writes_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        let (journal, failed) = Journal::open(to(&file, LogStyle::Text));
        assert!(failed.is_none());
        journal.know("user", b"joe");
        journal.explain("connect\nfrom", "because");
        let [line] = &lines(&file)[..] else {
            panic!("one line");
        };
        let (time, rest) = line.split_at(19);
        assert_eq!(rest, format!(" [{}] connect\\#012from", std::process::id()));
        assert_eq!(time.matches(['/', ':', ' ']).count(), 5, "{time}");
    }

    #[test]
    fn lines_of_json() {
        let at = Timestamp::from_millisecond(1_000_000_000_123).expect("in range");
        let line = json(
            b"a \"b\"\n\xff\x1b",
            WARNING,
            7,
            &[("host", "h".to_owned())],
            &[("reason", "r\u{85}".to_owned())],
            at,
        );
        assert_eq!(
            String::from_utf8(line).expect("UTF-8"),
            "{\"time\":\"2001-09-09T01:46:40.123Z\",\"pid\":7,\"level\":\"warning\",\"host\":\"h\",\"reason\":\"r\\u0085\",\
             \"message\":\"a \\\"b\\\"\\n\u{fffd}\\u001b\"}\n"
        );
    }

    #[test]
    fn another_log_takes_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let (journal, _) = Journal::open(to(&a, LogStyle::Text));
        journal.switch(to(&b, LogStyle::Text)).expect("made");
        journal.clone().note("x");
        assert_eq!((lines(&a).len(), lines(&b).len()), (0, 1));
        assert!(
            journal
                .switch(to(&dir.path().join("none/c"), LogStyle::Text))
                .is_err()
        );
        journal.note("for syslog, if there is one");
        assert_eq!(lines(&b).len(), 1);
    }
}
