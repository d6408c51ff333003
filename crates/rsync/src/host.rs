//! Where operands lead: local paths, hosts behind a remote shell, daemons (behaviour.md 1.8, wire-session.md 1.4).

use crate::exit::Exit;
use crate::stop::{Stop, shown};

/// One operand, or the value of `--files-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    Local(Vec<u8>),
    Remote { host: Host, path: Vec<u8> },
}

/// Another machine and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// The user's name there.
    pub user: Option<Vec<u8>>,
    /// The name or address; an IPv6 address has no brackets any more.
    pub name: Vec<u8>,
    /// How it is reached.
    pub access: Access,
}

/// How a machine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Through a remote shell.
    Shell,
    /// A daemon; 0 is the default port.
    Daemon {
        /// The port of an URL.
        port: u16,
    },
}

/// What the operands come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// From this machine to this machine; no destination is a listing.
    Local {
        /// What is copied.
        sources: Vec<Vec<u8>>,
        /// Where to.
        destination: Option<Vec<u8>>,
    },
    /// To another machine.
    Push {
        /// The machine.
        host: Host,
        /// What is copied.
        sources: Vec<Vec<u8>>,
        /// The path there.
        destination: Vec<u8>,
    },
    /// From another machine; no destination is a listing.
    Pull {
        /// The machine.
        host: Host,
        /// The paths there.
        sources: Vec<Vec<u8>>,
        /// Where to.
        destination: Option<Vec<u8>>,
    },
}

impl Route {
    /// The other machine.
    pub(crate) fn host(&self) -> Option<&Host> {
        match self {
            Self::Local { .. } => None,
            Self::Push { host, .. } | Self::Pull { host, .. } => Some(host),
        }
    }

    /// Whether this side receives over the wire.
    pub(crate) fn is_pull(&self) -> bool {
        matches!(self, Self::Pull { .. })
    }

    /// No destination: the sources are only listed.
    pub(crate) fn is_listing(&self) -> bool {
        matches!(
            self,
            Self::Local {
                destination: None,
                ..
            } | Self::Pull {
                destination: None,
                ..
            }
        )
    }
}

impl Spec {
    /// Reads one operand.
    pub(crate) fn parse(operand: &[u8]) -> Self {
        const SCHEME: &[u8] = b"rsync://";
        if let Some((scheme, rest)) = operand.split_at_checked(SCHEME.len())
            && scheme.eq_ignore_ascii_case(SCHEME)
        {
            return Self::url(rest);
        }
        let local = || Self::Local(operand.to_vec());
        let Some((authority, after)) = split_host(operand) else {
            return local();
        };
        let (user, name) = split_user(authority);
        let (access, path) = match after.strip_prefix(b":") {
            Some(path) => (Access::Daemon { port: 0 }, path),
            None => (Access::Shell, after),
        };
        Self::Remote {
            host: Host { user, name, access },
            path: path.to_vec(),
        }
    }

    fn url(rest: &[u8]) -> Self {
        let end = rest
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(rest.len());
        let path = rest.get(end + 1..).unwrap_or_default().to_vec();
        let (user, host_port) = match rest[..end].iter().position(|&byte| byte == b'@') {
            Some(at) => (Some(rest[..at].to_vec()), &rest[at + 1..end]),
            None => (None, &rest[..end]),
        };
        let name_end = match host_port.first() {
            Some(b'[') => host_port
                .iter()
                .position(|&byte| byte == b']')
                .map_or(0, |at| at + 1),
            _ => 0,
        };
        let colon = host_port[name_end..]
            .iter()
            .position(|&byte| byte == b':')
            .map(|at| at + name_end);
        let (name, port) = match colon {
            Some(at) => (&host_port[..at], &host_port[at + 1..]),
            None => (host_port, &b""[..]),
        };
        let port = std::str::from_utf8(port)
            .ok()
            .and_then(|port| port.parse().ok())
            .unwrap_or(0);
        Self::Remote {
            host: Host {
                user,
                name: unbracketed(name),
                access: Access::Daemon { port },
            },
            path,
        }
    }
}

/// Splits at the first colon before any slash; a host in brackets may hold colons.
fn split_host(operand: &[u8]) -> Option<(&[u8], &[u8])> {
    let user_end = operand
        .iter()
        .position(|&byte| byte == b'@')
        .map_or(0, |at| at + 1);
    let starts = [0, user_end];
    let bracketed = starts
        .into_iter()
        .find(|&start| operand[start..].starts_with(b"["));
    let colon = match bracketed {
        Some(start) => {
            let close = operand
                .windows(2)
                .skip(start)
                .position(|pair| pair == b"]:")?
                + start;
            close + 1
        }
        None => operand
            .iter()
            .position(|byte| b":/".contains(byte))
            .filter(|&at| operand[at] == b':')?,
    };
    (!operand[..colon].contains(&b'/')).then(|| (&operand[..colon], &operand[colon + 1..]))
}

