//! Local copies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use driftless_transfer::{
    AlternateUse, Alternates, Append, Backup, DeleteWhen, Event, Options, local_copy,
};
use testkit::Tree;
use wire::{Protocol, Side};

use super::bench::Scenario;
use super::cases::{DESTINATION, OF_A_RECEIVER, OF_BOTH_ENDS, SOURCE};

#[test]
fn as_over_a_link() {
    for case in OF_BOTH_ENDS.iter().chain(OF_A_RECEIVER) {
        case.run(Side::Client, copied);
    }
}

#[test]
fn what_is_kept() {
    check("recursion alone", SOURCE, DESTINATION, "-r", &|options| {
        options.recursive = true;
    });
    check("times", SOURCE, DESTINATION, "-rt", &|options| {
        options.recursive = true;
        options.times = true;
    });
    let words = "-rlp";
    check("no times", SOURCE, DESTINATION, words, &|options| {
        options.recursive = true;
        options.links = true;
        options.perms = true;
    });
    check("no dir times", SOURCE, DESTINATION, "-aO", &|options| {
        options.omit_dir_times = true;
    });
    let links = "f a 10 mtime=5\nh b a\nh d/c a\np q\nh r q";
    check("no links", links, "", "-a", &|_| {});
}

/// The sending half takes a prefix away; the receiving half adds none, whichever way the copy goes.
#[test]
fn munged_links_are_disarmed_by_the_sending_half() {
    let source = "l munged -> /rsyncd-munged/x\nl plain -> ../y";
    for (words, protocol) in [
        ("--protocol=32", 32),
        ("--protocol=31", 31),
        ("--protocol=29", 29),
    ] {
        let words = format!("-a --munge-links {words}");
        check("munged", source, "", &words, &|options| {
            options.munge_links = true;
            options.newest = Protocol::new(protocol).unwrap();
        });
    }
}

#[test]
fn deletions_are_rsyncs() {
    let check = |name, words, set: &dyn Fn(&mut Options)| {
        check(name, SOURCE, DESTINATION, words, &|options| {
            options.delete = Some(DeleteWhen::During);
            set(options);
        });
    };
    check("a limit", "-a --delete --max-delete=2", &|options| {
        options.max_delete = Some(2);
    });
    let words = "-a --delete --exclude=*.o --exclude=h";
    check("protected names", words, &|options| {
        options.rules.exclude(b"*.o").unwrap();
        options.rules.exclude(b"h").unwrap();
    });
    check("a dry run", "-an --delete", &|options| {
        options.dry_run = true;
    });
    let words = "-ab --delete --backup-dir=../to/kept --suffix=.1";
    check("backups", words, &|options| {
        options.backup = Some(Backup {
            dir: Some("../to/kept".into()),
            suffix: b".1".to_vec(),
        });
    });
}

#[test]
fn deletion_of_deep_trees() {
    let deep = "f gone/f\nf gone/g/h\nf gone/g/k/h\nf gone/g/k/z";
    for words in [
        "-a --delete --exclude=h",
        "-an --delete --exclude=h",
        "-a --delete --max-delete=1 --exclude=h",
    ] {
        check("deep", "f a mtime=4", deep, words, &|options| {
            options.delete = Some(DeleteWhen::During);
            options.dry_run = words.starts_with("-an");
            options.max_delete = words.contains("max").then_some(1);
            options.rules.exclude(b"h").unwrap();
        });
    }
}

#[test]
fn what_is_left_alone() {
    let source = "f new 10 mtime=50\nf old 10 mtime=20\nf big 5000 mtime=9\nf d/f 3 mtime=7";
    let destination = "f old 10 mtime=30\nf big 1 mtime=1";
    check("newer", source, destination, "-au", &|options| {
        options.update = true;
    });
    check(
        "existing",
        source,
        destination,
        "-a --existing",
        &|options| {
            options.existing_only = true;
        },
    );
    check(
        "not existing",
        source,
        destination,
        "-a --ignore-existing",
        &|options| {
            options.ignore_existing = true;
        },
    );
    check(
        "sizes",
        source,
        destination,
        "-a --max-size=100 --min-size=5",
        &|options| {
            options.max_size = Some(100);
            options.min_size = Some(5);
        },
    );
    check(
        "size only",
        source,
        destination,
        "-a --size-only",
        &|options| {
            options.size_only = true;
        },
    );
    check("nothing", source, destination, "-aI", &|options| {
        options.ignore_times = true;
    });
    check(
        "append",
        "f a 100 mtime=9\nf b 10 mtime=9",
        "f a 100 mtime=1\nf b 20 mtime=9",
        "-a --append",
        &|options| {
            options.append = Some(Append::Blindly);
            options.inplace = true;
        },
    );
}

#[test]
fn alternate_directories_spare_copies() {
    let case = OF_A_RECEIVER.iter().find(|case| case.name == "link-dest");
    for (option, use_as) in [
        ("--compare-dest", AlternateUse::Compare),
        ("--copy-dest", AlternateUse::Copy),
    ] {
        let scenario = Scenario {
            name: option,
            words: &format!("-aO --omit-link-times {option}=old"),
            set: &|options| {
                options.omit_dir_times = true;
                options.omit_link_times = true;
                options.alternates = Some(Alternates {
                    use_as,
                    dirs: vec!["old".into()],
                });
            },
            ..*case.expect("a case of that name")
        };
        scenario.run(Side::Client, copied);
    }
}

