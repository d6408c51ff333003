//! The tables `settings` and `sync` of an lsyncd configuration (mirror.md 3). Such a file is a Lua program; of that,
//! constants, strings and tables are understood, and everything else is named by its line.

mod lua;

use std::path::{Path, PathBuf};

use self::lua::{Named, Statement, Table, Value, What};
use super::sersync::Rsync;
use super::{BadConfig, Converted, ReplicaConfig, TreeConfig};
use crate::settings::Place;

/// What lsyncd brings along.
const LAYERS: [&str; 3] = ["default.rsync", "default.rsyncssh", "default.direct"];

pub(super) fn read(text: &str, file: &Path) -> Result<Converted, BadConfig> {
    let bad = |(line, message): (usize, String)| BadConfig {
        file: file.to_owned(),
        line: Some(line),
        message,
    };
    let mut converted = Converted::default();
    let mut first_trouble = None;
    for Statement { line, what } in lua::parse(text).map_err(bad)? {
        let trouble = match what {
            What::Table(name, table) if name == "settings" => {
                settings(&table, &mut converted);
                continue;
            }
            What::Table(name, table) if name == "sync" => match sync(&table, &mut converted) {
                Ok(tree) => {
                    converted.add(tree);
                    continue;
                }
                Err(reason) => format!("{reason}; this sync is left out"),
            },
            What::Table(name, _) => format!("{name}: actions of its own cannot be converted"),
            What::Code(word) => {
                format!("{word}: Lua beyond settings{{}} and sync{{}} cannot be converted")
            }
        };
        converted.note(format!("line {line}: {trouble}"));
        first_trouble.get_or_insert((line, trouble));
    }
    match (converted.config.trees.is_empty(), first_trouble) {
        (false, _) => Ok(converted),
        (true, Some(trouble)) => Err(bad(trouble)),
        (true, None) => Err(bad((1, "there is no sync{}".to_owned()))),
    }
}

fn settings(table: &Table, converted: &mut Converted) {
    for Named { key, .. } in &table.named {
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
    let is_layer =
        |value: &Value| matches!(value, Value::Word(word) if LAYERS.contains(&word.as_str()));
    let acts = |named: &Named| {
        named.key.starts_with("on") || matches!(named.value, Value::Code) && named.key == "init"
    };
    if !table.listed.iter().all(is_layer) || table.named.iter().any(acts) {
        return Err("actions of its own cannot be converted, but hooks may do the same".to_owned());
    }
    let constant = |key: &str| match table.named(key).map(|named| &named.value) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("sync.{key} is no constant")),
    };
    let source = constant("source")?.ok_or("sync has no source")?;
    let mut tree = TreeConfig {
        source: PathBuf::from(trimmed(source)),
        ..TreeConfig::default()
    };
    let to = match (
        constant("target")?,
        constant("host")?,
        constant("targetdir")?,
    ) {
        (Some(target), ..) => trimmed(target).to_owned(),
        (None, Some(host), Some(directory)) => format!("{host}:{}", trimmed(directory)),
        _ => return Err("sync has no target, or host and targetdir".to_owned()),
    };
    let mut replica = ReplicaConfig {
        to,
        ..ReplicaConfig::default()
    };
    for Named { key, value, line } in &table.named {
        match (key.as_str(), value) {
            ("source" | "target" | "host" | "targetdir" | "maxDelays" | "maxProcesses", _) => {}
            ("delay", Value::Word(_)) => converted.note(
                "sync.delay is left out: changes are brought over at once, together with what comes with them",
            ),
            ("init", _) => converted.note("sync.init is left out: what is missing at a start is brought over always"),
            ("delete", Value::Word(word)) if word == "false" => replica.delete = Some(false),
            ("delete", Value::Word(word)) if word == "true" => {}
            ("delete", _) => converted.note("sync.delete is 'startup' or 'running': deletions are mirrored always"),
            ("exclude", Value::Table(patterns)) => tree.exclude.extend(patterns.texts()),
            ("exclude", Value::Text(pattern)) => tree.exclude.push(pattern.clone()),
            ("excludeFrom", Value::Text(path)) => tree.filter.push(format!("merge,- {path}")),
            ("filter", Value::Table(rules)) => tree.filter.extend(rules.texts()),
            ("filterFrom", Value::Text(path)) => tree.filter.push(format!("merge {path}")),
            ("rsync", Value::Table(options)) => rsync(options, &mut tree, &mut replica, converted),
            ("ssh", Value::Table(options)) => ssh(options, &mut replica, converted),
            _ => converted.note(format!("line {line}: sync.{key} cannot be converted")),
        }
    }
    if matches!(
        Place::parse(&replica.to, &[], None, false),
        Ok(Place::Directory(_))
    ) {
        // Nothing travels there.
        replica.compress = false;
        if replica.bandwidth.take().is_some() {
            converted.note(
                "rsync.bwlimit has no meaning for a directory of this machine and is left out",
            );
        }
    }
    tree.replicas.push(replica);
    Ok(tree)
}

