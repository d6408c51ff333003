//! Every input that the fuzzers found worth keeping (`fuzz/corpus/TARGET/`), once more through its decoder.

#![allow(
    clippy::disallowed_methods,
    reason = "the corpus is in the source tree, not in a transfer"
)]

use std::fs;
use std::path::Path;

use driftless_wire::fuzz::{FILE_TARGETS, SESSION_TARGETS};

#[test]
fn what_the_fuzzers_kept_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in SESSION_TARGETS.iter().chain(FILE_TARGETS) {
        let folder = corpus.join(name);
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut replayed = 0;
        for entry in entries {
            target(&fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has no corpus");
    }
}
