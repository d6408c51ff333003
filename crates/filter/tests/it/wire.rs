//! The texts of rules that go to a server. Those of the table were recorded from rsync 3.5.0.

use driftless_filter::{Cvs, Dialect, Error, NoMergeFiles, Options, Rules, Side};

/// Options; what a client sends when it pushes with --delete, and when it pulls.
type Case = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const FROM_30: [Case; 15] = [
    (
        &["--exclude=*.o", "--include=*.c"],
        &["- *.o", "+ *.c"],
        &["- *.o", "+ *.c"],
    ),
    (
        &["P keep", "H hid", ": .rsf"],
        &["-r keep", ": .rsf"],
        &["-s hid", ": .rsf"],
    ),
    (&["R keep", "S hid"], &["+r keep"], &["+s hid"]),
    (
        &["-s a", "-r b", "-sr c"],
        &["-r b", "-sr c"],
        &["-s a", "-sr c"],
    ),
    (
        &["--exclude=d/", "--exclude=/e/"],
        &["- d/", "- /e/"],
        &["- d/", "- /e/"],
    ),
    (
        &["-p foo", "--partial-dir=.p"],
        &["-p foo", "-p .p/"],
        &["-p foo", "-p .p/"],
    ),
    (
        &["+! bar/", "exclude,x user.*", "-!/ a"],
        &["+! bar/", "-x user.*", "-/! a"],
        &["+! bar/", "-x user.*", "-/! a"],
    ),
    (&[":es .x"], &["- .x"], &["- .x", ":s .x"]),
    (&[":e .x"], &["- .x", ": .x"], &["- .x", ": .x"]),
    (
        &[":eC"],
        &["- .cvsignore", ":C .cvsignore"],
        &["- .cvsignore", ":C .cvsignore"],
    ),
    (
        &[":nw- .a", ":s/+p .b"],
        &[":nw- .a"],
        &[":nw- .a", ":/+sp .b"],
    ),
    (
        &["--exclude=gone", "!", "--exclude=kept"],
        &["- kept"],
        &["- kept"],
    ),
    (
        &[
            "--delete-excluded",
            "--exclude=*.o",
            "P k",
            ": .r",
            ":- .q",
            ":C",
            "-C",
        ],
        &["-r k", ": .r"],
        &["-s *.o", ": .r", ":- .q", ":C .cvsignore", "-Cs "],
    ),
    (&["-rpC"], &["-rp RCS", "..."], &[]),
    (&["-pC", "+/C"], &["-p RCS", "..."], &["-Cp ", "+/C "]),
];

const AT_29: [Case; 2] = [
    (&["-C"], &["- RCS", "..."], &["-C "]),
    (&["--partial-dir=.p"], &["- .p/"], &["- .p/"]),
];

const BEFORE_29: [Case; 4] = [
    (
        &["--exclude=- x", "--include=y/", "--exclude=z"],
        &["x", "+ y/", "z"],
        &["x", "+ y/", "z"],
    ),
    (
        &["--exclude=- - x", "- + y"],
        &["- - x", "- + y"],
        &["- - x", "- + y"],
    ),
    (&["-s a", "-r b", "-sr c"], &["b", "c"], &["a", "c"]),
    (&["-C"], &["RCS", "..."], &["RCS", "..."]),
];

#[test]
fn the_rules_that_travel_are_those_that_count_at_the_other_end() {
    let tables = [
        (Dialect::Perishable, &FROM_30[..]),
        (Dialect::Modern, &AT_29),
        (Dialect::Old, &BEFORE_29),
    ];
    for (dialect, cases) in tables {
        for (options, push, pull) in cases {
            let rules = rules(options);
            assert_sent(&rules, Side::Sender, dialect, push, options);
            assert_sent(&rules, Side::Receiver, dialect, pull, options);
        }
    }
}

#[test]
fn cvs_exclude_is_sent_to_receivers_only() {
    let mut rules = rules(&["--exclude=a"]);
    rules
        .cvs_exclude(Cvs::AsOthers)
        .expect("no names of the user's own");
    assert_sent(
        &rules,
        Side::Sender,
        Dialect::Perishable,
        &["- a", ":C .cvsignore", "-p RCS", "..."],
        &[],
    );
    assert_sent(
        &rules,
        Side::Sender,
        Dialect::Modern,
        &["- a", ":C .cvsignore", "- RCS", "..."],
        &[],
    );
    assert_sent(
        &rules,
        Side::Sender,
        Dialect::Old,
        &["a", "RCS", "..."],
        &[],
    );
    assert_sent(&rules, Side::Receiver, Dialect::Perishable, &["- a"], &[]);
    let all = rules
        .for_wire(Side::Sender, Dialect::Perishable)
        .expect("modern");
    assert_eq!(all.len(), 2 + 36);
    assert_eq!(all.last().map(Vec::as_slice), Some(&b"-p .bzr/"[..]));
}

