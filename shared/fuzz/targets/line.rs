//! A line at the Graphite port.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_collector::fuzz::line(bytes));
