//! sersync's `confxml.xml` (mirror.md 1.2), read as sersync users mean it, without what makes sersync lose files.
//!
//! Missing elements have sersync's defaults. What only made sense with a process for each event is named in the notes.

use std::path::{Path, PathBuf};

use super::xml::{self, Element};
use super::{BadConfig, Converted, HookConfig, PurgeConfig, ReplicaConfig, TreeConfig, VerifyBy};
use crate::hooks::PATH_ARGUMENT;

/// sersync's own defaults, for elements that are missing or empty.
const SCHEDULE_MINUTES: u64 = 600;
const TIMEOUT_SECONDS: &str = "100";
const PORT: &str = "874";
const FAIL_LOG: &str = "rsync_fail_log.sh";
const SOCKET_PORT: &str = "80";

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
    match plugin {
        Some(name) => {
            let (hook, watched) = reader.plugin(name, &mut converted)?;
            let tree = TreeConfig {
                hooks: vec![hook],
                ..reader.tree(watched, &mut converted)
            };
            converted.config.trees.push(tree);
        }
        None => reader.mirrors(&mut converted)?,
    }
    Ok(converted)
}

struct Reading<'a> {
    head: &'a Element,
    file: &'a Path,
}

impl Reading<'_> {
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
                tree.replicas
                    .push(rsync.replica(host, name, self.deletes()));
            }
            if tree.replicas.is_empty() {
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
            converted.config.trees.push(tree);
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
                tree.exclude_regex
                    .extend(exclude.attribute("expression").map(str::to_owned));
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
            let minutes = crontab
                .attribute("schedule")
                .and_then(|text| text.parse().ok());
            let minutes = minutes
                .filter(|minutes| *minutes > 0)
                .unwrap_or(SCHEDULE_MINUTES);
            // As the full push: what was changed at the replica is found by sizes and times.
            tree.verify = Some(format!("every {minutes}m"));
            tree.verify_by = Some(VerifyBy::Times);
        }
    }

    /// A plugin as a hook, and the directory that its own definition watches.
    fn plugin(
        &self,
        name: &str,
        converted: &mut Converted,
    ) -> Result<(HookConfig, PathBuf), BadConfig> {
        let head = self.head;
        if !["command", "socket", "http", "refreshCDN"].contains(&name) {
            return Err(self.bad(
                head.line,
                format!(
                    "there is no plugin {name}; there are command, socket, http and refreshCDN"
                ),
            ));
        }
        let element = head
            .children("plugin")
            .find(|plugin| plugin.attribute("name") == Some(name))
            .ok_or_else(|| self.bad(head.line, format!("<plugin name=\"{name}\"> is missing")))?;
        let local = element.child("localpath");
        let watched = local
            .and_then(|local| local.attribute("watch"))
            .or_else(|| head.at(&["sersync", "localpath"])?.attribute("watch"))
            .ok_or_else(|| self.bad(element.line, "no watch=\"DIRECTORY\" is given"))?;
        let inside = local.unwrap_or(element);
        let target = inside.child("deshost").or_else(|| element.child("deshost"));
        let of_target = |name: &str| target.and_then(|target| target.attribute(name));
        let mut hook = HookConfig::default();
        match name {
            "command" => {
                let param = element.child("param").cloned().unwrap_or_default();
                let words = |name: &str| -> Vec<String> {
                    let text = param.attribute(name).unwrap_or_default();
                    text.split_whitespace().map(str::to_owned).collect()
                };
                let (before, after) = (words("prefix"), words("suffix"));
                if before
                    .iter()
                    .chain(&after)
                    .any(|word| word.contains(['|', ';', '&', '<', '>', '$', '`']))
                {
                    converted.note(format!(
                        "plugin command, line {}: prefix and suffix are words here, not shell text; put the pipeline into a script",
                        param.line
                    ));
                }
                let command = before
                    .into_iter()
                    .chain([PATH_ARGUMENT.to_owned()])
                    .chain(after);
                hook.command = Some(command.collect());
            }
            "socket" => {
                let host = of_target("ip").unwrap_or("127.0.0.1");
                let port = of_target("port").unwrap_or(SOCKET_PORT);
                hook.socket = Some(format!("{host}:{port}"));
                hook.plain = true;
            }
            "http" => {
                let url = of_target("url")
                    .ok_or_else(|| self.bad(element.line, "<deshost> has no url"))?;
                let url = url.strip_prefix("http://").unwrap_or(url);
                let (host, path) = url.split_once('/').unwrap_or((url, ""));
                let port = of_target("port")
                    .map(|port| format!(":{port}"))
                    .unwrap_or_default();
                hook.http = Some(format!("http://{host}{port}/{path}"));
                converted.note(
                    "plugin http: the body is JSON with many changes, not one form for each event",
                );
            }
            _ => hook.purge = Some(purge(inside, element)),
        }
        let filter = element
            .child("filter")
            .filter(|filter| filter.is_true("start"));
        for include in filter.iter().flat_map(|filter| filter.children("include")) {
            hook.only
                .extend(include.attribute("expression").map(str::to_owned));
        }
        Ok((hook, PathBuf::from(watched)))
    }
}

