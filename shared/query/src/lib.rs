//! Graphite targets over any source of series: no files, no sockets.
//!
//! A [`Target`] names series by path or [`Pattern`]; [`render`] finds these in a [`Source`], fetches their dots, lays
//! them into the slots of each series' own step, merges those down to what the reader can draw, and
//! [`write_json`] writes them as Graphite does. [`find`] answers with the tree of names. The plot page asks for
//! raw dots instead and gets an [`Envelope`] where there are more of them than columns to draw.
//!
//! Always true of an answer: at most as many series, dots and points as the [`Budget`] allows went into it
//! and came out of it; past one the answer is [`Error::OverBudget`], which names it.

mod archive;
mod budget;
mod catalogue;
mod consolidate;
mod dot;
mod envelope;
mod error;
mod fetch;
mod find;
mod json;
mod pattern;
mod render;
mod slots;
mod source;
mod step;
mod target;
mod time;

#[cfg(test)]
mod fixture;

pub use budget::Budget;
pub use catalogue::Catalogue;
pub use consolidate::Points;
pub use dot::{Dot, Method, Numbers, Rollup, Stretch};
pub use envelope::{Envelope, envelope};
pub use error::Error;
pub use fetch::{newest, series};
pub use find::{Find, FindFormat, find};
pub use json::{write_json, write_number, write_seconds, write_string};
pub use pattern::{Pattern, PatternError};
pub use render::{Render, render};
pub use slots::Slots;
pub use source::{
    Archive, Known, Missing, Node, Piece, Report, Rule, Sink, Source, SourceError, Stepped, Want, What,
};
pub use step::{Precision, Steps, gap_after, median_gap, step_for};
pub use target::Target;
pub use time::{Clock, TimeFormError, Window, Zone, parse_time};
