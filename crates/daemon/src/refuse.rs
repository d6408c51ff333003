//! `refuse options`: what a client may not ask for (behaviour.md 8.6).

use std::collections::HashSet;

use filter::Glob;
use rsync::table::{self, Opt};

/// The options that a module refuses.
#[derive(Clone, Debug)]
pub struct RefusedOptions {
    refused: HashSet<String>,
    sends: bool,
    has_charset: bool,
    /// Items that match no option, for the log.
    pub unmatched: Vec<String>,
}

/// One spelling of an option: a long name, with the letter if it is the main one.
struct Spelling {
    row: &'static Opt,
    name: &'static str,
    letter: Option<u8>,
    is_negative: bool,
}

impl RefusedOptions {
    /// Reads the value of `refuse options`. `sends` says that the client is to receive, `has_charset` that the module has
    /// a `charset`, without which names cannot be converted.
    #[must_use]
    pub fn new(list: &[u8], sends: bool, has_charset: bool) -> Self {
        let mut refused = Self {
            refused: REFUSED_UNLESS_NAMED.map(str::to_owned).into(),
            sends,
            has_charset,
            unmatched: Vec::new(),
        };
        for item in String::from_utf8_lossy(list).split_ascii_whitespace() {
            let (name, refuses) = match item.strip_prefix('!') {
                Some(name) => (name, false),
                None => (item, true),
            };
            if !refused.apply(name, refuses) {
                refused.unmatched.push(name.to_owned());
            }
        }
        refused
    }

    /// Which option is refused when a client says this one: itself, or one that it implies. `name` is the long name that it
    /// was spelled with, that of the row for a letter. `None` if it is accepted.
    #[must_use]
    pub fn refusal(&self, row: &Opt, name: &str) -> Option<String> {
        let is_off = row.no.contains(&name);
        if self.refused.contains(&key(row, name)) || (!is_off && self.is_always_refused(row)) {
            return Some(row.shown_as(name));
        }
        if is_off {
            return None;
        }
        let implied = self.implied(row).iter().find(|name| self.is_refused(name));
        implied.map(|name| shown(name))
    }

    /// Applies one item; whether it matched anything.
    fn apply(&mut self, item: &str, refuses: bool) -> bool {
        if item == "a" || item == "archive" {
            self.set(spellings().filter(is_of_archive), refuses);
            return true;
        }
        if item.contains(['*', '?', '[']) {
            let glob = Glob::new(item.as_bytes());
            let matches = |spelling: &Spelling| {
                glob.is_match(spelling.name.as_bytes())
                    || spelling
                        .letter
                        .is_some_and(|letter| glob.is_match(&[letter]))
            };
            self.set(
                spellings()
                    .filter(|spelling| spelling.row.refusable)
                    .filter(matches),
                refuses,
            );
            return spellings().any(|spelling| matches(&spelling));
        }
        let is_letter = |spelling: &Spelling| {
            spelling
                .letter
                .is_some_and(|letter| item.as_bytes() == [letter])
        };
        let Some(named) = spellings().find(|spelling| spelling.name == item || is_letter(spelling))
        else {
            return false;
        };
        // What has the same effect goes with it.
        self.set(
            spellings()
                .filter(|other| main(other.row) == main(named.row))
                .filter(|other| other.is_negative == named.is_negative),
            refuses,
        );
        true
    }

    fn set(&mut self, spellings: impl Iterator<Item = Spelling>, refuses: bool) {
        for spelling in spellings {
            let key = key(spelling.row, spelling.name);
            if refuses {
                self.refused.insert(key);
            } else {
                self.refused.remove(&key);
            }
        }
    }

    /// Whether an option is refused by its own name; `name` is as in [`shown`].
    fn is_refused(&self, name: &str) -> bool {
        self.refused.contains(name)
    }

    fn is_always_refused(&self, row: &Opt) -> bool {
        match row.long {
            "log-file" | "log-file-format" | "insecure-links" => true,
            "iconv" => !self.has_charset,
            _ => false,
        }
    }

