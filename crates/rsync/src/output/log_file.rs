//! The log file of a client, or of a server that it has asked for one (behaviour.md 3.11).

use std::fs::File;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::escape::Passes;

/// What takes the lines of a log.
pub trait Log: Send + std::fmt::Debug {
    /// One line without its end, which may hold any bytes.
    fn line(&mut self, text: &[u8], is_error: bool, at: Timestamp);
}

/// A line as it stands in a log file, with its end: `2026/11/22 12:16:45 [PID] text`.
#[must_use]
pub fn log_line(text: &[u8], pid: u32, zone: &TimeZone, at: Timestamp) -> Vec<u8> {
    let time = at.to_zoned(zone.clone()).strftime("%Y/%m/%d %H:%M:%S");
    let mut line = format!("{time} [{pid}] ").into_bytes();
    line.extend(log_text(text));
    line.push(b'\n');
    line
}

/// A message with all bytes written in octal that may do something to who reads a log.
#[must_use]
pub fn log_text(text: &[u8]) -> Vec<u8> {
    Passes::Log.escape(text)
}

/// A log file that lines are appended to.
#[derive(Debug)]
pub(crate) struct LogFile<W = File> {
    file: W,
    pid: u32,
    zone: TimeZone,
}

impl<W> LogFile<W> {
    pub(crate) fn new(file: W, pid: u32, zone: TimeZone) -> Self {
        Self { file, pid, zone }
    }
}

impl<W: Write + Send + std::fmt::Debug> Log for LogFile<W> {
    /// One line, with the time and the process.
    fn line(&mut self, text: &[u8], _is_error: bool, at: Timestamp) {
        let line = log_line(text, self.pid, &self.zone, at);
        // A log that cannot be written must not stop the transfer it tells of.
        let _ = self.file.write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_and_process() {
        let mut log = LogFile::new(Vec::new(), 7, TimeZone::UTC);
        log.line(
            b">f+++++++++ a\nb",
            false,
            Timestamp::from_second(1_000_000_000).expect("in range"),
        );
        assert_eq!(log.file, b"2001/09/09 01:46:40 [7] >f+++++++++ a\\#012b\n");
    }
}
