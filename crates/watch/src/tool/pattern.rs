//! POSIX extended regular expressions, by way of the `regex` crate, over bytes.

use regex::bytes::{Regex, RegexBuilder};

/// Which events are dropped by their path.
pub(crate) enum Filter {
    /// Those that match.
    Exclude(Regex),
    /// Those that do not match.
    Include(Regex),
}

impl Filter {
    pub(crate) fn drops(&self, path: &[u8]) -> bool {
        match self {
            Filter::Exclude(regex) => regex.is_match(path),
            Filter::Include(regex) => !regex.is_match(path),
        }
    }
}

/// A filter as it was given.
pub(crate) struct Pattern {
    expression: Vec<u8>,
    include: bool,
    ignore_case: bool,
}

/// The options of that kind, the last of each.
#[derive(Default)]
pub(crate) struct Given {
    exclude: Option<Vec<u8>>,
    exclude_ignoring_case: Option<Vec<u8>>,
    include: Option<Vec<u8>>,
    include_ignoring_case: Option<Vec<u8>>,
}

impl Given {
    pub(crate) fn exclude(
        &mut self,
        expression: Vec<u8>,
        ignore_case: bool,
        warnings: &mut String,
    ) {
        let (slot, name) = if ignore_case {
            (&mut self.exclude_ignoring_case, "--excludei")
        } else {
            (&mut self.exclude, "--exclude")
        };
        if slot.replace(expression).is_some() {
            let text = "only the last option will be taken into consideration.";
            warnings.push_str(&format!("{name}: {text}\n"));
        }
    }

    pub(crate) fn include(&mut self, expression: Vec<u8>, ignore_case: bool) {
        let slot = if ignore_case {
            &mut self.include_ignoring_case
        } else {
            &mut self.include
        };
        *slot = Some(expression);
    }

    /// The one that is left; an error is the line for stderr.
    pub(crate) fn check(self) -> Result<Option<Pattern>, String> {
        let both = |a: &Option<Vec<u8>>, b: &Option<Vec<u8>>| a.is_some() && b.is_some();
        if both(&self.exclude, &self.exclude_ignoring_case) {
            return Err("--exclude and --excludei cannot both be specified.\n".to_owned());
        }
        if both(&self.include, &self.include_ignoring_case) {
            return Err("--include and --includei cannot both be specified.\n".to_owned());
        }
        let patterns = [
            (self.exclude, false, false),
            (self.exclude_ignoring_case, false, true),
            (self.include, true, false),
            (self.include_ignoring_case, true, true),
        ];
        let mut given = patterns
            .into_iter()
            .filter_map(|(expression, include, ignore_case)| {
                Some(Pattern {
                    expression: expression?,
                    include,
                    ignore_case,
                })
            });
        let pattern = given.next();
        if given.next().is_some() {
            return Err("include and exclude regexp cannot both be specified.\n".to_owned());
        }
        Ok(pattern)
    }
}

impl Pattern {
    /// An error is the line for stderr.
    pub(crate) fn compile(&self) -> Result<Filter, String> {
        let regex = compile(&self.expression, self.ignore_case);
        match (regex, self.include) {
            (Some(regex), false) => Ok(Filter::Exclude(regex)),
            (Some(regex), true) => Ok(Filter::Include(regex)),
            (None, false) => Err("Error in `exclude' regular expression.\n".to_owned()),
            (None, true) => Err("Error in `include' regular expression.\n".to_owned()),
        }
    }
}

/// Compiles an expression as regcomp(3) with `REG_EXTENDED` would; `None` if it is none.
fn compile(expression: &[u8], ignore_case: bool) -> Option<Regex> {
    RegexBuilder::new(&translate(expression)?)
        .case_insensitive(ignore_case)
        // The tools run in the C locale: a character is a byte, and a newline is one like any other.
        .unicode(false)
        .dot_matches_new_line(true)
        .build()
        .ok()
}

/// From POSIX to the crate's syntax. They differ in brackets, in what a backslash means, in what may be
/// repeated, and in that the crate reads text, not bytes.
fn translate(expression: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut rest = expression;
    // Where the thing begins that a repetition would repeat.
    let mut atom: Option<usize> = None;
    let mut groups: Vec<usize> = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let start = out.len();
        atom = match byte {
            b'[' => {
                rest = bracket(rest, &mut out)?;
                Some(start)
            }
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                escape(escaped, &mut out)?;
                Some(start)
            }
            b'*' | b'+' | b'?' | b'{' => {
                let start = atom?;
                // In a group, for "a*?" repeats "a*" and is not a lazy repetition.
                out.insert_str(start, "(?:");
                out.push(')');
                if byte == b'{' {
                    rest = interval(rest, &mut out)?;
                } else {
                    out.push(char::from(byte));
                }
                Some(start)
            }
            b'(' => {
                groups.push(start);
                out.push('(');
                None
            }
            b')' if !groups.is_empty() => {
                out.push(')');
                groups.pop()
            }
            b'|' | b'^' => {
                out.push(char::from(byte));
                None
            }
            b'$' | b'.' => {
                out.push(char::from(byte));
                Some(start)
            }
            _ => {
                literal(byte, &mut out);
                Some(start)
            }
        };
    }
    groups.is_empty().then_some(out)
}

