//! One run of the program, from its arguments to its exit code.

mod told;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Stderr, Write};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Zoned;
use jiff::tz::TimeZone;
use rustix::fs::Mode;
use transfer::{Algorithms, Cancel, Event, Events, Options, Outcome, Recording, Role};

use crate::alias::Aliases;
use crate::env::Env;
use crate::exit::{Exit, Place};
use crate::given::{Buffering, Given, Stderr as Messages};
use crate::host::Route;
use crate::meant::Meant;
use crate::named_file::NamedFiles;
use crate::output::{
    Columns, ErrorPasses, Facts, Format, Human, Log, LogFile, Now, Passes, Printer, Settings,
    strerror,
};
use crate::parse::{self, Invocation, parse};
use crate::stop::{Stop, shown};
use crate::{batch, engine, help, hint, password, server};

use told::role_of;
pub(crate) use told::{parting_words, told};

/// The place in a final line.
macro_rules! place {
    ($role:expr) => {
        Place {
            file: file!().rsplit_once('/').map_or(file!(), |(_, file)| file),
            line: line!(),
            role: $role,
        }
    };
}
pub(crate) use place;

/// Runs `rsync` with these arguments (without the program's name) in this environment, and tells its exit code.
///
/// A daemon is not started here: a program that has one asks [`command_line`] first.
#[must_use]
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> u8 {
    let env = Env::new(environment);
    match command_line(arguments, &env) {
        Err(code) => code,
        Ok(Invocation::Transfer(given)) => run(*given, &env),
        Ok(Invocation::Daemon(_)) => {
            let text = "rsync: this program has no daemon".to_owned();
            stopped(Stop::Refuse(text, Exit::Unsupported), &place!("client"))
        }
    }
}

/// Reads a command line.
///
/// # Errors
/// The exit code, after help was shown or the fault was told.
pub fn command_line(
    arguments: impl IntoIterator<Item = OsString>,
    env: &Env,
) -> Result<Invocation, u8> {
    let words: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    parse(&words, &aliases(env)).map_err(|mut stop| {
        let is_server = words.iter().any(|word| word == b"--server");
        if let Stop::Refuse(text, _) = &mut stop
            && io::stderr().is_terminal()
        {
            // Scripts that read messages find rsync's own words only.
            text.extend(hint::for_fault(text).map(|hint| format!("\n{hint}")));
        }
        stopped(stop, &place!(if is_server { "server" } else { "client" }))
    })
}

/// Carries out a command line that is not a daemon's, and tells the exit code.
#[must_use]
pub fn run(given: Given, env: &Env) -> u8 {
    match given.version {
        0 => {}
        1 => return stopped(Stop::Show(help::version()), &place!("client")),
        _ => return stopped(Stop::Show(help::version_json()), &place!("client")),
    }
    let first_role = if given.server { "server" } else { "client" };
    let run =
        match server::secluded(given).and_then(|given| Run::new(given, env, Cancel::default())) {
            Ok(run) => run,
            Err(stop) => return stopped(stop, &place!(first_role)),
        };
    let options = match run.options() {
        Ok(options) => options,
        // What the protocol forbids is found when the session begins.
        Err(stop @ Stop::Refuse(_, Exit::Protocol)) => return stopped(stop, &place!(run.role())),
        Err(stop) => return stopped(stop, &place!(first_role)),
    };
    match run.go(options) {
        Ok(exit) => exit.code(),
        Err(stop) => stopped(stop, &place!(run.role())),
    }
}

/// The alias files that exist.
fn aliases(env: &Env) -> Aliases {
    let mut aliases = Aliases::default();
    let home = env.set("HOME").map(|home| [home, b"/.popt"].concat());
    for file in [Some(b"/etc/popt".to_vec()), home].into_iter().flatten() {
        aliases.read(&std::fs::read(engine::path(&file)).unwrap_or_default());
    }
    aliases
}

