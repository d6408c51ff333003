//! The options of a command, read from the help text that it prints: what the command knows is what its papers tell.

/// An option as a help text has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HelpOption {
    /// Its spellings, with their dashes.
    pub(super) names: Vec<String>,
    /// What its value is called; empty if it has none.
    pub(super) value: String,
    /// What it does.
    pub(super) text: String,
}

/// The options of a help text: those of its lines that begin with space and a dash, up to the next heading.
pub(super) fn options(help: &str) -> Vec<HelpOption> {
    let mut options: Vec<HelpOption> = Vec::new();
    let lines = help
        .lines()
        .skip_while(|line| !line.starts_with("Options"))
        .skip(1)
        .take_while(|line| line.starts_with([' ', '\t']));
    for line in lines {
        let text = line.trim();
        if text.starts_with('-') {
            options.push(option(text));
        } else if let Some(last) = options.last_mut().filter(|_| !text.starts_with('@')) {
            join(&mut last.text, text);
        }
    }
    options
}

/// The heading's lines, as they stand.
pub(super) fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    help.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| line.starts_with([' ', '\t']))
        .collect()
}

/// `-x, --name VALUE   text`, or `-x|--name <value>` with a tab before the text.
fn option(line: &str) -> HelpOption {
    let spelled_end = line
        .find('\t')
        .or_else(|| line.find("  "))
        .unwrap_or(line.len());
    let (spelled, text) = line.split_at(spelled_end);
    let mut names = Vec::new();
    let mut value = String::new();
    for word in spelled
        .split([' ', ',', '|'])
        .filter(|word| !word.is_empty())
    {
        if word.starts_with('-') {
            names.push(word.to_owned());
        } else if value.is_empty() && !word.starts_with(['[', ']', '.']) {
            value = word.trim_matches(['<', '>']).to_owned();
        }
    }
    names.dedup();
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    HelpOption {
        names: unique,
        value,
        text: text.trim().to_owned(),
    }
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_texts_of_both_styles_are_read() {
        let help = "x\nOptions:\n  -v, --verbose       says more\n      --state FILE    where\n                      to\n\
                    \t-e|--event <event1> [ -e|--event <event2> ... ]\n\t\tListen.\n\t-q|--quiet    \tLess.\n\nOther:\n\t-z no\n";
        let told: Vec<(String, String, String)> = options(help)
            .into_iter()
            .map(|option| (option.names.join(" "), option.value, option.text))
            .collect();
        let expected = [
            ("-v --verbose", "", "says more"),
            ("--state", "FILE", "where to"),
            ("-e --event", "event1", "Listen."),
            ("-q --quiet", "", "Less."),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(told, expected);
        assert_eq!(section(help, "Other:"), ["\t-z no"]);
    }
}
