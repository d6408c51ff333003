//! What is to be watched: operands, lists in files, and `@` exclusions among both.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::io::Errno;

use super::error_text;

/// Paths as given; bytes, since names are bytes.
#[derive(Debug, Default)]
pub(crate) struct Operands {
    pub(crate) watched: Vec<Vec<u8>>,
    /// Without a slash at the end.
    pub(crate) excluded: BTreeSet<Vec<u8>>,
}

/// Longer lines of a list are split.
const LINE: usize = 4095;

impl Operands {
    /// Adds a path, or an exclusion if it begins with `@`. Empty ones are ignored.
    pub(crate) fn add(&mut self, path: Vec<u8>) {
        match path.strip_prefix(b"@") {
            Some([]) => {}
            Some(excluded) => {
                let excluded = excluded.strip_suffix(b"/").unwrap_or(excluded);
                self.excluded.insert(excluded.to_vec());
            }
            None if path.is_empty() => {}
            None => self.watched.push(path),
        }
    }

    pub(crate) fn add_all(&mut self, operands: Vec<OsString>) {
        for operand in operands {
            self.add(operand.into_vec());
        }
    }

    /// Adds the lines of a list; `-` is `stdin`. An error is the line for stderr.
    pub(crate) fn add_list(&mut self, list: &Path, stdin: &mut dyn Read) -> Result<(), String> {
        let mut text = Vec::new();
        let read = if list.as_os_str() == "-" {
            stdin.read_to_end(&mut text)
        } else {
            File::open(list).and_then(|mut file| file.read_to_end(&mut text))
        };
        if let Err(error) = read {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let list = list.display();
            return Err(format!("Couldn't open {list}: {}\n", error_text(error)));
        }
        for line in text.split(|&byte| byte == b'\n') {
            for piece in line.chunks(LINE) {
                self.add(piece.to_vec());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_operands() {
        let mut operands = Operands::default();
        operands.add_all(["a", "@", "", "@b/"].map(OsString::from).to_vec());
        let mut list: &[u8] = b"c\n\n@d\ne f";
        assert_eq!(operands.add_list(Path::new("-"), &mut list), Ok(()));
        assert_eq!(operands.watched, [&b"a"[..], b"c", b"e f"]);
        let excluded: Vec<&[u8]> = operands.excluded.iter().map(Vec::as_slice).collect();
        assert_eq!(excluded, [b"b", b"d"]);
    }

    #[test]
    fn a_missing_list_is_named() {
        let mut operands = Operands::default();
        let error = operands.add_list(Path::new("/nowhere"), &mut std::io::empty());
        let expected = "Couldn't open /nowhere: No such file or directory\n";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
