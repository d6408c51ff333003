//! Wildcards in the paths of a secluded argument block, which no shell has expanded (wire-session.md 2.8).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use filter::Glob;
use tree::{Kind, Links, Policy, Root};

use crate::stop::Stop;

/// The paths that `word` stands for, in the order of the directories; the word itself if it has no wildcard or nothing
/// matches. Braces and `~` mean nothing.
///
/// # Errors
/// So many matches that a client must mean harm, as with `*/../*/../*`.
pub(crate) fn expand(word: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
    let mut paths = vec![Vec::new()];
    let mut components = word.split(|&byte| byte == b'/').peekable();
    while let Some(component) = components.next() {
        let end: &[u8] = match components.peek() {
            Some(_) => b"/",
            None => b"",
        };
        if has_wildcard(component) {
            paths = matches(&paths, component, end)?;
        } else {
            for path in &mut paths {
                path.extend([component, end].concat());
            }
        }
    }
    if paths.is_empty() {
        paths.push(word.to_vec());
    }
    Ok(paths)
}

/// What the matches of one word may take: far more than any directory that somebody works with.
const BYTES_MAX: usize = 64 << 20;

fn has_wildcard(component: &[u8]) -> bool {
    component.iter().any(|byte| b"*?[".contains(byte))
}

/// Every path below that ends in a name that matches; directories only if something follows.
fn matches(paths: &[Vec<u8>], component: &[u8], end: &[u8]) -> Result<Vec<Vec<u8>>, Stop> {
    let glob = Glob::new(component);
    let mut found = Vec::new();
    let mut bytes = 0;
    for path in paths {
        for name in names(path, &glob, !end.is_empty()) {
            let path = [path, &name[..], end].concat();
            bytes += path.len() + size_of::<Vec<u8>>();
            if bytes > BYTES_MAX {
                return Err(Stop::option("the wildcards of an argument match too much"));
            }
            found.push(path);
        }
    }
    Ok(found)
}

/// The matching names in a directory. One that cannot be read has none, as for a shell.
fn names(dir: &[u8], glob: &Glob, dirs_only: bool) -> Vec<Vec<u8>> {
    let dir = if dir.is_empty() { b"." } else { dir };
    let policy = Policy {
        links: Links::Anywhere,
        ..Policy::default()
    };
    let Ok(root) = Root::open_with(Path::new(OsStr::from_bytes(dir)), policy) else {
        return Vec::new();
    };
    let leads_to_dir = |name: &OsStr, kind| match kind {
        Some(Kind::Symlink) | None => root
            .stat(Path::new(name))
            .is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == Kind::Dir)),
        Some(kind) => kind == Kind::Dir,
    };
    root.read_dir(Path::new(""))
        .unwrap_or_default()
        .into_iter()
        .filter(|entry| glob.is_match(entry.name.as_bytes()))
        .filter(|entry| !dirs_only || leads_to_dir(&entry.name, entry.kind))
        .map(|entry| entry.name.into_encoded_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make trees of their own")]

    use std::fs;

    use super::*;

    /// What a word stands for beneath a tree, sorted, without the tree's own path.
    fn expanded(tree: &Path, word: &str) -> Vec<String> {
        let top = format!("{}/", tree.display());
        let paths = expand(format!("{top}{word}").as_bytes()).expect("few matches");
        let mut paths: Vec<String> = paths
            .into_iter()
            .map(|path| String::from_utf8(path).expect("ASCII"))
            .map(|path| path.strip_prefix(&top).expect("beneath").to_owned())
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn as_rsync_expands() {
        let tree = tempfile::tempdir().expect("a directory");
        let tree = tree.path();
        for dir in [".hid", "m1/sub", "m2/sub", "m[1]"] {
            fs::create_dir_all(tree.join(dir)).expect(dir);
        }
        for file in [".dot", "a", "m1/sub/f1", "m2/sub/f2"] {
            fs::write(tree.join(file), "").expect(file);
        }
        std::os::unix::fs::symlink("m1", tree.join("link")).expect("a link");

        for (word, paths) in [
            ("a", &["a"][..]),
            (".*", &[".dot", ".hid"]),
            ("m*", &["m1", "m2", "m[1]"]),
            ("m[12]/", &["m1/", "m2/"]),
            ("m\\[1\\]", &["m[1]"]),
            // Files are no way to further names; links to directories are.
            ("*/sub/f?", &["link/sub/f1", "m1/sub/f1", "m2/sub/f2"]),
            // What follows without a wildcard need not exist.
            ("m[12]/x", &["m1/x", "m2/x"]),
            ("m?//sub", &["m1//sub", "m2//sub"]),
            ("m1/../l*", &["m1/../link"]),
            ("l**/f1", &["link/f1"]),
            // Nothing matches.
            ("x*", &["x*"]),
            ("m*/x*", &["m*/x*"]),
            ("m\\*", &["m\\*"]),
            ("[", &["["]),
            ("{m1,m2}", &["{m1,m2}"]),
        ] {
            assert_eq!(expanded(tree, word), paths, "{word}");
        }
    }

    #[test]
    fn a_relative_word_starts_here() {
        let paths = expand(b"Cargo.t?ml").expect("one match");
        assert_eq!(paths, [b"Cargo.toml"]);
        assert_eq!(expand(b"").expect("itself"), [b""]);
    }

    #[test]
    fn matches_are_bounded() {
        let tree = tempfile::tempdir().expect("a directory");
        for number in 0..32 {
            fs::create_dir(tree.path().join(number.to_string())).expect("a directory");
        }
        let word = format!("{}/{}", tree.path().display(), "*/../".repeat(500));
        assert!(matches!(expand(word.as_bytes()), Err(Stop::Refuse(..))));
    }
}
