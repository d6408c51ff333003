//! Batch files, and the script that applies one (behaviour.md 7.18, wire-session.md 10.4).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use filter::Dialect;
use transfer::{Options, Recording};

use crate::engine;
use crate::exit::Exit;
use crate::host::Route;
use crate::meant::Meant;
use crate::named_file::NamedFiles;
use crate::output::strerror;
use crate::stop::Stop;

/// Opens the batch that was asked for: the file to read, or the file to write with its script beside it.
///
/// # Errors
/// rsync's words for files that cannot be opened or written (code 11; 3 for the script).
pub(crate) fn open(meant: &Meant, options: &Options) -> Result<Option<Recording>, Stop> {
    let said = &meant.said;
    if said.server {
        return Ok(None);
    }
    let files = NamedFiles::of(said);
    match (&said.write_batch, &said.read_batch) {
        // A dry run has nothing to record.
        (Some(_), _) if said.dry_run => Ok(None),
        (Some(name), _) => {
            let path = [&name[..], b".sh"].concat();
            let mut script = write(&files, &path, 0o700, Exit::FileSelect)?;
            let file = Arc::new(write(&files, name, 0o600, Exit::FileIo)?);
            script
                .write_all(&text_of_script(meant, options)?)
                .map_err(|_| {
                    let shown = String::from_utf8_lossy(&path).into_owned();
                    Stop::Refuse(format!("Batch file {shown} write error"), Exit::FileIo)
                })?;
            Ok(Some(match said.only_write_batch {
                true => Recording::OnlyWrite(file),
                false => Recording::Write(file),
            }))
        }
        (None, Some(name)) => Ok(Some(Recording::Read(Arc::new(read(&files, name)?)))),
        (None, None) => Ok(None),
    }
}

fn write(files: &NamedFiles, name: &[u8], mode: u32, exit: Exit) -> Result<File, Stop> {
    files
        .create(name, mode)
        .map_err(|cause| unopened(name, &cause, exit))
}

fn read(files: &NamedFiles, name: &[u8]) -> Result<File, Stop> {
    let failed = |cause: io::Error| unopened(name, &cause, Exit::FileIo);
    if name == b"-" {
        let stdin = rustix::io::dup(rustix::stdio::stdin());
        return stdin.map(File::from).map_err(|errno| failed(errno.into()));
    }
    let file = files.open(name).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_fifo() {
        return Ok(file);
    }
    let text = format!(
        "Batch file \"{}\" is neither a regular file nor a FIFO",
        full_name(name)
    );
    Err(Stop::Refuse(text, Exit::FileIo))
}

fn unopened(name: &[u8], cause: &io::Error, exit: Exit) -> Stop {
    let (name, cause) = (full_name(name), strerror(cause));
    let text = format!("rsync: [Receiver] Batch file \"{name}\" open error: {cause}");
    Stop::Refuse(text, exit)
}

fn full_name(name: &[u8]) -> String {
    let path = engine::path(name);
    let full = std::env::current_dir().map(|dir| dir.join(&path));
    full.unwrap_or(path).display().to_string()
}

/// The command line that applies the batch, with the rules as its input.
fn text_of_script(meant: &Meant, options: &Options) -> Result<Vec<u8>, Stop> {
    let said = &meant.said;
    let modern = meant.protocol >= 29;
    let dialect = Dialect::of_protocol(u32::try_from(meant.protocol).unwrap_or(0));
    let rules = options.rules.for_script(dialect);
    let rules = rules.map_err(|error| Stop::Refuse(error.to_string(), Exit::Protocol))?;
    let program = std::env::args_os().next().unwrap_or_default();
    let mut line = quoted(program.as_bytes());
    if !rules.is_empty() {
        line.extend_from_slice(match modern {
            true => b" --filter='._-'",
            false => b" --exclude-from='-'",
        });
    }
    for word in without_operands(&said.words, &said.operands) {
        line.push(b' ');
        line.extend(word);
    }
    let destination = match &meant.route {
        Route::Local { destination, .. } | Route::Pull { destination, .. } => destination.as_ref(),
        Route::Push { .. } => said.operands.last(),
    };
    if let Some(destination) = destination {
        line.extend_from_slice(b" ${1:-");
        line.extend(quoted(destination));
        line.push(b'}');
    }
    if !rules.is_empty() {
        line.extend_from_slice(b" <<'#E#'\n");
        let end = if said.from0 { b'\0' } else { b'\n' };
        for rule in rules {
            line.extend(rule);
            line.push(end);
        }
        if said.from0 {
            line.extend_from_slice(b";\n");
        }
        line.extend_from_slice(b"#E#");
    }
    line.push(b'\n');
    Ok(line)
}

/// The options, quoted, as one that reads the batch needs them: without what names files and rules.
fn without_operands(words: &[Vec<u8>], operands: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut options = Vec::new();
    let mut operands = operands.iter().peekable();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if operands.next_if_eq(&word).is_some() || word == b"--" {
            continue;
        }
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) if word.starts_with(b"--") => (&word[..at], Some(&word[at + 1..])),
            _ => (&word[..], None),
        };
        let is_rule = NAMES_RULES.contains(&name);
        if is_rule && value.is_none() {
            words.next();
        }
        if is_rule || word.starts_with(b"-f") {
            continue;
        }
        let writes = matches!(name, b"--write-batch" | b"--only-write-batch");
        options.push(match (writes, value) {
            (true, Some(value)) => [b"--read-batch=", &quoted(value)[..]].concat(),
            (true, None) => b"--read-batch".to_vec(),
            (false, Some(value)) => [name, b"=", &quoted(value)].concat(),
            (false, None) => quoted(word),
        });
    }
    options
}

const NAMES_RULES: &[&[u8]] = &[
    b"-f",
    b"--filter",
    b"--include",
    b"--include-from",
    b"--exclude",
    b"--exclude-from",
    b"--files-from",
];

fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}
