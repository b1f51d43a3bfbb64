//! The list of what counts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_store::fuzz::manifest(bytes));
