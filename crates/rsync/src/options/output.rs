//! What is printed of a transfer.

use crate::given::Given;
use crate::stop::{Stop, shown};
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "stats",
        brief: "give some file-transfer stats",
        doc: "Prints counts and sums at the end.",
        forward: &[Forward::Words {
            place: 24,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().stats, "--stats"),
        }],
        set: |given, _| {
            given.stats = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "8-bit-output",
        short: Some(b'8'),
        no: &["no-8-bit-output", "no-8"],
        brief: "leave high-bit chars unescaped in output",
        doc: "Prints names as they are instead of escaping bytes that are no characters here. Control characters are \
              escaped in any case.",
        set: |given, said| {
            given.eight_bit = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "human-readable",
        short: Some(b'h'),
        no: &["no-human-readable", "no-h"],
        brief: "output numbers in a human-readable format",
        doc: "Prints large numbers with a unit of base 1000; given twice, of base 1024. `--no-human-readable` prints \
              digits without separators.",
        set: |given, said| {
            said.count(&mut given.human);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "progress",
        no: &["no-progress"],
        brief: "show progress during transfer",
        doc: "Shows how far each file has come. On a terminal the line is drawn anew in its place. `--info=progress2` \
              shows the transfer as a whole instead.",
        set: |given, said| {
            given.progress = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        short: Some(b'P'),
        brief: "same as --partial --progress",
        doc: "The same as `--partial --progress`.",
        set: |given, _| {
            given.partial = true;
            given.progress = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "itemize-changes",
        short: Some(b'i'),
        no: &["no-itemize-changes", "no-i"],
        brief: "output a change-summary for all updates",
        doc: "Prints a line for each change: what is done, the kind of file, and which attributes differ; see OUTPUT. \
              Given twice, also for what is unchanged.",
        set: |given, said| {
            said.count(&mut given.itemize);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "remote-option",
        short: Some(b'M'),
        takes: Takes::Text("OPT"),
        brief: "send OPTION to the remote side only",
        doc: "Gives `OPT` to the other side only. For a local copy that is the receiving half.",
        forward: &[Forward::Words {
            place: 52,
            to: Peer::Any,
            write: |out, words| {
                out.said()
                    .remote_options
                    .iter()
                    .for_each(|option| words.typed(option));
            },
        }],
        set: set_remote_option,
        ..ROW
    },
    Opt {
        long: "out-format",
        aliases: &["log-format"],
        takes: Takes::Text("FORMAT"),
        brief: "output updates using the specified FORMAT",
        doc: "The line that is printed for each change; see OUTPUT.",
        forward: &[Forward::Words {
            place: 6,
            to: Peer::Receiver,
            write: |out, words| words.plain_if("--log-format=", out.log_format()),
        }],
        refusable: false,
        set: |given, said| {
            given.out_format = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "log-file",
        takes: Takes::Text("FILE"),
        brief: "log what we're doing to the specified FILE",
        doc: "Appends to `FILE` what is done, with time and process. `-M--log-file=FILE` does so at the other end.",
        set: |given, said| {
            given.log_file = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "log-file-format",
        takes: Takes::Text("FMT"),
        brief: "log updates using the specified FMT",
        doc: "The line in the log file for each change, `%i %n%L` by default; an empty one leaves them out.",
        set: |given, said| {
            given.log_file_format = said.text();
            Ok(())
        },
        ..ROW
    },
];

fn set_remote_option(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    let option = said.text().unwrap_or_default();
    if !option.starts_with(b"-") {
        return Err(Stop::option(format!(
            "Remote option must start with a dash: {}",
            shown(&option)
        )));
    }
    given.remote_options.push(option);
    Ok(())
}
