//! sersync's `confxml.xml` (mirror.md 1.2), read as sersync users mean it, without what makes sersync lose files.
//!
//! Missing elements have sersync's defaults. What only made sense with a process for each event is named in the notes.

mod options;
mod plugin;

use std::path::{Path, PathBuf};

pub(super) use self::options::Rsync;
use super::xml::{self, Element};
use super::{BadConfig, Converted, HookConfig, TreeConfig, VerifyBy, toml};
use crate::exclusions::Exclusions;
use crate::settings::FilterRule;

/// sersync's own defaults, for elements that are missing or empty.
const SCHEDULE_MINUTES: u64 = 600;
const FAIL_LOG: &str = "rsync_fail_log.sh";

pub(super) fn read(text: &str, file: &Path, plugin: Option<&str>) -> Result<Converted, BadConfig> {
    let head = xml::parse(text).map_err(|(line, message)| BadConfig {
        file: file.to_owned(),
        line: Some(line),
        message,
    })?;
    let reader = Reading { head: &head, file };
    let mut converted = Converted {
        debug: head
            .child("debug")
            .is_some_and(|debug| debug.is_true("start")),
        ..Converted::default()
    };
    reader.note_oddities(&mut converted);
    match plugin {
        Some(name) => {
            let (hook, watched) = reader.plugin(name, &mut converted)?;
            let tree = TreeConfig {
                hooks: vec![hook],
                ..reader.tree(watched, &mut converted)
            };
            converted.add(tree);
        }
        None => reader.mirrors(&mut converted)?,
    }
    Ok(converted)
}

struct Reading<'a> {
    head: &'a Element,
    file: &'a Path,
}

/// Every element that sersync knows.
const ELEMENTS: [&str; 34] = [
    "attrib",
    "auth",
    "cdninfo",
    "closeWrite",
    "commonParams",
    "createFile",
    "createFolder",
    "crontab",
    "crontabfilter",
    "debug",
    "delete",
    "deshost",
    "exclude",
    "failLog",
    "fileSystem",
    "filter",
    "host",
    "include",
    "inotify",
    "localpath",
    "modify",
    "moveFrom",
    "moveTo",
    "param",
    "plugin",
    "regexurl",
    "remote",
    "rsync",
    "sendurl",
    "sersync",
    "ssh",
    "timeout",
    "userDefinedPort",
    "head",
];

