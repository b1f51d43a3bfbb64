//! An answer to a batch, from a server that may be lying.
#![no_main]

use dotter_wire::Answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(answer) = Answer::from_json(text) {
        let again = Answer::from_json(&answer.to_json()).expect("what was written reads");
        assert_eq!(again.to_json(), answer.to_json());
    }
});
