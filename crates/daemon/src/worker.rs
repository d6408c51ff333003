//! One connection, from its greeting until its client has entered a module (behaviour.md 8.4).

mod admission;

use std::io::Read;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rsync::{Env, Exit};
use transfer::{Cancel, Error, Link};
use wire::{DaemonLine, Digest, Greeting, ModuleRequest, Protocol, REQUEST_LINE_MAX};

use crate::access::{self, Client, SystemNames};
use crate::config::{Config, Module};
use crate::conversation::Conversation;
use crate::entry::Entry;
use crate::identity;
use crate::journal::Journal;
use crate::peer::{self, Peer};
use crate::proxy;
use crate::slots::Slot;
use crate::start::Setup;
use crate::supervisor::{Handover, Superior};
use crate::terminator;
pub(crate) use admission::Admitted;

/// How a client has come to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By a socket, which is standard input.
    Socket,
    /// By a remote shell, over standard input and output.
    Shell,
}

/// The end of a connection before its time, with an exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leave(pub(crate) u8);

/// A connection that is being served.
pub(crate) struct Worker<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) transport: Transport,
    pub(crate) config: Config,
    /// What `%VAR%` in the configuration and the hooks know.
    pub(crate) env: Env,
    pub(crate) journal: Journal,
    pub(crate) talk: Conversation,
    pub(crate) peer: Peer,
    pub(crate) early_input: Vec<u8>,
    /// The client's place among those of its module, for as long as this process lives.
    slot: Option<Slot>,
}

/// No client takes longer to say what it wants, in seconds.
const PATIENCE: i32 = 60;

/// Serves the client of standard input, and tells the exit code.
pub(crate) fn serve(setup: &Setup, transport: Transport) -> u8 {
    match Worker::new(setup, transport).and_then(Worker::run) {
        Ok(code) | Err(Leave(code)) => code,
    }
}

/// Goes on with a client that another process has let in.
pub(crate) fn resume(setup: &Setup, handover: Handover) -> u8 {
    let superior = Superior::reach();
    let transport = handover.transport;
    let resumed = Worker::new(setup, transport).and_then(|worker| {
        let superior = superior.map_err(|_| Leave(Exit::Ipc.code()))?;
        worker.resume(handover, superior)
    });
    match resumed {
        Ok(code) | Err(Leave(code)) => code,
    }
}

/// Lets the client read what we have said last: closing a connection with unread input would destroy it on the way.
fn linger() {
    const AT_MOST: Duration = Duration::from_secs(2);
    const BYTES_MAX: usize = 64 << 20;
    let socket = rustix::stdio::stdin();
    if rustix::net::shutdown(socket, rustix::net::Shutdown::Write).is_err() {
        return;
    }
    let Ok(socket) = rustix::io::dup(socket) else {
        return;
    };
    let Ok(mut link) = Link::over_socket(socket, Cancel::default()) else {
        return;
    };
    let deadline = std::time::Instant::now() + AT_MOST;
    let (mut unread, mut total) = (Vec::new(), 0);
    while let Ok(count @ 1..) = link.fill(&mut unread, Some(deadline)) {
        total += count;
        unread.clear();
        if total > BYTES_MAX {
            return;
        }
    }
}

impl<'a> Worker<'a> {
    fn new(setup: &'a Setup, transport: Transport) -> Result<Self, Leave> {
        let (config, journal) = setup.open().map_err(Leave)?;
        let talk = Conversation::new(link(transport).map_err(|_| Leave(10))?, Vec::new());
        let socket = rustix::stdio::stdin();
        let address = match transport {
            Transport::Shell => Some(peer::of_shell(&setup.env)),
            Transport::Socket => {
                peer::of_socket(socket.as_fd()).or_else(|| terminator::peer(&setup.env))
            }
        };
        Ok(Self {
            setup,
            transport,
            config,
            env: setup.env.clone(),
            journal,
            talk,
            peer: Peer {
                address: address.unwrap_or(IpAddr::from([0, 0, 0, 0])),
                name: peer::UNDETERMINED.to_owned(),
            },
            early_input: Vec::new(),
            slot: None,
        })
    }

    fn resume(mut self, handover: Handover, superior: Superior) -> Result<u8, Leave> {
        self.peer = handover.peer;
        self.talk.put_back(handover.heard);
        self.know_peer();
        self.env
            .put("RSYNC_PID", handover.pid.to_string().as_bytes());
        let module = self.config.module(&handover.module).cloned();
        let module = module.ok_or(Leave(Exit::StartClient.code()))?;
        self.know_module(&module.name);
        let protocol = handover.protocol;
        Entry::new(self, module, protocol, handover.admitted)?.serve(Some(superior))
    }

