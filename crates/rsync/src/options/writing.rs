//! How files are read, compared in detail and written.

use crate::given::Given;
use crate::size::{self, Limits, Unit};
use crate::stop::Stop;
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "sparse",
        short: Some(b'S'),
        no: &["no-sparse", "no-S"],
        brief: "turn sequences of nulls into sparse blocks",
        doc: "Leaves holes where a file has long runs of zeros.",
        forward: &[Forward::Letter {
            place: 31,
            to: Peer::Any,
            times: |out| u32::from(out.said().sparse),
        }],
        set: |given, said| {
            given.sparse = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "preallocate",
        brief: "allocate dest files before writing them",
        doc: "Reserves the room of a file before writing it.",
        forward: &[Forward::Words {
            place: 49,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().preallocate, "--preallocate"),
        }],
        set: |given, _| {
            given.preallocate = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "dry-run",
        short: Some(b'n'),
        brief: "perform a trial run with no changes made",
        doc: "Does everything but change something. With `-v` or `-i` it tells what a real run would do.",
        forward: &[Forward::Letter {
            place: 6,
            to: Peer::Any,
            times: |out| u32::from(out.said().dry_run),
        }],
        refusable: false,
        set: |given, _| {
            given.dry_run = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "whole-file",
        short: Some(b'W'),
        no: &["no-whole-file", "no-W"],
        brief: "copy files whole (w/o delta-xfer algorithm)",
        also: &[("--no-whole-file, --no-W", "use the delta-xfer algorithm")],
        doc: "Sends changed files whole, without looking for parts that the other side has. The default for local \
              copies; `--no-whole-file` asks for deltas there too.",
        forward: &[Forward::Letter {
            place: 14,
            to: Peer::Any,
            times: |out| u32::from(out.meant.whole_file == Some(true)),
        }],
        set: |given, said| {
            given.whole_file = Some(said.on());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "checksum-choice",
        aliases: &["cc"],
        takes: Takes::Text("STR"),
        brief: "choose the checksum algorithm (aka --cc)",
        doc: "The checksum of transfers, or with a comma those of transfers and of `--checksum`: `xxh128`, `xxh3`, \
              `xxh64`, `md5`, `md4`, `sha1`, `none` or `auto`, which lets both sides agree on the first that they \
              share.",
        forward: &[Forward::Words {
            place: 13,
            to: Peer::Any,
            write: |out, words| {
                words.value_if("--checksum-choice=", out.meant.checksum_choice.as_deref());
            },
        }],
        set: |given, said| {
            given.checksum_choice = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "one-file-system",
        short: Some(b'x'),
        no: &["no-one-file-system", "no-x"],
        brief: "don't cross filesystem boundaries",
        doc: "Does not go into directories where another file system is mounted. Given twice, the mount points \
              themselves are left out.",
        forward: &[Forward::Letter {
            place: 30,
            to: Peer::Any,
            times: |out| out.said().one_file_system.min(2),
        }],
        set: |given, said| {
            said.count(&mut given.one_file_system);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "block-size",
        short: Some(b'B'),
        takes: Takes::Text("SIZE"),
        brief: "force a fixed checksum block-size",
        doc: "The size of the blocks in which the delta algorithm looks for known parts. Otherwise it follows from the \
              size of the file.",
        forward: &[Forward::Words {
            place: 8,
            to: Peer::Any,
            write: |out, words| {
                let size = out.said().block_size;
                if size > 0 {
                    words.word(format!("-B{size}"));
                }
            },
        }],
        set: set_block_size,
        ..ROW
    },
    Opt {
        long: "rsh",
        short: Some(b'e'),
        takes: Takes::Text("COMMAND"),
        brief: "specify the remote shell to use",
        doc: "The command that leads to the other machine, with its arguments; `ssh` by default, or what `RSYNC_RSH` \
              says. Quotes group words. With a daemon's address it starts a daemon at the other end for this one \
              connection.",
        refusable: false,
        set: |given, said| {
            given.rsh = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "rsync-path",
        takes: Takes::Text("PROGRAM"),
        brief: "specify the rsync to run on remote machine",
        doc: "What the remote shell runs at the other end. The shell there may split it, so that a path and options \
              can be given.",
        set: |given, said| {
            given.rsync_path = said.text();
            Ok(())
        },
        ..ROW
    },
];

fn set_block_size(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    // Older protocols take larger blocks, if they were asked for by then.
    let max = if given.protocol.is_some_and(|protocol| protocol < 30) {
        1 << 29
    } else {
        1 << 17
    };
    let limits = Limits {
        unit: Unit::Byte,
        min: 0,
        max: Some(max),
        zero: false,
    };
    given.block_size = size::parse("block-size", &said.text().unwrap_or_default(), limits)?;
    Ok(())
}
