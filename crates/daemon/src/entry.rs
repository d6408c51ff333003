//! Into a module: its directory, its rules, its user, and what it says about transfers (behaviour.md 8.4, 13 to 21).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filter::{MergeFile, Rules};
use rsync::{Exit, strerror};
use tree::{Links, Policy, Root};
use wire::{DaemonLine, Protocol};

use crate::config::{Module, Settings};
use crate::hooks::Hooks;
use crate::identity::Identity;
use crate::paths::Ground;
use crate::sandbox::{self, Reach, SYSTEM_FILES};
use crate::session::Session;
use crate::supervisor::{self, Superior};
use crate::worker::{Admitted, Leave, Worker, read_file};

/// A client about to enter a module.
pub(crate) struct Entry<'a> {
    pub(crate) worker: Worker<'a>,
    pub(crate) module: Module,
    pub(crate) protocol: Protocol,
    pub(crate) admitted: Admitted,
    identity: Identity,
    way: Way,
    rules: Rules,
}

/// Where a module is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    /// The whole path, as messages of hooks and log lines have it.
    path: PathBuf,
    /// The new root of the process.
    chroot: Option<PathBuf>,
    /// The module from there.
    inside: PathBuf,
}

impl Way {
    /// A path `OUTER/./INNER` says which part of it is the new root.
    fn new(path: &[u8], use_chroot: bool) -> Self {
        let dot = path.windows(3).position(|window| window == b"/./");
        let (outer, inner) = match dot {
            Some(at) => (&path[..at.max(1)], &path[at + 2..]),
            None => (path, &b"/"[..]),
        };
        let as_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let whole = match dot {
            Some(at) => [&path[..at], &path[at + 2..]].concat(),
            None => path.to_vec(),
        };
        match use_chroot {
            true => Self {
                path: as_path(&whole),
                chroot: Some(as_path(outer)),
                inside: as_path(inner),
            },
            false => Self {
                path: as_path(&whole),
                chroot: None,
                inside: as_path(&whole),
            },
        }
    }

    /// How paths of clients are read.
    fn ground(&self) -> Ground {
        match self.chroot.is_some() && self.inside == Path::new("/") {
            true => Ground::Chroot,
            false => Ground::Directory,
        }
    }
}

impl<'a> Entry<'a> {
    /// Looks up what the module says; nothing is given up yet.
    pub(crate) fn new(
        mut worker: Worker<'a>,
        module: Module,
        protocol: Protocol,
        admitted: Admitted,
    ) -> Result<Self, Leave> {
        let settings = &module.settings;
        worker.env.put("RSYNC_USER_NAME", &admitted.user);
        worker.journal.know("user", &admitted.user);
        let (uid, gid) = (
            settings.uid.expand(&worker.env),
            settings.gid.expand(&worker.env),
        );
        let identity = match Identity::find(&uid, &gid) {
            Ok(identity) => identity,
            Err(trouble) => return Err(worker.refuse(&trouble.client, Some(&trouble.log))),
        };
        let Some(path) = settings.path.value(&worker.env) else {
            let log = format!(
                "No path specified for module {}",
                String::from_utf8_lossy(&module.name)
            );
            return Err(worker.refuse("no path setting.", Some(&log)));
        };
        let way = Way::new(&path, uses_chroot(settings, &path, &worker));
        worker
            .env
            .put("RSYNC_MODULE_PATH", way.path.as_os_str().as_bytes());
        let rules = rules(settings, &worker).map_err(|BadRules { text, exit }| {
            worker.journal.warn(&text);
            worker.journal.warn(&rsync::last_line(exit, "Receiver"));
            Leave(exit.code())
        })?;
        let log = worker.setup.log(settings, &worker.env);
        if let Err(cause) = worker.journal.switch(log) {
            let cause = strerror(&cause);
            worker
                .journal
                .warn(&format!("failed to open the module's log file: {cause}"));
        }
        Ok(Self {
            worker,
            module,
            protocol,
            admitted,
            identity,
            way,
            rules,
        })
    }

