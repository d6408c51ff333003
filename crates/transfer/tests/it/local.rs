//! Local copies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use driftless_transfer::{
    AlternateUse, Alternates, Append, Backup, DeleteWhen, Event, Options, RemoveSource, local_copy,
};
use wire::Side;

use super::bench::Scenario;

pub const SOURCE: &str = "
    f a 100 mtime=1000
    f d/b 20000 mode=0600 mtime=1001
    f d/e/c mtime=1002
    f d/e/same 10 mtime=1003
    f x.o 5 mtime=1004
    l link -> d/b
    p pipe
    d empty mode=0700 mtime=900
";

pub const DESTINATION: &str = "
    f a 50 mtime=500
    f d/e/same 10 mtime=1003
    f d/old 3 mtime=800
    f gone/f 1 mtime=700
    f gone/g/h 1 mtime=700
    f y.o 5 mtime=1004
    l link -> elsewhere
    f empty 7 mtime=600
";

#[test]
fn the_basics() {
    let archive = |options: &mut Options| *options = Options::archive(Side::Client);
    check("archive", SOURCE, "", "-a", &archive);
    check(
        "archive over an older version",
        SOURCE,
        DESTINATION,
        "-a",
        &archive,
    );
    check("recursion alone", SOURCE, DESTINATION, "-r", &|options| {
        options.recursive = true;
    });
    check("times", SOURCE, DESTINATION, "-rt", &|options| {
        options.recursive = true;
        options.times = true;
    });
    check(
        "links and permissions",
        SOURCE,
        DESTINATION,
        "-rlp",
        &|options| {
            options.recursive = true;
            options.links = true;
            options.perms = true;
        },
    );
    check("dirs", SOURCE, DESTINATION, "-d", &|options| {
        options.dirs = true;
    });
    check("dry run", SOURCE, DESTINATION, "-an", &|options| {
        archive(options);
        options.dry_run = true;
    });
    check("checksum", SOURCE, DESTINATION, "-ac", &|options| {
        archive(options);
        options.checksum = true;
    });
    check(
        "whole file in place",
        SOURCE,
        DESTINATION,
        "-a --inplace",
        &|options| {
            archive(options);
            options.inplace = true;
        },
    );
    check(
        "no directory times",
        SOURCE,
        DESTINATION,
        "-aO",
        &|options| {
            archive(options);
            options.omit_dir_times = true;
        },
    );
}

#[test]
fn deletion() {
    for (words, when) in [
        ("-a --delete-before", DeleteWhen::Before),
        ("-a --delete-during", DeleteWhen::During),
        ("-a --delete-delay", DeleteWhen::Delay),
        ("-a --delete-after", DeleteWhen::After),
    ] {
        check(words, SOURCE, DESTINATION, words, &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(when);
        });
    }
    check(
        "a limit",
        SOURCE,
        DESTINATION,
        "-a --delete --max-delete=2",
        &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(DeleteWhen::During);
            options.max_delete = Some(2);
        },
    );
    check(
        "protected names",
        SOURCE,
        DESTINATION,
        "-a --delete --exclude=*.o --exclude=h",
        &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(DeleteWhen::During);
            options.rules.exclude(b"*.o").unwrap();
            options.rules.exclude(b"h").unwrap();
        },
    );
    check(
        "a dry run",
        SOURCE,
        DESTINATION,
        "-an --delete",
        &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(DeleteWhen::During);
            options.dry_run = true;
        },
    );
    let deep = "f gone/f\nf gone/g/h\nf gone/g/k/h\nf gone/g/k/z";
    for words in [
        "-a --delete --exclude=h",
        "-an --delete --exclude=h",
        "-a --delete --max-delete=1 --exclude=h",
    ] {
        check("deep", "f a mtime=4", deep, words, &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(DeleteWhen::During);
            options.dry_run = words.starts_with("-an");
            options.max_delete = words.contains("max").then_some(1);
            options.rules.exclude(b"h").unwrap();
        });
    }
    check(
        "backups",
        SOURCE,
        DESTINATION,
        "-ab --delete --backup-dir=../to/kept --suffix=.1",
        &|options| {
            *options = Options::archive(Side::Client);
            options.delete = Some(DeleteWhen::During);
            options.backup = Some(Backup {
                dir: Some("../to/kept".into()),
                suffix: b".1".to_vec(),
            });
        },
    );
}

#[test]
fn hard_links() {
    let source = "f a 10 mtime=5\nh b a\nh d/c a\nf e 5 mtime=6\nh f e\np q\nh r q";
    let links = |options: &mut Options| {
        *options = Options::archive(Side::Client);
        options.hard_links = true;
    };
    check("new", source, "", "-aH", &links);
    check(
        "one of them is there",
        source,
        "f b 10 mtime=5\nf e 1 mtime=4\nf f 1 mtime=3",
        "-aH",
        &links,
    );
    check(
        "linked otherwise",
        source,
        "f e 10 mtime=5\nh a e\nh b e",
        "-aH",
        &links,
    );
    check("without the option", source, "", "-a", &|options| {
        *options = Options::archive(Side::Client);
    });
}

