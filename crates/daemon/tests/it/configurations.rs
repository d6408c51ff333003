//! Configurations that the installed rsync's daemon and ours get alike, with the installed rsync as client. What the client
//! is told, how it ends, what is logged and what is there afterwards must be the same.
//!
//! The files in `tests/configurations` are tables as of [`testkit::scenario`]. Of the trees `m` is the module's, of the files
//! only their owner may read them, variables are those of the client. Their settings:
//!
//! - `global: LINE` is a line of the configuration before any module;
//! - `conf: LINE` is one of module `m`; after a line `[NAME]` it is one of that module;
//! - `with: LINE | LINE...` are more lines of module `m`, of one configuration: each `with` is a scenario of its own, with
//!   each of the command lines;
//! - `needs: root` leaves the group out for anybody else.
//!
//! In command lines, files and configurations `@/` is the directory in which they run and all this is made; in command lines `{m}` is
//! `rsync://127.0.0.1:PORT/m`, `{url}` that without the module, and `{port}` its port.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use testkit::said::{Said, log_lines, normal, tree_lines};
use testkit::scenario::{self, Group};
use testkit::{RsyncDaemon, eventually, is_root, require_rsync, skip};

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

/// The settings of the tables.
const KEYS: [&str; 4] = ["global", "conf", "with", "needs"];

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
        let tree = group.make(&work);
        for (name, text) in &group.files {
            tree.write(name, here(text));
            tree.chmod(name, 0o600);
        }
        tree.chmod("", 0o755);
        tree.age();
        fs::write(
            self.base.path().join("conf"),
            here(&configuration(group, variant)),
        )
        .expect("written");
        let started = SystemTime::now() - Duration::from_secs(1);
        let logged = self.daemon.log().len();
        let port = self.daemon.port().to_string();
        let url = format!("rsync://127.0.0.1:{port}/");
        let names = [(&*work.display().to_string(), "@"), (&*port, "PORT")];
        let mut said = Said::default();
        for step in line.split(" && ") {
            let step = step
                .replace("{m}", &format!("{url}m"))
                .replace("{url}", &url)
                .replace("{port}", &port);
            let ran = group.run(&require_rsync(), &step, &work);
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

/// What the daemon reads for a scenario.
fn configuration(group: &Group, variant: &str) -> String {
    let lines = |key| group.setting(key).map(lines).collect::<String>();
    let user = match is_root() {
        true => "uid = 0\ngid = 0\n",
        false => "",
    };
    let (globals, module) = (lines("global"), lines("conf"));
    format!("use chroot = no\n{user}{globals}[m]\npath = @/m\n{variant}{module}")
}

/// The lines that stand in one of a table.
fn lines(value: &str) -> String {
    value.replace(" | ", "\n") + "\n"
}

fn run(table: &str, text: &str) {
    let (stock, ours) = (Side::new(&require_rsync()), Side::new(&program()));
    scenario::assert_equal(table, text, &KEYS, |group, line| {
        if group.setting("needs").any(|need| need == "root") && !is_root() {
            skip(&format!("{}: only root can", group.title));
            return String::new();
        }
        let mut variants: Vec<String> = group.setting("with").map(lines).collect();
        if variants.is_empty() {
            variants.push(String::new());
        }
        variants
            .iter()
            .map(|variant| difference(&stock, &ours, group, variant, line))
            .collect()
    });
}

/// What differs in a scenario, for a person; empty if nothing does.
fn difference(stock: &Side, ours: &Side, group: &Group, variant: &str, line: &str) -> String {
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
