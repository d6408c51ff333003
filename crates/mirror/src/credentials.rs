//! Passwords for daemons, from where the operator keeps them.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Error;

/// The first line of a password file (`-` is standard input), with the conditions rsync makes (wire-session.md 7.7).
///
/// # Errors
/// [`Error::Password`]: the file cannot be read, others can read it, or it is empty.
pub fn password_from(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |text: String| Error::Password(text);
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut text)
            .map_err(|error| bad(format!("cannot read the password: {error}")))?;
    } else {
        let name = path.display();
        let failed = |error| bad(format!("could not open password file {name}: {error}"));
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.mode() & 0o007 != 0 {
            return Err(bad(format!(
                "password file {name} must not be other-accessible (chmod o= it)"
            )));
        }
        if rustix::process::geteuid().is_root() && meta.uid() != 0 {
            return Err(bad(format!(
                "password file {name} must be owned by root when running as root"
            )));
        }
        file.read_to_end(&mut text)
            .map_err(|error| bad(format!("cannot read {name}: {error}")))?;
    }
    let line = text
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()
        .unwrap_or_default();
    if line.is_empty() {
        return Err(bad(format!(
            "failed to read a password from {}",
            path.display()
        )));
    }
    Ok(line.to_vec())
}
