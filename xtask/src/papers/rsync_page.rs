//! `driftless-rsync(1)`, from the option table.

use rsync::table::{self, Opt, Takes};
use rsync::{DaemonGiven, Exit};

use super::roff::Page;

pub(super) fn page() -> String {
    let mut page = Page::new(
        "driftless-rsync",
        1,
        "copy files and trees, near and far, as rsync does",
    );
    page.section("SYNOPSIS");
    page.synopsis(SYNOPSIS);
    page.section("DESCRIPTION");
    page.prose(DESCRIPTION);
    page.section("OPTIONS");
    page.prose(OPTIONS);
    for topic in table::topics() {
        page.subsection(topic.title);
        for row in topic.rows.iter().filter(|row| is_for_users(row)) {
            page.entry(&spelled(row), &text(row));
        }
    }
    page.section("DAEMON OPTIONS");
    page.prose(DAEMON);
    for option in DaemonGiven::options() {
        let letter = option.short.map_or(String::new(), |letter| {
            format!(", `-{}`", char::from(letter))
        });
        let value = option
            .value
            .map_or(String::new(), |value| format!("={value}"));
        page.entry(
            &format!("`--{}`{value}{letter}", option.long),
            &sentence(option.brief),
        );
    }
    for (title, text) in SECTIONS {
        page.section(title);
        page.prose(text);
    }
    page.section("EXIT STATUS");
    for (code, words) in Exit::all() {
        let words = if code == 0 { "success" } else { words };
        page.entry(&format!("`{code}`"), &sentence(words));
    }
    page.section("ENVIRONMENT");
    for (name, text) in ENVIRONMENT {
        page.entry(&format!("`{name}`"), text);
    }
    page.section("FILES");
    page.entry("`/etc/popt`, `~/.popt`", FILES);
    page.section("DIFFERENCES");
    page.prose(DIFFERENCES);
    page.section("SEE ALSO");
    page.prose("`driftless`(1), `driftless-rsyncd.conf`(5), `driftless-mirror`(1)");
    page.finish()
}

/// What the two ends of a transfer say to each other is nothing to type.
fn is_for_users(row: &Opt) -> bool {
    !["server", "sender"].contains(&row.long)
}

fn spelled(row: &Opt) -> String {
    let value = match row.takes {
        Takes::Nothing => String::new(),
        Takes::Text(value) | Takes::Number(value) => format!("={value}"),
    };
    let long = Some(row.long).filter(|long| !long.is_empty());
    let long = long.map(|long| format!("`--{long}`{value}"));
    let short = row.short.map(|letter| format!("`-{}`", char::from(letter)));
    let aliases = row.aliases.iter().map(|alias| format!("`--{alias}`"));
    let all: Vec<String> = long.into_iter().chain(short).chain(aliases).collect();
    all.join(", ")
}

fn text(row: &Opt) -> String {
    if row.no.is_empty() {
        return row.doc.to_owned();
    }
    let negative: Vec<String> = row.no.iter().map(|name| format!("`--{name}`")).collect();
    format!("{} (Off: {}.)", row.doc, negative.join(", "))
}

/// A brief text of the help as a sentence.
fn sentence(brief: &str) -> String {
    let mut letters = brief.chars();
    let first = letters.next().map_or(String::new(), |first| {
        first.to_uppercase().collect::<String>()
    });
    format!("{first}{}.", letters.as_str())
}

const SYNOPSIS: &[&str] = &[
    "`driftless rsync` [OPTION]... SRC... DEST",
    "`driftless rsync` [OPTION]... SRC... [USER@]HOST:DEST",
    "`driftless rsync` [OPTION]... SRC... [USER@]HOST::MODULE/DEST",
    "`driftless rsync` [OPTION]... SRC... rsync://[USER@]HOST[:PORT]/MODULE/DEST",
    "`driftless rsync` [OPTION]... [USER@]HOST:SRC [DEST]",
    "`driftless rsync` [OPTION]... [USER@]HOST::MODULE/SRC [DEST]",
    "`driftless rsync` [OPTION]... rsync://[USER@]HOST[:PORT]/MODULE/SRC [DEST]",
    "`driftless rsync` `--daemon` [OPTION]...",
];

const DESCRIPTION: &str = "\
Copies files and directory trees on one machine or between two. At the other end may be this program or any rsync from 3.0.9 on: both speak the same \
protocol, print the same lines and end with the same exit codes. A link to `driftless` that is named `rsync` is this command.

Only what differs is sent. A file whose size and modification time agree is taken for equal and passed over; of one that has changed, the parts are \
sent that the other side does not have.

With one colon the other machine is reached by a remote shell, with two or by an `rsync://` address it is a daemon, whose paths begin with the name of \
one of its modules. With a daemon's name alone its modules are listed, and without a destination the files of the source.

