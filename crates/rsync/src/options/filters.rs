//! Which names are left out, and where names come from.

use crate::given::RuleSource;
use crate::table::{Forward, Opt, Peer, ROW, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "cvs-exclude",
        short: Some(b'C'),
        brief: "auto-ignore files in the same way CVS does",
        doc: "Leaves out what version control systems and compilers leave behind, what `$HOME/.cvsignore` and \
              `CVSIGNORE` name, and what a `.cvsignore` in each directory names.",
        forward: &[Forward::Letter {
            place: 27,
            to: Peer::Any,
            times: |out| u32::from(out.said().cvs_exclude),
        }],
        set: |given, _| {
            given.cvs_exclude = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "filter",
        short: Some(b'f'),
        takes: Takes::Text("RULE"),
        brief: "add a file-filtering RULE",
        doc: "Adds a rule of the filter language; see FILTER RULES.",
        set: |given, said| {
            given.add_rules(said.text().map(RuleSource::Filter));
            Ok(())
        },
        ..ROW
    },
    Opt {
        short: Some(b'F'),
        brief: "same as --filter='dir-merge /.rsync-filter'",
        also: &[("", "repeated: --filter='- .rsync-filter'")],
        doc: "Adds the rule `dir-merge /.rsync-filter`: a file of this name holds rules for its directory and those \
              below. Given twice, these files themselves are left out.",
        set: |given, _| {
            given.per_dir_filters += 1;
            let rule: &[u8] = match given.per_dir_filters {
                1 => b": /.rsync-filter",
                2 => b"- .rsync-filter",
                _ => return Ok(()),
            };
            given.add_rules(Some(RuleSource::Filter(rule.to_vec())));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "exclude",
        takes: Takes::Text("PATTERN"),
        brief: "exclude files matching PATTERN",
        doc: "Leaves out what matches `PATTERN`.",
        set: |given, said| {
            given.add_rules(said.text().map(RuleSource::Exclude));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "exclude-from",
        takes: Takes::Text("FILE"),
        brief: "read exclude patterns from FILE",
        doc: "Reads patterns to leave out from `FILE`, one a line; `-` is standard input.",
        set: |given, said| {
            given.add_rules(said.text().map(RuleSource::ExcludeFrom));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "include",
        takes: Takes::Text("PATTERN"),
        brief: "don't exclude files matching PATTERN",
        doc: "Does not leave out what matches `PATTERN`, whatever later rules say.",
        set: |given, said| {
            given.add_rules(said.text().map(RuleSource::Include));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "include-from",
        takes: Takes::Text("FILE"),
        brief: "read include patterns from FILE",
        doc: "Reads patterns not to leave out from `FILE`, one a line; `-` is standard input.",
        set: |given, said| {
            given.add_rules(said.text().map(RuleSource::IncludeFrom));
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "files-from",
        takes: Takes::Text("FILE"),
        brief: "read list of source-file names from FILE",
        doc: "Copies the names that `FILE` lists, relative to the one source operand; `-` is standard input, and \
              `:FILE` a file of the other machine. Implies `--relative` and `--dirs`, and takes recursion out of `-a`.",
        forward: &[Forward::Words {
            place: 44,
            to: Peer::Any,
            write: |out, words| out.files_from(words),
        }],
        set: |given, said| {
            given.files_from = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "from0",
        short: Some(b'0'),
        no: &["no-from0"],
        brief: "all *-from/filter files are delimited by 0s",
        doc: "Names and patterns in files of the options above end with a NUL instead of a line end.",
        refusable: false,
        set: |given, said| {
            given.from0 = said.on();
            Ok(())
        },
        ..ROW
    },
];
