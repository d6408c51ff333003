//! Where a scan starts: what an argument, or a name of `--files-from`, means (wire-files.md 4).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::flist::{basename, join, parent};

/// One name to start from.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) base: PathBuf,
    /// The name in the list; `.` stands for the base itself.
    pub(super) name: Vec<u8>,
    /// It was named with a slash at the end: what it holds is meant, and a link to a directory is followed.
    pub(super) content: bool,
    /// Its parents are entries too.
    pub(super) relative: bool,
    /// `./` stood in front of it.
    pub(super) with_dot: bool,
}

impl Start {
    pub(super) fn of(source: &[u8], relative: bool) -> Result<Self, Error> {
        if relative {
            Self::relative(source)
        } else {
            Ok(Self::plain(source))
        }
    }

    fn plain(source: &[u8]) -> Self {
        let trimmed = trim_slashes(source);
        let last = basename(trimmed);
        let dot = source.ends_with(b"/") || matches!(last, b"." | b".." | b"");
        let (base, name) = match dot {
            true if trimmed.is_empty() && !source.is_empty() => (b"/".as_slice(), b".".as_slice()),
            true => (trimmed, b".".as_slice()),
            false if trimmed.starts_with(b"/") && parent(trimmed).is_empty() => {
                (b"/".as_slice(), last)
            }
            false => (parent(trimmed), last),
        };
        let base = PathBuf::from(OsString::from_vec(base.to_vec()));
        Self {
            base,
            name: name.to_vec(),
            content: dot,
            relative: false,
            with_dot: false,
        }
    }

    fn relative(source: &[u8]) -> Result<Self, Error> {
        let (base, active) = match source.windows(3).position(|window| window == b"/./") {
            Some(at) => (
                if at == 0 {
                    b"/".as_slice()
                } else {
                    &source[..at]
                },
                &source[at + 3..],
            ),
            None if source.starts_with(b"/") => (b"/".as_slice(), source),
            None => (b".".as_slice(), source),
        };
        let rooted = active.starts_with(b"/") && base == b"/" && source == active;
        let base = PathBuf::from(OsString::from_vec(base.to_vec()));
        let with_dot = active.starts_with(b"./");
        let content = active.ends_with(b"/")
            || active.ends_with(b"/.")
            || active == b"."
            || active.is_empty();
        let components: Vec<&[u8]> = active
            .split(|&byte| byte == b'/')
            .filter(|component| !matches!(*component, b"" | b"."))
            .collect();
        if components.contains(&b"..".as_slice()) {
            let shown = String::from_utf8_lossy(active);
            return Err(Error::Usage(format!(
                "found \"..\" dir in relative path: {shown}"
            )));
        }
        let mut name = components.join(&b'/');
        if rooted {
            name.insert(0, b'/');
        }
        if name.is_empty() {
            name = b".".to_vec();
        }
        Ok(Self {
            base,
            name,
            content,
            relative: true,
            with_dot,
        })
    }

    /// A name of `--files-from`: it cannot lead out of the source (behaviour.md 7.15).
    pub(super) fn listed(base: &Path, name: &[u8], relative: bool) -> Self {
        let base = base.as_os_str().as_bytes();
        let content = matches!(basename(name), b"" | b"." | b"..");
        let mut clean = confined(name, relative);
        if content && !clean.is_empty() {
            clean.push(b'/');
        }
        if !relative {
            return Self::plain(&join(base, &clean));
        }
        let (base, active) = match clean.windows(3).position(|window| window == b"/./") {
            Some(at) => (join(base, &clean[..at]), &clean[at + 3..]),
            None => (base.to_vec(), clean.as_slice()),
        };
        let steps = active.split(|&byte| byte == b'/');
        let steps: Vec<&[u8]> = steps.filter(|step| !matches!(*step, b"" | b".")).collect();
        Self {
            base: PathBuf::from(OsString::from_vec(base)),
            name: match steps.is_empty() {
                true => b".".to_vec(),
                false => steps.join(&b'/'),
            },
            with_dot: active.starts_with(b"./"),
            content,
            relative: true,
        }
    }
}

/// A path whose steps up lead no further than to where it begins. A `.` that is not its end may tell where the name begins:
/// it stays if it is one that `counts`, and then a step up takes it away like any other.
fn confined(path: &[u8], counts: bool) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path
        .strip_suffix(b"/.")
        .unwrap_or(path)
        .split(|&byte| byte == b'/')
    {
        match component {
            b"" => {}
            b"." if !counts => {}
            b".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    components.join(&b'/')
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let end = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |at| at + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(source: &str) -> (String, String, bool) {
        let start = Start::plain(source.as_bytes());
        (
            start.base.to_string_lossy().into_owned(),
            String::from_utf8(start.name).unwrap(),
            start.content,
        )
    }

    #[test]
    fn arguments_without_relative() {
        for (source, base, name, content) in [
            ("dir", ".", "dir", false),
            ("a/dir", "a", "dir", false),
            ("/dir", "/", "dir", false),
            ("a/dir/", "a/dir", ".", true),
            ("a/dir/.", "a/dir/.", ".", true),
            (".", ".", ".", true),
            ("..", "..", ".", true),
            ("", "", ".", true),
            ("/", "/", ".", true),
        ] {
            assert_eq!(
                plain(source),
                (base.to_owned(), name.to_owned(), content),
                "{source}"
            );
        }
    }

    #[test]
    fn a_relative_argument_begins_behind_its_dot() {
        for (source, base, name, content, with_dot) in [
            ("a/b", ".", "a/b", false, false),
            ("/a/b", "/", "/a/b", false, false),
            ("x/./a//b/", "x", "a/b", true, false),
            ("./a", ".", "a", false, true),
            ("x/./", "x", ".", true, false),
        ] {
            let start = Start::relative(source.as_bytes()).unwrap();
            assert_eq!(start.base, Path::new(base), "{source}");
            assert_eq!(start.name, name.as_bytes(), "{source}");
            assert_eq!(
                (start.content, start.with_dot),
                (content, with_dot),
                "{source}"
            );
        }
        assert!(Start::relative(b"a/../b").is_err());
    }

    /// As rsync takes them, seen by what it transfers.
    #[test]
    fn listed_names() {
        for (listed, base, name, content, with_dot) in [
            ("a/b", "top", "a/b", false, false),
            ("/a//b/", "top", "a/b", true, false),
            ("./a", "top", "a", false, true),
            ("/./a", "top", "a", false, true),
            ("a/./b", "top/a", "b", false, false),
            ("a/./b/./c", "top/a", "b/c", false, false),
            ("a/././b", "top/a", "b", false, true),
            ("././a", "top/.", "a", false, false),
            ("a/./", "top/a", ".", true, false),
            ("a/.", "top", "a", true, false),
            ("a/b/..", "top", "a", true, false),
            ("../../up", "top", "up", false, false),
            ("a/../../up/./x", "top/up", "x", false, false),
            ("a/b/./../c", "top", "a/b/c", false, false),
            ("..", "top", ".", true, false),
            (".", "top", ".", true, true),
        ] {
            let start = Start::listed(Path::new("top"), listed.as_bytes(), true);
            assert_eq!(start.base, Path::new(base), "{listed}");
            assert_eq!(start.name, name.as_bytes(), "{listed}");
            assert_eq!(
                (start.content, start.with_dot),
                (content, with_dot),
                "{listed}"
            );
        }
    }
}
