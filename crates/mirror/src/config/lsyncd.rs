//! The tables `settings` and `sync` of an lsyncd configuration (mirror.md 3). Such a file is a Lua program; of that,
//! constants, strings and tables are understood, and everything else is named by its line.

use std::path::{Path, PathBuf};

use super::{BadConfig, Converted, ReplicaConfig, TreeConfig};

/// How deep tables may lie in each other.
const DEPTH_MAX: usize = 32;

pub(super) fn read(text: &str, file: &Path) -> Result<Converted, BadConfig> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        depth: 0,
    };
    let mut converted = Converted::default();
    let bad = |(line, message): (usize, String)| BadConfig {
        file: file.to_owned(),
        line: Some(line),
        message,
    };
    while reader.skip_to_something() {
        let line = reader.line;
        let name = reader.name().map_err(bad)?;
        reader.skip_to_something();
        reader.take("=");
        reader.skip_to_something();
        let is_call = reader.take("(");
        let table = match reader.value().map_err(bad)? {
            Value::Table(table) => table,
            _ => {
                return Err(bad((
                    line,
                    format!("{name} is no table: only settings and sync tables are understood"),
                )));
            }
        };
        if is_call && !reader.take_after_blanks(")") {
            return Err(bad((reader.line, "a ) is missing".to_owned())));
        }
        match name.as_str() {
            "settings" => settings(&table, &mut converted),
            "sync" => {
                let tree = sync(&table, &mut converted).map_err(|message| bad((line, message)))?;
                converted.config.trees.push(tree);
            }
            _ => {
                return Err(bad((
                    line,
                    format!("{name}: Lua beyond settings{{}} and sync{{}} cannot be converted"),
                )));
            }
        }
    }
    match converted.config.trees.is_empty() {
        true => Err(bad((1, "there is no sync{}".to_owned()))),
        false => Ok(converted),
    }
}

fn settings(table: &Table, converted: &mut Converted) {
    for (key, _) in &table.named {
        match key.as_str() {
            // A service manager's work, or not needed.
            "nodaemon" | "pidfile" | "insist" | "maxProcesses" | "maxDelays" | "inotifyMode"
            | "statusInterval" => {}
            _ => converted.note(format!(
                "settings.{key} is left out; see driftless status and the journal"
            )),
        }
    }
}

fn sync(table: &Table, converted: &mut Converted) -> Result<TreeConfig, String> {
    let source = table.text("source").ok_or("sync has no source")?;
    let mut tree = TreeConfig {
        source: PathBuf::from(trimmed(&source)),
        ..TreeConfig::default()
    };
    let mut replica = ReplicaConfig {
        to: match (
            table.text("target"),
            table.text("host"),
            table.text("targetdir"),
        ) {
            (Some(target), ..) => trimmed(&target).to_owned(),
            (None, Some(host), Some(directory)) => format!("{host}:{}", trimmed(&directory)),
            _ => return Err("sync has no target, or host and targetdir".to_owned()),
        },
        ..ReplicaConfig::default()
    };
    for value in &table.listed {
        match value {
            Value::Word(word)
                if ["default.rsync", "default.rsyncssh", "default.direct"]
                    .contains(&word.as_str()) => {}
            _ => converted.note("sync: actions of its own cannot be converted; use hooks"),
        }
    }
    for (key, value) in &table.named {
        match (key.as_str(), value) {
            ("source" | "target" | "host" | "targetdir" | "maxDelays" | "maxProcesses" | "init", _) => {}
            ("delay", Value::Word(_)) => converted.note(
                "sync.delay is left out: changes are brought over at once, together with what comes with them",
            ),
            ("delete", Value::Word(word)) if word == "false" => replica.delete = Some(false),
            ("delete", Value::Word(word)) if word == "true" => {}
            ("delete", _) => converted.note("sync.delete is 'startup' or 'running': deletions are mirrored always"),
            ("exclude", Value::Table(patterns)) => tree.exclude.extend(patterns.texts()),
            ("exclude", Value::Text(pattern)) => tree.exclude.push(pattern.clone()),
            ("excludeFrom", Value::Text(path)) => tree.filter.push(format!("merge,- {path}")),
            ("filter", Value::Table(rules)) => tree.filter.extend(rules.texts()),
            ("filterFrom", Value::Text(path)) => tree.filter.push(format!("merge {path}")),
            ("rsync", Value::Table(options)) => rsync(options, &mut replica, converted),
            ("ssh", Value::Table(options)) => ssh(options, &mut replica, converted),
            _ => converted.note(format!("sync.{key} cannot be converted")),
        }
    }
    tree.replicas.push(replica);
    Ok(tree)
}

fn rsync(table: &Table, replica: &mut ReplicaConfig, converted: &mut Converted) {
    for (key, value) in &table.named {
        match (key.as_str(), value) {
            ("password_file", Value::Text(path)) => replica.password_file = Some(path.into()),
            ("timeout", Value::Word(seconds)) => replica.timeout = seconds.parse().ok(),
            ("rsync_path", Value::Text(path)) => replica.rsync = Some(path.clone()),
            ("backup_dir", Value::Text(path)) => replica.trash = Some(path.trim_matches('/').to_owned()),
            ("rsh", Value::Text(command)) => {
                replica.shell = command.split_whitespace().map(str::to_owned).collect();
            }
            (
                "archive" | "links" | "times" | "perms" | "owner" | "group" | "hard_links" | "protect_args" | "verbose"
                | "quiet" | "backup",
                _,
            ) => {}
            ("update", _) => converted.note(
                "rsync.update is left out: with it a file that is restored with an older time would never reach the replica",
            ),
            _ => converted.note(format!("rsync.{key} has no meaning here and is left out")),
        }
    }
}

