//! What the operands and `--files-from` of a command line lead to.

use crate::given::Given;
use crate::host::{self, Access, Route, Spec};
use crate::stop::Stop;

/// Where `--files-from` finds its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NameList {
    /// In a file of this machine; `-` is standard input.
    Local(Vec<u8>),
    /// In a file of the other one.
    Remote(Vec<u8>),
}

/// What the operands of a user's command line mean.
pub(super) fn operands(said: &Given, old_args: u32) -> Result<Route, Stop> {
    if said.operands.is_empty() {
        return Err(Stop::Usage);
    }
    let route = host::route(&said.operands, old_args > 0, said.read_batch.is_some())?;
    let is_socket = route
        .host()
        .is_some_and(|host| host.access != Access::Shell);
    if said.password_file.is_some() && !is_socket {
        return Err(Stop::syntax(
            "The --password-file option may only be used when accessing an rsync daemon.",
        ));
    }
    if said.contimeout > 0 && !(is_socket && said.rsh.is_none()) {
        return Err(Stop::syntax(
            "The --contimeout option may only be used when connecting to an rsync daemon.",
        ));
    }
    for (is_said, option) in [(said.tls, "--tls"), (said.tls_ca.is_some(), "--tls-ca")] {
        if is_said && !(is_socket && said.rsh.is_none()) {
            return Err(Stop::syntax(format!(
                "The {option} option may only be used when connecting to an rsync daemon."
            )));
        }
    }
    if said.tls_ca.is_some() && !said.tls {
        return Err(Stop::syntax(
            "The --tls-ca option may only be used with --tls.",
        ));
    }
    Ok(route)
}

/// A server's operands: `.`, then a destination or sources. The client is at the other end of standard input.
///
/// What follows the destination counts for nothing: clients before 3.2.4 leave blanks in its name to the remote shell.
pub(super) fn server_route(said: &Given) -> Result<Route, Stop> {
    let paths = said
        .operands
        .strip_prefix(&[b".".to_vec()])
        .unwrap_or(&said.operands);
    if said.sender {
        return Ok(Route::Local {
            sources: paths.to_vec(),
            destination: None,
        });
    }
    match paths {
        [destination, ..] => Ok(Route::Local {
            sources: Vec::new(),
            destination: Some(destination.clone()),
        }),
        _ => Err(Stop::Usage),
    }
}

pub(super) fn name_list(name: &[u8], said: &Given, route: &Route) -> Result<NameList, Stop> {
    let spec = Spec::parse(name);
    if said.server {
        return match spec {
            Spec::Remote { .. } => Err(Stop::option(
                "The --files-from sent to the server cannot specify a host.",
            )),
            Spec::Local(name) => Ok(NameList::Local(name)),
        };
    }
    if said.operands.len() != 2 {
        return Err(Stop::Usage);
    }
    match spec {
        Spec::Local(name) => Ok(NameList::Local(name)),
        Spec::Remote { path, .. } if path.is_empty() || path == b"-" => {
            Err(Stop::option("Invalid --files-from remote filename"))
        }
        Spec::Remote { host, path } => match route.host() {
            None => Err(Stop::syntax(
                "--files-from cannot be remote when the transfer is local",
            )),
            Some(theirs) if !host.name.is_empty() && host.name != theirs.name => Err(Stop::syntax(
                "--files-from hostname is not the same as the transfer hostname",
            )),
            Some(_) => Ok(NameList::Remote(path)),
        },
    }
}