impl Reading<'_> {
    /// Names what is probably written wrong: sersync would take it for off, or not see it.
    fn note_oddities(&self, converted: &mut Converted) {
        for element in self.head.descendants() {
            let (name, line) = (&element.name, element.line);
            if !ELEMENTS.contains(&name.as_str()) {
                let suggestion = toml::suggestion(name, &ELEMENTS);
                converted.note(format!("line {line}: <{name}> means nothing; {suggestion}"));
            }
            let switch = element.attribute("start");
            if let Some(text) = switch.filter(|text| !["true", "false"].contains(text)) {
                converted.note(format!(
                    "line {line}: <{name} start={text:?}> is off, as with sersync: only \"true\" is on"
                ));
            }
        }
    }

    fn bad(&self, line: usize, message: impl Into<String>) -> BadConfig {
        BadConfig {
            file: self.file.to_owned(),
            line: Some(line),
            message: message.into(),
        }
    }

    fn mirrors(&self, converted: &mut Converted) -> Result<(), BadConfig> {
        let head = self.head;
        let sersync = head
            .child("sersync")
            .ok_or_else(|| self.bad(head.line, "<sersync> is missing"))?;
        let rsync = Rsync::of(sersync.child("rsync"), converted);
        let plugin = sersync
            .child("plugin")
            .filter(|plugin| plugin.is_true("start"));
        let hook = match plugin {
            None => None,
            Some(plugin) => {
                let name = plugin.attribute("name").unwrap_or("command");
                Some(self.plugin(name, converted)?.0)
            }
        };
        for local in sersync.children("localpath") {
            let watched = local
                .attribute("watch")
                .ok_or_else(|| self.bad(local.line, "<localpath> has no watch=\"DIRECTORY\""))?;
            let mut tree = self.tree(PathBuf::from(watched), converted);
            for remote in local.children("remote") {
                let (Some(host), Some(name)) = (remote.attribute("ip"), remote.attribute("name"))
                else {
                    return Err(self.bad(
                        remote.line,
                        "<remote> needs ip=\"HOST\" and name=\"MODULE\"",
                    ));
                };
                let replica = rsync.replica(host, name, self.deletes());
                let has = |tree: &TreeConfig| tree.replicas.iter().any(|has| has.to == replica.to);
                if has(&tree) {
                    converted.note(format!("line {}: <remote> is there twice", remote.line));
                } else if converted.config.trees.iter().any(has) {
                    converted.note(format!(
                        "line {}: <remote> is left out: another <localpath> fills that module, and with sersync only the first does",
                        remote.line
                    ));
                } else {
                    tree.replicas.push(replica);
                }
            }
            if tree.replicas.is_empty() {
                if local.child("remote").is_some() {
                    continue;
                }
                return Err(self.bad(local.line, "<localpath> has no <remote>"));
            }
            tree.filter.splice(0..0, rsync.filter.iter().cloned());
            if let Some(hook) = &hook {
                // sersync runs a plugin once for an event, not once for each remote.
                let first = tree.replicas[0].to.clone();
                tree.replicas[0].name = Some(first.clone());
                tree.hooks.push(HookConfig {
                    replicas: vec![first],
                    ..hook.clone()
                });
            }
            self.fail_log(sersync, &mut tree);
            self.crontab(sersync, &mut tree, converted);
            converted.add(tree);
        }
        match converted.config.trees.is_empty() {
            true => Err(self.bad(sersync.line, "<sersync> has no <localpath>")),
            false => Ok(()),
        }
    }

    fn deletes(&self) -> bool {
        // A missing element means its default, which is on.
        self.head
            .at(&["inotify", "delete"])
            .is_none_or(|delete| delete.is_true("start"))
    }

    /// A tree with what concerns every tree of the file.
    fn tree(&self, source: PathBuf, converted: &mut Converted) -> TreeConfig {
        let mut tree = TreeConfig {
            source,
            ..TreeConfig::default()
        };
        if let Some(filter) = self
            .head
            .child("filter")
            .filter(|filter| filter.is_true("start"))
        {
            for exclude in filter.children("exclude") {
                let Some(expression) = exclude.attribute("expression") else {
                    continue;
                };
                if let Err(error) = Exclusions::of(&[FilterRule::Regex(expression.to_owned())]) {
                    converted.note(format!("line {}: {error}", exclude.line));
                }
                tree.exclude_regex.push(expression.to_owned());
            }
        }
        if !converted.config.trees.is_empty() {
            return tree;
        }
        let switch = |name: &str| {
            let element = self.head.at(&["inotify", name])?;
            Some(element.is_true("start"))
        };
        for name in ["createFolder", "closeWrite", "moveFrom", "moveTo"] {
            if switch(name) == Some(false) {
                converted.note(format!(
                    "inotify/{name} is off: here the replica becomes identical whatever the event was; leave paths out by a filter instead"
                ));
            }
        }
        if switch("attrib") != Some(true) {
            converted
                .note("inotify/attrib is off: modes, owners and times are mirrored all the same");
        }
        tree
    }

    fn fail_log(&self, sersync: &Element, tree: &mut TreeConfig) {
        let path = sersync
            .child("failLog")
            .and_then(|log| log.attribute("path"));
        tree.failures = Some(PathBuf::from(path.unwrap_or(FAIL_LOG)));
    }

    fn crontab(&self, sersync: &Element, tree: &mut TreeConfig, converted: &mut Converted) {
        let Some(crontab) = sersync.child("crontab") else {
            return;
        };
        let filter = crontab
            .child("crontabfilter")
            .filter(|filter| filter.is_true("start"));
        let patterns: Vec<String> = filter
            .into_iter()
            .flat_map(|filter| filter.children("exclude"))
            .filter_map(|exclude| exclude.attribute("expression").map(str::to_owned))
            .collect();
        if !tree.exclude_regex.is_empty() {
            tree.exclude.extend(patterns);
        } else if !patterns.is_empty() {
            converted.note(
                "crontabfilter without filter: here what is left out is left out always; give it as exclude if that is meant",
            );
        }
        if crontab.is_true("start") {
            let text = crontab.attribute("schedule");
            let minutes = text.and_then(|text| text.parse().ok());
            let minutes = minutes.filter(|minutes| *minutes > 0);
            if let (Some(text), None) = (text, minutes) {
                converted.note(format!(
                    "crontab: schedule {text:?} is no number of minutes: every {SCHEDULE_MINUTES}, as with sersync"
                ));
            }
            let minutes = minutes.unwrap_or(SCHEDULE_MINUTES);
            // As the full push: what was changed at the replica is found by sizes and times.
            tree.verify = Some(format!("every {minutes}m"));
            tree.verify_by = Some(VerifyBy::Times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn converted(text: &str) -> Converted {
        read(text, Path::new("c.xml"), None).unwrap()
    }

    #[test]
    fn the_shipped_default_file() {
        let text = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
    <host hostip="localhost" port="8008"></host>
    <debug start="false"/>
    <fileSystem xfs="false"/>
    <filter start="false"><exclude expression="(.*)\.svn"></exclude></filter>
    <inotify><delete start="true"/><createFolder start="true"/><createFile start="false"/><closeWrite start="true"/>
        <moveFrom start="true"/><moveTo start="true"/><attrib start="false"/><modify start="false"/></inotify>
    <sersync>
        <localpath watch="/opt/tongbu"><remote ip="127.0.0.1" name="tongbu1"/><!--<remote ip="192.168.8.39" name="tongbu"/>--></localpath>
        <rsync><commonParams params="-artuz"/><auth start="false" users="root" passwordfile="/etc/rsync.pas"/>
            <userDefinedPort start="false" port="874"/><timeout start="false" time="100"/><ssh start="false"/></rsync>
        <failLog path="/tmp/rsync_fail_log.sh" timeToExecute="60"/>
        <crontab start="false" schedule="600"><crontabfilter start="false"><exclude expression="*.php"/></crontabfilter></crontab>
        <plugin start="false" name="command"/>
    </sersync>
</head>"#;
        let read = converted(text);
        let [tree] = &read.config.trees[..] else {
            panic!("{:?}", read.config)
        };
        assert_eq!(tree.source, Path::new("/opt/tongbu"));
        assert_eq!(tree.replicas.len(), 1);
        assert_eq!(tree.replicas[0].to, "127.0.0.1::tongbu1");
        assert_eq!(tree.replicas[0].delete, None);
        assert_eq!(
            tree.failures.as_deref(),
            Some(Path::new("/tmp/rsync_fail_log.sh"))
        );
        assert!(tree.verify.is_none() && tree.exclude_regex.is_empty() && tree.hooks.is_empty());
        assert!(
            read.notes
                .iter()
                .any(|note| note.contains("-u is left out")),
            "{:?}",
            read.notes
        );
    }

    #[test]
    fn missing_elements_have_defaults_and_several_trees_are_read() {
        let read = converted(
            "<head><inotify><delete start='false'/></inotify><sersync><localpath watch='/a'><remote ip='h' name='m'/></localpath><localpath watch='/b'><remote ip='h' name='n'/><remote ip='i' name='n'/></localpath><crontab start='true' schedule='0'/></sersync></head>",
        );
        let trees = &read.config.trees;
        assert_eq!(trees.len(), 2);
        assert_eq!(trees[1].replicas.len(), 2);
        assert_eq!(trees[0].replicas[0].delete, Some(false));
        assert_eq!(trees[0].verify.as_deref(), Some("every 600m"));
    }

    #[test]
    fn of_two_local_paths_the_first_has_the_module() {
        let read = converted(
            "<head><sersync><localpath watch='/a'><remote ip='h' name='m'/></localpath>\n\
             <localpath watch='/b'><remote ip='h' name='m'/></localpath>\n\
             <localpath watch='/c'><remote ip='h' name='m'/><remote ip='h' name='n'/></localpath></sersync></head>",
        );
        let trees = read.config.trees.iter().map(|tree| {
            let replicas = tree.replicas.iter().map(|replica| replica.to.as_str());
            (tree.source.to_str().unwrap(), replicas.collect())
        });
        let trees: Vec<(&str, Vec<&str>)> = trees.collect();
        let expected = [("/a", vec!["h::m"]), ("/c", vec!["h::n"])];
        assert_eq!(trees, expected);
        for line in [
            "line 2: <remote> is left out",
            "line 3: <remote> is left out",
        ] {
            let has = read.notes.iter().any(|note| note.starts_with(line));
            assert!(has, "{line}: {:?}", read.notes);
        }
    }

    #[test]
    fn what_is_written_wrong_is_said() {
        let read = converted(
            "<head>\n<filter start='true'><exclude expression='(?!x)'/></filter><inotify><delete start='flase'/></inotify>\n\
             <sersync><localpath watch='/w'><remote ip='fe80::1' name='m'/>\n<remote ip='fe80::1' name='m'/></localpath>\n\
             <rsync><comonParams params='-a'/></rsync></sersync></head>",
        );
        let tree = &read.config.trees[0];
        assert_eq!(tree.replicas.len(), 1);
        assert_eq!(tree.replicas[0].to, "rsync://[fe80::1]/m");
        assert_eq!(tree.replicas[0].delete, Some(false));
        for expected in [
            "line 2: <delete start=\"flase\"> is off",
            "line 5: <comonParams> means nothing; did you mean \"commonParams\"?",
            "line 4: <remote> is there twice",
            "line 2: regular expression",
        ] {
            let has = read.notes.iter().any(|note| note.starts_with(expected));
            assert!(has, "{expected}: {:?}", read.notes);
        }
    }

    #[test]
    fn what_cannot_be_guessed_is_named_with_its_line() {
        for (text, expected) in [
            ("<head>\n</head>", "c.xml:1: <sersync> is missing"),
            (
                "<head>\n<sersync/></head>",
                "c.xml:2: <sersync> has no <localpath>",
            ),
            (
                "<head><sersync>\n<localpath/></sersync></head>",
                "c.xml:2: <localpath> has no watch",
            ),
            (
                "<head><sersync>\n<localpath watch='/w'/></sersync></head>",
                "c.xml:2: <localpath> has no <remote>",
            ),
            (
                "<head><sersync><localpath watch='/w'>\n<remote ip='h' name=''/></localpath></sersync></head>",
                "c.xml:2: <remote> needs",
            ),
        ] {
            let error = read(text, Path::new("c.xml"), None)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
