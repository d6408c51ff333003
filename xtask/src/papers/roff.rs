//! Manual pages in the macros of man(7).
//!
//! Prose comes as paragraphs separated by empty lines, with names and values in `backticks`. A paragraph whose lines
//! begin with four spaces is an example.

/// A page under construction.
pub(super) struct Page(String);

impl Page {
    /// `name` in section `section` of the manual, `about` in one line.
    pub(super) fn new(name: &str, section: u8, about: &str) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let upper = name.to_uppercase();
        let mut page = Self(format!(
            ".\\\" Written by `cargo xtask papers`. Change what it is made from, not this file.\n\
             .TH {} {section} \"\" \"driftless {version}\" \"driftless manual\"\n",
            escaped(&upper)
        ));
        page.section("NAME");
        page.0 += &format!("{} \\- {}\n", escaped(name), escaped(about));
        page
    }

    pub(super) fn section(&mut self, title: &str) {
        self.0 += &format!(".SH \"{}\"\n", escaped(title));
    }

    pub(super) fn subsection(&mut self, title: &str) {
        self.0 += &format!(".SS \"{}\"\n", escaped(title));
    }

    /// Lines as they are typed, one below the other.
    pub(super) fn synopsis(&mut self, lines: &[&str]) {
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.0 += ".br\n";
            }
            self.0 += &format!("{}\n", inline(line));
        }
    }

    pub(super) fn prose(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|text| !text.trim().is_empty()) {
            if paragraph.lines().all(|line| line.starts_with("    ")) {
                self.0 += ".PP\n.nf\n.RS 4\n";
                for line in paragraph.lines() {
                    self.0 += &format!("{}\n", escaped(&line[4..]));
                }
                self.0 += ".RE\n.fi\n";
            } else {
                self.0 += &format!(".PP\n{}\n", inline(&one_line(paragraph)));
            }
        }
    }

    /// A term and what it means.
    pub(super) fn entry(&mut self, term: &str, text: &str) {
        self.0 += &format!(".TP\n{}\n", inline(term));
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default();
        self.0 += &format!("{}\n", inline(&one_line(first)));
        for paragraph in paragraphs {
            self.0 += &format!(".IP\n{}\n", inline(&one_line(paragraph)));
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text with what stands in backticks in bold.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (at, piece) in text.split('`').enumerate() {
        if at % 2 == 1 {
            out += &format!("\\fB{}\\fR", escaped(piece));
        } else {
            out += &escaped(piece);
        }
    }
    // A control line begins with one of these.
    if out.starts_with(['.', '\'']) {
        out.insert_str(0, "\\&");
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\'' => out += "\\(aq",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            '"' => out += "\\(dq",
            c => out.push(c),
        }
    }
    if out.starts_with('.') {
        out.insert_str(0, "\\&");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(inline("a `-x` b\\c"), "a \\fB\\-x\\fR b\\ec");
        assert_eq!(inline(".x"), "\\&.x");
        assert_eq!(escaped("'a'"), "\\(aqa\\(aq");
    }

    #[test]
    fn a_page_is_roff() {
        let mut page = Page::new("a-b", 1, "does");
        page.prose("One\ntwo.\n\n    code\n");
        page.entry("`-x`", "First.\n\nSecond.");
        let text = page.finish();
        assert!(text.contains("\na\\-b \\- does\n"), "{text}");
        assert!(
            text.ends_with(
                ".PP\nOne two.\n.PP\n.nf\n.RS 4\ncode\n.RE\n.fi\n.TP\n\\fB\\-x\\fR\nFirst.\n.IP\nSecond.\n"
            ),
            "{text}"
        );
    }
}
