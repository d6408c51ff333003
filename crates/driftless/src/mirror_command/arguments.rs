//! The arguments of `driftless mirror`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use mirror::config::LogFormat;
use mirror::control::socket_path;
use mirror::{
    BrakeLimits, FilterRule, PageSettings, Place, Protocol, ReplicaSettings, Settings, Tls, Verify,
};
use transfer::Credentials;

use crate::configuration::{self, ConfigFile, Form, Shown};
use crate::state;

/// What `--help` prints.
pub(super) const HELP: &str = "\
Mirrors a directory in real time: a first copy, then every change.

Usage: driftless mirror [OPTION...] SRC DEST...
       driftless mirror --config FILE [--check-config] [--once] [--verify] [-v]

SRC is a directory. Each DEST is a local path, [USER@]HOST::MODULE[/PATH],
rsync://[USER@]HOST[:PORT]/MODULE[/PATH] or [USER@]HOST:PATH (over ssh, with rsync at the far end);
the content of SRC becomes the content of DEST.

Options:
      --once                  bring everything over and exit, without watching
      --exclude PATTERN       leave out what matches (rsync's patterns)
      --include PATTERN       do not leave out what matches
      --filter RULE, -f RULE  add a rule of rsync's filter language
      --no-delete             keep in the replicas what the source no longer has
      --password-file FILE    the password for daemons (first line; - is standard input);
                              without it, RSYNC_PASSWORD
      --tls                   talk to daemons over TLS (port 874), and only if their certificate is
                              for the host named and vouched for
      --tls-ca FILE           with --tls, believe the certificates in FILE (PEM), not the system's
      --state FILE            where to keep what each replica is known to hold (:memory: forgets it)
      --settle MS             wait so long after a change for what comes with it (10)
      --timeout S             give a daemon up that makes no progress for so long (60; 0 never)
      --protocol N            speak no newer protocol with daemons (30 to 32)
      --sessions N            bring large batches over in so many sessions at once (2, at most 16)
      --max-watches N         watch so many directories at most, poll the others
      --allow-empty-source    mirror SRC even if it is empty and a replica is not
      --max-delete-share P    more than P percent of a replica's files (and 1000) are deleted only
                              after driftless approve (50; 100 never asks)
      --control FILE          the socket for commands (beside the state file; none for no socket)
      --status ADDR           serve a page, JSON and metrics of how everything is at HOST:PORT, or at
                              a port of this machine alone
      --status-token FILE     the token that the page asks for; needed where other machines reach it
      --log FORMAT            text, or json for an object a line
      --verify                compare the replicas themselves, by content, once they are in step
      --verify-rate RATE      compare at most so many bytes a second (k, M, G)
      --trash DIR             keep in DIR of the replica, by days, what is overwritten or deleted
  -z, --compress              compress what is sent to daemons and through shells
      --bandwidth RATE        send at most so many bytes a second there (k, M, G)
  -e, --rsh COMMAND           the command that leads to HOST (ssh -o BatchMode=yes)
      --rsync-path PROGRAM    the rsync at the far end (rsync)
      --config FILE           mirror what FILE (TOML) says; SIGHUP reads it again
      --check-config          say whether FILE is in order, and end
  -v, --verbose               print a line for each session
  -h, --help                  print this

SIGINT and SIGTERM end the mirror with exit code 0 and leave nothing half-written.
";

/// What the command line asks for.
pub(super) enum Asked {
    Help,
    Mirror(Box<MirrorArguments>),
}

/// Mirrors, and how much of them to print.
pub(super) struct MirrorArguments {
    pub(super) settings: Vec<Settings>,
    /// The file they come from.
    pub(super) file: Option<ConfigFile>,
    /// Only look for mistakes.
    pub(super) check: bool,
    pub(super) verbose: bool,
    pub(super) shown: Shown,
}

/// Reads the arguments, and the files they name.
pub(super) fn parse(arguments: Vec<OsString>) -> anyhow::Result<Asked> {
    let Some(mut given) = Given::read(arguments)? else {
        return Ok(Asked::Help);
    };
    let mirrors = match given.config.take() {
        Some(path) => given.of_file(path)?,
        None => given.of_command_line()?,
    };
    Ok(Asked::Mirror(Box::new(mirrors)))
}

/// What the command line says, before any of it is looked at beside the rest.
#[derive(PartialEq)]
struct Given {
    places: Vec<OsString>,
    rules: Vec<FilterRule>,
    deletes: bool,
    once: bool,
    allow_empty_source: bool,
    brake: BrakeLimits,
    settle: Duration,
    timeout: Duration,
    protocol: Protocol,
    sessions: usize,
    max_watches: Option<u64>,
    verify: Verify,
    trash: Option<String>,
    compress: bool,
    bandwidth: Option<u64>,
    shell: Vec<String>,
    rsync: Option<String>,
    password_file: Option<PathBuf>,
    tls: bool,
    tls_ca: Option<PathBuf>,
    state: Option<PathBuf>,
    control: Option<PathBuf>,
    status: Option<String>,
    status_token: Option<PathBuf>,
    log: Option<LogFormat>,
    config: Option<PathBuf>,
    check: bool,
    verbose: bool,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            rules: Vec::new(),
            deletes: true,
            once: false,
            allow_empty_source: false,
            brake: BrakeLimits::default(),
            settle: Duration::from_millis(10),
            timeout: Duration::from_secs(60),
            protocol: Protocol::LATEST,
            sessions: mirror::SESSIONS,
            max_watches: None,
            verify: Verify::default(),
            trash: None,
            compress: false,
            bandwidth: None,
            shell: Vec::new(),
            rsync: None,
            password_file: None,
            tls: false,
            tls_ca: None,
            state: None,
            control: None,
            status: None,
            status_token: None,
            log: None,
            config: None,
            check: false,
            verbose: false,
        }
    }
}

