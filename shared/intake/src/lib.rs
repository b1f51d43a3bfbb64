//! What others send as text, read as rows: a module for each protocol.
//!
//! Bytes come in as they are in memory and rows go out; nothing here reads a file, opens a socket or looks at a clock.
//! What a protocol may send at most, and who may send it, is said by the program that listens.
//!
//! - [`row_text`]: a row as a line, both ends
//! - [`json`]: bodies of `[[time, value], ...]`
//! - [`graphite`]: lines of name, value and time
//! - [`csv`]: comma-separated records below a head line
//!
//! Bodies and lines whose dots all go together become [`NamedDots`](dotter_dot::NamedDots).

#![forbid(unsafe_code)]

pub mod csv;
pub mod graphite;
pub mod json;
pub mod row_text;

#[cfg(test)]
mod random;
#[cfg(test)]
mod trial;
