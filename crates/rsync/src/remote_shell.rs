//! Starting the other side through a remote shell (wire-session.md 1.5).

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};

use transfer::one_way;

use crate::env::Env;
use crate::given::{Family, Given};
use crate::host::{Access, Host};
use crate::meant::Meant;
use crate::stop::Stop;

/// The words of the command that leads to `host` and starts `server` there.
///
/// # Errors
/// A quote without its pair in the shell's command.
pub(crate) fn command(
    meant: &Meant,
    host: &Host,
    server: &[Vec<u8>],
    env: &Env,
) -> Result<Vec<Vec<u8>>, Stop> {
    let said = &meant.said;
    let shell = said
        .rsh
        .as_deref()
        .or_else(|| env.set("RSYNC_RSH"))
        .unwrap_or(b"ssh");
    let mut words = split(shell)?;
    let is_daemon = host.access != Access::Shell;
    let names_user = words.windows(2).skip(1).any(|pair| pair[0] == b"-l");
    let name = words
        .first()
        .map(|word| basename(word).to_vec())
        .unwrap_or_default();
    if let Some(user) = host.user.as_ref().filter(|_| !(is_daemon && names_user)) {
        words.extend([b"-l".to_vec(), user.clone()]);
    }
    if name == b"ssh" {
        words.extend(said.family.map(|family| {
            if family == Family::V4 {
                b"-4".to_vec()
            } else {
                b"-6".to_vec()
            }
        }));
    }
    words.push(host.name.clone());
    words.push(said.rsync_path.clone().unwrap_or_else(|| b"rsync".to_vec()));
    if is_daemon {
        words.extend([&b"--server"[..], b"--daemon", b"."].map(<[u8]>::to_vec));
    } else {
        words.extend(server.iter().cloned());
    }
    Ok(words)
}

/// A remote shell at work, and our end of the connection.
pub(crate) struct Shell {
    pub(crate) child: Child,
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
}

/// Starts the command. Its standard input and output are the connection, its standard error is ours.
///
/// Its output blocks unless the user forbade it. rsync 3.5.0 makes it non-blocking for all but `rsh`, which helps no
/// shell (`ssh` arranges for itself what it needs) and lets a plain `write` of others fail while we are busy.
///
/// # Errors
/// The system's.
pub(crate) fn spawn(words: &[Vec<u8>], host: &Host, said: &Given, env: &Env) -> io::Result<Shell> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(arguments.iter().map(|word| OsStr::from_bytes(word)));
    command.env_clear().envs(env.variables());
    // A shell on a display must not open windows for passwords unless somebody arranged for it.
    if env.get("SSH_ASKPASS").is_none() {
        command.env_remove("DISPLAY");
    }
    if let Access::Daemon { port: named } = host.access {
        let port = if named != 0 {
            i32::from(named)
        } else {
            said.port
        };
        command.env("RSYNC_PORT", port.to_string());
    }
    let (input, their_output) = one_way()?;
    let (their_input, output) = one_way()?;
    if said.blocking_io == Some(false) {
        rustix::io::ioctl_fionbio(&their_output, true)?;
    }
    let child = command
        .stdin(their_input)
        .stdout(their_output)
        .stderr(Stdio::inherit())
        .spawn()?;
    Ok(Shell {
        child,
        input,
        output,
    })
}

