//! Bytes and their meaning: codecs, chunks, segments, frames, the list, names, rules. Nothing here opens a file or
//! reads a clock.
//!
//! Layers, each of which uses those before it and none behind it: `format`, `disk`, `read`, `write`.

pub(crate) mod bytes;
pub(crate) mod shapes;

pub(crate) mod codec;

pub(crate) mod chunk;
pub(crate) mod earlier;

pub(crate) mod summary;

pub(crate) mod segment;

pub(crate) mod log;
pub(crate) mod wal;

pub(crate) mod ledger;

pub(crate) mod place;

pub(crate) mod listing;
pub(crate) mod position;

pub(crate) mod hold;
pub(crate) mod kept;
pub(crate) mod parts;

pub(crate) mod manifest;
pub(crate) mod names;

pub(crate) mod pattern;
pub(crate) mod spans;
pub(crate) mod tombstone;
pub(crate) mod tombstones;

pub(crate) mod clock;
pub(crate) mod rules;

pub(crate) mod step;
