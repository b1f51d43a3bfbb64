//! A body of POST /data that is JSON, or should be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_collector::fuzz::json(bytes));
