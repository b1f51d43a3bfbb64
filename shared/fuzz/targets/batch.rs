//! Bytes as POST /data gets them: never a panic, and what is accepted encodes to what decodes to the same.
#![no_main]

use dotter_wire::{DecodeError, Message};
use libfuzzer_sys::fuzz_target;

/// Where the checksum stands: FORMAT.md of `dotter-wire`.
const CHECKSUM_AT: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Err(DecodeError::Checksum { computed, .. }) = Message::decode(&bytes) {
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&computed.to_le_bytes());
    }
    if let Ok(message) = Message::decode(&bytes) {
        let mut again = Vec::new();
        message.encode(&mut again);
        let back = Message::decode(&again).expect("what was encoded decodes");
        let mut third = Vec::new();
        back.encode(&mut third);
        assert_eq!(again, third);
    }
});
