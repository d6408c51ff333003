//! The run as a whole.

use crate::given::{Family, Given, StopTime};
use crate::help;
use crate::size::{self, Limits, Unit};
use crate::stop::{Stop, shown};
use crate::stop_time;
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "password-file",
        takes: Takes::Text("FILE"),
        brief: "read daemon-access password from FILE",
        doc: "Takes the password for a daemon from the first line of `FILE`, which nobody else may be able to read; \
              `-` is standard input. Without it `RSYNC_PASSWORD` counts, and then you are asked.",
        set: |given, said| {
            given.password_file = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "early-input",
        takes: Takes::Text("FILE"),
        brief: "use FILE for daemon's early exec input",
        doc: "Sends up to 5 KiB of `FILE` to the daemon, for the command of the module's `early exec`.",
        set: |given, said| {
            given.early_input = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "list-only",
        brief: "list the files instead of copying them",
        doc: "Lists what would be copied. The same happens when no destination is given.",
        forward: &[Forward::Words {
            place: 2,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().list_only, "--list-only"),
        }],
        set: |given, _| {
            given.list_only = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "bwlimit",
        no: &["no-bwlimit"],
        takes: Takes::Text("RATE"),
        brief: "limit socket I/O bandwidth",
        doc: "Sends no more than so much a second; KiB unless a unit says otherwise. 0 is no limit.",
        forward: &[Forward::Words {
            place: 10,
            to: Peer::Any,
            write: |out, words| {
                let kib = out.said().bwlimit;
                if kib > 0 {
                    words.word(format!("--bwlimit={kib}"));
                }
            },
        }],
        set: set_bwlimit,
        ..ROW
    },
    Opt {
        long: "stop-after",
        aliases: &["time-limit"],
        takes: Takes::Text("MINS"),
        brief: "Stop rsync after MINS minutes have elapsed",
        doc: "Ends the run after so many minutes, in order, with exit code 30. Also called `--time-limit`.",
        set: set_stop_after,
        ..ROW
    },
    Opt {
        long: "stop-at",
        takes: Takes::Text("y-m-dTh:m"),
        brief: "Stop rsync at the specified point in time",
        doc: "Ends the run at a time: `YYYY-MM-DDTHH:MM`. What is left out on the left is the next such moment.",
        set: |given, said| {
            let text = said.text().unwrap_or_default();
            stop_time::check(&text)?;
            given.stop_at = Some(StopTime::At(text));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "fsync",
        brief: "fsync every written file",
        doc: "Waits until each file is on the disk before going on.",
        forward: &[Forward::Words {
            place: 40,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().fsync, "--fsync"),
        }],
        set: |given, _| {
            given.fsync = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "write-batch",
        takes: Takes::Text("FILE"),
        brief: "write a batched update to FILE",
        doc: "Writes into `FILE` all that an equal copy of the destination needs to become the same, and beside it a \
              script `FILE.sh` that applies it.",
        set: |given, said| {
            given.write_batch = said.text();
            given.only_write_batch = false;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "only-write-batch",
        takes: Takes::Text("FILE"),
        brief: "like --write-batch but w/o updating dest",
        doc: "Like `--write-batch`, but the destination itself is left alone.",
        forward: &[Forward::Words {
            place: 21,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().only_write_batch, "--only-write-batch=X"),
        }],
        set: |given, said| {
            given.write_batch = said.text();
            given.only_write_batch = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "read-batch",
        takes: Takes::Text("FILE"),
        brief: "read a batched update from FILE",
        doc: "Applies what `--write-batch` wrote into `FILE`; `-` is standard input.",
        set: |given, said| {
            given.read_batch = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "protocol",
        takes: Takes::Number("NUM"),
        brief: "force an older protocol version to be used",
        doc: "Speaks no newer protocol than this, 29 to 32.",
        set: |given, said| {
            given.protocol = Some(said.number());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "iconv",
        no: &["no-iconv"],
        takes: Takes::Text("CONVERT_SPEC"),
        brief: "request charset conversion of filenames",
        doc: "Converts file names: the character sets of this side and of the other one, with a comma between them. \
              `.` is that of the locale, `-` turns it off.",
        forward: &[Forward::Words {
            place: 1,
            to: Peer::Any,
            write: |out, words| words.value_if("--iconv=", out.meant.remote_charset()),
        }],
        refusable: false,
        set: |given, said| {
            given.iconv = Some(said.text().unwrap_or_else(|| b"-".to_vec()));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "checksum-seed",
        takes: Takes::Number("NUM"),
        brief: "set block/file checksum seed (advanced)",
        doc: "The number that checksums begin with. Otherwise it differs from run to run.",
        forward: &[Forward::Words {
            place: 29,
            to: Peer::Any,
            write: |out, words| {
                let seed = out.said().checksum_seed;
                if seed != 0 {
                    words.word(format!("--checksum-seed={seed}"));
                }
            },
        }],
        refusable: false,
        set: |given, said| {
            given.checksum_seed = said.number();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "ipv4",
        short: Some(b'4'),
        brief: "prefer IPv4",
        doc: "Uses IPv4 only, with daemons and with `ssh`.",
        set: |given, _| {
            given.family = Some(Family::V4);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "ipv6",
        short: Some(b'6'),
        brief: "prefer IPv6",
        doc: "Uses IPv6 only, with daemons and with `ssh`.",
        set: |given, _| {
            given.family = Some(Family::V6);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "version",
        short: Some(b'V'),
        brief: "print the version + other info and exit",
        doc: "Prints version and abilities; given twice, as JSON.",
        set: |given, said| {
            said.count(&mut given.version);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "help",
        also: &[(
            "--help, -h (*)",
            "show this help (* -h is help only on its own)",
        )],
        doc: "Prints a summary of the options. `-h` does so if it is all there is.",
        set: |_, _| Err(Stop::Show(help::usage())),
        ..ROW
    },
    Opt {
        long: "server",
        doc: "Used between the two ends of a transfer.",
        refusable: false,
        set: |given, _| {
            given.server = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "sender",
        doc: "Used between the two ends of a transfer.",
        refusable: false,
        set: |given, _| {
            if !given.server {
                return Err(Stop::Usage);
            }
            given.sender = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "qsort",
        aliases: &["use-qsort"],
        doc: "Has no effect but to turn off incremental recursion; kept for scripts.",
        forward: &[Forward::Words {
            place: 35,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().qsort, "--use-qsort"),
        }],
        set: |given, _| {
            given.qsort = true;
            Ok(())
        },
        ..ROW
    },
];

fn set_bwlimit(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    let limits = Limits {
        unit: Unit::Kib,
        min: 512,
        max: None,
        zero: true,
    };
    given.bwlimit = match said.text() {
        Some(rate) => size::parse("bwlimit", &rate, limits)?.saturating_add(512) / 1024,
        None => 0,
    };
    Ok(())
}

fn set_stop_after(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    let text = said.text().unwrap_or_default();
    let minutes = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|&minutes: &u32| minutes > 0);
    let Some(minutes) = minutes else {
        return Err(Stop::option(format!(
            "invalid --stop-after value: {}",
            shown(&text)
        )));
    };
    given.stop_at = Some(StopTime::AfterMinutes(minutes));
    Ok(())
}
