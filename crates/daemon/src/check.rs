//! `--check-config`: what is wrong with a configuration, before a client finds out.
//!
//! A finding names file and line. What depends on the client, such as a path with its user's name in it, cannot be
//! looked at and is left alone.

mod hosts;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rsync::Env;
use transfer::Chmod;
use wire::Digest;

use crate::auth::{self, Denial};
use crate::config::{Config, Globals, Module, Override, Place, Problem, Settings, Text};
use crate::identity;
use crate::refuse::RefusedOptions;

/// Something that will not do what the administrator means it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands in a file; `None` for the command line, and for what stands nowhere.
    pub place: Option<Place>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Looks at a configuration and at what it names on this machine, as the user who asks. Findings come in the order of the
/// file, without repeats.
#[must_use]
pub fn check(file: &Path, overrides: &[Override], env: &Env) -> Vec<Finding> {
    let config = match Config::load(file, overrides, env) {
        Ok(config) => config,
        Err(failure) => return failure.problems.iter().map(Finding::of).collect(),
    };
    let mut findings: Vec<Finding> = config.problems.iter().map(Finding::of).collect();
    findings.extend(Check::new(env).globals(&config.globals));
    for module in &config.modules {
        findings.extend(Check::new(env).module(module, &config.globals));
    }
    in_order(findings)
}

/// A parameter of the global section is found once for each module: one of these is enough.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    let line = |finding: &Finding| {
        let place = finding.place.as_ref();
        place.map(|place| (place.file.clone(), place.line))
    };
    findings.sort_by_key(line);
    let mut seen = BTreeSet::new();
    findings.retain(|finding| seen.insert(finding.to_string()));
    findings
}

impl Finding {
    fn of(problem: &Problem) -> Self {
        Self {
            place: problem.place.clone(),
            text: problem.fault.to_string(),
        }
    }
}

/// A look at one section.
struct Check {
    env: Env,
    /// The root from which paths are seen, if it is another one.
    root: Option<PathBuf>,
    findings: Vec<Finding>,
}