fn literal(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!(r"\x{byte:02x}"));
    }
}

/// The character after a backslash, with GNU's extensions.
fn escape(byte: u8, out: &mut String) -> Option<()> {
    match byte {
        // What a group matched cannot be matched again in bounded time.
        b'1'..=b'9' => return None,
        b'w' | b'W' | b's' | b'S' | b'b' | b'B' => out.extend(['\\', char::from(byte)]),
        b'<' => out.push_str(r"\b{start}"),
        b'>' => out.push_str(r"\b{end}"),
        b'`' => out.push_str(r"\A"),
        b'\'' => out.push_str(r"\z"),
        _ => literal(byte, out),
    }
    Some(())
}

/// What follows `{`: `N}`, `N,}`, `,N}` or `N,M}`.
fn interval<'e>(text: &'e [u8], out: &mut String) -> Option<&'e [u8]> {
    let end = text.iter().position(|&byte| byte == b'}')?;
    let inside = std::str::from_utf8(&text[..end]).ok()?;
    let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
    let number = |text: &str| text.parse::<u16>().ok();
    match (low, high) {
        ("", "") => return None,
        ("", high) => out.push_str(&format!("{{0,{}}}", number(high)?)),
        (low, "") => out.push_str(&format!("{{{},}}", number(low)?)),
        (low, high) => out.push_str(&format!("{{{},{}}}", number(low)?, number(high)?)),
    }
    Some(&text[end + 1..])
}

/// Character classes of POSIX.
const CLASSES: [&str; 12] = [
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "xdigit",
];

/// What follows `[`. A backslash is an ordinary character here, and so is a first `]`.
fn bracket<'e>(text: &'e [u8], out: &mut String) -> Option<&'e [u8]> {
    out.push('[');
    let mut rest = text;
    if let Some(after) = rest.strip_prefix(b"^") {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    loop {
        if !first && let Some(after) = rest.strip_prefix(b"]") {
            out.push(']');
            return Some(after);
        }
        first = false;
        if let Some(after) = rest.strip_prefix(b"[:") {
            let end = after.windows(2).position(|pair| pair == b":]")?;
            let name = std::str::from_utf8(&after[..end]).ok()?;
            if !CLASSES.contains(&name) {
                return None;
            }
            out.push_str(&format!("[:{name}:]"));
            rest = &after[end + 2..];
            continue;
        }
        let (low, after) = bracket_character(rest)?;
        rest = after;
        literal(low, out);
        if let Some(after) = rest.strip_prefix(b"-")
            && after.first().is_some_and(|&byte| byte != b']')
        {
            let (high, after) = bracket_character(after)?;
            rest = after;
            out.push('-');
            literal(high, out);
        }
    }
}

/// One character of a bracket expression, also as `[.c.]` or `[=c=]`.
fn bracket_character(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'[', open @ (b'.' | b'='), byte, close, b']', rest @ ..] if open == close => {
            Some((*byte, rest))
        }
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_what_posix_matches() {
        for (expression, text, expected) in [
            (r"\.txt$", "d/a.txt", true),
            (r"\.txt$", "d/atxt", false),
            ("a{2}b", "aab", true),
            ("a{,1}b$", "b", true),
            ("^a**?$", "aaa", true),
            (r"[\]x", r"\x", true),
            ("[]a]b", "]b", true),
            ("[^]a]b", "]b", false),
            ("[[:digit:]]z", "1z", true),
            ("[a-]z", "-z", true),
            ("[[.-.]]z", "-z", true),
            ("a)b", "a)b", true),
            ("()a", "a", true),
            ("x||y", "", true),
            ("a.c", "a\nc", true),
            (r"a\{2", "a{2", true),
            ("(ab|cd)+e", "abcde", true),
            ("文件", "d/文件", true),
            ("^.$", "é", false),
        ] {
            let regex = compile(expression.as_bytes(), false);
            let matched = regex.map(|regex| regex.is_match(text.as_bytes()));
            assert_eq!(matched, Some(expected), "{expression} on {text:?}");
        }
    }

    #[test]
    fn refuses_what_posix_refuses() {
        for expression in [
            "*a",
            "+a",
            "(a",
            "a{",
            "a{x",
            "{2}",
            "a|*b",
            "(*b)",
            "[",
            "[a",
            r"x\",
            "^*a",
            "a{1",
            "[z-a]",
            "[[:foo:]]",
        ] {
            assert!(
                compile(expression.as_bytes(), false).is_none(),
                "{expression}"
            );
        }
    }

    #[test]
    fn case_is_ignored_on_request() {
        let regex = compile(b"\\.TXT", true);
        assert!(regex.is_some_and(|regex| regex.is_match(b"a.txt")));
    }
}
