//! The words every part of Dotter shares. No dependencies, no I/O.
//!
//! One word, one meaning: a [`Timestamp`] is a moment, a [`TimeRange`] a half-open span of them, a
//! [`SeriesName`] what all dots of one series stand under, a [`Shape`] what their values look like ([`Format`]:
//! one [`Letter`] a column) and mean ([`Kind`]), a [`Value`] what stands in a column, an [`Incarnation`] one life of
//! one ring, and a [`Reason`] why a dot that was published is not stored.
//!
//! Dots in memory stand as columns, and their values as a [`Cell`] each: one series in a [`Column`], many in [`Dots`]
//! under numbers of the holder's own, in [`NamedDots`] together with their names and shapes.

mod cell;
mod column;
mod dots;
mod encoding;
mod format;
mod incarnation;
mod kind;
mod name;
mod named;
mod range;
mod reason;
mod row;
mod rows;
mod series_table;
mod shape;
mod timestamp;
mod value;
mod varint;

pub use cell::Cell;
pub use column::{Buffers, Column};
pub use dots::{DotKey, Dots, SERIES_MAX, SeriesKey};
pub use encoding::{put_base64, put_hex, read_base64, read_hex};
pub use format::{COLUMNS_MAX, Format, FormatError, Letter};
pub use incarnation::{Incarnation, IncarnationError};
pub use kind::Kind;
pub use name::{BYTE_ORDER_MARK, NAME_BYTES_MAX, NameError, SeriesName};
pub use named::NamedDots;
pub use range::TimeRange;
pub use reason::Reason;
pub use row::{Cells, ROW_BYTES_MAX, RowError, Value, check_row, put_row, put_row_of};
pub use rows::Rows;
pub use shape::{LABEL_BYTES_MAX, Shape, ShapeError};
pub use timestamp::{TimeError, Timestamp};
pub use value::{ValueError, parse_number};
pub use varint::{get_varint, put_varint, unzigzag, zigzag};
