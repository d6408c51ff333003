//! Tables of scenarios: command lines over trees, which two programs get alike.
//!
//! `[TITLE]` begins a group of scenarios over one state, which lines before the first command line describe:
//!
//! - `DIR: ENTRY; ENTRY...` makes a directory, entries as of [`Tree::build`];
//! - `file NAME: TEXT` writes a file, `\n` in the text is a line end;
//! - `env: NAME=VALUE` sets a variable;
//! - `KEY: VALUE`, with one of the keys that the table's reader knows, is what that reader makes of it.
//!
//! Each other line is a scenario: arguments as for a shell, `&&` between runs. A line that begins with `#` is a comment.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::Tree;

/// What the scenarios of a group start from.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// What a person calls it.
    pub title: String,
    /// Directories, with their entries as of [`Tree::build`].
    pub trees: Vec<(String, String)>,
    /// Files, with their content.
    pub files: Vec<(String, String)>,
    /// Variables of the environment.
    pub env: Vec<(String, String)>,
    /// Lines with the keys of this table.
    pub settings: Vec<(String, String)>,
}

impl Group {
    /// The values of the lines `KEY: VALUE`, in their order.
    pub fn setting<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.settings
            .iter()
            .filter(move |(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    /// Makes its trees and files in `place`.
    #[track_caller]
    pub fn make(&self, place: &Path) -> Tree {
        for (name, spec) in &self.trees {
            Tree::build(place.join(name), spec);
        }
        let tree = Tree::at(place);
        for (name, text) in &self.files {
            tree.write(name, text);
        }
        tree
    }

    /// Runs an rsync in `place`, with arguments as for a shell and nothing of the caller's environment that rsync reads.
    #[track_caller]
    pub fn run(&self, rsync: &Path, arguments: &str, place: &Path) -> Output {
        Command::new("sh")
            .args(["-c", &format!("exec \"$RSYNC\" {arguments}")])
            .current_dir(place)
            .env("RSYNC", rsync)
            .env("HOME", place)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RSYNC_RSH")
            .env_remove("RSYNC_PASSWORD")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("sh")
    }

    /// Takes a line that describes the group; `false` if it is a command line.
    fn describe(&mut self, line: &str, keys: &[&str]) -> bool {
        let Some((key, value)) = line.split_once(": ") else {
            return false;
        };
        let value = value.trim();
        match key.split_once(' ') {
            Some(("file", name)) => {
                let text = value.replace("\\n", "\n");
                self.files.push((name.to_owned(), text));
            }
            Some(_) => return false,
            None if key.starts_with('-') => return false,
            None if key == "env" => {
                let (name, value) = value.split_once('=').expect("NAME=VALUE");
                self.env.push((name.to_owned(), value.to_owned()));
            }
            None if keys.contains(&key) => self.settings.push((key.to_owned(), value.to_owned())),
            None => self.trees.push((key.to_owned(), value.replace(';', "\n"))),
        }
        true
    }
}

/// Gives each scenario of a table to `difference`, which tells what differs in it, for a person; nothing if nothing does.
/// `keys` are the settings that the groups of this table have.
///
/// # Panics
///
/// When anything differs, and when the table holds no scenario.
#[track_caller]
pub fn assert_equal(
    table: &str,
    text: &str,
    keys: &[&str],
    mut difference: impl FnMut(&Group, &str) -> String,
) {
    let mut group = Group::default();
    let (mut is_described, mut count, mut differing) = (false, 0, String::new());
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(title) = line.strip_prefix('[')
            && let Some(title) = title.strip_suffix(']')
        {
            group = Group {
                title: title.to_owned(),
                ..Group::default()
            };
            is_described = false;
            continue;
        }
        if !is_described && group.describe(line, keys) {
            continue;
        }
        is_described = true;
        count += 1;
        differing += &difference(&group, line);
    }
    assert!(count > 0, "{table} has no scenario");
    assert!(
        differing.is_empty(),
        "{table}, {count} scenarios:\n{differing}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# A comment.

[first]
from: f a 10; f b 20
file pass: x\\ny
env: A=b=c
via: push pull
-a from/ to/
--log-file-format=a: b

[second]
-r from: to
";

    #[test]
    fn a_group_is_described_before_its_first_command_line() {
        let mut seen = Vec::new();
        assert_equal("table", TABLE, &["via"], |group, line| {
            seen.push((group.clone(), line.to_owned()));
            String::new()
        });
        let lines: Vec<_> = seen
            .iter()
            .map(|(group, line)| (&*group.title, &**line))
            .collect();
        assert_eq!(
            lines,
            [
                ("first", "-a from/ to/"),
                ("first", "--log-file-format=a: b"),
                ("second", "-r from: to"),
            ]
        );
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        let first = &seen[1].0;
        assert_eq!(first.trees, pair("from", "f a 10\n f b 20"));
        assert_eq!(first.files, pair("pass", "x\ny"));
        assert_eq!(first.env, pair("A", "b=c"));
        assert_eq!(first.setting("via").collect::<Vec<_>>(), ["push pull"]);
        assert_eq!(seen[2].0.setting("via").count(), 0);
    }

    #[test]
    #[should_panic(expected = "table, 3 scenarios:\nfirst: -a from/ to/")]
    fn what_differs_is_told() {
        assert_equal("table", TABLE, &["via"], |group, line| match line {
            "-a from/ to/" => format!("{}: {line}", group.title),
            _ => String::new(),
        });
    }

    #[test]
    #[should_panic(expected = "empty has no scenario")]
    fn a_table_without_scenarios_proves_nothing() {
        assert_equal("empty", "[a]\nfrom: d .\n", &[], |_, _| String::new());
    }
}