    /// Enters, and serves the client. Returns the exit code. A module with hooks is entered by a process of its own,
    /// which has a `superior` that runs them.
    pub(crate) fn serve(mut self, superior: Option<Superior>) -> Result<u8, Leave> {
        self.worker.talk.limit(None);
        if superior.is_none() {
            let hooks = Hooks::of(&self.module.settings, &self.worker.env).map_err(|refused| {
                self.worker.journal.warn(&refused.to_string());
                Leave(Exit::Unsupported.code())
            })?;
            hooks.run_early(&mut self.worker)?;
            if hooks.need_supervision() {
                if !self.worker.config.globals.daemon_chroot.is_empty() {
                    let log = "hooks before and after the transfer need this program anew, which is not there in a \
                               \"daemon chroot\": the module is not served";
                    return Err(self.worker.refuse("fork failed", Some(log)));
                }
                return supervisor::run(self, &hooks);
            }
        }
        let root = self.descend()?;
        let settings = &self.module.settings;
        let munges = settings
            .munge_symlinks
            .unwrap_or(self.way.ground() == Ground::Directory);
        if munges && Path::new("/rsyncd-munged").is_dir() {
            let log = "Symlink munging is unsafe when a /rsyncd-munged directory exists.";
            let text = "daemon security issue -- contact admin";
            self.worker.refuse(text, Some(log));
            return Err(Leave(4));
        }
        if let Err(trouble) = self.identity.assume() {
            return Err(self.worker.refuse(&trouble.client, Some(&trouble.log)));
        }
        self.confine();
        let mut ok = Vec::new();
        let _ = DaemonLine::Ok.encode(&mut ok);
        let timeout = settings.timeout;
        let lacks_names = self.way.chroot.is_some() && settings.name_converter.is_empty();
        let is_numeric = settings.numeric_ids.unwrap_or(lacks_names);
        self.worker.arm(timeout);
        self.worker.say(&ok)?;
        let ground = self.way.ground();
        let confines = ground == Ground::Directory && !settings.insecure_links;
        let root = Arc::new(root);
        let temp_dir = self.open_temp_dir();
        Session {
            place: transfer::Module {
                name: self.module.name.clone(),
                path: match ground {
                    Ground::Chroot => PathBuf::from("/"),
                    Ground::Directory => std::env::current_dir().unwrap_or(self.way.inside),
                },
                root: confines.then(|| Arc::clone(&root)),
                temp_dir,
            },
            path: self.way.path,
            root,
            superior,
            ground,
            munges,
            is_numeric,
            rules: self.rules,
            worker: self.worker,
            module: self.module,
            protocol: self.protocol,
            admitted: self.admitted,
        }
        .serve()
    }

    /// Makes the module the working directory, in a new root if it has one.
    fn descend(&mut self) -> Result<Root, Leave> {
        if let Some(root) = &self.way.chroot {
            let entered = rustix::process::chroot(root).and_then(|()| rustix::process::chdir("/"));
            if let Err(errno) = entered {
                let (root, cause) = (root.display(), io::Error::from(errno));
                let log = format!(
                    "rsync: [Receiver] chroot(\"{root}\") failed: {}",
                    strerror(&cause)
                );
                return Err(self.worker.refuse("chroot failed", Some(&log)));
            }
        }
        self.open().map_err(|cause| {
            let inside = &self.way.inside;
            let path = std::path::absolute(inside).unwrap_or_else(|_| inside.clone());
            let (path, cause) = (path.display(), strerror(&cause));
            let log = format!("rsync: [Receiver] chdir {path} failed: {cause}");
            self.worker.refuse("chdir failed", Some(&log))
        })
    }

    /// The directory for temporary files, if there is one; a line in the log if it cannot be used.
    fn open_temp_dir(&self) -> Option<Arc<Root>> {
        let dir = self.temp_dir()?;
        match Root::open(&dir) {
            Ok(root) => Some(Arc::new(root)),
            Err(error) => {
                let (dir, cause) = (dir.display(), strerror(error.cause()));
                let log = format!("temp dir {dir} is not used: {cause}");
                self.worker.journal.warn(&log);
                None
            }
        }
    }

