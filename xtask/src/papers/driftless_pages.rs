//! The manual pages of the commands that have a help text instead of a table.

use super::help_text::{self, HelpOption};
use super::roff::Page;

pub(super) fn driftless() -> String {
    let mut page = Page::new("driftless", 1, "replicas of directory trees, in real time");
    page.section("SYNOPSIS");
    page.synopsis(&["`driftless` COMMAND [ARGUMENT]..."]);
    page.section("DESCRIPTION");
    page.prose(
        "Keeps replicas of a directory tree identical to their source. What it does is chosen by its first argument, or by the name of a link to it.",
    );
    page.section("COMMANDS");
    page.entry("`mirror` SRC DEST...", "Brings a directory over to one or more places and then every change as it happens; see `driftless-mirror`(1).");
    page.entry("`status` [NAME], `approve` NAME, `pause`, `resume`, `rescan`, `verify`, `flush` [NAME]", "Speaks to running mirrors over their control sockets: says how each replica is (`--json` for programs, `--watch` every second); releases one that waits for approval; brings nothing over for a while; compares the tree, or the replica itself; waits until everything seen so far has been brought over.");
    page.entry(
        "`sersync` [`-d`] [`-r`] [`-n` N] [`-o` FILE] [`-m` PLUGIN]",
        "Mirrors what a sersync configuration says. Also by links named `sersync` and `sersync2`.",
    );
    page.entry("`convert` FILE", "Prints a sersync or lsyncd configuration as TOML for `driftless mirror --config`, and on standard error what it could not carry over.");
    page.entry(
        "`rsync`",
        "Copies as rsync does; see `driftless-rsync`(1). Also by a link named `rsync`.",
    );
    page.entry("`inotifywait`, `inotifywatch`", "Waits for changes or counts them, as the tools of these names do; see `driftless-inotifywait`(1) and `driftless-inotifywatch`(1). Also by links of these names.");
    page.section("OPTIONS");
    page.entry("`-h`, `--help`", "Lists the commands.");
    page.entry("`-V`, `--version`", "Prints the version.");
    page.section("SEE ALSO");
    page.prose("`driftless-mirror`(1), `driftless-rsync`(1), `driftless-rsyncd.conf`(5), `driftless-inotifywait`(1), `driftless-inotifywatch`(1)");
    page.finish()
}

pub(super) fn mirror(help: &str) -> String {
    let mut page = Page::new("driftless-mirror", 1, "mirror a directory in real time");
    page.section("SYNOPSIS");
    page.synopsis(&[
        "`driftless mirror` [OPTION]... SRC DEST...",
        "`driftless mirror` `--config` FILE [`--check-config`] [`--once`] [`--verify`] [`-v`]",
    ]);
    page.section("DESCRIPTION");
    page.prose(MIRROR);
    entries(&mut page, "OPTIONS", &help_text::options(help));
    page.section("APPROVAL");
    page.prose(APPROVAL);
    page.section("CONFIGURATION FILE");
    page.prose(CONFIGURATION);
    page.section("STATUS PAGE");
    page.prose(STATUS_PAGE);
    page.section("SIGNALS");
    page.prose("`SIGINT` and `SIGTERM` end the mirror in order: nothing is left half written. `SIGHUP` has the configuration file read again; trees that did not change go on undisturbed. Without one it ends the mirror.");
    page.section("SERVICE MANAGER");
    page.prose("If `NOTIFY_SOCKET` is set, the mirror tells the service manager (`sd_notify`(3)) when all trees are watched, when it reads its configuration again and when it ends; with `WATCHDOG_USEC` also that it lives, and how many replicas are in step.");
    page.section("EXIT STATUS");
    page.prose("0 after an orderly end, otherwise rsync's code for what went wrong; see `driftless-rsync`(1).");
    page.section("SEE ALSO");
    page.prose("`driftless`(1), `driftless-rsync`(1)");
    page.finish()
}

const MIRROR: &str = "\
Makes each DEST identical to the directory SRC, and keeps it so: every change is brought over within moments. A destination is a path of this machine, a module of an rsync \
daemon, `[USER@]HOST::MODULE[/PATH]` or `rsync://[USER@]HOST[:PORT]/MODULE[/PATH]`, or a directory behind a remote shell, `[USER@]HOST:PATH`; nothing of driftless is needed there.

A change that is missed does no harm, for what counts is the difference between the tree and what each destination is known to hold. So a destination that was away, a restart and \
the first copy are the same thing. What a destination holds is kept in a state file.

    driftless mirror /srv/data /mnt/replica
    driftless mirror /srv/data user@backup::data --password-file /etc/driftless.pass";

const APPROVAL: &str = "\
A replica stops deleting and waits for `driftless approve NAME` when the source is empty at a start, when it is another directory than the one the replica was made from (nothing \
at all is brought over then), and when a batch would delete more than half of the replica's files and at least 1,000; removals that are seen one by one as they happen are not asked about. A brake is also released when its reason is gone. With `--once` \
the mirror ends with code 25 instead.";

