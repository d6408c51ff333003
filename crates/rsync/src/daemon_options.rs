//! The options of daemon mode: a table of its own, read when the first of them appears (behaviour.md 1.2.2).

use std::collections::VecDeque;

use crate::given::Family;
use crate::help;
use crate::stop::{Stop, shown};

/// What a daemon was started with.
#[derive(Clone, Debug, Default)]
pub struct DaemonGiven {
    /// The address to bind to.
    pub address: Option<Vec<u8>>,
    /// The limit of all transfers in KiB a second; 0 is none.
    pub bwlimit: u64,
    /// The configuration file is only to be looked at (ours).
    pub check_config: bool,
    /// The configuration file.
    pub config: Option<Vec<u8>>,
    /// Overrides of global parameters, `NAME=VALUE`.
    pub parameters: Vec<Vec<u8>>,
    /// `Some(false)` stays in the foreground.
    pub detach: Option<bool>,
    /// The log file, in place of the configuration's.
    pub log_file: Option<Vec<u8>>,
    /// The format of its lines.
    pub log_file_format: Option<Vec<u8>>,
    /// The port to listen on; 0 is the default.
    pub port: u16,
    /// Socket options.
    pub sockopts: Option<Vec<u8>>,
    /// The newest protocol to speak.
    pub protocol: Option<i32>,
    /// Where temporary files go.
    pub temp_dir: Option<Vec<u8>>,
    /// The file with the certificate for connections over TLS (ours).
    pub tls_cert: Option<Vec<u8>>,
    /// The file with its key (ours).
    pub tls_key: Option<Vec<u8>>,
    /// The port to listen on for TLS; 0 is the default (ours).
    pub tls_port: u16,
    /// The count of `-v`.
    pub verbose: u32,
    /// IPv4 only (`Some(false)`), IPv6 only (`Some(true)`), or both.
    pub ipv6: Option<bool>,
    /// Started by a remote shell, for one connection over standard input and output.
    pub server: bool,
    is_daemon: bool,
}

/// Name, letter, and what its value is called in the help; `brief` is empty where the help is silent.
struct Row {
    long: &'static str,
    short: Option<u8>,
    value: Option<&'static str>,
    brief: &'static str,
    set: fn(&mut DaemonGiven, &[u8]) -> Result<(), Stop>,
}

const fn row(
    long: &'static str,
    short: Option<u8>,
    value: Option<&'static str>,
    brief: &'static str,
    set: fn(&mut DaemonGiven, &[u8]) -> Result<(), Stop>,
) -> Row {
    Row {
        long,
        short,
        value,
        brief,
        set,
    }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("daemon", None, None, "run as an rsync daemon", |given, _| { given.is_daemon = true; Ok(()) }),
    row("address", None, Some("ADDRESS"), "bind to the specified address", |given, value| { given.address = Some(value.to_vec()); Ok(()) }),
    row("bwlimit", None, Some("RATE"), "limit socket I/O bandwidth", |given, value| { given.bwlimit = number(value)?; Ok(()) }),
    row("check-config", None, None, "tell what is wrong with the rsyncd.conf file, and exit", |given, _| { given.check_config = true; Ok(()) }),
    row("config", None, Some("FILE"), "specify alternate rsyncd.conf file", |given, value| { given.config = Some(value.to_vec()); Ok(()) }),
    row("dparam", Some(b'M'), Some("OVERRIDE"), "override global daemon config parameter", add_parameter),
    row("detach", None, None, "", |given, _| { given.detach = Some(true); Ok(()) }),
    row("no-detach", None, None, "do not detach from the parent", |given, _| { given.detach = Some(false); Ok(()) }),
    row("port", None, Some("PORT"), "listen on alternate port number", |given, value| { given.port = number(value)?; Ok(()) }),
    row("log-file", None, Some("FILE"), "override the \"log file\" setting", |given, value| { given.log_file = Some(value.to_vec()); Ok(()) }),
    row("log-file-format", None, Some("FMT"), "override the \"log format\" setting", |given, value| { given.log_file_format = Some(value.to_vec()); Ok(()) }),
    row("protocol", None, Some("NUM"), "", |given, value| { given.protocol = Some(number(value)?); Ok(()) }),
    row("server", None, None, "", |given, _| { given.server = true; Ok(()) }),
    row("sockopts", None, Some("OPTIONS"), "specify custom TCP options", |given, value| { given.sockopts = Some(value.to_vec()); Ok(()) }),
    row("temp-dir", Some(b'T'), Some("DIR"), "", |given, value| { given.temp_dir = Some(value.to_vec()); Ok(()) }),
    row("tls-cert", None, Some("FILE"), "override the \"tls cert\" setting", |given, value| { given.tls_cert = Some(value.to_vec()); Ok(()) }),
    row("tls-key", None, Some("FILE"), "override the \"tls key\" setting", |given, value| { given.tls_key = Some(value.to_vec()); Ok(()) }),
    row("tls-port", None, Some("PORT"), "override the \"tls port\" setting", |given, value| { given.tls_port = number(value)?; Ok(()) }),
    row("verbose", Some(b'v'), None, "increase verbosity", |given, _| { given.verbose += 1; Ok(()) }),
    row("no-verbose", None, None, "", |given, _| { given.verbose = 0; Ok(()) }),
    row("no-v", None, None, "", |given, _| { given.verbose = 0; Ok(()) }),
    row("ipv4", Some(b'4'), None, "prefer IPv4", |given, _| { given.family(Family::V4); Ok(()) }),
    row("ipv6", Some(b'6'), None, "prefer IPv6", |given, _| { given.family(Family::V6); Ok(()) }),
    row("help", Some(b'h'), None, "show this help (when used with --daemon)", |_, _| Err(Stop::Show(usage()))),
];

