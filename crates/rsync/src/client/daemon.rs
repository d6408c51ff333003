//! The user's end of a session with a daemon, or of a list of its modules.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use transfer::{
    Client, Dial, Error, Family, Link, Options, Outcome, Proxy, Request, SocketOption, Terms,
    Visit, Visitor,
};
use wire::EARLY_INPUT_MAX;

use super::encrypted::Relaying;
use super::{connect_program, exit_status, shell_ends, told_words};
use crate::exit::Exit;
use crate::given;
use crate::host::Host;
use crate::named_file::NamedFiles;
use crate::output::strerror;
use crate::password;
use crate::remote_shell::Shell;
use crate::run::{Audience, Ended, Run};
use crate::server_args::{self, ServerArgs};
use crate::stop::{Stop, shown};

/// What holds the other end of a link and ends after it.
enum Behind {
    /// The daemon itself.
    Nothing,
    /// A remote shell.
    Shell(Child),
    /// A thread of ours.
    Tls(Relaying),
}

impl Run<'_> {
    pub(super) fn of_daemon(
        &self,
        host: &Host,
        port: u16,
        options: Options,
        audience: &dyn Audience,
    ) -> Result<Ended, Stop> {
        let (link, behind) = self.reach(host, port, audience)?;
        let module = server_args::module(self.first_remote_path()).to_vec();
        let caller = Caller {
            run: self,
            audience,
            no_password: OnceCell::new(),
        };
        let result = match link {
            Err(error) => Err(error),
            Ok(link) if module.is_empty() => {
                let listed = self.list_modules(link, &options, &caller)?;
                listed.map(|()| None)
            }
            Ok(link) => {
                let result = self.session(link, module, host, options, &caller)?;
                result.map(Some)
            }
        };
        let status = match behind {
            Behind::Nothing => None,
            Behind::Shell(mut shell) => shell_ends(&mut shell, result.as_ref().err()),
            Behind::Tls(relaying) => {
                // The last words are on their way. A failure is also one of the session, which has told it.
                let _ = relaying.join();
                None
            }
        };
        // A daemon that did not begin to talk is its own fault, whatever the shell says.
        let status = status
            .filter(|_| !matches!(result, Err(Error::Greeting(_))))
            .map(exit_status);
        match caller.no_password.into_inner() {
            Some(stop) if matches!(result, Err(Error::PasswordNeeded { .. })) => Err(stop),
            _ => Ok(Ended {
                result,
                shell: status,
            }),
        }
    }

    /// A connection by the way that was asked for, and what holds its other end. What the connection's own
    /// failure is belongs to the session.
    fn reach(
        &self,
        host: &Host,
        port: u16,
        audience: &dyn Audience,
    ) -> Result<(Result<Link, Error>, Behind), Stop> {
        if self.meant.said.rsh.is_some() {
            let Shell {
                child,
                input,
                output,
            } = self.start_shell(host, &[], audience)?;
            let link = Link::over_pipes(input, output, self.cancel.clone());
            return Ok((link, Behind::Shell(child)));
        }
        let asked = u16::try_from(self.meant.said.port).unwrap_or(0);
        let default = match self.meant.said.tls {
            true => tls::DEFAULT_PORT,
            false => transfer::DEFAULT_PORT,
        };
        let port = [port, asked]
            .into_iter()
            .find(|&port| port != 0)
            .unwrap_or(default);
        let link = match self.env.set("RSYNC_CONNECT_PROG") {
            Some(template) => {
                let stream = self.run_program(template, host, port, audience)?;
                Link::over_tcp(stream, self.cancel.clone())
            }
            None => self.dial(host, port, audience)?,
        };
        match link {
            Ok(link) if self.meant.said.tls => {
                let (link, relaying) = self.encrypt(link, host)?;
                Ok((Ok(link), Behind::Tls(relaying)))
            }
            link => Ok((link, Behind::Nothing)),
        }
    }

    fn run_program(
        &self,
        template: &[u8],
        host: &Host,
        port: u16,
        audience: &dyn Audience,
    ) -> Result<TcpStream, Stop> {
        let command = connect_program::command(template, &host.name).ok_or_else(|| {
            let text = "unsafe host characters for RSYNC_CONNECT_PROG";
            Stop::Refuse(text.to_owned(), Exit::SocketIo)
        })?;
        if self.meant.debug.level("CONNECT") > 0 {
            let name = shown(&host.name);
            let instead = format!(
                "Using RSYNC_CONNECT_PROG instead of opening tcp connection to {name} port {port}"
            );
            audience.info(instead.as_bytes());
            let running = format!("Running socket program: \"{}\"", shown(&command));
            audience.info(running.as_bytes());
        }
        connect_program::start(&command, self.env).map_err(|cause| {
            let (role, cause) = (self.role(), strerror(&cause));
            Stop::Refuse(
                format!("rsync: [{role}] RSYNC_CONNECT_PROG failed: {cause}"),
                Exit::SocketIo,
            )
        })
    }

    fn dial(
        &self,
        host: &Host,
        port: u16,
        audience: &dyn Audience,
    ) -> Result<Result<Link, Error>, Stop> {
        let said = &self.meant.said;
        let name = shown(&host.name);
        let level = self.meant.debug.level("CONNECT");
        if level > 0 {
            audience.info(format!("opening tcp connection to {name} port {port}").as_bytes());
        }
        let proxy = self
            .env
            .set("RSYNC_PROXY")
            .map(|proxy| Proxy::parse(&shown(proxy)))
            .transpose()
            .map_err(|fault| Stop::Refuse(fault.to_string(), Exit::SocketIo))?;
        if let Some(Proxy { host, port, .. }) = proxy.as_ref().filter(|_| level > 0) {
            audience.info(format!("connection via http proxy {host} port {port}").as_bytes());
        }
        let dial = Dial {
            family: said.family.map(|family| match family {
                given::Family::V4 => Family::V4,
                given::Family::V6 => Family::V6,
            }),
            local: said.address.as_deref().map(shown),
            options: socket_options(said.sockopts.as_deref().unwrap_or_default(), audience),
            proxy,
            patience: u64::try_from(said.contimeout)
                .ok()
                .filter(|&seconds| seconds > 0)
                .map(Duration::from_secs),
        };
        let dialled = match dial.connect(&name, port, self.cancel.clone()) {
            Ok(dialled) => dialled,
            Err(error) => return Ok(Err(error)),
        };
        for (option, cause) in &dialled.refused {
            let (role, option, cause) = (self.role(), option.name(), strerror(cause));
            let line = format!("rsync: [{role}] failed to set socket option {option}: {cause}");
            audience.error(line.as_bytes());
        }
        if level > 1 {
            let address = dialled.address.ip();
            audience.info(format!("Connected to {name} ({address})").as_bytes());
        }
        Ok(Ok(dialled.link))
    }

    fn list_modules(
        &self,
        link: Link,
        options: &Options,
        caller: &Caller<'_>,
    ) -> Result<Result<(), Error>, Stop> {
        let request = Request {
            module: Vec::new(),
            early_input: self.early_input()?,
        };
        Ok(
            Visit::begin(link, &self.terms(options), &request).and_then(|visit| {
                let server = ServerArgs::new(&self.meant, i32::from(visit.protocol().number()));
                self.tell_arguments(&server, caller.audience);
                visit.list(caller)
            }),
        )
    }

    fn session(
        &self,
        link: Link,
        module: Vec<u8>,
        host: &Host,
        options: Options,
        caller: &Caller<'_>,
    ) -> Result<Result<Outcome, Error>, Stop> {
        let request = Request {
            module,
            early_input: self.early_input()?,
        };
        let visit = match Visit::begin(link, &self.terms(&options), &request) {
            Ok(visit) => visit,
            Err(error) => return Ok(Err(error)),
        };
        let protocol = i32::from(visit.protocol().number());
        let server = ServerArgs::new(&self.meant, protocol);
        self.tell_arguments(&server, caller.audience);
        Ok(visit.enter(self.user(host), caller).and_then(|connection| {
            if let Some(secluded) = server.secluded.as_ref().filter(|_| self.tells_arguments()) {
                let line = format!("protected args: {}", told_words(secluded));
                caller.audience.info(line.as_bytes());
            }
            let client = Client::of_daemon(
                connection,
                &server.words,
                server.secluded.as_deref(),
                &options,
                &self.info(protocol),
                !self.we_receive(),
            )?;
            self.transfer(client, options, caller.audience)
        }))
    }

    fn terms(&self, options: &Options) -> Terms {
        Terms {
            patience: options.timeout,
            newest: options.newest,
            cancel: self.cancel.clone(),
        }
    }

    fn tells_arguments(&self) -> bool {
        self.meant.debug.level("CMD") > 0
    }

    fn tell_arguments(&self, server: &ServerArgs, audience: &dyn Audience) {
        if self.tells_arguments() {
            let line = format!("sending daemon args: {}", told_words(&server.words));
            audience.info(line.as_bytes());
        }
    }

    /// The user's name for a daemon: of the address, or from the environment.
    fn user<'a>(&'a self, host: &'a Host) -> &'a [u8] {
        let from_env = || {
            ["USER", "LOGNAME"]
                .into_iter()
                .find_map(|variable| self.env.set(variable))
        };
        host.user.as_deref().or_else(from_env).unwrap_or(b"nobody")
    }

    /// The content of the file for a module's `early exec`; nothing if there is no such file.
    fn early_input(&self) -> Result<Vec<u8>, Stop> {
        let Some(file) = &self.meant.said.early_input else {
            return Ok(Vec::new());
        };
        let mut input = Vec::new();
        let refuse = |text| Stop::Refuse(text, Exit::StartClient);
        let failed = |cause: io::Error| {
            let (role, name, cause) = (self.role(), shown(file), strerror(&cause));
            refuse(format!("rsync: [{role}] failed to open {name}: {cause}"))
        };
        NamedFiles::of(&self.meant.said)
            .open(file)
            .and_then(|file| {
                file.take(EARLY_INPUT_MAX as u64 + 1)
                    .read_to_end(&mut input)
            })
            .map_err(failed)?;
        if input.len() > EARLY_INPUT_MAX {
            let name = shown(file);
            return Err(refuse(format!("{name} is > {EARLY_INPUT_MAX} bytes.")));
        }
        Ok(input)
    }
}