#[test]
fn what_is_left_alone() {
    let source = "f new 10 mtime=50\nf old 10 mtime=20\nf big 5000 mtime=9\nf d/f 3 mtime=7";
    let destination = "f old 10 mtime=30\nf big 1 mtime=1";
    check("newer", source, destination, "-au", &|options| {
        *options = Options::archive(Side::Client);
        options.update = true;
    });
    check(
        "existing",
        source,
        destination,
        "-a --existing",
        &|options| {
            *options = Options::archive(Side::Client);
            options.existing_only = true;
        },
    );
    check(
        "not existing",
        source,
        destination,
        "-a --ignore-existing",
        &|options| {
            *options = Options::archive(Side::Client);
            options.ignore_existing = true;
        },
    );
    check(
        "sizes",
        source,
        destination,
        "-a --max-size=100 --min-size=5",
        &|options| {
            *options = Options::archive(Side::Client);
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
            *options = Options::archive(Side::Client);
            options.size_only = true;
        },
    );
    check("nothing", source, destination, "-aI", &|options| {
        *options = Options::archive(Side::Client);
        options.ignore_times = true;
    });
    check(
        "append",
        "f a 100 mtime=9\nf b 10 mtime=9",
        "f a 100 mtime=1\nf b 20 mtime=9",
        "-a --append",
        &|options| {
            *options = Options::archive(Side::Client);
            options.append = Some(Append::Blindly);
            options.inplace = true;
        },
    );
}

#[test]
fn alternates() {
    let source =
        "f same 10 mtime=5\nf mode 10 mtime=5 mode=0600\nf d/other 20 mtime=6\nl link -> x";
    // A directory beside the destination would not be in the comparison; one in it is.
    let destination = "f old/same 10 mtime=5\nf old/mode 10 mtime=5 mode=0644\nf old/d/other 1 mtime=6\nl old/link -> x";
    for (option, use_as) in [
        ("--compare-dest", AlternateUse::Compare),
        ("--copy-dest", AlternateUse::Copy),
        ("--link-dest", AlternateUse::Link),
    ] {
        let words = format!("-aO --omit-link-times {option}=old");
        check(option, source, destination, &words, &|options| {
            *options = Options::archive(Side::Client);
            options.omit_dir_times = true;
            options.omit_link_times = true;
            options.alternates = Some(Alternates {
                use_as,
                dirs: vec!["old".into()],
            });
        });
    }
}

#[test]
fn operands() {
    let archive = |options: &mut Options| *options = Options::archive(Side::Client);
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
            prepare: &|_| {},
            source: SOURCE,
            destination: DESTINATION,
            words: "-a",
            options: &archive,
            operands,
        };
        scenario.run(&operands.join(" "), copied);
    }
}

#[test]
fn other_rules() {
    check("backups beside", SOURCE, DESTINATION, "-ab", &|options| {
        *options = Options::archive(Side::Client);
        options.backup = Some(Backup {
            dir: None,
            suffix: b"~".to_vec(),
        });
    });
    check(
        "delayed",
        SOURCE,
        DESTINATION,
        "-a --delay-updates",
        &|options| {
            *options = Options::archive(Side::Client);
            options.delay_updates = true;
            options.partial = true;
            options.partial_dir = Some(".~tmp~".into());
        },
    );
    check(
        "moved",
        SOURCE,
        DESTINATION,
        "-a --remove-source-files",
        &|options| {
            *options = Options::archive(Side::Client);
            options.remove_source = RemoveSource::All;
        },
    );
    check(
        "changed modes",
        SOURCE,
        DESTINATION,
        "-a --chmod=Dg+s,Fgo=r",
        &|options| {
            *options = Options::archive(Side::Client);
            options.chmod.add(b"Dg+s,Fgo=r").unwrap();
        },
    );
    check("followed links", SOURCE, DESTINATION, "-aL", &|options| {
        *options = Options::archive(Side::Client);
        options.copy_links = true;
    });
    check(
        "pruned",
        SOURCE,
        DESTINATION,
        "-am --exclude=c --exclude=same",
        &|options| {
            *options = Options::archive(Side::Client);
            options.prune_empty_dirs = true;
            options.rules.exclude(b"c").unwrap();
            options.rules.exclude(b"same").unwrap();
        },
    );
    check("sparse", "f a 300000 mtime=4\nf b", "", "-aS", &|options| {
        *options = Options::archive(Side::Client);
        options.sparse = true;
    });
}

/// More than the generator waits for before it begins, so that lists come while files are copied beside each other.
#[test]
fn large_trees() {
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
        *options = Options::archive(Side::Client);
        options.delete = Some(DeleteWhen::During);
    });
}

fn check(name: &str, source: &str, destination: &str, words: &str, options: &dyn Fn(&mut Options)) {
    let scenario = Scenario {
        source,
        prepare: &|_| {},
        destination,
        words,
        options,
        operands: &["from/", "to/"],
    };
    scenario.run(name, copied);
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