/// An option of daemon mode that the help shows.
#[derive(Clone, Copy, Debug)]
pub struct DaemonOption {
    /// The long name without dashes.
    pub long: &'static str,
    /// The letter.
    pub short: Option<u8>,
    /// What its value is called, if it has one.
    pub value: Option<&'static str>,
    /// The help's words.
    pub brief: &'static str,
}

impl DaemonGiven {
    /// The options of daemon mode, in the order of their help.
    pub fn options() -> impl Iterator<Item = DaemonOption> {
        let shown = ROWS.iter().filter(|row| !row.brief.is_empty());
        shown.map(|row| DaemonOption {
            long: row.long,
            short: row.short,
            value: row.value,
            brief: row.brief,
        })
    }

    /// Reads a whole command line by the daemon's table.
    pub(crate) fn parse(arguments: &[Vec<u8>]) -> Result<Self, Stop> {
        let mut given = Self::default();
        let mut left: VecDeque<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        while let Some(word) = left.pop_front() {
            match word {
                b"--" => break,
                [b'-', b'-', text @ ..] => given.long(word, text, &mut left)?,
                [b'-', letters @ ..] if !letters.is_empty() => {
                    given.cluster(word, letters, &mut left)?;
                }
                // A server's base directory; the daemon takes no operands.
                _ => {}
            }
        }
        if given.is_daemon {
            Ok(given)
        } else {
            Err(hinted("Daemon option(s) used without --daemon."))
        }
    }

    fn long(&mut self, word: &[u8], text: &[u8], left: &mut VecDeque<&[u8]>) -> Result<(), Stop> {
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        let (name, attached) = (parts.next().unwrap_or_default(), parts.next());
        let row = ROWS
            .iter()
            .find(|row| row.long.as_bytes() == name)
            .ok_or_else(|| fault(word, "unknown option"))?;
        self.set(row, word, attached, left)
    }

    fn cluster(
        &mut self,
        word: &[u8],
        letters: &[u8],
        left: &mut VecDeque<&[u8]>,
    ) -> Result<(), Stop> {
        for (at, &letter) in letters.iter().enumerate() {
            let row = ROWS
                .iter()
                .find(|row| row.short == Some(letter))
                .ok_or_else(|| fault(word, "unknown option"))?;
            let rest = &letters[at + 1..];
            if row.value.is_some() {
                let attached = rest.strip_prefix(b"=").unwrap_or(rest);
                return self.set(row, word, (!rest.is_empty()).then_some(attached), left);
            }
            self.set(row, word, None, left)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        row: &Row,
        word: &[u8],
        attached: Option<&[u8]>,
        left: &mut VecDeque<&[u8]>,
    ) -> Result<(), Stop> {
        let value = match (row.value, attached) {
            (None, Some(_)) => return Err(fault(word, "option does not take an argument")),
            (None, None) => b"",
            (Some(_), Some(value)) => value,
            (Some(_), None) => left
                .pop_front()
                .ok_or_else(|| fault(word, "missing argument"))?,
        };
        (row.set)(self, value)
    }

    fn family(&mut self, family: Family) {
        self.ipv6 = Some(family == Family::V6);
    }
}

fn add_parameter(given: &mut DaemonGiven, value: &[u8]) -> Result<(), Stop> {
    if !value.contains(&b'=') {
        return Err(hinted(&format!(
            "--dparam value is missing an '=': {}",
            shown(value)
        )));
    }
    given.parameters.push(value.to_vec());
    Ok(())
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Result<N, Stop> {
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim_ascii_start().parse().ok());
    number.ok_or_else(|| fault(value, "invalid numeric value"))
}

fn fault(word: &[u8], what: &str) -> Stop {
    hinted(&format!("rsync: {}: {what} (in daemon mode)", shown(word)))
}

fn hinted(text: &str) -> Stop {
    Stop::syntax(format!(
        "{text}\n(Type \"rsync --daemon --help\" for assistance with daemon mode.)"
    ))
}

/// The text of `rsync --daemon --help`.
fn usage() -> String {
    let mut text = help::version();
    text += "\nUsage: rsync --daemon [OPTION]...\n";
    for row in ROWS.iter().filter(|row| !row.brief.is_empty()) {
        let value = row.value.map_or(String::new(), |value| format!("={value}"));
        let letter = row
            .short
            .map_or(String::new(), |letter| format!(", -{}", char::from(letter)));
        text += &help::line(&format!("--{}{value}{letter}", row.long), row.brief);
    }
    text += "
If you were not trying to invoke rsync as a daemon, avoid using any of the
daemon-specific rsync options.  See also the rsyncd.conf(5) manpage.
";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<DaemonGiven, Stop> {
        let arguments: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        DaemonGiven::parse(&arguments)
    }

    #[test]
    fn the_daemons_options_are_read() {
        let given = parse("--daemon --no-detach -vMa=b --port 8730 --config=x").expect("legal");
        assert_eq!(
            (given.detach, given.verbose, given.port),
            (Some(false), 1, 8730)
        );
        assert_eq!(given.parameters, [b"a=b"]);
        assert_eq!(given.config.as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn faults_are_told_in_rsyncs_words() {
        const HINT: &str = "\n(Type \"rsync --daemon --help\" for assistance with daemon mode.)";
        for (line, told) in [
            ("--daemon -a", "rsync: -a: unknown option (in daemon mode)"),
            ("--config=x s d", "Daemon option(s) used without --daemon."),
            ("--daemon --dparam=x", "--dparam value is missing an '=': x"),
        ] {
            assert_eq!(
                parse(line).expect_err(line),
                Stop::syntax(format!("{told}{HINT}"))
            );
        }
    }
}
