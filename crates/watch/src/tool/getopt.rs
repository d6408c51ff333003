//! Option parsing as GNU `getopt_long` does it: abbreviations, clusters, options after operands, and its
//! very words when something is wrong.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One option under its names. The order of a table is the order in which ambiguous names are listed.
pub(crate) struct Opt<K> {
    pub(crate) key: K,
    pub(crate) short: Option<u8>,
    pub(crate) long: &'static str,
    /// Whether it takes a value.
    pub(crate) value: bool,
}

impl<K> Opt<K> {
    /// An option without a value.
    pub(crate) const fn flag(key: K, short: Option<u8>, long: &'static str) -> Opt<K> {
        let value = false;
        Opt {
            key,
            short,
            long,
            value,
        }
    }

    /// An option with one.
    pub(crate) const fn value(key: K, short: Option<u8>, long: &'static str) -> Opt<K> {
        let value = true;
        Opt {
            key,
            short,
            long,
            value,
        }
    }
}

/// A pass over an argument list.
pub(crate) struct Getopt<'t, K> {
    /// `argv[0]`, which precedes each message.
    called_as: String,
    table: &'t [Opt<K>],
    /// Options that cannot be abbreviated.
    exact: &'t [Opt<K>],
    rest: VecDeque<OsString>,
    /// What is left of a cluster of short options.
    cluster: VecDeque<u8>,
    operands: Vec<OsString>,
}

impl<'t, K: Copy> Getopt<'t, K> {
    pub(crate) fn new(
        called_as: &OsStr,
        table: &'t [Opt<K>],
        exact: &'t [Opt<K>],
        arguments: impl Iterator<Item = OsString>,
    ) -> Self {
        Getopt {
            called_as: called_as.to_string_lossy().into_owned(),
            table,
            exact,
            rest: arguments.collect(),
            cluster: VecDeque::new(),
            operands: Vec::new(),
        }
    }

    /// The next option and its value; an error is the line for stderr.
    pub(crate) fn next(&mut self) -> Result<Option<(K, OsString)>, String> {
        if let Some(letter) = self.cluster.pop_front() {
            return self.short(letter).map(Some);
        }
        while let Some(argument) = self.rest.pop_front() {
            let bytes = argument.as_bytes();
            if bytes == b"--" {
                self.operands.extend(self.rest.drain(..));
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                return self.long(long).map(Some);
            } else if let [b'-', letter, cluster @ ..] = bytes {
                self.cluster = cluster.iter().copied().collect();
                return self.short(*letter).map(Some);
            } else {
                self.operands.push(argument);
            }
        }
        Ok(None)
    }

    /// What was not an option; complete when there are no more options.
    pub(crate) fn into_operands(self) -> Vec<OsString> {
        self.operands
    }

    fn short(&mut self, letter: u8) -> Result<(K, OsString), String> {
        let shown = char::from(letter);
        let option = self
            .table
            .iter()
            .find(|option| option.short == Some(letter));
        let Some(option) = option else {
            return Err(self.complain(&format!("invalid option -- '{shown}'")));
        };
        if !option.value {
            return Ok((option.key, OsString::new()));
        }
        if !self.cluster.is_empty() {
            let value = self.cluster.drain(..).collect();
            return Ok((option.key, OsString::from_vec(value)));
        }
        match self.rest.pop_front() {
            Some(value) => Ok((option.key, value)),
            None => Err(self.complain(&format!("option requires an argument -- '{shown}'"))),
        }
    }

    fn long(&mut self, text: &[u8]) -> Result<(K, OsString), String> {
        let (name, value) = match text.iter().position(|&byte| byte == b'=') {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        let shown = String::from_utf8_lossy(text);
        let option = self.find(name).map_err(|candidates| {
            if candidates.is_empty() {
                self.complain(&format!("unrecognized option '--{shown}'"))
            } else {
                let names: String = candidates
                    .iter()
                    .map(|name| format!(" '--{name}'"))
                    .collect();
                self.complain(&format!(
                    "option '--{shown}' is ambiguous; possibilities:{names}"
                ))
            }
        })?;
        let long = option.long;
        match (option.value, value) {
            (false, Some(_)) => {
                Err(self.complain(&format!("option '--{long}' doesn't allow an argument")))
            }
            (false, None) => Ok((option.key, OsString::new())),
            (true, Some(value)) => Ok((option.key, OsStr::from_bytes(value).to_owned())),
            (true, None) => match self.rest.pop_front() {
                Some(value) => Ok((option.key, value)),
                None => Err(self.complain(&format!("option '--{long}' requires an argument"))),
            },
        }
    }

    /// The option by its whole name or an unambiguous beginning; otherwise all candidates.
    fn find(&self, name: &[u8]) -> Result<&'t Opt<K>, Vec<&'static str>> {
        let begins = |option: &&Opt<K>| option.long.as_bytes().starts_with(name);
        let candidates: Vec<&Opt<K>> = self.table.iter().filter(begins).collect();
        let is_name = |option: &&Opt<K>| option.long.as_bytes() == name;
        let exact = self.table.iter().chain(self.exact).find(is_name);
        match (exact, candidates.as_slice()) {
            (Some(option), _) => Ok(option),
            (None, [option]) => Ok(*option),
            (None, _) => Err(candidates.iter().map(|option| option.long).collect()),
        }
    }

    fn complain(&self, what: &str) -> String {
        format!("{}: {what}\n", self.called_as)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Opt<char>] = &[
        Opt::flag('q', Some(b'q'), "quiet"),
        Opt::value('e', Some(b'e'), "event"),
        Opt::value('x', None, "exclude"),
        Opt::value('X', None, "excludei"),
    ];

    fn parse(line: &str) -> Result<(String, Vec<String>), String> {
        let arguments = line.split(' ').map(OsString::from);
        let mut getopt = Getopt::new(OsStr::new("t"), TABLE, &[], arguments);
        let mut seen = String::new();
        while let Some((key, value)) = getopt.next()? {
            seen.push(key);
            seen.push_str(value.to_str().unwrap());
        }
        let operands = getopt.into_operands();
        let operands = operands
            .iter()
            .map(|text| text.to_str().unwrap().to_owned());
        Ok((seen, operands.collect()))
    }

    #[test]
    fn options_and_operands_mix() {
        let expected = (
            "qqeopenxRE".to_owned(),
            vec!["f".to_owned(), "-".to_owned(), "-q".to_owned()],
        );
        assert_eq!(parse("f -qqeopen - --exclude=RE -- -q"), Ok(expected));
        let expected = ("eaebX".to_owned(), Vec::new());
        assert_eq!(parse("-e a --ev b --excludei="), Ok(expected));
    }

    #[test]
    fn errors_are_in_getopts_words() {
        for (line, error) in [
            ("--foo=1", "unrecognized option '--foo=1'"),
            ("-qz", "invalid option -- 'z'"),
            ("--quiet=1", "option '--quiet' doesn't allow an argument"),
            ("--ev", "option '--event' requires an argument"),
            ("-qe", "option requires an argument -- 'e'"),
            (
                "--e",
                "option '--e' is ambiguous; possibilities: '--event' '--exclude' '--excludei'",
            ),
        ] {
            assert_eq!(parse(line), Err(format!("t: {error}\n")));
        }
    }
}
