//! `driftless sersync`, also by the names sersync and sersync2: sersync's options and its `confxml.xml`, with our mirror behind
//! them (mirror.md 1.1).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use mirror::Mirror;

use crate::configuration::{ConfigFile, Form, Shown};
use crate::mirror_command::{failure, serve};

const HELP: &str = "\
Mirrors what a sersync configuration says.

Usage: driftless sersync [-d] [-r] [-n N] [-o FILE] [-m PLUGIN]

  -d         run in the background
  -r         bring the whole tree over first: here that is always done, by comparing
  -n N       taken for compatibility: there are no worker threads to count
  -o FILE    the configuration (confxml.xml)
  -m PLUGIN  do not mirror; run one plugin on changes: refreshCDN, socket, http or command
  -h         print this

driftless convert FILE prints the configuration as TOML for driftless mirror --config, and what of it
means something else here.
";

/// Tells the process in the background that it is there.
const DETACHED: &str = "DRIFTLESS_SERSYNC_DETACHED";

/// sersync's plugins.
const PLUGINS: [&str; 4] = ["refreshCDN", "socket", "http", "command"];

/// Runs the command with its arguments, without its name.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match parse(arguments.clone()) {
        Ok(Some(asked)) => match run(&asked, arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        },
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("{words}");
            ExitCode::from(1)
        }
    }
}

struct Asked {
    background: bool,
    file: ConfigFile,
}

/// Reads the options; none if only help is wanted. The words of errors are sersync's.
fn parse(arguments: Vec<OsString>) -> Result<Option<Asked>, String> {
    let (mut background, mut path, mut plugin) = (false, PathBuf::from("confxml.xml"), None);
    let mut parser = Parser::from_args(arguments);
    let wrong = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Arg::Short('d') => background = true,
            Arg::Short('r') => {}
            Arg::Short('n') => {
                let _: u32 = parser
                    .value()
                    .and_then(|value| value.parse())
                    .map_err(wrong)?;
            }
            Arg::Short('o') => path = parser.value().map_err(wrong)?.into(),
            Arg::Short('m') => {
                let name = parser.value().and_then(ValueExt::string).map_err(wrong)?;
                if !PLUGINS.contains(&name.as_str()) {
                    return Err("模块名称错误".to_owned());
                }
                plugin = Some(name);
            }
            Arg::Short('h') => return Ok(None),
            Arg::Short(letter) => return Err(format!("命令行参数错误: 没有该选项-{letter}")),
            other => return Err(other.unexpected().to_string()),
        }
    }
    Ok(Some(Asked {
        background,
        file: ConfigFile {
            path,
            form: Form::Sersync { plugin },
            once: false,
            verify: false,
            shown: Shown::default(),
        },
    }))
}

fn run(asked: &Asked, arguments: Vec<OsString>) -> anyhow::Result<()> {
    let is_detached = std::env::var_os(DETACHED).is_some();
    let said = asked.file.read()?;
    if !is_detached {
        for note in &said.notes {
            eprintln!("driftless: {note}");
        }
    }
    if asked.background && !is_detached {
        // What is wrong is said while somebody can read it.
        for settings in &said.settings {
            Mirror::check(settings)?;
        }
        return detach(arguments);
    }
    if is_detached {
        // A session of its own: the terminal's end is not the mirror's.
        rustix::process::setsid().context("cannot leave the terminal")?;
    }
    serve(said.settings, Some(&asked.file), said.verbose, &said.shown)
}

/// Starts the same program anew, without a terminal.
fn detach(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let child = Command::new(program)
        .arg0("driftless")
        .arg(OsStr::new("sersync"))
        .args(arguments)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start in the background")?;
    println!(
        "driftless: sersync runs in the background as process {}",
        child.id()
    );
    Ok(())
}
