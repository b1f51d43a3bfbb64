//! A segment: its index, and the chunks it points to.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_store::fuzz::segment(bytes));
