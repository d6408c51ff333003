//! `driftless mirror`: arguments to settings, events to lines, signals to an orderly end.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, never, select, tick, unbounded};
use mirror::{
    Changes, Handle, Mirror, PageSettings, ReplicaState, Service, Settings, StatusPage, Trees,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod arguments;
mod bars;
mod display;

use arguments::{Asked, MirrorArguments, parse};
use display::Display;

use crate::configuration::{ConfigFile, Shown};
use crate::notify::Notifier;

/// What `--help` prints; the manual page and the shell completions are made from it.
#[must_use]
pub fn help() -> &'static str {
    arguments::HELP
}

/// Runs the command with its arguments, without the program's and the command's name.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match parse(arguments) {
        Ok(Asked::Help) => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        Ok(Asked::Mirror(mut asked)) => match run(&mut asked) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        },
        Err(error) => {
            eprintln!("driftless: {error:#}\nTry driftless mirror --help.");
            ExitCode::from(1)
        }
    }
}

/// Says what went wrong. Returns the exit code for it.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("driftless: {error:#}");
    let code = error.downcast_ref().map_or(1, mirror::Error::exit_code);
    ExitCode::from(code)
}

fn run(asked: &mut MirrorArguments) -> anyhow::Result<()> {
    if asked.check {
        for settings in &asked.settings {
            Mirror::check(settings)?;
        }
        println!("driftless: the configuration is in order");
        return Ok(());
    }
    let settings = std::mem::take(&mut asked.settings);
    let file = asked.file.as_ref();
    serve(settings, file, asked.verbose, &asked.shown, || ())
}

/// Runs mirrors until they end or a signal ends them. What comes from a file is read again on SIGHUP. `started` is called when
/// all of them have been.
pub(crate) fn serve(
    settings: Vec<Settings>,
    file: Option<&ConfigFile>,
    verbose: bool,
    shown: &Shown,
    started: impl FnOnce(),
) -> anyhow::Result<()> {
    let display = Arc::new(Display::new(verbose, shown.log.unwrap_or_default()));
    let result = run_until_told(settings, file, shown, &display, started);
    display.end();
    if let Err(error) = &result {
        display.fail(&format!("{error:#}"));
    }
    result
}

fn run_until_told(
    settings: Vec<Settings>,
    file: Option<&ConfigFile>,
    shown: &Shown,
    display: &Arc<Display>,
    started: impl FnOnce(),
) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals")?;
    let trees = Trees::default();
    // An address that is taken is said before anything is touched.
    let mut page = Served::new(trees.clone());
    page.show(shown.page.as_ref(), display)?;
    let report = Arc::clone(display);
    display.begin(settings.iter().map(|tree| tree.replicas.len()).sum());
    let service = Service::start(settings, Arc::new(move |event| report.show(event)), trees)?;
    if display.wants_total() {
        measure(page.trees.clone(), display)?;
    }
    let signal_handle = signals.handle();
    let (tell, told) = unbounded();
    let take = move || {
        for signal in signals.forever() {
            // Nobody listens any more when everything has ended.
            let _ = tell.send(signal);
        }
    };
    let taker = std::thread::Builder::new().spawn(take);
    let taker = taker.context("cannot start a thread for signals")?;
    let mut running = Running {
        service,
        page,
        file,
        display,
        manager: Notifier::from_env(),
    };
    running.notify(Notifier::ready);
    started();
    let result = running.wait(&told);
    running.notify(Notifier::stopping);
    running.service.stop();
    signal_handle.close();
    // A panic in there has been printed, and the mirrors have ended anyway.
    let _ = taker.join();
    result
}

/// Looks how much there is to bring over, while it is brought over already.
fn measure(trees: Trees, display: &Arc<Display>) -> anyhow::Result<()> {
    let display = Arc::clone(display);
    let measure = move || {
        let trees = trees.handles();
        display.expect(trees.iter().map(Handle::measure).sum());
    };
    let thread = std::thread::Builder::new().spawn(measure);
    thread.map(drop).context("cannot start a thread")
}

/// What runs, and where it comes from.
struct Running<'a> {
    service: Service,
    page: Served,
    file: Option<&'a ConfigFile>,
    display: &'a Display,
    /// Who started the service, if that is somebody who listens.
    manager: Option<Notifier>,
}

impl Running<'_> {
    /// Waits for the end, and reloads until then.
    fn wait(&mut self, signals: &Receiver<i32>) -> anyhow::Result<()> {
        let mut result = Ok(());
        let ended = self.service.ended();
        let watchdog = self.manager.as_ref().and_then(Notifier::watchdog);
        let heartbeat = watchdog.map_or_else(never, |patience| tick(patience / 3));
        loop {
            select! {
                recv(heartbeat) -> _ => self.tell_that_it_lives(),
                recv(signals) -> signal => match (signal, self.file) {
                    (Ok(SIGHUP), Some(file)) => {
                        self.reload(file);
                        if self.service.is_idle() {
                            anyhow::bail!("nothing is mirrored any more");
                        }
                    }
                    _ => return result,
                },
                recv(ended) -> ended => {
                    let Ok(ended) = ended else { return result };
                    let is_last = self.service.bury(&ended);
                    if let Err(error) = ended.result {
                        if !is_last {
                            self.display.complain(&format!("{}: {error}", ended.name));
                        }
                        result = result.and(Err(error.into()));
                    }
                    if is_last {
                        return result;
                    }
                }
            }
        }
    }

    /// Looks at every replica, which takes its locks: a mirror that is stuck tells nothing.
    fn tell_that_it_lives(&self) {
        let trees = self.page.trees.handles();
        let replicas: Vec<_> = trees
            .iter()
            .flat_map(|tree| tree.status().replicas)
            .collect();
        let is_in_step = |state: ReplicaState| state == ReplicaState::InStep;
        let in_step = replicas.iter().filter(|replica| is_in_step(replica.state));
        let status = format!("{} of {} replicas in step", in_step.count(), replicas.len());
        self.notify(|manager| manager.alive(&status));
    }

    fn notify(&self, tell: impl FnOnce(&Notifier)) {
        if let Some(manager) = &self.manager {
            tell(manager);
        }
    }

    fn reload(&mut self, file: &ConfigFile) {
        self.notify(Notifier::reloading);
        let reloaded = file.read().and_then(|said| {
            let changes = self.service.reload(said.settings)?;
            self.page.show(said.shown.page.as_ref(), self.display)?;
            Ok(changes)
        });
        match reloaded {
            Ok(Changes {
                kept,
                started,
                stopped,
            }) => self.display.say(&format!(
                "read {} again: {} kept, {} started, {} stopped",
                file.path.display(),
                kept.len(),
                started.len(),
                stopped.len()
            )),
            Err(error) => self.display.complain(&format!("not reloaded: {error:#}")),
        }
        self.notify(Notifier::ready);
    }
}

/// The status page, while one is wanted.
struct Served {
    trees: Trees,
    page: Option<StatusPage>,
}

impl Served {
    fn new(trees: Trees) -> Self {
        Self { trees, page: None }
    }

    /// Serves the page as it is wanted now; one that is as it was goes on.
    fn show(&mut self, wanted: Option<&PageSettings>, display: &Display) -> anyhow::Result<()> {
        if self.page.as_ref().map(StatusPage::settings) == wanted {
            return Ok(());
        }
        // Before the new one, which may want the same port.
        self.page = None;
        if let Some(wanted) = wanted {
            let page = StatusPage::start(wanted, self.trees.clone())?;
            display.say(&format!("status page at http://{}/", page.address()));
            self.page = Some(page);
        }
        Ok(())
    }
}
