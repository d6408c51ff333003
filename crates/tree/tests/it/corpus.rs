//! Every input that the fuzzer found worth keeping (`fuzz/corpus/fake_super/`), once more.

use std::fs;
use std::path::Path;

use driftless_tree::fuzz::fuzz_fake_super;
use proptest::prelude::*;

#[test]
fn what_the_fuzzer_kept_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/fake_super");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzz_fake_super(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}

proptest! {
    #[test]
    fn any_value_is_survived(words in prop::collection::vec(prop_oneof![0..8_u32, any::<u32>()], 0..12)) {
        let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        fuzz_fake_super(&value);
    }

    #[test]
    fn any_text_is_survived(text in "[0-7]{0,6} ?[0-9]{0,3},?[0-9]{0,10} ?[0-9]{0,11}:?[0-9-]{0,4}") {
        fuzz_fake_super(text.as_bytes());
    }
}
