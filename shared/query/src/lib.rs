//! Graphite targets over any source of series: no files, no sockets.
//!
//! A [`Target`] names series by path or [`Pattern`]; [`render`] fetches their dots from a [`Source`], lays
//! them into the slots of each series' own step, merges those down to what the reader can draw, and
//! [`write_json`] writes them as Graphite does. [`find`] walks the tree of names. The plot page asks for
//! raw dots instead and gets an [`Envelope`] where there are more of them than columns to draw.
//!
//! Always true of an answer: at most as many series, dots and points as the [`Budget`] allows went into it
//! and came out of it; past one the answer is [`Error::OverBudget`], which names it.

mod budget;
mod catalogue;
mod consolidate;
mod envelope;
mod error;
mod find;
mod json;
mod pattern;
mod render;
mod slots;
mod source;
mod step;
mod stretch;
mod target;
mod time;

#[cfg(test)]
mod fixture;

pub use budget::Budget;
pub use catalogue::{Catalogue, TreeNode};
pub use consolidate::Points;
pub use envelope::{Envelope, envelope};
pub use error::Error;
pub use find::{Find, FindFormat, find};
pub use json::{write_json, write_number, write_seconds, write_string};
pub use pattern::{Pattern, PatternError};
pub use render::{Render, render};
pub use slots::Slots;
pub use source::{Dot, Source, SourceError};
pub use step::{Precision, Steps, gap_after, median_gap, step_for};
pub use stretch::{Method, Numbers, Rollup, Stretch};
pub use target::Target;
pub use time::{Clock, TimeFormError, Window, Zone, parse_time};