impl Given {
    /// `None` asks for help.
    fn read(arguments: Vec<OsString>) -> anyhow::Result<Option<Self>> {
        let mut given = Self::default();
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("once") => given.once = true,
                Arg::Long("exclude") => {
                    let pattern = parser.value()?.into_vec();
                    given.rules.push(FilterRule::Exclude(pattern));
                }
                Arg::Long("include") => {
                    let pattern = parser.value()?.into_vec();
                    given.rules.push(FilterRule::Include(pattern));
                }
                Arg::Long("filter") | Arg::Short('f') => {
                    let rule = parser.value()?.into_vec();
                    given.rules.push(FilterRule::Filter(rule));
                }
                Arg::Long("no-delete") => given.deletes = false,
                Arg::Long("password-file") => given.password_file = Some(parser.value()?.into()),
                Arg::Long("tls") => given.tls = true,
                Arg::Long("tls-ca") => given.tls_ca = Some(parser.value()?.into()),
                Arg::Long("state") => given.state = Some(parser.value()?.into()),
                Arg::Long("settle") => {
                    given.settle = Duration::from_millis(number(&mut parser, "--settle")?);
                }
                Arg::Long("timeout") => {
                    given.timeout = Duration::from_secs(number(&mut parser, "--timeout")?);
                }
                Arg::Long("protocol") => {
                    given.protocol = protocol_version(number(&mut parser, "--protocol")?)?;
                }
                Arg::Long("sessions") => {
                    given.sessions =
                        mirror::config::check_sessions(number(&mut parser, "--sessions")?)
                            .map_err(anyhow::Error::msg)?;
                }
                Arg::Long("max-watches") => {
                    given.max_watches = Some(number(&mut parser, "--max-watches")?);
                }
                Arg::Long("allow-empty-source") => given.allow_empty_source = true,
                Arg::Long("max-delete-share") => {
                    given.brake.percent = percent(number(&mut parser, "--max-delete-share")?)?;
                }
                Arg::Long("verify") => given.verify.at_start = true,
                Arg::Long("verify-rate") => {
                    given.verify.rate = Some(rate(&mut parser, "--verify-rate")?);
                }
                Arg::Long("compress") | Arg::Short('z') => given.compress = true,
                Arg::Long("bandwidth") => {
                    given.bandwidth = Some(rate(&mut parser, "--bandwidth")?);
                }
                Arg::Long("trash") => given.trash = Some(parser.value()?.string()?),
                Arg::Long("rsh") | Arg::Short('e') => {
                    let command = parser.value()?.string()?;
                    given.shell = command.split_whitespace().map(str::to_owned).collect();
                }
                Arg::Long("rsync-path") => given.rsync = Some(parser.value()?.string()?),
                Arg::Long("config") => given.config = Some(parser.value()?.into()),
                Arg::Long("check-config") => given.check = true,
                Arg::Long("status") => given.status = Some(parser.value()?.string()?),
                Arg::Long("status-token") => given.status_token = Some(parser.value()?.into()),
                Arg::Long("log") => given.log = Some(log_format(&parser.value()?)?),
                Arg::Long("control") => given.control = Some(parser.value()?.into()),
                Arg::Long("verbose") | Arg::Short('v') => given.verbose = true,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(place) => given.places.push(place),
                Arg::Long(_) | Arg::Short(_) => return Err(argument.unexpected().into()),
            }
        }
        Ok(Some(given))
    }

    /// The mirrors that the file of `--config` describes.
    fn of_file(self, path: PathBuf) -> anyhow::Result<MirrorArguments> {
        let shown = self.shown()?;
        if !self.places.is_empty() {
            bail!("--config names everything: give no SRC and DEST beside it");
        }
        let beside = Self {
            once: self.once,
            verify: Verify {
                at_start: self.verify.at_start,
                ..Verify::default()
            },
            status: self.status.clone(),
            status_token: self.status_token.clone(),
            log: self.log,
            check: self.check,
            verbose: self.verbose,
            ..Self::default()
        };
        if self != beside {
            bail!(
                "--config names everything: beside it go --check-config, --once, --verify, --status, --status-token, --log and -v only"
            );
        }
        let file = ConfigFile {
            path,
            form: Form::Toml,
            once: self.once,
            verify: self.verify.at_start,
            shown,
        };
        let read = file.read()?;
        Ok(MirrorArguments {
            settings: read.settings,
            shown: read.shown,
            file: Some(file),
            check: self.check,
            verbose: self.verbose,
        })
    }

    /// The one mirror that the command line describes.
    fn of_command_line(self) -> anyhow::Result<MirrorArguments> {
        let shown = self.shown()?;
        if self.check {
            bail!("--check-config needs --config FILE");
        }
        if let Some(trash) = &self.trash {
            mirror::config::check_trash(trash).map_err(anyhow::Error::msg)?;
        }
        let (source, places) = self.places()?;
        let state = match &self.state {
            Some(path) if path == Path::new(":memory:") => None,
            Some(path) => Some(path.clone()),
            None => Some(state::default_file(&source, &places)?),
        };
        let control = match &self.control {
            Some(path) if path == Path::new("none") => None,
            Some(path) => Some(path.clone()),
            None => state.as_deref().map(socket_path),
        };
        let settings = Settings {
            name: source.display().to_string(),
            replicas: self.replicas(places)?,
            source,
            rules: self.rules,
            settle: self.settle,
            state,
            control,
            once: self.once,
            allow_empty_source: self.allow_empty_source,
            brake: self.brake,
            max_watches: self.max_watches,
            rescan: None,
            verify: self.verify,
            failures: None,
            hooks: Vec::new(),
        };
        Ok(MirrorArguments {
            settings: vec![settings],
            shown,
            file: None,
            check: false,
            verbose: self.verbose,
        })
    }

    fn shown(&self) -> anyhow::Result<Shown> {
        Ok(Shown {
            page: page(self.status.as_deref(), self.status_token.as_deref())?,
            log: self.log,
        })
    }

    /// The source, and where its replicas are.
    fn places(&self) -> anyhow::Result<(PathBuf, Vec<Place>)> {
        let (source, destinations) = self.places.split_first().context("the source is missing")?;
        let places = destinations
            .iter()
            .map(|place| destination(place, &self.shell, self.rsync.as_deref(), self.tls))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if places.is_empty() {
            bail!("the destination is missing");
        }
        Ok((source.into(), places))
    }

    fn replicas(&self, places: Vec<Place>) -> anyhow::Result<Vec<ReplicaSettings>> {
        let password = match &self.password_file {
            Some(path) => Some(mirror::password_from(path)?),
            None => configuration::password(),
        };
        let credentials = Credentials {
            user: configuration::user(),
            password,
        };
        let tls = encryption(self.tls, self.tls_ca.as_deref(), &places)?;
        let replica = |place: Place| ReplicaSettings {
            tls: tls.clone().filter(|_| matches!(place, Place::Daemon(_))),
            deletes: self.deletes,
            credentials: credentials.clone(),
            timeout: self.timeout,
            protocol: self.protocol,
            trash: self.trash.clone(),
            compress: self.compress,
            bandwidth: self.bandwidth,
            sessions: self.sessions,
            ..ReplicaSettings::at(place)
        };
        Ok(places.into_iter().map(replica).collect())
    }
}

