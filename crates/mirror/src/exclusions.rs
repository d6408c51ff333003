//! What of a tree is left out: rsync's rules, and regular expressions for those who come from sersync.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use regex::bytes::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::Error;
use crate::settings::FilterRule;

/// An expression that stands for more patterns than this is covered by a wider one.
const PATTERNS_MAX: usize = 64;

/// Rules, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Exclusions {
    /// What was given as rules.
    given: filter::Rules,
    /// The same for a peer, with rules that stand for the expressions.
    rules: filter::Rules,
    expressions: Vec<Regex>,
}

impl Exclusions {
    /// Reads rules, and the files they merge.
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Expression`], and [`Error::DirMerge`] for rules that depend on the tree.
    pub(crate) fn of(texts: &[FilterRule]) -> Result<Self, Error> {
        let mut exclusions = Self::default();
        for text in texts {
            exclusions.add(text)?;
        }
        if exclusions.rules.has_dir_merges() {
            return Err(Error::DirMerge);
        }
        Ok(exclusions)
    }

    /// The rules that a peer must know to keep what is left out.
    #[must_use]
    pub(crate) fn rules(&self) -> &filter::Rules {
        &self.rules
    }

    /// Whether `path` is left out, by its own name or by that of a directory above it.
    #[must_use]
    pub(crate) fn leave_out(&self, path: &Path, is_dir: bool) -> bool {
        self.exclude(path, is_dir, filter::Side::Sender)
    }

    /// Whether `path`, or a directory above it, stays at a replica although the source has no such thing: what is left out,
    /// unless a rule is for one side only.
    #[must_use]
    pub(crate) fn protect(&self, path: &Path, is_dir: bool) -> bool {
        self.exclude(path, is_dir, filter::Side::Receiver)
    }

    fn exclude(&self, path: &Path, is_dir: bool, side: filter::Side) -> bool {
        let bytes = path.as_os_str().as_bytes();
        self.given.excluded_with_parents(bytes, is_dir, side)
            || !self.expressions.is_empty()
                && path.ancestors().any(|above| {
                    !above.as_os_str().is_empty() && self.matches(above, is_dir || above != path)
                })
    }

    fn add(&mut self, text: &FilterRule) -> Result<(), Error> {
        for rules in [&mut self.given, &mut self.rules] {
            match text {
                FilterRule::Exclude(pattern) => rules.exclude(pattern)?,
                FilterRule::Include(pattern) => rules.include(pattern)?,
                FilterRule::Filter(rule) => rules.filter(rule, &mut merged_file)?,
                FilterRule::Regex(_) => {}
            }
        }
        if let FilterRule::Regex(text) = text {
            let bad = |error: String| Error::Expression(text.clone(), error);
            let whole = format!("^(?:{text})$");
            let expression = Regex::new(&whole).map_err(|error| bad(error.to_string()))?;
            let hir = regex_syntax::parse(text).map_err(|error| bad(error.to_string()))?;
            for pattern in covering_patterns(&hir) {
                // The peer protects what the expression may mean; what is sent is decided here, exactly.
                self.rules
                    .filter(&[b"P /", pattern.as_slice()].concat(), &mut merged_file)?;
            }
            self.expressions.push(expression);
        }
        Ok(())
    }

    /// sersync matched directories as `rel/dir/`, files in the root as `name` and others as `/sub/name` (mirror.md
    /// 1.5). A pattern made for one of these forms is meant for all.
    fn matches(&self, path: &Path, is_dir: bool) -> bool {
        let mut subject = [b"/", path.as_os_str().as_bytes(), b"/"].concat();
        let with_slash = subject.len();
        let is_match = |subject: &[u8]| self.expressions.iter().any(|text| text.is_match(subject));
        if is_dir && (is_match(&subject) || is_match(&subject[1..])) {
            return true;
        }
        subject.truncate(with_slash - 1);
        is_match(&subject) || is_match(&subject[1..])
    }
}

/// Brings a file that a rule merges. Those within the tree are refused as per-directory rules.
fn merged_file(file: filter::MergeFile<'_>) -> std::io::Result<Option<Vec<u8>>> {
    use filter::MergeFile::{Above, InTree, Named};
    let (Named(name) | InTree(name) | Above(name)) = file;
    std::fs::read(std::ffi::OsStr::from_bytes(name)).map(Some)
}

/// rsync's patterns, without their leading slash, that match at least what the expression matches.
fn covering_patterns(hir: &Hir) -> Vec<Vec<u8>> {
    let mut patterns: Vec<Vec<u8>> = expand(hir)
        .into_iter()
        .map(|pattern| {
            let start = usize::from(pattern.starts_with(b"/"));
            let end = pattern.len() - usize::from(pattern.len() > start && pattern.ends_with(b"/"));
            pattern[start..end].to_vec()
        })
        .filter(|pattern| !pattern.is_empty())
        .collect();
    patterns.sort();
    patterns.dedup();
    patterns
}

fn expand(hir: &Hir) -> Vec<Vec<u8>> {
    let anything = || vec![b"**".to_vec()];
    let expanded = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![Vec::new()],
        HirKind::Literal(literal) => vec![escaped(&literal.0)],
        HirKind::Class(class) => vec![one_of(class)],
        HirKind::Capture(capture) => expand(&capture.sub),
        HirKind::Alternation(all) => all.iter().flat_map(expand).collect(),
        HirKind::Concat(parts) => {
            let mut patterns = vec![Vec::new()];
            for part in parts {
                let ends = expand(part);
                if patterns.len() * ends.len() > PATTERNS_MAX {
                    return anything();
                }
                patterns = patterns
                    .iter()
                    .flat_map(|start| ends.iter().map(|end| [start.as_slice(), end].concat()))
                    .collect();
            }
            patterns
        }
        HirKind::Repetition(repetition) => {
            let inner = expand(&repetition.sub);
            // No path has two slashes in a row.
            let is_once = repetition.max == Some(1) || inner == [b"/".to_vec()];
            match (repetition.min, is_once) {
                (0, true) => inner.into_iter().chain([Vec::new()]).collect(),
                (1, true) => inner,
                _ => anything(),
            }
        }
    };
    match expanded.len() {
        0 => vec![Vec::new()],
        1..=PATTERNS_MAX => expanded,
        _ => anything(),
    }
}

/// A bracket expression for a small class of plain characters, else the pattern for anything.
fn one_of(class: &Class) -> Vec<u8> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect(),
    };
    let plain = |code: u32| {
        u8::try_from(code)
            .ok()
            .filter(|byte| byte.is_ascii_alphanumeric() || b"_.,@~".contains(byte))
    };
    let mut pattern = vec![b'['];
    for (start, end) in ranges {
        match (plain(start), plain(end)) {
            (Some(start), Some(end)) if start == end => pattern.push(start),
            (Some(start), Some(end)) => pattern.extend([start, b'-', end]),
            _ => return b"**".to_vec(),
        }
    }
    pattern.push(b']');
    pattern
}

fn escaped(literal: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(literal.len());
    for &byte in literal {
        // A literal that needs a backslash is left to any one character: a backslash counts only beside wildcards.
        escaped.push(match byte {
            b'*' | b'?' | b'[' | b'\\' => b'?',
            byte => byte,
        });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> Exclusions {
        Exclusions::of(&[FilterRule::Regex(expression.to_owned())]).unwrap()
    }

    #[test]
    fn expressions_of_sersync_mean_what_they_were_written_for() {
        for (expression, path, is_dir, expected) in [
            (r"(.*)\.svn", "a/.svn", true, true),
            (r"(.*)\.svn", "a/.svn/entries", false, true),
            (r"(.*)\.gz", "x.gz", false, true),
            (r"(.*)\.gz", "x.gz.txt", false, false),
            ("^info/*", "info", true, true),
            ("^info/*", "info/deep/file", false, true),
            ("^info/*", "other/info", true, false),
            ("^/data/cache/(.*)", "data/cache/x", false, true),
            ("^/data/cache/(.*)", "data/cache2", true, false),
            (r"(.*)\.(log|tmp)", "a/b.tmp", false, true),
            (r"[0-9]+\.log", "12.log", false, true),
            (r"[0-9]+\.log", "a.log", false, false),
        ] {
            let is_out = of(expression).leave_out(Path::new(path), is_dir);
            assert_eq!(is_out, expected, "{expression} {path}");
        }
    }

    #[test]
    fn a_peer_protects_at_least_what_an_expression_means() {
        let patterns = |text: &str| -> Vec<String> {
            let patterns = covering_patterns(&regex_syntax::parse(text).unwrap());
            patterns
                .into_iter()
                .map(|p| String::from_utf8(p).unwrap())
                .collect()
        };
        assert_eq!(patterns(r"(.*)\.svn"), ["**.svn"]);
        assert_eq!(patterns("^info/*"), ["info"]);
        assert_eq!(patterns(r"^/a/(b|c)\.x?$"), ["a/[b-c].", "a/[b-c].x"]);
        assert_eq!(patterns(r"[0-9]\d*\.log"), ["[0-9]**.log"]);
        assert_eq!(patterns(r"a\*b"), ["a?b"]);
        let many = "(aa|bb|cc|dd)".repeat(8);
        assert_eq!(patterns(&many), ["**"]);
    }

    #[test]
    fn what_is_no_expression() {
        for text in ["(", "a{2", r"(?=x)"] {
            let error = Exclusions::of(&[FilterRule::Regex(text.to_owned())]);
            assert!(matches!(error, Err(Error::Expression(..))), "{text}");
        }
    }
}
