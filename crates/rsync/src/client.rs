//! The user's end of a session with another machine.

use std::ffi::OsString;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use transfer::{
    Client, Connection, Credentials, DaemonAddress, Error, Link, Options, Outcome, Terms,
};
use wire::ClientInfo;

use crate::exit::Exit;
use crate::host::{Access, Host, Route};
use crate::output::{Now, strerror};
use crate::remote_shell::{self, Shell};
use crate::run::{Lines, Run, Sink, missing};
use crate::server_args::{self, ServerArgs};
use crate::stop::{Stop, shown};
use crate::{engine, password};

impl Run<'_> {
    /// A transfer or a listing with `host` at the other end.
    pub(crate) fn remote(&self, host: &Host, options: Options) -> Result<Exit, Stop> {
        let start = Instant::now();
        let server = ServerArgs::new(&self.meant);
        match host.access {
            Access::Shell => self.over_shell(host, &server, options, start),
            Access::Daemon { .. } if self.meant.said.rsh.is_some() => {
                Err(missing("a daemon behind a remote shell"))
            }
            Access::Daemon { port } => self.of_daemon(host, port, &server, options, start),
        }
    }

    fn over_shell(
        &self,
        host: &Host,
        server: &ServerArgs,
        options: Options,
        start: Instant,
    ) -> Result<Exit, Stop> {
        let words = remote_shell::command(&self.meant, host, &server.words, self.env)?;
        let shell =
            remote_shell::spawn(&words, host, &self.meant.said, self.env).map_err(|cause| {
                let (role, cause) = (self.role(), strerror(&cause));
                let program = words.first().map_or(String::new(), |word| shown(word));
                Stop::Refuse(
                    format!("rsync: [{role}] Failed to exec {program}: {cause}"),
                    Exit::Ipc,
                )
            })?;
        let mut printer = self.printer();
        self.tell_command(host, &words, &mut printer);
        let lines = Mutex::new(printer);
        self.heed_signals();
        let Shell {
            mut child,
            input,
            output,
        } = shell;
        let result = self.shell_session(input, output, server, options, &lines);
        let status = child.wait().ok().map_or(0, exit_status);
        Ok(self.close(lines, result, start, Some(status)))
    }

    fn shell_session(
        &self,
        input: PipeReader,
        mut output: PipeWriter,
        server: &ServerArgs,
        options: Options,
        lines: &Mutex<Lines>,
    ) -> Result<Outcome, Error> {
        if let Some(secluded) = &server.secluded {
            let mut block = Vec::new();
            wire::put_secluded(&mut block, secluded)
                .map_err(|error| Error::Usage(error.to_string()))?;
            output.write_all(&block).map_err(Error::Socket)?;
        }
        let link = Link::over_pipes(
            OwnedFd::from(input),
            OwnedFd::from(output),
            self.cancel.clone(),
        )?;
        let client = Client::over_shell(link, &options, &self.info(), !self.we_receive())?;
        self.transfer(client, options, lines)
    }

    fn of_daemon(
        &self,
        host: &Host,
        port: u16,
        server: &ServerArgs,
        options: Options,
        start: Instant,
    ) -> Result<Exit, Stop> {
        self.refuse_missing_of_daemon(server)?;
        let address = self.address(host, port)?;
        // A password that cannot be had is a fault only if the daemon asks for it.
        let (credentials, no_password) = self.credentials(host);
        let terms = Terms {
            patience: options.timeout,
            newest: options.newest,
            cancel: self.cancel.clone(),
        };
        let mut printer = self.printer();
        if self.meant.debug.level("CONNECT") > 0 {
            let line = format!(
                "opening tcp connection to {} port {}",
                address.host, address.port
            );
            printer.info(line.as_bytes(), Now::read());
        }
        let lines = Mutex::new(printer);
        self.heed_signals();
        let mut opened = Connection::open(&address, &credentials, &terms);
        if let (Err(Error::PasswordNeeded { .. }), None) = (&opened, &no_password) {
            // The daemon does not wait for a user who types.
            let credentials = Credentials {
                password: Some(password::ask()),
                ..credentials
            };
            opened = Connection::open(&address, &credentials, &terms);
        }
        let result = opened.and_then(|connection| {
            self.tell_daemon_args(&server.words, &lines);
            let sends = !self.we_receive();
            let client =
                Client::of_daemon(connection, &server.words, &options, &self.info(), sends)?;
            self.transfer(client, options, &lines)
        });
        if let (Err(Error::PasswordNeeded { .. }), Some(stop)) = (&result, no_password) {
            return Err(stop);
        }
        Ok(self.close(lines, result, start, None))
    }

    /// What `-vv` says of the command that leads to the other side.
    fn tell_command(&self, host: &Host, words: &[Vec<u8>], lines: &mut Lines) {
        let level = self.meant.debug.level("CMD");
        if level > 1 {
            let path = match &self.meant.route {
                Route::Push { destination, .. } => destination,
                Route::Pull { sources, .. } | Route::Local { sources, .. } => &sources[0],
            };
            let user = host.user.as_deref().map_or("<NULL>".to_owned(), shown);
            let (shell, name, path) = (shown(&words[0]), shown(&host.name), shown(path));
            lines.info(
                format!("cmd={shell} machine={name} user={user} path={path}").as_bytes(),
                Now::read(),
            );
            let numbered = words
                .iter()
                .enumerate()
                .map(|(at, word)| format!("cmd[{at}]={} ", shown(word)));
            lines.info(numbered.collect::<String>().as_bytes(), Now::read());
        }
        if level > 0 {
            let line = format!("opening connection using: {}", told_words(words));
            lines.info(line.as_bytes(), Now::read());
        }
    }

    fn tell_daemon_args(&self, words: &[Vec<u8>], lines: &Mutex<Lines>) {
        if self.meant.debug.level("CMD") > 0 {
            let line = format!("sending daemon args: {}", told_words(words));
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .info(line.as_bytes(), Now::read());
        }
    }

    /// What the connection to a daemon cannot do yet is refused rather than passed over.
    fn refuse_missing_of_daemon(&self, server: &ServerArgs) -> Result<(), Stop> {
        let said = &self.meant.said;
        let missing_options = [
            (said.address.is_some(), "--address"),
            (said.sockopts.is_some(), "--sockopts"),
            (said.early_input.is_some(), "--early-input"),
            (said.family.is_some(), "--ipv4 or --ipv6 with a daemon"),
            (said.contimeout > 0, "--contimeout"),
            (server.secluded.is_some(), "--secluded-args with a daemon"),
            (self.env.set("RSYNC_PROXY").is_some(), "RSYNC_PROXY"),
            (
                self.env.set("RSYNC_CONNECT_PROG").is_some(),
                "RSYNC_CONNECT_PROG",
            ),
        ];
        missing_options
            .into_iter()
            .find(|(is_asked, _)| *is_asked)
            .map_or(Ok(()), |(_, what)| Err(missing(what)))
    }

    fn transfer(
        &self,
        client: Client,
        options: Options,
        lines: &Mutex<Lines>,
    ) -> Result<Outcome, Error> {
        let sink = Sink(lines);
        match &self.meant.route {
            Route::Pull {
                sources,
                destination,
                ..
            } => {
                let destination = destination.as_deref().map(engine::path);
                client.receive(options, sources, destination.as_deref(), &sink)
            }
            Route::Push { sources, .. } | Route::Local { sources, .. } => {
                let sources: Vec<OsString> =
                    sources.iter().cloned().map(OsString::from_vec).collect();
                client.send(options, &sources, &sink)
            }
        }
    }

    /// What our arguments told the server that we can do.
    fn info(&self) -> ClientInfo {
        match self.meant.protocol {
            30.. => ClientInfo::parse(&server_args::capabilities(&self.meant, self.we_receive())),
            _ => ClientInfo::default(),
        }
    }

    fn address(&self, host: &Host, port: u16) -> Result<DaemonAddress, Stop> {
        let path = match &self.meant.route {
            Route::Push { destination, .. } => destination,
            Route::Pull { sources, .. } | Route::Local { sources, .. } => &sources[0],
        };
        let module = server_args::module(path);
        if module.is_empty() {
            return Err(missing("a list of modules"));
        }
        let asked = u16::try_from(self.meant.said.port).unwrap_or(0);
        let port = [port, asked, transfer::DEFAULT_PORT]
            .into_iter()
            .find(|&port| port != 0);
        Ok(DaemonAddress {
            user: host.user.as_deref().map(shown),
            host: shown(&host.name),
            port: port.unwrap_or(transfer::DEFAULT_PORT),
            module: shown(module),
            path: shown(path.get(module.len() + 1..).unwrap_or_default()),
        })
    }

    /// The user's name and password for a daemon: options first, then the environment. The second value tells why
    /// there is no password although a file was named.
    fn credentials(&self, host: &Host) -> (Credentials, Option<Stop>) {
        let from_env = || {
            ["USER", "LOGNAME"]
                .into_iter()
                .find_map(|variable| self.env.set(variable))
        };
        let user = shown(host.user.as_deref().or_else(from_env).unwrap_or(b"nobody"));
        match self
            .meant
            .said
            .password_file
            .as_deref()
            .map(|file| password::read(file, self.role()))
        {
            None => {
                let password = self.env.get("RSYNC_PASSWORD").map(<[u8]>::to_vec);
                (Credentials { user, password }, None)
            }
            Some(Ok(password)) => (
                Credentials {
                    user,
                    password: Some(password),
                },
                None,
            ),
            Some(Err(stop)) => (
                Credentials {
                    user,
                    password: None,
                },
                Some(stop),
            ),
        }
    }
}

/// Words as messages show them: quoted where a shell would split them, and counted.
fn told_words(words: &[Vec<u8>]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",.-_/:=@+%".contains(byte);
    let told = |word: &Vec<u8>| match word.iter().all(is_plain) {
        true => shown(word),
        false => format!("\"{}\"", shown(word)),
    };
    let text: Vec<String> = words.iter().map(told).collect();
    format!("{}  ({} args)", text.join(" "), words.len())
}

/// The exit code of a remote shell; one that a signal killed counts as such.
fn exit_status(status: ExitStatus) -> u8 {
    const KILLED: u8 = 125;
    status
        .code()
        .map_or(KILLED, |code| u8::try_from(code).unwrap_or(u8::MAX))
}
