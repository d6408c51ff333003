//! What is said about bad rules: rsync 3.5.0's own words.

use std::collections::HashMap;
use std::sync::Arc;

use driftless_filter::{Error, MergeFile, Options, Rules, Scope, Side};

const BAD_ARGUMENTS: [(&str, &str); 24] = [
    ("bogus x", "Unknown filter rule: bogus x"),
    ("excludefoo x", "Unknown filter rule: excludefoo x"),
    ("hides foo", "Unknown filter rule: hides foo"),
    (" - foo", "Unknown filter rule:  - foo"),
    ("#foo", "Unknown filter rule: #foo"),
    (",foo", "Unknown filter rule: ,foo"),
    (
        "-z foo",
        "invalid modifier 'z' at position 1 in filter rule: -z foo",
    ),
    (
        "exclude,z foo",
        "invalid modifier 'z' at position 8 in filter rule: exclude,z foo",
    ),
    (
        "exclude\tfoo",
        "invalid modifier '\t' at position 7 in filter rule: exclude\tfoo",
    ),
    (
        "H,s foo",
        "invalid modifier 's' at position 2 in filter rule: H,s foo",
    ),
    (
        "HC",
        "invalid modifier 'C' at position 1 in filter rule: HC",
    ),
    (
        "-e foo",
        "invalid modifier 'e' at position 1 in filter rule: -e foo",
    ),
    (
        ":! .r",
        "invalid modifier '!' at position 1 in filter rule: :! .r",
    ),
    (
        ":+- .r",
        "invalid modifier '-' at position 2 in filter rule: :+- .r",
    ),
    (
        ":C- .r",
        "invalid modifier '-' at position 2 in filter rule: :C- .r",
    ),
    (
        ":-C .r",
        "invalid modifier 'C' at position 2 in filter rule: :-C .r",
    ),
    (
        "-,,foo",
        "invalid modifier ',' at position 2 in filter rule: -,,foo",
    ),
    ("-", "unexpected end of filter rule: -"),
    ("-_", "unexpected end of filter rule: -_"),
    ("merge", "unexpected end of filter rule: merge"),
    (": ", "unexpected end of filter rule: : "),
    ("!_", "'!' rule has trailing characters: !_"),
    ("clear foo", "'!' rule has trailing characters: clear foo"),
    (
        ". nonex",
        "failed to open exclude file nonex: entity not found",
    ),
];

/// The rule, the content of `f` and of `g`.
const BAD_FILES: [(&str, &str, &str, &str); 11] = [
    (
        ". f",
        "- foo\r\n\r\nbad\n",
        "",
        "Unknown filter rule: <rule from f line 3>",
    ),
    (
        ". f",
        "- foo\n\n# c\n-z bad\n",
        "",
        "invalid modifier in filter rule: <rule from f line 4>",
    ),
    (
        ".w f",
        "- foo",
        "",
        "unexpected end of filter rule: <rule from f>",
    ),
    (
        ". f",
        "- foo\n!_\n",
        "",
        "'!' rule has trailing characters: <rule from f line 2>",
    ),
    (
        ".s f",
        "H foo\n",
        "",
        "specified-side merge file contains specified-side filter: <rule from f line 1>",
    ),
    (
        ".r f",
        "-s foo\n",
        "",
        "specified-side merge file contains specified-side filter: <rule from f line 1>",
    ),
    (
        ".s f",
        ":s .q\n",
        "",
        "specified-side merge file contains specified-side filter: <rule from f line 1>",
    ),
    (
        ".s f",
        ". g\n",
        "- a\n\nP foo\n",
        "specified-side merge file contains specified-side filter: <rule from a file named at f line 1>",
    ),
    (
        ". f",
        "\n. g\n",
        "- a\n\nhello\n",
        "Unknown filter rule: <rule from a file named at f line 2>",
    ),
    (
        ". f",
        ".+ none\n",
        "",
        "failed to open include file <rule from f line 1>",
    ),
    (
        ". f",
        ". f\n",
        "",
        "merge-file include depth limit (32) exceeded at <rule from a file named at a file named at",
    ),
];