fn rate(parser: &mut Parser, option: &str) -> anyhow::Result<u64> {
    let text = parser.value()?.string()?;
    mirror::config::rate(&text).with_context(|| format!("{option}: {text:?} is no rate"))
}

fn number(parser: &mut Parser, option: &str) -> anyhow::Result<u64> {
    let value = parser.value()?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.with_context(|| format!("{option} takes a whole number, not {}", value.display()))
}

fn percent(number: u64) -> anyhow::Result<u8> {
    u8::try_from(number)
        .ok()
        .filter(|percent| *percent <= 100)
        .with_context(|| format!("--max-delete-share takes 0 to 100, not {number}"))
}

/// The status page that the options ask for.
fn page(address: Option<&str>, token: Option<&Path>) -> anyhow::Result<Option<PageSettings>> {
    let token = token.map(mirror::password_from).transpose()?;
    match address {
        Some(address) => {
            let settings = PageSettings::new(address, token).map_err(anyhow::Error::msg);
            Ok(Some(settings.context("--status")?))
        }
        None if token.is_some() => bail!("--status-token needs --status ADDR"),
        None => Ok(None),
    }
}

fn log_format(name: &OsStr) -> anyhow::Result<LogFormat> {
    match name.to_str() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        _ => bail!("--log takes text or json, not {}", name.display()),
    }
}

