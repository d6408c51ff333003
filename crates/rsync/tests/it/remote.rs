//! Sessions over a remote shell: whichever end is ours, what is said, what is left behind and the exit codes are those of
//! two installed programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use testkit::{Aspects, Original, REMOTE_SHELL, Tree, compare, script};

use crate::scenarios::example;

/// One command line, in a directory that `tree` describes.
pub(crate) struct Scenario<'a> {
    pub(crate) tree: &'a str,
    /// Files with a content of their own.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    pub(crate) words: &'a [&'a str],
}

/// What a command came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

/// Compares one command line, in a directory that `tree` describes.
#[track_caller]
fn check(tree: &str, words: &[&str]) {
    Scenario {
        tree,
        files: &[],
        words,
    }
    .check();
}

impl Scenario<'_> {
    /// Runs the scenario with two installed programs, then with ours in the place of either and of both.
    pub(crate) fn check(&self) {
        let (theirs, ours) = (Original::Rsync.require(), example());
        let expected = self.place();
        let oracle = run(expected.path(), &theirs, &theirs, self.words);
        forget_time(expected.path());
        for (client, server) in [(&ours, &theirs), (&theirs, &ours), (&ours, &ours)] {
            let place = self.place();
            let said = run(place.path(), client, server, self.words);
            let pair = format!("{} with {}", client.display(), server.display());
            assert_eq!(said, oracle, "{:?}: {pair}", self.words);
            let aspects = Aspects::exact()
                .without_link_times()
                .without_directory_times()
                .ignoring(|path| path == Path::new("shell"));
            forget_time(place.path());
            if let Err(differences) = compare(expected.path(), place.path(), &aspects) {
                panic!("{:?}: {pair}: {:#?}", self.words, differences.lines());
            }
        }
    }

    fn place(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        script(dir.path().join("shell"), REMOTE_SHELL);
        Tree::build(dir.path(), self.tree);
        for (name, content) in self.files {
            fs::write(dir.path().join(name), content).expect(name);
            let file = fs::File::options().write(true).open(dir.path().join(name));
            file.and_then(|file| file.set_modified(UNIX_EPOCH))
                .expect(name);
        }
        dir
    }
}

/// Runs `client` in `place`; a remote `server` is reached through the shell there.
pub(crate) fn run(place: &Path, client: &Path, server: &Path, words: &[&str]) -> Said {
    let output = Command::new(client)
        .args(["-e", "./shell"])
        .arg(format!("--rsync-path={}", server.display()))
        .args(words)
        .current_dir(place)
        .env("HOME", place)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("RSYNC_RSH")
        .output()
        .expect("a client");
    let names = [place.to_path_buf(), place.canonicalize().expect("a path")];
    Said {
        code: output.status.code(),
        out: lines(&output.stdout, &names),
        err: lines(&output.stderr, &names),
    }
}

