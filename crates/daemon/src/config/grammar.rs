//! The lines of a file: sections, parameters and directives, whatever they are called.
//!
//! Every rule here was seen in rsync 3.5.0 (behaviour.md 8.2). A CR counts for nothing in a value and is a blank elsewhere, a
//! NUL ends a line. Backslashes at the beginning of a line mean nothing.

use super::Fault;
use super::parameters::is_space;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// `[name]`
    Section(Vec<u8>),
    /// `name = value`
    Parameter {
        /// With single spaces inside.
        name: Vec<u8>,
        /// Without blanks at its ends.
        value: Vec<u8>,
    },
    /// `&name argument`
    Directive {
        /// With its `&`.
        name: Vec<u8>,
        /// Without blanks at its ends.
        argument: Vec<u8>,
    },
}

/// Reads the statements of a file, each with its line, or what is wrong there.
pub(super) struct Statements<'a> {
    rest: &'a [u8],
    line: u32,
}

impl<'a> Statements<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            line: 1,
        }
    }
}

impl Iterator for Statements<'_> {
    type Item = (u32, Result<Statement, Fault>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.line;
            let logical = self.logical_line()?;
            let statement = match logical.text.first() {
                None | Some(b'#' | b';') => continue,
                Some(b'[') => section(&logical),
                Some(b'&') => directive(&logical),
                Some(_) => parameter(&logical),
            };
            return Some((line, statement));
        }
    }
}

/// Lines joined where they are continued, without blanks and backslashes at their beginning.
struct LogicalLine {
    text: Vec<u8>,
    /// No line feed ends it.
    is_cut: bool,
}

impl Statements<'_> {
    /// `None` at the end of the file. A comment is not continued.
    fn logical_line(&mut self) -> Option<LogicalLine> {
        if self.rest.is_empty() {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let (piece, end) = self.physical_line();
            let means_nothing = |byte: &u8| is_space(*byte) || *byte == b'\\';
            let blank = match text.is_empty() {
                true => piece.iter().take_while(|byte| means_nothing(byte)).count(),
                false => 0,
            };
            text.extend_from_slice(&piece[blank..]);
            let is_comment = matches!(text.first(), Some(b'#' | b';'));
            if end != Some(b'\n') || is_comment || !is_continued(&mut text) {
                let is_cut = end != Some(b'\n');
                return Some(LogicalLine { text, is_cut });
            }
        }
    }

    /// Takes a line and the byte that ended it, which is `None` at the end of the file.
    fn physical_line(&mut self) -> (&[u8], Option<u8>) {
        let end = self.rest.iter().position(|byte| matches!(byte, b'\n' | 0));
        let (piece, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let (end, after) = match after.split_first() {
            Some((&end, after)) => (Some(end), after),
            None => (None, after),
        };
        self.rest = after;
        self.line = self.line.saturating_add(u32::from(end == Some(b'\n')));
        (piece, end)
    }
}

/// Whether the text ends in a backslash, blanks after it aside. What makes it so is removed; blanks before it stay.
fn is_continued(text: &mut Vec<u8>) -> bool {
    let last = text.iter().rposition(|&byte| !is_space(byte));
    match last {
        Some(last) if text[last] == b'\\' => {
            text.truncate(last);
            true
        }
        _ => false,
    }
}

/// `[name]`, and nothing of what follows it.
fn section(line: &LogicalLine) -> Result<Statement, Fault> {
    let text = &line.text[1..];
    let Some(end) = text.iter().position(|&byte| byte == b']') else {
        let name = shown(&collapse(text));
        return Err(if line.is_cut {
            Fault::EndInSection(name)
        } else {
            Fault::BadSection(name)
        });
    };
    let name = collapse(&text[..end]);
    if name.is_empty() {
        return Err(Fault::EmptySection);
    }
    if name.contains(&b'/') {
        return Err(Fault::InvalidSection(shown(&name)));
    }
    Ok(Statement::Section(name))
}

/// `&name argument` or `&name = argument`.
fn directive(line: &LogicalLine) -> Result<Statement, Fault> {
    let ends_name = |byte: &u8| matches!(byte, b' ' | b'\t' | b'=');
    let Some(end) = line.text.iter().position(ends_name) else {
        return Err(line.without_value());
    };
    let (name, rest) = line.text.split_at(end);
    let rest = trim(rest);
    Ok(Statement::Directive {
        name: collapse(name),
        argument: value(rest.strip_prefix(b"=").unwrap_or(rest)),
    })
}

fn parameter(line: &LogicalLine) -> Result<Statement, Fault> {
    let Some(equals) = line.text.iter().position(|&byte| byte == b'=') else {
        return Err(line.without_value());
    };
    let name = collapse(&line.text[..equals]);
    if name.is_empty() {
        return Err(Fault::NoName);
    }
    Ok(Statement::Parameter {
        name,
        value: value(&line.text[equals + 1..]),
    })
}

impl LogicalLine {
    fn without_value(&self) -> Fault {
        let text = shown(&collapse(&self.text));
        match self.text.last() {
            // The end comes before what would have removed the blank.
            Some(&last) if self.is_cut && is_space(last) => Fault::EndInName(text + " "),
            _ if self.is_cut => Fault::EndInName(text),
            _ => Fault::BadLine(text),
        }
    }
}

