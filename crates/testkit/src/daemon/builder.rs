//! What a daemon is to serve, and how it is started.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::RsyncDaemon;
use crate::port::ReservedPort;
use crate::{is_root, require_rsync};

/// What the daemon's `rsyncd.conf` is to say. See rsyncd.conf(5) for each parameter.
#[derive(Clone, Debug)]
#[must_use]
pub struct DaemonBuilder {
    program: Option<PathBuf>,
    module: String,
    users: Vec<(String, String)>,
    globals: Vec<(String, String)>,
    parameters: Vec<(String, String)>,
    more: String,
    arguments: Vec<String>,
    tls: Option<(String, String)>,
}

impl DaemonBuilder {
    pub(super) fn new(name: &str, path: &Path) -> Self {
        Self {
            program: None,
            module: name.to_owned(),
            users: Vec::new(),
            globals: Vec::new(),
            parameters: Vec::new(),
            more: String::new(),
            arguments: Vec::new(),
            tls: None,
        }
        .set(
            "path",
            path.to_str()
                .expect("tests name module directories in UTF-8"),
        )
        .set("read only", "no")
        .set("use chroot", "no")
        // Only root can change to a user at all, and would change to `nobody` by default.
        .set_if(
            is_root(),
            "uid",
            &rustix::process::getuid().as_raw().to_string(),
        )
        .set_if(
            is_root(),
            "gid",
            &rustix::process::getgid().as_raw().to_string(),
        )
    }

    /// Runs this rsync in place of the one that is installed.
    pub fn program(mut self, rsync: &Path) -> Self {
        self.program = Some(rsync.to_owned());
        self
    }

    /// Lets only this user in (and others named likewise), by password.
    pub fn auth_user(mut self, user: &str, password: &str) -> Self {
        self.users.push((user.to_owned(), password.to_owned()));
        self
    }

    /// `read only`.
    pub fn read_only(self) -> Self {
        self.set("read only", "yes")
    }

    /// `filter`: rules that clients are held to.
    pub fn filter(self, rules: &str) -> Self {
        self.set("filter", rules)
    }

    /// `exclude`: patterns that clients neither see nor write.
    pub fn exclude(self, patterns: &str) -> Self {
        self.set("exclude", patterns)
    }

    /// `refuse options`.
    pub fn refuse_options(self, options: &str) -> Self {
        self.set("refuse options", options)
    }

    /// `max connections`.
    pub fn max_connections(self, limit: u32) -> Self {
        self.set("max connections", &limit.to_string())
    }

    /// `timeout`, in whole seconds.
    pub fn timeout(self, seconds: u32) -> Self {
        self.set("timeout", &seconds.to_string())
    }

    /// `munge symlinks`.
    pub fn munge_symlinks(self, munge: bool) -> Self {
        self.set("munge symlinks", if munge { "yes" } else { "no" })
    }

    /// Any other parameter of the module; a later value takes the place of an earlier one.
    pub fn set(mut self, parameter: &str, value: &str) -> Self {
        self.parameters.retain(|(name, _)| name != parameter);
        self.parameters
            .push((parameter.to_owned(), value.to_owned()));
        self
    }

    /// A parameter of the daemon as a whole.
    pub fn global(mut self, parameter: &str, value: &str) -> Self {
        self.globals.push((parameter.to_owned(), value.to_owned()));
        self
    }

    /// Listens for TLS, too, with a certificate and its key in PEM. Only our own daemon can.
    pub fn tls(mut self, certificate: &str, key: &str) -> Self {
        self.tls = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    /// A further argument of the daemon.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Further lines of the configuration, such as other modules.
    pub fn more(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// Starts the daemon and waits until it listens.
    ///
    /// # Panics
    ///
    /// When rsync is not installed or does not start, with what it said.
    #[track_caller]
    pub fn start(mut self) -> RsyncDaemon {
        let tls_port = self.tls.as_ref().map(|_| ReservedPort::find());
        let work = tempfile::tempdir().expect("a temporary directory can be made");
        if let (Some((certificate, key)), Some(port)) = (self.tls.take(), &tls_port) {
            let at = |name: &str| work.path().join(name).display().to_string();
            write_private(&work.path().join("certificate"), &certificate);
            write_private(&work.path().join("key"), &key);
            self = self
                .global("tls cert", &at("certificate"))
                .global("tls key", &at("key"))
                .global("tls port", &port.number.to_string());
        }
        self.write_files(work.path());
        let mut daemon = RsyncDaemon {
            program: self.program.unwrap_or_else(require_rsync),
            arguments: self.arguments,
            module: self.module,
            user: self.users.first().map(|(user, _)| user.clone()),
            work,
            port: ReservedPort::find(),
            tls_port,
            listener: None,
            group: None,
        };
        if let Err(reason) = daemon.spawn() {
            panic!(
                "the rsync daemon does not start: {reason}\n{}",
                daemon.log()
            );
        }
        daemon
    }

    fn set_if(self, condition: bool, parameter: &str, value: &str) -> Self {
        if condition {
            self.set(parameter, value)
        } else {
            self
        }
    }

    fn write_files(&self, work: &Path) {
        let at = |name: &str| work.join(name).display().to_string();
        let mut conf = format!("lock file = {}\nlog file = {}\n", at("lock"), at("log"));
        for (name, value) in &self.globals {
            writeln!(conf, "{name} = {value}").expect("a string takes everything");
        }
        writeln!(conf, "[{}]", self.module).expect("a string takes everything");
        let mut parameters = self.parameters.clone();
        if let Some((_, password)) = self.users.first() {
            let users: Vec<&str> = self.users.iter().map(|(user, _)| user.as_str()).collect();
            parameters.push(("auth users".into(), users.join(",")));
            parameters.push(("secrets file".into(), at("secrets")));
            let secrets: String = self
                .users
                .iter()
                .map(|(user, password)| format!("{user}:{password}\n"))
                .collect();
            write_private(&work.join("secrets"), &secrets);
            write_private(&work.join("password"), &format!("{password}\n"));
        }
        for (name, value) in &parameters {
            writeln!(conf, "    {name} = {value}").expect("a string takes everything");
        }
        conf.push_str(&self.more);
        fs::write(work.join("rsyncd.conf"), conf).expect("the work directory is writable");
    }
}

pub(super) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("the work directory is writable");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("own files can be changed");
}