fn ssh(table: &Table, replica: &mut ReplicaConfig, converted: &mut Converted) {
    let mut words = vec![table.text("binary").unwrap_or_else(|| "ssh".to_owned())];
    for (key, value) in &table.named {
        match (key.as_str(), value) {
            ("binary", _) => {}
            ("port", Value::Word(port) | Value::Text(port)) => {
                words.extend(["-p".to_owned(), port.clone()]);
            }
            ("identityFile", Value::Text(path)) => words.extend(["-i".to_owned(), path.clone()]),
            ("_extra", Value::Table(more)) => words.extend(more.texts()),
            ("options", Value::Table(options)) => {
                for (name, value) in &options.named {
                    if let Value::Text(value) | Value::Word(value) = value {
                        words.extend(["-o".to_owned(), format!("{name}={value}")]);
                    }
                }
            }
            _ => converted.note(format!("ssh.{key} cannot be converted")),
        }
    }
    replica.shell = words;
}

/// A directory's name without the slash that lsyncd asks for.
fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        trimmed => trimmed,
    }
}

enum Value {
    Text(String),
    /// A number, `true`, `false`, or a name such as `default.rsync`.
    Word(String),
    Table(Table),
}

#[derive(Default)]
struct Table {
    named: Vec<(String, Value)>,
    listed: Vec<Value>,
}

impl Table {
    fn text(&self, key: &str) -> Option<String> {
        self.named.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == key => Some(text.clone()),
            _ => None,
        })
    }

    fn texts(&self) -> impl Iterator<Item = String> {
        self.listed.iter().filter_map(|value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }
}

/// A text that is read from its beginning.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

type Mistake = (usize, String);

impl Reader<'_> {
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
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return self.wrong("only settings, sync, texts, numbers and tables are understood");
        }
        let name = self.rest[..end].to_owned();
        self.advance(end);
        Ok(name)
    }

    fn value(&mut self) -> Result<Value, Mistake> {
        self.skip_to_something();
        match self.rest.chars().next() {
            Some('{') => self.table().map(Value::Table),
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Value::Text),
            _ => self.name().map(Value::Word),
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
                    self.skip_to_something();
                    if self.rest.starts_with("..") {
                        return self.wrong("texts that are put together cannot be converted");
                    }
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        self.wrong("a text is not closed")
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
            if self.take("[") {
                let Value::Text(key) = self.value()? else {
                    return self.wrong("a key in brackets is no text");
                };
                if !self.take_after_blanks("]") || !self.take_after_blanks("=") {
                    return self.wrong("a key in brackets has no value");
                }
                table.named.push((key, self.value()?));
            } else {
                let value = self.value()?;
                match (value, self.take_after_blanks("=")) {
                    (Value::Word(key), true) => table.named.push((key, self.value()?)),
                    (_, true) => return self.wrong("a key is no name"),
                    (value, false) => table.listed.push(value),
                }
            }
            if !self.take_after_blanks(",") && !self.rest.starts_with(['}', ';']) {
                return self.wrong("a comma or } is missing");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_use() {
        let text = r#"
-- a comment
settings { logfile = "/var/log/lsyncd.log", nodaemon = true }
sync {
   default.rsyncssh, source = "/data/", host = "backup", targetdir = "/srv/data/", delay = 5,
   exclude = { "*.tmp", '/cache' }, delete = false,
   rsync = { archive = true, update = true, timeout = 30, _extra = { "--x" } },
   ssh = { port = 2222, identityFile = "/k" },
}
sync{default.rsync, source='/a', target='u@h::m'}
"#;
        let read = read(text, Path::new("l.conf")).unwrap();
        let [first, second] = &read.config.trees[..] else {
            panic!("{:?}", read.config)
        };
        assert_eq!(
            (first.source.to_str(), first.replicas[0].to.as_str()),
            (Some("/data"), "backup:/srv/data")
        );
        assert_eq!(first.exclude, ["*.tmp", "/cache"]);
        assert_eq!(first.replicas[0].shell, ["ssh", "-p", "2222", "-i", "/k"]);
        assert_eq!(
            (first.replicas[0].delete, first.replicas[0].timeout),
            (Some(false), Some(30))
        );
        assert_eq!(
            (second.source.to_str(), second.replicas[0].to.as_str()),
            (Some("/a"), "u@h::m")
        );
        for text in ["logfile", "delay", "update", "_extra"] {
            assert!(
                read.notes.iter().any(|note| note.contains(text)),
                "{text}: {:?}",
                read.notes
            );
        }
    }

    #[test]
    fn programs_are_refused_by_line() {
        for (text, expected) in [
            ("", "l.conf:1: there is no sync{}"),
            ("sync {\n default.rsync, source = dir() }", "l.conf:2: "),
            ("for i = 1, 2 do\nend", "l.conf:1: "),
            (
                "sync { source = \"/a\" .. x, target = \"b\" }",
                "l.conf:1: texts that are put together",
            ),
            ("sync { source = \"/a\" }", "l.conf:1: sync has no target"),
            ("sync { source = \"/a", "l.conf:1: a text is not closed"),
        ] {
            let error = read(text, Path::new("l.conf")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(read(&format!("sync {}", "{".repeat(1000)), Path::new("l")).is_err());
    }
}
