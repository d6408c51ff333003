#![no_main]

use driftless_wire::fuzz::fuzz_negotiation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_negotiation(data));
