//! Configurations that the installed rsync's daemon and ours get alike, with the installed rsync as client. What the client
//! is told, how it ends, what is logged and what is there afterwards must be the same.
//!
//! The files in `tests/configurations` are tables. `[TITLE]` begins a group of scenarios, which lines before the first
//! command line describe:
//!
//! - `DIR: ENTRY; ENTRY...` makes a directory, entries as of [`testkit::Tree::build`]; `m` is the module's;
//! - `file NAME: TEXT` writes a file that only its owner may read, `\n` in the text is a line end;
//! - `env: NAME=VALUE` sets a variable of the client;
//! - `global: LINE` is a line of the configuration before any module;
//! - `conf: LINE` is one of module `m`; after a line `[NAME]` it is one of that module;
//! - `with: LINE | LINE...` are more lines of module `m`, of one configuration: each `with` is a scenario of its own, with
//!   each of the command lines;
//! - `needs: root` leaves the group out for anybody else.
//!
//! Each other line is a command line as for a shell, `&&` between runs. `@/` is the directory in which they run and all this
//! is made, `{m}` is `rsync://127.0.0.1:PORT/m`, `{url}` that without the module, and `{port}` its port.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use testkit::said::{Said, log_lines, normal, tree_lines};
use testkit::{RsyncDaemon, Tree, eventually, is_root, require_rsync, skip};

use crate::bench::program;

macro_rules! tables {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), include_str!(concat!("../configurations/", stringify!($name), ".txt")));
        })*
    };
}

tables! { access confinement files filters hooks limits logging owners refusals }

/// What a group's scenarios start from.
#[derive(Clone, Default)]
struct Group {
    title: String,
    trees: Vec<(String, String)>,
    files: Vec<(String, String)>,
    env: Vec<(String, String)>,
    globals: String,
    lines: String,
    variants: Vec<String>,
    needs_root: bool,
}

impl Group {
    /// Takes a line that describes the group; `false` if it is a command line.
    fn describe(&mut self, line: &str) -> bool {
        let Some((key, value)) = line.split_once(": ") else {
            return false;
        };
        let value = value.trim();
        let lines = |value: &str| value.replace(" | ", "\n") + "\n";
        match key.split_once(' ') {
            Some(("file", name)) => {
                let text = value.replace("\\n", "\n");
                self.files.push((name.to_owned(), text));
            }
            Some(_) => return false,
            None if key.starts_with('-') => return false,
            None => match key {
                "env" => {
                    let (name, value) = value.split_once('=').expect("NAME=VALUE");
                    self.env.push((name.to_owned(), value.to_owned()));
                }
                "global" => self.globals += &lines(value),
                "conf" => self.lines += &lines(value),
                "with" => self.variants.push(lines(value)),
                "needs" => self.needs_root = value == "root",
                _ => self.trees.push((key.to_owned(), value.replace(';', "\n"))),
            },
        }
        true
    }
}

/// A daemon that reads another configuration for each scenario.
struct Side {
    base: tempfile::TempDir,
    daemon: RsyncDaemon,
}

impl Side {
    fn new(program: &Path) -> Self {
        let base = tempfile::tempdir().expect("a directory");
        fs::write(base.path().join("conf"), "").expect("written");
        // Modules may belong to users who must find their way there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(base.path(), open).expect("changed");
        let conf = format!("[global]\n&merge {}/conf\n", base.path().display());
        let daemon = RsyncDaemon::module("unused", base.path())
            .program(program)
            .more(&conf)
            .start();
        Self { base, daemon }
    }

    /// Runs a scenario in a place of its own.
    fn run(&self, group: &Group, variant: &str, line: &str) -> Said {
        let work = self.base.path().join("work");
        let here = |text: &str| text.replace("@/", &format!("{}/", work.display()));
        for (name, spec) in &group.trees {
            Tree::build(work.join(name), spec);
        }
        let top = Tree::at(&work);
        for (name, text) in &group.files {
            top.write(name, here(text));
            top.chmod(name, 0o600);
        }
        top.chmod("", 0o755);
        top.age();
        let user = match is_root() {
            true => "uid = 0\ngid = 0\n",
            false => "",
        };
        let conf = format!(
            "use chroot = no\n{user}{}[m]\npath = @/m\n{variant}{}",
            group.globals, group.lines
        );
        fs::write(self.base.path().join("conf"), here(&conf)).expect("written");
        let started = SystemTime::now() - Duration::from_secs(1);
        let logged = self.daemon.log().len();
        let port = self.daemon.port().to_string();
        let names = [(&*work.display().to_string(), "@"), (&*port, "PORT")];
        let mut said = Said::default();
        for step in line.split(" && ") {
            let url = format!("rsync://127.0.0.1:{port}/");
            let step = step
                .replace("{m}", &format!("{url}m"))
                .replace("{url}", &url)
                .replace("{port}", &port);
            let ran = Command::new("sh")
                .args(["-c", &format!("exec \"$RSYNC\" {step}")])
                .current_dir(&work)
                .env("RSYNC", require_rsync())
                .env("HOME", &work)
                .env("TZ", "UTC")
                .env("LC_ALL", "C.UTF-8")
                .env_remove("RSYNC_PASSWORD")
                .envs(group.env.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::null())
                .output()
                .expect("sh");
            said.add(&normal(&ran, &names));
            eventually(Duration::from_secs(60), || {
                match self.daemon.workers().len() {
                    0 => Ok(()),
                    count => Err(format!("{count} workers are left")),
                }
            });
        }
        said.log = log_lines(&self.daemon.log()[logged..], &names);
        said.tree = tree_lines(&work, started);
        fs::remove_dir_all(&work).expect("removed");
        said
    }
}

fn run(table: &str, text: &str) {
    let (stock, ours) = (Side::new(&require_rsync()), Side::new(&program()));
    let mut group = Group::default();
    let (mut is_described, mut count, mut differing) = (false, 0, String::new());
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        if let Some(title) = line.strip_prefix('[')
            && let Some(title) = title.strip_suffix(']')
        {
            group = Group {
                title: title.to_owned(),
                ..Group::default()
            };
            is_described = false;
            continue;
        }
        if !is_described && group.describe(line) {
            continue;
        }
        is_described = true;
        if group.needs_root && !is_root() {
            skip(&format!("{}: only root can", group.title));
            continue;
        }
        let none = [String::new()];
        let variants = match &*group.variants {
            [] => &none[..],
            variants => variants,
        };
        for variant in variants {
            count += 1;
            differing += &compared(&stock, &ours, &group, variant, line);
        }
    }
    assert!(count > 0, "{table} has no scenario");
    assert!(
        differing.is_empty(),
        "{table}, {count} scenarios:\n{differing}"
    );
}

/// What differs in a scenario, for a person; empty if nothing does.
fn compared(stock: &Side, ours: &Side, group: &Group, variant: &str, line: &str) -> String {
    let expected = stock.run(group, variant, line);
    let found = ours.run(group, variant, line);
    // The processes at both ends share a clock and the client's standard error: what the installed program itself says
    // another time is no fault.
    if found == expected || found == stock.run(group, variant, line) {
        return String::new();
    }
    format!(
        "[{}] {}\n$ rsync {line}\n{}",
        group.title,
        variant.trim_end().replace('\n', " | "),
        expected.difference(&found)
    )
}