/// Tells why there is no run; the exit code.
fn stopped(stop: Stop, place: &Place) -> u8 {
    let (text, exit) = match stop {
        Stop::Show(text) => {
            let shown = io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| io::stdout().flush());
            return if shown.is_ok() {
                Exit::Success.code()
            } else {
                Exit::Messages.code()
            };
        }
        Stop::Usage => (help::usage(), Exit::Syntax),
        Stop::Refuse(text, exit) => (text + "\n", exit),
    };
    let last = exit.line(place).map_or(String::new(), |line| line + "\n");
    // There is nobody left to tell of an error on standard error.
    let _ = io::stderr().write_all((text + &last).as_bytes());
    exit.code()
}

/// A command line that makes sense, about to be carried out.
pub(crate) struct Run<'a> {
    pub(crate) meant: Meant,
    pub(crate) env: &'a Env,
    pub(crate) cancel: Cancel,
    /// SIGUSR1 was what cancelled the run.
    pub(crate) usr1: Arc<AtomicBool>,
}

/// Where a run's lines go.
pub(crate) type Lines = Printer<Box<dyn Write + Send>, Stderr>;

/// Who hears of a run: the engine's events, and what the command line itself has to say.
pub(crate) trait Audience: Events {
    /// A line that is no error.
    fn info(&self, line: &[u8]);
    /// A line about what goes wrong without ending the run.
    fn error(&self, line: &[u8]);
    /// The password for a daemon, if somebody can be asked for it.
    fn ask_password(&self) -> Option<Vec<u8>>;
}

/// How a run ended that was carried out.
pub(crate) struct Ended {
    /// There is no outcome after a list of a daemon's modules.
    pub(crate) result: Result<Option<Outcome>, transfer::Error>,
    /// The status of the remote shell.
    pub(crate) shell: Option<u8>,
}

/// The user at a terminal. The engine's threads report through one printer.
pub(crate) struct Sink<'a>(pub(crate) &'a Mutex<Lines>);

impl Sink<'_> {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Sink<'_> {
    fn event(&self, event: Event<'_>) {
        self.lines().event(&event, Now::read());
    }
}

impl Audience for Sink<'_> {
    fn info(&self, line: &[u8]) {
        self.lines().info(line, Now::read());
    }

    fn error(&self, line: &[u8]) {
        self.lines().error(line, Now::read());
    }

    fn ask_password(&self) -> Option<Vec<u8>> {
        Some(password::ask())
    }
}

impl<'a> Run<'a> {
    pub(crate) fn new(given: Given, env: &'a Env, cancel: Cancel) -> Result<Self, Stop> {
        let mut meant = Meant::new(given, env, &Zoned::now())?;
        if meant.route.host().is_none() && !meant.said.remote_options.is_empty() {
            // The receiving half of a local copy is the other side.
            let options = std::mem::take(&mut meant.said.remote_options);
            let given = parse::more(meant.said, &options).map_err(receiver_refused)?;
            meant = Meant::new(given, env, &Zoned::now())?;
        }
        Ok(Self {
            meant,
            env,
            cancel,
            usr1: Arc::default(),
        })
    }