/// The mirror's sessions need what came with protocol 30.
fn protocol_version(number: u64) -> anyhow::Result<Protocol> {
    let version = u8::try_from(number).ok().and_then(Protocol::new);
    version
        .filter(|version| version.has_compat_flags())
        .with_context(|| format!("--protocol takes 30 to {}, not {number}", Protocol::LATEST))
}

fn destination(
    place: &OsStr,
    shell: &[String],
    rsync: Option<&str>,
    is_encrypted: bool,
) -> anyhow::Result<Place> {
    match place.to_str() {
        None => Ok(Place::Directory(place.into())),
        Some(text) => Ok(Place::parse(text, shell, rsync, is_encrypted)?),
    }
}

/// What `--tls` and `--tls-ca` mean for the daemons among the replicas.
fn encryption(
    encrypts: bool,
    authorities: Option<&Path>,
    replicas: &[Place],
) -> anyhow::Result<Option<Tls>> {
    if !encrypts {
        return match authorities {
            Some(_) => bail!("--tls-ca needs --tls"),
            None => Ok(None),
        };
    }
    if !replicas
        .iter()
        .any(|place| matches!(place, Place::Daemon(_)))
    {
        bail!("--tls is for daemons (HOST::MODULE), and no destination is one");
    }
    match authorities {
        Some(path) => Ok(Some(Tls::believing(path)?)),
        None => Ok(Some(Tls::default())),
    }
}