#[test]
fn a_bad_argument_is_quoted() {
    for (rule, message) in BAD_ARGUMENTS {
        let mut rules = Rules::new(Options::default());
        let error = rules
            .filter(rule.as_bytes(), &mut files(&[]))
            .expect_err(rule);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_bad_line_is_named_by_its_file() {
    for (rule, f, g, message) in BAD_FILES {
        let mut rules = Rules::new(Options::default());
        let error = rules
            .filter(rule.as_bytes(), &mut files(&[("f", f), ("g", g)]))
            .expect_err(rule);
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn a_bad_line_of_a_directory_is_named_by_its_whole_path() {
    let mut rules = Rules::new(Options::default());
    let mut files = files(&[("d/.r", "- foo\nbad\n")]);
    rules.filter(b": .r", &mut files).expect("a good rule");
    let root = Scope::new(Arc::new(rules), Side::Sender, b"/srv/tree")
        .enter(b"", &mut files)
        .expect("nothing there");
    let error = root.enter(b"d", &mut files).expect_err("a bad rule");
    assert_eq!(
        error.to_string(),
        "Unknown filter rule: <rule from /srv/tree/d/.r line 2>"
    );
}

/// Whichever side the file is for, and whichever reads it.
#[test]
fn a_side_is_not_named_in_a_file_for_one_side() {
    for (rule, side) in [
        (b":s .r", Side::Receiver),
        (b":r .r", Side::Sender),
        (b":s .r", Side::Sender),
    ] {
        let mut rules = Rules::new(Options::default());
        let mut files = files(&[(".r", "P foo\n")]);
        rules.filter(rule, &mut files).expect("a good rule");
        let error = Scope::new(Arc::new(rules), side, b"/srv/tree")
            .enter(b"", &mut files)
            .expect_err("a bad rule");
        assert_eq!(
            error.to_string(),
            "specified-side merge file contains specified-side filter: <rule from /srv/tree/.r line 1>"
        );
    }
}

#[test]
fn an_over_long_pattern_is_left_out_with_a_word() {
    let mut rules = Rules::new(Options::default());
    rules.exclude(&[b'x'; 4096]).expect("no reason to stop");
    rules.exclude(&[b'y'; 4095]).expect("long enough");
    assert!(matches!(
        rules.take_warnings()[..],
        [Error::OverLong { .. }]
    ));
    assert!(
        !rules
            .check(&[b'x'; 4096], false, Side::Sender)
            .is_excluded()
    );
    assert!(
        rules
            .check(&[b'y'; 4095], false, Side::Sender)
            .is_excluded()
    );
}

#[test]
fn a_rule_of_a_file_is_not_quoted_in_messages() {
    let mut rules = Rules::new(Options::default());
    rules.exclude_from(b"secret/\n", "f").expect("a good rule");
    rules.exclude(b"open/").expect("a good rule");
    let shown = |name: &[u8]| match rules.check(name, true, Side::Sender) {
        driftless_filter::Verdict::Excluded(found) => found.rule.shown(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(b"secret"), b"<rule from a file read earlier>");
    assert_eq!(shown(b"open"), b"open/");
}

fn files(all: &[(&str, &str)]) -> impl FnMut(MergeFile<'_>) -> std::io::Result<Option<Vec<u8>>> {
    let all: HashMap<Vec<u8>, Vec<u8>> = all
        .iter()
        .map(|(name, content)| (name.as_bytes().to_vec(), content.as_bytes().to_vec()))
        .collect();
    move |file| match file {
        MergeFile::Named(name) | MergeFile::InTree(name) | MergeFile::Above(name) => {
            Ok(all.get(name).cloned())
        }
    }
}