/// Splits at spaces. Quotes group; a doubled quote within its kind stands for one. Backslashes mean nothing.
fn split(command: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
    let (mut words, mut word, mut open) = (Vec::new(), None::<Vec<u8>>, None);
    let mut bytes = command.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match open {
            Some(quote) if byte == quote => {
                if bytes.next_if_eq(&quote).is_some() {
                    word.get_or_insert_default().push(byte);
                } else {
                    open = None;
                }
            }
            None if byte == b'\'' || byte == b'"' => {
                open = Some(byte);
                word.get_or_insert_default();
            }
            None if byte == b' ' => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(quote) = open {
        return Err(Stop::syntax(format!(
            "Missing trailing-{} in remote-shell command.",
            char::from(quote)
        )));
    }
    words.extend(word);
    Ok(words)
}

fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Aliases;
    use crate::parse::{Invocation, parse};

    fn shell(line: &[&str], env: &Env) -> Result<String, Stop> {
        let words: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        let Ok(Invocation::Transfer(given)) = parse(&words, &Aliases::default()) else {
            panic!("{line:?}")
        };
        let meant = Meant::new(*given, env, &jiff::Zoned::now()).expect("legal");
        let host = meant.route.host().expect("a remote route").clone();
        let words = command(&meant, &host, &[b"--server".to_vec()], env)?;
        let words: Vec<String> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        Ok(words.join("|"))
    }

    #[test]
    fn the_shell_gets_user_host_and_server() {
        let told = |line: &[&str]| shell(line, &Env::default()).expect("legal");
        assert_eq!(told(&["u@h:a", "d"]), "ssh|-l|u|h|rsync|--server");
        assert_eq!(
            told(&["-4", "-e", "/usr/bin/ssh -p 22", "h:a", "d"]),
            "/usr/bin/ssh|-p|22|-4|h|rsync|--server"
        );
        assert_eq!(
            told(&["-6", "-e", "rsh", "h:a", "d"]),
            "rsh|h|rsync|--server"
        );
        assert_eq!(
            told(&[
                "-e",
                "a 'b c' \"d\"\"e\" f\\g",
                "--rsync-path=x y",
                "h:a",
                "d"
            ]),
            "a|b c|d\"e|f\\g|h|x y|--server"
        );
        assert_eq!(
            told(&["-e", "ssh", "u@h::m", "d"]),
            "ssh|-l|u|h|rsync|--server|--daemon|."
        );
        assert_eq!(
            told(&["-e", "ssh -l x", "u@h::m", "d"]),
            "ssh|-l|x|h|rsync|--server|--daemon|."
        );
        assert_eq!(
            shell(&["h:a", "d"], &[("RSYNC_RSH", "my rsh")].into()).expect("legal"),
            "my|rsh|h|rsync|--server"
        );
    }

    /// The kernel's word for the flags of the standard output that a shell is started with.
    #[cfg(target_os = "linux")]
    fn output_flags(option: &str) -> u32 {
        use std::io::Read;

        let words = [option, "h:a", "d"].map(|word| word.as_bytes().to_vec());
        let Ok(Invocation::Transfer(given)) = parse(&words, &Aliases::default()) else {
            panic!("{option}")
        };
        let env: Env = [("PATH", "/usr/bin:/bin")].into();
        let meant = Meant::new(*given, &env, &jiff::Zoned::now()).expect("legal");
        let host = meant.route.host().expect("a remote route");
        let command = ["sh", "-c", "cat /proc/$$/fdinfo/1"].map(|word| word.as_bytes().to_vec());
        let mut shell = spawn(&command, host, &meant.said, &env).expect("sh");
        drop(shell.output);
        let mut told = String::new();
        let mut output = std::os::unix::net::UnixStream::from(shell.input);
        output.read_to_string(&mut told).expect("its output");
        assert!(shell.child.wait().expect("its status").success());
        let flags = told
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .expect("a line with the flags");
        u32::from_str_radix(flags.trim(), 8).expect("an octal number")
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn output_blocks_unless_it_is_forbidden() {
        let is_blocking =
            |option: &str| output_flags(option) & rustix::fs::OFlags::NONBLOCK.bits() == 0;
        assert!(is_blocking("-r") && is_blocking("--blocking-io"));
        assert!(!is_blocking("--no-blocking-io"));
    }

    #[test]
    fn a_quote_without_its_pair() {
        assert_eq!(
            shell(&["-e", "ssh 'x", "h:a", "d"], &Env::default()),
            Err(Stop::syntax("Missing trailing-' in remote-shell command."))
        );
    }
}