fn rsync(
    table: &Table,
    tree: &mut TreeConfig,
    replica: &mut ReplicaConfig,
    converted: &mut Converted,
) {
    // What is put behind lsyncd's own options is a command line.
    let mut words = Rsync::default();
    for Named { key, value, line } in &table.named {
        match (key.as_str(), value) {
            ("password_file", Value::Text(path)) => replica.password_file = Some(path.into()),
            ("timeout", Value::Word(seconds) | Value::Text(seconds)) => replica.timeout = seconds.parse().ok(),
            ("rsync_path", Value::Text(path)) => replica.rsync = Some(path.clone()),
            ("backup_dir", Value::Text(path)) => replica.trash = Some(path.trim_matches('/').to_owned()),
            ("rsh", Value::Text(command)) => {
                replica.shell = command.split_whitespace().map(str::to_owned).collect();
            }
            ("compress", Value::Word(word)) => replica.compress = word == "true",
            ("bwlimit", Value::Word(rate) | Value::Text(rate)) => words.take_words(&[format!("--bwlimit={rate}")], converted),
            ("_extra", Value::Table(more)) => {
                words.take_words(&more.texts().collect::<Vec<_>>(), converted);
            }
            ("binary", _) => converted.note("rsync.binary is left out: no rsync program is needed here"),
            // What is so anyway.
            ("archive" | "links" | "times" | "perms" | "owner" | "group" | "hard_links" | "acls" | "xattrs" | "sparse", Value::Word(word))
                if word == "true" => {}
            ("protect_args" | "verbose" | "quiet" | "backup" | "whole_file", _) => {}
            ("update", Value::Word(word)) if word == "false" => {}
            ("update", _) => converted.note(
                "rsync.update is left out: with it a file that is restored with an older time would never reach the replica",
            ),
            _ => converted.note(format!("line {line}: rsync.{key} has no meaning here and is left out")),
        }
    }
    tree.filter.extend(words.filter);
    replica.bandwidth = words.bandwidth;
    replica.compress |= words.compress;
    replica.timeout = words.timeout.or(replica.timeout);
}

