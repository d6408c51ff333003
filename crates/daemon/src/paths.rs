//! What the paths of a client mean in a module (wire-session.md 2.8).
//!
//! Names alone are dealt with here: a path that comes out of it has no `..` and begins at the module. That no symbolic
//! link on it leads out is the engine's to see to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use filter::{Glob, Rules, Side};
use tree::{Kind, Root};

/// How paths of a module are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The process' root is the module: paths begin with a slash.
    Chroot,
    /// The module is the working directory: paths are relative to it.
    Directory,
}

/// The words after `.` as paths of the module, before wildcards.
///
/// A client of old may name several paths in one word (`module/a module/b`), but not in a secluded block.
pub(crate) fn requested(
    words: &[Vec<u8>],
    module: &[u8],
    is_secluded: bool,
    ground: Ground,
    keeps_dots: bool,
) -> Vec<Vec<u8>> {
    let divider = [b" ", module, b"/"].concat();
    let mut paths = Vec::new();
    for word in words {
        let word = word.strip_prefix(module).unwrap_or(word);
        let pieces = match is_secluded {
            true => vec![word],
            false => split(word, &divider),
        };
        paths.extend(
            pieces
                .into_iter()
                .map(|piece| clean(piece, ground, keeps_dots)),
        );
    }
    paths
}

/// Splits at each divider; its slash stays with what follows.
fn split<'a>(mut word: &'a [u8], divider: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = word
        .windows(divider.len())
        .position(|window| window == divider)
    {
        pieces.push(&word[..at]);
        word = &word[at + divider.len() - 1..];
    }
    pieces.push(word);
    pieces
}

/// A path with no way out: `..` goes no higher than the module.
///
/// With `keeps_dots` a `.` stays in a path, where `--relative` cuts names (`/./`).
pub(crate) fn clean(path: &[u8], ground: Ground, keeps_dots: bool) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    let mut last: &[u8] = b"";
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" => {}
            b"." if !keeps_dots => {}
            b".." => while components.pop().is_some_and(|left| left == b".") {},
            component => components.push(component),
        }
        last = component;
    }
    // A `.` at the end is no mark.
    if keeps_dots && last == b"." {
        components.pop();
    }
    // What cannot be a file's name stands for what a directory holds.
    let ends_in_slash = matches!(last, b"" | b"." | b"..");
    let mut whole = components.join(&b'/');
    match ground {
        Ground::Chroot => whole.insert(0, b'/'),
        Ground::Directory if whole.is_empty() => return b".".to_vec(),
        Ground::Directory => {}
    }
    if ends_in_slash && !whole.ends_with(b"/") && !whole.is_empty() {
        whole.push(b'/');
    }
    whole
}

/// Paths and their wildcards, looked up beneath the module. What the module's rules hide is not found.
pub(crate) struct Wildcards<'a> {
    /// The module.
    pub(crate) root: &'a Root,
    /// Its rules.
    pub(crate) rules: &'a Rules,
}

/// So many matches that a client must mean harm.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// What the matches of one request may take, in bytes: far more than any directory that somebody works with.
const BYTES_MAX: usize = 64 << 20;

