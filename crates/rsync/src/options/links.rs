//! Symbolic and hard links.

use crate::table::{Forward, Opt, Peer, ROW, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "links",
        short: Some(b'l'),
        no: &["no-links", "no-l"],
        brief: "copy symlinks as symlinks",
        doc: "Copies symbolic links as links. Without this and the following options they are skipped, and that is \
              told.",
        forward: &[Forward::Letter {
            place: 7,
            to: Peer::Any,
            times: |out| u32::from(out.said().links),
        }],
        set: |given, said| {
            given.links = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "copy-links",
        short: Some(b'L'),
        brief: "transform symlink into referent file/directory",
        doc: "Copies what a symbolic link leads to in its place. A link that leads nowhere is an error.",
        forward: &[Forward::Letter {
            place: 9,
            to: Peer::Sender,
            times: |out| u32::from(out.said().copy_links),
        }],
        set: |given, _| {
            given.copy_links = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "copy-unsafe-links",
        brief: "only \"unsafe\" symlinks are transformed",
        doc: "Copies what a symbolic link leads to where it leads out of the copied tree, and other links as links.",
        forward: &[Forward::Words {
            place: 32,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().copy_unsafe_links, "--copy-unsafe-links"),
        }],
        set: |given, _| {
            given.copy_unsafe_links = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "safe-links",
        brief: "ignore symlinks that point outside the tree",
        doc: "Leaves out symbolic links that lead out of the copied tree or are absolute.",
        forward: &[Forward::Words {
            place: 33,
            to: Peer::Any,
            write: |out, words| words.word_if(out.said().safe_links, "--safe-links"),
        }],
        set: |given, _| {
            given.safe_links = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "insecure-links",
        no: &["no-insecure-links"],
        brief: "follow attacker-owned symlinks in operator paths",
        doc: "Follows symbolic links of other users in paths that an option names and in the tree. Without it, links \
              that belong to neither root nor yourself are not followed there, so that nobody who may write into a \
              directory can turn a copy against you. A daemon refuses the option.",
        set: |given, said| {
            given.insecure_links = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "confine-root",
        takes: Takes::Text("DIR"),
        brief: "refuse operator paths resolving outside DIR",
        doc: "Refuses directories that options name beside the destination, lists of names, names in them, and merge files of \
              directories, if they do not lie below `DIR` when their links are resolved. Sources and destination may be \
              elsewhere, and so may what only the operator names, such as a log file. `DIR` is absolute. For restricted \
              accounts that force a command; a daemon has its module for that.",
        set: |given, said| {
            given.confine_root = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "munge-links",
        no: &["no-munge-links"],
        brief: "munge symlinks to make them safe & unusable",
        doc: "Makes symbolic links harmless at the destination by a prefix on their target, and removes that prefix \
              when they are sent.",
        set: |given, said| {
            given.munge_links = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "copy-dirlinks",
        short: Some(b'k'),
        brief: "transform symlink to directory into referent directory",
        doc: "Copies what a symbolic link to a directory leads to in its place. Other links are not concerned.",
        forward: &[Forward::Letter {
            place: 10,
            to: Peer::Sender,
            times: |out| u32::from(out.said().copy_dirlinks),
        }],
        set: |given, _| {
            given.copy_dirlinks = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "keep-dirlinks",
        short: Some(b'K'),
        brief: "treat symlinked directory on receiver as directory",
        doc: "Takes a symbolic link to a directory at the destination for that directory, instead of replacing it.",
        forward: &[Forward::Letter {
            place: 9,
            to: Peer::Receiver,
            times: |out| u32::from(out.said().keep_dirlinks),
        }],
        set: |given, _| {
            given.keep_dirlinks = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "hard-links",
        short: Some(b'H'),
        no: &["no-hard-links", "no-H"],
        brief: "preserve hard links",
        doc: "Finds files with several names within the transfer and links them in the same way at the destination.",
        forward: &[Forward::Letter {
            place: 15,
            to: Peer::Any,
            times: |out| out.said().hard_links.min(2),
        }],
        set: |given, said| {
            said.count(&mut given.hard_links);
            Ok(())
        },
        ..ROW
    },
];
