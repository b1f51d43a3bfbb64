//! How dots lie in stores of keys and values: series and time as the key, big-endian so that they sort, the value as
//! it is. Names stay with the application, which favours these stores.

use std::ops::Range;

use crate::work::Work;

pub(crate) const KEY_BYTES: usize = 12;

pub(crate) fn key(series: u32, time: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&series.to_be_bytes());
    key[4..].copy_from_slice(&time.to_be_bytes());
    key
}

/// Time and value; `None` where it is no row.
pub(crate) fn dot(key: &[u8], value: &[u8]) -> Option<(u64, f64)> {
    Some((u64::from_be_bytes(*key.last_chunk()?), f64::from_le_bytes(value.try_into().ok()?)))
}

pub(crate) fn of_series(number: u32, range: Range<u64>) -> Range<[u8; KEY_BYTES]> {
    key(number, range.start)..key(number, range.end)
}

pub(crate) fn of_host(work: &Work, host: u32) -> Range<[u8; KEY_BYTES]> {
    key(host * work.together, 0)..key((host + 1) * work.together, 0)
}
