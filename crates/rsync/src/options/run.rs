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
        set: |given, said| {
            given.early_input = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "list-only",
        brief: "list the files instead of copying them",
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
        set: set_stop_after,
        ..ROW
    },
    Opt {
        long: "stop-at",
        takes: Takes::Text("y-m-dTh:m"),
        brief: "Stop rsync at the specified point in time",
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
        forward: &[Forward::Words {
            place: 1,
            to: Peer::Any,
            write: |out, words| {
                if let Some(charset) = out.meant.remote_charset() {
                    words.value("--iconv=", charset);
                }
            },
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
        set: |_, _| Err(Stop::Show(help::usage())),
        ..ROW
    },
    Opt {
        long: "server",
        refusable: false,
        set: |given, _| {
            given.server = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "sender",
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
