//! Every input that the fuzzer found worth keeping (`fuzz/corpus/filter/`), once more.

#![allow(
    clippy::disallowed_methods,
    reason = "the corpus is in the source tree, not in a transfer"
)]

use std::fs;
use std::path::Path;

use driftless_filter::fuzz::fuzz_rules;

#[test]
fn what_the_fuzzer_kept_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/filter");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzz_rules(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}
