//! Aliases of the option library: `/etc/popt` and `~/.popt` (behaviour.md 1.7).

/// The aliases that are still to be used. Each is expanded once, so that none can lead to itself.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    entries: Vec<Alias>,
}

#[derive(Clone, Debug)]
struct Alias {
    name: Name,
    words: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Long(Vec<u8>),
    Short(u8),
}

/// What nobody may alias away.
const LITERAL: &[&[u8]] = &[b"server", b"daemon"];

impl Aliases {
    /// Adds those of a file's content that are for rsync: `rsync alias NAME WORDS...`. A later one wins.
    pub fn read(&mut self, text: &[u8]) {
        // A backslash at the end of a line joins it with the next.
        let text = String::from_utf8_lossy(text).replace("\\\n", " ");
        for line in text.lines() {
            let mut words = split(line).into_iter();
            let is_ours = words.next().as_deref() == Some("rsync")
                && words.next().as_deref() == Some("alias");
            let name = words
                .next()
                .filter(|_| is_ours)
                .and_then(|name| Name::of(&name));
            if let Some(name) = name {
                // What describes an alias in a help text is no part of it.
                let words = words
                    .filter(|word| !word.starts_with("--POPT"))
                    .map(String::into_bytes)
                    .collect();
                self.entries.insert(0, Alias { name, words });
            }
        }
    }

    /// What a long option stands for.
    pub(crate) fn take_long(&mut self, name: &[u8]) -> Option<Vec<Vec<u8>>> {
        self.take(&Name::Long(name.to_vec()))
    }

    /// What a letter stands for.
    pub(crate) fn take_short(&mut self, letter: u8) -> Option<Vec<Vec<u8>>> {
        self.take(&Name::Short(letter))
    }

    fn take(&mut self, name: &Name) -> Option<Vec<Vec<u8>>> {
        let at = self.entries.iter().position(|alias| alias.name == *name)?;
        let words = self.entries.remove(at).words;
        self.entries.retain(|alias| alias.name != *name);
        Some(words)
    }
}

impl Name {
    fn of(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [b'-', b'-', name @ ..] if !name.is_empty() && !LITERAL.contains(&name) => {
                Some(Self::Long(name.to_vec()))
            }
            [b'-', letter] if *letter != b'-' => Some(Self::Short(*letter)),
            _ => None,
        }
    }
}

/// Splits a line at space, with quotes and backslashes; a comment is empty.
fn split(line: &str) -> Vec<String> {
    if line.trim_start().starts_with('#') {
        return Vec::new();
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Invocation, parse};

    fn given(aliases: &str, line: &str) -> Box<crate::given::Given> {
        let mut known = Aliases::default();
        known.read(aliases.as_bytes());
        let arguments: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        match parse(&arguments, &known).expect(line) {
            Invocation::Transfer(given) => given,
            Invocation::Daemon(_) => panic!("a daemon"),
        }
    }

    #[test]
    fn aliases_stand_for_words() {
        let file = "# comment\nrsync alias --mine -a --exclude='a b' \\\n  --timeout 9\nrsync alias -Z -zz\ncp alias -Q -x\n";
        let given = given(file, "-vZn --mine a b");
        assert_eq!(
            (given.compress, given.timeout, given.dry_run, given.perms),
            (2, 9, true, true)
        );
        assert_eq!(given.rules.len(), 1);
        assert_eq!(given.operands, [b"a", b"b"]);
    }

    #[test]
    fn an_alias_may_name_what_it_hides() {
        let given = given("rsync alias -v -vv\n", "-v a");
        assert_eq!(given.verbose, 2);
    }

    #[test]
    fn servers_know_no_aliases() {
        let given = given(
            "rsync alias -v --delete\nrsync alias --server -n\n",
            "-v --server . a",
        );
        assert!(given.server && !given.delete && given.verbose == 1);
    }
}
