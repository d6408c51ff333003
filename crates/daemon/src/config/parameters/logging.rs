//! What is written down.

use super::{Field, Parameter, module};

#[rustfmt::skip]
pub(super) const ROWS: &[Parameter] = &[
    module("log file", Field::Text(|m| &mut m.log_file), "",
        "the log, in place of syslog",
        "Messages are appended to this file, which is opened before any chroot. If it cannot be opened, they go to syslog. In a module it takes what follows the authentication. `--log-file` on the command line wins over all of them."),
    module("log style", Field::Style(|m| &mut m.log_style), "text",
        "how lines of the log look",
        "`text` is rsync's form: date, time, process id and message. `json` writes an object in each line, with the members `time`, `pid` and `message`, and what is known of the connection.").ours(),
    module("syslog facility", Field::Facility(|m| &mut m.syslog_facility), "daemon",
        "the facility of messages for syslog",
        "One of `auth`, `authpriv`, `cron`, `daemon`, `ftp`, `kern`, `lpr`, `mail`, `news`, `security`, `syslog`, `user`, `uucp` and `local0` to `local7`."),
    module("syslog tag", Field::Text(|m| &mut m.syslog_tag), "rsyncd",
        "the name of the program in syslog",
        "What messages for syslog begin with. Variables can tell users apart, as in `rsyncd.%RSYNC_USER_NAME%`."),
    module("transfer logging", Field::Boolean(|m| &mut m.transfer_logging), "no",
        "log each file that is transferred",
        "Each file that is sent, received or deleted makes a line, in the form of `log format`."),
    module("log format", Field::Text(|m| &mut m.log_format), "%o %h [%a] %m (%u) %f %l",
        "the form of the lines of `transfer logging`",
        "A text with escapes of a percent sign and a letter, as for `--out-format`: `%a` address, `%h` name and `%u` user of the client, `%m` name and `%P` path of the module, `%o` operation (`send`, `recv`, `del.`), `%f` and `%n` file, `%l` its length, `%b` bytes that were transferred, `%c` bytes of checksums, `%C` checksum, `%i` itemized changes, `%L` what a link leads to, `%M` time, `%B` permissions, `%U` and `%G` owner and group, `%p` process, `%t` current time."),
];
