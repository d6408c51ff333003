//! As much of Lua as configurations are written in: assignments and calls of constants and tables. The rest is skipped,
//! and known by its line.

use std::collections::HashMap;

/// How deep tables and blocks may lie in each other.
const DEPTH_MAX: usize = 32;

/// What begins a block that `end` ends.
const OPENING: [&str; 4] = ["function", "do", "if", "repeat"];

/// What a program says, one thing after the other.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) what: What,
}

/// One thing that a program says.
#[derive(Debug)]
pub(super) enum What {
    /// `NAME{...}`, `NAME({...})` or `NAME = {...}`.
    Table(String, Table),
    /// Something that only a program's interpreter understands, by its first word.
    Code(String),
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// A number, `true`, `false`, or a name such as `default.rsync`.
    Word(String),
    Table(Table),
    /// What is no constant.
    Code,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) named: Vec<Named>,
    pub(super) listed: Vec<Value>,
}

/// `KEY = VALUE` in a table.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) line: usize,
}

impl Table {
    pub(super) fn named(&self, key: &str) -> Option<&Named> {
        self.named.iter().find(|named| named.key == key)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.listed.iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }
}

/// A line, and what is wrong there.
pub(super) type Mistake = (usize, String);

/// Reads a program.
///
/// # Errors
/// What is no Lua, or goes deeper than a configuration does.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, Mistake> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        depth: 0,
        known: HashMap::new(),
    };
    let mut statements = Vec::new();
    while reader.skip_to_something() {
        let line = reader.line;
        if let Some(what) = reader.statement()? {
            statements.push(Statement { line, what });
        }
    }
    Ok(statements)
}

/// A text that is read from its beginning.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
    /// Names of constants.
    known: HashMap<String, Value>,
}