/// The words of `--sockopts` that are options; the others are told.
fn socket_options(text: &[u8], audience: &dyn Audience) -> Vec<SocketOption> {
    let words = SocketOption::parse_list(&shown(text)).into_iter();
    let known =
        words.map(|word| word.map_err(|fault| audience.error(fault.to_string().as_bytes())));
    known.filter_map(Result::ok).collect()
}

/// The user, as a daemon meets him.
struct Caller<'a> {
    run: &'a Run<'a>,
    audience: &'a dyn Audience,
    /// Why there is no password although a file was named.
    no_password: OnceCell<Stop>,
}

impl Visitor for Caller<'_> {
    fn hear(&self, line: &[u8]) {
        if self.run.meant.said.motd {
            self.audience.info(line);
        }
    }

    /// Options first, then the environment, then the user himself.
    fn password(&self) -> Option<Vec<u8>> {
        let run = self.run;
        let Some(file) = &run.meant.said.password_file else {
            let given = run.env.get("RSYNC_PASSWORD").map(<[u8]>::to_vec);
            return given.or_else(|| self.audience.ask_password());
        };
        match password::read(&NamedFiles::of(&run.meant.said), file, run.role()) {
            Ok(password) => Some(password),
            Err(stop) => {
                let _ = self.no_password.set(stop);
                None
            }
        }
    }
}