#[test]
fn what_an_old_peer_cannot_express_is_an_error() {
    let too_modern = |options: &[&str], we, dialect| {
        matches!(rules(options).for_wire(we, dialect), Err(Error::TooModern))
    };
    assert!(too_modern(&["-p a"], Side::Sender, Dialect::Modern));
    assert!(!too_modern(&["-p a"], Side::Receiver, Dialect::Modern));
    assert!(too_modern(&[":p a"], Side::Sender, Dialect::Modern));
    for rule in ["-! a", "-/ a", "-x a", ": a"] {
        assert!(too_modern(&[rule], Side::Sender, Dialect::Old), "{rule}");
        assert!(too_modern(&[rule], Side::Receiver, Dialect::Old), "{rule}");
    }
    // A rule for our side alone is not written.
    assert!(!too_modern(
        &["--delete-excluded", "-p a"],
        Side::Sender,
        Dialect::Old
    ));
    assert!(too_modern(
        &["--delete-excluded", "P a"],
        Side::Sender,
        Dialect::Old
    ));
}

#[test]
fn a_server_reads_what_a_client_wrote() {
    let client = rules(&["--include=/a/*.c", "--exclude=b/", ":n- .x", "P c", "-! d"]);
    for (dialect, we) in [
        (Dialect::Perishable, Side::Sender),
        (Dialect::Modern, Side::Receiver),
    ] {
        let sent = client.for_wire(we, dialect).expect("modern enough");
        let mut server = Rules::new(Options::default());
        for rule in &sent {
            server
                .receive(rule, dialect, &mut NoMergeFiles)
                .expect("what we write we read");
        }
        assert_eq!(server.for_wire(we, dialect).expect("the same"), sent);
    }
    let mut old = Rules::new(Options::default());
    old.receive(b"- - x", Dialect::Old, &mut NoMergeFiles)
        .expect("an old rule");
    assert!(old.check(b"- x", false, Side::Receiver).is_excluded());
}

/// `...` at the end of `expected` stands for anything more.
fn assert_sent(rules: &Rules, we: Side, dialect: Dialect, expected: &[&str], options: &[&str]) {
    let sent = rules.for_wire(we, dialect).expect("modern enough");
    let sent: Vec<&str> = sent
        .iter()
        .map(|rule| std::str::from_utf8(rule).expect("plain rules"))
        .collect();
    let start = expected.strip_suffix(&["..."]).unwrap_or(expected);
    assert!(
        sent.starts_with(start),
        "{options:?} as {we:?} in {dialect:?}: {sent:?}"
    );
    assert!(
        start.len() < expected.len() || sent.len() == start.len(),
        "{options:?} as {we:?}: {sent:?}"
    );
}

fn rules(options: &[&str]) -> Rules {
    let delete_excluded = options.contains(&"--delete-excluded");
    let mut rules = Rules::new(Options {
        delete_excluded,
        ..Options::default()
    });
    for option in options {
        match option.split_once('=') {
            Some(("--exclude", pattern)) => rules.exclude(pattern.as_bytes()).expect(option),
            Some(("--include", pattern)) => rules.include(pattern.as_bytes()).expect(option),
            Some(("--partial-dir", dir)) => rules.partial_dir(dir.as_bytes()),
            _ if *option == "--delete-excluded" => {}
            _ => rules
                .filter(option.as_bytes(), &mut NoMergeFiles)
                .expect(option),
        }
    }
    rules
}

#[test]
fn the_names_of_cvs_come_after_the_rules_of_the_client() {
    let hides = |rules: &Rules, side| rules.check(b"x.o", false, side).is_excluded();
    let server = |side, dialect| {
        let mut rules = Rules::new(Options::default());
        rules.cvs_exclude(Cvs::AfterThePeers).expect("nothing yet");
        rules
            .receive(b"+ y.o", dialect, &mut NoMergeFiles)
            .expect("a rule");
        assert!(!hides(&rules, side), "not before the last rule");
        rules.received_all(side, dialect).expect("the names");
        rules
    };
    let sender = server(Side::Sender, Dialect::Perishable);
    assert!(hides(&sender, Side::Sender) && sender.has_dir_merges());
    assert!(!sender.check(b"y.o", false, Side::Sender).is_excluded());
    let receiver = server(Side::Receiver, Dialect::Perishable);
    assert!(!hides(&receiver, Side::Receiver) && !receiver.has_dir_merges());
    assert!(server(Side::Receiver, Dialect::Old).has_dir_merges());

    // A client that pulls protects them from --delete-excluded, one that pushes does not.
    for (cvs, protects) in [(Cvs::OfBothSides, true), (Cvs::AsOthers, false)] {
        let mut rules = Rules::new(Options {
            delete_excluded: true,
            ..Options::default()
        });
        rules.cvs_exclude(cvs).expect("the names");
        assert!(hides(&rules, Side::Sender));
        assert_eq!(hides(&rules, Side::Receiver), protects, "{cvs:?}");
    }
}
