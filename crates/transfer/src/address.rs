//! Naming a daemon's module, in the two ways rsync has (wire-session.md 1.4).

use std::fmt;
use std::str::FromStr;

/// The port of rsync daemons.
pub const DEFAULT_PORT: u16 = 873;

/// `[USER@]HOST::MODULE[/PATH]` or `rsync://[USER@]HOST[:PORT]/MODULE[/PATH]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonAddress {
    /// The user to authenticate as, where one is named.
    pub user: Option<String>,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The module's name.
    pub module: String,
    /// The path below the module, without leading or trailing slash; empty for the module itself.
    pub path: String,
}

/// Why a text that has the form of a daemon's address names none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not the form of a daemon's address at all.
    #[error("not a daemon's address")]
    NotADaemon,
    /// No host between the user and the module.
    #[error("{0}: the host is missing")]
    NoHost(String),
    /// No module after the host.
    #[error("{0}: the remote path must start with a module name")]
    NoModule(String),
    /// A port that is none.
    #[error("{0}: invalid port")]
    BadPort(String),
    /// `..` would leave the module, or be collapsed by the daemon to something else than was meant.
    #[error("{0}: the path must not contain \"..\"")]
    ParentInPath(String),
}

impl FromStr for DaemonAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        Self::with_default_port(text, DEFAULT_PORT)
    }
}

impl DaemonAddress {
    /// Reads an address; a text that names no port means this one.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn with_default_port(text: &str, default: u16) -> Result<Self, BadAddress> {
        let (authority, port, location) = match strip_scheme(text) {
            Some(rest) => {
                let (authority, location) = rest.split_once('/').unwrap_or((rest, ""));
                let (authority, port) =
                    split_port(authority).ok_or_else(|| BadAddress::BadPort(text.to_owned()))?;
                (authority, port, location)
            }
            None => {
                let (authority, location) = split_host(text).ok_or(BadAddress::NotADaemon)?;
                (authority, None, location)
            }
        };
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), host),
            None => (None, authority),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(BadAddress::NoHost(text.to_owned()));
        }
        let (module, path) = location.split_once('/').unwrap_or((location, ""));
        if module.is_empty() {
            return Err(BadAddress::NoModule(text.to_owned()));
        }
        let components: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if components.contains(&"..") {
            return Err(BadAddress::ParentInPath(text.to_owned()));
        }
        Ok(Self {
            user,
            host: host.to_owned(),
            port: port.unwrap_or(default),
            module: module.to_owned(),
            path: components.join("/"),
        })
    }
}

impl fmt::Display for DaemonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rsync://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.module)?;
        if self.path.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.path)
        }
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    const SCHEME: &str = "rsync://";
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// Host part and port of an URL's authority; `None` for a port that is no number. Port 0 means the default.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[host_end..].split_once(':') {
        None => Some((authority, None)),
        Some((_, "")) => Some((authority.trim_end_matches(':'), None)),
        Some((_, port)) => {
            let number: u16 = port.parse().ok()?;
            let host = &authority[..authority.len() - port.len() - 1];
            Some((host, Some(number).filter(|number| *number != 0)))
        }
    }
}

/// Splits `HOST::PATH` at the first colon before any slash; a host in brackets may contain colons.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let user_end = text
        .find('@')
        .filter(|at| !text[..*at].contains(['/', ':']))
        .map_or(0, |at| at + 1);
    let from = match text[user_end..].strip_prefix('[') {
        Some(inner) => user_end + 1 + inner.find(']')? + 1,
        None => user_end,
    };
    let colon = from + text[from..].find([':', '/'])?;
    let location = text[colon..].strip_prefix("::")?;
    Some((&text[..colon], location))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, BadAddress> {
        let DaemonAddress {
            user,
            host,
            port,
            module,
            path,
        } = text.parse()?;
        Ok(format!(
            "{} {host} {port} {module} {path}",
            user.unwrap_or("-".to_owned())
        ))
    }

    #[test]
    fn both_forms_are_understood() {
        for (text, expected) in [
            ("host::mod", "- host 873 mod "),
            ("u@host::mod/a//./b/", "u host 873 mod a/b"),
            ("u@[::1]::mod", "u ::1 873 mod "),
            ("rsync://host/mod", "- host 873 mod "),
            ("RSYNC://u@host:8730/mod/", "u host 8730 mod "),
            ("rsync://[fe80::1]:9/m/p", "- fe80::1 9 m p"),
            ("rsync://host:0/m", "- host 873 m "),
            ("rsync://host:/m", "- host 873 m "),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn paths_and_shells_are_no_daemons() {
        for text in ["/a/b", "a/b::c", "./h::m", "host:path", "plain", "", "a"] {
            assert_eq!(parsed(text), Err(BadAddress::NotADaemon), "{text}");
        }
    }

    #[test]
    fn what_names_no_module_is_refused() {
        for text in ["host::", "rsync://host", "rsync://host/", "host::/mod"] {
            assert!(
                matches!(parsed(text), Err(BadAddress::NoModule(_))),
                "{text}"
            );
        }
        assert!(matches!(
            parsed("rsync://:80/m"),
            Err(BadAddress::NoHost(_))
        ));
        assert!(matches!(
            parsed("rsync://h:x/m"),
            Err(BadAddress::BadPort(_))
        ));
        assert!(matches!(
            parsed("h::m/../n"),
            Err(BadAddress::ParentInPath(_))
        ));
    }

    #[test]
    fn an_address_prints_as_an_url_that_means_the_same() {
        for text in ["u@[::1]::mod/p", "host::mod", "rsync://h:9/m"] {
            let address: DaemonAddress = text.parse().unwrap();
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
