//! Our own format, and where in it something is wrong.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::spot::Step;
use super::{BadConfig, Config};

pub(super) fn read(text: &str, file: &Path) -> Result<Config, BadConfig> {
    toml::from_str(text).map_err(|error: toml::de::Error| BadConfig {
        file: file.to_owned(),
        line: error.span().map(|span| line_of_byte(text, span.start)),
        message: with_suggestion(error.message()),
    })
}

/// The line of what stands at the end of these steps, or as far as they lead; none in a file that is no TOML, or where they
/// lead nowhere.
pub(super) fn line_at(text: &str, steps: &[Step]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = Some(document.get_ref());
    let mut value: Option<&toml::Spanned<DeValue<'_>>> = None;
    let mut line = None;
    for step in steps {
        let found = match *step {
            Step::Key(name) => table.and_then(|table| {
                let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
                // A list of tables begins with its first one; any other value is where its key is.
                Some((key.span().start, value))
            }),
            Step::Nth(number) => {
                let list = value.and_then(|value| value.get_ref().as_array());
                list.and_then(|list| list.get(number))
                    .map(|value| (value.span().start, value))
            }
        };
        let Some((at, next)) = found else { break };
        line = Some(line_of_byte(text, at));
        table = next.get_ref().as_table();
        value = Some(next);
    }
    line
}

/// The line of a value as it is written in a file of another format.
pub(super) fn line_of(text: &str, value: &str) -> Option<usize> {
    if value.is_empty() {
        return None;
    }
    text.find(value).map(|at| line_of_byte(text, at))
}

fn line_of_byte(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Adds the known key that is most like an unknown one: ``unknown field `x`, expected one of `y`, `z` ``.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (Some(unknown), true) = (quoted.next(), message.starts_with("unknown field")) else {
        return message.to_owned();
    };
    let known: Vec<&str> = quoted.collect();
    format!("unknown key {unknown:?}; {}", suggestion(unknown, &known))
}

/// Which of the known words was probably meant, or which there are.
pub(super) fn suggestion(unknown: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (distance(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(unknown.len()) / 2);
    match nearest {
        Some((_, nearest)) => format!("did you mean {nearest:?}?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// How many characters must be put in, taken out or changed to make one word of the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, l) in left.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read(text, Path::new("m.toml")).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_are_named_with_their_line_and_what_was_meant() {
        let text =
            "[[tree]]\nsource = \"/a\"\n\n[[tree.replica]]\nto = \"/b\"\npasword-file = \"x\"\n";
        assert_eq!(
            refusal(text),
            "m.toml:6: unknown key \"pasword-file\"; did you mean \"password-file\"?"
        );
        let text = "[[tree]]\nsource = \"/a\"\ncolour = 1\n";
        assert!(
            refusal(text).starts_with("m.toml:3: unknown key \"colour\"; there are name, source,")
        );
        assert!(refusal("[[trees]]\n").contains("did you mean \"tree\"?"));
        assert!(refusal("[[tree]]\nsource = 7\n").starts_with("m.toml:2: "));
        assert!(refusal("[[tree]\n").starts_with("m.toml:1: "));
        assert!(refusal("[[tree]]\nname = \"x\"\n").contains("source"));
    }

    #[test]
    fn a_mistake_is_where_its_key_is() {
        let text = "# status, replica, hook\nstatus = 'x'\n\n[[tree]]\nsource = '/a'\nfilter = [\n  '+ x',\n  'bad',\n]\n\
                    [[tree.replica]]\nto = '/b'\n\n[[tree]]\nname = 'a'\nsource = '/a'\n[[tree.replica]]\nto = '/b'\n[[tree.replica]]\nto = '/c'\n";
        let (key, nth) = (Step::Key, Step::Nth);
        for (steps, expected) in [
            (&[key("status")][..], Some(2)),
            (&[key("tree"), nth(0)], Some(4)),
            (&[key("tree"), nth(0), key("filter"), nth(1)], Some(8)),
            (&[key("tree"), nth(1), key("name")], Some(14)),
            (
                &[key("tree"), nth(1), key("replica"), nth(1), key("to")],
                Some(19),
            ),
            // As far as they lead.
            (
                &[key("tree"), nth(1), key("replica"), nth(1), key("protocol")],
                Some(18),
            ),
            (&[key("nothing")], None),
        ] {
            assert_eq!(line_at(text, steps), expected, "{steps:?}");
        }
        assert_eq!(line_at("<head>", &[key("head")]), None);
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("sorce", "source", 1),
            ("ab", "ba", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
