//! What counts as unchanged, what else may serve as a basis, and compression.

use crate::given::{BasisKind, Given};
use crate::meant::Compression;
use crate::stop::Stop;
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "ignore-times",
        short: Some(b'I'),
        brief: "don't skip files that match size and time",
        doc: "Looks at the content of every file, also of those that agree in size and time.",
        forward: &[Forward::Letter {
            place: 28,
            to: Peer::Any,
            times: |out| u32::from(out.said().ignore_times),
        }],
        set: |given, _| {
            given.ignore_times = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "size-only",
        brief: "skip files that match in size",
        doc: "Takes files of equal size for equal.",
        forward: &[Forward::Words {
            place: 23,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().size_only, "--size-only"),
        }],
        set: |given, _| {
            given.size_only = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "modify-window",
        short: Some(b'@'),
        takes: Takes::Number("NUM"),
        brief: "set the accuracy for mod-time comparisons",
        doc: "Takes modification times that differ by no more than so many seconds for equal. -1 compares them to the \
              nanosecond.",
        forward: &[Forward::Words {
            place: 28,
            to: Peer::Receiver,
            write: |out, words| match out.said().modify_window {
                0 => {}
                window @ 1.. => words.word(format!("--modify-window={window}")),
                window => words.word(format!("-@{window}")),
            },
        }],
        set: |given, said| {
            given.modify_window = said.number();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "temp-dir",
        short: Some(b'T'),
        takes: Takes::Text("DIR"),
        brief: "create temporary files in directory DIR",
        doc: "Makes temporary files in `DIR`, not beside their file. If that is another file system, files are copied \
              into place.",
        forward: &[Forward::Words {
            place: 39,
            to: Peer::Receiver,
            write: |out, words| words.pair_if("--temp-dir", out.said().temp_dir.as_deref()),
        }],
        set: |given, said| {
            given.temp_dir = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "fuzzy",
        short: Some(b'y'),
        no: &["no-fuzzy", "no-y"],
        brief: "find similar file for basis if no dest file",
        doc: "Looks in the directory of a missing file for one like it, by name, size and time, to save sending what \
              it shares. Given twice, also in the directories of `--compare-dest` and its like.",
        forward: &[Forward::Letter {
            place: 13,
            to: Peer::Receiver,
            times: |out| {
                if out.meant.fuzzy > 1 {
                    2
                } else {
                    out.meant.fuzzy
                }
            },
        }],
        set: |given, said| {
            said.count(&mut given.fuzzy);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "compare-dest",
        takes: Takes::Text("DIR"),
        brief: "also compare destination files relative to DIR",
        doc: "Leaves out files that are found unchanged below `DIR`, relative to the destination. Several are searched \
              in order.",
        forward: &[Forward::Words {
            place: 41,
            to: Peer::Receiver,
            write: |out, words| out.basis_dirs(BasisKind::Compare, words),
        }],
        set: |given, said| add_basis(given, BasisKind::Compare, said),
        ..ROW
    },
    Opt {
        long: "copy-dest",
        takes: Takes::Text("DIR"),
        brief: "... and include copies of unchanged files",
        doc: "Like `--compare-dest`, but files that are found unchanged there are copied from it.",
        forward: &[Forward::Words {
            place: 41,
            to: Peer::Receiver,
            write: |out, words| out.basis_dirs(BasisKind::Copy, words),
        }],
        set: |given, said| add_basis(given, BasisKind::Copy, said),
        ..ROW
    },
    Opt {
        long: "link-dest",
        takes: Takes::Text("DIR"),
        brief: "hardlink to files in DIR when unchanged",
        doc: "Like `--compare-dest`, but files that are found unchanged there become hard links to it: each run a \
              complete tree that takes only the room of what has changed.",
        forward: &[Forward::Words {
            place: 41,
            to: Peer::Receiver,
            write: |out, words| out.basis_dirs(BasisKind::Link, words),
        }],
        set: |given, said| add_basis(given, BasisKind::Link, said),
        ..ROW
    },
    Opt {
        long: "compress",
        short: Some(b'z'),
        no: &["no-compress", "no-z"],
        brief: "compress file data during the transfer",
        doc: "Compresses what is sent, with the best method both sides know.",
        forward: &[Forward::Letter {
            place: 32,
            to: Peer::Any,
            times: |out| {
                u32::from(matches!(
                    out.meant.compression,
                    Compression::Negotiated | Compression::Zlib
                ))
            },
        }],
        set: |given, said| {
            said.count(&mut given.compress);
            if !said.on() {
                given.compress_choice = None;
            }
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "old-compress",
        doc: "The same as `--compress-choice=zlib`.",
        set: |given, _| {
            given.compress_choice = Some(b"zlib".to_vec());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "new-compress",
        doc: "The same as `--compress-choice=zlibx`.",
        set: |given, _| {
            given.compress_choice = Some(b"zlibx".to_vec());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "compress-choice",
        aliases: &["zc"],
        takes: Takes::Text("STR"),
        brief: "choose the compression algorithm (aka --zc)",
        doc: "The method of compression: `zstd`, `lz4`, `zlibx`, `zlib`, `none` or `auto`. Implies `--compress` unless \
              it is `none`.",
        forward: &[Forward::Words {
            place: 14,
            to: Peer::Any,
            write: |out, words| match &out.meant.compression {
                Compression::Off | Compression::Negotiated | Compression::ByLevel => {}
                Compression::Zlib => words.word("--old-compress"),
                Compression::Zlibx => words.word("--new-compress"),
                Compression::Named(name) => words.value("--compress-choice=", name),
            },
        }],
        set: |given, said| {
            given.compress_choice = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "compress-level",
        aliases: &["zl"],
        takes: Takes::Number("NUM"),
        brief: "explicitly set compression level (aka --zl)",
        doc: "How hard to try; what numbers mean depends on the method. Implies `--compress`.",
        forward: &[Forward::Words {
            place: 4,
            to: Peer::Any,
            write: |out, words| words.plain_if("--compress-level=", out.said().compress_level),
        }],
        set: |given, said| {
            given.compress_level = Some(said.number());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "compress-threads",
        aliases: &["zt"],
        takes: Takes::Number("NUM"),
        brief: "explicitly set compression threads (aka --zt)",
        doc: "How many threads compress a long file with `zstd`. By default one in a daemon, else as many as there are processors, at most four.",
        set: |given, said| {
            given.compress_threads = said.number();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "skip-compress",
        takes: Takes::Text("LIST"),
        brief: "skip compressing files with suffix in LIST",
        doc: "Suffixes of files that are not worth compressing, with slashes between them. There is a list of common \
              ones by default.",
        forward: &[Forward::Words {
            place: 25,
            to: Peer::Sender,
            write: |out, words| {
                words.value_if("--skip-compress=", out.said().skip_compress.as_deref());
            },
        }],
        set: |given, said| {
            given.skip_compress = said.text();
            Ok(())
        },
        ..ROW
    },
];

/// So many alternate directories are possible.
const BASIS_DIRS_MAX: usize = 20;

fn add_basis(given: &mut Given, kind: BasisKind, said: Said<'_>) -> Result<(), Stop> {
    let option = kind.option();
    match given.basis_kind {
        Some(earlier) if earlier != kind => {
            let earlier = earlier.option();
            return Err(Stop::option(format!(
                "ERROR: the {option} option conflicts with the {earlier} option"
            )));
        }
        _ if given.basis_dirs.len() >= BASIS_DIRS_MAX => {
            return Err(Stop::option(format!(
                "ERROR: at most {BASIS_DIRS_MAX} {option} args may be specified"
            )));
        }
        _ => {}
    }
    given.basis_kind = Some(kind);
    given.basis_dirs.extend(said.text());
    Ok(())
}