fn ssh(table: &Table, replica: &mut ReplicaConfig, converted: &mut Converted) {
    let binary = table.named("binary").map(|named| &named.value);
    let mut words = vec![match binary {
        Some(Value::Text(text)) => text.clone(),
        _ => "ssh".to_owned(),
    }];
    for Named { key, value, line } in &table.named {
        match (key.as_str(), value) {
            ("binary", _) => {}
            ("port", Value::Word(port) | Value::Text(port)) => {
                words.extend(["-p".to_owned(), port.clone()]);
            }
            ("identityFile", Value::Text(path)) => words.extend(["-i".to_owned(), path.clone()]),
            ("_extra", Value::Table(more)) => words.extend(more.texts()),
            ("options", Value::Table(options)) => {
                for Named { key, value, .. } in &options.named {
                    if let Value::Text(value) | Value::Word(value) = value {
                        words.extend(["-o".to_owned(), format!("{key}={value}")]);
                    }
                }
            }
            _ => converted.note(format!("line {line}: ssh.{key} cannot be converted")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_with_several_targets_has_one_name_for_each_set_of_rules() {
        let text = r#"
sync{default.rsync, source='/a', target='h::m'}
sync{default.rsync, source='/a', target='h::n', delete=false}
sync{default.rsync, source='/a', target='h::o', exclude={'x'}}
sync{default.rsync, source='/b', target='h::p'}
"#;
        let read = read(text, Path::new("l.conf")).unwrap();
        let trees: Vec<_> = read
            .config
            .trees
            .iter()
            .map(|tree| (tree.name.as_deref(), tree.replicas.len()))
            .collect();
        assert_eq!(trees, [(None, 2), (Some("/a (2)"), 1), (None, 1)]);
    }

    #[test]
    fn what_people_use() {
        let text = r#"
-- a comment
settings { logfile = "/var/log/lsyncd.log", nodaemon = true }
sync {
   default.rsyncssh, source = "/data/", host = "backup", targetdir = "/srv/data/", delay = 5,
   exclude = { "*.tmp", '/cache' }, delete = false,
   rsync = { archive = true, update = true, timeout = 30, compress = true, bwlimit = 2000, owner = false, _extra = { "--exclude=/x", "--y" } },
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
        assert_eq!(first.filter, ["- /x"]);
        assert_eq!(
            (
                first.replicas[0].compress,
                first.replicas[0].bandwidth.as_deref()
            ),
            (true, Some("2000k"))
        );
        assert_eq!(
            (second.source.to_str(), second.replicas[0].to.as_str()),
            (Some("/a"), "u@h::m")
        );
        for text in ["logfile", "delay", "update", "--y", "rsync.owner"] {
            assert!(
                read.notes.iter().any(|note| note.contains(text)),
                "{text}: {:?}",
                read.notes
            );
        }
    }

    #[test]
    fn what_only_a_program_knows_is_left_out_by_line() {
        let text = r#"
local base = "/srv"
bash = { onCreate = "cp ^source ^target", onModify = function(event) if x then y() end end }
for _, host in ipairs(hosts) do
    sync{ default.rsyncssh, source = "/a", host = host, targetdir = "/b" }
end
sync{ bash, source = "/c", target = "/d" }
sync{ default.rsync, source = base .. [[/data]], target = os.getenv("TARGET") }
sync{ default.direct, source = base .. "/data", target = "/e", init = false }
"#;
        let read = read(text, Path::new("l.conf")).unwrap();
        let [tree] = &read.config.trees[..] else {
            panic!("{:?}", read.config)
        };
        assert_eq!(tree.source, Path::new("/srv/data"));
        for expected in [
            "line 3: bash",
            "line 4: for",
            "line 7: actions",
            "line 8: sync.target is no constant",
            "sync.init",
        ] {
            let has = read.notes.iter().any(|note| note.starts_with(expected));
            assert!(has, "{expected}: {:?}", read.notes);
        }
    }

    #[test]
    fn programs_are_refused_by_line() {
        for (text, expected) in [
            ("", "l.conf:1: there is no sync{}"),
            (
                "\nsync {\n default.rsync, source = dir() }",
                "l.conf:2: sync.source is no constant",
            ),
            ("for i = 1, 2 do\nend", "l.conf:1: for: Lua beyond"),
            ("sync { source = \"/a\" }", "l.conf:1: sync has no target"),
            ("sync { source = \"/a", "l.conf:1: a text is not closed"),
        ] {
            let error = read(text, Path::new("l.conf")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(read(&format!("sync {}", "{".repeat(1000)), Path::new("l")).is_err());
    }
}