    fn run(mut self) -> Result<u8, Leave> {
        self.arm(self.config.defaults.timeout);
        self.hear_proxy()?;
        self.name_peer();
        self.know_peer();
        self.become_daemon()?;
        self.env
            .put("RSYNC_PID", std::process::id().to_string().as_bytes());
        let Peer { name, address } = &self.peer;
        self.journal
            .note(&format!("connect from {name} ({address})"));
        let (protocol, digest) = self.greet()?;
        let Some(module) = self.request(protocol)? else {
            return Ok(0);
        };
        self.check_charset(&module)?;
        let admitted = self.admit(&module, digest)?;
        Entry::new(self, module, protocol, admitted)?.serve(None)
    }

    /// Hooks, variables and log lines tell who the client is.
    fn know_peer(&mut self) {
        let (name, address) = (&self.peer.name, self.peer.address.to_string());
        self.env.put("RSYNC_HOST_NAME", name.as_bytes());
        self.env.put("RSYNC_HOST_ADDR", address.as_bytes());
        self.journal.know("host", name.as_bytes());
        self.journal.know("address", address.as_bytes());
    }

    fn know_module(&mut self, name: &[u8]) {
        self.env.put("RSYNC_MODULE_NAME", name);
        self.journal.know("module", name);
    }

    /// Leaves the client to another process; what hooks know stays, and the client's place.
    pub(crate) fn let_go(self) -> (Env, Option<Slot>) {
        drop(self.talk);
        if let Ok(null) = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
        {
            let _ = rustix::stdio::dup2_stdin(&null);
            let _ = rustix::stdio::dup2_stdout(&null);
        }
        (self.env, self.slot)
    }

    /// Limits the time for what the client says next, to less than `timeout` seconds if that is a limit.
    pub(crate) fn arm(&mut self, timeout: i32) {
        if self.transport == Transport::Shell {
            return;
        }
        let seconds = match timeout {
            1.. => timeout.min(PATIENCE),
            _ => PATIENCE,
        };
        self.talk
            .limit(Some(Duration::from_secs(seconds.unsigned_abs().into())));
    }

    /// Takes the header of a proxy, which only a trusted one may send.
    fn hear_proxy(&mut self) -> Result<(), Leave> {
        if !self.config.globals.proxy_protocol || self.transport == Transport::Shell {
            return Ok(());
        }
        let trusted = self.config.globals.proxy_protocol_hosts.expand(&self.env);
        if !access::is_listed(&trusted, &self.client(), &SystemNames) {
            let Peer { name, address } = &self.peer;
            self.journal.warn(&format!(
                "proxy protocol rejected from untrusted peer {name} ({address})"
            ));
            return Err(Leave(5));
        }
        let told = self.talk.read(proxy::header);
        if let Some(address) = told.map_err(|error| self.lost(&error))? {
            self.peer.address = address.to_canonical();
        }
        Ok(())
    }

    /// Finds out the client's name, if any module wants to know: later the resolver may be out of reach.
    fn name_peer(&mut self) {
        let mut all = std::iter::once(&self.config.defaults)
            .chain(self.config.modules.iter().map(|module| &module.settings));
        if all.any(|settings| settings.reverse_lookup) {
            let journal = self.journal.clone();
            self.peer.name = peer::name(self.peer.address, &mut |line| journal.warn(&line));
        }
    }

    /// Gives up what the daemon as a whole is not to have.
    fn become_daemon(&self) -> Result<(), Leave> {
        const AS_RSYNC: u8 = 255;
        identity::become_daemon(&self.config.globals, &self.env).map_err(|text| {
            self.journal.warn(&text);
            Leave(AS_RSYNC)
        })
    }

    fn greet(&mut self) -> Result<(Protocol, Option<Digest>), Leave> {
        let newest = self.setup.newest();
        let mut greeting = Greeting::own(newest).to_line();
        if let Some(motd) = self.config.globals.motd_file.path(&self.env) {
            greeting.extend(read_file(&motd).unwrap_or_default());
            greeting.push(b'\n');
        }
        self.say(&greeting)?;
        let line = self.line(REQUEST_LINE_MAX)?;
        let theirs = match Greeting::parse(&line) {
            Ok(greeting) => greeting,
            Err(bad) => return Err(self.refuse(&bad.daemon_text(), None)),
        };
        let protocol = newest.agree(theirs.version).map_err(|mismatch| {
            self.journal.warn(&mismatch.to_string());
            Leave(2)
        })?;
        Ok((
            protocol,
            Digest::choose(theirs.digests.as_deref(), protocol),
        ))
    }

