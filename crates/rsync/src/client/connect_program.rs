//! A program in place of a TCP connection to a daemon (`RSYNC_CONNECT_PROG`, wire-session.md 1.6).

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::env::Env;

/// The command for `host`: `%H` is its name, quoted for a shell, `%%` is a percent sign. `None` for a name that a shell
/// or the program could take for something else.
pub(super) fn command(template: &[u8], host: &[u8]) -> Option<Vec<u8>> {
    if !template.contains(&b'%') {
        return Some(template.to_vec());
    }
    if !is_safe(host) {
        return None;
    }
    let mut command = Vec::new();
    let mut bytes = template.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(b'H') if byte == b'%' => {
                bytes.next();
                command.extend([b"'", host, b"'"].concat());
            }
            Some(b'%') if byte == b'%' => {
                bytes.next();
                command.push(b'%');
            }
            _ => command.push(byte),
        }
    }
    Some(command)
}

fn is_safe(host: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-%+~".contains(byte);
    host.iter().all(is_plain) && host.first().is_some_and(|first| !b"-+~%".contains(first))
}

/// Starts the command with one end of a connection as its standard input and output, and returns the other end.
///
/// # Errors
/// The system's.
pub(super) fn start(command: &[u8], env: &Env) -> io::Result<TcpStream> {
    let (ours, theirs) = pair()?;
    let shell = env.set("RSYNC_SHELL").unwrap_or(b"/bin/sh");
    Command::new(OsStr::from_bytes(shell))
        .arg("-c")
        .arg(OsStr::from_bytes(command))
        .env_clear()
        .envs(env.variables())
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    Ok(ours)
}

/// Two ends of one connection over the loopback: a daemon that is started so looks for the address of its client.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (theirs, from) = listener.accept()?;
        // Anybody on this machine could have been faster.
        if from == ours.local_addr()? {
            return Ok((ours, theirs));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_host_is_quoted_and_never_an_option() {
        for (template, host, command) in [
            ("nc h 873", "-x y", Some("nc h 873")),
            ("nc %H 873", "a.b", Some("nc 'a.b' 873")),
            ("a%%b %x %", "h", Some("a%b %x %")),
            ("%H", "-h", None),
            ("%H", "", None),
            ("%H", "a'b", None),
            ("%%", "a b", None),
        ] {
            assert_eq!(
                super::command(template.as_bytes(), host.as_bytes()),
                command.map(|command| command.as_bytes().to_vec()),
                "{template} {host}"
            );
        }
    }

    #[test]
    fn a_program_is_at_the_other_end() {
        let env: Env = [("PATH", "/usr/bin:/bin"), ("WORD", "from")].into();
        let mut ours = start(b"read line; echo \"$line $WORD\"", &env).expect("sh");
        ours.write_all(b"greetings\n").expect("written");
        let mut answer = String::new();
        ours.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, "greetings from\n");
    }
}