fn purge(inside: &Element, element: &Element) -> PurgeConfig {
    let child = |name: &str| {
        let found = inside.child(name).or_else(|| element.child(name));
        found.cloned().unwrap_or_default()
    };
    let (info, regex) = (child("cdninfo"), child("regexurl"));
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let domain = text(info.attribute("domainname"));
    PurgeConfig {
        address: format!("{domain}:{}", info.attribute("port").unwrap_or("80")),
        domain,
        user: text(info.attribute("username")),
        password: text(info.attribute("passwd")),
        base: text(child("sendurl").attribute("base"))
            .trim_end_matches('/')
            .to_owned(),
        rewrite: match regex.is_true("regex") {
            true => regex.attribute("match").map(str::to_owned),
            false => None,
        },
    }
}

/// What `<rsync>` says of every remote.
#[derive(Debug, Default)]
struct Rsync {
    user: Option<String>,
    password_file: Option<PathBuf>,
    port: Option<String>,
    timeout: Option<u64>,
    is_ssh: bool,
    shell: Vec<String>,
    rsync: Option<String>,
    trash: Option<String>,
    filter: Vec<String>,
}

impl Rsync {
    fn of(element: Option<&Element>, converted: &mut Converted) -> Self {
        let mut rsync = Self::default();
        let Some(element) = element else {
            return rsync;
        };
        let on = |name: &str| element.child(name).filter(|child| child.is_true("start"));
        if let Some(auth) = on("auth") {
            rsync.user = auth.attribute("users").map(str::to_owned);
            rsync.password_file = auth.attribute("passwordfile").map(PathBuf::from);
        }
        rsync.is_ssh = on("ssh").is_some();
        if let Some(port) = on("userDefinedPort") {
            rsync.port = Some(port.attribute("port").unwrap_or(PORT).to_owned());
        }
        if let Some(timeout) = on("timeout") {
            rsync.timeout = timeout
                .attribute("time")
                .unwrap_or(TIMEOUT_SECONDS)
                .parse()
                .ok();
        }
        let params = element
            .child("commonParams")
            .and_then(|common| common.attribute("params"));
        rsync.take_options(params.unwrap_or("-artuz"), converted);
        rsync
    }

    /// rsync's options, as far as they say something that is not so anyway.
    fn take_options(&mut self, params: &str, converted: &mut Converted) {
        let words = words(params);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let Some(long) = word.strip_prefix("--") else {
                match word {
                    "-e" => self.shell = words.next().map(self::words).unwrap_or_default(),
                    _ => self.take_letters(word, converted),
                }
                continue;
            };
            let (name, given) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let takes_value = [
                "exclude",
                "include",
                "filter",
                "timeout",
                "port",
                "password-file",
                "rsh",
                "rsync-path",
                "backup-dir",
            ];
            let value = match given {
                None if takes_value.contains(&name) => words.next().unwrap_or_default().to_owned(),
                given => given.unwrap_or_default(),
            };
            match name {
                "exclude" => self.filter.push(format!("- {value}")),
                "include" => self.filter.push(format!("+ {value}")),
                "filter" => self.filter.push(value),
                "timeout" => self.timeout = value.parse().ok(),
                "port" => self.port = Some(value),
                "password-file" => self.password_file = Some(value.into()),
                "rsh" => self.shell = self::words(&value),
                "rsync-path" => self.rsync = Some(value),
                "backup-dir" => self.trash = Some(value.trim_matches('/').to_owned()),
                "archive" | "recursive" | "links" | "perms" | "times" | "group" | "owner"
                | "devices" | "specials" | "hard-links" | "delete" | "relative" | "quiet"
                | "verbose" | "progress" | "backup" | "force" => {}
                "update" => self.note_update(converted),
                _ => converted.note(format!(
                    "commonParams: --{name} has no meaning here and is left out"
                )),
            }
        }
    }

    fn take_letters(&mut self, word: &str, converted: &mut Converted) {
        for letter in word.trim_start_matches('-').chars() {
            match letter {
                'a' | 'r' | 'l' | 'p' | 't' | 'g' | 'o' | 'D' | 'H' | 'R' | 'v' | 'q' | 'b'
                | 'd' | 'h' | 'P' => {}
                'u' => self.note_update(converted),
                'z' => converted.note("commonParams: -z is left out: sessions are not compressed"),
                _ => converted.note(format!(
                    "commonParams: -{letter} has no meaning here and is left out"
                )),
            }
        }
    }

    fn note_update(&self, converted: &mut Converted) {
        converted.note(
            "commonParams: -u is left out: with it a file that is restored with an older time would never reach the replica",
        );
    }

    fn replica(&self, host: &str, name: &str, deletes: bool) -> ReplicaConfig {
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{user}@"))
            .unwrap_or_default();
        let to = match (self.is_ssh, &self.port) {
            (true, _) => format!("{user}{host}:{name}"),
            (false, Some(port)) if host.contains(':') => {
                format!("rsync://{user}[{host}]:{port}/{name}")
            }
            (false, Some(port)) => format!("rsync://{user}{host}:{port}/{name}"),
            (false, None) => format!("{user}{host}::{name}"),
        };
        ReplicaConfig {
            to,
            delete: (!deletes).then_some(false),
            password_file: self.password_file.clone().filter(|_| !self.is_ssh),
            timeout: self.timeout,
            shell: if self.is_ssh {
                self.shell.clone()
            } else {
                Vec::new()
            },
            rsync: self.rsync.clone().filter(|_| self.is_ssh),
            trash: self.trash.clone(),
            ..ReplicaConfig::default()
        }
    }
}

