//! A client in its module: its arguments, what they come to, and the transfer (behaviour.md 8.4, 21 to 24).

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use filter::{Rules, Side};
use rsync::table::Opt;
use rsync::{Bounds, Exit, Order, Refusal, Request, Visitor, strerror};
use rustix::net::sockopt;
use transfer::{Options, Privilege, Server};
use tree::{Links, Policy, Root};
use wire::{ArgumentReader, Protocol};

use crate::config::Module;
use crate::converter::Converter;
use crate::journal::Journal;
use crate::paths::{self, Ground, Wildcards};
use crate::peer::Peer;
use crate::refuse::RefusedOptions;
use crate::supervisor::Superior;
use crate::worker::{Admitted, Leave, Worker};

/// A client that has entered a module.
pub(crate) struct Session<'a> {
    pub(crate) worker: Worker<'a>,
    pub(crate) module: Module,
    pub(crate) protocol: Protocol,
    pub(crate) admitted: Admitted,
    /// The module as the engine knows it.
    pub(crate) place: transfer::Module,
    /// Its whole path, for the log.
    pub(crate) path: PathBuf,
    pub(crate) root: Arc<Root>,
    /// Who runs hooks for us, which need rights that we have given up.
    pub(crate) superior: Option<Superior>,
    pub(crate) ground: Ground,
    pub(crate) munges: bool,
    pub(crate) is_numeric: bool,
    pub(crate) rules: Rules,
}