    /// Where temporary files go unless the client says something else: the command line wins.
    fn temp_dir(&self) -> Option<PathBuf> {
        let given = self.worker.setup.given.temp_dir.as_deref();
        let said = || self.module.settings.temp_dir.path(&self.worker.env);
        given.map(crate::as_path).or_else(said)
    }

    /// Leaves the module as all that this process can reach. The listener has said so where the kernel cannot do that.
    fn confine(&self) {
        let settings = &self.module.settings;
        sandbox::bound();
        if !settings.sandbox || settings.insecure_links {
            return;
        }
        let temp_dir = self.temp_dir();
        let write: Vec<&Path> = std::iter::once(self.way.inside.as_path())
            .chain(temp_dir.as_deref())
            .collect();
        let read: Vec<&Path> = SYSTEM_FILES.iter().map(Path::new).collect();
        let reach = Reach {
            write: &write,
            read: &read,
        };
        let _ = sandbox::confine(reach);
    }

    /// Opens the module and makes it the working directory.
    fn open(&self) -> io::Result<Root> {
        let policy = Policy {
            links: match self.way.ground() {
                // The kernel keeps us inside.
                Ground::Chroot => Links::Anywhere,
                Ground::Directory => Links::Beneath,
            },
            trusted_path: self.way.chroot.is_none(),
            ..Policy::default()
        };
        let root = Root::open_with(&self.way.inside, policy).map_err(tree::Error::into_cause)?;
        rustix::process::chdir(&self.way.inside)?;
        Ok(root)
    }
}

fn uses_chroot(settings: &Settings, path: &[u8], worker: &Worker<'_>) -> bool {
    if let Some(said) = settings.use_chroot {
        return said;
    }
    if path.windows(3).any(|window| window == b"/./") {
        return true;
    }
    match rustix::process::chroot("/") {
        Ok(()) => true,
        Err(errno) => {
            let cause = io::Error::from(errno);
            let cause = cause.to_string();
            let words = cause.split(" (os error").next().unwrap_or_default();
            worker.journal.note(&format!(
                "chroot test failed: {words}. Switching 'use chroot' from unset to false."
            ));
            false
        }
    }
}

/// Why there are no rules, without which a module is not served: a line for the log, and the end.
struct BadRules {
    text: String,
    exit: Exit,
}

impl From<filter::Error> for BadRules {
    fn from(error: filter::Error) -> Self {
        match &error {
            filter::Error::Unreadable { .. } => Self {
                // The system's number, as rsync writes it.
                text: format!("rsync: [Receiver] {error}").replace("(os error ", "("),
                exit: Exit::FileIo,
            },
            _ => Self {
                text: error.to_string(),
                exit: Exit::Syntax,
            },
        }
    }
}

/// The module's rules, in the order that counts.
fn rules(settings: &Settings, worker: &Worker<'_>) -> Result<Rules, BadRules> {
    let env = &worker.env;
    let mut rules = Rules::new(filter::Options {
        of_module: true,
        ..filter::Options::default()
    });
    let mut merge = |file: MergeFile<'_>| match file {
        MergeFile::Named(name) => read_file(Path::new(OsStr::from_bytes(name))).map(Some),
        MergeFile::InTree(_) | MergeFile::Above(_) => Ok(None),
    };
    rules.filter_words(&settings.filter.expand(env), &mut merge)?;
    if let Some(file) = settings.include_from.path(env) {
        let text = from_file("include", &file)?;
        rules.include_from(&text, &file.to_string_lossy())?;
    }
    rules.include_words(&settings.include.expand(env))?;
    if let Some(file) = settings.exclude_from.path(env) {
        let text = from_file("exclude", &file)?;
        rules.exclude_from(&text, &file.to_string_lossy())?;
    }
    rules.exclude_words(&settings.exclude.expand(env))?;
    Ok(rules)
}

fn from_file(kind: &str, file: &Path) -> Result<Vec<u8>, BadRules> {
    read_file(file).map_err(|cause| {
        let (file, cause) = (file.display(), strerror(&cause));
        BadRules {
            text: format!("rsync: [Receiver] failed to open {kind} file {file}: {cause}"),
            exit: Exit::FileIo,
        }
    })
}
