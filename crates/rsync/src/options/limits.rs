//! Limits of size, time and identity.

use crate::given::{Given, IdMap};
use crate::size::{self, BYTES, Limits, Unit};
use crate::stop::Stop;
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "max-size",
        takes: Takes::Text("SIZE"),
        brief: "don't transfer any file larger than SIZE",
        doc: "Leaves out files larger than `SIZE`.",
        forward: &[Forward::Words {
            place: 17,
            to: Peer::Receiver,
            write: |out, words| words.plain_if("--max-size=", out.said().max_size),
        }],
        set: |given, said| set_size(&mut given.max_size, "max-size", said),
        ..ROW
    },
    Opt {
        long: "min-size",
        takes: Takes::Text("SIZE"),
        brief: "don't transfer any file smaller than SIZE",
        doc: "Leaves out files smaller than `SIZE`.",
        forward: &[Forward::Words {
            place: 16,
            to: Peer::Receiver,
            write: |out, words| words.plain_if("--min-size=", out.said().min_size),
        }],
        set: |given, said| set_size(&mut given.min_size, "min-size", said),
        ..ROW
    },
    Opt {
        long: "max-alloc",
        takes: Takes::Text("SIZE"),
        brief: "change a limit relating to memory alloc",
        doc: "The most memory that one allocation may take, 1 GiB by default; 0 is no limit. Protects against a peer \
              that sends absurd numbers.",
        forward: &[Forward::Words {
            place: 26,
            to: Peer::Any,
            write: |out, words| words.value_if("--max-alloc=", out.meant.max_alloc_text.as_deref()),
        }],
        set: |given, said| {
            let text = said.text().unwrap_or_default();
            max_alloc(&text)?;
            given.max_alloc = Some(text);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "partial",
        no: &["no-partial"],
        brief: "keep partially transferred files",
        doc: "Keeps what has come of a file when the transfer is interrupted, so that the next run can go on from \
              there.",
        forward: &[Forward::Words {
            place: 30,
            to: Peer::Receiver,
            write: |out, words| {
                let meant = out.meant;
                words.word_if(
                    meant.partial && meant.partial_dir.is_none() && !meant.inplace,
                    "--partial",
                );
            },
        }],
        set: |given, said| {
            given.partial = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "partial-dir",
        takes: Takes::Text("DIR"),
        brief: "put a partially transferred file into DIR",
        doc: "Keeps partial files in a directory of this name beside the file instead of in its place. Implies \
              `--partial`, and the next run uses and removes them.",
        forward: &[Forward::Words {
            place: 30,
            to: Peer::Receiver,
            write: |out, words| {
                let dir = out.meant.partial_dir.as_deref();
                words.pair_if(
                    "--partial-dir",
                    dir.filter(|_| !out.meant.partial_dir_implied),
                );
            },
        }],
        set: |given, said| {
            given.partial_dir = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delay-updates",
        no: &["no-delay-updates"],
        brief: "put all updated files into place at end",
        doc: "Puts all changed files into place at the end, one rename after the other, so that the tree changes in a \
              short time. They wait in `.~tmp~` until then, or in the directory of `--partial-dir`.",
        forward: &[Forward::Words {
            place: 30,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().delay_updates, "--delay-updates"),
        }],
        set: |given, said| {
            given.delay_updates = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "prune-empty-dirs",
        short: Some(b'm'),
        no: &["no-prune-empty-dirs", "no-m"],
        brief: "prune empty directory chains from file-list",
        doc: "Makes no directory that would stay empty, taking the filter rules into account.",
        forward: &[Forward::Letter {
            place: 10,
            to: Peer::Receiver,
            times: |out| u32::from(out.said().prune_empty_dirs),
        }],
        set: |given, said| {
            given.prune_empty_dirs = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "numeric-ids",
        no: &["no-numeric-ids"],
        brief: "don't map uid/gid values by user/group name",
        doc: "Goes by the numbers of users and groups, not by their names.",
        forward: &[Forward::Words {
            place: 34,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().numeric_ids, "--numeric-ids"),
        }],
        set: |given, said| {
            given.numeric_ids = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "usermap",
        takes: Takes::Text("STRING"),
        brief: "custom username mapping",
        doc: "Maps owners: a list with commas of `FROM:TO`. `FROM` is a name, a pattern, a number or a range of \
              numbers; an empty one means owners without a name. The first that matches counts. Implies `--owner`.",
        forward: &[Forward::Words {
            place: 36,
            to: Peer::Receiver,
            write: |out, words| {
                let map = out.said().usermap.as_ref();
                words.value_if("--usermap=", map.map(|map| &*map.text));
            },
        }],
        set: |given, said| set_map(&mut given.usermap, "--usermap", said),
        ..ROW
    },
    Opt {
        long: "groupmap",
        takes: Takes::Text("STRING"),
        brief: "custom groupname mapping",
        doc: "Like `--usermap`, for groups. Implies `--group`.",
        forward: &[Forward::Words {
            place: 36,
            to: Peer::Receiver,
            write: |out, words| {
                let map = out.said().groupmap.as_ref();
                words.value_if("--groupmap=", map.map(|map| &*map.text));
            },
        }],
        set: |given, said| set_map(&mut given.groupmap, "--groupmap", said),
        ..ROW
    },
    Opt {
        long: "chown",
        takes: Takes::Text("USER:GROUP"),
        brief: "simple username/groupname mapping",
        doc: "Gives all files this owner and group; either may be left out. The same as `--usermap=*:USER \
              --groupmap=*:GROUP`.",
        set: set_chown,
        ..ROW
    },
    Opt {
        long: "timeout",
        no: &["no-timeout"],
        takes: Takes::Number("SECONDS"),
        brief: "set I/O timeout in seconds",
        doc: "Gives up when nothing has come or gone for so many seconds. 0, the default, waits for ever.",
        forward: &[Forward::Words {
            place: 9,
            to: Peer::Any,
            write: |out, words| {
                let seconds = out.said().timeout;
                if seconds > 0 {
                    words.word(format!("--timeout={seconds}"));
                }
            },
        }],
        set: |given, said| {
            given.timeout = said.number();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "contimeout",
        no: &["no-contimeout"],
        takes: Takes::Number("SECONDS"),
        brief: "set daemon connection timeout in seconds",
        doc: "Gives up when a daemon has not answered the call for a connection after so many seconds.",
        set: |given, said| {
            given.contimeout = said.number();
            Ok(())
        },
        ..ROW
    },
];

/// The limit on one allocation, in bytes; 0 is none.
///
/// # Errors
/// As [`size::parse`].
pub(crate) fn max_alloc(text: &[u8]) -> Result<u64, Stop> {
    size::parse(
        "max-alloc",
        text,
        Limits {
            unit: Unit::Byte,
            min: 1 << 20,
            max: None,
            zero: true,
        },
    )
}

fn set_size(size: &mut Option<u64>, option: &str, said: Said<'_>) -> Result<(), Stop> {
    let text = said.text().unwrap_or_default();
    *size = Some(size::parse(option, &text, BYTES)?);
    Ok(())
}

fn set_map(map: &mut Option<IdMap>, option: &str, said: Said<'_>) -> Result<(), Stop> {
    match map {
        Some(earlier) if earlier.by_chown => Err(Stop::option(format!(
            "{option} conflicts with prior --chown."
        ))),
        Some(_) => Err(Stop::option(format!("You can only specify {option} once."))),
        None => {
            *map = said.text().map(|text| IdMap {
                text,
                by_chown: false,
            });
            Ok(())
        }
    }
}

/// `USER:GROUP`, either half optional: the same as a map of everybody to it.
fn set_chown(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    let text = said.text().unwrap_or_default();
    let mut halves = text.splitn(2, |&byte| byte == b':');
    let (user, group) = (
        halves.next().unwrap_or_default(),
        halves.next().unwrap_or_default(),
    );
    for (name, map, option, kind) in [
        (user, &mut given.usermap, "--usermap", "user"),
        (group, &mut given.groupmap, "--groupmap", "group"),
    ] {
        if name.is_empty() {
            continue;
        }
        match map {
            Some(earlier) if earlier.by_chown => {
                return Err(Stop::option(format!(
                    "You can only specify a {kind}-affecting --chown once."
                )));
            }
            Some(_) => {
                return Err(Stop::option(format!(
                    "--chown conflicts with prior {option}."
                )));
            }
            None => {
                *map = Some(IdMap {
                    text: [b"*:", name].concat(),
                    by_chown: true,
                });
            }
        }
    }
    Ok(())
}