const STATUS_PAGE: &str = "\
With `--status` the mirror serves, at `/`, a page that shows each replica, its lag, what waits, what fails and why, charts of the last hour and day, and a searchable list of recent \
changes and failures. `/status.json` and `/history.json` have the same for programs, `/metrics` in the text format of Prometheus. The history is in memory and ends with the mirror. An address \
that other machines reach is refused without a token of at least 16 characters, which is given as `Authorization: Bearer TOKEN` or as `/?token=TOKEN`; without one the page answers only to the names of this machine.";

const CONFIGURATION: &str = "\
The file is TOML: a table `[[tree]]` for each source, with `[[tree.replica]]` and `[[tree.hook]]` tables in it. Mistakes are told with their line, unknown keys with the one that was \
probably meant.

    [[tree]]
    source = \"/srv/data\"
    filter = [\"- /cache/*\"]
    exclude = [\"*.tmp\"]
    verify = \"0 3 * * sun\"
    verify-rate = \"50M\"

    [[tree.replica]]
    to = \"user@backup::data\"
    password-file = \"/etc/driftless.pass\"
    trash = \".trash\"

    [[tree.hook]]
    command = [\"/usr/local/bin/changed\"]

Keys of the file, before the first table: `status` (an address as `--status` takes it), `status-token-file`, `log` (`text` or `json`). Keys of a tree: `source`, `name`, `state`, `control`, `filter` (rules of rsync's filter language), `exclude` (patterns, after the rules), `exclude-regex`, `settle-ms`, `max-watches`, \
`allow-empty-source`, `max-delete-share`, `max-delete-files`, `rescan` and `verify` (schedules: five fields as in crontab, `every 6h`, `@daily`), `verify-by` (`content` or `times`), \
`verify-rate`, `failures` (a file that lists what is failing now). Of a replica: `to`, `name`, `delete`, `password-file`, `timeout`, `protocol`, `sessions`, `shell`, `rsync`, `trash`, `compress`, `bandwidth`. Of a hook: \
one of `command`, `shell`, `http`, `socket` and `purge`, and `replicas`, `only`, `wait-ms`, `plain`.

A hook is told in batches, as JSON, what a replica has confirmed; a command reads it from its standard input, or is run once for each path if one of its arguments has `{path}` in it. \
No shell is involved unless `shell` asks for it.";

pub(super) fn inotifywait(help: &str) -> String {
    tool(
        "inotifywait",
        "wait for changes of files",
        "Waits until something happens to one of the FILEs and prints what; with `-m` it goes on printing. Options, output and exit codes are those of inotify-tools 3.22.6. \
         Directories that appear under `-r` are reported with all that is in them, however fast they are filled.",
        help,
    )
}

pub(super) fn inotifywatch(help: &str) -> String {
    tool(
        "inotifywatch",
        "count changes of files",
        "Counts what happens to the FILEs until it is interrupted or the time is up, and prints a table. Options, output and exit codes are those of inotify-tools 3.22.6.",
        help,
    )
}

fn tool(name: &str, about: &str, description: &str, help: &str) -> String {
    let mut page = Page::new(&format!("driftless-{name}"), 1, about);
    page.section("SYNOPSIS");
    page.synopsis(&[&format!("`driftless {name}` [OPTION]... FILE...")]);
    page.section("DESCRIPTION");
    page.prose(description);
    entries(&mut page, "OPTIONS", &help_text::options(help));
    page.section("EXIT STATUS");
    for (code, text) in table(help, "Exit status:", "  -  ") {
        page.entry(&format!("`{code}`"), &text);
    }
    page.section("EVENTS");
    for (event, text) in table(help, "Events:", "\t") {
        page.entry(&format!("`{event}`"), &text);
    }
    page.section("SEE ALSO");
    page.prose("`driftless`(1), `inotify`(7)");
    page.finish()
}

fn entries(page: &mut Page, title: &str, options: &[HelpOption]) {
    page.section(title);
    for option in options {
        let names: Vec<String> = option
            .names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let value = match &*option.value {
            "" => String::new(),
            value => format!(" {}", value.to_uppercase()),
        };
        page.entry(&format!("{}{value}", names.join(", ")), &option.text);
    }
}

/// Terms and texts below a heading; lines that begin with more space go on.
fn table(help: &str, heading: &str, gap: &str) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in help_text::section(help, heading) {
        let line = line.strip_prefix('\t').unwrap_or(line);
        match line
            .split_once(gap)
            .filter(|_| !line.starts_with([' ', '\t']))
        {
            Some((term, text)) => rows.push((term.to_owned(), text.trim().to_owned())),
            None => {
                if let Some((_, text)) = rows.last_mut() {
                    text.push(' ');
                    text.push_str(line.trim());
                }
            }
        }
    }
    rows
}
