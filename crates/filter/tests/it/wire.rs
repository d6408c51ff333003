//! The rules that travel: the same texts as the original's, which a script in place of the remote shell records.

// The recordings are this test's own files.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use driftless_filter::{Dialect, Error, NoMergeFiles, Options, Rules, Side};

/// Options, and the rules that a client sends when it pushes with --delete and when it pulls, at protocol 30 or later.
const CASES: [(&[&str], &[&str], &[&str]); 16] = [
    (&["--exclude=*.o", "--include=*.c"], &["- *.o", "+ *.c"], &["- *.o", "+ *.c"]),
    (&["--filter=P keep", "--filter=H hid", "--filter=: .rsf"], &["-r keep", ": .rsf"], &["-s hid", ": .rsf"]),
    (&["--filter=R keep", "--filter=S hid"], &["+r keep"], &["+s hid"]),
    (&["--filter=-s a", "--filter=-r b", "--filter=-sr c"], &["-r b", "-sr c"], &["-s a", "-sr c"]),
    (&["--exclude=d/", "--exclude=/e/"], &["- d/", "- /e/"], &["- d/", "- /e/"]),
    (&["--filter=-p foo"], &["-p foo"], &["-p foo"]),
    (&["--filter=+! bar/", "--filter=exclude,x user.*"], &["+! bar/", "-x user.*"], &["+! bar/", "-x user.*"]),
    (&["--filter=-/! /a/b"], &["-/! /a/b"], &["-/! /a/b"]),
    (&["--filter=:e .x"], &["- .x", ": .x"], &["- .x", ": .x"]),
    (&["--filter=:C"], &[":C .cvsignore"], &[":C .cvsignore"]),
    (&["--filter=:nw- .a", "--filter=:s/+p .b"], &[":nw- .a"], &[":nw- .a", ":/+sp .b"]),
    (&["--exclude=gone", "--filter=!", "--exclude=kept"], &["- kept"], &["- kept"]),
    (
        &["--delete-excluded", "--exclude=*.o", "--filter=P k", "--filter=: .r", "--filter=:- .q"],
        &["-r k", ": .r"],
        &["-s *.o", ": .r", ":- .q"],
    ),
    (&["--filter=-C"], &CVS_NAMES, &["-C "]),
    (&["--filter=-pC", "--filter=+/C"], &[], &["-Cp ", "+/C "]),
    (&["--cvs-exclude"], &[], &[]),
];

const CVS_NAMES: [&str; 40] = [
    "-p RCS", "-p SCCS", "-p CVS", "-p CVS.adm", "-p RCSLOG", "-p cvslog.*", "-p tags", "-p TAGS", "-p .make.state",
    "-p .nse_depinfo", "-p *~", "-p #*", "-p .#*", "-p ,*", "-p _$*", "-p *$", "-p *.old", "-p *.bak", "-p *.BAK",
    "-p *.orig", "-p *.rej", "-p .del-*", "-p *.a", "-p *.olb", "-p *.o", "-p *.obj", "-p *.so", "-p *.exe", "-p *.Z",
    "-p *.elc", "-p *.ln", "-p core", "-p .svn/", "-p .git/", "-p .hg/", "-p .bzr/", "", "", "", "",
];
