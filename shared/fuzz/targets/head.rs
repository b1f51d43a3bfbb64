//! The head of an HTTP request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_http::fuzz_head(bytes));
