//! What stands in the query string of /render: targets, times, time zones.
#![no_main]

use dotter_query::{Pattern, Target, Zone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Target::new(text);
    if let Ok(pattern) = Pattern::new(text) {
        let _ = pattern;
    }
    let _ = Zone::new(text);
});
