#![no_main]

use driftless_wire::fuzz::fuzz_id_list;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz_id_list(data));