fn split_user(authority: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
    match authority.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (
            Some(authority[..at].to_vec()),
            unbracketed(&authority[at + 1..]),
        ),
        None => (None, unbracketed(authority)),
    }
}

fn unbracketed(name: &[u8]) -> Vec<u8> {
    name.strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"))
        .unwrap_or(name)
        .to_vec()
}

/// Decides what the operands mean. There is at least one.
///
/// # Errors
/// rsync's words for operands that do not go together.
pub(crate) fn route(
    operands: &[Vec<u8>],
    old_args: bool,
    reads_batch: bool,
) -> Result<Route, Stop> {
    let Some((first, rest)) = operands.split_first() else {
        return Err(Stop::Usage);
    };
    let last = rest.last();
    let (destination, is_nobodys) = match last.map(|last| Spec::parse(last)) {
        // The same machine as nobody's: a local path after all.
        Some(Spec::Remote { host, path }) if host.name.is_empty() => {
            (Some(Spec::Local(path)), true)
        }
        other => (other, false),
    };
    match (Spec::parse(first), destination) {
        (Spec::Remote { .. }, Some(Spec::Remote { .. })) => Err(Stop::syntax(
            "The source and destination cannot both be remote.",
        )),
        _ if reads_batch => batch_route(operands),
        (Spec::Remote { host, path }, destination) => {
            // Nobody's machine is that of the first source too, and so this is one more source.
            let more = match is_nobodys {
                true => rest,
                false => &rest[..rest.len().saturating_sub(1)],
            };
            let destination = match destination {
                Some(Spec::Local(path)) => Some(local_destination(path, old_args)?),
                _ => None,
            };
            let sources = remote_sources(&host, path, more)?;
            check_host(&host, &sources)?;
            Ok(Route::Pull {
                host,
                sources,
                destination,
            })
        }
        (Spec::Local(_), None) => Ok(Route::Local {
            sources: local_sources(operands)?,
            destination: None,
        }),
        (Spec::Local(_), Some(Spec::Remote { host, path })) => {
            check_host(&host, std::slice::from_ref(&path))?;
            let sources = local_sources(&operands[..operands.len() - 1])?;
            let destination = remote_path(&host, path);
            Ok(Route::Push {
                host,
                sources,
                destination,
            })
        }
        (Spec::Local(_), Some(Spec::Local(path))) => {
            let sources = local_sources(&operands[..operands.len() - 1])?;
            Ok(Route::Local {
                sources,
                destination: Some(local_destination(path, old_args)?),
            })
        }
    }
}

/// With `--read-batch` all operands but the last are ignored.
fn batch_route(operands: &[Vec<u8>]) -> Result<Route, Stop> {
    let last = operands.last().cloned().unwrap_or_default();
    match Spec::parse(&last) {
        Spec::Remote { .. } => Err(Stop::syntax(
            "remote destination is not allowed with --read-batch",
        )),
        Spec::Local(path) => Ok(Route::Local {
            sources: Vec::new(),
            destination: Some(path),
        }),
    }
}

fn local_destination(path: Vec<u8>, old_args: bool) -> Result<Vec<u8>, Stop> {
    match path.is_empty() {
        false => Ok(path),
        true if old_args => Ok(b".".to_vec()),
        true => Err(Stop::syntax(
            "Empty destination arg specified (use \".\" or see --old-args).",
        )),
    }
}

