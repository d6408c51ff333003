#![no_main]

use driftless_wire::fuzz::fuzz_arguments;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_arguments(data));