impl Wildcards<'_> {
    /// The paths that `path` stands for, in the order of the directories; itself if it has no wildcard or nothing
    /// matches. Braces and `~` mean nothing.
    pub(crate) fn expand(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, TooMany> {
        let mut found = vec![Vec::new()];
        let mut components = path.split(|&byte| byte == b'/').peekable();
        while let Some(component) = components.next() {
            let end: &[u8] = if components.peek().is_some() {
                b"/"
            } else {
                b""
            };
            if component.iter().any(|byte| b"*?[".contains(byte)) {
                found = self.matches(&found, component, end)?;
            } else {
                for path in &mut found {
                    path.extend([component, end].concat());
                }
            }
        }
        if found.is_empty() {
            found.push(path.to_vec());
        }
        Ok(found)
    }

    fn matches(
        &self,
        above: &[Vec<u8>],
        component: &[u8],
        end: &[u8],
    ) -> Result<Vec<Vec<u8>>, TooMany> {
        let glob = Glob::new(component);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for dir in above {
            for name in self.names(dir, &glob, !end.is_empty()) {
                let path = [dir, &name[..], end].concat();
                bytes += path.len() + size_of::<Vec<u8>>();
                if bytes > BYTES_MAX {
                    return Err(TooMany);
                }
                found.push(path);
            }
        }
        Ok(found)
    }

    /// The matching names in a directory. One that cannot be read has none, as for a shell.
    fn names(&self, dir: &[u8], glob: &Glob, dirs_only: bool) -> Vec<Vec<u8>> {
        let rel = dir.strip_prefix(b"/").unwrap_or(dir);
        let rel = rel.strip_suffix(b"/").unwrap_or(rel);
        let beneath = |name: &OsStr| Path::new(OsStr::from_bytes(rel)).join(name);
        let is_dir = |name: &OsStr, kind| match kind {
            Some(Kind::Symlink) | None => matches!(
                self.root.stat(&beneath(name)),
                Ok(Some(meta)) if meta.is_dir()
            ),
            Some(kind) => kind == Kind::Dir,
        };
        let entries = self.root.read_dir(Path::new(OsStr::from_bytes(rel)));
        entries
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| glob.is_match(entry.name.as_bytes()))
            .filter(|entry| {
                let is_dir = is_dir(&entry.name, entry.kind);
                let path = beneath(&entry.name);
                (is_dir || !dirs_only)
                    && !self.rules.excluded_with_parents(
                        path.as_os_str().as_bytes(),
                        is_dir,
                        Side::Sender,
                    )
            })
            .map(|entry| entry.name.into_encoded_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make trees of their own")]

    use std::fs;

    use tree::{Links, Policy};

    use super::*;

    fn text(paths: Vec<Vec<u8>>) -> Vec<String> {
        paths
            .into_iter()
            .map(|path| String::from_utf8(path).expect("ASCII"))
            .collect()
    }

    #[test]
    fn no_way_out_of_a_directory() {
        for (path, cleaned) in [
            ("/", "."),
            ("", "."),
            ("/a/b", "a/b"),
            ("/a//b/", "a/b/"),
            ("/../../etc/", "etc/"),
            ("/a/../../b", "b"),
            ("/a/..", "."),
            ("/a/b/..", "a/"),
            ("/a/./b/.", "a/b/"),
            ("..", "."),
        ] {
            let found = clean(path.as_bytes(), Ground::Directory, false);
            assert_eq!(String::from_utf8_lossy(&found), cleaned, "{path}");
        }
    }

    #[test]
    fn no_way_out_of_a_chroot() {
        for (path, cleaned) in [
            ("/", "/"),
            ("", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b/"),
            ("/../../etc/", "/etc/"),
            ("x", "/x"),
        ] {
            let found = clean(path.as_bytes(), Ground::Chroot, false);
            assert_eq!(String::from_utf8_lossy(&found), cleaned, "{path}");
        }
    }

    #[test]
    fn dots_that_cut_names_stay() {
        for (path, cleaned) in [
            ("/a/./b", "a/./b"),
            ("/./a", "./a"),
            ("/a/./../../b", "b"),
            ("/a/././..", "."),
        ] {
            let found = clean(path.as_bytes(), Ground::Directory, true);
            assert_eq!(String::from_utf8_lossy(&found), cleaned, "{path}");
        }
    }

    #[test]
    fn several_paths_in_a_word() {
        let read = |word: &str, is_secluded| {
            text(requested(
                &[word.as_bytes().to_vec()],
                b"m",
                is_secluded,
                Ground::Directory,
                false,
            ))
        };
        assert_eq!(read("m/a m/b/c m/d", false), ["a", "b/c", "d"]);
        assert_eq!(read("m/a m/b", true), ["a m/b"]);
        assert_eq!(read("m", false), ["."]);
        assert_eq!(read("m/-x", false), ["-x"]);
    }

    #[test]
    fn wildcards_see_what_clients_see() {
        let tree = tempfile::tempdir().expect("a directory");
        for dir in ["m1/sub", "m2/sub", "out"] {
            fs::create_dir_all(tree.path().join("top").join(dir)).expect(dir);
        }
        for file in ["top/m1/sub/f1", "top/m2/sub/f2", "top/hidden", "secret"] {
            fs::write(tree.path().join(file), "").expect(file);
        }
        std::os::unix::fs::symlink("..", tree.path().join("top/up")).expect("a link");
        let policy = Policy {
            links: Links::Beneath,
            ..Policy::default()
        };
        let root = Root::open_with(&tree.path().join("top"), policy).expect("a directory");
        let mut rules = Rules::default();
        rules.exclude(b"hidden").expect("a pattern");
        let wildcards = Wildcards {
            root: &root,
            rules: &rules,
        };
        let expand = |path: &str| {
            let mut found = text(wildcards.expand(path.as_bytes()).expect("few matches"));
            found.sort();
            found
        };
        assert_eq!(expand("m*"), ["m1", "m2"]);
        assert_eq!(expand("/m*/s*/f?"), ["/m1/sub/f1", "/m2/sub/f2"]);
        assert_eq!(expand("h*"), ["h*"]);
        assert_eq!(expand("up/s*"), ["up/s*"]);
        assert_eq!(expand("*/secret"), ["m1/secret", "m2/secret", "out/secret"]);
        assert_eq!(expand("a"), ["a"]);
        assert_eq!(expand("{m1,m2}"), ["{m1,m2}"]);
    }
}
