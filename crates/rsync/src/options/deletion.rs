//! What is created or replaced at all, and what is removed.

use crate::given::{During, SourceRemoval};
use crate::table::{Forward, Opt, Peer, ROW, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "existing",
        aliases: &["ignore-non-existing"],
        brief: "skip creating new files on receiver",
        also: &[(
            "--ignore-non-existing",
            "skip creating new files on receiver",
        )],
        doc: "Makes no new files at the destination, and only updates those that are there. Also called \
              `--ignore-non-existing`.",
        forward: &[Forward::Words {
            place: 38,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().existing, "--existing"),
        }],
        set: |given, _| {
            given.existing = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "ignore-existing",
        brief: "skip updating files that exist on receiver",
        doc: "Leaves every file alone that exists at the destination. It resumes an interrupted copy of a tree whose \
              files do not change.",
        forward: &[Forward::Words {
            place: 37,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().ignore_existing, "--ignore-existing"),
        }],
        set: |given, _| {
            given.ignore_existing = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "remove-source-files",
        brief: "sender removes synchronized files (non-directory)",
        doc: "Removes a file from the source once the destination has it. Directories stay.",
        forward: &[Forward::Words {
            place: 47,
            to: Peer::Any,
            write: |out, words| {
                if let Some(removal) = out.said().remove_source_files {
                    words.word(removal.option());
                }
            },
        }],
        set: |given, _| {
            given.remove_source_files = Some(SourceRemoval::Synchronised);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "remove-sent-files",
        doc: "Like `--remove-source-files`, but files that were up to date beforehand stay. Deprecated.",
        set: |given, _| {
            given.remove_source_files = Some(SourceRemoval::Sent);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "del",
        brief: "an alias for --delete-during",
        doc: "The same as `--delete-during`.",
        set: |given, _| {
            given.delete_during = Some(During::AtOnce);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete",
        brief: "delete extraneous files from dest directories",
        doc: "Deletes at the destination what the source does not have, in the directories that are copied with their \
              content. Needs `-r` or `-d`. What a filter rule excludes is safe. After an error of reading at the \
              source nothing is deleted, unless `--ignore-errors` says so. Try it with `-n` first.",
        forward: &[Forward::Words {
            place: 18,
            to: Peer::Receiver,
            write: |out, words| {
                words.word_if(
                    out.meant.deletes
                        && out.meant.delete_when.is_none()
                        && !out.said().delete_excluded,
                    "--delete",
                );
            },
        }],
        set: |given, _| {
            given.delete = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-before",
        brief: "receiver deletes before xfer, not during",
        doc: "Deletes before the transfer begins, which makes room for it. Implies `--delete`.",
        forward: &[Forward::Words {
            place: 18,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().delete_before, "--delete-before"),
        }],
        set: |given, _| {
            given.delete_before = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-during",
        brief: "receiver deletes during the transfer",
        doc: "Deletes in each directory as the transfer comes to it. Implies `--delete`, and is what it does by \
              default.",
        forward: &[Forward::Words {
            place: 18,
            to: Peer::Receiver,
            write: |out, words| {
                words.word_if(
                    out.said().delete_during == Some(During::AtOnce),
                    "--delete-during",
                );
            },
        }],
        set: |given, _| {
            given.delete_during = Some(During::AtOnce);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-delay",
        brief: "find deletions during, delete after",
        doc: "Looks for what is to be deleted during the transfer, and deletes after it. Implies `--delete`.",
        forward: &[Forward::Words {
            place: 18,
            to: Peer::Receiver,
            write: |out, words| {
                words.word_if(
                    out.said().delete_during == Some(During::Delayed),
                    "--delete-delay",
                );
            },
        }],
        set: |given, _| {
            given.delete_during = Some(During::Delayed);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-after",
        brief: "receiver deletes after transfer, not during",
        doc: "Deletes after the transfer, by rules as they are then. Implies `--delete`.",
        forward: &[Forward::Words {
            place: 18,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().delete_after, "--delete-after"),
        }],
        set: |given, _| {
            given.delete_after = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-excluded",
        brief: "also delete excluded files from dest directories",
        doc: "Deletes also what filter rules exclude. Implies `--delete`.",
        forward: &[Forward::Words {
            place: 19,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().delete_excluded, "--delete-excluded"),
        }],
        set: |given, _| {
            given.delete_excluded = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "ignore-missing-args",
        brief: "ignore missing source arguments without error",
        doc: "An operand that does not exist is no error.",
        forward: &[Forward::Words {
            place: 27,
            to: Peer::Sender,
            write: |out, words| {
                words.word_if(
                    out.said().ignore_missing_args && !out.said().delete_missing_args,
                    "--ignore-missing-args",
                );
            },
        }],
        set: |given, _| {
            given.ignore_missing_args = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "delete-missing-args",
        brief: "delete missing source arguments from destination",
        doc: "An operand that does not exist is deleted at the destination.",
        forward: &[Forward::Words {
            place: 27,
            to: Peer::Any,
            write: |out, words| {
                words.word_if(out.said().delete_missing_args, "--delete-missing-args");
            },
        }],
        set: |given, _| {
            given.delete_missing_args = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "ignore-errors",
        no: &["no-ignore-errors"],
        brief: "delete even if there are I/O errors",
        doc: "Deletes even if reading the source failed in places.",
        forward: &[Forward::Words {
            place: 31,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().ignore_errors, "--ignore-errors"),
        }],
        set: |given, said| {
            given.ignore_errors = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "force",
        no: &["no-force"],
        brief: "force deletion of directories even if not empty",
        doc: "Removes a directory with all that is in it where a file is to take its place, also without `--delete`.",
        forward: &[Forward::Words {
            place: 20,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().force, "--force"),
        }],
        set: |given, said| {
            given.force = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "max-delete",
        takes: Takes::Number("NUM"),
        brief: "don't delete more than NUM files",
        doc: "Deletes no more than `NUM` names. What is left over is told, and the exit code is 25. 0 only warns of \
              what would be deleted.",
        forward: &[Forward::Words {
            place: 15,
            to: Peer::Receiver,
            write: |out, words| {
                if let Some(max) = out.said().max_delete {
                    let max = if max > 0 { max } else { -1 };
                    words.word(format!("--max-delete={max}"));
                }
            },
        }],
        set: |given, said| {
            given.max_delete = Some(said.number());
            Ok(())
        },
        ..ROW
    },
];
