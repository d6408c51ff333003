//! The names of `--files-from` (behaviour.md 1.4, wire-session.md 6.6).

use transfer::FilesFrom;

use crate::meant::{Meant, NameList};
use crate::named_file::NamedFiles;
use crate::output::strerror;
use crate::stop::{Stop, shown};

/// What the engine is to transfer, if there is such a list.
///
/// # Errors
/// A list on this machine that cannot be read.
pub(crate) fn read(meant: &Meant) -> Result<Option<FilesFrom>, Stop> {
    match &meant.files_from {
        None => Ok(None),
        Some(NameList::Local(name)) if meant.said.server && name == b"-" => {
            Ok(Some(FilesFrom::Peer))
        }
        Some(NameList::Remote(_)) => Ok(Some(FilesFrom::Peer)),
        Some(NameList::Local(name)) => {
            let files = NamedFiles::of(&meant.said);
            let read = match meant.said.server {
                true => files.read_for_peer(name),
                false => files.read(name),
            };
            let text = read.map_err(|cause| {
                let cause = strerror(&cause);
                let words = cause
                    .rsplit_once(" (")
                    .map_or(cause.as_str(), |(words, _)| words);
                Stop::option(format!(
                    "failed to open files-from file {}: {words}",
                    shown(name)
                ))
            })?;
            // Only the reader that uses the names itself knows comments, also between NULs.
            let is_forwarded = meant.route.is_pull() || meant.said.server && !meant.said.sender;
            let has_comments = !is_forwarded;
            Ok(Some(FilesFrom::Names(names(
                &text,
                meant.said.from0,
                has_comments,
            ))))
        }
    }
}

pub(crate) fn names(text: &[u8], nul: bool, has_comments: bool) -> Vec<Vec<u8>> {
    let ends: &[u8] = if nul { b"\0" } else { b"\n\r\0" };
    text.split(|byte| ends.contains(byte))
        .filter(|name| !name.is_empty())
        .filter(|name| !(has_comments && matches!(name[0], b'#' | b';')))
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_comments() {
        let text = b"a\r\n# c\n;d\n\n b \ne\0f";
        assert_eq!(names(text, false, true), [&b"a"[..], b" b ", b"e", b"f"]);
        assert_eq!(
            names(text, false, false),
            [&b"a"[..], b"# c", b";d", b" b ", b"e", b"f"]
        );
        assert_eq!(names(b"a\nb\0#c\0", true, false), [&b"a\nb"[..], b"#c"]);
    }
}