impl Session<'_> {
    /// Reads what the client wants and does it. Returns the exit code.
    pub(crate) fn serve(mut self) -> Result<u8, Leave> {
        let mut words = self.arguments(ArgumentReader::daemon(self.protocol))?;
        unquote(&mut words);
        let refused = self.refused_options(&words);
        let refuses = |row: &Opt, name: &str| refused.refusal(row, name);
        let mut request = Request::read(&words, &refuses);
        let is_secluded = request.is_secluded();
        if is_secluded {
            // Old clients send the paths openly as well, behind a word that means nothing (wire-session.md 2.5).
            let open = words.iter().position(|word| !word.starts_with(b"-"));
            words.truncate(open.unwrap_or(words.len()));
            request = Request::read(&words, &refuses);
            let more = self.arguments(ArgumentReader::daemon_secluded())?;
            request = request.and(&more, &refuses);
            words.extend(more);
        }
        self.worker.talk.limit(None);
        let requested = words_of(&words);
        let too_many = self.resolve(&mut request, is_secluded).err();
        let hooked = self.ask_superior(&request, &words, &requested);
        let sends = request.sends();
        let info = request.info();
        let removes = request.removes_sources();
        let names = request.names_file().map(|name| self.names(name));
        let bounds = self.bounds(&request);
        let env = self.worker.env.clone();
        let (mut options, order) = request.settle(bounds, &env, names);
        let order = match too_many.or(hooked) {
            Some(refusal) => Err(refusal),
            None => order,
        };
        options.newest = self.protocol;
        self.announce(sends, &requested);
        let journal = self.worker.journal.clone();
        if let Err(text) = self.adapt(&mut options, sends) {
            journal.warn(&text);
        }
        let order = order.and_then(|order| self.permit(order, sends, removes));
        let Self {
            worker, protocol, ..
        } = self;
        let (link, heard) = worker.talk.into_parts();
        let server = Server::in_daemon(link, heard, protocol, &options, &info, sends);
        let server = server.map_err(|error| {
            journal.warn(&error.to_string());
            Leave(error.exit_code())
        })?;
        match order {
            Ok(order) => Ok(order.serve(server, options, Box::new(journal))),
            Err(refusal) => Err(turn_away(refusal, server, sends, &journal)),
        }
    }

    /// Has the hook run that may turn the client away now that its wishes are known.
    fn ask_superior(
        &mut self,
        request: &Request,
        words: &[Vec<u8>],
        requested: &str,
    ) -> Option<Refusal> {
        let superior = self.superior.as_mut()?;
        let options = words.iter().take_while(|word| *word != b".").cloned();
        let mut arguments = vec![b"rsyncd".to_vec()];
        arguments.extend(options);
        arguments.push(b".".to_vec());
        arguments.extend(request.paths().iter().cloned());
        let text = match superior.permits(requested.as_bytes(), &arguments) {
            Ok(None) => return None,
            Ok(Some(text)) => text,
            Err(cause) => {
                let cause = strerror(&cause);
                self.worker.journal.warn(&format!("pre-xfer exec: {cause}"));
                b"pre-xfer exec failed".to_vec()
            }
        };
        Some(Refusal {
            lines: text
                .split(|&byte| byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect(),
            code: Exit::Unsupported.code(),
            tells_code: false,
        })
    }

    fn refused_options(&self, words: &[Vec<u8>]) -> RefusedOptions {
        let settings = &self.module.settings;
        let env = &self.worker.env;
        let sends = words
            .iter()
            .take_while(|word| *word != b".")
            .any(|word| word == b"--sender");
        let list = settings.refuse_options.expand(env);
        let refused = RefusedOptions::new(&list, sends, !settings.charset.is_empty());
        for item in &refused.unmatched {
            let line = format!("No match for refuse-options string \"{item}\"");
            self.worker.journal.warn(&line);
        }
        refused
    }

    fn arguments(&mut self, mut reader: ArgumentReader) -> Result<Vec<Vec<u8>>, Leave> {
        let words = self.worker.talk.read_list(|cursor| reader.read(cursor));
        words.map_err(|error| {
            if let transfer::Error::Malformed(malformed) = &error {
                self.worker.journal.warn(&malformed.to_string());
            }
            self.worker.lost(&error)
        })
    }

    /// Finds what the client's paths stand for in the module.
    fn resolve(&self, request: &mut Request, is_secluded: bool) -> Result<(), Refusal> {
        let keeps_dots = true;
        let module = &self.module.name;
        let paths = paths::requested(
            request.paths(),
            module,
            is_secluded,
            self.ground,
            keeps_dots && request.is_relative(),
        );
        let wildcards = Wildcards {
            root: &self.root,
            rules: &self.rules,
        };
        let mut found = Vec::new();
        for path in paths {
            let matches = wildcards
                .expand(&path)
                .map_err(|_| Refusal::new("the wildcards of an argument match too much", 1))?;
            found.extend(matches);
        }
        if !request.sends() {
            found.truncate(1);
        }
        request.set_paths(found);
        Ok(())
    }

    /// The content of a file of names, which is one of the module's.
    fn names(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        const BYTES_MAX: u64 = 256 << 20;
        let rel = paths::clean(name, Ground::Directory, false);
        if self.rules.excluded_with_parents(&rel, false, Side::Sender) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let links = match self.ground {
            Ground::Chroot => Links::Anywhere,
            Ground::Directory => Links::Beneath,
        };
        let policy = Policy {
            links,
            ..Policy::default()
        };
        let root = match self.ground {
            Ground::Chroot => Root::open_with(Path::new("/"), policy),
            Ground::Directory => self.root.beneath(Path::new(""), policy),
        };
        let opened = root.and_then(|root| root.open_target(Path::new(OsStr::from_bytes(&rel))));
        let (file, _) = opened.map_err(tree::Error::into_cause)?;
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    }

    fn bounds(&self, request: &Request) -> Bounds {
        let settings = &self.module.settings;
        let env = &self.worker.env;
        let given = &self.worker.setup.given;
        let format = settings.log_format.expand(env);
        let log_format = match &given.log_file_format {
            Some(format) => Some(format.clone()),
            None => Some(format).filter(|format| settings.transfer_logging && !format.is_empty()),
        };
        let Peer { name, address } = &self.worker.peer;
        let inside = match request.sends() {
            true => Vec::new(),
            false => request.paths().first().cloned().unwrap_or_default(),
        };
        Bounds {
            max_verbosity: u32::try_from(settings.max_verbosity).unwrap_or(0),
            log_format,
            visitor: Visitor {
                host: name.clone().into_bytes(),
                address: address.to_string().into_bytes(),
                user: self.admitted.user.clone(),
                module: self.module.name.clone(),
                path: self.path.as_os_str().as_bytes().to_vec(),
                inside: trimmed(&inside).to_vec(),
            },
            bwlimit: given.bwlimit,
            timeout: u32::try_from(settings.timeout).unwrap_or(0),
            charset: settings.charset.expand(env),
            umask: umask(),
        }
    }

    /// What the module says about transfers. An error is a line for the log.
    fn adapt(&mut self, options: &mut Options, sends: bool) -> Result<(), String> {
        let settings = &self.module.settings;
        let env = &self.worker.env;
        options.module = Some(self.place.clone());
        options.module_rules = std::mem::take(&mut self.rules);
        options.munge_links = self.munges;
        options.ignore_names |= self.is_numeric;
        if !settings.name_converter.is_empty()
            && let Some(superior) = self.superior.take()
        {
            let journal = self.worker.journal.clone();
            options.accounts = Arc::new(Converter::new(superior, journal, sends));
        }
        options.ignore_errors |= settings.ignore_errors;
        options.insecure_links = settings.insecure_links;
        options.skip_unreadable = settings.ignore_nonreadable;
        if let Some(noatime) = settings.open_noatime {
            options.open_noatime = noatime;
        }
        // Whether anything is noted in place of being set is for the module alone to say.
        options.privilege = match options.privilege {
            _ if settings.fake_super => Privilege::Fake,
            Privilege::Fake => Privilege::Super,
            asked => asked,
        };
        if let Some(compress) = options.compress.as_mut().filter(|_| sends) {
            let skip = settings.dont_compress.expand(env);
            compress.skip = compress
                .skip
                .take()
                .or(Some(skip).filter(|skip| !skip.is_empty()));
        }
        self.confine_dirs(options);
        let (parameter, text, chmod) = match sends {
            true => (
                "outgoing chmod",
                &settings.outgoing_chmod,
                &mut options.chmod,
            ),
            false => (
                "incoming chmod",
                &settings.incoming_chmod,
                &mut options.incoming_chmod,
            ),
        };
        if let Some(text) = text.value(env) {
            chmod.add(&text).map_err(|_| {
                let text = String::from_utf8_lossy(&text);
                format!("Invalid \"{parameter}\" directive: {text}")
            })?;
        }
        Ok(())
    }

    /// Keeps the directories that the client names for partial and temporary files and for backups to the module.
    fn confine_dirs(&self, options: &mut Options) {
        let inside = |dir: &Path| -> PathBuf {
            let clean = paths::clean(dir.as_os_str().as_bytes(), Ground::Directory, false);
            self.place.path.join(OsStr::from_bytes(&clean))
        };
        // A relative one is below the destination, as far down as it can be read so; in a chroot it may lead beside it.
        let ground = self.ground;
        let confine = |dir: &mut PathBuf| {
            *dir = match dir.is_absolute() {
                false if ground == Ground::Chroot => return,
                // The engine knows where the module begins.
                true => crate::as_path(&paths::clean(
                    dir.as_os_str().as_bytes(),
                    Ground::Chroot,
                    false,
                )),
                false => crate::as_path(&paths::clean(
                    dir.as_os_str().as_bytes(),
                    Ground::Directory,
                    false,
                )),
            };
        };
        if let Some(dir) = &mut options.partial_dir {
            match dir.is_absolute() {
                true => *dir = inside(dir),
                false => confine(dir),
            }
        }
        options.temp_dir.as_mut().map(confine);
        let backup = options.backup.as_mut();
        backup.and_then(|backup| backup.dir.as_mut()).map(confine);
    }

    /// Says in the log who has come for what.
    fn announce(&self, sends: bool, requested: &str) {
        let Peer { name, address } = &self.worker.peer;
        let user = match self.admitted.user.is_empty() {
            true => String::new(),
            false => format!("{}@", String::from_utf8_lossy(&self.admitted.user)),
        };
        let direction = if sends { "on" } else { "to" };
        self.worker.journal.note(&format!(
            "rsync {direction} {requested} from {user}{name} ({address})"
        ));
    }

    /// Whether the module is for that.
    fn permit<'e>(
        &self,
        order: Order<'e>,
        sends: bool,
        removes: Option<&str>,
    ) -> Result<Order<'e>, Refusal> {
        let settings = &self.module.settings;
        let read_only = self.admitted.read_only.unwrap_or(settings.read_only);
        let refuse = |text: String| Err(Refusal::new(text, 1));
        match (sends, removes) {
            (false, _) if read_only => refuse("ERROR: module is read only".to_owned()),
            (true, _) if settings.write_only => refuse("ERROR: module is write only".to_owned()),
            (true, Some(option)) if read_only => refuse(format!(
                "ERROR: {option} cannot be used with a read-only module"
            )),
            _ => Ok(order),
        }
    }
}