    /// The options that come with one, in the order in which rsync looks at them.
    fn implied(&self, row: &Opt) -> &'static [&'static str] {
        match (row.long, row.short) {
            (
                "del"
                | "delete-before"
                | "delete-during"
                | "delete-delay"
                | "delete-after"
                | "delete-excluded"
                | "delete-missing-args",
                _,
            ) => &["delete"],
            ("remove-source-files" | "remove-sent-files", _) if self.sends => &["delete"],
            // One of the two will do.
            ("delete", _) if self.is_refused("delete-during") => &["delete-before"],
            ("compress-level" | "compress-choice" | "new-compress" | "old-compress", _) => {
                &["compress"]
            }
            (_, Some(b'P')) => &["partial", "progress"],
            ("inplace", _) => &["partial"],
            ("append" | "append-verify", _) => &["inplace", "partial"],
            ("write-devices", _) => &["inplace"],
            ("archive", _) => &[
                "recursive",
                "links",
                "perms",
                "times",
                "group",
                "owner",
                "D",
            ],
            _ => &[],
        }
    }
}

/// Only a whole name accepts these.
const REFUSED_UNLESS_NAMED: [&str; 2] = ["copy-devices", "write-devices"];

/// All spellings of all options.
fn spellings() -> impl Iterator<Item = Spelling> {
    table::rows().flat_map(|row| {
        let main = Spelling {
            row,
            name: row.long,
            letter: row.short,
            is_negative: false,
        };
        let other = move |is_negative| {
            move |&name| Spelling {
                row,
                name,
                letter: None,
                is_negative,
            }
        };
        std::iter::once(main)
            .chain(row.aliases.iter().map(other(false)))
            .chain(row.no.iter().map(other(true)))
    })
}

/// `--archive`, and what it stands for.
fn is_of_archive(spelling: &Spelling) -> bool {
    !spelling.is_negative
        && spelling
            .row
            .short
            .is_some_and(|letter| b"ardlptgoD".contains(&letter))
}

/// The row that says what a row does: the table has `--del` apart, for the help's sake.
fn main(row: &Opt) -> (&'static str, Option<u8>) {
    match row.long {
        "del" => ("delete-during", None),
        long => (long, row.short),
    }
}

/// What stands for a spelling: the long name, or the letter of an option that has none.
fn key(row: &Opt, name: &str) -> String {
    match (name, row.short) {
        ("", Some(letter)) => char::from(letter).to_string(),
        _ => name.to_owned(),
    }
}

