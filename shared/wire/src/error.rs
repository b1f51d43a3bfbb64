//! Why bytes are no message, or a text no answer.

use std::fmt;

use crate::{BATCH_BYTES_MAX, BATCH_DOTS_MAX, CONTENT_TYPE, KIND_BATCH, KIND_QUESTION, MAGIC, VERSION};

/// Why [`Message::decode`](crate::Message::decode) or [`Answer::from_json`](crate::Answer::from_json) refuses
/// what it was given.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than a message may have; how many.
    TooLong(usize),
    /// The bytes end, or a count promises more than they hold.
    Short {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Bytes it takes at least.
        expected: u64,
        /// Bytes left.
        found: usize,
    },
    /// Another magic; the first four bytes.
    Magic([u8; 4]),
    /// A version this build does not read.
    Version(u8),
    /// No batch, finish or question.
    Kind(u8),
    /// Flags this build does not know.
    Flags(u8),
    /// A compression this build does not know.
    Compression(u8),
    /// The checksum does not match.
    Checksum {
        /// What the bytes give.
        computed: u32,
        /// What the header says.
        stated: u32,
    },
    /// A number of more than 64 bits, or above what its field holds.
    Number {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A text that is not UTF-8.
    Text {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Where in it, and how.
        source: std::str::Utf8Error,
    },
    /// A text longer than its field may be.
    TextTooLong {
        /// What was being read.
        what: &'static str,
        /// Bytes it has.
        found: usize,
        /// Bytes it may have.
        most: usize,
    },
    /// More dots than a batch may have; how many.
    TooManyDots(u64),
    /// Record numbers that do not fit together; which rule, and in which lane.
    Records {
        /// The rule broken.
        rule: &'static str,
        /// The lane.
        lane: u32,
    },
    /// A series index that points at no series.
    SeriesIndex {
        /// The lane.
        lane: u32,
        /// The index.
        found: u64,
        /// Series in the batch.
        series: usize,
    },
    /// A lane that is there twice.
    LaneTwice(u32),
    /// A reason that is none, or out of order.
    Reason {
        /// The code found.
        found: u8,
        /// Where.
        offset: usize,
        /// What may stand there.
        expected: &'static str,
    },
    /// Bytes after the end of the message; how many.
    Trailing(usize),
    /// An answer that is not JSON.
    Json(serde_json::Error),
    /// An answer without a field, or with another type in it.
    Field {
        /// The field.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DecodeError::*;
        match self {
            TooLong(bytes) => write!(f, "message has {bytes} bytes, at most {BATCH_BYTES_MAX} are taken"),
            Short { what, offset, expected, found } => write!(
                f,
                "message ends too soon: {what} at byte {offset} takes {expected} bytes or more, {found} are left"
            ),
            Magic(found) => write!(
                f,
                "not {CONTENT_TYPE}: begins with '{}', expected '{}'",
                found.escape_ascii(),
                MAGIC.escape_ascii()
            ),
            Version(found) => write!(f, "wire format version {found}, this build reads {VERSION}"),
            Kind(found) => {
                write!(f, "message kind {found}, this build knows {KIND_BATCH} to {KIND_QUESTION}")
            }
            Flags(found) => write!(f, "message flags {found:#04x}, this build knows none"),
            Compression(found) => write!(f, "compression {found}, this build knows 0 (none)"),
            Checksum { computed, stated } => {
                write!(f, "checksum of the message is {computed:08x}, its header says {stated:08x}")
            }
            Number { what, offset } => write!(f, "{what} at byte {offset} is larger than its field may be"),
            Text { what, offset, .. } => write!(f, "{what} at byte {offset} is not UTF-8"),
            TextTooLong { what, found, most } => {
                write!(f, "{what} has {found} bytes, at most {most} are taken")
            }
            TooManyDots(dots) => write!(f, "batch has {dots} dots, at most {BATCH_DOTS_MAX} are taken"),
            Records { rule, lane } => write!(f, "record numbers of lane {lane} do not fit: {rule}"),
            SeriesIndex { lane, found, series } => {
                write!(f, "lane {lane} has a dot of series {found}, the batch has {series} series")
            }
            LaneTwice(lane) => write!(f, "lane {lane} is there twice"),
            Reason { found, offset, expected } => {
                write!(f, "reason {found} at byte {offset}, expected {expected}")
            }
            Trailing(bytes) => write!(f, "{bytes} bytes after the end of the message"),
            Json(_) => f.write_str("answer is not JSON"),
            Field { field, expected } => write!(f, "answer has no '{field}' that is {expected}"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DecodeError::Text { source, .. } => Some(source),
            DecodeError::Json(source) => Some(source),
            _ => None,
        }
    }
}
