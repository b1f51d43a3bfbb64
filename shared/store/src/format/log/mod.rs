//! One form of log, which the WAL files and MANIFEST have: a header of 4,096 bytes, then frames.
//!
//! Bytes: FORMAT.md, "Log".

pub(crate) mod frame;
pub(crate) mod header;