impl Reader<'_> {
    /// One statement; none if it only gives a constant its name.
    fn statement(&mut self) -> Result<Option<What>, Mistake> {
        let mut name = self.name()?;
        if ["for", "while"].contains(&name.as_str()) {
            // Their blocks begin with `do`.
            self.skip_to_word("do");
        }
        if ["for", "while"].contains(&name.as_str()) || OPENING.contains(&name.as_str()) {
            self.skip_block()?;
            return Ok(Some(What::Code(name)));
        }
        if name == "local" {
            self.skip_to_something();
            name = self.name()?;
            if name == "function" {
                self.skip_block()?;
                return Ok(Some(What::Code(name)));
            }
        }
        let is_assigned = self.take_after_blanks("=");
        let is_call = !is_assigned && self.take_after_blanks("(");
        if !is_assigned && !self.rest.starts_with(['{', '"', '\'', '[']) && !is_call {
            return self.wrong(&format!("{name} is no statement"));
        }
        let value = self.value()?;
        if is_call && !self.skip_arguments() {
            return self.wrong("a ) is missing");
        }
        Ok(match value {
            Value::Table(table) => Some(What::Table(name, table)),
            Value::Text(_) | Value::Word(_) if is_assigned => {
                self.known.insert(name, value);
                None
            }
            _ => Some(What::Code(name)),
        })
    }

    fn advance(&mut self, bytes: usize) {
        let (read, rest) = self.rest.split_at(bytes);
        self.line += read.matches('\n').count();
        self.rest = rest;
    }

    /// Skips blanks, semicolons between statements, and comments. False at the end.
    fn skip_to_something(&mut self) -> bool {
        loop {
            let blanks = self.rest.len()
                - self
                    .rest
                    .trim_start_matches([' ', '\t', '\r', '\n', ';'])
                    .len();
            self.advance(blanks);
            if self.rest.starts_with("--[[") {
                let end = self.rest.find("]]").map_or(self.rest.len(), |at| at + 2);
                self.advance(end);
            } else if self.rest.starts_with("--") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.advance(end);
            } else {
                return !self.rest.is_empty();
            }
        }
    }

    /// Skips what is neither a name nor a text, and says which comes next; none at the end.
    fn next_token(&mut self) -> Result<Option<String>, Mistake> {
        if !self.skip_to_something() {
            return Ok(None);
        }
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Some),
            _ if self.rest.starts_with("[[") => self.long_text().map(Some),
            Some(c) if is_part_of_name(c) => self.name().map(Some),
            Some(c) => {
                self.advance(c.len_utf8());
                Ok(Some(String::new()))
            }
            None => Ok(None),
        }
    }

    fn skip_to_word(&mut self, word: &str) {
        while let Ok(Some(token)) = self.next_token() {
            if token == word {
                return;
            }
        }
    }

    /// Skips to the end of the block that has begun.
    fn skip_block(&mut self) -> Result<(), Mistake> {
        let begin = self.line;
        let mut depth = 1_usize;
        while depth > 0 {
            // A text may say anything; only words count.
            let is_word = self.skip_to_something() && self.rest.starts_with(is_part_of_name);
            let Some(token) = self.next_token()? else {
                return Err((begin, "a block is not closed".to_owned()));
            };
            match token.as_str() {
                // The `do` of a loop is its block.
                word if is_word && OPENING.contains(&word) => depth += 1,
                "end" | "until" if is_word => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Skips what follows a value up to where another one may come. True if there was something.
    fn skip_to_end_of_value(&mut self) -> bool {
        let mut open = 0_usize;
        let mut has_skipped = false;
        while self.skip_to_something() {
            match self.rest.chars().next() {
                Some('(' | '{' | '[') => open += 1,
                Some(')' | '}' | ']') if open == 0 => return has_skipped,
                Some(')' | '}' | ']') => open -= 1,
                Some(',') if open == 0 => return has_skipped,
                _ => {}
            }
            has_skipped = true;
            if self.next_token().is_err() {
                return has_skipped;
            }
        }
        has_skipped
    }

    /// Skips the rest of a call. False if it has no end.
    fn skip_arguments(&mut self) -> bool {
        loop {
            self.skip_to_end_of_value();
            if !self.take(",") {
                return self.take(")");
            }
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest.starts_with(token);
        if is_next {
            self.advance(token.len());
        }
        is_next
    }

    fn take_after_blanks(&mut self, token: &str) -> bool {
        self.skip_to_something();
        self.take(token)
    }

    fn wrong<T>(&self, message: &str) -> Result<T, Mistake> {
        Err((self.line, message.to_owned()))
    }

    fn name(&mut self) -> Result<String, Mistake> {
        let mut end = self
            .rest
            .find(|c| !is_part_of_name(c))
            .unwrap_or(self.rest.len());
        // Two dots put texts together.
        end = self.rest[..end].find("..").unwrap_or(end);
        if end == 0 {
            return self.wrong("only settings, sync, texts, numbers and tables are understood");
        }
        let name = self.rest[..end].to_owned();
        self.advance(end);
        Ok(name)
    }

    /// A value with what is put behind it.
    fn value(&mut self) -> Result<Value, Mistake> {
        let mut value = self.single_value()?;
        while self.take_after_blanks("..") {
            value = match (value, self.single_value()?) {
                (
                    Value::Text(left) | Value::Word(left),
                    Value::Text(right) | Value::Word(right),
                ) => Value::Text(left + &right),
                _ => Value::Code,
            };
        }
        Ok(value)
    }

    fn single_value(&mut self) -> Result<Value, Mistake> {
        self.skip_to_something();
        match self.rest.chars().next() {
            Some('{') => self.table().map(Value::Table),
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Value::Text),
            _ if self.rest.starts_with("[[") => self.long_text().map(Value::Text),
            _ => {
                let name = self.name()?;
                if name == "function" {
                    self.skip_block()?;
                    return Ok(Value::Code);
                }
                if self.rest.starts_with('(') {
                    self.advance(1);
                    return match self.skip_arguments() {
                        true => Ok(Value::Code),
                        false => self.wrong("a ) is missing"),
                    };
                }
                Ok(self.known.get(&name).cloned().unwrap_or(Value::Word(name)))
            }
        }
    }

    fn text(&mut self, quote: char) -> Result<String, Mistake> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c)) => text.push(c),
                    None => break,
                },
                c if c == quote => {
                    self.advance(at + 1);
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        self.wrong("a text is not closed")
    }

    /// `[[...]]`, whose first line end is no part of it.
    fn long_text(&mut self) -> Result<String, Mistake> {
        let Some(end) = self.rest.find("]]") else {
            return self.wrong("a text is not closed");
        };
        let text = self.rest[2..end].trim_start_matches('\n').to_owned();
        self.advance(end + 2);
        Ok(text)
    }

    fn table(&mut self) -> Result<Table, Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.wrong("tables lie too deep in each other");
        }
        self.advance(1);
        let mut table = Table::default();
        loop {
            self.skip_to_something();
            if self.take("}") {
                self.depth -= 1;
                return Ok(table);
            }
            let line = self.line;
            let mut named = |key, value| table.named.push(Named { key, value, line });
            if self.rest.starts_with("[[") || !self.take("[") {
                let value = self.value()?;
                match (value, self.take_after_blanks("=")) {
                    (Value::Word(key), true) => named(key, self.whole_value()?),
                    (_, true) => return self.wrong("a key is no name"),
                    (value, false) => {
                        let value = self.constant(value);
                        table.listed.push(value);
                    }
                }
            } else {
                let Value::Text(key) = self.value()? else {
                    return self.wrong("a key in brackets is no text");
                };
                if !self.take_after_blanks("]") || !self.take_after_blanks("=") {
                    return self.wrong("a key in brackets has no value");
                }
                named(key, self.whole_value()?);
            }
            if !self.take_after_blanks(",") && !self.rest.starts_with(['}', ';']) {
                return self.wrong("a comma or } is missing");
            }
        }
    }

    /// A value of a table, which is no constant if anything but a comma follows it.
    fn whole_value(&mut self) -> Result<Value, Mistake> {
        let value = self.value()?;
        Ok(self.constant(value))
    }

    fn constant(&mut self, value: Value) -> Value {
        self.skip_to_something();
        let ends = self.rest.starts_with([',', '}']) || self.rest.starts_with(is_part_of_name);
        match ends || !self.skip_to_end_of_value() {
            true => value,
            false => Value::Code,
        }
    }
}

