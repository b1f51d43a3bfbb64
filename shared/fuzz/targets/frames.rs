//! Frames of a log: applied, and the ledger still makes sense.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dotter_store::fuzz::frames(bytes));
