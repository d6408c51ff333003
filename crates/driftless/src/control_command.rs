//! `driftless status`, `approve` and the other commands to running mirrors, over their control sockets.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use mirror::control::{Request, ask, socket_path};
use serde_json::Value;

use crate::state;

mod status_text;

pub(crate) use self::status_text::escaped;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Puts the cursor in the first line and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

const HELP: &str = "\
Speaks to running mirrors.

Usage: driftless COMMAND [NAME] [OPTION...]

Commands:
  status   how each replica is: its state, how far behind, how fast, what fails, what waits for approval
  approve  release the brake of a replica: do what it holds back, accept a source that was replaced
  pause    bring nothing over until resume
  resume   end a pause
  rescan   compare the whole tree with what the replica is known to hold
  verify   compare the replica itself and mend it
  flush    wait until everything seen so far has been brought over

NAME is a replica's name or a tree's; approve needs one, the others mean all without it.

Options:
      --state FILE    the mirror with this state file; by default all with theirs in the usual place
      --socket FILE   the mirror with this control socket
      --timeout S     how long flush waits (60)
      --watch         status again every second
      --json          print answers as they come
  -h, --help          print this
";

/// Runs the command with its arguments.
#[must_use]
pub fn main(command: &str, arguments: Vec<OsString>) -> ExitCode {
    match run(command, arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("driftless: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// What the command line asks for.
struct Asked {
    request: Request,
    /// The replica or tree it is about.
    name: Option<String>,
    /// Where to ask; the usual places if empty.
    sockets: Vec<PathBuf>,
    json: bool,
    watch: bool,
}

fn run(command: &str, arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let Some(asked) = parse(command, arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let printed = match asked.watch {
        true => watch(&asked),
        false => io::stdout().write_all(answers(&asked)?.as_bytes()),
    };
    match printed {
        // Whoever was reading has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
    }
}

fn parse(command: &str, arguments: Vec<OsString>) -> anyhow::Result<Option<Asked>> {
    let (mut sockets, mut name, mut timeout) = (Vec::new(), None, None);
    let (mut json, mut watch) = (false, false);
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("state") => sockets.push(socket_path(Path::new(&parser.value()?))),
            Arg::Long("socket") => sockets.push(PathBuf::from(parser.value()?)),
            Arg::Long("timeout") if command == "flush" => timeout = Some(parser.value()?.parse()?),
            Arg::Long("watch") if command == "status" => watch = true,
            Arg::Long("json") => json = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Value(value) if name.is_none() => {
                name = Some(value.to_string_lossy().into_owned());
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(Asked {
        request: request(command, name.clone(), timeout)?,
        name,
        sockets,
        json,
        watch,
    }))
}

/// Shows the answers again and again, also across a mirror's restart.
fn watch(asked: &Asked) -> io::Result<()> {
    let mut out = io::stdout();
    loop {
        let shown = answers(asked).unwrap_or_else(|error| match asked.json {
            true => format!("{}\n", serde_json::json!({"error": error.to_string()})),
            false => format!("driftless: {error:#}\n"),
        });
        if out.is_terminal() {
            out.write_all(CLEAR.as_bytes())?;
        }
        out.write_all(shown.as_bytes())?;
        out.flush()?;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Asks every mirror that may be meant, and puts what they answer into words.
fn answers(asked: &Asked) -> anyhow::Result<String> {
    let is_usual = asked.sockets.is_empty();
    let sockets = match is_usual {
        true => usual_sockets(),
        false => asked.sockets.clone(),
    };
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for socket in &sockets {
        match ask(socket, &asked.request) {
            Ok(answer) if answer["ok"] == true => answered.push(answer),
            Ok(answer) => refused.push(answer["error"].as_str().unwrap_or_default().to_owned()),
            // What a killed mirror left there.
            Err(error) if is_usual && is_nobody(&error) => {}
            Err(error) if is_nobody(&error) => {
                refused.push(format!(
                    "no mirror is running at {}: start it with driftless mirror, or name another by --state FILE",
                    socket.display()
                ));
            }
            Err(error) => refused.push(format!("{}: {error}", socket.display())),
        }
    }
    if answered.is_empty() && refused.is_empty() {
        let directory = state::directory().unwrap_or_default();
        bail!(
            "no mirror is running here (there is no socket that answers in {}); one with its state elsewhere is named by --state FILE",
            directory.display()
        );
    }
    // A name is that of one mirror; the others do not know it.
    if answered.is_empty() || (asked.name.is_none() && !refused.is_empty()) {
        bail!("{}", refused.join("; "));
    }
    if let (Request::Status {}, Some(name)) = (&asked.request, &asked.name) {
        let about = |mut answer: Value| {
            answer["status"] = status_text::about(answer["status"].take(), name)?;
            Some(answer)
        };
        answered = answered.into_iter().filter_map(about).collect();
        if answered.is_empty() {
            bail!("there is no replica {name} here; driftless status lists them");
        }
    }
    let show = |answer: &Value| match &answer["status"] {
        Value::Null if asked.json => format!("{answer}\n"),
        Value::Null => format!("{}\n", done(&asked.request)),
        status if asked.json => format!("{status}\n"),
        status => status_text::lines(status),
    };
    Ok(answered.iter().map(show).collect())
}

/// What has been done, in words.
fn done(request: &Request) -> &'static str {
    match request {
        Request::Status {} => "",
        Request::Approve { .. } => "approved: what was held back is brought over now",
        Request::Pause { .. } => "paused: nothing is brought over until driftless resume",
        Request::Resume { .. } => "resumed",
        Request::Rescan { .. } => {
            "the whole tree is compared; driftless status shows how far that is"
        }
        Request::Verify { .. } => {
            "the replica itself is compared; driftless status shows what is found"
        }
        Request::Flush { .. } => "everything seen so far has been brought over",
    }
}

/// Whether nobody listens at a socket.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

fn request(
    command: &str,
    replica: Option<String>,
    timeout: Option<f64>,
) -> anyhow::Result<Request> {
    Ok(match command {
        "status" => Request::Status {},
        "approve" => Request::Approve {
            replica: replica
                .context("the replica's name is missing; driftless status lists them")?,
        },
        "pause" => Request::Pause { replica },
        "resume" => Request::Resume { replica },
        "rescan" => Request::Rescan { replica },
        "verify" => Request::Verify { replica },
        "flush" => Request::Flush { replica, timeout },
        _ => bail!("no command {command}"),
    })
}

/// The control sockets where mirrors keep their state unless they are told.
fn usual_sockets() -> Vec<PathBuf> {
    let names = state::directory().and_then(|directory| list(&directory));
    let mut sockets: Vec<PathBuf> = names
        .into_iter()
        .flatten()
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sock")
        })
        .collect();
    sockets.sort();
    sockets
}

#[expect(
    clippy::disallowed_methods,
    reason = "the state directory is the operator's, never a transferred path"
)]
fn list(directory: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).ok()?;
    Some(entries.flatten().map(|entry| entry.path()).collect())
}