fn is_part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_names_and_code_has_lines() {
        let text = "local base = '/srv'\nn = 5\nfor i = 1, 2 do\n  if i == 1 then x() end\nend\nlocal function f(a)\n  return \"end\"\nend\n\
                    t{ a = base .. '/' .. n, b = f(1, {2}), c = function(e) while e do e = g() end end, d = 60 * 5, [[long]], [\"e\"] = -1 }\nrequire('lfs')\n";
        let statements = parse(text).unwrap();
        let shown: Vec<_> = statements
            .iter()
            .map(|statement| match &statement.what {
                What::Code(word) => format!("{} {word}", statement.line),
                What::Table(name, _) => format!("{} {name}{{}}", statement.line),
            })
            .collect();
        assert_eq!(shown, ["3 for", "6 function", "9 t{}", "10 require"]);
        let What::Table(_, table) = &statements[2].what else {
            panic!("{statements:?}")
        };
        let shown: Vec<_> = table
            .named
            .iter()
            .map(|named| match &named.value {
                Value::Text(text) | Value::Word(text) => format!("{} {text}", named.key),
                Value::Code => format!("{} ?", named.key),
                Value::Table(_) => named.key.clone(),
            })
            .collect();
        assert_eq!(shown, ["a /srv/5", "b ?", "c ?", "d ?", "e -1"]);
        assert_eq!(table.texts().collect::<Vec<_>>(), ["long"]);
    }

    #[test]
    fn what_is_no_lua() {
        for (text, line) in [
            ("sync { source = \"/a", 1),
            ("sync {\n source = 'x' target = 'y' }", 2),
            ("\nfor x in y do", 2),
            ("= 1", 1),
            ("word", 1),
            ("f(1", 1),
            ("t = [[x", 1),
            ("s{[1]=2}", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
        assert!(parse(&"a={".repeat(1000)).is_err());
    }
}