/// Names of one file that an alternate has are not there to be linked to.
#[test]
fn hard_links_of_what_an_alternate_has() {
    check(
        "links in an alternate",
        "f a 10 mtime=5\nh b a\nh c a",
        "f old/a 10 mtime=5\nh old/b old/a\nh old/c old/a",
        "-aHO --compare-dest=old",
        &|options| {
            options.hard_links = true;
            options.omit_dir_times = true;
            options.alternates = Some(Alternates {
                use_as: AlternateUse::Compare,
                dirs: vec!["old".into()],
            });
        },
    );
}

/// Reading a file for its checksum leaves no trace where access times are kept.
#[test]
fn access_times_of_files_that_are_compared_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let read_last = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    let paths = ["from", "to"].map(|name| {
        let tree = Tree::build(dir.path().join(name), "f a 10 mtime=5000");
        let path = tree.path("a");
        let times = std::fs::FileTimes::new().set_accessed(read_last);
        let file = std::fs::File::options().write(true).open(&path);
        file.unwrap().set_times(times).unwrap();
        path
    });
    let mut options = Options::archive(Side::Client);
    options.checksum = true;
    options.atimes = true;
    let sources = [dir.path().join("from/a").into_os_string()];
    let code = copied(options, &sources, &dir.path().join("to/"), &|_| {});
    assert_eq!(code, 0);
    let found = std::fs::metadata(&paths[1]).unwrap().accessed().unwrap();
    assert_eq!(found, read_last);
}

#[test]
fn operands_lead_where_rsync_leads() {
    for operands in [
        &["from", "to"][..],
        &["from/", "to/"],
        &["from/d", "from/a", "to"],
        &["from/d/", "from/d/e/", "to"],
        &["from/a", "to/renamed"],
        &["from/a", "to"],
        &["from/d", "to/new"],
        &["from/d/e/", "to/new/"],
    ] {
        let scenario = Scenario {
            name: &operands.join(" "),
            operands,
            ..OF_BOTH_ENDS[0]
        };
        scenario.run(Side::Client, copied);
    }
}

#[test]
fn other_rules_are_rsyncs() {
    check(
        "changed modes",
        SOURCE,
        DESTINATION,
        "-a --chmod=Dg+s,Fgo=r",
        &|options| {
            options.chmod.add(b"Dg+s,Fgo=r").unwrap();
        },
    );
    check("followed links", SOURCE, DESTINATION, "-aL", &|options| {
        options.copy_links = true;
    });
    check(
        "pruned",
        SOURCE,
        DESTINATION,
        "-am --exclude=c --exclude=same",
        &|options| {
            options.prune_empty_dirs = true;
            options.rules.exclude(b"c").unwrap();
            options.rules.exclude(b"same").unwrap();
        },
    );
}

#[test]
fn rules_that_an_old_protocol_cannot_express_are_refused() {
    let scenario = tempfile::tempdir().unwrap();
    let mut options = Options::new(Side::Client);
    options.newest = Protocol::new(29).unwrap();
    let mut files = filter::NoMergeFiles;
    options.rules.filter(b"-p *.o", &mut files).unwrap();
    let destination = scenario.path().join("to");
    let source = scenario.path().join("from").into_os_string();
    let refusal = local_copy(options, &[source], Some(&destination), &|_: Event<'_>| {});
    assert_eq!(refusal.unwrap_err().exit_code(), 2);
    assert!(!destination.exists());
}

/// More than the generator waits for before it begins, so that lists come while files are copied beside each other.
#[test]
fn trees_larger_than_the_look_ahead_are_the_same() {
    let (mut source, mut destination) = (String::new(), String::new());
    for at in 0..1_100 {
        let (dir, size) = (at / 40, at * 37 % 3_000);
        let line = format!("f d{dir:02}/e/f{at:04} {size} mtime={}\n", 1_000 + at);
        source.push_str(&line);
        match at % 7 {
            0 => destination.push_str(&line.replace("mtime=", "mtime=9")),
            1..=3 => destination.push_str(&line),
            _ => {}
        }
        if at % 40 == 0 {
            source.push_str(&format!("f d{dir:02}/long 300000 mtime=77\n"));
            destination.push_str(&format!("f d{dir:02}/surplus 1 mtime=77\n"));
        }
    }
    let words = "-a --delete";
    check("large tree", &source, &destination, words, &|options| {
        options.delete = Some(DeleteWhen::During);
    });
}

fn check(name: &str, source: &str, destination: &str, words: &str, set: &dyn Fn(&mut Options)) {
    let scenario = Scenario {
        name,
        source,
        destination,
        prepare: &|_| {},
        words,
        set,
        operands: &["from/", "to/"],
    };
    scenario.run(Side::Client, copied);
}

pub fn copied(
    options: Options,
    sources: &[std::ffi::OsString],
    destination: &std::path::Path,
    events: &(dyn Fn(Event<'_>) + Sync),
) -> i32 {
    match local_copy(options, sources, Some(destination), &|event: Event<'_>| {
        events(event);
    }) {
        Ok(outcome) => i32::from(outcome.exit_code()),
        Err(error) => i32::from(error.exit_code()),
    }
}