/// A value without blanks at its ends, and CRs.
fn value(text: &[u8]) -> Vec<u8> {
    let mut value = trim(text).to_vec();
    value.retain(|&byte| byte != b'\r');
    value
}

/// The words of a text, with one space between them.
fn collapse(text: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = text
        .split(|&byte| is_space(byte))
        .filter(|word| !word.is_empty())
        .collect();
    words.join(&b' ')
}

fn trim(text: &[u8]) -> &[u8] {
    let Some(start) = text.iter().position(|&byte| !is_space(byte)) else {
        return &[];
    };
    let end = text.iter().rposition(|&byte| !is_space(byte));
    &text[start..=end.unwrap_or(start)]
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The statements as text: `[name]`, `name=value`, `&name argument`, or the fault.
    fn read(text: &str) -> Vec<String> {
        Statements::new(text.as_bytes())
            .map(|(line, statement)| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let what = match statement {
                    Ok(Statement::Section(name)) => format!("[{}]", text(&name)),
                    Ok(Statement::Parameter { name, value }) => {
                        format!("{}={}", text(&name), text(&value))
                    }
                    Ok(Statement::Directive { name, argument }) => {
                        format!("{} {}", text(&name), text(&argument))
                    }
                    Err(fault) => format!("{fault:?}"),
                };
                format!("{line} {what}")
            })
            .collect()
    }

    #[test]
    fn each_line_is_a_section_or_a_parameter() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n# a = b \\\n ; c\n  list = no\n", &["4 list=no"]),
            ("[m]\nx = y", &["1 [m]", "2 x=y"]),
            (
                "[  n   b\t c ] rest = x\nCOMM ent = y  z \n",
                &["1 [n b c]", "2 COMM ent=y  z"],
            ),
            ("a = b = c\r\n\rb\r b = d\re\r", &["1 a=b = c", "2 b b=de"]),
            ("\\[m]\n \\ \\a = b\n\\# c\n", &["1 [m]", "2 a=b"]),
            ("[m]]\n[m\\]\n", &["1 [m]", "2 [m\\]"]),
            ("a =\n\n b = \n", &["1 a=", "3 b="]),
            ("a = \\\n\nb=\x0bc\x0c\n", &["1 a=", "3 b=c"]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line() {
        for (text, expected) in [
            (
                "comment = a\\ \n   b\nc = d\n",
                &["1 comment=a   b", "3 c=d"][..],
            ),
            ("a = /a \\\n  /b\n", &["1 a=/a   /b"]),
            ("a = b\\\n# c\nd = e\n", &["1 a=b# c", "3 d=e"]),
            ("comm\\\nent = x\n", &["1 comment=x"]),
            ("[m\\ \n n]\n[m\\\nm]\n", &["1 [m n]", "3 [mm]"]),
            ("a = b\\\\\nc\n", &["1 a=b\\c"]),
            ("a = b\\ c\nd\\ = e\n", &["1 a=b\\ c", "2 d\\=e"]),
            ("\\\n  a = b\n", &["2 a=b"]),
            ("a = b \\\n", &["1 a=b"]),
            ("a = b\\\r\nc\n", &["1 a=bc"]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn directives_name_a_path() {
        for (text, expected) in [
            ("  &include\t /a b \n", &["1 &include /a b"][..]),
            (
                "&merge = /a\n&merge=/b # c\n",
                &["1 &merge /a", "2 &merge /b # c"],
            ),
            ("&mer\\\nge x\n", &["1 &merge x"]),
            ("& include x\n", &["1 & include x"]),
            ("&include\n", &["1 BadLine(\"&include\")"]),
            ("&include \n&merge=\n", &["1 &include ", "2 &merge "]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn faults_name_what_is_wrong_with_the_line() {
        for (text, expected) in [
            ("x y  z \\\n  foo\n", "1 BadLine(\"x y z foo\")"),
            ("[m]", "1 [m]"),
            ("[m", "1 EndInSection(\"m\")"),
            ("[ m\n", "1 BadSection(\"m\")"),
            ("[ ]\n", "1 EmptySection"),
            ("[a/b]\n", "1 InvalidSection(\"a/b\")"),
            (" = 3\n", "1 NoName"),
            ("x", "1 EndInName(\"x\")"),
            ("x\\", "1 EndInName(\"x\\\\\")"),
            ("x \r", "1 EndInName(\"x \")"),
            ("&merge", "1 EndInName(\"&merge\")"),
        ] {
            assert_eq!(read(text), [expected], "{text}");
        }
        assert_eq!(
            read("comm\0ent = a\0b\n"),
            ["1 EndInName(\"comm\")", "1 ent=a", "1 BadLine(\"b\")"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(text in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut statements = Statements::new(&text);
            statements.by_ref().for_each(drop);
            prop_assert!(statements.rest.is_empty());
        }

        /// Bytes that mean something, so that all branches are taken.
        #[test]
        fn any_lines_are_read_to_their_end(text in "[\\[\\]=&#;\\\\ \n\r\t\0ab/]{0,80}") {
            let mut statements = Statements::new(text.as_bytes());
            let lines: Vec<u32> = statements.by_ref().map(|(line, _)| line).collect();
            prop_assert!(statements.rest.is_empty());
            prop_assert!(lines.is_sorted());
        }
    }
}