/// The option of a key, as messages call it.
fn shown(name: &str) -> String {
    table::rows()
        .find(|row| key(row, row.long) == name)
        .map_or_else(|| format!("--{name}"), Opt::shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which option is refused when a client says this one; empty if none.
    fn refused(list: &str, sends: bool, option: &str) -> String {
        let options = RefusedOptions::new(list.as_bytes(), sends, false);
        let spelling = spellings()
            .find(|spelling| match option.strip_prefix("--") {
                Some(name) => spelling.name == name,
                None => spelling.letter == option.as_bytes().get(1).copied(),
            })
            .expect(option);
        options
            .refusal(spelling.row, spelling.name)
            .unwrap_or_default()
    }

    /// Each line was seen in rsync 3.5.0.
    #[test]
    fn as_rsync_refuses() {
        for (list, option, expected) in [
            ("delete", "--delete", "--delete"),
            ("delete", "--delete-missing-args", "--delete"),
            ("delete", "--delete-after", "--delete"),
            ("delete", "--force", ""),
            ("delete", "--ignore-errors", ""),
            ("delete-*", "--delete", "--delete-before"),
            ("delete-*", "--delete-after", "--delete-after"),
            ("delete-*", "--del", ""),
            ("delete-before", "--delete", ""),
            ("delete-during", "--delete", ""),
            ("delete-before delete-during", "--delete", "--delete-before"),
            ("del", "--delete-during", "--delete-during"),
            ("del", "--delete", ""),
            ("delete-excluded", "--delete-excluded", "--delete-excluded"),
            ("compress", "-z", "--compress (-z)"),
            ("compress", "--zl", "--compress (-z)"),
            ("z", "--new-compress", "--compress (-z)"),
            ("compress", "--compress-choice", "--compress (-z)"),
            ("compress-level", "-z", ""),
            ("compress-choice", "--new-compress", ""),
            ("partial", "-P", "--partial"),
            ("partial", "--append", "--partial"),
            ("partial", "--inplace", "--partial"),
            ("partial", "--partial-dir", ""),
            ("progress", "-P", "--progress"),
            ("inplace", "--append-verify", "--inplace"),
            ("!write-devices inplace", "--write-devices", "--inplace"),
            ("append", "--inplace", ""),
            ("perms", "-a", "--perms (-p)"),
            ("perms", "--no-perms", ""),
            ("no-p", "--no-perms", "--no-perms"),
            ("a", "-a", "--archive (-a)"),
            ("a", "-r", "--recursive (-r)"),
            ("a", "--devices", ""),
            ("a", "-d", "--dirs (-d)"),
            ("a", "-v", ""),
            ("archive*", "-t", ""),
            ("archive*", "-a", "--archive (-a)"),
            ("D", "--devices", ""),
            ("* !a", "-o", ""),
            ("* !a", "--devices", "--devices"),
            ("* !a", "-v", "--verbose (-v)"),
            ("* !a !v", "-v", ""),
            ("*", "-n", ""),
            ("*", "-e", ""),
            ("*", "-s", ""),
            ("*", "-0", ""),
            ("*", "--no-iconv", ""),
            ("*", "--checksum-seed", ""),
            ("*", "--log-format", ""),
            ("*", "--sender", ""),
            ("*", "-r", "--recursive (-r)"),
            ("", "--copy-devices", "--copy-devices"),
            ("!copy-*", "--copy-devices", "--copy-devices"),
            ("!copy-devices", "--copy-devices", ""),
            ("!log-file*", "--log-file-format", "--log-file-format"),
            ("!insecure-links", "--insecure-links", "--insecure-links"),
            ("!iconv", "--iconv", "--iconv"),
            ("n", "-n", "--dry-run (-n)"),
            ("rsh", "-e", "--rsh (-e)"),
            ("?", "-v", "--verbose (-v)"),
            ("verb*", "-v", "--verbose (-v)"),
            ("s", "-s", "--secluded-args (-s)"),
            ("protect-args", "-s", "--secluded-args (-s)"),
            ("stderr", "--msgs2stderr", ""),
            ("l", "-L", ""),
            ("checksum-choice", "--cc", "--cc"),
            ("cc", "--checksum-choice", "--checksum-choice"),
            ("delete !delete", "--delete", ""),
        ] {
            assert_eq!(refused(list, false, option), expected, "{list} {option}");
        }
    }

    #[test]
    fn removal_is_deletion_for_who_sends() {
        assert_eq!(refused("delete", true, "--remove-source-files"), "--delete");
        assert_eq!(refused("delete", true, "--remove-sent-files"), "--delete");
        assert_eq!(refused("delete", false, "--remove-source-files"), "");
        assert_eq!(refused("delete-*", true, "--remove-source-files"), "");
    }

    #[test]
    fn a_charset_permits_conversion() {
        let row = table::rows()
            .find(|row| row.long == "iconv")
            .expect("known");
        let refused =
            |list: &str| RefusedOptions::new(list.as_bytes(), true, true).refusal(row, "iconv");
        assert_eq!(refused("*"), None);
        assert_eq!(refused("iconv"), Some("--iconv".to_owned()));
    }

    #[test]
    fn items_without_an_option() {
        let options = RefusedOptions::new(b"bogus v !xyz q?z*", false, false);
        assert_eq!(options.unmatched, ["bogus", "xyz", "q?z*"]);
    }
}
