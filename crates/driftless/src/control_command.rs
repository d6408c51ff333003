//! `driftless status`, `approve` and the other commands to running mirrors, over their control sockets.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use mirror::control::{Request, ask, socket_path};
use serde_json::Value;

use crate::state;

const HELP: &str = "\
Speaks to running mirrors.

Usage: driftless COMMAND [NAME] [OPTION...]

Commands:
  status   how each replica is: its state, how far behind, what fails, what waits for approval
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

fn run(command: &str, arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let (mut sockets, mut name, mut timeout, mut json) = (Vec::new(), None, None, false);
    let mut parser = Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("state") => sockets.push(socket_path(Path::new(&parser.value()?))),
            Arg::Long("socket") => sockets.push(PathBuf::from(parser.value()?)),
            Arg::Long("timeout") => timeout = Some(parser.value()?.parse()?),
            Arg::Long("json") => json = true,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            Arg::Value(value) if name.is_none() => {
                name = Some(value.to_string_lossy().into_owned());
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let request = request(command, name.clone(), timeout)?;
    if sockets.is_empty() {
        sockets = usual_sockets();
    }
    if sockets.is_empty() {
        bail!("no mirror is running here; one with its state elsewhere is named by --state FILE");
    }
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for socket in &sockets {
        match ask(socket, &request) {
            Ok(answer) if answer["ok"] == true => answered.push(answer),
            Ok(answer) => refused.push(answer["error"].as_str().unwrap_or_default().to_owned()),
            Err(error) => refused.push(format!("{}: {error}", socket.display())),
        }
    }
    // A name is that of one mirror; the others do not know it.
    if answered.is_empty() || (name.is_none() && !refused.is_empty()) {
        bail!("{}", refused.join("; "));
    }
    for answer in answered {
        let status = &answer["status"];
        match status.is_null() {
            true if json => println!("{answer}"),
            true => {}
            false if json => println!("{status}"),
            false => show(status, name.as_deref()),
        }
    }
    Ok(ExitCode::SUCCESS)
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

/// One tree's status for people.
fn show(status: &Value, name: Option<&str>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tree = text(&status["name"]);
    println!("{tree} ({})", text(&status["source"]));
    let named = |replica: &&Value| {
        name.is_none_or(|name| name == tree || replica["name"] == name || replica["place"] == name)
    };
    for replica in status["replicas"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(named)
    {
        println!(
            "  {}: {}, {} waiting, lag {:.1} s",
            text(&replica["name"]),
            text(&replica["state"]),
            replica["waiting"],
            replica["lag"].as_f64().unwrap_or_default()
        );
        let brake = &replica["brake"];
        if !brake.is_null() {
            println!("    waits for approval: {}", text(&replica["brake_reason"]));
        }
        if let Some(reason) = replica["failure"]["reason"].as_str() {
            println!("    fails: {reason}");
        }
        for (path, reason) in replica["standing"].as_object().into_iter().flatten() {
            println!("    stays different: {path}: {}", text(reason));
        }
        if let Some(reason) = replica["refuses_deletions"].as_str() {
            println!("    deletes nothing: {reason}");
        }
        if let Some(found) = replica["verification"].as_object() {
            let state = match found["ended"].is_null() {
                true => "verifying",
                false => "verified",
            };
            println!(
                "    {state}: {} files compared, {} mended",
                found["files"], found["mended"]
            );
        }
    }
}
