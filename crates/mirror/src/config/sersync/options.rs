//! What `<rsync>` says of every remote: its own elements, and the options in `commonParams`.

use std::path::PathBuf;

use super::super::xml::Element;
use super::super::{Converted, ReplicaConfig};

const TIMEOUT_SECONDS: &str = "100";
const PORT: &str = "874";

/// What `<rsync>` says of every remote.
#[derive(Debug, Default)]
pub(in crate::config) struct Rsync {
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) password_file: Option<PathBuf>,
    pub(in crate::config) port: Option<String>,
    pub(in crate::config) timeout: Option<u64>,
    pub(in crate::config) is_ssh: bool,
    pub(in crate::config) shell: Vec<String>,
    pub(in crate::config) rsync: Option<String>,
    pub(in crate::config) trash: Option<String>,
    pub(in crate::config) compress: bool,
    pub(in crate::config) bandwidth: Option<String>,
    pub(in crate::config) filter: Vec<String>,
}

impl Rsync {
    pub(super) fn of(element: Option<&Element>, converted: &mut Converted) -> Self {
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
            let text = timeout.attribute("time").unwrap_or(TIMEOUT_SECONDS);
            rsync.take_timeout(text, converted);
        }
        let params = element
            .child("commonParams")
            .and_then(|common| common.attribute("params"));
        rsync.take_options(params.unwrap_or("-artuz"), converted);
        rsync
    }

    fn take_options(&mut self, params: &str, converted: &mut Converted) {
        self.take_words(&words(params), converted);
    }

    /// rsync's options, as far as they say something that is not so anyway.
    pub(in crate::config) fn take_words(&mut self, words: &[String], converted: &mut Converted) {
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
                "bwlimit",
            ];
            let value = match given {
                None if takes_value.contains(&name) => words.next().unwrap_or_default().to_owned(),
                given => given.unwrap_or_default(),
            };
            match name {
                "exclude" => self.filter.push(format!("- {value}")),
                "include" => self.filter.push(format!("+ {value}")),
                "filter" => self.filter.push(value),
                "timeout" => self.take_timeout(&value, converted),
                "port" => self.port = Some(value),
                "password-file" => self.password_file = Some(value.into()),
                "rsh" => self.shell = self::words(&value),
                "rsync-path" => self.rsync = Some(value),
                "backup-dir" => self.trash = Some(value.trim_matches('/').to_owned()),
                "archive" | "recursive" | "links" | "perms" | "times" | "group" | "owner"
                | "devices" | "specials" | "hard-links" | "delete" | "relative" | "quiet"
                | "verbose" | "progress" | "backup" | "force" => {}
                "update" => self.note_update(converted),
                "compress" => self.compress = true,
                "no-compress" => self.compress = false,
                "bwlimit" => match bandwidth(&value) {
                    Some(limit) => self.bandwidth = limit,
                    None => {
                        converted.note(format!("--bwlimit: {value:?} is no rate and is left out"));
                    }
                },
                _ => converted.note(format!("--{name} has no meaning here and is left out")),
            }
        }
    }

    fn take_timeout(&mut self, text: &str, converted: &mut Converted) {
        self.timeout = text.parse().ok();
        if self.timeout.is_none() {
            converted.note(format!(
                "timeout: {text:?} is no number of seconds and is left out"
            ));
        }
    }

    fn take_letters(&mut self, word: &str, converted: &mut Converted) {
        for letter in word.trim_start_matches('-').chars() {
            match letter {
                'a' | 'r' | 'l' | 'p' | 't' | 'g' | 'o' | 'D' | 'H' | 'R' | 'v' | 'q' | 'b'
                | 'd' | 'h' | 'P' => {}
                'u' => self.note_update(converted),
                'z' => self.compress = true,
                _ => converted.note(format!("-{letter} has no meaning here and is left out")),
            }
        }
    }

    fn note_update(&self, converted: &mut Converted) {
        converted.note(
            "commonParams: -u is left out: with it a file that is restored with an older time would never reach the replica",
        );
    }

    pub(super) fn replica(&self, host: &str, name: &str, deletes: bool) -> ReplicaConfig {
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
            (false, None) if host.contains(':') => format!("rsync://{user}[{host}]/{name}"),
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
            compress: self.compress,
            bandwidth: self.bandwidth.clone(),
            ..ReplicaConfig::default()
        }
    }
}

/// rsync's `--bwlimit`, in KiB a second or with a unit, as a rate of ours; 0 is no limit.
fn bandwidth(text: &str) -> Option<Option<String>> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let unit: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "k" | "kib" => 1024.0,
        "kb" => 1000.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "mb" => 1e6,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "gb" => 1e9,
        "b" => 1.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    let limit = match bytes {
        0.0 => None,
        _ if bytes % 1024.0 == 0.0 => Some(format!("{:.0}k", bytes / 1024.0)),
        _ => Some(format!("{:.0}", bytes.max(1.0))),
    };
    Some(limit)
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
    use std::path::Path;

    use super::super::tests::converted;
    use super::*;

    fn with(rsync: &str) -> Converted {
        converted(&format!(
            "<head><sersync><localpath watch=\"/w\"><remote ip=\"h\" name=\"m\"/></localpath><rsync>{rsync}</rsync></sersync></head>"
        ))
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
            "<ssh start='true'/><commonParams params=\"-az -e 'ssh -p 22' --exclude='a b' --bwlimit=9 --chmod=a+r --timeout 7\"/>",
        );
        let tree = &read.config.trees[0];
        assert_eq!(tree.replicas[0].to, "h:m");
        assert_eq!(tree.replicas[0].shell, ["ssh", "-p", "22"]);
        assert_eq!(
            (tree.replicas[0].timeout, &tree.filter[..]),
            (Some(7), &["- a b".to_owned()][..])
        );
        let replica = &tree.replicas[0];
        assert_eq!(
            (replica.compress, replica.bandwidth.as_deref()),
            (true, Some("9k"))
        );
        assert!(
            read.notes.iter().any(|note| note.contains("--chmod")),
            "{:?}",
            read.notes
        );
    }
}
