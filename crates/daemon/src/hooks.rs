//! Programs that an administrator has run for each client (wire-session.md 7.11): before the module is entered, before
//! the transfer, beside it, and after it.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rsync::{Env, strerror};

use crate::config::{Metacharacter, Settings};
use crate::converter::Program;
use crate::worker::{Leave, Worker};

/// The hooks of a module, as commands for a shell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    early: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    converter: Option<Vec<u8>>,
}

/// What the client is told of a program's output, in bytes.
const OUTPUT_MAX: u64 = 8 << 10;

/// The variables that hooks know of.
const VARIABLES: [&str; 6] = [
    "RSYNC_MODULE_NAME",
    "RSYNC_MODULE_PATH",
    "RSYNC_HOST_ADDR",
    "RSYNC_HOST_NAME",
    "RSYNC_USER_NAME",
    "RSYNC_PID",
];

impl Hooks {
    /// Reads the module's hooks.
    ///
    /// # Errors
    /// [`Metacharacter`], which a client may have chosen.
    pub(crate) fn of(settings: &Settings, env: &Env) -> Result<Self, Metacharacter> {
        if env.get("RSYNC_NO_XFER_EXEC").is_some() {
            return Ok(Self::default());
        }
        Ok(Self {
            early: settings.early_exec.command(env)?,
            before: settings.pre_xfer_exec.command(env)?,
            after: settings.post_xfer_exec.command(env)?,
            converter: settings.name_converter.command(env)?,
        })
    }

    /// Whether a program runs after rights have been given up.
    pub(crate) fn need_supervision(&self) -> bool {
        self.before.is_some() || self.after.is_some() || self.converter.is_some()
    }

    /// Runs the hook that comes first, which may turn the client away.
    pub(crate) fn run_early(&self, worker: &mut Worker<'_>) -> Result<(), Leave> {
        let Some(early) = &self.early else {
            return Ok(());
        };
        let mut command = command(early, &worker.env);
        command
            .env("RSYNC_REQUEST", "(NONE)")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let run = command.spawn().and_then(|mut child| {
            if let Some(mut input) = child.stdin.take() {
                // Whoever does not read it does not want it.
                let _ = input.write_all(&worker.early_input);
            }
            child.wait()
        });
        match run {
            Ok(status) if status.success() => Ok(()),
            // rsync has the system's words for what it then waits for in vain, in place of the program's status.
            Ok(_) => {
                let words = strerror(&rustix::io::Errno::CHILD.into());
                let log = format!("rsync: [Receiver] early exec failed: {words}");
                Err(worker.refuse("early exec failed", Some(&log)))
            }
            Err(cause) => {
                let log = format!("early exec preparation failed: {cause}");
                Err(worker.refuse("early exec preparation failed", Some(&log)))
            }
        }
    }

    /// Runs the hook before the transfer. Returns what the client is told if it may not have what it wants.
    pub(crate) fn run_before(
        &self,
        env: &Env,
        request: &[u8],
        arguments: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let mut command = command(self.before.as_ref()?, env);
        tell_request(&mut command, request, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut output = Vec::new();
        let run = command.spawn().and_then(|mut child| {
            if let Some(stdout) = child.stdout.take() {
                let mut stdout = stdout.take(OUTPUT_MAX);
                stdout.read_to_end(&mut output)?;
                // What is too much is read but not told, so that the program comes to its end.
                std::io::copy(&mut stdout.into_inner(), &mut std::io::sink())?;
            }
            child.wait()
        });
        let status = match run {
            Ok(status) if status.success() => return None,
            // rsync waits for a process in between, which ends with 1 where the program has been killed.
            Ok(status) => status.code().unwrap_or(1) << 8,
            Err(_) => -1,
        };
        let mut text = format!("pre-xfer exec returned failure ({status})").into_bytes();
        let output = output.trim_ascii_end();
        if !output.is_empty() {
            text.extend_from_slice(b":\n");
            text.extend_from_slice(output);
        }
        Some(text)
    }

    /// Starts the name converter. One that does not start is one that is gone when it is asked.
    pub(crate) fn start_converter(
        &self,
        env: &Env,
        request: &[u8],
        arguments: &[Vec<u8>],
    ) -> Option<Program> {
        let mut command = command(self.converter.as_ref()?, env);
        tell_request(&mut command, request, arguments);
        Program::start(command).ok()
    }

    /// Runs the hook after the transfer, whatever became of it.
    pub(crate) fn run_after(&self, env: &Env, status: ExitStatus) {
        let Some(after) = &self.after else {
            return;
        };
        let code = status.code().unwrap_or(-1);
        let mut command = command(after, env);
        command
            .env("RSYNC_EXIT_STATUS", code.to_string())
            .env("RSYNC_RAW_STATUS", status.into_raw().to_string());
        // Nobody is left to tell of a failure.
        let _ = command.status();
    }
}

/// A command for the shell, with what all hooks know.
fn command(text: &[u8], env: &Env) -> Command {
    let shell = env.get("RSYNC_SHELL").filter(|shell| !shell.is_empty());
    let os = std::ffi::OsStr::from_bytes;
    let mut command = Command::new(os(shell.unwrap_or(b"/bin/sh")));
    command.arg("-c").arg(os(text));
    for variable in VARIABLES {
        if let Some(value) = env.get(variable) {
            command.env(variable, os(value));
        }
    }
    command
}

/// What those know that start when the client has said what it wants.
fn tell_request(command: &mut Command, request: &[u8], arguments: &[Vec<u8>]) {
    let os = std::ffi::OsStr::from_bytes;
    command.env("RSYNC_REQUEST", os(request));
    for (at, argument) in arguments.iter().enumerate() {
        command.env(format!("RSYNC_ARG{at}"), os(argument));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        Env::from([("RSYNC_MODULE_NAME", "m"), ("RSYNC_USER_NAME", "joe")])
    }

    fn before(text: &str) -> Option<String> {
        let hooks = Hooks {
            before: Some(text.as_bytes().to_vec()),
            ..Hooks::default()
        };
        let arguments = [b"rsyncd".to_vec(), b"--server".to_vec()];
        let told = hooks.run_before(&env(), b"m/a b", &arguments);
        told.map(|text| String::from_utf8(text).expect("text"))
    }

    #[test]
    fn a_hook_before_the_transfer() {
        assert_eq!(before("true"), None);
        assert_eq!(
            before("exit 3").as_deref(),
            Some("pre-xfer exec returned failure (768)")
        );
        assert_eq!(
            before("echo $RSYNC_MODULE_NAME $RSYNC_REQUEST $RSYNC_ARG1; exit 1").as_deref(),
            Some("pre-xfer exec returned failure (256):\nm m/a b --server")
        );
        assert_eq!(
            before("kill -9 $$").as_deref(),
            Some("pre-xfer exec returned failure (256)")
        );
        let much = before("yes | head -c 100000; exit 1").expect("a failure");
        assert!(much.len() < 10_000);
    }

    #[test]
    fn hooks_can_be_turned_off() {
        let settings = Settings::default();
        let env = Env::from([("RSYNC_NO_XFER_EXEC", "1")]);
        let hooks = Hooks::of(&settings, &env).expect("no variables");
        assert!(!hooks.need_supervision());
    }
}