/// Lines without what differs from run to run, in an order that does not depend on timing.
fn lines(text: &[u8], places: &[PathBuf]) -> Vec<String> {
    let text = String::from_utf8_lossy(text).into_owned();
    let text = places.iter().fold(text, |text, place| {
        text.replace(&place.display().to_string(), "PLACE")
    });
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("sent ") && !line.starts_with("total size is"))
        // Which end notices first that the other has left is a matter of timing.
        .filter(|line| !line.ends_with("write error: Broken pipe (32)"))
        .map(|line| match line.split_once(") at ") {
            Some((start, _)) if line.contains("(code ") => format!("{start})"),
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines
}

/// The place itself changes its time with each run.
fn forget_time(place: &Path) {
    let dir = fs::File::open(place).expect("the place");
    dir.set_modified(UNIX_EPOCH).expect("its time");
}

#[test]
fn both_ends_know_why_one_leaves() {
    let tree = "f from/a 3 mtime=1\nf from/b 3 mtime=1\nd from mtime=1\nf to 3 mtime=1";
    for protocol in ["--protocol=32", "--protocol=31"] {
        for words in [
            &["-a", protocol, "from/", "host:to"][..],
            &["-a", protocol, "host:from/", "to"],
            &["-a", protocol, "from/", "host:none/here/"],
            &["-a", protocol, "host:from/", "none/here/"],
        ] {
            check(tree, words);
        }
    }
}

/// Old protocols have no word for it: whoever leaves stays a moment, so that a client that still writes its list does not
/// find a broken connection (code 10) but, when it listens again, a closed one (code 12).
#[test]
fn old_clients_have_time_to_listen() {
    let (theirs, ours) = (Original::Rsync.require(), example());
    let scenario = Scenario {
        tree: "f from/a 3 mtime=1\nf from/d/b 3 mtime=1",
        files: &[],
        words: &["-a", "--usermap=x", "--protocol=30", "from/", "host:to/"],
    };
    let said = |server: &Path| {
        let place = scenario.place();
        run(place.path(), &theirs, server, scenario.words)
    };
    // The moment is short: on a busy machine it may pass unused.
    let is_same = (0..10).any(|_| said(&ours) == said(&theirs));
    assert!(is_same, "{:?}", said(&ours));
}

#[test]
fn errors_told_to_the_client_come_before_the_end() {
    let tree = "f from/a 3 mtime=1\nf from/b 3 mtime=1\nd from mtime=1\nf to 3 mtime=1";
    let words = ["-a", "--stderr=client", "from/", "host:to"];
    check(tree, &words);
}

/// A directory that could not be listed whole stops the deletions of those after it. Those before it have had theirs, unless
/// the client heard of it together with the first list.
#[test]
fn errors_below_stop_deletions_from_there_on() {
    let tree = "
        f from/a 3 mtime=1
        f from/d/b 3 mtime=1
        l from/d/none -> nowhere
        f from/e/c 3 mtime=1
        d from/d mtime=1
        d from/e mtime=1
        d from mtime=1
        f to/gone 3 mtime=1
        f to/d/gone 3 mtime=1
        f to/e/gone 3 mtime=1
    ";
    for protocol in [
        "--protocol=32",
        "--protocol=31",
        "--protocol=30",
        "--protocol=29",
    ] {
        for words in [
            &["-aiL", "--delete", protocol, "host:from/", "to"][..],
            &["-aiLH", "--delete", protocol, "host:from/", "to"],
            &["-aiL", "--delete-delay", protocol, "host:from/", "to"],
        ] {
            check(tree, words);
        }
    }
}

/// A client that hears of the end ends its remote shell, and with that all that the server could still say.
#[test]
fn a_server_says_why_it_leaves_before_the_client_hears_that_it_does() {
    check(
        "f from/a 3 mtime=1\nd from mtime=1\nd to",
        &["-a", "--temp-dir=/none", "from/", "host:to/"],
    );
}

/// Nobody can say what such a file stands for.
#[test]
fn a_note_of_fake_super_that_makes_no_sense_ends_the_run() {
    let noted = "xattr=user.rsync.%stat:junk";
    let at_source = format!("f from/a 3 mtime=1\nf from/b 3 mtime=1 {noted}\nd to");
    let at_destination = format!("f from/b 3 mtime=1\nf to/b 3 mtime=1 {noted}");
    for (tree, words) in [
        (&at_source, &["-a", "--fake-super", "from/", "to/"][..]),
        (&at_destination, &["-a", "--fake-super", "from/", "to/"]),
        (
            &at_destination,
            &["-a", "--fake-super", "host:from/", "to/"],
        ),
        (
            &at_destination,
            &["-a", "-M--fake-super", "from/", "host:to/"],
        ),
    ] {
        let scenario = Scenario {
            tree,
            files: &[],
            words,
        };
        let said = |client: &Path, server: &Path| {
            let place = scenario.place();
            let said = run(place.path(), client, server, words);
            let is_note = |line: &String| line.starts_with("Corrupt ");
            (said.code, said.err.into_iter().find(is_note))
        };
        let (theirs, ours) = (Original::Rsync.require(), example());
        let expected = said(&theirs, &theirs);
        assert!(expected.1.is_some(), "{words:?}: {expected:?}");
        assert_eq!(said(&ours, &theirs), expected, "{words:?}, our client");
        assert_eq!(said(&theirs, &ours), expected, "{words:?}, our server");
    }
}

/// What the other end's protocol cannot say is refused with a code of our own, whatever becomes of the remote shell then.
#[test]
fn what_an_old_protocol_lacks_is_refused() {
    let (theirs, ours) = (Original::Rsync.require(), example());
    let lacks = "requires protocol 29 or higher (negotiated 28).";
    for (words, told) in [
        (&["-y"][..], format!("--fuzzy {lacks}")),
        (&["-m"], format!("--prune-empty-dirs {lacks}")),
        (
            &["--inplace", "--copy-dest=/"],
            format!("--copy-dest with --inplace {lacks}"),
        ),
        (
            &["--link-dest=/", "--link-dest=/"],
            format!("Using more than one --link-dest option {lacks}"),
        ),
        (
            &["--filter=:p .rules"],
            "filter rules are too modern for remote rsync.".to_owned(),
        ),
    ] {
        for (client, server) in [(&ours, &theirs), (&theirs, &ours), (&ours, &ours)] {
            for operands in [["from/", "host:to/"], ["host:from/", "to/"]] {
                let place = tempfile::tempdir().expect("a directory");
                let tree = Tree::build(place.path(), "f from/a 3\nd to");
                script(place.path().join("shell"), REMOTE_SHELL);
                let words = [words, &["-r", "--protocol=28"], &operands].concat();
                let said = run(place.path(), client, server, &words);
                assert_eq!(
                    said.code,
                    Some(2),
                    "{client:?} {server:?} {words:?}: {said:?}"
                );
                assert!(said.err.contains(&told), "{words:?}: {said:?}");
                assert!(!tree.exists("to/a"), "{words:?}");
            }
        }
    }
}

/// Threads compress a file that is long enough, in a frame of its own between those of its neighbours.
#[test]
fn a_long_file_among_short_ones_is_compressed() {
    let long: Vec<u8> = (0..17 << 20_u32)
        .map(|at: u32| (at.wrapping_mul(at >> 7) >> 13) as u8 & 0x1f)
        .collect();
    let words = [
        "-az",
        "--zc=zstd",
        "--compress-threads=2",
        "from/",
        "host:to/",
    ];
    Scenario {
        tree: "f from/a 3000 mtime=1\nf from/z 3000 mtime=1\nf from/long mtime=1\nd from mtime=1\nd to",
        files: &[("from/long", &long)],
        words: &words,
    }
    .check();
}

/// Whole paths and lists of names, in which the lists of directories depend on what was named.
#[test]
fn named_paths_and_lists_of_names_are_the_same() {
    let tree = "
        f from/a 1200 mtime=1600000001
        f from/sub/b 30 mtime=1600000002
        f from/sub/deep/c 60 mtime=1600000003
        f from/sub/deep/er/d 7 mtime=1600000004
        l from/ln -> a
        d from/sub/deep/er mtime=1600000005
        d from/sub/deep mtime=1600000006
        d from/sub mtime=1600000007
        d from mtime=1600000008
        f to/gone 4 mtime=1500000001
        f to/sub/gone 4 mtime=1500000001
        d to/sub mtime=1500000002
        d to mtime=1500000003
        f list 0
        f zeros 0
    ";
    let lists: &[(&str, &[u8])] = &[
        (
            "list",
            b"# no comment to others\na\nsub/deep/er/\r\n./sub/b\n../from/ln",
        ),
        ("zeros", b"sub/deep/c\0ln\0nothere\0sub\0"),
    ];
    let lines: &[&[&str]] = &[
        &["-aiR", "from/./sub/deep/er", "host:to"],
        &[
            "-aiR",
            "from/./sub/deep/er/d",
            "from/./a",
            "from/sub",
            "host:to",
        ],
        &["-aiR", "--delete", "from/./sub/deep", "host:to"],
        &["-aiR", "host:from/./sub/deep/er", ":from/./sub", "to"],
        &["-aiR", "--delete", "host:./from/sub/deep", "to"],
        &["-ai", "--files-from=list", "from", "host:to"],
        &["-air", "--files-from=list", "from", "host:to"],
        &["-ai", "--files-from=:list", "from", "host:to"],
        &["-ai", "--files-from=list", "host:from", "to"],
        &["-air", "--delete", "--files-from=list", "host:from", "to"],
        &["-ai", "--files-from=:list", "host:from", "to"],
        &["-ai0", "--files-from=zeros", "from", "host:to"],
        &["-ai0r", "--files-from=zeros", "host:from", "to"],
        &["-ai0", "--files-from=:zeros", "from", "host:to"],
    ];
    for protocol in ["--protocol=32", "--protocol=30", "--protocol=29"] {
        for words in lines {
            let words: Vec<&str> = [protocol].iter().chain(*words).copied().collect();
            Scenario {
                tree,
                files: lists,
                words: &words,
            }
            .check();
        }
    }
}

/// Names in the charset of each end.
#[test]
fn converted_names_are_the_same() {
    let tree = r"
        f from/\xc3\xa4\xc3\xb6 5 mtime=1600000001
        f from/b\xc3\xbc/z 5 mtime=1600000001
        f from/b\xc3\xbc/\xc3\xbf 5 mtime=1600000001
        f from/bz 5 mtime=1600000001
        f from/b\xc3\xbc/a\xc3\xa4/e 5 mtime=1600000001
        l from/l -> b\xc3\xbc/z
        d from/b\xc3\xbc/a\xc3\xa4 mtime=1600000002
        d from/b\xc3\xbc mtime=1600000003
        d from mtime=1600000004
        f latin/\xe4\xf6 5 mtime=1600000001
        f latin/plain 5 mtime=1600000001
        f latin/d\xfc/\xff 5 mtime=1600000001
        d latin/d\xfc mtime=1600000001
        d latin mtime=1600000001
        f to/\xe4\xf6 4 mtime=1500000001
        f to/b\xfc/gone\xfc 4 mtime=1500000001
        d to/b\xfc mtime=1500000001
        d to mtime=1500000001
    ";
    for protocol in ["--protocol=32", "--protocol=30"] {
        for words in [
            &["-ai", "--iconv=utf8,latin1", "from/", "host:to"][..],
            &["-ai", "--iconv=.,latin1", "--delete", "from/", "host:to"],
            &[
                "-ai",
                "--no-i-r",
                "--iconv=.,iso-8859-1",
                "--delete",
                "from/",
                "host:to",
            ],
            &["-ai", "--iconv=utf8,latin1", "host:latin/", "to"],
            &["-ai", "--iconv=latin1,utf8", "host:from/", "to"],
            &[
                "-aiH",
                "--no-i-r",
                "--iconv=latin1,utf8",
                "--delete",
                "host:from/",
                "to",
            ],
        ] {
            let words: Vec<&str> = [protocol].iter().chain(words).copied().collect();
            check(tree, &words);
        }
    }
}