    /// A module whose names are in a charset that nobody knows is served to nobody, whether or not names are converted.
    fn check_charset(&self, module: &Module) -> Result<(), Leave> {
        let name = module.settings.charset.expand(&self.env);
        // That of the locale is always known.
        if name.is_empty() || name == b"." {
            return Ok(());
        }
        let charsets = transfer::Charsets {
            local: String::from_utf8_lossy(&name).into_owned(),
            remote: None,
        };
        charsets.check().map_err(|error| {
            let exit = Exit::Unsupported;
            self.journal.warn(&error.to_string());
            self.journal.warn(&rsync::last_line(exit, "Receiver"));
            Leave(exit.code())
        })
    }

    /// What the client wants: a module, or only the list, which it gets here.
    fn request(&mut self, protocol: Protocol) -> Result<Option<Module>, Leave> {
        loop {
            let line = self.line(REQUEST_LINE_MAX)?;
            let request = match ModuleRequest::parse(&line) {
                Ok(request) => request,
                Err(bad) => return Err(self.refuse(&bad.to_string(), None)),
            };
            match request {
                ModuleRequest::List => {
                    let Peer { name, address } = &self.peer;
                    self.journal
                        .note(&format!("module-list request from {name} ({address})"));
                    self.list(protocol)?;
                    return Ok(None);
                }
                ModuleRequest::EarlyInput(length) => {
                    let input = self.talk.read(|cursor| Ok(cursor.take(length)?.to_vec()));
                    self.early_input = input.map_err(|error| self.lost(&error))?;
                }
                ModuleRequest::Module(name) => {
                    if let Some(module) = self.config.module(&name).cloned() {
                        self.know_module(&name);
                        return Ok(Some(module));
                    }
                    let shown = String::from_utf8_lossy(&name).into_owned();
                    let Peer { name, address } = &self.peer;
                    let log = format!("unknown module '{shown}' tried from {name} ({address})");
                    return Err(self.refuse(&format!("Unknown module '{shown}'"), Some(&log)));
                }
            }
        }
    }

    fn list(&mut self, _protocol: Protocol) -> Result<(), Leave> {
        let mut text = Vec::new();
        for module in self
            .config
            .modules
            .iter()
            .filter(|module| module.settings.list)
        {
            let comment = module.settings.comment.expand(&self.env);
            // A comment with a line end cannot be told; the grammar lets none through.
            let _ = DaemonLine::encode_module(&module.name, &comment, &mut text);
        }
        let _ = DaemonLine::Exit.encode(&mut text);
        self.say(&text)
    }

    /// The client as access rules know it.
    fn client(&self) -> Client<'_> {
        Client {
            address: self.peer.address,
            scope: 0,
            name: &self.peer.name,
        }
    }

    pub(crate) fn line(&mut self, limit: usize) -> Result<Vec<u8>, Leave> {
        let line = self.talk.read(|cursor| cursor.line(limit));
        line.map_err(|error| self.lost(&error))
    }

    pub(crate) fn say(&mut self, text: &[u8]) -> Result<(), Leave> {
        let said = self.talk.say(text);
        said.map_err(|error| self.lost(&error))
    }

    /// Tells the client why not, and the log what the administrator needs to know.
    pub(crate) fn refuse(&mut self, text: &str, log: Option<&str>) -> Leave {
        if let Some(log) = log {
            self.journal.warn(log);
        }
        let mut line = Vec::new();
        DaemonLine::encode_error(text, &mut line);
        // Whoever has gone already need not know.
        if self.talk.say(&line).is_ok() && self.transport == Transport::Socket {
            linger();
        }
        Leave(5)
    }

    /// The client is gone, silent, or talks nonsense: there is nobody to answer.
    pub(crate) fn lost(&self, error: &Error) -> Leave {
        match error {
            Error::Stalled(_) => {
                self.journal
                    .warn("[Receiver] daemon handshake timeout -- exiting");
                Leave(30)
            }
            _ => Leave(error.exit_code()),
        }
    }
}

/// The way to the client.
fn link(transport: Transport) -> Result<Link, Error> {
    let dup = |fd: rustix::fd::BorrowedFd<'_>| -> Result<OwnedFd, Error> {
        rustix::io::dup(fd).map_err(|errno| Error::Socket(errno.into()))
    };
    let input = dup(rustix::stdio::stdin())?;
    match transport {
        Transport::Socket => Link::over_socket(input, Cancel::default()),
        Transport::Shell => {
            Link::over_pipes(input, dup(rustix::stdio::stdout())?, Cancel::default())
        }
    }
}

/// A small file of the operator's.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    const LENGTH_MAX: u64 = 16 << 20;
    let mut text = Vec::new();
    tree::open_trusted_file(path)?
        .take(LENGTH_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}
