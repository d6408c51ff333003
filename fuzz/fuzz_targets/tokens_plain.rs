#![no_main]

use driftless_wire::Compression;
use driftless_wire::fuzz::fuzz_tokens;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_tokens(Compression::None, data));
