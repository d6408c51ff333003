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

const DEFAULT_SETTLE: Duration = Duration::from_millis(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the arguments, and the files they name.
pub(super) fn parse(arguments: Vec<OsString>) -> anyhow::Result<Asked> {
    let mut places: Vec<OsString> = Vec::new();
    let mut rules = Vec::new();
    let (mut deletes, mut once, mut allow_empty_source, mut verbose) = (true, false, false, false);
    let (mut settle, mut timeout, mut max_watches) = (DEFAULT_SETTLE, DEFAULT_TIMEOUT, None);
    let mut protocol = Protocol::LATEST;
    let mut password_file: Option<PathBuf> = None;
    let (mut state, mut control): (Option<PathBuf>, Option<PathBuf>) = (None, None);
    let mut brake = BrakeLimits::default();
    let (mut verify, mut trash) = (Verify::default(), None::<String>);
    let (mut shell, mut rsync) = (Vec::new(), None::<String>);
    let (mut status, mut status_token) = (None::<String>, None::<PathBuf>);
    let mut log = None;
    let (mut config, mut check) = (None::<PathBuf>, false);
    let (mut encrypts, mut authorities) = (false, None::<PathBuf>);
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("once") => once = true,
            Arg::Long("exclude") => rules.push(FilterRule::Exclude(parser.value()?.into_vec())),
            Arg::Long("include") => rules.push(FilterRule::Include(parser.value()?.into_vec())),
            Arg::Long("filter") | Arg::Short('f') => {
                rules.push(FilterRule::Filter(parser.value()?.into_vec()));
            }
            Arg::Long("no-delete") => deletes = false,
            Arg::Long("password-file") => password_file = Some(parser.value()?.into()),
            Arg::Long("tls") => encrypts = true,
            Arg::Long("tls-ca") => authorities = Some(parser.value()?.into()),
            Arg::Long("state") => state = Some(parser.value()?.into()),
            Arg::Long("settle") => settle = Duration::from_millis(number(&mut parser, "--settle")?),
            Arg::Long("timeout") => {
                timeout = Duration::from_secs(number(&mut parser, "--timeout")?);
            }
            Arg::Long("protocol") => {
                protocol = protocol_version(number(&mut parser, "--protocol")?)?;
            }
            Arg::Long("max-watches") => max_watches = Some(number(&mut parser, "--max-watches")?),
            Arg::Long("allow-empty-source") => allow_empty_source = true,
            Arg::Long("max-delete-share") => {
                let percent = number(&mut parser, "--max-delete-share")?;
                brake.percent = u8::try_from(percent)
                    .ok()
                    .filter(|percent| *percent <= 100)
                    .with_context(|| format!("--max-delete-share takes 0 to 100, not {percent}"))?;
            }
            Arg::Long("verify") => verify.at_start = true,
            Arg::Long("verify-rate") => {
                let text = parser.value()?.string()?;
                let rate = mirror::config::rate(&text);
                verify.rate =
                    Some(rate.with_context(|| format!("--verify-rate: {text:?} is no rate"))?);
            }
            Arg::Long("trash") => trash = Some(parser.value()?.string()?),
            Arg::Long("rsh") | Arg::Short('e') => {
                let command = parser.value()?.string()?;
                shell = command.split_whitespace().map(str::to_owned).collect();
            }
            Arg::Long("rsync-path") => rsync = Some(parser.value()?.string()?),
            Arg::Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Arg::Long("check-config") => check = true,
            Arg::Long("status") => status = Some(parser.value()?.string()?),
            Arg::Long("status-token") => status_token = Some(parser.value()?.into()),
            Arg::Long("log") => log = Some(log_format(&parser.value()?)?),
            Arg::Long("control") => control = Some(parser.value()?.into()),
            Arg::Long("verbose") | Arg::Short('v') => verbose = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Value(place) => places.push(place),
            Arg::Long(_) | Arg::Short(_) => return Err(argument.unexpected().into()),
        }
    }
    let shown = Shown {
        page: page(status.as_deref(), status_token.as_deref())?,
        log,
    };
    if let Some(path) = config {
        if !places.is_empty() {
            bail!("--config names everything: give no SRC and DEST beside it");
        }
        let file = ConfigFile {
            path,
            form: Form::Toml,
            once,
            verify: verify.at_start,
            shown,
        };
        let said = file.read()?;
        return Ok(Asked::Mirror(Box::new(MirrorArguments {
            settings: said.settings,
            shown: said.shown,
            file: Some(file),
            check,
            verbose,
        })));
    }
    if check {
        bail!("--check-config needs --config FILE");
    }
    if let Some(trash) = &trash {
        mirror::config::check_trash(trash).map_err(anyhow::Error::msg)?;
    }
    let mut places = places.into_iter();
    let source = PathBuf::from(places.next().context("the source is missing")?);
    let replicas = places
        .map(|place| destination(&place, &shell, rsync.as_deref(), encrypts))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if replicas.is_empty() {
        bail!("the destination is missing");
    }
    let state = match state {
        Some(path) if path == Path::new(":memory:") => None,
        Some(path) => Some(path),
        None => Some(state::default_file(&source, &replicas)?),
    };
    let control = match control {
        Some(path) if path == Path::new("none") => None,
        Some(path) => Some(path),
        None => state.as_deref().map(socket_path),
    };
    let password = match &password_file {
        Some(path) => Some(mirror::password_from(path)?),
        None => configuration::password(),
    };
    let credentials = Credentials {
        user: configuration::user(),
        password,
    };
    let tls = encryption(encrypts, authorities.as_deref(), &replicas)?;
    let replica = |place: Place| ReplicaSettings {
        tls: tls.clone().filter(|_| matches!(place, Place::Daemon(_))),
        deletes,
        credentials: credentials.clone(),
        timeout,
        protocol,
        trash: trash.clone(),
        ..ReplicaSettings::at(place)
    };
    let settings = Settings {
        name: source.display().to_string(),
        replicas: replicas.into_iter().map(replica).collect(),
        source,
        rules,
        settle,
        state,
        control,
        once,
        allow_empty_source,
        brake,
        max_watches,
        rescan: None,
        verify,
        failures: None,
        hooks: Vec::new(),
    };
    Ok(Asked::Mirror(Box::new(MirrorArguments {
        settings: vec![settings],
        shown,
        file: None,
        check,
        verbose,
    })))
}

fn number(parser: &mut Parser, option: &str) -> anyhow::Result<u64> {
    let value = parser.value()?;
    value
        .parse()
        .with_context(|| format!("{option} takes a whole number, not {}", value.display()))
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
