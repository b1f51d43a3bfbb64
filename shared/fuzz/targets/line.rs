//! A line at the Graphite port: what is taken has a name and a number.
#![no_main]

use dotter_dot::Timestamp;
use dotter_intake::graphite::{read_line, read_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(line)) = read_line(bytes, Timestamp::MIN) {
        assert!(!line.value.is_nan());
        let _ = read_name(line.name);
    }
});
