#![no_main]

use driftless_tree::fuzz::fuzz_fake_super;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_fake_super(data));