    /// How rsync calls this side.
    pub(crate) fn role(&self) -> &'static str {
        if self.we_receive() {
            "Receiver"
        } else {
            "sender"
        }
    }

    pub(crate) fn we_receive(&self) -> bool {
        self.meant.route.is_pull()
            || self.meant.said.read_batch.is_some()
            || (self.meant.said.server && !self.meant.said.sender)
    }

    /// The engine's options.
    pub(crate) fn options(&self) -> Result<Options, Stop> {
        if self.meant.route.host().is_none() && !self.meant.said.server {
            engine::check_local_protocol(self.meant.protocol)?;
        }
        engine::options(
            &self.meant,
            self.env,
            self.we_receive(),
            umask(),
            &self.cancel,
        )
    }

    /// Carries the run out for the user of this process, who sees lines and may interrupt it.
    pub(crate) fn go(&self, options: Options) -> Result<Exit, Stop> {
        if let Route::Local {
            sources,
            destination,
        } = &self.meant.route
            && self.meant.said.server
        {
            return Ok(self.serve(options, sources, destination.as_deref()));
        }
        let start = Instant::now();
        let lines = Mutex::new(self.printer());
        self.heed_interrupts();
        let Ended { result, shell } = self.carry_out(options, &Sink(&lines))?;
        Ok(match result.transpose() {
            Some(result) => self.close(lines, result, start, shell),
            None => {
                let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
                lines.broken(Exit::Success)
            }
        })
    }

    /// Carries the run out: the end of a session that the user started, or both ends.
    pub(crate) fn carry_out(
        &self,
        mut options: Options,
        audience: &dyn Audience,
    ) -> Result<Ended, Stop> {
        for left_out in options.rules.take_warnings() {
            audience.error(left_out.to_string().as_bytes());
        }
        if let Some(recording) = batch::open(&self.meant, &options)? {
            options.batch = Some(recording);
        }
        match &self.meant.route {
            Route::Local {
                sources,
                destination,
            } => {
                let copied = self.local(options, sources, destination.as_deref(), audience);
                Ok(Ended {
                    result: copied.map(Some),
                    shell: None,
                })
            }
            Route::Push { host, .. } | Route::Pull { host, .. } => {
                self.remote(host, options, audience)
            }
        }
    }

    fn local(
        &self,
        options: Options,
        sources: &[Vec<u8>],
        destination: Option<&[u8]>,
        audience: &dyn Audience,
    ) -> Result<Outcome, transfer::Error> {
        self.tell_algorithms(&Algorithms::alone(&options), audience);
        self.assume_user()?;
        let sources: Vec<OsString> = sources.iter().cloned().map(OsString::from_vec).collect();
        let destination = destination.map(engine::path);
        let mut outcome = match (&options.batch, destination.as_deref()) {
            (Some(Recording::Read(_)), Some(path)) => {
                transfer::read_batch(options, path, audience)?
            }
            (_, path) => transfer::local_copy(options, &sources, path, audience)?,
        };
        // rsync counts the millisecond that it has begun.
        outcome.stats.list_build_ms += 1;
        Ok(outcome)
    }

    /// The algorithms of the session (`--debug=NSTR`).
    pub(crate) fn tell_algorithms(&self, algorithms: &Algorithms, audience: &dyn Audience) {
        if self.meant.debug.level("NSTR") == 0 {
            return;
        }
        let kind = |is_negotiated| if is_negotiated { "negotiated " } else { "" };
        let name = match &self.meant.checksum_choice {
            Some(choice) => shown(choice),
            None => wire::Algorithm::name(algorithms.checksum).to_owned(),
        };
        let kind_of_sum = kind(algorithms.is_checksum_negotiated);
        audience.info(format!("Client {kind_of_sum}checksum: {name}").as_bytes());
        if let Some((compression, level)) = algorithms.compression {
            let name = wire::Algorithm::name(compression);
            let kind = kind(algorithms.is_compression_negotiated);
            let line = format!("Client {kind}compress: {name} (level {level})");
            audience.info(line.as_bytes());
        }
    }

    /// The last lines of a run, and its exit code, which the status of a remote shell may raise.
    pub(crate) fn close(
        &self,
        lines: Mutex<Lines>,
        result: Result<Outcome, transfer::Error>,
        start: Instant,
        shell: Option<u8>,
    ) -> Exit {
        let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => return self.close_early(&mut lines, &error, shell),
        };
        let now = Now::read();
        lines.finished(&outcome, now.instant.duration_since(start), now);
        // A server has told its client, and of an orderly end the client speaks for both.
        let is_server = self.meant.said.server;
        if outcome.deletions_skipped > 0 && !is_server {
            let number = outcome.deletions_skipped;
            let line = format!("Deletions stopped due to --max-delete limit ({number} skipped)");
            lines.error(line.as_bytes(), now);
        }
        let own = Exit::of(outcome.exit_code());
        let exit = lines.broken(Exit::of(own.code().max(shell.unwrap_or(0))));
        let is_told = is_server && exit == own;
        let last = exit.line(&place!(self.role())).filter(|_| !is_told);
        lines.last_line(last.as_deref(), now);
        exit
    }

    /// The last lines of a run that came to an early end, and its exit code, which the status of a remote shell may raise.
    pub(crate) fn close_early(
        &self,
        lines: &mut Lines,
        error: &transfer::Error,
        shell: Option<u8>,
    ) -> Exit {
        let now = Now::read();
        let (exit, role) = match error {
            transfer::Error::Cancelled if self.is_time_up() => {
                lines.error(b"stopping at requested limit", now);
                (Exit::Timeout, self.role())
            }
            transfer::Error::Cancelled if self.usr1.load(Ordering::Relaxed) => {
                (Exit::Signalled, self.role())
            }
            error => {
                let role = match error {
                    transfer::Error::Fatal { role, .. } => *role,
                    _ => Role::Sender,
                };
                for line in told(error, self.role()) {
                    lines.error_of(role, line.as_bytes(), now);
                }
                (Exit::of(error.exit_code()), role_of(error, self.role()))
            }
        };
        // What ended here by itself is not the shell's fault.
        let is_own = match error {
            transfer::Error::Fatal { code, .. } => Exit::of(*code) != Exit::Stream,
            transfer::Error::Cancelled
            | transfer::Error::Stalled(_)
            | transfer::Error::Filter(_)
            | transfer::Error::Usage(_)
            | transfer::Error::Unsupported(_)
            | transfer::Error::NoCommon(_) => true,
            _ => false,
        };
        let shell = shell.filter(|_| !is_own);
        let exit = lines.broken(Exit::of(exit.code().max(shell.unwrap_or(0))));
        // A peer that told us its code has told the user why.
        let is_told = matches!(error, transfer::Error::PeerExit { .. })
            && exit == Exit::of(error.exit_code());
        let last = exit.line(&place!(role)).filter(|_| !is_told);
        lines.last_line(last.as_deref(), now);
        exit
    }

    /// What is said of an error that ends the run: nothing of one that the peer has told us.
    pub(crate) fn last_words(&self, error: &transfer::Error) -> Vec<String> {
        if matches!(error, transfer::Error::PeerExit { .. }) {
            return Vec::new();
        }
        parting_words(error, self.role())
    }

    pub(crate) fn printer(&self) -> Lines {
        self.printer_to(self.stdout())
    }

    /// Lines for `out`, for standard error and for the log file that was asked for.
    pub(crate) fn printer_to(&self, out: Box<dyn Write + Send>) -> Lines {
        let said = &self.meant.said;
        let settings = self.settings();
        let (pid, zone) = (settings.facts.pid, settings.facts.zone.clone());
        let name = said.log_file.as_deref().filter(|name| !name.is_empty());
        let (log, failed) = match name.map(|name| NamedFiles::of(said).append(name, 0o644)) {
            None => (None, None),
            Some(Ok(file)) => {
                let log: Box<dyn Log> = Box::new(LogFile::new(file, pid, zone));
                (Some(log), None)
            }
            Some(Err(cause)) => (None, Some(cause)),
        };
        let mut lines = Printer::new(out, io::stderr(), settings, log);
        if let Some(cause) = failed {
            let path = String::from_utf8_lossy(said.log_file.as_deref().unwrap_or_default());
            let cause = strerror(&cause);
            let role = if said.server { "server" } else { "client" };
            let line = format!("rsync: [{role}] failed to open log-file {path}: {cause}");
            lines.error(line.as_bytes(), Now::read());
            let ignored = b"Ignoring \"log file\" setting.";
            match said.server {
                // Its session has not begun.
                true => lines.error(ignored, Now::read()),
                false => lines.info(ignored, Now::read()),
            }
        }
        lines
    }

    /// Where the lines go that are no errors.
    fn stdout(&self) -> Box<dyn Write + Send> {
        let said = &self.meant.said;
        if said.stderr == Some(Messages::All) {
            return Box::new(io::stderr());
        }
        // A terminal sees each line at once, a pipe whole blocks.
        let is_line_wise = io::stdout().is_terminal();
        let default = if is_line_wise {
            Buffering::Line
        } else {
            Buffering::Block
        };
        match said.outbuf.unwrap_or(default) {
            Buffering::None | Buffering::Line => Box::new(io::stdout()),
            Buffering::Block => Box::new(BufWriter::with_capacity(OUTPUT_BLOCK, io::stdout())),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let meant = &self.meant;
        let said = &meant.said;
        let zone = TimeZone::system();
        let human = Human(said.human);
        let is_local = meant.route.host().is_none();
        let log_format = said.log_file_format.as_deref().unwrap_or(b"%i %n%L");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|variable| self.env.get(variable));
        let (own, of_server) = match said.eight_bit {
            true => (Passes::EightBit, Passes::EightBit),
            false => (Passes::of_locale(locale), Passes::Ascii),
        };
        Settings {
            quiet: said.quiet,
            is_server: said.server,
            info: meant.info.clone(),
            debug: meant.debug.clone(),
            format: meant
                .out_format
                .as_deref()
                .filter(|_| !said.server)
                .map(Format::parse),
            itemizes: meant
                .out_format
                .as_deref()
                .is_some_and(|format| Format::parse(format).has_any(b"i")),
            all_items: said.itemize > 1,
            log_format: Some(Format::parse(log_format)),
            facts: Facts {
                sends: !self.we_receive(),
                keeps_times: said.times,
                has_flags: meant.protocol >= 29,
                keeps_owners: meant.owner,
                keeps_groups: meant.group,
                checksum_width: checksum_width(meant),
                pid: std::process::id(),
                zone: zone.clone(),
                visitor: None,
            },
            columns: Columns {
                human,
                targets: said.links,
                atimes: said.atimes > 0,
                zone,
            },
            human,
            passes: if said.server { Passes::All } else { own },
            error_passes: ErrorPasses {
                sender: if said.server { of_server } else { own },
                receiver: if is_local { of_server } else { own },
            },
            is_receiving: self.we_receive() || (is_local && !said.server),
            lists_dirs: meant.dirs,
            whole_files: meant
                .whole_file
                .unwrap_or(is_local && !said.server && said.write_batch.is_none()),
            is_dry_run: said.dry_run,
            is_batch_only: said.only_write_batch,
            protocol: meant.protocol,
        }
    }
}

/// The receiving half of a local copy has ended over an option of its own.
fn receiver_refused(stop: Stop) -> Stop {
    match stop {
        Stop::Refuse(text, exit) => {
            let text = text.replacen("rsync: ", "rsync: on remote machine: ", 1);
            let last = exit.line(&place!("server")).unwrap_or_default();
            let closed = "rsync: connection unexpectedly closed (0 bytes received so far) [sender]";
            Stop::Refuse(format!("{text}\n{last}\n{closed}"), Exit::Stream)
        }
        other => other,
    }
}

/// What is gathered for a pipe before it is written.
const OUTPUT_BLOCK: usize = 64 << 10;

/// The mask of the process. Where the system does not tell it, it is set for a moment, in which another thread may
/// create a file.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let mask = told.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok());
    mask.unwrap_or_else(|| {
        let mask = rustix::process::umask(Mode::empty());
        rustix::process::umask(mask);
        mask.bits()
    })
}

/// The digits of a checksum that a line without one leaves blank.
fn checksum_width(meant: &Meant) -> usize {
    let chosen = if meant.said.checksum {
        meant.checksums.file
    } else {
        meant.checksums.transfer
    };
    2 * chosen.unwrap_or(wire::Checksum::Xxh128).digest_length()
}
