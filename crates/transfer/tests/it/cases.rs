//! Cases for more than one role.

use driftless_transfer::{AlternateUse, Alternates, Backup, DeleteWhen, Options, RemoveSource};

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

const LINKS: &str = "f a 10 mtime=5\nh b a\nh d/c a\nf e 5 mtime=6\nh f e\np q\nh r q";

/// `SOURCE` over `DESTINATION`.
const UPDATE: Scenario<'_> = Scenario {
    name: "archive over an older version",
    source: SOURCE,
    destination: DESTINATION,
    prepare: &|_| {},
    words: "-a",
    set: &|_| {},
    operands: &["from/", "to/"],
};

/// What senders and receivers do alike, whichever end is ours.
pub const OF_BOTH_ENDS: &[Scenario<'_>] = &[
    UPDATE,
    Scenario {
        name: "archive",
        destination: "",
        ..UPDATE
    },
    Scenario {
        name: "checksum",
        words: "-ac",
        set: &|options| options.checksum = true,
        ..UPDATE
    },
    Scenario {
        name: "in place",
        words: "-a --inplace",
        set: &|options| options.inplace = true,
        ..UPDATE
    },
    Scenario {
        name: "dry run",
        words: "-an",
        set: &|options| options.dry_run = true,
        ..UPDATE
    },
    Scenario {
        name: "dirs",
        words: "-d",
        set: &|options| options.dirs = true,
        ..UPDATE
    },
    Scenario {
        name: "delete",
        words: "-a --delete",
        set: &|options| options.delete = Some(DeleteWhen::Auto),
        ..UPDATE
    },
    Scenario {
        name: "moved",
        words: "-a --remove-source-files",
        set: &|options| options.remove_source = RemoveSource::All,
        ..UPDATE
    },
    Scenario {
        name: "links",
        source: LINKS,
        destination: "",
        words: "-aH",
        set: &links,
        ..UPDATE
    },
    Scenario {
        name: "deltas",
        source: "f a 300000 mtime=4\nf d/b\nf d/e/f/g 3",
        destination: "f a 200000",
        ..UPDATE
    },
];

/// What a receiving side does by itself.
pub const OF_A_RECEIVER: &[Scenario<'_>] = &[
    Scenario {
        name: "delete before",
        words: "-a --delete-before",
        set: &|options| options.delete = Some(DeleteWhen::Before),
        ..UPDATE
    },
    Scenario {
        name: "delete during",
        words: "-a --delete-during",
        set: &|options| options.delete = Some(DeleteWhen::During),
        ..UPDATE
    },
    Scenario {
        name: "delete delay",
        words: "-a --delete-delay",
        set: &|options| options.delete = Some(DeleteWhen::Delay),
        ..UPDATE
    },
    Scenario {
        name: "delete after",
        words: "-a --delete-after",
        set: &|options| options.delete = Some(DeleteWhen::After),
        ..UPDATE
    },
    Scenario {
        name: "one of some links is there",
        source: LINKS,
        destination: "f b 10 mtime=5\nf e 1 mtime=4\nf f 1 mtime=3",
        words: "-aH",
        set: &links,
        ..UPDATE
    },
    Scenario {
        name: "linked otherwise",
        source: LINKS,
        destination: "f e 10 mtime=5\nh a e\nh b e",
        words: "-aH",
        set: &links,
        ..UPDATE
    },
    Scenario {
        name: "backups",
        words: "-ab",
        set: &|options| {
            options.backup = Some(Backup {
                dir: None,
                suffix: b"~".to_vec(),
            });
        },
        ..UPDATE
    },
    Scenario {
        name: "delayed",
        words: "-a --delay-updates",
        set: &|options| {
            options.delay_updates = true;
            options.partial = true;
            options.partial_dir = Some(".~tmp~".into());
        },
        ..UPDATE
    },
    Scenario {
        name: "sparse",
        source: "f a 300000 mtime=4\nf b",
        destination: "f a 200000",
        words: "-aS",
        set: &|options| options.sparse = true,
        ..UPDATE
    },
    // A directory beside the destination would not be in the comparison; one in it is.
    Scenario {
        name: "link-dest",
        source: "f same 10 mtime=5\nf mode 10 mtime=5 mode=0600\nf d/other 20 mtime=6\nl link -> x",
        destination: "f old/same 10 mtime=5\nf old/mode 10 mtime=5 mode=0644\nf old/d/other 1 mtime=6\nl old/link -> x",
        words: "-aO --omit-link-times --link-dest=old",
        set: &|options| {
            options.omit_dir_times = true;
            options.omit_link_times = true;
            options.alternates = Some(Alternates {
                use_as: AlternateUse::Link,
                dirs: vec!["old".into()],
            });
        },
        ..UPDATE
    },
];

fn links(options: &mut Options) {
    options.hard_links = true;
}