/// The words of an option line; quotes group.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str) -> Converted {
        read(text, Path::new("c.xml"), None).unwrap()
    }

    fn with(rsync: &str) -> Converted {
        converted(&format!(
            "<head><sersync><localpath watch=\"/w\"><remote ip=\"h\" name=\"m\"/></localpath><rsync>{rsync}</rsync></sersync></head>"
        ))
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
    fn auth_port_timeout_ssh_and_options() {
        let read = with(
            "<auth start='true' users='u' passwordfile='/p'/><userDefinedPort start='true' port='874'/><timeout start='true' time='9'/>",
        );
        let replica = &read.config.trees[0].replicas[0];
        assert_eq!(replica.to, "rsync://u@h:874/m");
        assert_eq!(
            (replica.timeout, replica.password_file.as_deref()),
            (Some(9), Some(Path::new("/p")))
        );
        let read = with(
            "<ssh start='true'/><commonParams params=\"-az -e 'ssh -p 22' --exclude='a b' --bwlimit=9 --timeout 7\"/>",
        );
        let tree = &read.config.trees[0];
        assert_eq!(tree.replicas[0].to, "h:m");
        assert_eq!(tree.replicas[0].shell, ["ssh", "-p", "22"]);
        assert_eq!(
            (tree.replicas[0].timeout, &tree.filter[..]),
            (Some(7), &["- a b".to_owned()][..])
        );
        assert!(
            read.notes.iter().any(|note| note.contains("--bwlimit")),
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
    fn plugins_become_hooks() {
        let text = r#"<head><sersync><localpath watch="/w"><remote ip="h" name="m"/></localpath><plugin start="true" name="command"/></sersync>
            <plugin name="command"><param prefix="/bin/sh -x" suffix="end" ignoreError="true"/><filter start="true"><include expression="(.*)\.sh"/></filter></plugin>
            <plugin name="socket"><localpath watch="/s"><deshost ip="10.0.0.1" port="8009"/></localpath></plugin>
            <plugin name="http"><localpath watch="/s"><deshost url="www.x.cn/in" port="8080"/></localpath></plugin>
            <plugin name="refreshCDN"><localpath watch="/d"><cdninfo domainname="cdn.x" port="80" username="u" passwd="p"/><sendurl base="http://pic.x/"/><regexurl regex="false" match="m"/></localpath></plugin></head>"#;
        let hook = &converted(text).config.trees[0].hooks[0];
        assert_eq!(
            hook.command.as_deref(),
            Some(&["/bin/sh", "-x", "{path}", "end"].map(str::to_owned)[..])
        );
        assert_eq!(hook.only, [r"(.*)\.sh"]);
        assert_eq!(hook.replicas, ["h::m"]);
        let alone = |name: &str| {
            read(text, Path::new("c.xml"), Some(name)).map(|read| read.config.trees[0].clone())
        };
        let socket = alone("socket").unwrap();
        assert_eq!(socket.hooks[0].socket.as_deref(), Some("10.0.0.1:8009"));
        assert!(
            socket.replicas.is_empty() && socket.source == Path::new("/s") && socket.hooks[0].plain
        );
        assert_eq!(
            alone("http").unwrap().hooks[0].http.as_deref(),
            Some("http://www.x.cn:8080/in")
        );
        let purge = alone("refreshCDN").unwrap().hooks[0].purge.clone().unwrap();
        assert_eq!(
            (purge.address.as_str(), purge.base.as_str(), purge.rewrite),
            ("cdn.x:80", "http://pic.x", None)
        );
        assert!(alone("nothing").is_err());
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
