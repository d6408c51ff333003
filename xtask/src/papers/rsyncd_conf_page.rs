//! `driftless-rsyncd.conf(5)`, from the parameter table.

use daemon::parameters::{self, Kind, Parameter, Scope};

use super::roff::Page;

pub(super) fn page() -> String {
    let mut page = Page::new(
        "driftless-rsyncd.conf",
        5,
        "configuration of the rsync daemon of driftless",
    );
    page.section("DESCRIPTION");
    page.prose(DESCRIPTION);
    page.section("GLOBAL PARAMETERS");
    page.prose("They stand above the first module.");
    entries(&mut page, Scope::Global);
    page.section("MODULE PARAMETERS");
    page.prose("Above the first module they are defaults for all modules.");
    entries(&mut page, Scope::Module);
    page.section("FILES");
    page.entry(
        "`/etc/rsyncd.conf`",
        "Read unless `--config` names another file.",
    );
    page.section("SEE ALSO");
    page.prose("`driftless-rsync`(1), `driftless`(1)");
    page.finish()
}

const DESCRIPTION: &str = "\
A daemon that is started with `driftless rsync --daemon`, or by a link named `rsync` with `--daemon`, reads this file. It is that of \
rsync 3.5.0: a file that works there works here.

The file is made of lines. `[NAME]` begins the module of that name, or goes on with it; what stands above the first one is global, and `[global]` comes back to \
that. All other lines are `PARAMETER = VALUE`; case and blanks in a parameter's name do not count. A line that begins with `#` or `;` is a comment, and a backslash \
at the end of a line joins it with the next. `&merge PATH` reads another file as if it stood here. `&include PATH` does so too, but what it sets globally holds for its own \
modules only. Of a directory, the first reads all files `*.inc` and the second all files `*.conf`, by name.

`%NAME%` in a value that is a text or a path stands for the environment variable of that name.

    [data]
        path = /srv/data
        comment = the data
        read only = no
        auth users = alice
        secrets file = /etc/rsyncd.secrets";

fn entries(page: &mut Page, scope: Scope) {
    for row in parameters::rows().filter(|row| row.scope() == scope) {
        page.entry(&format!("`{}` = {}", row.name, value(row)), &text(row));
    }
}

fn value(row: &Parameter) -> &'static str {
    match row.kind() {
        Kind::Text => "TEXT",
        Kind::Directory => "DIRECTORY",
        Kind::Boolean => "yes|no",
        Kind::Tristate => "yes|no|unset",
        Kind::Number => "NUMBER",
        Kind::Facility => "FACILITY",
        Kind::Style => "text|json",
    }
}

fn text(row: &Parameter) -> String {
    let mut text = row.doc.to_owned();
    if !row.default.is_empty() {
        text += &format!(" The default is `{}`.", row.default);
    }
    if let Some(alias) = row.alias {
        text += &format!(" Also called `{alias}`.");
    }
    if row.ours {
        text += " Unknown to rsync.";
    }
    text
}
