//! The arguments of `driftless mirror`.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use mirror::control::socket_path;
use mirror::{BrakeLimits, FilterRule, Place, Protocol, ReplicaSettings, Settings};
use transfer::Credentials;

use crate::state;

/// What `--help` prints.
pub(super) const HELP: &str = "\
Mirrors a directory in real time: a first copy, then every change.

Usage: driftless mirror [OPTION...] SRC DEST...

SRC is a directory. Each DEST is a local path, [USER@]HOST::MODULE[/PATH] or
rsync://[USER@]HOST[:PORT]/MODULE[/PATH]; the content of SRC becomes the content of DEST.

Options:
      --once                  bring everything over and exit, without watching
      --exclude PATTERN       leave out what matches (rsync's patterns)
      --include PATTERN       do not leave out what matches
      --filter RULE, -f RULE  add a rule of rsync's filter language
      --no-delete             keep in the replicas what the source no longer has
      --password-file FILE    the password for daemons (first line; - is standard input);
                              without it, RSYNC_PASSWORD
      --state FILE            where to keep what each replica is known to hold (:memory: forgets it)
      --settle MS             wait so long after a change for what comes with it (10)
      --timeout S             give a daemon up that makes no progress for so long (60; 0 never)
      --protocol N            speak no newer protocol with daemons (30 to 32)
      --max-watches N         watch so many directories at most, poll the others
      --allow-empty-source    mirror SRC even if it is empty and a replica is not
      --max-delete-share P    more than P percent of a replica's files (and 1000) are deleted only
                              after driftless approve (50; 100 never asks)
      --control FILE          the socket for commands (beside the state file; none for no socket)
  -v, --verbose               print a line for each session
  -h, --help                  print this

SIGINT and SIGTERM end the mirror with exit code 0 and leave nothing half-written.
";

/// What the command line asks for.
pub(super) enum Asked {
    Help,
    Mirror(Box<MirrorArguments>),
}

/// A mirror, and how much of it to print.
pub(super) struct MirrorArguments {
    pub(super) settings: Settings,
    pub(super) verbose: bool,
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
            Arg::Long("control") => control = Some(parser.value()?.into()),
            Arg::Long("verbose") | Arg::Short('v') => verbose = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Value(place) => places.push(place),
            Arg::Long(_) | Arg::Short(_) => return Err(argument.unexpected().into()),
        }
    }
    let mut places = places.into_iter();
    let source = PathBuf::from(places.next().context("the source is missing")?);
    let replicas = places
        .map(|place| destination(&place))
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
    let credentials = credentials(password_file.as_deref())?;
    let replica = |place: Place| ReplicaSettings {
        deletes,
        credentials: credentials.clone(),
        timeout,
        protocol,
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
    };
    Ok(Asked::Mirror(Box::new(MirrorArguments {
        settings,
        verbose,
    })))
}

fn number(parser: &mut Parser, option: &str) -> anyhow::Result<u64> {
    let value = parser.value()?;
    value
        .parse()
        .with_context(|| format!("{option} takes a whole number, not {}", value.display()))
}

/// The mirror's sessions need what came with protocol 30.
fn protocol_version(number: u64) -> anyhow::Result<Protocol> {
    let version = u8::try_from(number).ok().and_then(Protocol::new);
    version
        .filter(|version| version.has_compat_flags())
        .with_context(|| format!("--protocol takes 30 to {}, not {number}", Protocol::LATEST))
}

fn destination(place: &OsStr) -> anyhow::Result<Place> {
    let Some(text) = place.to_str() else {
        return Ok(Place::Directory(place.into()));
    };
    if text.is_empty() {
        bail!("a destination is empty");
    }
    let head = text.split('/').next().unwrap_or_default();
    let host_end = head.rfind(']').map_or(0, |at| at + 1);
    if head[host_end..].contains(':') && !head[host_end..].contains("::") && !text.contains("://") {
        bail!(
            "{text}: destinations behind a remote shell are not supported; use a daemon (HOST::MODULE) or, for a local name with a colon, ./{text}"
        );
    }
    Ok(text.parse()?)
}

/// The user is the login name, as in rsync; the password is asked for only when a daemon wants one.
fn credentials(password_file: Option<&Path>) -> anyhow::Result<Credentials> {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let password = match password_file {
        Some(path) => Some(password_from(path)?),
        None => std::env::var_os("RSYNC_PASSWORD").map(|password| password.as_bytes().to_vec()),
    };
    Ok(Credentials {
        user: user.unwrap_or_else(|| "nobody".to_owned()),
        password,
    })
}

/// The first line of a password file, with the conditions rsync makes (wire-session.md 7.7).
fn password_from(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut text)
            .context("cannot read the password")?;
    } else {
        let mut file = std::fs::File::open(path)
            .with_context(|| format!("could not open password file {}", path.display()))?;
        let meta = file.metadata()?;
        if meta.mode() & 0o007 != 0 {
            bail!(
                "password file {} must not be other-accessible (chmod o= it)",
                path.display()
            );
        }
        if rustix::process::geteuid().is_root() && meta.uid() != 0 {
            bail!(
                "password file {} must be owned by root when running as root",
                path.display()
            );
        }
        file.read_to_end(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    let line = text
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    if line.is_empty() {
        bail!("failed to read a password from {}", path.display());
    }
    Ok(line.to_vec())
}
