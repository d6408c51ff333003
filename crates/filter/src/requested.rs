//! The names that a receiver asked for: a sender may not list any other (behaviour 5.7).

use crate::pattern::Pattern;

/// How far below a requested directory a sender may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Not into it.
    Named,
    /// Its entries (--dirs).
    Content,
    /// Everything (--recursive).
    Recursive,
}

/// The paths that were requested, as patterns for the names they can appear under.
#[derive(Debug, Clone)]
pub struct Requested {
    relative: bool,
    depth: Depth,
    patterns: Vec<Pattern>,
    /// The same without wildcards: a file may really be called `[x`.
    literals: Vec<Vec<u8>>,
}

impl Requested {
    /// Nothing is requested yet. `relative` tells that names carry their whole path (--relative).
    pub fn new(relative: bool, depth: Depth) -> Self {
        Requested {
            relative,
            depth,
            patterns: Vec::new(),
            literals: Vec::new(),
        }
    }

    /// Adds a path as it goes to the server, without the name of a daemon's module.
    pub fn add(&mut self, path: &[u8]) {
        let name = if self.relative {
            relative_name(path)
        } else {
            path.rsplit(|&byte| byte == b'/')
                .next()
                .unwrap_or(path)
                .to_vec()
        };
        let anchored = if name.is_empty() || name == b"." {
            Vec::new()
        } else {
            for (slash, _) in name.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
                self.patterns
                    .push(Pattern::new(&[b"/", &name[..=slash]].concat()));
            }
            let anchored = [b"/", &*name].concat();
            self.patterns.push(Pattern::new(&anchored));
            self.literals.push(name);
            anchored
        };
        let below: &[u8] = match self.depth {
            Depth::Named => return,
            Depth::Content => b"/*",
            Depth::Recursive => b"/**",
        };
        self.patterns
            .push(Pattern::new(&[&anchored, below].concat()));
    }

    /// May a sender list `name`, which is relative to the root of the transfer?
    pub fn allows(&self, name: &[u8], is_dir: bool) -> bool {
        name == b"."
            || self
                .patterns
                .iter()
                .any(|pattern| pattern.is_match(name, is_dir))
            || self
                .literals
                .iter()
                .any(|literal| self.is_literally(name, literal))
    }

    fn is_literally(&self, name: &[u8], literal: &[u8]) -> bool {
        match name.strip_prefix(literal) {
            Some(b"") => true,
            Some([b'/', below @ ..]) => match self.depth {
                Depth::Named => false,
                Depth::Content => !below.contains(&b'/'),
                Depth::Recursive => true,
            },
            _ => false,
        }
    }
}

/// The part of `path` that names carry under --relative: from `/./` on, without empty components and `.`.
fn relative_name(path: &[u8]) -> Vec<u8> {
    let start = path
        .windows(3)
        .position(|part| part == b"/./")
        .map_or(0, |dot| dot + 3);
    let kept = path[start..]
        .split(|&byte| byte == b'/')
        .filter(|&part| !part.is_empty() && part != b".");
    kept.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(relative: bool, depth: Depth, path: &str, name: &str, is_dir: bool) -> bool {
        let mut requested = Requested::new(relative, depth);
        requested.add(path.as_bytes());
        requested.allows(name.as_bytes(), is_dir)
    }

    #[test]
    fn without_relative_the_last_component_counts() {
        assert!(allows(false, Depth::Recursive, "a/b", "b", true));
        assert!(allows(false, Depth::Recursive, "a/b", "b/c/d", false));
        assert!(!allows(false, Depth::Recursive, "a/b", "c", false));
        assert!(!allows(false, Depth::Recursive, "a/b", "a/b", false));
        assert!(!allows(false, Depth::Named, "a/b", "b/c", false));
    }

    #[test]
    fn a_trailing_slash_asks_for_the_content() {
        assert!(allows(
            false,
            Depth::Recursive,
            "a/",
            "anything/below",
            false
        ));
        assert!(allows(false, Depth::Content, "a/", "entry", true));
        assert!(!allows(false, Depth::Content, "a/", "entry/below", false));
        assert!(allows(false, Depth::Named, "a/", ".", true));
        assert!(!allows(false, Depth::Named, "a/", "entry", false));
    }

    #[test]
    fn with_relative_parents_are_directories_only() {
        assert!(allows(true, Depth::Recursive, "/a/b/c", "a/b", true));
        assert!(!allows(true, Depth::Recursive, "/a/b/c", "a/b", false));
        assert!(!allows(true, Depth::Recursive, "/a/b/c", "a/x", false));
        assert!(allows(true, Depth::Recursive, "/a/./b/c", "b/c/d", false));
        assert!(!allows(true, Depth::Recursive, "/a/./b/c", "a", true));
        assert!(allows(true, Depth::Content, "a/b/", "a/b/c", false));
    }

    #[test]
    fn wildcards_are_for_the_server_to_expand() {
        assert!(allows(false, Depth::Named, "a/*.c", "main.c", false));
        assert!(!allows(false, Depth::Named, "a/*.c", "main.h", false));
        assert!(
            allows(false, Depth::Named, "a/[x", "[x", false),
            "nothing to expand"
        );
        assert!(allows(false, Depth::Recursive, "a/[x", "[x/below", false));
    }
}
