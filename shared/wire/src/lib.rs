//! Batch, finish, question and answer: what broker and collector say to each other.
//!
//! [`Message::encode`] and [`Message::decode`] are the two ends of a post, [`Answer`] comes back. A message is
//! complete in itself, so the bytes of one may be kept in a file, posted to several collectors, or repeated.
//!
//! Always true of a decoded [`Batch`], whoever sent it:
//!
//! - per lane `first <= next`; losses are in order, apart or touching, not empty, inside `[first, next)`
//! - `series`, `times` and `words` of a lane are equally long, and as long as `next - first - lost`
//! - runs are not empty and add up to that; every series index points into the batch's series
//! - lane numbers are distinct
#![doc = ""]
#![doc = include_str!("../FORMAT.md")]

mod answer;
mod decode;
mod encode;
mod error;
mod message;

pub use answer::Answer;
pub use error::DecodeError;
pub use message::{
    Batch, Finish, LaneBatch, LossRange, Message, Question, RefusalTotals, Run, Sender, SeriesEntry,
};

/// What a message is called in the Content-Type header of its post.
pub const CONTENT_TYPE: &str = "application/vnd.dotter.batch";

/// The longest message there is, in bytes.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// The most dots a batch holds, over all its lanes.
pub const BATCH_DOTS_MAX: usize = 32_768;

/// The longest application, broker and format text, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// Bytes before the first field of varying length.
const HEADER_BYTES: usize = 28;
const MAGIC: [u8; 4] = *b"DOTW";
const VERSION: u8 = 0;
const CRC_AT: usize = 8;
const INCARNATION_AT: usize = 12;

const _: () = assert!(CRC_AT + 4 == INCARNATION_AT, "the checksum ends where the incarnation begins");
const _: () = assert!(INCARNATION_AT + 16 == HEADER_BYTES, "the incarnation ends the header");

const KIND_BATCH: u8 = 1;
const KIND_FINISH: u8 = 2;
const KIND_QUESTION: u8 = 3;
