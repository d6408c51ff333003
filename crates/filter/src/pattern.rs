//! What part of a path a rule's pattern is compared with, and how (behaviour 5.3).

use crate::glob::Glob;

/// The pattern of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As written, without the trailing slash that asks for directories only.
    text: Box<[u8]>,
    directories_only: bool,
    /// A leading slash: compared from the start of the path.
    anchored: bool,
    reach: Reach,
    /// `None` if the text has no wildcard and is compared literally, backslashes included.
    glob: Option<Glob>,
}

/// The part of a path that a pattern without a leading slash is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// So many components at the end.
    Last(usize),
    /// The path, and what follows each of its slashes: the pattern contains `**`.
    AfterAnySlash,
    /// The path with a slash put before it: the pattern starts with `**`, and `**/x` must find a top-level `x`.
    FromVirtualRoot,
}

impl Pattern {
    /// Understands a pattern as written in a rule.
    pub fn new(text: &[u8]) -> Self {
        let (text, directories_only) = match text {
            [inner @ .., b'/'] if !inner.is_empty() => (inner, true),
            _ => (text, false),
        };
        let (body, anchored) = match text {
            [b'/', body @ ..] => (body, true),
            _ => (text, false),
        };
        let reach = if text.starts_with(b"**") {
            Reach::FromVirtualRoot
        } else if text.windows(2).any(|pair| pair == b"**") {
            Reach::AfterAnySlash
        } else {
            Reach::Last(1 + body.iter().filter(|&&byte| byte == b'/').count())
        };
        let has_wildcard = text.iter().any(|byte| b"*?[".contains(byte));
        Pattern {
            glob: has_wildcard.then(|| Glob::new(body)),
            text: text.into(),
            directories_only,
            anchored,
            reach,
        }
    }

    /// The pattern as written, without a trailing slash.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Did the pattern end in a slash?
    pub fn directories_only(&self) -> bool {
        self.directories_only
    }

    /// Did the pattern start with a slash?
    pub fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// Does the pattern match `path`, which has neither a leading nor a trailing slash?
    pub fn is_match(&self, path: &[u8], is_dir: bool) -> bool {
        if path.is_empty() || (self.directories_only && !is_dir) {
            return false;
        }
        let Some(glob) = &self.glob else {
            return self.is_literal_match(path);
        };
        // `dir/***` is `dir/` and `dir/**` in one: a directory offers the slash that the stars may swallow.
        let slashed;
        let path = if is_dir && self.text.ends_with(b"***") {
            slashed = [path, b"/"].concat();
            slashed.as_slice()
        } else {
            path
        };
        if self.anchored {
            return glob.is_match(path);
        }
        match self.reach {
            Reach::Last(count) => {
                last_components(path, count).is_some_and(|part| glob.is_match(part))
            }
            Reach::FromVirtualRoot => glob.is_match(&[b"/", path].concat()),
            Reach::AfterAnySlash => {
                glob.is_match(path)
                    || (0..path.len()).any(|at| path[at] == b'/' && glob.is_match(&path[at + 1..]))
            }
        }
    }

    fn is_literal_match(&self, path: &[u8]) -> bool {
        if self.anchored {
            return path == &self.text[1..];
        }
        path.strip_suffix(&*self.text)
            .is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
    }
}

/// The last `count` components of `path`; `None` if it has fewer.
fn last_components(path: &[u8], count: usize) -> Option<&[u8]> {
    let mut slashes = path
        .iter()
        .enumerate()
        .rev()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at);
    match slashes.nth(count - 1) {
        Some(slash) => Some(&path[slash + 1..]),
        None => (1 + path.iter().filter(|&&byte| byte == b'/').count() == count).then_some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern.as_bytes()).is_match(path.as_bytes(), path.ends_with("_d"))
    }

    #[test]
    fn a_bare_name_is_compared_with_the_last_component() {
        assert!(matches("foo", "a/b/foo"));
        assert!(!matches("foo", "a/b/xfoo"));
        assert!(matches("f*", "a/b/foo"));
        assert!(!matches("f*", "foo/b"));
    }

    #[test]
    fn a_slash_inside_counts_components() {
        assert!(matches("x/foo", "a/x/foo"));
        assert!(matches("x/f*", "a/x/foo"));
        assert!(!matches("x/f*", "foo"), "too few components");
        assert!(!matches("x/f*", "x/foo/b"));
        assert!(matches("/x/f*", "x/foo"));
        assert!(!matches("/x/f*", "a/x/foo"));
    }

    #[test]
    fn double_stars_see_the_whole_path() {
        assert!(matches("**/foo", "foo"));
        assert!(!matches("/**/foo", "foo"));
        assert!(matches("b/**/foo", "a/b/c/foo"));
        assert!(!matches("/b/**/foo", "a/b/c/foo"));
        assert!(matches("x_d/***", "a/x_d"));
        assert!(matches("x_d/***", "a/x_d/y"));
        assert!(!matches("x_d/**", "a/x_d"));
        assert!(!matches("x/***", "a/x"), "a file of that name is not meant");
    }

    #[test]
    fn a_backslash_is_literal_without_a_wildcard() {
        assert!(matches(r"foo\bar", r"foo\bar"));
        assert!(!matches(r"foo\bar*", r"foo\bar"));
        assert!(matches(r"foo\\bar*", r"foo\bar"));
    }

    #[test]
    fn a_trailing_slash_asks_for_directories() {
        assert!(matches("x_d/", "a/x_d"));
        assert!(!matches("x/", "a/x"));
        assert!(!matches("/", "x"), "a lone slash names nothing");
    }
}
