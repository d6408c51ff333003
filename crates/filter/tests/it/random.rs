//! Patterns that nobody thought of: this crate against the original.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make and inspect trees of their own"
)]

use std::collections::BTreeSet;
use std::process::Command;

use driftless_filter::{Options, Rules, Side};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const NAMES: [&str; 14] = [
    "a", "b", "ab", "-", "]", "[a]", "a*", "a\\b", "d/", "d/a", "d/ab", "d/d/", "d/d/a", "d/d/b-a",
];

#[test]
fn any_pattern_excludes_what_the_original_excludes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(dir.path().join("src/d/d")).expect("mkdir");
    std::fs::create_dir(dir.path().join("other")).expect("mkdir");
    for name in NAMES.iter().filter(|name| !name.ends_with('/')) {
        std::fs::write(dir.path().join("src").join(name), "").expect("a file");
    }
    let pieces = prop::sample::select(vec![
        "a", "b", "d", "/", "*", "**", "***", "?", "[", "]", "-", "!", "^", "\\", "[ab]", "[!a]",
    ]);
    let patterns = prop::collection::vec(pieces, 1..7).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::new(Config {
        cases: 100,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let result = runner.run(&patterns, |pattern| {
        let mut run = Command::new(testkit::require_rsync());
        run.current_dir(dir.path())
            .args(["-rn", "--out-format=%n"])
            .arg(format!("--filter=- {pattern}"));
        let output = run.args(["src/", "other/"]).output().expect("rsync runs");
        let text = String::from_utf8(output.stdout).expect("plain names");
        let original: BTreeSet<&str> = text.lines().filter(|name| *name != "./").collect();

        let mut rules = Rules::new(Options::default());
        rules
            .exclude(format!("- {pattern}").as_bytes())
            .expect("a pattern");
        let shown = |name: &&&str| {
            let path = name.trim_end_matches('/').as_bytes();
            !rules.excluded_with_parents(path, name.ends_with('/'), Side::Sender)
        };
        let ours: BTreeSet<&str> = NAMES.iter().filter(shown).copied().collect();
        prop_assert_eq!(ours, original, "{}", pattern);
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
}
