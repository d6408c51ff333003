//! What takes part in a transfer, and what becomes of what is there already.

use crate::given::{Dirs, Given, Recursion};
use crate::table::{Forward, Opt, Peer, ROW, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "checksum",
        short: Some(b'c'),
        no: &["no-checksum", "no-c"],
        brief: "skip based on checksum, not mod-time & size",
        doc: "Compares files of equal size by a checksum of their content instead of their modification time. Both \
              sides read every such file before the transfer, which is slow on large trees.",
        forward: &[Forward::Letter {
            place: 26,
            to: Peer::Any,
            times: |out| u32::from(out.said().checksum),
        }],
        set: |given, said| {
            given.checksum = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "archive",
        short: Some(b'a'),
        brief: "archive mode is -rlptgoD (no -A,-X,-U,-N,-H)",
        also: &[("--no-OPTION", "turn off an implied OPTION (e.g. --no-D)")],
        doc: "The same as `-rlptgoD`: directories with all that is in them, and nearly all that the file system knows \
              of each file. Hard links, ACLs, extended attributes and access times are not included (`-H`, `-A`, `-X`, \
              `-U`).",
        set: |given, _| {
            archive(given);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "recursive",
        short: Some(b'r'),
        no: &["no-recursive", "no-r"],
        brief: "recurse into directories",
        doc: "Copies directories with all that is below them.",
        forward: &[
            Forward::Letter {
                place: 25,
                to: Peer::Any,
                times: |out| u32::from(out.meant.recursive),
            },
            Forward::Words {
                place: 3,
                to: Peer::Receiver,
                // An old receiver would take its delete options for a reason to recurse.
                write: |out, words| {
                    words.word_if(out.meant.deletes && !out.meant.recursive, "--no-r");
                },
            },
        ],
        set: |given, said| {
            given.recursive = if said.on() {
                Recursion::Asked
            } else {
                Recursion::Off
            };
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "inc-recursive",
        aliases: &["i-r"],
        no: &["no-inc-recursive", "no-i-r"],
        also: &[
            ("--inc-recursive, --i-r", "enable incremental recursion"),
            ("--no-inc-recursive", "disable incremental recursion"),
            ("--no-i-r", "same as --no-inc-recursive"),
        ],
        doc: "Lets the list of files come directory by directory while the transfer goes on, which starts sooner and \
              takes less memory. It is on by default where both sides can do it, and off with options that need the \
              whole list (`--delete-before`, `--delete-after`, `--delay-updates`, `--prune-empty-dirs`). \
              `--no-inc-recursive` turns it off.",
        set: |given, said| {
            given.incremental = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "relative",
        short: Some(b'R'),
        no: &["no-relative", "no-R"],
        brief: "use relative path names",
        doc: "Keeps the paths of the operands: `rsync -R a/b/c dest` makes `dest/a/b/c`, not `dest/c`. A `/./` in an \
              operand marks where the kept part begins.",
        forward: &[Forward::Letter {
            place: 29,
            to: Peer::Any,
            times: |out| u32::from(out.meant.relative),
        }],
        set: |given, said| {
            given.relative = Some(said.on());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "implied-dirs",
        aliases: &["i-d"],
        no: &["no-implied-dirs", "no-i-d"],
        also: &[(
            "--no-implied-dirs",
            "don't send implied directories with --relative",
        )],
        doc: "With `--relative` the directories above an operand get the attributes they have at the source. \
              `--no-implied-dirs` leaves those at the destination as they are.",
        forward: &[Forward::Words {
            place: 45,
            to: Peer::Any,
            write: |out, words| {
                // An older receiver would take the option for one of its own sending.
                let is_known = out.server_sends || out.protocol >= 30;
                if out.meant.relative && !out.said().implied_dirs && is_known {
                    words.word("--no-implied-dirs");
                }
            },
        }],
        set: |given, said| {
            given.implied_dirs = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "backup",
        short: Some(b'b'),
        no: &["no-backup"],
        brief: "make backups (see --suffix & --backup-dir)",
        doc: "Keeps a file that is replaced or deleted under another name: with a suffix (`~` unless `--suffix` says \
              otherwise), or in the directory of `--backup-dir`.",
        forward: &[Forward::Letter {
            place: 4,
            to: Peer::Any,
            times: |out| u32::from(out.meant.backup),
        }],
        set: |given, said| {
            given.backup = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "backup-dir",
        takes: Takes::Text("DIR"),
        brief: "make backups into hierarchy based in DIR",
        doc: "Keeps replaced and deleted files below `DIR`, at their own relative paths. A relative `DIR` is taken \
              from the destination. Implies `--backup`.",
        forward: &[Forward::Words {
            place: 11,
            to: Peer::Any,
            write: |out, words| words.pair_if("--backup-dir", out.meant.backup_dir.as_deref()),
        }],
        set: |given, said| {
            given.backup_dir = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "suffix",
        takes: Takes::Text("SUFFIX"),
        brief: "backup suffix (default ~ w/o --backup-dir)",
        doc: "The suffix of backups.",
        forward: &[Forward::Words {
            place: 12,
            to: Peer::Any,
            write: |out, words| {
                let default: &[u8] = if out.meant.backup_dir.is_some() {
                    b""
                } else {
                    b"~"
                };
                if out.meant.suffix != default {
                    words.value("--suffix=", &out.meant.suffix);
                }
            },
        }],
        set: |given, said| {
            given.suffix = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "update",
        short: Some(b'u'),
        brief: "skip files that are newer on the receiver",
        doc: "Leaves a file alone if the one at the destination is newer.",
        forward: &[Forward::Letter {
            place: 5,
            to: Peer::Any,
            times: |out| u32::from(out.said().update),
        }],
        set: |given, _| {
            given.update = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "inplace",
        no: &["no-inplace"],
        brief: "update destination files in-place",
        doc: "Writes into the existing file instead of a temporary one that takes its place at the end. It saves room \
              and keeps hard links and open files attached, but a reader sees the file half changed, and an \
              interrupted transfer leaves it so.",
        forward: &[Forward::Words {
            place: 43,
            to: Peer::Any,
            write: |out, words| {
                let said = out.said();
                if said.append > 0 || !out.meant.inplace {
                    return;
                }
                words.word("--inplace");
                // A server would take holes and in-place writing for a reason to send whole files.
                if said.sparse && out.meant.whole_file == Some(false) && !out.server_sends {
                    words.word("--no-W");
                }
            },
        }],
        set: |given, said| {
            given.inplace = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "append",
        no: &["no-append"],
        brief: "append data onto shorter files",
        doc: "Takes what a shorter file has at the destination for right and sends only the rest. Implies `--inplace`. \
              Files that are not shorter are left alone.",
        forward: &[Forward::Words {
            place: 43,
            to: Peer::Any,
            write: |out, words| (0..out.said().append).for_each(|_| words.word("--append")),
        }],
        set: |given, said| {
            given.append = match said.on() {
                false => 0,
                // A client tells its server of --append-verify by saying it twice.
                true if given.server => (given.append + 1).min(2),
                true => 1,
            };
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "append-verify",
        brief: "--append w/old data in file checksum",
        doc: "Like `--append`, but the checksum at the end covers the old part too; if it is wrong, the file is sent \
              again in full.",
        set: |given, _| {
            given.append = 2;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "dirs",
        short: Some(b'd'),
        no: &["no-dirs", "no-d"],
        brief: "transfer directories without recursing",
        doc: "Copies directories as such, without what is in them; what an operand with a trailing slash holds is \
              copied one level deep.",
        forward: &[Forward::Letter {
            place: 8,
            to: Peer::Any,
            times: |out| u32::from(out.dirs_letter()),
        }],
        set: |given, said| {
            given.dirs = if said.on() { Dirs::Asked } else { Dirs::No };
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "old-dirs",
        aliases: &["old-d"],
        brief: "works like --dirs when talking to old rsync",
        also: &[("--old-d", "same as --old-dirs")],
        doc: "Gets the effect of `--dirs` out of a server that is too old for it: recursion with a rule that hides \
              what is deeper.",
        set: |given, _| {
            given.dirs = Dirs::Old;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "mkpath",
        no: &["no-mkpath"],
        brief: "create destination's missing path components",
        doc: "Makes the missing directories above the destination. Without it only the last one is made.",
        forward: &[Forward::Words {
            place: 51,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().mkpath, "--mkpath"),
        }],
        set: |given, said| {
            given.mkpath = said.on();
            Ok(())
        },
        ..ROW
    },
];

/// `-a` where it stands: later options may take parts of it back.
fn archive(given: &mut Given) {
    if given.recursive == Recursion::Off {
        given.recursive = Recursion::Implied;
    }
    given.links = true;
    given.perms = true;
    given.times = true;
    given.group = true;
    given.owner = true;
    given.devices = true;
    given.specials = true;
}
