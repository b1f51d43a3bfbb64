//! Reading rows from text that other programs send: a module for each protocol.
//!
//! The input is bytes in memory, the output rows. Nothing here reads a file, opens a socket or reads a clock. The
//! program that listens decides how much a client may send, and who may send.
//!
//! - [`row_text`]: a row as a line, both ends
//! - [`json`]: bodies of `[[time, value], ...]`
//! - [`graphite`]: lines of name, value and time
//! - [`csv`]: comma-separated records below a head line
//!
//! Bodies and lines whose dots belong to one transaction become [`NamedDots`](dotter_dot::NamedDots).

#![forbid(unsafe_code)]

pub mod csv;
pub mod graphite;
pub mod json;
pub mod row_text;

#[cfg(test)]
mod random;
#[cfg(test)]
mod trial;
