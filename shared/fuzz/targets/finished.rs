//! The file of finished rings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_store::fuzz::finished(bytes));
