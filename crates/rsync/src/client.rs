//! The user's end of a session with another machine.

mod connect_program;
mod daemon;
mod encrypted;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use transfer::{Client, Error, Link, Options, Outcome};
use wire::ClientInfo;

use crate::engine;
use crate::exit::Exit;
use crate::host::{Access, Host, Route};
use crate::output::strerror;
use crate::remote_shell::{self, Shell};
use crate::run::{Audience, Ended, Run};
use crate::server_args::{self, ServerArgs};
use crate::stop::{Stop, shown};

impl Run<'_> {
    /// A transfer or a listing with `host` at the other end.
    pub(crate) fn remote(
        &self,
        host: &Host,
        options: Options,
        audience: &dyn Audience,
    ) -> Result<Ended, Stop> {
        match host.access {
            Access::Shell => self.over_shell(host, options, audience),
            Access::Daemon { port } => self.of_daemon(host, port, options, audience),
        }
    }

    fn over_shell(
        &self,
        host: &Host,
        options: Options,
        audience: &dyn Audience,
    ) -> Result<Ended, Stop> {
        let server = ServerArgs::new(&self.meant, self.meant.protocol);
        let Shell {
            mut child,
            input,
            output,
        } = self.start_shell(host, &server.words, audience)?;
        let result = Link::over_pipes(input, output, self.cancel.clone())
            .and_then(|link| self.shell_session(link, &server, options, audience));
        let status = shell_ends(&mut child, result.as_ref().err());
        Ok(Ended {
            result: result.map(Some),
            shell: Some(status.map_or(0, exit_status)),
        })
    }

    fn shell_session(
        &self,
        mut link: Link,
        server: &ServerArgs,
        options: Options,
        audience: &dyn Audience,
    ) -> Result<Outcome, Error> {
        if let Some(secluded) = &server.secluded {
            let mut block = Vec::new();
            wire::put_secluded(&mut block, secluded)
                .map_err(|error| Error::Usage(error.to_string()))?;
            link.send(&block, &mut Vec::new(), options.timeout)?;
        }
        let info = self.info(self.meant.protocol);
        let client = Client::over_shell(link, &options, &info, !self.we_receive())?;
        self.transfer(client, options, audience)
    }

    /// Starts the remote shell, and tells of it what `-vv` asks for.
    fn start_shell(
        &self,
        host: &Host,
        server: &[Vec<u8>],
        audience: &dyn Audience,
    ) -> Result<Shell, Stop> {
        let words = remote_shell::command(&self.meant, host, server, self.env)?;
        let shell =
            remote_shell::spawn(&words, host, &self.meant.said, self.env).map_err(|cause| {
                let (role, cause) = (self.role(), strerror(&cause));
                let program = words.first().map_or(String::new(), |word| shown(word));
                Stop::Refuse(
                    format!("rsync: [{role}] Failed to exec {program}: {cause}"),
                    Exit::Ipc,
                )
            })?;
        self.tell_command(host, &words, audience);
        Ok(shell)
    }

    fn tell_command(&self, host: &Host, words: &[Vec<u8>], audience: &dyn Audience) {
        let level = self.meant.debug.level("CMD");
        if level > 1 {
            let path = self.first_remote_path();
            let user = host.user.as_deref().map_or("<NULL>".to_owned(), shown);
            let (shell, name, path) = (shown(&words[0]), shown(&host.name), shown(path));
            let line = format!("cmd={shell} machine={name} user={user} path={path}");
            audience.info(line.as_bytes());
            let numbered = words
                .iter()
                .enumerate()
                .map(|(at, word)| format!("cmd[{at}]={} ", shown(word)));
            audience.info(numbered.collect::<String>().as_bytes());
        }
        if level > 0 {
            let line = format!("opening connection using: {}", told_words(words));
            audience.info(line.as_bytes());
        }
    }

    fn transfer(
        &self,
        client: Client,
        options: Options,
        audience: &dyn Audience,
    ) -> Result<Outcome, Error> {
        self.tell_algorithms(&client.algorithms(), audience);
        self.assume_user()?;
        match &self.meant.route {
            Route::Pull {
                host,
                sources,
                destination,
            } => {
                let destination = destination.as_deref().map(engine::path);
                // What a daemon lists is named without its module.
                let asked: Vec<Vec<u8>> = match host.access {
                    Access::Shell => sources.clone(),
                    Access::Daemon { .. } => sources.iter().map(|path| within(path)).collect(),
                };
                client.receive(options, &asked, destination.as_deref(), audience)
            }
            Route::Push { sources, .. } | Route::Local { sources, .. } => {
                let sources: Vec<OsString> =
                    sources.iter().cloned().map(OsString::from_vec).collect();
                client.send(options, &sources, audience)
            }
        }
    }

    /// What our arguments told a server of this protocol that we can do.
    fn info(&self, protocol: i32) -> ClientInfo {
        match protocol {
            30.. => ClientInfo::parse(&server_args::capabilities(&self.meant, self.we_receive())),
            _ => ClientInfo::default(),
        }
    }

    /// The first path that was named on the other machine.
    fn first_remote_path(&self) -> &[u8] {
        match &self.meant.route {
            Route::Push { destination, .. } => destination,
            Route::Pull { sources, .. } | Route::Local { sources, .. } => &sources[0],
        }
    }
}

/// Words as messages show them: quoted where a shell would split them, and counted.
fn told_words(words: &[Vec<u8>]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",.-_/=@+".contains(byte);
    let told = |word: &Vec<u8>| match word.iter().all(is_plain) {
        true => shown(word),
        false => format!("\"{}\"", shown(word)),
    };
    let text: Vec<String> = words.iter().map(told).collect();
    format!("{}  ({} args)", text.join(" "), words.len())
}

/// A daemon's path below its module.
fn within(path: &[u8]) -> Vec<u8> {
    let module = server_args::module(path);
    let rest = &path[module.len()..];
    rest.strip_prefix(b"/").unwrap_or(rest).to_vec()
}

/// Waits for the end of a remote shell. After a session that had to be broken off it may have no reason to end: the far end
/// does not answer. Then it is told to, and not waited for.
fn shell_ends(shell: &mut Child, error: Option<&Error>) -> Option<ExitStatus> {
    if !matches!(error, Some(Error::Stalled(_) | Error::Cancelled)) {
        return shell.wait().ok();
    }
    let start = Instant::now();
    while start.elapsed() < FAREWELL {
        match shell.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            ended => return ended.ok().flatten(),
        }
    }
    let pid = i32::try_from(shell.id()).ok().and_then(Pid::from_raw);
    // It is our child and has not been waited for, so the number is still its own.
    pid.and_then(|pid| kill_process(pid, Signal::TERM).ok());
    None
}

/// How long a remote shell may take to notice that its session was broken off.
const FAREWELL: Duration = Duration::from_secs(2);

/// The exit code of a remote shell. One that a signal killed has none: the broken session tells enough.
fn exit_status(status: ExitStatus) -> u8 {
    status
        .code()
        .map_or(0, |code| u8::try_from(code).unwrap_or(u8::MAX))
}