A slash at the end of a source directory means what is in it: `rsync -a a/ b` makes the content of `b` that of `a`, while `rsync -a a b` makes `b/a`.

    driftless rsync -a --delete src/ dest/
    driftless rsync -avz -e 'ssh -p 22' src/ user@host:/srv/dest/
    driftless rsync -avzP user@host::module/ dest/ --password-file=/etc/pass
    driftless rsync rsync://host/";

const OPTIONS: &str = "\
Options and operands may be mixed; after `--` there are only operands. Long names are spelled in full. A value follows in the same word or the next. \
Where an option is said more than once, the last one counts, unless it adds to a list.

A SIZE is a number, perhaps with a fraction, and a unit: `K`, `M`, `G`, `T`, `P` or `KiB` and so on for powers of 1024, `KB` and so on for powers of 1000. \
`+1` or `-1` behind it adds or takes away one byte.";

const DAEMON: &str = "\
With `--daemon` a daemon is started that serves the modules of `driftless-rsyncd.conf`(5), and only these options are known.";

const SECTIONS: &[(&str, &str)] = &[
    (
        "FILTER RULES",
        "\
Each name of the source is held against the rules in their order, and the first that matches decides. A rule is a word or its letter, perhaps modifiers \
behind a comma, a blank or underscore, and a pattern:

    exclude, -    leave the name out and keep it from being deleted
    include, +    take it, whatever later rules say
    hide, H       leave it out at the source only
    show, S       take it at the source
    protect, P    keep it from being deleted at the destination
    risk, R       let it be deleted
    merge, .      read rules from a file
    dir-merge, :  read rules from a file of this name in each directory
    clear, !      forget the rules so far

A pattern that begins with a slash is matched from the top of the copied tree, one with a slash inside from anywhere, and one without by the last \
component of a name. A slash at its end confines it to directories. `*` stands for anything but slashes, `**` for anything, `?` for one character and \
`[...]` for one of several; `DIR/***` is a directory and all below it. What is below an excluded directory is not looked at.",
    ),
    (
        "OUTPUT",
        "\
The line that `-i` prints begins with eleven characters. The first is what is done: `<` sent, `>` received, `c` made here, `h` made as a hard link, \
`.` only attributes, `*` a message such as `deleting`. The second is the kind: `f` file, `d` directory, `L` symbolic link, `D` device, `S` FIFO or socket. \
The others are the attributes that differ: `c` content, `s` size, `t` time (`T`: set to now), `p` permissions, `o` owner, `g` group, `u` access time, \
`a` ACL, `x` extended attributes. A dot is no difference, and `+` in all places a new name.

`--out-format` and `--log-file-format` take text with these escapes: `%a` address of the client, `%b` bytes sent, `%B` permissions, `%c` bytes of checksums, \
`%C` checksum, `%f` path, `%G` group, `%h` name of the client, `%i` the eleven characters, `%l` length, `%L` target of a link, `%m` module, `%M` \
modification time, `%n` name, `%o` operation, `%p` process, `%P` path of the module, `%t` time, `%u` user at the daemon, `%U` owner. A number behind `%` is a width, negative to the left, and apostrophes \
before the letter make numbers readable.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("RSYNC_RSH", "The remote shell, where `-e` says nothing."),
    (
        "RSYNC_PASSWORD",
        "The password for a daemon, where `--password-file` says nothing.",
    ),
    (
        "USER, LOGNAME",
        "The name for a daemon, where the address says nothing.",
    ),
    (
        "RSYNC_PROXY",
        "`[USER:PASSWORD@]HOST:PORT` of an HTTP proxy that connects to daemons.",
    ),
    (
        "RSYNC_CONNECT_PROG",
        "A command that is run in place of a connection to a daemon; `%H` in it is the daemon's host.",
    ),
    (
        "RSYNC_SHELL",
        "The shell that runs that command, `/bin/sh` by default.",
    ),
    (
        "RSYNC_PARTIAL_DIR",
        "The directory of `--partial-dir` for `--partial`.",
    ),
    ("RSYNC_ICONV", "The default of `--iconv`."),
    (
        "RSYNC_PROTECT_ARGS",
        "A number that is not 0 turns `--secluded-args` on.",
    ),
    (
        "RSYNC_OLD_ARGS",
        "How many times `--old-args` is taken to be given.",
    ),
    ("RSYNC_MAX_ALLOC", "The default of `--max-alloc`."),
    (
        "RSYNC_CHECKSUM_LIST, RSYNC_COMPRESS_LIST",
        "The methods that may be agreed on, with spaces between them; behind `&` those of a server.",
    ),
    ("HOME, CVSIGNORE", "Where `-C` finds what to leave out."),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "Which bytes of names are characters.",
    ),
];

const FILES: &str = "\
Lines `rsync alias NAME WORDS...` define options of your own.";

const DIFFERENCES: &str = "\
Protocols before 29 are not spoken. File and line in the last line of an error are those of this program. A remote shell's output blocks unless \
`--no-blocking-io` is given, so that programs which do not expect anything else work as remote shells. An address that `--address` names and that is none of this machine is told.";
