//! What is said on the way.

use crate::given::{Given, Stderr};
use crate::stop::{Stop, shown};
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

/// A server is told at most so many `-v`.
const VERBOSITY_MAX: u32 = 9;

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "verbose",
        short: Some(b'v'),
        no: &["no-verbose", "no-v"],
        brief: "increase verbosity",
        doc: "Tells more. Once: each name that is changed, and the closing totals. Twice: also what is left alone and \
              why. Three times and more: what each process does, which helps to find a fault. The levels of `--info` \
              and `--debug` are what this option sets; naming them there wins over it.",
        forward: &[Forward::Letter {
            place: 2,
            to: Peer::Any,
            times: |out| out.said().verbose.min(VERBOSITY_MAX),
        }],
        set: |given, said| {
            said.count(&mut given.verbose);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "info",
        takes: Takes::Text("FLAGS"),
        brief: "fine-grained informational verbosity",
        doc: "Sets what is told, word by word: a list with commas of words such as `name`, `del`, `stats2` or \
              `progress2`. A number behind a word is its level, 0 silences it, and no number means 1. `--info=help` \
              lists the words and what `-v` turns on.",
        forward: &[Forward::Words {
            place: 42,
            to: Peer::Any,
            write: |out, words| {
                words.plain_if("--info=", out.said().info.for_server(out.server_sends));
            },
        }],
        set: |given, said| {
            given
                .info
                .read(&said.text().unwrap_or_default(), given.server)
        },
        ..ROW
    },
    Opt {
        long: "debug",
        takes: Takes::Text("FLAGS"),
        brief: "fine-grained debug verbosity",
        doc: "Like `--info`, for what concerns the inner workings. `--debug=help` lists the words.",
        set: |given, said| {
            given
                .debug
                .read(&said.text().unwrap_or_default(), given.server)
        },
        ..ROW
    },
    Opt {
        long: "stderr",
        takes: Takes::Text("e|a|c"),
        brief: "change stderr output mode (default: errors)",
        doc: "Where messages of the other processes come out. `errors` (the default): errors on standard error, all \
              else on standard output. `all`: everything on standard error. `client`: errors of a server travel to the \
              client and come out there. A prefix of the word will do.",
        forward: &[Forward::Words {
            place: 7,
            to: Peer::Any,
            write: |out, words| match out.said().stderr {
                Some(Stderr::All) => words.word("--msgs2stderr"),
                Some(Stderr::Client) => words.word("--no-msgs2stderr"),
                Some(Stderr::Errors) | None => {}
            },
        }],
        set: set_stderr,
        ..ROW
    },
    Opt {
        long: "msgs2stderr",
        no: &["no-msgs2stderr"],
        doc: "The same as `--stderr=all`; `--no-msgs2stderr` is `--stderr=client`.",
        set: |given, said| {
            given.stderr = Some(if said.on() {
                Stderr::All
            } else {
                Stderr::Client
            });
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "quiet",
        short: Some(b'q'),
        brief: "suppress non-error messages",
        doc: "Tells nothing but warnings and errors, which suits cron.",
        forward: &[Forward::Letter {
            place: 3,
            to: Peer::Any,
            times: |out| u32::from(out.said().quiet && out.said().stderr != Some(Stderr::Client)),
        }],
        set: |given, _| {
            given.quiet = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "motd",
        no: &["no-motd"],
        also: &[("--no-motd", "suppress daemon-mode MOTD")],
        doc: "Prints a daemon's message of the day and its list of modules, which is what happens anyhow. `--no-motd` \
              leaves both out.",
        set: |given, said| {
            given.motd = said.on();
            Ok(())
        },
        ..ROW
    },
];

fn set_stderr(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    let mode = said.text().unwrap_or_default();
    let modes = [
        ("errors", Stderr::Errors),
        ("all", Stderr::All),
        ("client", Stderr::Client),
    ];
    let meant = modes
        .iter()
        .find(|(name, _)| !mode.is_empty() && name.as_bytes().starts_with(&mode));
    let Some((_, meant)) = meant else {
        let mode = shown(&mode);
        return Err(Stop::option(format!(
            "--stderr mode \"{mode}\" is not one of errors, all, or client"
        )));
    };
    given.stderr = Some(*meant);
    Ok(())
}