fn local_sources(operands: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Stop> {
    for operand in operands {
        if operand.is_empty() {
            return Err(Stop::syntax("Empty source arg specified."));
        }
        if let Spec::Remote { .. } = Spec::parse(operand) {
            return Err(Stop::syntax(format!(
                "Unexpected remote arg: {}",
                shown(operand)
            )));
        }
    }
    Ok(operands.to_vec())
}

/// The paths of all sources, which must be on one machine. Later ones may leave its name out.
fn remote_sources(host: &Host, path: Vec<u8>, more: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Stop> {
    let mut sources = vec![remote_path(host, path)];
    for operand in more {
        let Spec::Remote { host: other, path } = Spec::parse(operand) else {
            let told = shown(operand);
            return Err(Stop::syntax(format!(
                "Unexpected local arg: {told}\nIf arg is a remote file/dir, prefix it with a colon (:)."
            )));
        };
        if !other.name.is_empty() && (&other.name, &other.user) != (&host.name, &host.user) {
            return Err(Stop::syntax(
                "All source args must come from the same machine.",
            ));
        }
        match (host.access, other.access) {
            (Access::Shell, Access::Shell) => {}
            (Access::Daemon { port: ours }, Access::Daemon { port }) => {
                if port != ours && port != 0 {
                    return Err(Stop::syntax(
                        "All source args must use the same port number.",
                    ));
                }
            }
            _ => {
                return Err(Stop::syntax(
                    "All source args must use the same hostspec format.",
                ));
            }
        }
        sources.push(remote_path(host, path));
    }
    Ok(sources)
}

/// A remote shell starts in the home directory, which no path names. A module's name alone means what is in it.
fn remote_path(host: &Host, mut path: Vec<u8>) -> Vec<u8> {
    match host.access {
        Access::Shell if path.is_empty() => b".".to_vec(),
        Access::Daemon { .. } if !path.is_empty() && !path.contains(&b'/') => {
            path.push(b'/');
            path
        }
        _ => path,
    }
}

fn check_host(host: &Host, paths: &[Vec<u8>]) -> Result<(), Stop> {
    match host.access {
        Access::Shell if host.name.starts_with(b"-") => Err(Stop::syntax(
            "Invalid remote host: hostnames may not start with '-'.",
        )),
        Access::Daemon { .. } if paths.iter().any(|path| path.starts_with(b"/")) => {
            Err(Stop::Refuse(
                "ERROR: The remote path must start with a module name not a /".to_owned(),
                Exit::StartClient,
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(operand: &str) -> String {
        match Spec::parse(operand.as_bytes()) {
            Spec::Local(path) => format!("local {}", shown(&path)),
            Spec::Remote { host, path } => {
                let user = host
                    .user
                    .map_or(String::new(), |user| format!("{}@", shown(&user)));
                let access = match host.access {
                    Access::Shell => "shell".to_owned(),
                    Access::Daemon { port } => format!("daemon {port}"),
                };
                format!("{access} {user}{} {}", shown(&host.name), shown(&path))
            }
        }
    }

    #[test]
    fn operands_name_places_as_rsync_reads_them() {
        for (operand, expected) in [
            ("a/b:c", "local a/b:c"),
            ("./a:b", "local ./a:b"),
            ("abc", "local abc"),
            ("h:p", "shell h p"),
            ("h:", "shell h "),
            (":p", "shell  p"),
            ("u@h:/p q", "shell u@h /p q"),
            ("h:a:b", "shell h a:b"),
            ("h::m/p", "daemon 0 h m/p"),
            ("u@h::", "daemon 0 u@h "),
            ("[::1]:p", "shell ::1 p"),
            ("u@[fe80::1]::m", "daemon 0 u@fe80::1 m"),
            ("[::1", "local [::1"),
            ("rsync://h/m/p", "daemon 0 h m/p"),
            ("RSYNC://u@h:8730/m", "daemon 8730 u@h m"),
            ("rsync://[::1]:8730/m/p", "daemon 8730 ::1 m/p"),
            ("rsync://h", "daemon 0 h "),
            ("rsync://h:0/m", "daemon 0 h m"),
        ] {
            assert_eq!(spec(operand), expected, "{operand}");
        }
    }

    fn told(operands: &str) -> String {
        let operands: Vec<Vec<u8>> = operands
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        match route(&operands, false, false) {
            Ok(route) => format!("{route:?}"),
            Err(Stop::Refuse(text, _)) => text,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn operands_that_do_not_go_together() {
        for (operands, text) in [
            (
                "a:b c:d",
                "The source and destination cannot both be remote.",
            ),
            (
                "a::b c::d",
                "The source and destination cannot both be remote.",
            ),
            (" d", "Empty source arg specified."),
            (
                "s ",
                "Empty destination arg specified (use \".\" or see --old-args).",
            ),
            ("s h:x d", "Unexpected remote arg: h:x"),
            (
                "h:a b d",
                "Unexpected local arg: b\nIf arg is a remote file/dir, prefix it with a colon (:).",
            ),
            (
                "h:a i:b d",
                "All source args must come from the same machine.",
            ),
            (
                "h:a h::b d",
                "All source args must use the same hostspec format.",
            ),
            (
                "rsync://h:1/a rsync://h:2/b d",
                "All source args must use the same port number.",
            ),
            (
                "-x:a d",
                "Invalid remote host: hostnames may not start with '-'.",
            ),
            (
                "a::/x d",
                "ERROR: The remote path must start with a module name not a /",
            ),
        ] {
            assert_eq!(told(operands), text, "{operands}");
        }
    }

    #[test]
    fn sources_of_one_machine() {
        let operands: Vec<Vec<u8>> = [&b"h:a"[..], b":b", b"h:", b"d"]
            .map(<[u8]>::to_vec)
            .to_vec();
        let Ok(Route::Pull {
            sources,
            destination,
            ..
        }) = route(&operands, false, false)
        else {
            panic!("a pull")
        };
        assert_eq!(sources, [&b"a"[..], b"b", b"."]);
        assert_eq!(destination.as_deref(), Some(&b"d"[..]));
    }
}