impl Check {
    fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            root: None,
            findings: Vec::new(),
        }
    }

    fn globals(mut self, globals: &Globals) -> Vec<Finding> {
        self.writable_dir_of(&globals.pid_file, "the pid file");
        self.dir(&globals.daemon_chroot, "the daemon's root");
        self.user(&globals.daemon_uid);
        self.group(&globals.daemon_gid);
        for (name, port) in [("port", globals.port), ("tls port", globals.tls_port)] {
            if u16::try_from(port).is_err() {
                self.find(None, format!("{name} = {port}: there is no such TCP port"));
            }
        }
        if globals.proxy_protocol && globals.proxy_protocol_hosts.is_empty() {
            let text = "\"proxy protocol\" without \"proxy protocol hosts\": all connections will be rejected";
            self.find(None, text.to_owned());
        }
        self.hosts(&globals.proxy_protocol_hosts, hosts::Lookups::REVERSE);
        self.tls(globals);
        self.root = self.path(&globals.daemon_chroot);
        self.readable(&globals.motd_file, "the message of the day");
        self.findings
    }

    fn tls(&mut self, globals: &Globals) {
        match (globals.tls_cert.is_empty(), globals.tls_key.is_empty()) {
            (true, true) => return,
            (false, true) => self.find_at(
                &globals.tls_cert,
                "\"tls cert\" without \"tls key\"".to_owned(),
            ),
            (true, false) => self.find_at(
                &globals.tls_key,
                "\"tls key\" without \"tls cert\"".to_owned(),
            ),
            (false, false) => {}
        }
        self.readable(&globals.tls_cert, "the certificate");
        let key = self.readable(&globals.tls_key, "the key");
        if key.is_some_and(|meta| meta.mode() & 0o007 != 0) {
            let text = "the key of \"tls cert\" must not be other-accessible".to_owned();
            self.find_at(&globals.tls_key, text);
        }
    }

    fn module(mut self, module: &Module, globals: &Globals) -> Vec<Finding> {
        let settings = &module.settings;
        self.env.put("RSYNC_MODULE_NAME", &module.name);
        self.root = self.path(&globals.daemon_chroot);
        let name = String::from_utf8_lossy(&module.name).into_owned();
        for place in &module.again {
            let text = format!(
                "the module \"{name}\" was begun at {}: this only adds to it",
                module.place
            );
            self.find(Some(place.clone()), text);
        }
        if settings.path.is_empty() {
            self.find(
                Some(module.place.clone()),
                format!("the module \"{name}\" has no path"),
            );
        }
        self.dir(&settings.path, "the module's path");
        if !globals.daemon_chroot.is_empty() {
            for (name, hook) in [
                ("pre-xfer exec", &settings.pre_xfer_exec),
                ("post-xfer exec", &settings.post_xfer_exec),
                ("name converter", &settings.name_converter),
            ] {
                if !hook.is_empty() {
                    let text =
                        format!("a module with a {name} is not served under \"daemon chroot\"");
                    self.find_at(hook, text);
                }
            }
        }
        self.rights(settings);
        self.access(settings);
        self.transfers(settings);
        self.findings
    }

    fn rights(&mut self, settings: &Settings) {
        self.user(&settings.uid);
        self.groups(&settings.gid);
        if settings.max_connections > 0 {
            self.writable_dir_of(&settings.lock_file, "the lock file");
        }
        self.writable_dir_of(&settings.log_file, "the log");
        if settings.use_chroot == Some(true) && !rustix::process::geteuid().is_root() {
            let text = "\"use chroot = yes\" takes root's rights".to_owned();
            self.find_at(&settings.path, text);
        }
    }

    fn access(&mut self, settings: &Settings) {
        let lookups = hosts::Lookups {
            reverse: settings.reverse_lookup,
            forward: settings.forward_lookup,
        };
        let allows_all = self.hosts(&settings.hosts_allow, lookups);
        self.hosts(&settings.hosts_deny, lookups);
        if allows_all && !settings.hosts_deny.is_empty() {
            let text =
                "\"hosts deny\" counts for nothing: \"hosts allow\" lets everybody in".to_owned();
            self.find_at(&settings.hosts_deny, text);
        }
        if let Some(digest) = self.value(&settings.auth_digest)
            && Digest::from_name(&digest).is_none()
        {
            let digest = String::from_utf8_lossy(&digest);
            let text = format!("\"{digest}\" is no digest: use one of {}", Digest::list());
            self.find_at(&settings.auth_digest, text);
        }
        self.users(settings);
    }

    /// Finds rules that no user reaches, and users who cannot get in.
    fn users(&mut self, settings: &Settings) {
        let Some(list) = self.value(&settings.auth_users) else {
            return;
        };
        let rules = auth::rules(&list);
        let everyone = rules
            .iter()
            .position(|rule| !rule.is_group && rule.pattern == b"*");
        for rule in everyone.map_or(&[][..], |at| &rules[at + 1..]) {
            let text = format!(
                "the rule for \"{}\" is never reached: it stands after \"*\"",
                shown(rule.pattern)
            );
            self.find_at(&settings.auth_users, text);
        }
        let Some(file) = settings.secrets_file.path(&self.env) else {
            let text = "\"auth users\" without \"secrets file\": nobody can log in".to_owned();
            return self.find_at(&settings.auth_users, text);
        };
        if is_open(&file) {
            return;
        }
        match auth::read_secrets(&file, settings.strict_modes) {
            Ok(secrets) => {
                for rule in rules {
                    let is_name =
                        !rule.is_group && !rule.pattern.iter().any(|byte| b"*?[\\".contains(byte));
                    if is_name && rule.access.is_some() && !auth::has_secret(&secrets, rule.pattern)
                    {
                        let text = format!(
                            "the user \"{}\" has no password in {}",
                            shown(rule.pattern),
                            file.display()
                        );
                        self.find_at(&settings.auth_users, text);
                    }
                }
            }
            Err(Denial::UntrustedSecrets(fault)) => {
                self.find_at(
                    &settings.secrets_file,
                    format!("{}: {fault}", file.display()),
                );
            }
            Err(Denial::NoSecrets(cause)) => {
                self.cannot(&settings.secrets_file, "the secrets file", &file, &cause);
            }
            Err(other) => self.find_at(&settings.secrets_file, other.to_string()),
        }
    }

    fn transfers(&mut self, settings: &Settings) {
        for (name, chmod) in [
            ("incoming chmod", &settings.incoming_chmod),
            ("outgoing chmod", &settings.outgoing_chmod),
        ] {
            if let Some(text) = self.value(chmod)
                && Chmod::default().add(&text).is_err()
            {
                self.find_at(
                    chmod,
                    format!("{name}: \"{}\" is no change of permissions", shown(&text)),
                );
            }
        }
        self.readable(&settings.exclude_from, "the file of patterns");
        self.readable(&settings.include_from, "the file of patterns");
        if let Some(list) = self.value(&settings.refuse_options) {
            for item in RefusedOptions::new(&list, true, true).unmatched {
                self.find_at(
                    &settings.refuse_options,
                    format!("there is no option \"{item}\" to refuse"),
                );
            }
        }
    }

    fn find(&mut self, place: Option<Place>, text: String) {
        self.findings.push(Finding { place, text });
    }

    fn find_at(&mut self, said: &Text, text: String) {
        self.find(said.place().cloned(), text);
    }

    fn cannot(&mut self, said: &Text, what: &str, path: &Path, cause: &io::Error) {
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default();
        self.find_at(said, format!("{what}, {}: {cause}", path.display()));
    }

    /// A text as far as it is known before there is a client.
    fn value(&self, said: &Text) -> Option<Vec<u8>> {
        said.value(&self.env)
            .filter(|text| !depends_on_client(text))
    }

    fn path(&self, said: &Text) -> Option<PathBuf> {
        let path = said.path(&self.env).filter(|path| !is_open(path))?;
        Some(match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        })
    }

    /// Tries to open a file.
    fn readable(&mut self, said: &Text, what: &str) -> Option<Metadata> {
        let path = self.path(said)?;
        match tree::open_trusted_file(&path).and_then(|file: File| file.metadata()) {
            Ok(meta) => Some(meta),
            Err(cause) => {
                self.cannot(said, what, &path, &cause);
                None
            }
        }
    }

    fn dir(&mut self, said: &Text, what: &str) {
        let Some(path) = self.path(said) else {
            return;
        };
        match std::fs::metadata(&path) {
            Err(cause) => self.cannot(said, what, &path, &cause),
            Ok(meta) if !meta.is_dir() => {
                self.find_at(said, format!("{what}, {}, is no directory", path.display()));
            }
            Ok(_) => {}
        }
    }

    /// The file itself need not be there.
    fn writable_dir_of(&mut self, said: &Text, what: &str) {
        let Some(path) = self.path(said) else {
            return;
        };
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        if let Err(cause) = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK) {
            self.cannot(
                said,
                &format!("the directory of {what}"),
                dir,
                &cause.into(),
            );
        }
        if path.is_dir() {
            self.find_at(said, format!("{what}, {}, is a directory", path.display()));
        }
    }

    fn user(&mut self, said: &Text) {
        if let Some(name) = self.value(said)
            && identity::user(&shown(&name)).is_none()
        {
            self.find_at(said, format!("there is no user \"{}\"", shown(&name)));
        }
    }

    fn group(&mut self, said: &Text) {
        if let Some(name) = self.value(said)
            && identity::group(&shown(&name)).is_none()
        {
            self.find_at(said, format!("there is no group \"{}\"", shown(&name)));
        }
    }

    fn groups(&mut self, said: &Text) {
        let Some(list) = self.value(said) else {
            return;
        };
        for (at, name) in identity::list(&list).enumerate() {
            if name == "*" && at > 0 {
                self.find_at(said, "\"*\" must be the first group".to_owned());
            } else if name != "*" && identity::group(&name).is_none() {
                self.find_at(said, format!("there is no group \"{name}\""));
            }
        }
    }

    /// Looks at a list of hosts; whether it matches everybody.
    fn hosts(&mut self, said: &Text, lookups: hosts::Lookups) -> bool {
        let Some(list) = self.value(said) else {
            return false;
        };
        let (texts, is_everyone) = hosts::look(&list, lookups);
        for text in texts {
            self.find_at(said, text);
        }
        is_everyone
    }
}

/// Whether a variable is left that only a connection sets.
fn depends_on_client(text: &[u8]) -> bool {
    text.windows(7).any(|window| window == b"%RSYNC_")
}

fn is_open(path: &Path) -> bool {
    depends_on_client(path.as_os_str().as_encoded_bytes())
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
