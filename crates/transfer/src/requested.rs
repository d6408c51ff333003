//! What a client asked a remote sender for, so that nothing else is accepted (behaviour.md 5.7).

use filter::{Rules, Side};

use crate::Error;
use crate::event::Role;
use crate::flist::Entry;
use crate::options::{FilesFrom, Options};
use crate::report::sentence;

/// The names that were asked for. Without any, everything is accepted.
#[derive(Debug, Default)]
pub(crate) struct Requested {
    names: Option<Rules>,
    /// Names that are directories only because something below them was asked for.
    implied: Vec<Vec<u8>>,
    asked: Vec<Vec<u8>>,
}

impl Requested {
    /// Those of `arguments`, paths on the sender's side as they were sent to it.
    ///
    /// # Errors
    /// [`Error::Filter`] if a name makes no rule.
    pub(crate) fn of(arguments: &[Vec<u8>], options: &Options) -> Result<Self, Error> {
        let mut requested = Self::default();
        if options.trust_sender {
            return Ok(requested);
        }
        let mut rules = Rules::default();
        let names: Vec<Vec<u8>> = match &options.files_from {
            Some(FilesFrom::Names(names)) => names.clone(),
            Some(FilesFrom::Peer) => return Ok(requested),
            None => arguments.to_vec(),
        };
        for name in &names {
            requested.add(&mut rules, name, options)?;
        }
        rules.exclude(b"*")?;
        requested.names = Some(rules);
        Ok(requested)
    }

    /// Why an entry is not accepted.
    pub(crate) fn refusal(&self, entry: &Entry) -> Option<Error> {
        let path = entry.path();
        let rules = self.names.as_ref()?;
        if path == b"."
            || !rules
                .check(path, entry.is_dir(), Side::Receiver)
                .is_excluded()
        {
            return None;
        }
        let text = sentence(&[b"ERROR: rejecting unrequested file-list name: ", path]);
        Some(Error::fatal(4, Role::Receiver, text, None))
    }

    /// Whether a directory is here only because something below it was asked for: a sender that claims to list all of
    /// it wants more deleted than was meant.
    pub(crate) fn is_only_implied(&self, path: &[u8]) -> bool {
        self.implied.iter().any(|implied| implied == path)
            && !self.asked.iter().any(|asked| asked == path)
    }

    fn add(&mut self, rules: &mut Rules, name: &[u8], options: &Options) -> Result<(), Error> {
        let relative = options.relative;
        let active = match name.windows(3).position(|window| window == b"/./") {
            Some(at) if relative => &name[at + 3..],
            _ => name,
        };
        let mut components: Vec<&[u8]> = active
            .split(|&byte| byte == b'/')
            .filter(|component| !matches!(*component, b"" | b"."))
            .collect();
        let is_content =
            active.ends_with(b"/") || active.ends_with(b"/.") || matches!(active, b"." | b"");
        if !relative {
            let last = components
                .pop()
                .filter(|last| !is_content && *last != b"..");
            components = last.into_iter().collect();
        }
        for end in 1..components.len() {
            let parent = components[..end].join(&b'/');
            include(rules, &[b"/", parent.as_slice(), b"/"].concat())?;
            self.implied.push(parent);
        }
        let whole = components.join(&b'/');
        let prefix = if whole.is_empty() {
            Vec::new()
        } else {
            [b"/", whole.as_slice()].concat()
        };
        if !whole.is_empty() {
            include(rules, &prefix)?;
        }
        if options.recursive {
            include(rules, &[prefix.as_slice(), b"/**"].concat())?;
        } else if options.dirs || options.list_only {
            include(rules, &[prefix.as_slice(), b"/*"].concat())?;
        }
        self.asked.push(whole);
        Ok(())
    }
}

/// Includes what a path on the sender's side may mean: the names that its wildcards match, and the one that reads like it,
/// for a shell that finds nothing for `[...]` leaves it as it is.
fn include(rules: &mut Rules, path: &[u8]) -> Result<(), Error> {
    rules.include(path)?;
    let plain = with_plain_brackets(path);
    if plain != path {
        rules.include(&plain)?;
    }
    Ok(())
}

/// A pattern whose brackets stand for themselves.
fn with_plain_brackets(pattern: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(pattern.len());
    let mut is_escaped = false;
    for &byte in pattern {
        if byte == b'[' && !is_escaped {
            plain.push(b'\\');
        }
        plain.push(byte);
        is_escaped = byte == b'\\' && !is_escaped;
    }
    plain
}

#[cfg(test)]
mod tests {
    use wire::Side as End;

    use super::*;

    fn accepts(asked: &[&str], options: &Options, name: &str) -> bool {
        let asked: Vec<Vec<u8>> = asked.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mode = if name.ends_with('/') {
            0o040_755
        } else {
            0o100_644
        };
        let entry = Entry {
            name: name.trim_end_matches('/').as_bytes().into(),
            mode,
            ..Entry::default()
        };
        Requested::of(&asked, options)
            .unwrap()
            .refusal(&entry)
            .is_none()
    }

    #[test]
    fn only_what_was_asked_for_is_accepted() {
        let options = Options::archive(End::Client);
        for (asked, name, accepted) in [
            ("dir", "dir/", true),
            ("dir", "dir/a/b", true),
            ("a/dir", "dir/x", true),
            ("a/dir", "a/", false),
            ("dir", "other", false),
            ("dir/", "other", true),
            ("*.c", "x.c", true),
            ("*.c", "x.h", false),
            ("a/[x", "[x", true),
            ("a/[x", "[x/below", true),
            ("a/[x*", "[xy", true),
            ("of [2020]", "of [2020]", true),
            ("of [2020]", "of 2", true),
            ("of [2020]", "of 3", false),
            ("\\[a]", "[a]", true),
            ("\\[a]", "a", false),
        ] {
            assert_eq!(
                accepts(&[asked], &options, name),
                accepted,
                "{asked} {name}"
            );
        }
        let options = Options {
            relative: true,
            ..Options::archive(End::Client)
        };
        for (asked, name, accepted) in [
            ("a/b/c", "a/", true),
            ("a/b/c", "a/x", false),
            ("a/./b/c", "b/c/d", true),
            ("a/./b/c", "a/b", false),
            ("[a]/b", "[a]/", true),
            ("[a]/b", "[a]/b", true),
            ("[a]/b", "[a]/c", false),
        ] {
            assert_eq!(
                accepts(&[asked], &options, name),
                accepted,
                "{asked} {name}"
            );
        }
        let options = Options::new(End::Client);
        assert!(accepts(&["f"], &options, "f"));
        assert!(!accepts(&["f"], &options, "f/x"));
    }
}
