//! `driftless sersync`, also by the names sersync and sersync2: sersync's options and its `confxml.xml`, with our mirror behind
//! them (mirror.md 1.1).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the user's terminal"
)]

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
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
            Ok(code) => code,
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

fn run(asked: &Asked, arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
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
    serve(
        said.settings,
        Some(&asked.file),
        said.verbose,
        &said.shown,
        || {
            if is_detached {
                fall_silent();
            }
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What the process in the background says last to who has started it: that it mirrors.
const STARTED: u8 = 0;

/// Lets go of who has started this process.
fn fall_silent() {
    // Nobody may be there any more to hear it.
    let _ = std::io::stderr().write_all(&[STARTED]);
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        // A descriptor that is open already can be another's as well.
        let _ = rustix::stdio::dup2_stderr(nowhere);
    }
}

/// Starts the same program anew, without a terminal, and waits until it mirrors or has failed.
fn detach(arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .arg0("driftless")
        .arg(OsStr::new("sersync"))
        .args(arguments)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start in the background")?;
    // What it starts in turn may keep this open: it is not read to its end.
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        BufReader::new(errors).read_until(STARTED, &mut said)?;
    }
    let has_started = said.pop_if(|last| *last == STARTED).is_some();
    eprint!("{}", String::from_utf8_lossy(&said));
    if !has_started {
        let code = child.wait()?.code();
        return Ok(ExitCode::from(
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        ));
    }
    println!(
        "driftless: sersync runs in the background as process {}",
        child.id()
    );
    Ok(ExitCode::SUCCESS)
}