/// Tells a client why it gets nothing, and the log what it was told.
fn turn_away(mut refusal: Refusal, server: Server, sends: bool, journal: &Journal) -> Leave {
    for line in &refusal.lines {
        journal.warn(&String::from_utf8_lossy(line));
    }
    let tells_code = !sends || refusal.tells_code;
    let last = refusal.last_line(sends);
    let told = last.clone().filter(|_| tells_code);
    refusal.lines.extend(told.map(String::into_bytes));
    let code = tells_code.then_some(refusal.code);
    // Whoever has gone already need not know.
    let (sent, received) = server
        .refuse(&refusal.lines, code, sends)
        .unwrap_or_default();
    if sends {
        journal.note(&format!(
            "sent {sent} bytes  received {received} bytes  total size 0"
        ));
    }
    if let Some(last) = last {
        journal.warn(&last);
    }
    // The client reads it before the connection is gone.
    std::thread::sleep(PARTING);
    if !sends {
        // What it sends meanwhile is not wanted any more. A pipe has nobody to tell that.
        let now = Some(Duration::ZERO);
        let _ = sockopt::set_socket_linger(rustix::stdio::stdin(), now);
    }
    Leave(refusal.code)
}

/// How long a client has for our last words, as with rsync.
const PARTING: Duration = Duration::from_millis(400);

/// Clients escape the values of options for a shell that is not there (wire-session.md 2.7).
fn unquote(words: &mut [Vec<u8>]) {
    for word in words {
        let is_dot = word == b".";
        if word.contains(&b'\\') {
            *word = wire::daemon_unquote(word);
        }
        if is_dot {
            return;
        }
    }
}

/// The paths as the log has them.
fn words_of(words: &[Vec<u8>]) -> String {
    const LENGTH_MAX: usize = 1024;
    let mut text = words
        .iter()
        .skip_while(|word| *word != b".")
        .skip(1)
        .map(Vec::as_slice)
        .collect::<Vec<_>>()
        .join(&b' ');
    text.truncate(LENGTH_MAX);
    String::from_utf8_lossy(&text).into_owned()
}

fn trimmed(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if path == b"." { b"" } else { path }
}

/// The mask of the process, which the system tells only when it is set.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.bits()
}
