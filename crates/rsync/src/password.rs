//! The password for a daemon: from a file, or from the user.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::named_file::NamedFiles;
use crate::output::strerror;
use crate::stop::{Stop, shown};

/// The first line of a file that nobody else may read; `-` is standard input.
///
/// # Errors
/// rsync's words for a file that is not there, or not to be trusted.
pub(crate) fn read(files: &NamedFiles, file: &[u8], role: &str) -> Result<Vec<u8>, Stop> {
    let unreadable = |cause: io::Error| {
        let (name, cause) = (shown(file), strerror(&cause));
        Stop::syntax(format!(
            "rsync: [{role}] could not open password file {name}: {cause}"
        ))
    };
    let mut text = Vec::new();
    if file == b"-" {
        io::stdin().read_to_end(&mut text).map_err(unreadable)?;
    } else {
        let mut opened = files.open(file).map_err(unreadable)?;
        let meta = opened.metadata().map_err(unreadable)?;
        if meta.mode() & 0o006 != 0 {
            return Err(Stop::syntax(
                "ERROR: password file must not be other-accessible",
            ));
        }
        if rustix::process::geteuid().is_root() && meta.uid() != 0 {
            return Err(Stop::syntax(
                "ERROR: password file must be owned by root when running as root",
            ));
        }
        opened.read_to_end(&mut text).map_err(unreadable)?;
    }
    match first_line(&text) {
        nothing if nothing.is_empty() => Err(Stop::syntax(format!(
            "ERROR: failed to read a password from {}",
            shown(file)
        ))),
        password => Ok(password),
    }
}

/// Asks the user, on the terminal if there is one. What cannot be read is empty.
pub(crate) fn ask() -> Vec<u8> {
    // Without a terminal or an answer there is no password, and the daemon will say so.
    let _ = io::stderr()
        .write_all(b"Password: ")
        .and_then(|()| io::stderr().flush());
    match File::open("/dev/tty") {
        Ok(terminal) => without_echo(&terminal),
        Err(_) => line_of(&mut io::stdin().lock()),
    }
}

fn without_echo(terminal: &File) -> Vec<u8> {
    let Ok(before) = tcgetattr(terminal) else {
        return line_of(&mut BufReader::new(terminal));
    };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // A terminal that keeps its echo is better than none.
    let _ = tcsetattr(terminal, OptionalActions::Flush, &silent);
    let line = line_of(&mut BufReader::new(terminal));
    let _ = tcsetattr(terminal, OptionalActions::Flush, &before);
    let _ = io::stderr().write_all(b"\n");
    line
}

fn line_of(reader: &mut dyn BufRead) -> Vec<u8> {
    let mut line = Vec::new();
    let _ = reader.read_until(b'\n', &mut line);
    first_line(&line)
}

fn first_line(text: &[u8]) -> Vec<u8> {
    text.split(|byte| b"\r\n".contains(byte))
        .next()
        .unwrap_or_default()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::io::Write;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::given::Given;

    #[test]
    fn a_password_file_holds_one_on_its_first_line() {
        let files = NamedFiles::of(&Given::nothing());
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"secret\r\nmore\n").expect("written");
        let name = file.path().as_os_str().as_bytes();
        assert_eq!(read(&files, name, "sender"), Ok(b"secret".to_vec()));
        let empty = tempfile::NamedTempFile::new().expect("a file");
        let shown = empty.path().display();
        assert_eq!(
            read(&files, empty.path().as_os_str().as_bytes(), "sender"),
            Err(Stop::syntax(format!(
                "ERROR: failed to read a password from {shown}"
            )))
        );
        set_permissions(file.path(), Permissions::from_mode(0o604)).expect("ours");
        assert_eq!(
            read(&files, name, "sender"),
            Err(Stop::syntax(
                "ERROR: password file must not be other-accessible"
            ))
        );
        let gone =
            "rsync: [sender] could not open password file /nonex/x: No such file or directory (2)";
        assert_eq!(read(&files, b"/nonex/x", "sender"), Err(Stop::syntax(gone)));
    }

    #[test]
    fn a_line_ends_at_its_line_end_or_the_inputs() {
        assert_eq!(line_of(&mut &b"abc\ndef"[..]), b"abc");
        assert_eq!(line_of(&mut &b""[..]), b"");
    }
}
